/**
 * Heads that were just grown learn faster for a while: a factor of the optimizer's update per head.
 *
 * @module
 */
import { liveMask } from "../controller/metrics.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { checkNumber } from "../ranges.ts";

/** How much faster grown heads learn, and for how long. All counted in training steps. */
export interface HeadRateConfig {
  /** The highest factor, 1 or more. */
  readonly boost: number;
  /** Steps in which the factor rises to the boost; 0 for none. */
  readonly warmupSteps: number;
  /** Steps from growth, warm-up included, after which the head is an ordinary one. */
  readonly cooldownSteps: number;
}

/** The configuration used where nothing else is said. */
export const HEAD_RATE_DEFAULTS: HeadRateConfig = {
  boost: 5,
  warmupSteps: 200,
  cooldownSteps: 1000,
};

/** The whole state of {@linkcode HeadLearningRates}, as JSON. */
export interface HeadRatesState {
  /** Layers. */
  L: number;
  /** Heads in each layer of the full model. */
  NH: number;
  /** How much faster, and for how long. */
  config: HeadRateConfig;
  /** For every layer the heads that are there. */
  live: number[][];
  /** `[L, NH]`: which step since it was grown is each head's next, from 1; 0 for ordinary heads. */
  next: number[];
}

/**
 * The factor of a head in one training step:
 *
 * - in warm-up, `s <= warmupSteps`: `1 + (boost - 1) * s / warmupSteps`;
 * - then, until `s = cooldownSteps`: `boost ^ ((cooldownSteps - s) / (cooldownSteps - warmupSteps))`,
 *   which is `boost * 0.9 ^ ((s - warmupSteps) / D)` with
 *   `D = (cooldownSteps - warmupSteps) * ln(1 / 0.9) / ln(boost)`: by default the factor falls by a
 *   tenth every 52.4 steps, from 5 in step 200 to 1 in step 1000;
 * - afterwards 1.
 *
 * The system this follows decayed by 0.9 a count, so that a boost of 5 was over after 16 counts and
 * its cooldown of 1000 meant nothing; and it counted controller updates, of which one may be 100
 * training steps.
 *
 * @param s The step, counting from 1 for the first after the head was grown.
 * @throws {RangeError} If `s` or a setting is out of range.
 */
export function grownHeadFactor(s: number, config: HeadRateConfig = HEAD_RATE_DEFAULTS): number {
  checkConfig(config);
  checkNumber("s", s, { min: 1, whole: true });
  return factorAt(s, config);
}

/**
 * A factor of the optimizer's update for each head of a model. It belongs on the update and not on
 * the gradient, for Adam does not see the gradient's scale.
 *
 * Take {@linkcode factors} before a training step and call {@linkcode step} after it.
 */
export class HeadLearningRates {
  /** Layers. */
  readonly L: number;
  /** Heads in each layer of the full model. */
  readonly NH: number;
  /** How much faster, and for how long. */
  readonly config: HeadRateConfig;
  readonly #live: Uint8Array;
  readonly #next: Float64Array;

  /**
   * All heads are ordinary.
   *
   * @param shape The full model's layers and heads, and its live heads (all unless given).
   * @param config Whatever differs from {@linkcode HEAD_RATE_DEFAULTS}.
   * @throws {RangeError} If a size, a head or a setting is out of range.
   */
  constructor(
    { L, NH, live }: { L: number; NH: number; live?: LiveHeads },
    config: Partial<HeadRateConfig> = {},
  ) {
    checkNumber("L", L, { min: 1, whole: true });
    checkNumber("NH", NH, { min: 1, whole: true });
    this.config = { ...HEAD_RATE_DEFAULTS, ...config };
    checkConfig(this.config);
    this.L = L;
    this.NH = NH;
    this.#live = live ? liveMask(live, L, NH) : new Uint8Array(L * NH).fill(1);
    this.#next = new Float64Array(L * NH);
  }

  /** Whether any head is still boosted; if not, all factors are 1 until the next growth. */
  get boosted(): boolean {
    return this.#next.some((s) => s > 0);
  }

  /**
   * Tells that heads were grown: their boost begins with the next training step.
   *
   * @throws {RangeError} If one of them is live, named twice or not of the model; then nothing
   * changes.
   */
  grow(heads: readonly { layer: number; head: number }[]): void {
    for (const i of this.#places(heads, "grow", 0)) {
      this.#live[i] = 1;
      this.#next[i] = 1;
    }
  }

  /**
   * Tells that heads were pruned: what was left of their boost is forgotten.
   *
   * @throws {RangeError} If one of them is not live, or named twice; then nothing changes.
   */
  prune(heads: readonly { layer: number; head: number }[]): void {
    for (const i of this.#places(heads, "prune", 1)) {
      this.#live[i] = 0;
      this.#next[i] = 0;
    }
  }

  /** Counts one training step. */
  step(): void {
    this.#next.forEach((s, i) => {
      if (s > 0) this.#next[i] = s < this.config.cooldownSteps ? s + 1 : 0;
    });
  }

  /**
   * Factors `[L, NH]` of the next training step's update: those of {@linkcode grownHeadFactor} for
   * heads that were grown, 1 for every other. Heads that are not there have 1 too: they have no
   * weights.
   */
  factors(): Float32Array {
    return Float32Array.from(this.#next, (s) => s > 0 ? factorAt(s, this.config) : 1);
  }

  /** The whole state; {@linkcode HeadLearningRates.fromJSON} goes on from it with the same bits. */
  toJSON(): HeadRatesState {
    const { L, NH } = this;
    return {
      L,
      NH,
      config: { ...this.config },
      live: Array.from(
        { length: L },
        (_, layer) =>
          Array.from({ length: NH }, (_, head) => head)
            .filter((head) => this.#live[layer * NH + head]),
      ),
      next: [...this.#next],
    };
  }

  /**
   * Rebuilds it from its state.
   *
   * @throws {RangeError} If a size, a head, a number or a setting is out of range.
   * @throws {TypeError} If a list is missing.
   */
  static fromJSON(state: HeadRatesState): HeadLearningRates {
    const { live, next } = state ?? {};
    if (!Array.isArray(live) || !live.every(Array.isArray)) {
      throw new TypeError(`live must be a list of heads for every layer: ${JSON.stringify(live)}`);
    }
    if (!Array.isArray(next)) throw new TypeError(`next must be a list: ${JSON.stringify(next)}`);
    const rates = new HeadLearningRates(state, state.config);
    const { L, NH, config: { cooldownSteps } } = rates;
    if (next.length !== L * NH) {
      throw new RangeError(`next must hold ${L * NH} numbers: ${next.length}`);
    }
    next.forEach((s, i) => {
      const max = rates.#live[i] ? cooldownSteps : 0;
      checkNumber(`next of layer ${Math.floor(i / NH)} head ${i % NH}`, s, {
        min: 0,
        max,
        whole: true,
      });
    });
    rates.#next.set(next);
    return rates;
  }

  /** The heads' indices, once all of them are found to be there (1) or not (0), each named once. */
  #places(
    heads: readonly { layer: number; head: number }[],
    verb: string,
    live: 0 | 1,
  ): Set<number> {
    const places = new Set<number>();
    for (const { layer, head } of heads) {
      const refuse = (why: string) => {
        throw new RangeError(`Cannot ${verb} layer ${layer} head ${head}: ${why}`);
      };
      const inside = (value: number, size: number) =>
        Number.isInteger(value) && value >= 0 && value < size;
      if (!inside(layer, this.L) || !inside(head, this.NH)) {
        refuse(`the model has ${this.L} layers of ${this.NH} heads`);
      }
      const i = layer * this.NH + head;
      if (this.#live[i] !== live) refuse(live ? "it is not live" : "it is live already");
      if (places.has(i)) refuse("it is named twice");
      places.add(i);
    }
    return places;
  }
}

function checkConfig({ boost, warmupSteps, cooldownSteps }: HeadRateConfig): void {
  checkNumber("boost", boost, { min: 1 });
  checkNumber("warmupSteps", warmupSteps, { min: 0, whole: true });
  checkNumber("cooldownSteps", cooldownSteps, { above: warmupSteps, whole: true });
}

function factorAt(s: number, { boost, warmupSteps, cooldownSteps }: HeadRateConfig): number {
  if (s <= warmupSteps) return 1 + (boost - 1) * s / warmupSteps;
  if (s >= cooldownSteps) return 1;
  return boost ** ((cooldownSteps - s) / (cooldownSteps - warmupSteps));
}
