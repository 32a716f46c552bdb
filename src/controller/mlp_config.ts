/**
 * What a learning controller sees, what it chooses from, and how it learns.
 *
 * @module
 */
import { checkChoice, checkNumber, type NumberRange } from "../ranges.ts";
import { METRIC_KEYS, type MetricKey } from "./metrics.ts";
import type { TrainingConfig } from "./mlp_network.ts";

/**
 * What the network may see of a head: a measurement; `taylor`, the first-order importance
 * `gateGradAbs * gate` (Michel et al. 2019); its gate; its age in cycles; its layer.
 */
export type Feature = MetricKey | "taylor" | "gate" | "age" | "layer";

const FEATURES: readonly Feature[] = [...METRIC_KEYS, "taylor", "gate", "age", "layer"];

/** What an `MlpController` sees, what it chooses from, and how it learns. */
export interface MlpConfig extends TrainingConfig {
  /** What the network sees of a head: standardised over a round, but for gate, age and layer. */
  readonly features: readonly Feature[];
  /** Units of the hidden layer. */
  readonly hidden: number;
  /** Changes of the logit to choose from; 0, which keeps the gate, among them. */
  readonly steps: readonly number[];
  /** What a gate costs: nats per token, and unit of gate, that closing it may lose. */
  readonly price: number;
  /**
   * Largest share of heads that a round moves because it pays, though always one; explored ones
   * come on top. Effects add up only while few heads move, and so do errors.
   */
  readonly maxMoved: number;
  /** Probability that a head takes a step at random, before anything was learned. */
  readonly exploration: number;
  /** What that is multiplied by for every outcome that was learned from. */
  readonly explorationDecay: number;
  /** Tokens a sequence, for a second-order untrained estimate; 0 makes it first-order. */
  readonly fisher: number;
  /** Ages above this many cycles count as this. */
  readonly ageCap: number;
  /** Rounds that are learned from, the latest. */
  readonly replay: number;
  /** Seed of the hidden layer. */
  readonly seed: number;
}

/** The configuration used where nothing else is said. */
export const MLP_DEFAULTS: MlpConfig = {
  features: ["entropy", "gradNorm", "gateGrad", "taylor", "gate", "age", "layer"],
  hidden: 16,
  steps: [-2, -1, 0, 1, 2], // three rounds of -2 take a gate from 0.95 to 0.05
  price: 1e-3,
  maxMoved: 0.25,
  exploration: 0.1,
  explorationDecay: 0.9,
  fisher: 0,
  ageCap: 10,
  replay: 32,
  epochs: 20,
  learningRate: 0.02,
  shrinkage: 0.05,
  weightDecay: 0.1,
  seed: 0,
};

const RANGES: Readonly<Record<Exclude<keyof MlpConfig, "features" | "steps">, NumberRange>> = {
  hidden: { min: 1, whole: true },
  price: { min: 0 },
  maxMoved: { min: 0, max: 1 },
  exploration: { min: 0, max: 1 },
  explorationDecay: { min: 0, max: 1 },
  fisher: { min: 0 },
  ageCap: { above: 0 },
  replay: { min: 1, whole: true },
  epochs: { min: 0, whole: true },
  learningRate: { min: 0 },
  shrinkage: { min: 0 },
  weightDecay: { min: 0 },
  seed: { min: 0, whole: true },
};

/**
 * Checks a configuration.
 *
 * @throws {RangeError} If a setting is out of range.
 * @throws {TypeError} If a setting or a feature is unknown.
 */
export function checkMlpConfig(config: MlpConfig): void {
  for (const key of Object.keys(config)) {
    if (!(key in MLP_DEFAULTS)) throw new TypeError(`Unknown controller setting: ${key}`);
  }
  for (const key of Object.keys(RANGES) as (keyof typeof RANGES)[]) {
    checkNumber(key, config[key], RANGES[key]);
  }
  const { features, steps } = config;
  for (const feature of features) checkChoice("a feature", feature, FEATURES);
  if (features.length === 0 || new Set(features).size < features.length) {
    throw new RangeError(`features must name at least one, each once: [${features}]`);
  }
  if (!steps.includes(0) || !steps.every(Number.isFinite)) {
    throw new RangeError(`steps must be finite numbers, 0 among them: [${steps}]`);
  }
}
