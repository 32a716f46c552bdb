/**
 * What every controller that guides plasticity cycles has in common: gates, and what the outcomes of
 * cycles have taught it.
 *
 * @module
 */
import type { HeadPlace } from "../gpt2/heads.ts";
import type { DecisionRound } from "../record.ts";
import { checkNumber } from "../ranges.ts";
import type { AnnController, AnnState } from "./ann_controller.ts";
import type { HeadMetrics } from "./metrics.ts";

/** A head by its layer and its number in the full model's layer. */
export type HeadTuple = readonly [number, number];

/** The model as a controller sees it. */
export interface Sight {
  /** Measures every live head on calibration text, with these gates, `[L, NH]`. */
  measure(gates: Float32Array): Promise<HeadMetrics>;
  /** Mean loss of the same text with these gates, in nats per token. */
  loss(gates: Float32Array): Promise<number>;
  /** Heads whose influence still rises: their gate is not the controller's alone. */
  readonly growing: readonly HeadPlace[];
}

/** What a controller says before a cycle. */
export interface Advice {
  /** Share of all heads that are not active: pruned, or with a nearly closed gate, in percent. */
  pruned_percent: number;
  /** Multipliers of pruning strategies' ratings, for those it has an opinion of. */
  preferences: Record<string, number>;
  /** Its learning rate in this cycle, its own scale included. */
  rate: number;
  /** What it decided, where it predicts what its decisions do. */
  rounds?: DecisionRound[];
}

/** How a cycle ended, as its controller is told. */
export interface CycleFeedback {
  /** Whether it was kept. */
  cycle_success: boolean;
  /** Relative drop of the perplexity; negative where it rose. */
  perplexity_improvement: number;
  /** Relative drop of the number of live heads. */
  head_reduction: number;
  /** Rate for the next cycle: `controller_lr * 0.9^cycle`. */
  controller_lr: number;
  /** The strategy that chose the heads to prune. */
  pruning_strategy: string;
  /** Heads that it pruned and did not grow again: gone now, or would be had it been kept. */
  pruned_heads: readonly HeadTuple[];
  /** Heads that it grew, likewise. */
  grown_heads: readonly HeadTuple[];
}

/** What outcomes have made of a guide, as JSON. */
export interface LearnedState {
  /** The gates. */
  controller: AnnState;
  /** Learning rate of the next cycle. */
  rate: number;
  /** What outcomes have made of the step size: 1 at first. */
  scale: number;
  /** What outcomes have made of strategies. */
  preferences: Record<string, number>;
}

/** Smallest and largest factor by which outcomes change step sizes and preferences. */
const SCALE = { min: 0.125, max: 1 };
const PREFERENCE = { min: 0.25, max: 4 };

/** Share of all heads, the pruned among them, that gates may close. */
export const MOST_CLOSED = 0.8;

/**
 * A controller that guides cycles: it looks at the heads before each, moves its gates, says how hard
 * to prune and which strategies it prefers, and learns from how the cycle ended.
 *
 * What a cycle teaches every one of them: after a failure its steps are half as large, the strategy
 * that chose the heads is preferred half as much, and the gates of the heads that were pruned open by
 * `100 * controller_lr` in logits: they were needed. After a success its steps may grow again, the
 * strategy is preferred by the share of heads that it could do without more, and the gates of the
 * heads that grew open by as much if the perplexity fell, and close by as much if it rose.
 */
export abstract class CycleGuide {
  /** The gates. */
  readonly controller: AnnController;
  #rate: number;
  #scale = 1;
  #preferences: Record<string, number> = {};

  /**
   * A guide before the first cycle.
   *
   * @param rate Its learning rate in it.
   */
  constructor(controller: AnnController, rate: number) {
    checkNumber("controller_lr", rate, { min: 0 });
    this.controller = controller;
    this.#rate = rate;
  }

  /** Moves the gates by what it sees, and says what it thinks of the next cycle. */
  abstract advise(sight: Sight): Promise<Advice>;

  /**
   * Looks at what training measured within a cycle; not every controller cares.
   *
   * @returns Whether the gates moved.
   */
  abstract update(metrics: HeadMetrics): boolean;

  /** The whole state; `restoreGuide` goes on from it with the same bits. */
  abstract toJSON(): LearnedState & { type: string };

  /** Gates of all heads, `[L, NH]`. */
  gates(): Float32Array {
    return this.controller.gates();
  }

  /** Learning rate of this cycle, with what outcomes have made of its step size. */
  get rate(): number {
    return this.#rate * this.#scale;
  }

  /** What outcomes have made of its step size, 0.125 to 1. */
  get scale(): number {
    return this.#scale;
  }

  /** Multipliers of pruning strategies' ratings, for those it has an opinion of. */
  get preferences(): Record<string, number> {
    return { ...this.#preferences };
  }

  /** Tells which heads have gone and which have come. */
  apply(pruned: readonly HeadTuple[], grown: readonly HeadTuple[]): void {
    const places = (heads: readonly HeadTuple[]) => heads.map(([layer, head]) => ({ layer, head }));
    this.controller.prune(places(pruned));
    this.controller.grow(places(grown));
  }

  /**
   * Learns from a cycle. Heads that it pruned or grew must be told by {@linkcode CycleGuide.apply}
   * first, if the cycle was kept.
   */
  feedback(outcome: CycleFeedback): void {
    const { cycle_success, perplexity_improvement, head_reduction, controller_lr } = outcome;
    checkNumber("controller_lr", controller_lr, { min: 0 });
    this.#rate = controller_lr;
    this.#scale = clamp(this.#scale * (cycle_success ? 2 : 0.5), SCALE);
    const factor = cycle_success ? 1 + Math.max(0, head_reduction) : 0.5;
    const { pruning_strategy: strategy } = outcome;
    this.#preferences[strategy] = clamp((this.#preferences[strategy] ?? 1) * factor, PREFERENCE);
    const step = 100 * controller_lr;
    if (!cycle_success) this.#move(outcome.pruned_heads, step);
    else this.#move(outcome.grown_heads, step * Math.sign(perplexity_improvement));
  }

  #move(heads: readonly HeadTuple[], by: number): void {
    const { logits, NH, live, config: { logitClamp } } = this.controller;
    for (const [layer, head] of heads) {
      if (!live[layer].includes(head)) continue;
      const i = layer * NH + head;
      logits[i] = Math.min(logitClamp, Math.max(-logitClamp, logits[i] + by));
    }
  }

  /** What every guide's state begins with. */
  protected learned(): LearnedState {
    return {
      controller: this.controller.toJSON(),
      rate: this.#rate,
      scale: this.#scale,
      preferences: this.preferences,
    };
  }

  /** Goes on from {@linkcode CycleGuide.learned}. @throws {RangeError} If a number is out of range. */
  protected restoreLearned({ scale, preferences }: LearnedState): void {
    this.#scale = checkNumber("scale", scale, SCALE);
    for (const [name, preference] of Object.entries(preferences)) {
      this.#preferences[name] = checkNumber(`preference for ${name}`, preference, PREFERENCE);
    }
  }
}

function clamp(value: number, { min, max }: { min: number; max: number }): number {
  return Math.min(max, Math.max(min, value));
}
