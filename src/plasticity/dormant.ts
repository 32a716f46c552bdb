/**
 * Measures pruned heads as if they were there: their own weights, their gates at 0, so that they
 * change nothing and yet their gate's gradient and their activity are exact.
 *
 * @module
 */
import type { Batch } from "../data/batches.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { download } from "../gpu/tensor.ts";
import { Trainer, type TrainerOptions } from "../optim/trainer.ts";
import { including, putHead, reshapeHeads } from "../gpt2/heads.ts";
import { liveCorrelations } from "./growth.ts";
import type { PlasticModel } from "./plastic_model.ts";

/** What was measured with every stored head in place at gate 0. */
export interface DormantMetrics {
  /** d loss / d gate of all heads that were measured, `[L, NH]`; NaN for the others. */
  gateGrad: Float32Array;
  /** Mean attention entropy of a row over the ln of the keys it sees, likewise. */
  entropy: Float32Array;
  /** Correlation of each pruned head's activity with its layer's live heads', `[L, NH]`. */
  liveCorrelation: Float32Array;
}

/**
 * Runs forward and backward over calibration text with the stored heads back at gate 0. A head that
 * was not stored cannot be measured.
 *
 * @param batches Calibration text, B * T tokens each as `options` say, or a multiple of that.
 */
export async function measureDormant(
  gpu: Gpu,
  plastic: PlasticModel,
  batches: readonly Batch[],
  options: Pick<TrainerOptions, "B" | "T" | "recompute">,
): Promise<DormantMetrics> {
  const { config, model: { live }, stored } = plastic;
  const { L, NH } = config;
  const all = including(live, stored);
  const weights = reshapeHeads(config, await plastic.model.weights(), live, all);
  for (const { weights: own, ...place } of stored) putHead(config, weights, all, place, own);
  using model = new Gpt2(gpu, config, weights, all);
  using trainer = new Trainer(model, options);
  const gates = plastic.effectiveGates;
  for (const { layer, head } of stored) gates[layer * NH + head] = 0;
  model.setGates(gates);

  const norms: number[][][] = Array.from(
    { length: L },
    () => Array.from({ length: NH }, () => []),
  );
  const { B, T } = options;
  for (const { inputs, targets } of batches.flatMap((batch) => parts(batch, B * T))) {
    trainer.measure(inputs, targets);
    const [stats] = await download(gpu, trainer.acts.stats);
    all.forEach((heads, layer) =>
      heads.forEach((head, i) => {
        const first = (model.head0[layer] + i) * inputs.length;
        // a row of four numbers for each token, the norm of the output last
        for (let t = 0; t < inputs.length; t++) norms[layer][head].push(stats[4 * (first + t) + 3]);
      })
    );
  }
  const { gateGrad, entropy } = await trainer.readMetrics();
  const tokens = batches.reduce((sum, { inputs }) => sum + inputs.length, 0);
  const filled = norms.map((heads) =>
    heads.map((own) => own.length > 0 ? own : new Array<number>(tokens).fill(0))
  );
  return { gateGrad, entropy, liveCorrelation: liveCorrelations(filled, live) };
}

/** Cuts a batch: every part's statistics are read before the next one's replace them. */
function parts({ inputs, targets }: Batch, size: number): Batch[] {
  return Array.from({ length: inputs.length / size }, (_, i) => ({
    inputs: inputs.subarray(i * size, (i + 1) * size),
    targets: targets.subarray(i * size, (i + 1) * size),
  }));
}
