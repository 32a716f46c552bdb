/**
 * The one comparer of numbers, and the seeded numbers that tests feed to it.
 *
 * @module
 */
import { AssertionError } from "node:assert/strict";

/** How far two numbers may lie apart: `|actual - expected| <= atol + rtol * |expected|`. */
export interface Tolerance {
  /** Absolute part, in the unit of the values. */
  atol: number;
  /** Share of `|expected|`; 0 unless given. */
  rtol?: number;
  /** What is compared, for the message. */
  what?: string;
}

/**
 * Passes where every `|actual - expected| <= atol + rtol * |expected|`. NaN and infinities fail on
 * either side, and so do empty or unequal lengths: a comparison of nothing has shown nothing.
 *
 * @returns The largest share of the tolerance that an element used, from 0 to 1.
 * @throws {AssertionError} Naming the worst element, both values and the share.
 * @throws {RangeError} If a tolerance is negative or not finite.
 */
export function assertClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { atol, rtol = 0, what = "values" }: Tolerance,
): number {
  if (!(atol >= 0 && atol < Infinity && rtol >= 0 && rtol < Infinity)) {
    throw new RangeError(`tolerances must be finite and not negative: atol ${atol}, rtol ${rtol}`);
  }
  assertComparable(actual, expected, what);
  let worst = 0, worstShare = -1, failures = 0;
  for (let i = 0; i < expected.length; i++) {
    const share = shareUsed(actual[i], expected[i], atol + rtol * Math.abs(expected[i]));
    if (share > 1) failures++;
    if (share > worstShare) {
      worst = i;
      worstShare = share;
    }
  }
  if (failures > 0) {
    throw new AssertionError({
      message:
        `${what}: ${failures} of ${expected.length} are too far off; the worst is [${worst}]` +
        `: ${actual[worst]}, expected ${expected[worst]}: ${
          (100 * worstShare).toPrecision(4)
        } % of the tolerance (atol ${atol}, rtol ${rtol})`,
    });
  }
  return worstShare;
}

/** Above 1 exactly where the error passes the tolerance; infinite for what is not a number. */
function shareUsed(actual: number, expected: number, tolerance: number): number {
  const error = Math.abs(actual - expected);
  if (!Number.isFinite(error)) return Infinity;
  if (error === 0) return 0;
  const share = error / tolerance;
  return error > tolerance ? Math.max(share, 1 + Number.EPSILON) : share;
}

/**
 * `|actual - expected| / |expected|` in the L2 norm. Where `expected` is all zeros it is 0 if
 * `actual` is too, and infinite otherwise. NaN or an infinity on either side gives NaN or infinity.
 *
 * @throws {AssertionError} If the lengths are zero or differ.
 */
export function relativeL2(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assertComparable(actual, expected, "values");
  let error = 0, norm = 0, same = true;
  for (let i = 0; i < expected.length; i++) {
    error += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
    same &&= actual[i] === expected[i];
  }
  if (norm === 0) return same ? 0 : Infinity;
  return Math.sqrt(error) / Math.sqrt(norm);
}

/**
 * Passes where {@linkcode relativeL2} is at most `tolerance`; NaN fails.
 *
 * @returns The share of the tolerance used, from 0 to 1.
 * @throws {AssertionError} Naming the distance and the element that adds most to it.
 * @throws {RangeError} If the tolerance is negative or not finite.
 */
export function assertRelativeL2(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
  what = "values",
): number {
  if (!(tolerance >= 0 && tolerance < Infinity)) {
    throw new RangeError(`the tolerance must be finite and not negative: ${tolerance}`);
  }
  assertComparable(actual, expected, what);
  const distance = relativeL2(actual, expected);
  if (!(distance <= tolerance)) {
    let worst = 0, worstShare = -1;
    for (let i = 0; i < expected.length; i++) {
      const share = shareUsed(actual[i], expected[i], 1);
      if (share > worstShare) {
        worst = i;
        worstShare = share;
      }
    }
    throw new AssertionError({
      message: `${what}: relative L2 distance ${distance.toPrecision(4)} of ${expected.length} ` +
        `values is ${(100 * distance / tolerance).toPrecision(4)} % of the tolerance ${tolerance}` +
        `; the worst is [${worst}]: ${actual[worst]}, expected ${expected[worst]}`,
    });
  }
  return distance === 0 ? 0 : distance / tolerance;
}

function assertComparable(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  what: string,
): void {
  if (actual.length !== expected.length) {
    throw new AssertionError({
      message: `${what}: ${actual.length} values, expected ${expected.length}`,
    });
  }
  if (expected.length === 0) {
    throw new AssertionError({ message: `${what}: nothing to compare` });
  }
}

/** A stream of numbers in [0, 1), the same for the same seed (Tommy Ettinger's mulberry32). */
export function randomStream(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * `n` numbers spread evenly over `[-scale, scale]`, the same for the same seed. They are exact in
 * f32, so that a kernel and its f64 oracle start from the same input.
 */
export function randomArray(n: number, seed: number, scale = 1): Float32Array<ArrayBuffer> {
  const next = randomStream(seed);
  return Float32Array.from({ length: n }, () => (2 * next() - 1) * scale);
}

/** `n` whole numbers in `[0, below)`, the same for the same seed: tokens, targets. */
export function randomIntegers(
  n: number,
  seed: number,
  below: number,
): Uint32Array<ArrayBuffer> {
  const next = randomStream(seed);
  return Uint32Array.from({ length: n }, () => Math.floor(next() * below));
}
