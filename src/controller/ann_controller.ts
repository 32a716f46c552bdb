/**
 * The controller itself: one logit per head, whose sigmoid is the head's gate. Measured metrics move
 * the logits by rules, and the gate gradients train them. Plain arrays on the CPU: `[L, NH]` is at
 * most some hundreds of numbers.
 *
 * @module
 */
import type { LiveHeads } from "../gpt2/layout.ts";
import { ANN_DEFAULTS, type AnnConfig, checkAnnConfig, sigmoid } from "./ann_config.ts";
import { checkHeadMetrics, checkPerHead, type HeadMetrics, liveMask } from "./metrics.ts";

/** Codes of `AgencyInfo.state`. */
export const AGENCY = { withdrawn: 0, overloaded: 1, misaligned: 2, active: 3 } as const;

/** What heads say of themselves, `[L, NH]` each. Without it every head counts as active. */
export interface AgencyInfo {
  /** A code of {@linkcode AGENCY} per head. */
  readonly state: ArrayLike<number>;
  /** 0 where the head does not consent: then no rule changes it, as if it were withdrawn. */
  readonly consent: ArrayLike<number>;
  /** How much the head is used, 0 to 1. */
  readonly utilization: ArrayLike<number>;
}

/** How many heads each rule moved. A rule whose metric was not collected is absent. */
export interface GateUpdate {
  /** Lowered by rule 1. */
  entropy?: number;
  /** Lowered by rule 2. */
  gradient?: number;
  /** Raised by rule 3. */
  importance?: number;
  /** Lowered by rule 4. */
  utilization?: number;
}

/** The whole state of an {@linkcode AnnController}, as JSON. */
export interface AnnState {
  /** Layers. */
  L: number;
  /** Heads in each layer of the full model. */
  NH: number;
  /** Thresholds and step sizes. */
  config: AnnConfig;
  /** `[L, NH]`. */
  logits: number[];
  /** For every layer the heads that are not pruned. */
  live: number[][];
  /** Adam's first moments of the logits. */
  m: number[];
  /** Adam's second moments. */
  v: number[];
  /** Adam's steps so far. */
  t: number;
}

// Weight of each rule's step, by agency state: withdrawn, overloaded, misaligned, active.
const ENTROPY_WEIGHT = [0, -0.15, -0.08, -0.1];
const GRADIENT_WEIGHT = [0, -0.075, 0, -0.05];
const IMPORTANCE_WEIGHT = [0, 0.2, 0.2, 0.2];
const UTILIZATION_WEIGHT = [0, 0, 0, -0.03];
const UTILIZATION_GATE = 0.7;

// A shorter memory than the usual 0.999 of v: a run has tens or hundreds of updates, not thousands.
const BETA1 = 0.9, BETA2 = 0.99, EPSILON = 1e-8;

function everyHead(L: number, NH: number): number[][] {
  return Array.from({ length: L }, () => Array.from({ length: NH }, (_, h) => h));
}

/**
 * Gate logits `[L, NH]` and the rules that move them. Pruned heads are never changed; their gate
 * is 0.
 */
export class AnnController {
  /** Layers. */
  readonly L: number;
  /** Heads in each layer of the full model. */
  readonly NH: number;
  /** Thresholds and step sizes. */
  readonly config: AnnConfig;
  /** `[L, NH]`; those of pruned heads stay as they were. */
  readonly logits: Float64Array;
  #live: number[][];
  #mask: Uint8Array;
  #m: Float64Array;
  #v: Float64Array;
  #t = 0;

  /**
   * All gates at their initial value.
   *
   * @param shape The full model's layers and heads, and its live heads (all unless given).
   * @param config Whatever differs from {@linkcode ANN_DEFAULTS}.
   * @throws {RangeError} If a size, a head or a setting is out of range.
   * @throws {TypeError} If a setting is unknown.
   */
  constructor(
    shape: { L: number; NH: number; live?: LiveHeads },
    config: Partial<AnnConfig> = {},
  ) {
    const { L, NH } = shape;
    const live = shape.live ?? everyHead(L, NH);
    checkHeadMetrics({ L, NH, live });
    this.config = { ...ANN_DEFAULTS, ...config };
    checkAnnConfig(this.config);
    this.L = L;
    this.NH = NH;
    this.#live = live.map((heads) => [...heads]);
    this.#mask = liveMask(live, L, NH);
    this.logits = new Float64Array(L * NH).fill(this.config.initValue);
    this.#m = new Float64Array(L * NH);
    this.#v = new Float64Array(L * NH);
  }

  /** The heads that are not pruned. */
  get live(): LiveHeads {
    return this.#live;
  }

  /** Gates `[L, NH]`, as the GPU takes them: sigmoid of the logit, 0 for a pruned head. */
  gates(): Float32Array {
    return Float32Array.from(this.logits, (_, i) => this.gate(i));
  }

  /** One gate, by its place `layer * NH + head`. */
  gate(index: number): number {
    return this.#mask[index] ? sigmoid(this.logits[index]) : 0;
  }

  /** UNWEIGHTED sum of gates; the loss holds `config.regWeight` times this. */
  regularizationLoss(): number {
    let sum = 0;
    for (let i = 0; i < this.logits.length; i++) sum += this.gate(i);
    return sum;
  }

  /**
   * Marks heads as pruned: their gate is 0 from now on, and nothing changes their logit.
   *
   * @throws {RangeError} If one of them is not live; then none is marked.
   */
  prune(heads: readonly { layer: number; head: number }[]): void {
    const gone = new Set<number>();
    for (const { layer, head } of heads) {
      const i = layer * this.NH + head;
      if (!this.#live[layer]?.includes(head) || gone.has(i)) {
        throw new RangeError(`Cannot prune layer ${layer} head ${head}: it is not live`);
      }
      gone.add(i);
    }
    for (const i of gone) this.#mask[i] = 0;
    this.#live = this.#live.map((list, layer) =>
      list.filter((head) => !gone.has(layer * this.NH + head))
    );
  }

  /**
   * Marks heads as live (again): their logits begin at `initValue`, without momentum.
   *
   * @throws {RangeError} If one of them is live, named twice or out of range; then none is marked.
   */
  grow(heads: readonly { layer: number; head: number }[]): void {
    const come = new Set<number>();
    for (const { layer, head } of heads) {
      const i = layer * this.NH + head;
      const inRange = this.#live[layer] !== undefined && head >= 0 && head < this.NH;
      if (!inRange || !Number.isInteger(head) || this.#mask[i] || come.has(i)) {
        throw new RangeError(`Cannot grow layer ${layer} head ${head}: it is not a pruned head`);
      }
      come.add(i);
    }
    for (const i of come) {
      this.#mask[i] = 1;
      this.logits[i] = this.config.initValue;
      this.#m[i] = this.#v[i] = 0;
    }
    this.#live = this.#live.map((_, layer) =>
      Array.from({ length: this.NH }, (_, head) => head)
        .filter((head) => this.#mask[layer * this.NH + head])
    );
  }

  /**
   * Checks metrics before anything is changed by them: their sizes, finite numbers, and that every
   * live head was measured.
   *
   * @throws {RangeError} If one of these is wrong.
   */
  checkMetrics(metrics: HeadMetrics, agency?: AgencyInfo): void {
    checkHeadMetrics(metrics);
    if (metrics.L !== this.L || metrics.NH !== this.NH) {
      throw new RangeError(
        `head metrics must be of ${this.L} layers x ${this.NH} heads: ${metrics.L} x ${metrics.NH}`,
      );
    }
    const measured = liveMask(metrics.live, this.L, this.NH);
    this.#mask.forEach((on, i) => {
      if (!on || measured[i]) return;
      const layer = Math.floor(i / this.NH);
      throw new RangeError(`layer ${layer} head ${i % this.NH} is live but was not measured`);
    });
    this.#states(agency);
  }

  /**
   * Applies the rules in order, each to the gates that the one before left:
   * 1. entropy (nats) above its threshold and gate above the floor: down 0.1;
   * 2. gradient norm below its threshold and gate above the floor: down 0.05;
   * 3. importance above its threshold and gate below the ceiling: up 0.2;
   * 4. with agency information, utilization above its threshold and gate above 0.7: down 0.03;
   * 5. logits are clamped;
   *
   * times `controllerLr * ruleScale`. Overloaded heads take 1.5 times the steps of rules 1 and 2,
   * misaligned ones 0.8 of rule 1 and none of rule 2; withdrawn ones are left alone. Comparisons
   * are strict. A rule runs only where its metric was collected.
   *
   * @returns How many heads each rule that ran has moved.
   * @throws {RangeError} If a length is wrong, a number is not finite, or a live head was not
   * measured.
   */
  updateGates(metrics: HeadMetrics, controllerLr: number, agency?: AgencyInfo): GateUpdate {
    this.checkMetrics(metrics, agency);
    this.#checkRate(controllerLr);
    const state = this.#states(agency);
    const { config } = this;
    const done: GateUpdate = {};
    const run = (
      rule: keyof GateUpdate,
      values: ArrayLike<number> | undefined,
      weights: readonly number[],
      applies: (value: number, gate: number) => boolean,
    ) => {
      if (values === undefined) return;
      let moved = 0;
      this.#mask.forEach((on, i) => {
        const weight = weights[state[i]];
        if (!on || weight === 0 || !applies(values[i], this.gate(i))) return;
        this.logits[i] += weight * controllerLr * config.ruleScale;
        moved++;
      });
      done[rule] = moved;
    };
    run(
      "entropy",
      metrics.entropyNats,
      ENTROPY_WEIGHT,
      (entropy, gate) => entropy > config.entropyThreshold && gate > config.pruneFloor,
    );
    run(
      "gradient",
      metrics.gradNorm,
      GRADIENT_WEIGHT,
      (norm, gate) => norm < config.gradThreshold && gate > config.pruneFloor,
    );
    run(
      "importance",
      metrics.importance,
      IMPORTANCE_WEIGHT,
      (importance, gate) => importance > config.importanceThreshold && gate < config.reviveCeiling,
    );
    run(
      "utilization",
      agency?.utilization,
      UTILIZATION_WEIGHT,
      (used, gate) => used > config.utilizationThreshold && gate > UTILIZATION_GATE,
    );
    this.#clamp();
    return done;
  }

  /**
   * Trains the logits of live heads by one Adam step on
   * `d loss / d logit = (gateGrad + regWeight) * g * (1 - g)`, at the rate
   * `learningRate * gradientScale`.
   *
   * Adam and not plain descent, because gate gradients spread over 1e-3..1e-1 and g * (1 - g) is
   * 0.045 at the start: a gradient of 1e-2 moves a logit by 4.5e-4 times the rate, so that a rate
   * of 100 would be needed to cross 5.2 in 115 updates, and would throw a head of 1e-1 across in a
   * dozen. Adam moves each by at most about its rate, 0.2 by default: what the loss itself says
   * outvotes rules 1 and 2 together (0.15). A head that the loss pulls neither way is left to the
   * L1 term, and sinks where its gradient's noise is not far above `regWeight`. Simulated with
   * gradients of noise 1e-2, rule 1 pushing, 100 updates from 3.0: heads of mean gradient 0 end at
   * a median logit of -3.2, of -0.5e-2 at 2.3, of -1e-2 at 4.3.
   *
   * @param gateGrad Signed d loss / d gate, `[L, NH]`, of the mean loss per token.
   * @param learningRate The controller's own rate.
   * @throws {RangeError} If the length is wrong or a live head's gradient is not finite.
   */
  gradientStep(gateGrad: ArrayLike<number>, learningRate: number): void {
    checkPerHead("gateGrad", gateGrad, this);
    this.#checkRate(learningRate);
    this.#t++;
    const rate = learningRate * this.config.gradientScale;
    const correct1 = 1 - BETA1 ** this.#t, correct2 = 1 - BETA2 ** this.#t;
    this.#mask.forEach((on, i) => {
      if (!on) return;
      const g = this.gate(i);
      const grad = (gateGrad[i] + this.config.regWeight) * g * (1 - g);
      const m = this.#m[i] = BETA1 * this.#m[i] + (1 - BETA1) * grad;
      const v = this.#v[i] = BETA2 * this.#v[i] + (1 - BETA2) * grad * grad;
      this.logits[i] -= rate * (m / correct1) / (Math.sqrt(v / correct2) + EPSILON);
    });
    this.#clamp();
  }

  /** The whole state; {@linkcode AnnController.fromJSON} goes on from it with the same bits. */
  toJSON(): AnnState {
    return {
      L: this.L,
      NH: this.NH,
      config: { ...this.config },
      logits: [...this.logits],
      live: this.#live.map((heads) => [...heads]),
      m: [...this.#m],
      v: [...this.#v],
      t: this.#t,
    };
  }

  /**
   * Rebuilds a controller from its state.
   *
   * @throws {RangeError} If a size, a number or a setting is out of range.
   */
  static fromJSON(state: AnnState): AnnController {
    const controller = new AnnController(state, state.config);
    const all = { L: state.L, NH: state.NH, live: everyHead(state.L, state.NH) };
    for (const key of ["logits", "m", "v"] as const) checkPerHead(key, state[key], all);
    if (!Number.isInteger(state.t) || state.t < 0) {
      throw new RangeError(`t must be a whole number, 0 or more: ${state.t}`);
    }
    controller.logits.set(state.logits);
    controller.#m.set(state.m);
    controller.#v.set(state.v);
    controller.#t = state.t;
    return controller;
  }

  #clamp(): void {
    const { logitClamp } = this.config;
    this.#mask.forEach((on, i) => {
      if (on) this.logits[i] = Math.min(logitClamp, Math.max(-logitClamp, this.logits[i]));
    });
  }

  #checkRate(rate: number): void {
    if (!(rate >= 0 && Number.isFinite(rate))) {
      throw new RangeError(`the controller's learning rate must be 0 or more: ${rate}`);
    }
  }

  /** Agency state of every head, where no consent counts as withdrawn. */
  #states(agency?: AgencyInfo): number[] {
    if (agency === undefined) return new Array(this.logits.length).fill(AGENCY.active);
    for (const key of ["state", "consent", "utilization"] as const) {
      checkPerHead(key, agency[key], this);
    }
    return Array.from({ length: this.logits.length }, (_, i) => {
      const state = agency.state[i];
      if (!this.#mask[i] || !agency.consent[i]) return AGENCY.withdrawn;
      if (![0, 1, 2, 3].includes(state)) {
        throw new RangeError(`agency state must be 0, 1, 2 or 3: ${state}`);
      }
      return state;
    });
  }
}
