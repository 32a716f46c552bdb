/**
 * Several measurements of one thing, summed up.
 *
 * @module
 */
import type { Spread } from "./record.ts";

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
