/**
 * Checks of single values, with errors that name the value and what it must be.
 *
 * @module
 */
import { didYouMean } from "./nearest.ts";

/** What a number must be; what is not named is free, but it is always finite. */
export interface NumberRange {
  /** At least this. */
  readonly min?: number;
  /** At most this. */
  readonly max?: number;
  /** More than this. */
  readonly above?: number;
  /** Less than this. */
  readonly below?: number;
  /** A whole number, small enough to be exact. */
  readonly whole?: boolean;
}

/**
 * Checks a number.
 *
 * @param name What the error calls it.
 * @param given What the error shows, where that is not the value itself.
 * @returns The value.
 * @throws {RangeError} If it is not a number in the range.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { checkNumber } from "./ranges.ts";
 *
 * assert.throws(() => checkNumber("pruning_level", 1.3, { min: 0, max: 1 }), {
 *   message: "pruning_level must be between 0 and 1: 1.3",
 * });
 * ```
 */
export function checkNumber(
  name: string,
  value: unknown,
  range: NumberRange,
  given: unknown = value,
): number {
  const { min = -Infinity, max = Infinity, above = -Infinity, below = Infinity, whole } = range;
  const good = typeof value === "number" && Number.isFinite(value) &&
    value >= min && value <= max && value > above && value < below &&
    (!whole || Number.isSafeInteger(value));
  if (good) return value;
  // a text that looks like the number it should be is told by its quotes
  const shown = typeof value === "string" ? JSON.stringify(value) : given;
  const told = whole && Math.abs(value as number) > Number.MAX_SAFE_INTEGER
    ? { max: Number.MAX_SAFE_INTEGER, ...range }
    : range;
  throw new RangeError(
    `${name} must be ${describeRange(told)}: ${shown}${asShare(value, range)}`,
  );
}

/** What a percentage is as a share, if one was given for a share. */
function asShare(value: unknown, { max }: NumberRange): string {
  if (max !== 1 || typeof value !== "number" || !(value > 2 && value <= 100)) return "";
  return `; for ${value} % give ${Number((value / 100).toPrecision(12))}`;
}

/** A range in words: `between 0 and 1`, `a whole number, 1 or more`, `above 0 and at most 1`. */
export function describeRange({ min, max, above, below, whole }: NumberRange): string {
  if (min !== undefined && max !== undefined) {
    return whole ? `a whole number from ${min} to ${max}` : `between ${min} and ${max}`;
  }
  const parts: string[] = [];
  if (above !== undefined) parts.push(`above ${above}`);
  if (min !== undefined) parts.push(`${min} or more`);
  if (max !== undefined) parts.push(`at most ${max}`);
  if (below !== undefined) parts.push(`below ${below}`);
  const bounds = parts.join(" and ");
  if (whole) return bounds ? `a whole number, ${bounds}` : "a whole number";
  return bounds || "a number";
}

/**
 * Checks that a value is one of a few.
 *
 * @param name What the error calls it.
 * @returns The value.
 * @throws {TypeError} If it is another.
 */
export function checkChoice<const C extends string>(
  name: string,
  value: unknown,
  choices: readonly C[],
): C {
  if (!choices.includes(value as C)) {
    throw new TypeError(
      `${name} must be one of ${choices.join(", ")}: ${value}${didYouMean(String(value), choices)}`,
    );
  }
  return value as C;
}
