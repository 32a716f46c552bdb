/**
 * Mean ablation: a head that is removed for good leaves its mean output behind, in the bias of its
 * layer's output projection. Zero is no usual output of a head; its mean is the constant that is
 * nearest to what it did on the text that it was measured on.
 *
 * All means are of the model as it is when it is measured, heads that will go together among them.
 *
 * @module
 */
import type { Batch } from "../data/batches.ts";
import type { Model } from "../data/model_files.ts";
import { Activations } from "../gpt2/activations.ts";
import { forward } from "../gpt2/forward.ts";
import { foldMeans, type HeadPlace, reshapeHeads, without } from "../gpt2/heads.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { Plan, submit } from "../gpu/kernel.ts";
import { Arena, download, first } from "../gpu/tensor.ts";
import { columnSums } from "../kernels/matmul.ts";

/**
 * Measures every live head's mean output before its gate, over all positions of the batches.
 *
 * @param acts Activations to work in, of the batches' shape; a trainer's may be lent.
 * @param signal Stops between batches.
 * @returns `[L, NH, HS]`; NaN for heads that are not live.
 * @throws {RangeError} If there is no batch, or one is of another shape.
 * @throws The signal's reason.
 */
export async function measureMeans(
  model: Gpt2,
  acts: Activations,
  batches: readonly Batch[],
  signal?: AbortSignal,
): Promise<Float32Array> {
  if (batches.length === 0) throw new RangeError("Mean outputs need one batch of text at least");
  const { gpu, live, config: { L, NH, HS } } = model;
  const { rows } = acts;
  using sums = new Arena(gpu, "mean outputs", live.map((heads) => heads.length * HS));
  using plan = new Plan(gpu);
  const afterLayer = (layer: number) => {
    const N = live[layer].length * HS;
    const dout = first(acts.layers[layer].z, rows * N);
    return [columnSums(plan, { dout, dbias: sums.tensors[layer] }, { rows, N })];
  };
  const list = forward(plan, model, acts, { afterLayer });
  for (const { inputs, targets } of batches) {
    signal?.throwIfAborted();
    acts.upload(inputs, targets);
    submit(gpu, list);
  }
  const found = await download(gpu, ...sums.tensors);
  const means = new Float32Array(L * NH * HS).fill(NaN);
  live.forEach((heads, layer) =>
    heads.forEach((head, at) => {
      const own = found[layer].subarray(at * HS, (at + 1) * HS);
      means.set(own.map((sum) => sum / (rows * batches.length)), (layer * NH + head) * HS);
    })
  );
  return means;
}

/**
 * Removes heads from a model and leaves their mean outputs in the biases.
 *
 * @param heads Heads to remove; live ones, each once.
 * @param calibration Batches of text to take the means over, `B * T` tokens each.
 * @returns The model without them, in every other respect as it was; save it in either form.
 * @throws {RangeError} If a head is not live, or batches do not fit.
 * @throws {GpuError} If the adapter cannot hold the model.
 */
export async function meanAblate<M extends Pick<Model, "config" | "live" | "weights">>(
  gpu: Gpu,
  model: M,
  heads: readonly HeadPlace[],
  { batches, B, T, signal }: {
    batches: readonly Batch[];
    B: number;
    T: number;
    signal?: AbortSignal;
  },
): Promise<M> {
  const { config, live, weights } = model;
  using onDevice = new Gpt2(gpu, config, weights, live);
  using acts = new Activations(onDevice, { B, T, training: false });
  const means = await measureMeans(onDevice, acts, batches, signal);
  const folded = foldMeans(config, weights, live, { heads, means });
  const left = without(live, heads);
  return { ...model, live: left, weights: reshapeHeads(config, folded, live, left) };
}
