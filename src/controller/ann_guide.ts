/**
 * Guidance by gates that are trained and moved by rules, or moved by rules alone.
 *
 * @module
 */
import { AnnController } from "./ann_controller.ts";
import { type Advice, CycleGuide, type LearnedState, MOST_CLOSED, type Sight } from "./guide.ts";
import { inactivePercent, keepOpen } from "./limits.ts";
import type { HeadMetrics } from "./metrics.ts";

/** The whole state of an {@linkcode AnnGuide}, as JSON. */
export interface AnnGuideState extends LearnedState {
  /** `ann` trains its logits; `rule` moves them by rules alone. */
  type: "ann" | "rule";
}

/** `ann` trains the gates of an {@linkcode AnnController} and applies its rules, `rule` the rules alone. */
export class AnnGuide extends CycleGuide {
  readonly #type: AnnGuideState["type"];

  /**
   * A guide before the first cycle.
   *
   * @param rate Its learning rate in the first cycle.
   */
  constructor(
    controller: AnnController,
    { type, rate }: { type: AnnGuideState["type"]; rate: number },
  ) {
    super(controller, rate);
    this.#type = type;
  }

  /** Moves the gates once by what it sees, and says what it thinks of the next cycle. */
  override async advise(sight: Sight): Promise<Advice> {
    const { rate, preferences } = this;
    this.update(await sight.measure(this.gates()));
    return { pruned_percent: inactivePercent(this.controller), preferences, rate };
  }

  /** Moves the gates once; those that were measured must be the live ones. */
  override update(metrics: HeadMetrics): boolean {
    const { controller, rate } = this;
    controller.checkMetrics(metrics);
    const before = controller.logits.slice();
    if (this.#type === "ann" && metrics.gateGrad) controller.gradientStep(metrics.gateGrad, rate);
    controller.updateGates(metrics, rate);
    keepOpen(controller, before, MOST_CLOSED);
    return controller.logits.some((logit, i) => logit !== before[i]);
  }

  /** Takes over gates of heads that live here and lived there, step size and preferences. */
  inherit(state: AnnGuideState): void {
    const { controller } = this;
    const from = AnnController.fromJSON(state.controller);
    if (from.L !== controller.L || from.NH !== controller.NH) {
      throw new RangeError(
        `the controller's weights are of ${from.L} layers x ${from.NH} heads, the model has ` +
          `${controller.L} x ${controller.NH}`,
      );
    }
    this.restoreLearned(state);
    for (const [layer, heads] of from.live.entries()) {
      for (const head of heads) {
        const i = layer * from.NH + head;
        controller.logits[i] = from.logits[i];
      }
    }
  }

  /** The whole state; {@linkcode AnnGuide.fromJSON} goes on from it with the same bits. */
  override toJSON(): AnnGuideState {
    return { type: this.#type, ...this.learned() };
  }

  /** Rebuilds a guide from its state. @throws {RangeError} If a number is out of range. */
  static fromJSON(state: AnnGuideState): AnnGuide {
    const guide = new AnnGuide(AnnController.fromJSON(state.controller), state);
    guide.restoreLearned(state);
    return guide;
  }
}
