/**
 * A seeded random generator that is passed in, never global, and whose state is plain JSON.
 *
 * It is xoshiro128** (D. Blackman and S. Vigna, "Scrambled linear pseudorandom number generators",
 * 2018, https://prng.di.unimi.it/xoshiro128starstar.c), chosen because it needs 32-bit words only.
 * Seeds are spread over its state by the splitmix32 counter with the finaliser of MurmurHash3.
 *
 * @module
 */

/** Where a generator stands; survives `JSON.stringify` and back. */
export interface RandomState {
  /** The algorithm, so that a state of another one is never taken for it. */
  readonly kind: "xoshiro128**";
  /** Four unsigned 32-bit words, not all zero. */
  readonly words: readonly number[];
  /** The second normal deviate of the last pair, where it was not handed out yet. */
  readonly spare: number | null;
}

/** The finaliser of MurmurHash3: every bit of the input reaches every bit of the output. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function checkWhole(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(
      `${name} must be a whole number from 0 to ${Number.MAX_SAFE_INTEGER}: ${value}`,
    );
  }
}

/**
 * A stream of random numbers. The same seed and stream give the same numbers on every machine.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { Random } from "./random.ts";
 *
 * const random = new Random(7);
 * const state = random.state;
 * const first = random.next();
 * assert.equal(Random.restore(state).next(), first);
 * ```
 */
export class Random {
  readonly #s = new Uint32Array(4);
  #spare: number | null = null;

  /**
   * A generator at the beginning of its stream.
   *
   * @param seed Any whole number from 0 to 2^53 - 1.
   * @param stream Tells apart generators of the same seed; same range.
   * @throws {RangeError} If either is not such a number.
   */
  constructor(seed: number, stream = 0) {
    checkWhole("seed", seed);
    checkWhole("stream", stream);
    let counter = 0;
    for (const word of [seed, seed / 2 ** 32, stream, stream / 2 ** 32]) {
      counter = mix(counter ^ (word >>> 0)) + 0x9e3779b9 >>> 0;
    }
    for (let i = 0; i < 4; i++) {
      counter = (counter + 0x9e3779b9) >>> 0;
      this.#s[i] = mix(counter);
    }
    // mix is a bijection and the four counters differ, so the words cannot all be zero.
  }

  /**
   * A generator that goes on from a saved state.
   *
   * @throws {TypeError} If the value is not a saved state.
   */
  static restore(state: RandomState): Random {
    const { kind, words, spare } = state ?? {};
    const good = kind === "xoshiro128**" && Array.isArray(words) && words.length === 4 &&
      words.every((w) => Number.isInteger(w) && w >= 0 && w < 2 ** 32) &&
      words.some((w) => w !== 0) && (spare === null || Number.isFinite(spare));
    if (!good) {
      throw new TypeError(
        `not the saved state of a xoshiro128** generator: ${JSON.stringify(state)}`,
      );
    }
    const random = new Random(0);
    random.#s.set(words);
    random.#spare = spare;
    return random;
  }

  /** Where the generator stands now. */
  get state(): RandomState {
    return { kind: "xoshiro128**", words: [...this.#s], spare: this.#spare };
  }

  /** A whole number, uniform on [0, 2^32). */
  uint32(): number {
    const s = this.#s;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** A number uniform on [0, 1), with 53 random bits. */
  next(): number {
    return ((this.uint32() >>> 5) * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53;
  }

  /** A normal deviate of mean 0 and variance 1, by the transform of Box and Muller (1958). */
  normal(): number {
    if (this.#spare !== null) {
      const value = this.#spare;
      this.#spare = null;
      return value;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.next())); // 1 - next() is in (0, 1]
    const angle = 2 * Math.PI * this.next();
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /**
   * A whole number, uniform on [0, n) without bias.
   *
   * @throws {RangeError} If n is not a whole number from 1 to 2^32.
   */
  int(n: number): number {
    if (!Number.isInteger(n) || n < 1 || n > 2 ** 32) {
      throw new RangeError(`n must be a whole number from 1 to ${2 ** 32}: ${n}`);
    }
    const limit = 2 ** 32 - (2 ** 32 % n); // draws at or above it would favour small results
    let draw = this.uint32();
    while (draw >= limit) draw = this.uint32();
    return draw % n;
  }

  /** Puts the items in a random order, in place (Fisher and Yates), and returns them. */
  shuffle<A extends { length: number; [index: number]: unknown }>(items: A): A {
    const list = items as { [index: number]: unknown };
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [list[i], list[j]] = [list[j], list[i]];
    }
    return items;
  }
}
