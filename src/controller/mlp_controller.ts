/**
 * The controller that learns: a small network predicts what moving a head's gate does to the
 * calibration loss, decides by that, and is trained on what its decisions did.
 *
 * **Prediction.** A head whose gate moves by `d` changes the mean loss per token by
 *
 *     slope d + curvature d^2 / 2 + scale d (a(x) + b(x) d / BEND)
 *
 * `slope` is the measured `gateGrad`; `a` and `b` are the outputs of a network with one hidden
 * layer (tanh) on the head's features `x`: one corrects the slope, the other the curvature. A head
 * that does not move changes nothing, exactly. (A gate of 1 scales rows of the output projection,
 * so a converged model's gate gradients are near 0 and say little of removal; curvature is most of
 * what there is to learn.) The output layer begins at 0: an untrained network gives the untrained
 * estimate, of first order, or, where `fisher` says how many tokens a sequence has, of second order
 * with the curvature `fisher * gateGradSq` (the diagonal Fisher information as in Kwon et al. 2022,
 * "A fast post-training pruning framework for transformers", tokens taken as independent).
 *
 * `scale = sqrt(gateGradSq + a hundredth of its mean over heads)` makes corrections relative: one
 * of a head that no sequence is sensitive to is small, whatever was learned from others.
 *
 * **Training.** Predictions of all heads that moved in a round must add up to the change of the
 * loss that was measured (shared credit). Single heads are trained on their own outcome where there
 * is one: measured, or their share by the gate gradients before and after the round, `d (before +
 * after) / 2`. These shares are the integrated gradients of Sundararajan et al. 2017 ("Axiomatic
 * attribution for deep networks") by the trapezoidal rule: they add up to the round's change to
 * second order, and one backward pass gives those of all heads. An error counts in units of `norm`,
 * the root of the sum of `(scale d)^2`, by the pseudo-Huber loss, so that no outlier undoes the
 * rest. `shrinkage` holds every head that moved to its untrained estimate, in the same unit: of all
 * ways to share out a round's change it picks the smallest corrections. Adam, full batches over the
 * last rounds, f64 on the host: tens to hundreds of heads, some 200 weights.
 *
 * @module
 */
import type { HeadPlace } from "../gpt2/heads.ts";
import { Random } from "../random.ts";
import { checkNumber } from "../ranges.ts";
import { sigmoid } from "./ann_config.ts";
import type { AnnController } from "./ann_controller.ts";
import { checkPerHead, type HeadMetrics, METRIC_KEYS, type MetricKey } from "./metrics.ts";
import { checkMlpConfig, MLP_DEFAULTS, type MlpConfig } from "./mlp_config.ts";
import {
  checkNumbers,
  MlpNetwork,
  type Move,
  type NetworkState,
  type Outcome,
} from "./mlp_network.ts";

/** What is known besides the metrics when gates are decided. */
export interface DecideOptions {
  /** The cycle, for the history. */
  readonly cycle: number;
  /** Cycles since each head came (back) to life, `[L, NH]`; needed for the feature `age`. */
  readonly ages?: ArrayLike<number>;
  /** Heads that stay as they are: those still growing, whose gate is not the controller's alone. */
  readonly held?: readonly HeadPlace[];
  /** Price of an open gate in this round, in nats per token; the configuration's unless given. */
  readonly price?: number;
  /**
   * A seeded source of numbers in [0, 1). One is drawn for every head of the full model, so that a
   * head's draw does not depend on which are live.
   */
  readonly random: () => number;
}

/** What was decided for one head. Losses are nats per token. */
export interface Decision extends HeadPlace {
  /** Change of its logit, after clamping. */
  readonly step: number;
  /** Its gate before. */
  readonly gate_before: number;
  /** Its gate after. */
  readonly gate: number;
  /** The change of the loss that this is predicted to make. */
  readonly predicted_loss_change: number;
  /** The same by the untrained estimate. */
  readonly estimated_loss_change: number;
  /** Whether the step was drawn at random. */
  readonly explored: boolean;
}

/** What was measured after a round. Losses are nats per token. */
export interface RoundOutcome {
  /**
   * Validation loss with the gates as they are now, less that with the gates before the round, on
   * the same text and with the same weights. Where training lies between, subtract what it changed
   * in a model whose gates did not move: the network would learn that as the work of the heads.
   */
  readonly realised_loss_change: number;
  /**
   * d loss / d gate, `[L, NH]`, with the gates as they are now, on the text and with the weights
   * that `gateGrad` was measured with for the decisions.
   */
  readonly gateGrad?: ArrayLike<number>;
  /** Outcomes of single heads, each measured with all others as they were before the round. */
  readonly single?: readonly SingleOutcome[];
  /** Adam's rate for this lesson; the configuration's unless given. */
  readonly learningRate?: number;
}

/** What learning from a round tells. Losses are nats per token. */
export interface Lesson {
  /** Absolute error of the round's predicted change, before learning from it. */
  error_before: number;
  /** The same after. */
  error_after: number;
  /**
   * Every head that moved and still lives, where `gateGrad` was given: what was predicted of the
   * move that was measured, and its share of what came.
   */
  shares: (HeadPlace & { predicted: number; realised: number })[];
}

/** One head's own outcome. */
export interface SingleOutcome extends HeadPlace {
  /** The gate that it alone was given; 0 leaves it out. */
  readonly gate: number;
  /** By how much that changed the loss, in nats per token. */
  readonly loss_change: number;
}

/** A round whose outcome was measured. Losses are nats per token. */
export interface LearnedRound {
  /** The cycle in which it was decided. */
  cycle: number;
  /** Heads that moved. */
  moved: number;
  /** The change of the loss that was predicted, before anything was learned of it. */
  predicted: number;
  /** The same by the untrained estimate. */
  estimated: number;
  /** The change that was measured. */
  realised: number;
}

/** A head as it was when a round was decided: all that its moves are made from. */
export interface SeenHead extends HeadPlace {
  /** Its gate. */
  readonly gate: number;
  /** Its features. */
  readonly x: readonly number[];
  /** d loss / d gate. */
  readonly slope: number;
  /** The second derivative by the untrained estimate. */
  readonly curvature: number;
  /** What the network's outputs are multiplied by, in nats per unit of gate. */
  readonly scale: number;
}

/** The whole state of an {@linkcode MlpController} but for the gates, as JSON. */
export interface MlpState {
  /** Layers. */
  L: number;
  /** Heads in each layer of the full model. */
  NH: number;
  /** What it sees, what it chooses from, and how it learns. */
  config: MlpConfig;
  /** Weights and their moments. */
  network: NetworkState;
  /** Every round that was learned from. */
  history: LearnedRound[];
  /** What was measured of the latest of them. */
  replay: Outcome[][];
  /** The heads of a round that waits for its outcome. */
  pending: { cycle: number; heads: SeenHead[] } | null;
}

/** Share of the mean squared gate gradient that is added to every head's, for `scale`. */
const SCALE_FLOOR = 0.01;
/** The least `norm` is that of an average head's move by this much... */
const LEAST_MOVE = 0.05;
/** ...and not below this, in nats per token: f32 losses cannot tell less. */
const LEAST_NORM = 1e-7;

/**
 * Moves the gates of an {@linkcode AnnController}, and learns from what came of it. The gates,
 * their clamp and which heads are live stay with that controller: limits or pruning may change them
 * between {@linkcode MlpController.decide} and {@linkcode MlpController.learn}, which looks at
 * where they are then.
 */
export class MlpController {
  /** The gates. */
  readonly controller: AnnController;
  /** What it sees, what it chooses from, and how it learns. */
  readonly config: MlpConfig;
  readonly #network: MlpNetwork;
  #history: LearnedRound[] = [];
  #replay: Outcome[][] = [];
  #pending: MlpState["pending"] = null;

  /**
   * An untrained controller.
   *
   * @param controller The gates, which {@linkcode MlpController.decide} moves.
   * @param config Whatever differs from {@linkcode MLP_DEFAULTS}.
   * @throws {RangeError} If a setting is out of range.
   * @throws {TypeError} If a setting or a feature is unknown.
   */
  constructor(controller: AnnController, config: Partial<MlpConfig> = {}) {
    this.controller = controller;
    this.config = { ...MLP_DEFAULTS, ...config };
    checkMlpConfig(this.config);
    const { features, hidden, seed } = this.config;
    this.#network = new MlpNetwork(features.length, hidden, new Random(seed));
  }

  /** Every round that was learned from: what was predicted, and what came. */
  get history(): readonly LearnedRound[] {
    return this.#history;
  }

  /** The measurements that {@linkcode MlpController.decide} needs. */
  get needs(): MetricKey[] {
    const { features } = this.config;
    return METRIC_KEYS.filter((key) =>
      key === "gateGrad" || key === "gateGradSq" || features.includes(key) ||
      (key === "gateGradAbs" && features.includes("taylor"))
    );
  }

  /** Probability with which the next round's steps are drawn at random. */
  get exploration(): number {
    return this.config.exploration * this.config.explorationDecay ** this.#history.length;
  }

  /**
   * Moves the gates. A live head's best step is the one with the least predicted change of the loss
   * plus `price` times the change of its gate, the smallest step of equal ones. The heads that gain
   * most take theirs, as many as `maxMoved` says; some take one at random; all others keep. A round
   * that was not learned from is forgotten.
   *
   * @param metrics Measured with the gates as they are.
   * @returns A decision for every live head that is not held, in (layer, head) order, and the sum
   * of what they predict.
   * @throws {TypeError} If something was not measured that a feature or the estimate needs.
   * @throws {RangeError} If a size is wrong, a number out of range, or a live head not measured.
   * Nothing is drawn or moved then.
   */
  decide(
    metrics: HeadMetrics,
    { cycle, ages, held = [], price = this.config.price, random }: DecideOptions,
  ): { decisions: Decision[]; predicted_total: number } {
    checkNumber("cycle", cycle, { min: 0, whole: true });
    checkNumber("price", price, { min: 0 });
    const { controller, config, exploration } = this, { NH, logits } = controller;
    const heads = this.#see(metrics, ages).filter((own) => !held.some((h) => samePlace(h, own)));
    const draws = Array.from(logits, () => random());
    const steps = config.steps.toSorted((a, b) => Math.abs(a) - Math.abs(b)); // 0 comes first
    const choices = heads.map((own) => {
      const at = own.layer * NH + own.head;
      const options = steps.map((step) => this.#option(own, logits[at], step, price));
      const best = options.reduce((a, b) => b.cost < a.cost ? b : a);
      const explored = draws[at] < exploration;
      const taken = options[explored ? Math.floor(draws[at] / exploration * steps.length) : 0];
      return { own, at, best, explored, taken };
    });
    const most = Math.max(1, Math.floor(config.maxMoved * heads.length + 1e-9));
    choices.filter(({ best, explored }) => best.cost < 0 && !explored)
      .sort((a, b) => a.best.cost - b.best.cost)
      .slice(0, most)
      .forEach((choice) => choice.taken = choice.best);

    const decisions = choices.map(({ own, at, explored, taken }): Decision => {
      const step = taken.logit - logits[at];
      logits[at] = taken.logit;
      return {
        layer: own.layer,
        head: own.head,
        step,
        gate_before: own.gate,
        gate: controller.gate(at),
        predicted_loss_change: taken.predicted,
        estimated_loss_change: taken.move.base,
        explored,
      };
    });
    this.#pending = { cycle, heads };
    return { decisions, predicted_total: sum(decisions.map((d) => d.predicted_loss_change)) };
  }

  /**
   * Learns from what the last decisions did. Their moves are taken from where the gates are now, so
   * that what limits or pruning changed of them is counted. The outcomes of single heads, measured
   * or shared out by `gateGrad`, count together as much as the round's.
   *
   * @throws {TypeError} If nothing was decided since the last outcome.
   * @throws {RangeError} If a number is out of range, or a single head had no decision. Nothing is
   * learned then.
   */
  learn(outcome: RoundOutcome): Lesson {
    const { realised_loss_change: realised, gateGrad, single = [] } = outcome;
    const { learningRate = this.config.learningRate } = outcome;
    checkNumber("learningRate", learningRate, { min: 0 });
    if (this.#pending === null) {
      throw new TypeError("Cannot learn: nothing was decided since the last outcome");
    }
    checkNumber("realised_loss_change", realised, {});
    const { controller, config } = this, { cycle, heads } = this.#pending;
    if (gateGrad) checkPerHead("gateGrad", gateGrad, controller);
    const moved = heads
      .map((own) => ({ own, at: own.layer * controller.NH + own.head }))
      .map(({ own, at }) => ({ own, at, move: moveTo(own, controller.gate(at)) }))
      .filter(({ move }) => move.delta !== 0);
    const moves = moved.map(({ move }) => move);
    const alone = single.map(({ layer, head, gate, loss_change }) => {
      const own = heads.find((seen) => samePlace(seen, { layer, head }));
      if (!own) throw new RangeError(`layer ${layer} head ${head} had no decision to learn from`);
      checkNumber("gate", gate, { min: 0, max: 1 });
      return { move: moveTo(own, gate), realised: checkNumber("loss_change", loss_change, {}) };
    });
    const shares: Lesson["shares"] = [];
    for (const { own: { layer, head, slope }, at, move } of gateGrad ? moved : []) {
      if (!controller.live[layer].includes(head)) continue; // pruned: it has no gradient
      const realised = move.delta * (slope + gateGrad![at]) / 2;
      shares.push({ layer, head, predicted: this.#predict([move]), realised });
      alone.push({ move, realised });
    }

    const least = LEAST_MOVE ** 2 * mean(heads.map(({ scale }) => scale ** 2));
    const entry = (moves: Move[], realised: number, weight: number): Outcome => {
      const square = least + sum(moves.map(({ scale, delta }) => (scale * delta) ** 2));
      return { moves, realised, norm: Math.max(LEAST_NORM, Math.sqrt(square)), weight };
    };
    const singles = alone.map(({ move, realised }) => entry([move], realised, 1 / alone.length));
    this.#replay = [...this.#replay, [entry(moves, realised, 1), ...singles]].slice(-config.replay);
    const predicted = this.#predict(moves), estimated = sum(moves.map(({ base }) => base));
    this.#network.train(this.#replay.flat(), { ...config, learningRate });
    this.#history.push({ cycle, moved: moves.length, predicted, estimated, realised });
    this.#pending = null;
    return {
      error_before: Math.abs(predicted - realised),
      error_after: Math.abs(this.#predict(moves) - realised),
      shares,
    };
  }

  /**
   * The state without the gates, which are their controller's to save.
   * {@linkcode MlpController.fromJSON} goes on from it with the same bits.
   */
  toJSON(): MlpState {
    const { L, NH } = this.controller;
    return structuredClone({
      L,
      NH,
      config: this.config,
      network: this.#network.toJSON(),
      history: this.#history,
      replay: this.#replay,
      pending: this.#pending,
    });
  }

  /**
   * Rebuilds a controller from its state.
   *
   * @param controller The gates, restored from their own state.
   * @throws {RangeError} If a size, a number or a setting is out of range.
   * @throws {TypeError} If a setting or a feature is unknown.
   */
  static fromJSON(state: MlpState, controller: AnnController): MlpController {
    const mlp = new MlpController(controller, state.config);
    for (const key of ["L", "NH"] as const) {
      if (state[key] !== controller[key]) {
        throw new RangeError(`${key} must be ${controller[key]}, as the gates': ${state[key]}`);
      }
    }
    const { history, replay, pending } = structuredClone(state);
    for (const { cycle, moved, predicted, estimated, realised } of history) {
      checkNumbers("history", [cycle, moved, predicted, estimated, realised], 5);
    }
    for (const { moves, realised, norm, weight } of replay.flat()) {
      checkNumbers("replay", [realised, weight], 2);
      checkNumber("norm", norm, { above: 0 });
      for (const { x, delta, base, scale } of moves) {
        checkNumbers("replay", [delta, base, scale], 3);
        checkNumbers("replay's features", x, mlp.config.features.length);
      }
    }
    for (const { layer, head, x, gate, slope, curvature, scale } of pending?.heads ?? []) {
      checkNumber("pending's layer", layer, { min: 0, max: state.L - 1, whole: true });
      checkNumber("pending's head", head, { min: 0, max: state.NH - 1, whole: true });
      checkNumbers("pending", [gate, slope, curvature, scale], 4);
      checkNumbers("pending's features", x, mlp.config.features.length);
    }
    mlp.#network.restore(state.network);
    mlp.#history = history;
    mlp.#replay = replay;
    mlp.#pending = pending;
    return mlp;
  }

  #predict(moves: readonly Move[]): number {
    return sum(moves.map((move) => this.#network.predict(move)));
  }

  /** One step that a head may take, and its cost: predicted loss, and price of the gate. */
  #option(own: SeenHead, from: number, step: number, price: number) {
    const { logitClamp } = this.controller.config;
    const logit = Math.min(logitClamp, Math.max(-logitClamp, from + step));
    const move = moveTo(own, sigmoid(logit)), predicted = this.#network.predict(move);
    return { logit, move, predicted, cost: predicted + price * move.delta };
  }

  /** All live heads, in (layer, head) order. */
  #see(metrics: HeadMetrics, ages?: ArrayLike<number>): SeenHead[] {
    const { controller, config: { features, ageCap, fisher } } = this, { L, NH } = controller;
    controller.checkMetrics(metrics);
    const missing: string[] = this.needs.filter((key) => metrics[key] === undefined);
    if (features.includes("age") && ages === undefined) missing.push("ages");
    if (missing.length > 0) {
      throw new TypeError(
        `Cannot decide without ${missing.join(", ")}: measure it, or leave what needs it out of ` +
          "features (gateGrad and gateGradSq are always needed)",
      );
    }
    const places = controller.live.flatMap((heads, l) => heads.map((h) => l * NH + h));
    if (ages) {
      checkPerHead("ages", ages, controller);
      for (const i of places) checkNumber("a head's age", ages[i], { min: 0 });
    }
    const spread = (fraction: (i: number) => number) => places.map((i) => 2 * fraction(i) - 1);
    const columns = features.map((feature) => {
      if (feature === "gate") return spread((i) => controller.gate(i));
      if (feature === "age") return spread((i) => Math.min(ages![i], ageCap) / ageCap);
      if (feature === "layer") return spread((i) => L === 1 ? 0.5 : Math.floor(i / NH) / (L - 1));
      if (feature !== "taylor") return standardise(places.map((i) => metrics[feature]![i]));
      return standardise(places.map((i) => metrics.gateGradAbs![i] * controller.gate(i)));
    });
    const squares = places.map((i) => metrics.gateGradSq![i]);
    const floor = SCALE_FLOOR * mean(squares);
    return places.map((i, row) => ({
      layer: Math.floor(i / NH),
      head: i % NH,
      gate: controller.gate(i),
      x: columns.map((column) => column[row]),
      slope: metrics.gateGrad![i],
      curvature: fisher * squares[row],
      scale: Math.sqrt(squares[row] + floor),
    }));
  }
}

function samePlace(a: HeadPlace, b: HeadPlace): boolean {
  return a.layer === b.layer && a.head === b.head;
}

function moveTo({ gate, x, slope, curvature, scale }: SeenHead, to: number): Move {
  const delta = to - gate;
  return { x, delta, base: slope * delta + curvature / 2 * delta * delta, scale };
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

function mean(values: readonly number[]): number {
  return sum(values) / Math.max(1, values.length);
}

/**
 * Mean 0 and variance 1 over heads, none beyond 3; all 0 where values are equal but for f32
 * rounding. Gradients spread over decades, and a few heads would squeeze all others together: in
 * units of the median, asinh takes the logarithm of what is large, of either sign, and leaves what
 * is small. Four decimals are kept: more would tell nothing, and fill the saved state.
 */
function standardise(values: readonly number[]): number[] {
  const sizes = values.map(Math.abs).toSorted((a, b) => a - b);
  const size = sizes[sizes.length >> 1] || mean(sizes) || 1; // where most are 0, the mean
  const flat = values.map((value) => Math.asinh(value / size));
  const middle = mean(flat);
  const deviation = Math.sqrt(mean(flat.map((value) => (value - middle) ** 2)));
  if (!(deviation > 1e-6)) return flat.map(() => 0);
  const within = (z: number) => Math.max(-3, Math.min(3, z));
  return flat.map((value) => Math.round(within((value - middle) / deviation) * 1e4) / 1e4);
}
