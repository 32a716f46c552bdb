/**
 * The outer loop of plasticity cycles: how the next cycle's plan follows from the last one's
 * outcome, which model is the best so far, and when to stop.
 *
 * @module
 */
import { checkNumber } from "../ranges.ts";
import { gainsBetween, type ModelMeasure } from "./memory.ts";
import type { CycleOutcome } from "./ratings.ts";

/** What a cycle is to do. */
export interface CyclePlan {
  /** Share of the live heads to prune, 0 to 1. */
  readonly pruning_level: number;
  /** Share of the dead heads to grow, 0 to 1. */
  readonly growth_ratio: number;
  /** Optimizer steps after pruning and growth, 1 or more. */
  readonly training_steps: number;
}

/**
 * The next cycle's plan:
 *
 * | outcome | pruning_level | growth_ratio | training_steps |
 * | --- | --- | --- | --- |
 * | success, improvement above 0.05 | min(0.5, x 1.2) | | x 0.9 |
 * | other success | min(0.4, x 1.1) | | |
 * | failure | max(0.05, x 0.8) | min(0.9, x 1.2) | x 1.2 |
 *
 * A small success above level 0.4 so returns to 0.4. Where the plan lies beyond a failure's bounds
 * (a level below 0.05, a ratio above 0.9) it stays there: a failure never makes the next cycle prune
 * more or regrow less. Steps are rounded, halves up, and at least 1; so 5 or fewer no longer shrink
 * and 2 or fewer no longer grow.
 *
 * @throws {RangeError} If a number of the plan is out of range, or a success has no finite
 * improvement.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { adaptPlan } from "./adaptation.ts";
 *
 * const plan = { pruning_level: 0.5, growth_ratio: 0.5, training_steps: 100 };
 * assert.deepEqual(adaptPlan(plan, { success: false }), {
 *   pruning_level: 0.4,
 *   growth_ratio: 0.6,
 *   training_steps: 120,
 * });
 * ```
 */
export function adaptPlan(plan: CyclePlan, outcome: CycleOutcome): CyclePlan {
  const { pruning_level, growth_ratio, training_steps } = plan;
  checkNumber("pruning_level", pruning_level, { min: 0, max: 1 });
  checkNumber("growth_ratio", growth_ratio, { min: 0, max: 1 });
  checkNumber("training_steps", training_steps, { min: 1, whole: true });
  const steps = (factor: number) => Math.max(1, Math.round(training_steps * factor));
  if (!outcome.success) {
    return {
      pruning_level: Math.min(pruning_level, Math.max(0.05, pruning_level * 0.8)),
      growth_ratio: Math.max(growth_ratio, Math.min(0.9, growth_ratio * 1.2)),
      training_steps: steps(1.2),
    };
  }
  if (checkNumber("improvement", outcome.improvement, {}) > 0.05) {
    return {
      pruning_level: Math.min(0.5, pruning_level * 1.2),
      growth_ratio,
      training_steps: steps(0.9),
    };
  }
  return { pruning_level: Math.min(0.4, pruning_level * 1.1), growth_ratio, training_steps };
}

/** Whether a cycle was kept, and the model it left. */
export type CycleMeasure =
  | ({ readonly success: true } & ModelMeasure)
  /** Rolled back: what it measured is not looked at. */
  | ({ readonly success: false } & Partial<ModelMeasure>);

/** What counts as a new best, and how long to wait for one. */
export interface PatienceOptions {
  /** Cycles in a row without a new best after which to stop; 1 or more. */
  readonly patience: number;
  /** A gain must be above this share to count. */
  readonly minImprovement: number;
  /** A model with a perplexity worse by this share of the lowest, or more, is never the best. */
  readonly maxPerplexityIncrease: number;
}

/** The options used where nothing else is said. */
export const PATIENCE_DEFAULTS: PatienceOptions = {
  patience: 3,
  minImprovement: 0.01,
  maxPerplexityIncrease: 0.15,
};

/** The best model so far. */
export interface BestModel extends ModelMeasure {
  /** The cycle that made it, counting from 1; 0 is the model before the first cycle. */
  readonly cycle: number;
}

/** The whole state of a {@linkcode Patience}, as JSON. */
export interface PatienceState {
  /** What counts, and how long to wait. */
  options: PatienceOptions;
  /** The best model so far. */
  best: BestModel;
  /** The lowest perplexity of any best model so far. */
  lowest_perplexity: number;
  /** Cycles recorded. */
  cycles: number;
}

/**
 * Keeps the best model of a run and says when to stop waiting for a better one.
 *
 * A cycle that was kept makes a new best if, with shares of 1 % and 15 % by default,
 * 1. its perplexity is lower by more than 1 %, or
 * 2. its perplexity is worse by less than 15 %, and perplexity x heads lower by more than 1 %
 *    (`gainsBetween` says why that product).
 *
 * Perplexities are compared with the LOWEST of any best model so far; the product with that of the
 * last. If all were compared with the last best, 15 % could be lost again with each new best, and
 * pruning and regrowing the same heads could take turns as the best for ever.
 */
export class Patience {
  /** What counts, and how long to wait. */
  readonly options: PatienceOptions;
  #best: BestModel;
  #lowest: number;
  #cycles = 0;

  /**
   * Before the first cycle the model as it is is the best.
   *
   * @param start Its measure, on the tokens that all cycles are measured on.
   * @param options Whatever differs from {@linkcode PATIENCE_DEFAULTS}.
   * @throws {RangeError} If a number is out of range.
   */
  constructor({ perplexity, heads }: ModelMeasure, options: Partial<PatienceOptions> = {}) {
    this.options = { ...PATIENCE_DEFAULTS, ...options };
    const { patience, minImprovement, maxPerplexityIncrease } = this.options;
    checkNumber("patience", patience, { min: 1, whole: true });
    checkNumber("minImprovement", minImprovement, { min: 0, below: 1 });
    checkNumber("maxPerplexityIncrease", maxPerplexityIncrease, { min: 0 });
    checkNumber("perplexity", perplexity, { above: 0 });
    checkNumber("heads", heads, { min: 1, whole: true });
    this.#best = { perplexity, heads, cycle: 0 };
    this.#lowest = perplexity;
  }

  /** The best model so far. */
  get best(): BestModel {
    return this.#best;
  }

  /** Cycles recorded. */
  get cycles(): number {
    return this.#cycles;
  }

  /** Cycles since the best model was made. */
  get cyclesWithoutBest(): number {
    return this.#cycles - this.#best.cycle;
  }

  /** Whether to stop: as many cycles as `patience` have made no new best. */
  get exhausted(): boolean {
    return this.cyclesWithoutBest >= this.options.patience;
  }

  /**
   * Counts one cycle. A failed one never makes a best, for its model is gone.
   *
   * @returns Whether its model is the new best; then keep it.
   * @throws {RangeError} If a success has a perplexity or a number of heads out of range; then it is
   * not counted.
   */
  record(result: CycleMeasure): boolean {
    const better = result.success && this.#isBetter(result);
    this.#cycles++;
    if (!better) return false;
    const { perplexity, heads } = result;
    this.#best = { perplexity, heads, cycle: this.#cycles };
    this.#lowest = Math.min(this.#lowest, perplexity);
    return true;
  }

  /** The whole state; {@linkcode Patience.fromJSON} goes on from it. */
  toJSON(): PatienceState {
    return {
      options: { ...this.options },
      best: { ...this.#best },
      lowest_perplexity: this.#lowest,
      cycles: this.#cycles,
    };
  }

  /**
   * Rebuilds it from its state.
   *
   * @throws {TypeError} If the state has no best model.
   * @throws {RangeError} If a number is out of range.
   */
  static fromJSON(state: PatienceState): Patience {
    const { options, best, lowest_perplexity, cycles } = state ?? {};
    if (typeof best !== "object" || best === null) {
      throw new TypeError(`the state of a Patience must hold the best model: ${best}`);
    }
    const patience = new Patience(best, options);
    checkNumber("cycles", cycles, { min: 0, whole: true });
    checkNumber("best.cycle", best.cycle, { min: 0, max: cycles, whole: true });
    // The best lies above the lowest where it won by fewer heads, and never below.
    checkNumber("lowest_perplexity", lowest_perplexity, { above: 0, max: best.perplexity });
    patience.#best = { ...patience.#best, cycle: best.cycle };
    patience.#lowest = lowest_perplexity;
    patience.#cycles = cycles;
    return patience;
  }

  #isBetter(model: ModelMeasure): boolean {
    const { minImprovement, maxPerplexityIncrease } = this.options;
    const { efficiency_improvement } = gainsBetween(this.#best, model);
    const improvement = (this.#lowest - model.perplexity) / this.#lowest;
    return improvement > minImprovement ||
      (improvement > -maxPerplexityIncrease && efficiency_improvement > minImprovement);
  }
}

/**
 * Whether cycles no longer pay: three or more are over, the mean improvement of the last three is
 * below 1 %, and that of the last below 0.5 %.
 *
 * @param improvements Relative drop of the perplexity in each cycle, a share, oldest first. A cycle
 * that was rolled back has gained 0.
 * @throws {RangeError} If one of the last three is not finite.
 */
export function diminishingReturns(improvements: readonly number[]): boolean {
  const last = improvements.slice(-3);
  for (const improvement of last) checkNumber("an improvement", improvement, {});
  return last.length === 3 && (last[0] + last[1] + last[2]) / 3 < 0.01 && last[2] < 0.005;
}
