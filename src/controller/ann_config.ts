/**
 * The controller's thresholds and step sizes, and how far they reach.
 *
 * @module
 */

/** 1 / (1 + e^-x). */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** The inverse of {@linkcode sigmoid}: ln(p / (1 - p)). */
export function logit(p: number): number {
  return Math.log(p / (1 - p));
}

/**
 * Thresholds and step sizes of an {@linkcode AnnController}.
 *
 * **Step sizes.** A rule moves a logit by `weight * controllerLr * ruleScale`. The system this
 * follows has no scale: its largest step is 0.0015 at its rate of 0.01, so a logit needs 2,000
 * updates from 3.0 to 0, and its rules stop at gate 0.2 while a head counts as pruned at 0.1 or
 * less, so its rules can never prune. Here `ruleScale` is 100, which keeps the ratios of the rules.
 * From 3.0 to logit(0.1) = -2.197 is a way of 5.197; at the rate 0.01:
 *
 * | what pushes | a step | updates | optimizer steps, updating every 10 |
 * | --- | --- | --- | --- |
 * | entropy | 0.10 | 52 | 520 |
 * | gradient norm | 0.05 | 104 | 1,040 |
 * | both | 0.15 | 35 | 350 |
 * | trained logits, at most (`gradientScale` 20) | 0.20 | 26 | 260 |
 *
 * and `pruneFloor`, down to which the first two rules act, lies below `activeThreshold`. It is not
 * 0: a gate that the rules hold at 0.05 can come back above 0.1 within a handful of updates.
 */
export interface AnnConfig {
  /** Every logit at the start; sigmoid(3) = 0.9526. */
  readonly initValue: number;
  /** Weight of the sum of gates in the loss (L1: gates are positive). */
  readonly regWeight: number;
  /** Rule 1 lowers heads whose row entropy is above this, in nats (never the normalised one). */
  readonly entropyThreshold: number;
  /** Rule 2 lowers heads whose gradient norm is below this. */
  readonly gradThreshold: number;
  /** Rule 3 raises nearly closed heads whose importance is above this. */
  readonly importanceThreshold: number;
  /** Rule 4 lowers heads used more than this (only with agency information). */
  readonly utilizationThreshold: number;
  /** Rules 1 and 2 act on gates above this. */
  readonly pruneFloor: number;
  /** Rule 3 acts on gates below this. */
  readonly reviveCeiling: number;
  /** A head is active while its gate is above this. */
  readonly activeThreshold: number;
  /** Rule 5 keeps logits within plus and minus this. */
  readonly logitClamp: number;
  /** What every rule's step is multiplied by. */
  readonly ruleScale: number;
  /** What the controller's rate is multiplied by to be Adam's rate for the logits. */
  readonly gradientScale: number;
}

/** The configuration used where nothing else is said. */
export const ANN_DEFAULTS: AnnConfig = {
  initValue: 3,
  regWeight: 1e-4,
  entropyThreshold: 1.5,
  gradThreshold: 1e-3,
  importanceThreshold: 0.7,
  utilizationThreshold: 0.85,
  pruneFloor: 0.05,
  reviveCeiling: 0.1,
  activeThreshold: 0.1,
  logitClamp: 10,
  ruleScale: 100,
  gradientScale: 20,
};

/**
 * Checks a whole configuration.
 *
 * @throws {RangeError} If a setting is out of range.
 * @throws {TypeError} If a setting is unknown.
 */
export function checkAnnConfig(config: AnnConfig): void {
  for (const [key, value] of Object.entries(config)) {
    if (!(key in ANN_DEFAULTS)) throw new TypeError(`Unknown controller setting: ${key}`);
    if (typeof value !== "number" || !Number.isFinite(value)) {
      throw new RangeError(`${key} must be a finite number: ${value}`);
    }
  }
  for (const key of ["pruneFloor", "reviveCeiling", "activeThreshold"] as const) {
    if (!(config[key] > 0 && config[key] < 1)) {
      throw new RangeError(`${key} must be above 0 and below 1: ${config[key]}`);
    }
  }
  for (const key of ["regWeight", "ruleScale", "gradientScale"] as const) {
    if (config[key] < 0) throw new RangeError(`${key} must not be negative: ${config[key]}`);
  }
  if (!(config.logitClamp > 0)) {
    throw new RangeError(`logitClamp must be positive: ${config.logitClamp}`);
  }
  if (Math.abs(config.initValue) > config.logitClamp) {
    throw new RangeError(
      `initValue must be within plus and minus ${config.logitClamp}: ${config.initValue}`,
    );
  }
}

/**
 * How many updates carry an active head from `initValue` to the active threshold when the rule (or
 * both, or training with a gradient of constant sign) pushes at every one of them.
 */
export function updatesToClose(
  config: AnnConfig,
  controllerLr: number,
): { entropy: number; gradient: number; both: number; trained: number } {
  const way = config.initValue - logit(config.activeThreshold);
  // The hair keeps a quotient that is whole but for rounding from counting one update too many.
  const updates = (weight: number) => Math.max(0, Math.ceil(way / (weight * controllerLr) - 1e-9));
  const rule = config.ruleScale;
  return {
    entropy: updates(0.1 * rule),
    gradient: updates(0.05 * rule),
    both: updates(0.15 * rule),
    trained: updates(config.gradientScale),
  };
}
