/**
 * Controllers that guide plasticity cycles: each looks at the heads before a cycle, says how hard to
 * prune and which strategies it prefers, and learns from how the cycle ended.
 *
 * @module
 */
import { checkNumber } from "../ranges.ts";
import { AnnController, type AnnState } from "./ann_controller.ts";
import type { HeadMetrics } from "./metrics.ts";

/** A head by its layer and its number in the full model's layer. */
type Place = readonly [number, number];

/** What a controller says before a cycle. */
export interface Advice {
  /** Share of all heads that are not active: pruned, or with a nearly closed gate, in percent. */
  pruned_percent: number;
  /** Multipliers of pruning strategies' ratings, for those it has an opinion of. */
  preferences: Record<string, number>;
  /** Its learning rate in this cycle, its own scale included. */
  rate: number;
}

/** How a cycle ended, as its controller is told. */
export interface CycleFeedback {
  /** 1, 2, ... */
  cycle: number;
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
  /** Heads that it pruned and that are gone now, or would be had it been kept. */
  pruned_heads: readonly Place[];
  /** Heads that it grew, likewise. */
  grown_heads: readonly Place[];
}

/** The whole state of an {@linkcode AnnGuide}, as JSON. */
export interface AnnGuideState {
  /** The gates. */
  controller: AnnState;
  /** Whether logits are trained, or moved by rules alone. */
  trained: boolean;
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

/**
 * Guidance by the gates of an {@linkcode AnnController}: `ann` trains them and applies the rules,
 * `rule` applies the rules alone.
 *
 * What a cycle teaches it: after a failure its steps are half as large, the strategy that chose the
 * heads is preferred half as much, and the gates of the heads that were pruned open by
 * `100 * controller_lr` in logits: they were needed. After a success its steps may grow again, the
 * strategy is preferred by the share of heads that it could do without more, and the gates of the
 * heads that grew open by as much if the perplexity fell, and close by as much if it rose.
 */
export class AnnGuide {
  /** The gates. */
  readonly controller: AnnController;
  readonly #trained: boolean;
  #rate: number;
  #scale = 1;
  #preferences: Record<string, number> = {};

  /**
   * A guide before the first cycle.
   *
   * @param trained Whether logits are trained by their gradient too.
   * @param rate Its learning rate in the first cycle.
   */
  constructor(
    controller: AnnController,
    { trained, rate }: { trained: boolean; rate: number },
  ) {
    checkNumber("controller_lr", rate, { min: 0 });
    this.controller = controller;
    this.#trained = trained;
    this.#rate = rate;
  }

  /** Gates of all heads, `[L, NH]`. */
  gates(): Float32Array {
    return this.controller.gates();
  }

  /** Moves the gates by what was measured, and says what it thinks of the next cycle. */
  advise(metrics: HeadMetrics): Advice {
    const { controller } = this, rate = this.#rate * this.#scale;
    controller.checkMetrics(metrics);
    if (this.#trained && metrics.gateGrad) controller.gradientStep(metrics.gateGrad, rate);
    controller.updateGates(metrics, rate);
    const { activeThreshold } = controller.config;
    const gates = controller.gates();
    const active = gates.reduce((sum, gate) => sum + (gate > activeThreshold ? 1 : 0), 0);
    return {
      pruned_percent: 100 * (gates.length - active) / gates.length,
      preferences: { ...this.#preferences },
      rate,
    };
  }

  /**
   * Learns from a cycle. Heads that it pruned or grew must be told by {@linkcode AnnGuide.apply}
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

  /** Tells which heads have gone and which have come. */
  apply(pruned: readonly Place[], grown: readonly Place[]): void {
    const places = (heads: readonly Place[]) => heads.map(([layer, head]) => ({ layer, head }));
    this.controller.prune(places(pruned));
    this.controller.grow(places(grown));
  }

  #move(heads: readonly Place[], by: number): void {
    const { logits, NH, live, config: { logitClamp } } = this.controller;
    for (const [layer, head] of heads) {
      if (!live[layer].includes(head)) continue;
      const i = layer * NH + head;
      logits[i] = Math.min(logitClamp, Math.max(-logitClamp, logits[i] + by));
    }
  }

  /** The whole state; {@linkcode AnnGuide.fromJSON} goes on from it with the same bits. */
  toJSON(): AnnGuideState {
    return {
      controller: this.controller.toJSON(),
      trained: this.#trained,
      rate: this.#rate,
      scale: this.#scale,
      preferences: { ...this.#preferences },
    };
  }

  /** Rebuilds a guide from its state. @throws {RangeError} If a number is out of range. */
  static fromJSON({ controller, trained, rate, scale, preferences }: AnnGuideState): AnnGuide {
    const guide = new AnnGuide(AnnController.fromJSON(controller), { trained, rate });
    guide.#scale = checkNumber("scale", scale, SCALE);
    for (const [name, preference] of Object.entries(preferences)) {
      guide.#preferences[name] = checkNumber(`preference for ${name}`, preference, PREFERENCE);
    }
    return guide;
  }
}

function clamp(value: number, { min, max }: { min: number; max: number }): number {
  return Math.min(max, Math.max(min, value));
}
