/**
 * Several measurements of one thing, summed up.
 *
 * @module
 */
import type { Estimate, Spread } from "./record.ts";

/**
 * The median of some measurements, and how far they lie apart.
 *
 * @throws {RangeError} If there are none.
 */
export function spread(values: readonly number[]): Spread {
  const n = values.length;
  if (n === 0) throw new RangeError("Nothing was measured");
  const sorted = [...values].sort((a, b) => a - b);
  const median = (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2;
  return { median, min: sorted[0], max: sorted[n - 1], n };
}

/** What a 95 % confidence interval leaves out on each side. */
const TAIL = 0.025;

/**
 * The mean of independent values with its standard error, and its 95 % confidence interval by Student's t.
 *
 * @throws {RangeError} If there are none.
 */
export function estimate(values: readonly number[]): Estimate {
  const { n, min: least, max: most } = spread(values);
  const mean = values.reduce((a, b) => a + b, 0) / n;
  if (n === 1) return { n, mean, least, most };
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = Math.sqrt(squares / (n - 1)), error = deviation / Math.sqrt(n);
  const half = studentT(TAIL, n - 1) * error;
  return { n, mean, least, most, deviation, error, interval: [mean - half, mean + half] };
}

/**
 * The quantile of Student's t that a share of the distribution lies above.
 *
 * @param tail That share, more than 0 and less than 0.5. @param freedom Degrees of freedom, 1, 2, ...
 */
export function studentT(tail: number, freedom: number): number {
  // by halving: theta grows with t = sqrt(freedom) tan(theta)
  let low = 0, high = Math.PI / 2;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if ((1 - withinT(middle, freedom)) / 2 > tail) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan((low + high) / 2);
}

/**
 * The share of Student's t between -t and t, where t = sqrt(freedom) tan(theta): a finite sum for whole
 * degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
 */
function withinT(theta: number, freedom: number): number {
  const cosine = Math.cos(theta), even = freedom % 2 === 0;
  let term = even ? 1 : cosine, sum = freedom === 1 ? 0 : term;
  for (let i = even ? 2 : 3; i < freedom; i += 2) {
    term *= (i - 1) / i * cosine ** 2;
    sum += term;
  }
  const series = Math.sin(theta) * sum;
  return even ? series : 2 / Math.PI * (theta + series);
}
