/**
 * The learning rate as a function of the step.
 *
 * @module
 */

/** How a rate falls after warm-up. */
export const DECAYS = ["linear", "cosine", "constant"] as const;

/** One of {@linkcode DECAYS}. */
export type Decay = typeof DECAYS[number];

/** Linear warm-up to a peak, then a decay to a floor. */
export interface Schedule {
  /** The highest learning rate, reached by the last warm-up step. */
  readonly peak: number;
  /** Steps of warm-up; 0 for none. */
  readonly warmup: number;
  /** Steps, warm-up included, after which the rate is at its floor and stays there. */
  readonly horizon: number;
  /** The shape of the decay; `"constant"` stays at the peak for ever. */
  readonly decay: Decay;
  /** Where the decay ends; 0 unless given. Of no effect for `"constant"`. */
  readonly floor?: number;
}

/**
 * Checks a schedule.
 *
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If the decay is unknown.
 */
export function checkSchedule(schedule: Schedule): void {
  const { peak, warmup, horizon, decay, floor = 0 } = schedule;
  if (!(peak > 0 && Number.isFinite(peak))) {
    throw new RangeError(`peak must be a positive number: ${peak}`);
  }
  if (!Number.isInteger(warmup) || warmup < 0) {
    throw new RangeError(`warmup must be a whole number, 0 or more: ${warmup}`);
  }
  if (!Number.isInteger(horizon) || horizon < 1 || horizon < warmup) {
    throw new RangeError(
      `horizon must be a whole number, 1 or more and not below warmup ${warmup}: ${horizon}`,
    );
  }
  if (!DECAYS.includes(decay)) {
    throw new TypeError(`decay must be one of ${DECAYS.join(", ")}: ${decay}`);
  }
  if (!(floor >= 0 && floor <= peak)) {
    throw new RangeError(`floor must be between 0 and the peak ${peak}: ${floor}`);
  }
}

/**
 * The rate of one optimizer step.
 *
 * In warm-up it is `peak * (step + 1) / warmup`: the first step already learns, unlike in
 * transformers' schedules, where it has rate 0 and is lost. After it, with
 * `p = (step - warmup) / (horizon - warmup)`, at most 1:
 * - linear: `peak - (peak - floor) * p`
 * - cosine: `floor + (peak - floor) * (1 + cos(pi p)) / 2` (Loshchilov & Hutter 2017, one period)
 *
 * @param step Optimizer steps taken before this one.
 * @throws {RangeError} If the step or the schedule is out of range.
 * @throws {TypeError} If the decay is unknown.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const schedule = { peak: 1, warmup: 2, horizon: 6, decay: "linear" } as const;
 * const rates = [0, 1, 2, 3, 4, 5, 6].map((step) => learningRate(step, schedule));
 * assert.deepEqual(rates, [0.5, 1, 1, 0.75, 0.5, 0.25, 0]);
 * ```
 */
export function learningRate(step: number, schedule: Schedule): number {
  checkSchedule(schedule);
  if (!Number.isInteger(step) || step < 0) {
    throw new RangeError(`step must be a whole number, 0 or more: ${step}`);
  }
  const { peak, warmup, horizon, decay, floor = 0 } = schedule;
  if (step < warmup) return peak * (step + 1) / warmup;
  if (decay === "constant") return peak;
  if (step >= horizon) return floor;
  const p = (step - warmup) / (horizon - warmup);
  if (decay === "linear") return peak - (peak - floor) * p;
  return floor + (peak - floor) * (1 + Math.cos(Math.PI * p)) / 2;
}
