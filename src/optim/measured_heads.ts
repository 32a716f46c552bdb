/**
 * What training passes measure of every head.
 *
 * @module
 */
import type { Gpt2 } from "../gpt2/model.ts";
import { HEAD_SUMS } from "../kernels/headstats.ts";

/**
 * Head metrics averaged over passes, L * NH numbers in (layer, head) order; NaN for pruned heads.
 * Entropy, first-key weight and output norm come from forward, the rest from backward.
 */
export interface MeasuredHeads {
  /** Mean attention entropy of a row, in nats, first row left out. */
  entropyNats: Float32Array;
  /** The same, each row divided by the ln of the keys it sees: 0 (one key) to 1 (uniform). */
  entropy: Float32Array;
  /** Mean attention weight on the first key, first row left out. */
  firstKey: Float32Array;
  /** Mean L2 norm of the head's output before the gate. */
  outputNorm: Float32Array;
  /** d loss / d gate, signed, of the mean loss per token. */
  gateGrad: Float32Array;
  /** L2 norm of the gradient of the head's q, k, v and output-projection weights. */
  gradNorm: Float32Array;
  /** Mean over sequences of |d loss / d gate|. */
  gateGradAbs: Float32Array;
  /** Mean over sequences of (d loss / d gate)^2. */
  gateGradSq: Float32Array;
}

/** Order of the numbers in the device's sums; see `shaders/headstats.wgsl`. */
const SUM_NAMES = [
  "entropyNats",
  "entropy",
  "firstKey",
  "outputNorm",
  "gateGrad",
  "gradNorm",
  "gateGradAbs",
  "gateGradSq",
] as const satisfies readonly (keyof MeasuredHeads)[];

/** The means over passes of what the device summed: (live heads, 8). */
export function meanHeads(model: Gpt2, sums: Float32Array, passes: number): MeasuredHeads {
  return Object.fromEntries(SUM_NAMES.map((name, i) => {
    const live = Float32Array.from(
      { length: model.heads },
      (_, h) => sums[h * HEAD_SUMS + i] / passes,
    );
    return [name, model.scatter(live, NaN)];
  })) as unknown as MeasuredHeads;
}
