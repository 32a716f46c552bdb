/**
 * When the controller acts and how far it may go: warm-up, update frequency, its learning rate's
 * decay, the share of heads it may close, and when it has nothing more to say.
 *
 * @module
 */
import {
  type AgencyInfo,
  AnnController,
  type AnnState,
  type GateUpdate,
} from "./ann_controller.ts";
import { inactivePercent, isOpen, keepOpen } from "./limits.ts";
import type { HeadMetrics } from "./metrics.ts";

/** When and how far an {@linkcode AnnController} is let loose. */
export interface ManagerConfig {
  /** Gates are updated at every multiple of this many optimizer steps. */
  readonly updateFrequency: number;
  /** Optimizer steps before the first update may happen. */
  readonly warmupSteps: number;
  /**
   * Share of all heads that may be closed (pruned, or with a gate at or under the active
   * threshold). Heads that were pruned count; where they use up the share, no live head may close.
   */
  readonly maxPrunedHeads: number;
  /** The controller's own learning rate at the start. */
  readonly controllerLr: number;
  /** What that rate is multiplied by every `controllerLrDecaySteps` optimizer steps. */
  readonly controllerLrDecay: number;
  /** Optimizer steps, warm-up included, between two decays. */
  readonly controllerLrDecaySteps: number;
  /** The rate never falls below this. */
  readonly minControllerLr: number;
  /** Updates in a row without change that make a plateau. */
  readonly earlyStoppingPatience: number;
  /**
   * An update in which no live head's gate moved by as much as this is one without change. The
   * system this follows compares the mean gate with 0.01, which its own steps never reach (one of
   * 0.1 at logit 3 moves a gate by 0.0045), and opposite moves cancel in a mean.
   */
  readonly minGateChange: number;
  /** Whether a plateau stops the updates. */
  readonly enableEarlyStopping: boolean;
}

/** The configuration used where nothing else is said. */
export const MANAGER_DEFAULTS: ManagerConfig = {
  updateFrequency: 100,
  warmupSteps: 500,
  maxPrunedHeads: 0.3,
  controllerLr: 0.01,
  controllerLrDecay: 0.95,
  controllerLrDecaySteps: 1000,
  minControllerLr: 0.001,
  earlyStoppingPatience: 5,
  minGateChange: 1e-3,
  enableEarlyStopping: true,
};

/** What one optimizer step meant to the controller. `step` counts from 1. */
export type ControllerStep =
  | { status: "warmup"; step: number }
  | { status: "skipped"; step: number }
  /** A plateau was met: gates stay until {@linkcode ControllerManager.forgetPlateau}. */
  | { status: "stopped"; step: number }
  | ControllerUpdate;

/** An update of the gates. */
export interface ControllerUpdate {
  /** Tells it from the other outcomes of a step. */
  status: "updated";
  /** The optimizer step, counting from 1. */
  step: number;
  /** For every layer the heads whose gate is above the active threshold. */
  active_gates: number[][];
  /** Share of all heads that are not active, in percent; pruned heads among them. */
  pruned_percent: number;
  /** Mean gate of the live heads. */
  mean_gate: number;
  /** The controller's learning rate of this update. */
  controller_lr: number;
  /** Whether this update completed a plateau; then the next steps are `"stopped"`. */
  early_stopping_triggered: boolean;
  /** Updates in a row without change. */
  plateau_counter: number;
  /** Sum over live heads of the gate's absolute change. */
  gate_changes: number;
  /** Heads moved by each rule; a rule whose metric was not collected is absent. */
  rules: GateUpdate;
  /** Whether the logits were trained, that is, whether the gate gradient was collected. */
  trained: boolean;
  /** Heads `[layer, head]` that a limit kept open or opened again. */
  kept_open: [number, number][];
}

/** The whole state of a {@linkcode ControllerManager}, as JSON. */
export interface ManagerState {
  /** Schedule and limits. */
  config: ManagerConfig;
  /** Optimizer steps seen. */
  step: number;
  /** Updates in a row without change. */
  plateau_counter: number;
  /** Whether a plateau has stopped the updates. */
  stopped: boolean;
  /** The gates. */
  controller: AnnState;
}

function checkConfig(config: ManagerConfig): void {
  for (const key of Object.keys(config)) {
    if (!(key in MANAGER_DEFAULTS)) throw new TypeError(`Unknown manager setting: ${key}`);
  }
  const whole = (key: keyof ManagerConfig, least: number) => {
    const value = config[key];
    if (!Number.isInteger(value) || (value as number) < least) {
      throw new RangeError(`${key} must be a whole number, ${least} or more: ${value}`);
    }
  };
  whole("updateFrequency", 1);
  whole("warmupSteps", 0);
  whole("controllerLrDecaySteps", 1);
  whole("earlyStoppingPatience", 1);
  const within = (key: keyof ManagerConfig, most: number) => {
    const value = config[key] as number;
    if (!(value >= 0 && value <= most && Number.isFinite(value))) {
      const range = most === Infinity ? "0 or more" : `between 0 and ${most}`;
      throw new RangeError(`${key} must be ${range}: ${value}`);
    }
  };
  within("maxPrunedHeads", 1);
  within("controllerLrDecay", 1);
  within("minControllerLr", Infinity);
  within("minGateChange", Infinity);
  within("controllerLr", Infinity);
}

/** Drives an {@linkcode AnnController} from a training loop: one {@linkcode step} per optimizer step. */
export class ControllerManager {
  /** The gates. */
  readonly controller: AnnController;
  /** Schedule and limits. */
  readonly config: ManagerConfig;
  #step = 0;
  #plateau = 0;
  #stopped = false;

  /**
   * A manager before the first step.
   *
   * @param controller The gates; the manager alone should change them from now on.
   * @param config Whatever differs from {@linkcode MANAGER_DEFAULTS}.
   * @throws {RangeError} If a setting is out of range.
   * @throws {TypeError} If a setting is unknown.
   */
  constructor(controller: AnnController, config: Partial<ManagerConfig> = {}) {
    this.controller = controller;
    this.config = { ...MANAGER_DEFAULTS, ...config };
    checkConfig(this.config);
  }

  /** Optimizer steps seen so far. */
  get currentStep(): number {
    return this.#step;
  }

  /** Whether a plateau has stopped the updates. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * Whether the given step (counting from 1, `currentStep + 1` is the next) will update the gates,
   * so that metrics must be read back for it. Known in advance but for a plateau met in between.
   */
  needsMetrics(step: number): boolean {
    return !this.#stopped && step >= this.config.warmupSteps &&
      step % this.config.updateFrequency === 0;
  }

  /** The controller's learning rate at a step: decayed every so many steps, never below its floor. */
  controllerLr(step: number = this.#step): number {
    const { controllerLr, controllerLrDecay, controllerLrDecaySteps, minControllerLr } =
      this.config;
    const decays = Math.floor(step / controllerLrDecaySteps);
    return Math.max(minControllerLr, controllerLr * controllerLrDecay ** decays);
  }

  /** For every layer the heads whose gate is above the active threshold. */
  activeGates(): number[][] {
    return this.controller.live.map((heads, layer) =>
      heads.filter((head) => isOpen(this.controller, layer * this.controller.NH + head))
    );
  }

  /** Share of all heads that are not active, in percent; pruned heads among them. */
  prunedPercent(): number {
    return inactivePercent(this.controller);
  }

  /** Mean gate of the live heads. */
  meanGate(): number {
    return this.controller.regularizationLoss() / this.controller.live.flat().length;
  }

  /**
   * Counts one optimizer step and, where one is due, updates the gates: trains the logits if the
   * gate gradient was collected, applies the rules, then the limits: no more heads are closed than
   * `maxPrunedHeads` allows, and every layer keeps an active one ({@linkcode keepOpen}).
   *
   * @param metrics Needed where {@linkcode needsMetrics} says so, and not looked at elsewhere.
   * @throws {TypeError} If metrics are needed and not given; the step is not counted then.
   * @throws {RangeError} If a metric is malformed; the step is not counted then.
   */
  step(metrics?: HeadMetrics, agency?: AgencyInfo): ControllerStep {
    const step = this.#step + 1;
    if (!this.needsMetrics(step)) {
      this.#step = step;
      if (step < this.config.warmupSteps) return { status: "warmup", step };
      return { status: this.#stopped ? "stopped" : "skipped", step };
    }
    if (metrics === undefined) {
      throw new TypeError(`Cannot update the gates at step ${step}: no head metrics were given`);
    }
    const { controller } = this;
    controller.checkMetrics(metrics, agency);
    const controller_lr = this.controllerLr(step);
    const logits = controller.logits.slice();
    const gates = Array.from(logits, (_, i) => controller.gate(i));
    if (metrics.gateGrad) controller.gradientStep(metrics.gateGrad, controller_lr);
    const rules = controller.updateGates(metrics, controller_lr, agency);
    const kept_open = keepOpen(controller, logits, this.config.maxPrunedHeads);

    const moves = gates.map((gate, i) => Math.abs(controller.gate(i) - gate));
    const still = moves.every((move) => move < this.config.minGateChange);
    this.#plateau = still ? this.#plateau + 1 : 0;
    this.#stopped = this.config.enableEarlyStopping &&
      this.#plateau >= this.config.earlyStoppingPatience;
    this.#step = step;
    return {
      status: "updated",
      step,
      active_gates: this.activeGates(),
      pruned_percent: this.prunedPercent(),
      mean_gate: this.meanGate(),
      controller_lr,
      early_stopping_triggered: this.#stopped,
      plateau_counter: this.#plateau,
      gate_changes: moves.reduce((sum, move) => sum + move, 0),
      rules,
      trained: metrics.gateGrad !== undefined,
      kept_open,
    };
  }

  /** Lets updates go on after a plateau: call it where a new cycle begins. */
  forgetPlateau(): void {
    this.#plateau = 0;
    this.#stopped = false;
  }

  /**
   * Tells that heads were pruned from the model: their gates are 0 for good, the plateau is
   * forgotten, and heads that the limits no longer let be closed are opened.
   *
   * @throws {RangeError} If one of them is not live; then nothing changes.
   */
  prune(heads: readonly { layer: number; head: number }[]): void {
    this.controller.prune(heads);
    keepOpen(this.controller, this.controller.logits.slice(), this.config.maxPrunedHeads);
    this.forgetPlateau();
  }

  /**
   * Tells that heads have come (back) to the model: their gates are open, and a plateau is forgotten.
   *
   * @throws {RangeError} If one of them is live; then nothing changes.
   */
  grow(heads: readonly { layer: number; head: number }[]): void {
    this.controller.grow(heads);
    this.forgetPlateau();
  }

  /** The whole state; {@linkcode ControllerManager.fromJSON} goes on from it with the same bits. */
  toJSON(): ManagerState {
    return {
      config: { ...this.config },
      step: this.#step,
      plateau_counter: this.#plateau,
      stopped: this.#stopped,
      controller: this.controller.toJSON(),
    };
  }

  /**
   * Rebuilds a manager and its controller from their state.
   *
   * @throws {RangeError} If a number or setting is out of range.
   */
  static fromJSON(state: ManagerState): ControllerManager {
    const manager = new ControllerManager(AnnController.fromJSON(state.controller), state.config);
    for (const key of ["step", "plateau_counter"] as const) {
      if (!Number.isInteger(state[key]) || state[key] < 0) {
        throw new RangeError(`${key} must be a whole number, 0 or more: ${state[key]}`);
      }
    }
    manager.#step = state.step;
    manager.#plateau = state.plateau_counter;
    manager.#stopped = state.stopped;
    return manager;
  }
}
