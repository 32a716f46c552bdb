/**
 * When warm-up may end early: the loss has stopped moving.
 *
 * @module
 */

/** What {@linkcode detectStability} compares with. */
export interface StabilityOptions {
  /** Losses looked at: the last so many (`--stability_window`). 4 or more. */
  readonly window: number;
  /** Optimizer steps taken so far. */
  readonly step: number;
  /** Optimizer steps of the whole warm-up; before half of them nothing is stable. */
  readonly warmupSteps: number;
  /** Standard deviation of the window over its mean, at most; 0.05 unless given. */
  readonly maxRelativeStd?: number;
  /** Change between the window's halves over its mean, at most; 0.01 unless given. */
  readonly maxTrend?: number;
}

/** What the decision was made of. A part that could not be computed yet is absent. */
export interface StabilityParts {
  /** Losses in hand, of those the window asks for. */
  losses: number;
  /** Whether half the warm-up is over. */
  half_warmup_over: boolean;
  /** Population standard deviation over mean. */
  relative_std?: number;
  /** (mean of the first half - mean of the second half) / mean: positive while the loss falls. */
  trend?: number;
}

/** Whether the loss is stable, why in words, and the numbers. */
export interface Stability {
  /** Whether warm-up may end. */
  stable: boolean;
  /** Which condition failed first, or that all hold, with its numbers. */
  reason: string;
  /** The numbers. */
  parts: StabilityParts;
}

/**
 * Decides whether a loss is stable. It is when all of these hold:
 * 1. half the warm-up is over (a learning rate that has just begun also makes a flat loss);
 * 2. a whole window of losses is there;
 * 3. the window's relative standard deviation is at most `maxRelativeStd`: it is not noisy;
 * 4. the means of its two halves differ by at most `maxTrend` of its mean, in either direction: a
 *    loss that falls still learns, and one that rises is not stable either. (An odd window leaves
 *    its middle loss out of both.)
 *
 * Of N losses with independent noise of relative deviation s, the trend alone has a deviation of
 * `2 s / sqrt(N)`: for a window of 20 and s = 0.03 that is 0.013, so feed losses that are smoothed
 * or evaluated, or noise decides.
 *
 * @param losses Smoothed training losses or evaluation losses, oldest first.
 * @throws {RangeError} If a loss in the window is not positive and finite, or an option is out of
 * range.
 */
export function detectStability(
  losses: readonly number[],
  { window, step, warmupSteps, maxRelativeStd = 0.05, maxTrend = 0.01 }: StabilityOptions,
): Stability {
  if (!Number.isInteger(window) || window < 4) {
    throw new RangeError(`stability_window must be a whole number, 4 or more: ${window}`);
  }
  for (const [name, value] of Object.entries({ step, warmupSteps, maxRelativeStd, maxTrend })) {
    if (!(value >= 0 && Number.isFinite(value))) {
      throw new RangeError(`${name} must be 0 or more: ${value}`);
    }
  }
  const last = losses.slice(-window);
  for (const loss of last) {
    if (!(loss > 0 && Number.isFinite(loss))) {
      throw new RangeError(`a loss must be positive and finite: ${loss}`);
    }
  }
  const parts: StabilityParts = { losses: last.length, half_warmup_over: 2 * step >= warmupSteps };
  if (last.length < window) {
    return { stable: false, reason: `${last.length} of ${window} losses are in`, parts };
  }
  const mean = average(last);
  const half = Math.floor(window / 2);
  parts.relative_std = Math.sqrt(average(last.map((loss) => (loss - mean) ** 2))) / mean;
  parts.trend = (average(last.slice(0, half)) - average(last.slice(-half))) / mean;
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  const over = `over the last ${window} losses`;
  if (!parts.half_warmup_over) {
    return { stable: false, reason: `step ${step} is before half of ${warmupSteps}`, parts };
  }
  if (Math.abs(parts.trend) > maxTrend) {
    const way = parts.trend > 0 ? "falls" : "rises";
    const reason = `the loss still ${way} by ${percent(Math.abs(parts.trend))} ${over}`;
    return { stable: false, reason, parts };
  }
  if (parts.relative_std > maxRelativeStd) {
    const reason = `the loss varies by ${percent(parts.relative_std)} ${over}`;
    return { stable: false, reason, parts };
  }
  const reason = `the loss varies by ${percent(parts.relative_std)} and moves by ${
    percent(Math.abs(parts.trend))
  } ${over}`;
  return { stable: true, reason, parts };
}

/** Means over `span` losses, one for each loss that ends so many. */
export function smoothed(losses: readonly number[], span: number): number[] {
  const means: number[] = [];
  for (let end = span; end <= losses.length; end++) {
    means.push(average(losses.slice(end - span, end)));
  }
  return means;
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
