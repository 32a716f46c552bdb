/**
 * Guidance by a controller that predicts what its decisions do, measures what they did, and learns.
 *
 * @module
 */
import type { DecisionRound } from "../record.ts";
import { Random, type RandomState } from "../random.ts";
import { checkNumber } from "../ranges.ts";
import { AnnController } from "./ann_controller.ts";
import {
  type Advice,
  type CycleFeedback,
  CycleGuide,
  type HeadTuple,
  type LearnedState,
  MOST_CLOSED,
  type Sight,
} from "./guide.ts";
import { inactivePercent, keepOpen } from "./limits.ts";
import type { HeadMetrics } from "./metrics.ts";
import { type Decision, MlpController, type MlpState } from "./mlp_controller.ts";

/** The whole state of an {@linkcode MlpGuide}, as JSON. */
export interface MlpGuideState extends LearnedState {
  /** Tells it from other guides. */
  type: "mlp";
  /** The network and what it has learned. */
  mlp: MlpState;
  /** Cycles since each head came (back) to life, `[L, NH]`. */
  ages: number[];
  /** Cycles that have ended. */
  cycles: number;
  /** What decisions are drawn from. */
  random: RandomState;
}

/** The model with some gates. */
interface Look {
  gates: Float32Array;
  /** Calibration loss, nats per token. */
  loss: number;
  metrics: HeadMetrics;
}

/** Rounds of decisions before a cycle: each is measured, and the next knows of it. */
const ROUNDS = 3;

/** The network's learning rate at the controller's usual rate of 0.01 is 0.02. */
const NETWORK_RATE = 2;

/**
 * Guidance by an {@linkcode MlpController}. Before a cycle it moves gates in a few rounds. Each is
 * measured at once, on the text and with the weights it was decided on, so that nothing but the
 * gates can have made the difference; the network learns from it, and where the loss rose by more
 * than the open gates were worth, they go back. Outcomes of cycles change what an open gate is
 * worth: half after a failure, so that it dares less.
 */
export class MlpGuide extends CycleGuide {
  /** The network that decides. */
  mlp: MlpController;
  /** -1 for a head that came in this cycle. */
  #ages: number[];
  #cycles = 0;
  #random: Random;

  /**
   * A guide before the first cycle.
   *
   * @param mlp Decides; its seed is that of what is tried at random, too.
   * @param rate Its learning rate in the first cycle.
   */
  constructor(mlp: MlpController, rate: number) {
    super(mlp.controller, rate);
    this.mlp = mlp;
    this.#ages = Array.from(mlp.controller.logits, () => 0);
    this.#random = new Random(mlp.config.seed, 7);
  }

  /** Moves the gates in a few rounds, and says what it thinks of the next cycle. */
  override async advise(sight: Sight): Promise<Advice> {
    const { controller, rate, preferences } = this;
    const look = async (gates: Float32Array): Promise<Look> => (
      { gates, loss: await sight.loss(gates), metrics: await sight.measure(gates) }
    );
    const rounds: DecisionRound[] = [];
    let seen = await look(this.gates());
    while (rounds.length < ROUNDS) {
      const before = controller.logits.slice();
      const price = this.mlp.config.price * this.scale;
      const { decisions } = this.mlp.decide(seen.metrics, {
        cycle: this.#cycles,
        ages: this.#ages,
        held: sight.growing,
        price,
        random: () => this.#random.next(),
      });
      keepOpen(controller, before, MOST_CLOSED);
      if (controller.logits.every((logit, i) => logit === before[i])) break;
      const after = await look(this.gates());
      const round = this.#learn(seen, after, decisions);
      const opened = round.decisions.reduce((sum, own) => sum + own.gate - own.gate_before, 0);
      const kept = round.realised_loss_change + price * opened <= 0;
      rounds.push({ round: rounds.length + 1, ...round, kept });
      if (kept) seen = after;
      else controller.logits.set(before);
    }
    return { pruned_percent: inactivePercent(controller), preferences, rate, rounds };
  }

  #learn(
    before: Look,
    after: Look,
    decisions: readonly Decision[],
  ): Omit<DecisionRound, "round" | "kept"> {
    const realised_loss_change = after.loss - before.loss;
    const { shares } = this.mlp.learn({
      realised_loss_change,
      gateGrad: after.metrics.gateGrad,
      learningRate: NETWORK_RATE * this.rate,
    });
    const { predicted, estimated } = this.mlp.history.at(-1)!;
    const explored = new Set(
      decisions.filter((own) => own.explored).map(({ layer, head }) => `${layer}.${head}`),
    );
    return {
      predicted_loss_change: predicted,
      estimated_loss_change: estimated,
      realised_loss_change,
      decisions: shares.map(({ layer, head, predicted, realised }) => {
        const i = layer * this.controller.NH + head;
        return {
          layer,
          head,
          gate_before: before.gates[i],
          gate: after.gates[i],
          predicted_loss_change: predicted,
          realised_loss_change: realised,
          explored: explored.has(`${layer}.${head}`),
        };
      }),
    };
  }

  /** Nothing: what training did to the loss meanwhile could not be told from what gates did. */
  override update(_metrics: HeadMetrics): boolean {
    return false;
  }

  /** Tells which heads have gone and which have come; those that come are new. */
  override apply(pruned: readonly HeadTuple[], grown: readonly HeadTuple[]): void {
    super.apply(pruned, grown);
    for (const [layer, head] of grown) this.#ages[layer * this.controller.NH + head] = -1;
  }

  /** Learns from a cycle, which makes every head one cycle older. */
  override feedback(outcome: CycleFeedback): void {
    super.feedback(outcome);
    this.#cycles++;
    this.#ages = this.#ages.map((age) => age + 1);
  }

  /** Takes over the network and what it learned from, step size and preferences; gates stay. */
  inherit({ mlp, ...state }: MlpGuideState): void {
    const { L, NH } = this.controller;
    this.mlp = MlpController.fromJSON({ ...mlp, L, NH, pending: null }, this.controller);
    this.restoreLearned(state);
  }

  /** The whole state; {@linkcode MlpGuide.fromJSON} goes on from it with the same bits. */
  override toJSON(): MlpGuideState {
    return {
      type: "mlp",
      ...this.learned(),
      mlp: this.mlp.toJSON(),
      ages: [...this.#ages],
      cycles: this.#cycles,
      random: this.#random.state,
    };
  }

  /** Rebuilds a guide from its state. @throws {RangeError | TypeError} If it is damaged. */
  static fromJSON(state: MlpGuideState): MlpGuide {
    const { controller, mlp, rate, ages, cycles, random } = state;
    const guide = new MlpGuide(
      MlpController.fromJSON(mlp, AnnController.fromJSON(controller)),
      rate,
    );
    guide.restoreLearned(state);
    if (ages.length !== guide.#ages.length) {
      throw new RangeError(`ages must be ${guide.#ages.length} numbers: ${ages.length}`);
    }
    guide.#ages = ages.map((age) => checkNumber("an age", age, { min: -1, whole: true }));
    guide.#cycles = checkNumber("cycles", cycles, { min: 0, whole: true });
    guide.#random = Random.restore(random);
    return guide;
  }
}
