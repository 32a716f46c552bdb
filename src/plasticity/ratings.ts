/**
 * How well each pruning and growth strategy has done, and the draw of the next ones by it.
 *
 * @module
 */
import { checkChoice, checkNumber } from "../ranges.ts";

/** What a strategy is for. */
export type StrategyKind = "pruning" | "growth";

/** The strategies of one cycle, by name. */
export type StrategyPair = Readonly<Record<StrategyKind, string>>;

/** How a cycle ended. */
export type CycleOutcome =
  /** It was kept; `improvement` is that of `gainsBetween`, a share. */
  | { readonly success: true; readonly improvement: number }
  /** It was rolled back; its improvement is not looked at. */
  | { readonly success: false; readonly improvement?: number };

/** A number, 0 or more, for each name. */
export type Ratings = Readonly<Record<string, number>>;

/** The whole state of {@linkcode StrategyRatings}, as JSON. */
export type RatingsState = Record<StrategyKind, Record<string, number>>;

const KINDS = ["pruning", "growth"] as const;

/** No rating falls below this, so that every strategy is tried again. */
export const MIN_RATING = 0.1;

/** No rating rises above this. */
export const MAX_RATING = 10;

/** The ratings that strategies begin with: 0.5 for `random`, 1 for every other. */
export function startRatings(names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, name === "random" ? 0.5 : 1]));
}

/**
 * Draws an index with probability `weight / sum`, by one number from the source.
 *
 * @param weights 0 or more each; an index of weight 0 is never drawn.
 * @param random A seeded source of numbers in [0, 1).
 * @throws {RangeError} If a weight is negative or not finite, if their sum is 0 or not finite, or
 * if the source leaves its range.
 */
export function drawIndex(weights: readonly number[], random: () => number): number {
  const sum = sumOf(weights);
  const target = checkNumber("random()", random(), { min: 0, below: 1 }) * sum;
  let reached = 0;
  const drawn = weights.findIndex((weight) => (reached += weight) > target);
  // With subnormal weights the product may round up to the sum itself.
  return drawn >= 0 ? drawn : weights.findLastIndex((weight) => weight > 0);
}

/**
 * A rating from {@linkcode MIN_RATING} to {@linkcode MAX_RATING} for every named strategy.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { startRatings, StrategyRatings } from "./ratings.ts";
 *
 * const ratings = new StrategyRatings({
 *   pruning: startRatings(["entropy", "random"]),
 *   growth: startRatings(["balanced"]),
 * });
 * ratings.update({ pruning: "entropy", growth: "balanced" }, { success: true, improvement: 0.5 });
 * assert.deepEqual(ratings.probabilities("pruning"), { entropy: 0.75, random: 0.25 });
 * ```
 */
export class StrategyRatings {
  readonly #ratings: Record<StrategyKind, Map<string, number>>;

  /**
   * Ratings before the first cycle.
   *
   * @param start A rating for every strategy that may be drawn: {@linkcode startRatings}, or others.
   * Draws depend on the order of the names.
   * @throws {TypeError} If there is no strategy of a kind.
   * @throws {RangeError} If a rating is out of range.
   */
  constructor(start: Readonly<Record<StrategyKind, Ratings>>) {
    const read = (kind: StrategyKind) => {
      const entries = Object.entries(start?.[kind] ?? {});
      if (entries.length === 0) {
        throw new TypeError(`${kind} ratings must name at least one strategy`);
      }
      for (const [name, rating] of entries) {
        checkNumber(`rating of ${kind} strategy ${name}`, rating, {
          min: MIN_RATING,
          max: MAX_RATING,
        });
      }
      return new Map(entries);
    };
    this.#ratings = { pruning: read("pruning"), growth: read("growth") };
  }

  /** The names of a kind, in the order of the start values. */
  names(kind: StrategyKind): string[] {
    return [...this.#ratings[kind].keys()];
  }

  /**
   * The rating of one strategy.
   *
   * @throws {TypeError} If the name is unknown.
   */
  rating(kind: StrategyKind, name: string): number {
    this.#check(kind, name);
    return this.#ratings[kind].get(name)!;
  }

  /**
   * The probability of each name in a draw, `rating * preference / sum`.
   *
   * @param preferences As for {@linkcode draw}.
   * @throws {TypeError} If a preference is for an unknown name.
   * @throws {RangeError} If a preference is negative or not finite, or all are 0.
   */
  probabilities(kind: StrategyKind, preferences: Ratings = {}): Record<string, number> {
    const weights = this.#weights(kind, preferences);
    const sum = sumOf(weights);
    return Object.fromEntries(this.names(kind).map((name, i) => [name, weights[i] / sum]));
  }

  /**
   * Draws a strategy by rating, with one number from the source.
   *
   * @param random A seeded source of numbers in [0, 1).
   * @param preferences Multipliers of the ratings for this draw alone, 0 or more, such as a
   * controller's; 1 for names that are not given. A strategy of preference 0 is not drawn.
   * @throws {TypeError} If a preference is for an unknown name.
   * @throws {RangeError} If a preference is negative or not finite, all are 0, or the source leaves
   * its range.
   */
  draw(kind: StrategyKind, random: () => number, preferences: Ratings = {}): string {
    return this.names(kind)[drawIndex(this.#weights(kind, preferences), random)];
  }

  /**
   * Rates both strategies of a cycle by its outcome: after a success the rating is multiplied by
   * `1 + clamp(improvement, 0, 0.5)`, after a failure by 0.8. It stays within its bounds.
   *
   * @throws {TypeError} If a name is unknown; then neither rating changes.
   * @throws {RangeError} If a success has no finite improvement; then neither rating changes.
   */
  update(strategies: StrategyPair, outcome: CycleOutcome): void {
    for (const kind of KINDS) this.#check(kind, strategies[kind]);
    const factor = outcome.success
      ? 1 + Math.min(0.5, Math.max(0, checkNumber("improvement", outcome.improvement, {})))
      : 0.8;
    for (const kind of KINDS) {
      const name = strategies[kind];
      const rating = this.#ratings[kind].get(name)! * factor;
      this.#ratings[kind].set(name, Math.min(MAX_RATING, Math.max(MIN_RATING, rating)));
    }
  }

  /** The whole state; {@linkcode StrategyRatings.fromJSON} goes on from it with the same draws. */
  toJSON(): RatingsState {
    return {
      pruning: Object.fromEntries(this.#ratings.pruning),
      growth: Object.fromEntries(this.#ratings.growth),
    };
  }

  /**
   * Rebuilds ratings from their state.
   *
   * @throws {TypeError} If there is no strategy of a kind.
   * @throws {RangeError} If a rating is out of range.
   */
  static fromJSON(state: RatingsState): StrategyRatings {
    return new StrategyRatings(state);
  }

  #check(kind: StrategyKind, name: string): void {
    checkChoice(`${kind} strategy`, name, this.names(kind));
  }

  #weights(kind: StrategyKind, preferences: Ratings): number[] {
    for (const [name, preference] of Object.entries(preferences)) {
      this.#check(kind, name);
      checkNumber(`preference for ${kind} strategy ${name}`, preference, { min: 0 });
    }
    const weights = Array.from(
      this.#ratings[kind],
      ([name, rating]) => rating * (Object.hasOwn(preferences, name) ? preferences[name] : 1),
    );
    if (weights.every((weight) => weight === 0)) {
      throw new RangeError(`Cannot draw a ${kind} strategy: each has preference 0`);
    }
    return weights;
  }
}

function sumOf(weights: readonly number[]): number {
  for (const weight of weights) checkNumber("a weight", weight, { min: 0 });
  const sum = weights.reduce((a, b) => a + b, 0);
  return checkNumber("the sum of weights", sum, { above: 0 });
}
