/**
 * What the controller and the pruning scores may see of a model: one measured number per head.
 * What was not collected is absent, and whatever needs it does not run.
 *
 * @module
 */
import type { LiveHeads } from "../gpt2/layout.ts";

/** The measurements a {@linkcode HeadMetrics} may carry. */
export const METRIC_KEYS = [
  "entropyNats",
  "entropy",
  "firstKey",
  "outputNorm",
  "gradNorm",
  "gateGrad",
  "gateGradAbs",
  "gateGradSq",
  "importance",
] as const;

/** The name of one measurement. */
export type MetricKey = typeof METRIC_KEYS[number];

/**
 * Measured numbers of every head, each an array `[L, NH]` in (layer, head) order. Entries of heads
 * that are not live are ignored (NaN says so best); those of live heads must be finite.
 */
export interface HeadMetrics {
  /** Layers. */
  readonly L: number;
  /** Heads in each layer of the full model. */
  readonly NH: number;
  /** The heads that were computed when this was measured. */
  readonly live: LiveHeads;
  /** Mean attention entropy of a row, in nats, first row left out. */
  readonly entropyNats?: Float32Array;
  /** The same, each row divided by the ln of the keys it sees: 0 (one key) to 1 (uniform). */
  readonly entropy?: Float32Array;
  /** Mean attention weight on the first key, first row left out. */
  readonly firstKey?: Float32Array;
  /** Mean L2 norm of the head's output before the gate. */
  readonly outputNorm?: Float32Array;
  /** L2 norm of the gradient of the head's q, k, v and output-projection weights. */
  readonly gradNorm?: Float32Array;
  /** d loss / d gate, signed, of the mean loss per token: positive where closing the gate helps. */
  readonly gateGrad?: Float32Array;
  /** Mean over sequences of |d loss / d gate|. */
  readonly gateGradAbs?: Float32Array;
  /** Mean over sequences of (d loss / d gate)^2. */
  readonly gateGradSq?: Float32Array;
  /** What the loss gains by the head: relu(loss without it - loss), over the largest; 0 to 1. */
  readonly importance?: Float32Array;
}

/**
 * Turns lists of live heads into a mask `[L, NH]` of ones and zeros.
 *
 * @throws {RangeError} If there is not one list a layer, or a head is out of range or not ascending.
 */
export function liveMask(live: LiveHeads, L: number, NH: number): Uint8Array {
  if (live.length !== L) {
    throw new RangeError(`live heads must be given for ${L} layers: ${live.length}`);
  }
  const mask = new Uint8Array(L * NH);
  live.forEach((heads, layer) => {
    let last = -1;
    for (const head of heads) {
      if (!Number.isInteger(head) || head <= last || head >= NH) {
        throw new RangeError(
          `live heads of layer ${layer} must be ascending numbers below ${NH}: [${heads}]`,
        );
      }
      mask[layer * NH + head] = 1;
      last = head;
    }
  });
  return mask;
}

/**
 * Checks one measurement: its length, and a finite number for every live head.
 *
 * @param name What to call it in an error.
 * @throws {RangeError} If either is wrong.
 */
export function checkPerHead(
  name: string,
  values: ArrayLike<number>,
  { L, NH, live }: Pick<HeadMetrics, "L" | "NH" | "live">,
): void {
  if (values.length !== L * NH) {
    throw new RangeError(
      `${name} must hold ${L * NH} numbers (${L} layers x ${NH} heads): ${values.length}`,
    );
  }
  live.forEach((heads, layer) => {
    for (const head of heads) {
      const value = values[layer * NH + head];
      if (!Number.isFinite(value)) {
        throw new RangeError(`${name} of layer ${layer} head ${head} must be finite: ${value}`);
      }
    }
  });
}

/**
 * Checks the sizes, the live heads and every measurement that is present.
 *
 * @throws {RangeError} If a length is wrong, or a live head's number is not finite.
 */
export function checkHeadMetrics(metrics: HeadMetrics): void {
  for (const key of ["L", "NH"] as const) {
    if (!Number.isInteger(metrics[key]) || metrics[key] < 1) {
      throw new RangeError(`${key} must be a positive whole number: ${metrics[key]}`);
    }
  }
  liveMask(metrics.live, metrics.L, metrics.NH);
  for (const key of METRIC_KEYS) {
    const values = metrics[key];
    if (values !== undefined) checkPerHead(key, values, metrics);
  }
}

/**
 * Head importance by leaving one out: `relu(loss without the head - loss)`, divided by its largest
 * value (left at 0 everywhere if removing no head hurts). Costs an evaluation per live head, all on
 * the same tokens.
 *
 * @param loss Mean loss of the model as it is.
 * @param lossWithout Mean loss `[L, NH]` with that one head's gate at 0.
 * @returns Importance `[L, NH]`, NaN for heads that are not live.
 * @throws {RangeError} If a loss is not finite or the length is wrong.
 */
export function headImportance(
  loss: number,
  lossWithout: ArrayLike<number>,
  shape: Pick<HeadMetrics, "L" | "NH" | "live">,
): Float32Array {
  if (!Number.isFinite(loss)) throw new RangeError(`loss must be finite: ${loss}`);
  checkPerHead("lossWithout", lossWithout, shape);
  const mask = liveMask(shape.live, shape.L, shape.NH);
  const harm = Array.from(mask, (on, i) => on ? Math.max(0, lossWithout[i] - loss) : NaN);
  const most = harm.reduce((a, b) => b > a ? b : a, 0);
  return Float32Array.from(harm, (value) => most > 0 ? value / most : value);
}
