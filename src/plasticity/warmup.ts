/**
 * When a warm-up may end: three looks at the loss, of which two must agree that it has settled.
 *
 * @module
 */
import { checkNumber } from "../ranges.ts";
import { smoothed } from "./stability.ts";

/** What {@linkcode detectWarmupEnd} waits for. */
export interface WarmupOptions {
  /** Steps without a new lowest loss before it looks at all; twice as many end the warm-up. */
  readonly patience: number;
  /** Steps before which nothing is stable. */
  readonly minSteps: number;
}

/** What the decision was made of; a look that there are too few losses for is absent. */
export interface WarmupParts {
  /** Steps since the smoothed loss was lowest. */
  steps_without_decrease: number;
  /** A parabola through the last smoothed losses: its slope at the end, in nats per step... */
  slope?: number;
  /** ...and its second derivative. */
  curvature?: number;
  /** Whether the parabola is flat, or turns up. */
  curve_stable?: boolean;
  /** Relative drop from each of the last windows to the next. */
  window_improvements?: number[];
  /** Whether these drops shrink, and the last is below 1 %. */
  windows_stable?: boolean;
  /** Relative drop of the loss from the first tenth of the steps to the last. */
  total_improvement?: number;
  /** What of it the second half of the steps brought. */
  second_half_share?: number;
  /** Whether there was a drop, and most of it lies in the first half. */
  halves_stable?: boolean;
}

/** Whether a warm-up may end, why in words, and the numbers. */
export interface WarmupEnd {
  /** Whether it may. */
  stable: boolean;
  /** What was decisive. */
  reason: string;
  /** The numbers. */
  parts: WarmupParts;
}

/** Steps of a moving mean: a raw loss is of one batch, and its noise would decide. */
export const SMOOTHING = 5;
const CURVE = 30;
const WINDOWS = { count: 5, length: 5 };

/**
 * Decides whether a warm-up has settled. Nothing is stable before `minSteps`, nor while the smoothed
 * loss was lowest less than `patience` steps ago. Then, on losses smoothed over
 * {@linkcode SMOOTHING} steps, two of these must hold:
 *
 * 1. the parabola of least squares through the last 30 bends up (half its second derivative above
 *    5e-4), or is flat at the end (slope below 0.01 a step either way, second derivative below
 *    0.005), or rises there by more than 0.01 a step;
 * 2. the means of the last five windows of five drop less and less, and at last by under 1 %;
 * 3. (from twice `minSteps` on) the loss has dropped by more than 5 %, and less than a fifth of that
 *    in the second half of the steps.
 *
 * Twice `patience` steps without a new lowest loss end it anyway. The system this follows looks at raw
 * losses and counts a step as a decrease where it is no higher than the one before it: any lucky
 * batch starts the count anew.
 *
 * @param losses Training losses, one a step, oldest first.
 * @throws {RangeError} If a loss is not finite, or an option out of range.
 */
export function detectWarmupEnd(
  losses: readonly number[],
  { patience, minSteps }: WarmupOptions,
): WarmupEnd {
  checkNumber("patience", patience, { min: 1, whole: true });
  checkNumber("minSteps", minSteps, { min: 0, whole: true });
  for (const loss of losses) checkNumber("a loss", loss, {});
  const smooth = smoothed(losses, SMOOTHING);
  const lowest = smooth.reduce((best, loss, i) => loss < smooth[best] ? i : best, 0);
  const since = Math.max(0, smooth.length - 1 - lowest);
  const parts: WarmupParts = {
    steps_without_decrease: since,
    ...curveParts(smooth.slice(-CURVE)),
    ...windowParts(smooth),
    ...(losses.length >= 2 * minSteps ? halfParts(losses) : {}),
  };
  const no = (reason: string): WarmupEnd => ({ stable: false, reason, parts });
  if (losses.length < minSteps) return no(`step ${losses.length} is before ${minSteps}`);
  if (since < patience) return no(`the smoothed loss was lowest ${since} steps ago`);
  if (since > 2 * patience) {
    return { stable: true, reason: `the smoothed loss was lowest ${since} steps ago`, parts };
  }
  const agree = [
    parts.curve_stable && "its curve is flat",
    parts.windows_stable && "its drops shrink",
    parts.halves_stable && "most of its drop is behind it",
  ].filter(Boolean);
  if (agree.length < 2) return no(`of three looks at the loss ${agree.length} call it stable`);
  return { stable: true, reason: `the loss is stable: ${agree.join(", ")}`, parts };
}

/** Least squares of y = a x^2 + b x + c, with x centred so that the sums stay apart. */
function curveParts(
  losses: readonly number[],
): Pick<WarmupParts, "slope" | "curvature" | "curve_stable"> {
  const n = losses.length;
  if (n < CURVE) return {};
  const middle = (n - 1) / 2;
  const x = losses.map((_, i) => i - middle);
  const sum = (of: (i: number) => number) => losses.reduce((total, _, i) => total + of(i), 0);
  // odd powers of a centred x sum to 0: b stands alone, a and c share two equations
  const s2 = sum((i) => x[i] ** 2), s4 = sum((i) => x[i] ** 4);
  const y = sum((i) => losses[i]), xy = sum((i) => x[i] * losses[i]);
  const xxy = sum((i) => x[i] ** 2 * losses[i]);
  const a = (n * xxy - s2 * y) / (n * s4 - s2 * s2), b = xy / s2;
  const slope = 2 * a * x[n - 1] + b, curvature = 2 * a;
  const flat = Math.abs(slope) < 0.01 && Math.abs(curvature) < 0.005;
  return { slope, curvature, curve_stable: a > 5e-4 || flat || slope > 0.01 };
}

function windowParts(
  losses: readonly number[],
): Pick<WarmupParts, "window_improvements" | "windows_stable"> {
  const { count, length } = WINDOWS;
  if (losses.length < count * length) return {};
  const recent = losses.slice(-count * length);
  const means = Array.from(
    { length: count },
    (_, w) => mean(recent.slice(w * length, (w + 1) * length)),
  );
  const drops = means.slice(1).map((value, i) => (means[i] - value) / means[i]);
  const shrink = drops.every((drop, i) => i === 0 || drop <= drops[i - 1]);
  return { window_improvements: drops, windows_stable: shrink && drops[drops.length - 1] < 0.01 };
}

function halfParts(
  losses: readonly number[],
): Pick<WarmupParts, "total_improvement" | "second_half_share" | "halves_stable"> {
  const tenth = Math.max(1, Math.floor(losses.length / 10)), half = Math.floor(losses.length / 2);
  if (losses.length < 3 * tenth) return {};
  const first = mean(losses.slice(0, tenth)), last = mean(losses.slice(-tenth));
  const middle = mean(losses.slice(half - Math.ceil(tenth / 2), half + Math.ceil(tenth / 2)));
  const total = (first - last) / first;
  const share = total > 0 ? (middle - last) / (first - last) : 0;
  return {
    total_improvement: total,
    second_half_share: share,
    halves_stable: total > 0.05 && share < 0.2,
  };
}

/** A third of a warm-up: its first and last loss, smoothed, and whether it still learned. */
export interface WarmupSegment {
  /** Steps it holds. */
  steps: number;
  /** Mean of its first losses. */
  first_loss: number;
  /** Mean of its last losses. */
  last_loss: number;
  /** 1 - last / first. */
  improvement: number;
  /** Whether it improved by more than 1 %. */
  still_improving: boolean;
}

/** The first, middle and last third of a warm-up; none where there are too few losses. */
export function warmupSegments(losses: readonly number[]): WarmupSegment[] {
  if (losses.length < 3 * SMOOTHING) return [];
  const third = losses.length / 3;
  return [0, 1, 2].map((i) => {
    const part = losses.slice(Math.round(i * third), Math.round((i + 1) * third));
    const first_loss = mean(part.slice(0, SMOOTHING)), last_loss = mean(part.slice(-SMOOTHING));
    const improvement = 1 - last_loss / first_loss;
    const still_improving = improvement > 0.01;
    return { steps: part.length, first_loss, last_loss, improvement, still_improving };
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
