/**
 * Pruning scores: pure functions from what was measured to one number per head, `[L, NH]`. The head
 * with the LOWEST score is pruned first. Heads that are not live get NaN.
 *
 * @module
 */
import type { LiveHeads } from "../gpt2/layout.ts";
import {
  checkHeadMetrics,
  checkPerHead,
  type HeadMetrics,
  liveMask,
} from "../controller/metrics.ts";
import type { MetricKey } from "../controller/metrics.ts";

/** Names of the strategies, in the order that `--help` lists them. */
export const STRATEGY_NAMES = [
  "entropy",
  "gradient",
  "importance",
  "combined",
  "magnitude",
  "random",
  "taylor",
  "fisher",
  "output_norm",
  "oracle",
] as const;

/** The name of a pruning strategy. */
export type Strategy = typeof STRATEGY_NAMES[number];

/** The strategies that differ: `importance` is `taylor` by another name. */
export const DISTINCT_STRATEGIES: readonly Strategy[] = STRATEGY_NAMES.filter((name) =>
  name !== "importance"
);

/** What the scores are computed from. */
export interface ScoreInputs {
  /** Measured numbers; those that the strategy needs must be there. */
  readonly metrics: HeadMetrics;
  /** Gates `[L, NH]` that the metrics were measured with; a model without gates leaves it out. */
  readonly gates?: ArrayLike<number>;
  /** L2 norm of each head's output-projection rows, `[L, NH]`: {@linkcode projectionNorms}. */
  readonly weightNorms?: ArrayLike<number>;
  /** A seeded source of numbers in [0, 1). */
  readonly random?: () => number;
  /** Loss `[L, NH]` without that one head: `leaveOneOut`. */
  readonly lossWithout?: ArrayLike<number>;
}

/** One pruning strategy. */
export interface StrategyInfo {
  /** What `--strategy` calls it. */
  readonly name: Strategy;
  /** One line for `--help`. */
  readonly description: string;
  /** The measurements it needs. */
  readonly needs: readonly MetricKey[];
  /** Other inputs it needs. */
  readonly also: readonly ("weightNorms" | "random" | "lossWithout")[];
  /** Scores from inputs that hold what it needs. */
  readonly score: (inputs: ScoreInputs) => Float32Array;
}

/** Unfocused heads first: minus the normalised entropy. */
export function entropyScores(metrics: HeadMetrics): Float32Array {
  const entropy = need(metrics, "entropy");
  return perHead(metrics, (i) => -entropy[i]);
}

/** Heads that learn least first: the gradient norm. */
export function gradientScores(metrics: HeadMetrics): Float32Array {
  const gradNorm = need(metrics, "gradNorm");
  return perHead(metrics, (i) => gradNorm[i]);
}

/**
 * Heads whose removal should change the loss least first: mean over sequences of
 * `|d loss / d gate| * |gate|`, the first-order Taylor estimate of the loss at gate 0 (Michel et
 * al. 2019, "Are sixteen heads really better than one?", with gates at 1; Molchanov et al. 2017).
 *
 * @param gates The gates that the gradient was taken at; all 1 where the model has none.
 */
export function importanceScores(metrics: HeadMetrics, gates?: ArrayLike<number>): Float32Array {
  const gateGradAbs = need(metrics, "gateGradAbs");
  if (gates) checkPerHead("gates", gates, metrics);
  return perHead(metrics, (i) => gateGradAbs[i] * Math.abs(gates ? gates[i] : 1));
}

/**
 * Heads whose gate's gradient is smallest in the mean square first: mean over sequences of
 * `(d loss / d gate)^2 * gate^2`, the diagonal of the Fisher information as a second-order estimate
 * (Theis et al. 2018, "Faster gaze prediction with dense networks and Fisher pruning"; for heads
 * Kwon et al. 2022, "A fast post-training pruning framework for transformers").
 *
 * @param gates The gates that the gradient was taken at; all 1 where the model has none.
 */
export function fisherScores(metrics: HeadMetrics, gates?: ArrayLike<number>): Float32Array {
  const gateGradSq = need(metrics, "gateGradSq");
  if (gates) checkPerHead("gates", gates, metrics);
  return perHead(metrics, (i) => gateGradSq[i] * (gates ? gates[i] : 1) ** 2);
}

/** Heads that say least first: mean norm of the output that passes the gate. */
export function outputNormScores(metrics: HeadMetrics, gates?: ArrayLike<number>): Float32Array {
  const outputNorm = need(metrics, "outputNorm");
  if (gates) checkPerHead("gates", gates, metrics);
  return perHead(metrics, (i) => outputNorm[i] * Math.abs(gates ? gates[i] : 1));
}

/** Heads whose removal leaves the lowest loss first, each alone and measured. */
export function oracleScores(metrics: HeadMetrics, lossWithout: ArrayLike<number>): Float32Array {
  checkPerHead("lossWithout", lossWithout, metrics);
  return perHead(metrics, (i) => lossWithout[i]);
}

/**
 * Minus `0.6 * minmax(entropy) + 0.4 * (1 - minmax(gradient norm))`, each scaled over live heads
 * alone to 0..1 (all 0 where they are equal).
 */
export function combinedScores(metrics: HeadMetrics): Float32Array {
  const entropy = minmax(metrics, need(metrics, "entropy"));
  const gradNorm = minmax(metrics, need(metrics, "gradNorm"));
  return perHead(metrics, (i) => -(0.6 * entropy[i] + 0.4 * (1 - gradNorm[i])));
}

/** Heads that can write least into the residual stream first: the output projection's L2 norm. */
export function magnitudeScores(
  metrics: HeadMetrics,
  weightNorms: ArrayLike<number>,
): Float32Array {
  checkPerHead("weightNorms", weightNorms, metrics);
  return perHead(metrics, (i) => weightNorms[i]);
}

/**
 * A number per head from the source: the control. It draws for dead heads too, so that a head's
 * number does not depend on which others are live.
 */
export function randomScores(metrics: HeadMetrics, random: () => number): Float32Array {
  const drawn = Float32Array.from({ length: metrics.L * metrics.NH }, () => random());
  return perHead(metrics, (i) => drawn[i]);
}

/** Every strategy: what it does, what it needs, and its scores. */
export const STRATEGIES: Readonly<Record<Strategy, StrategyInfo>> = {
  entropy: {
    name: "entropy",
    description: "highest attention entropy first (per row, over ln of the keys it sees)",
    needs: ["entropy"],
    also: [],
    score: ({ metrics }) => entropyScores(metrics),
  },
  gradient: {
    name: "gradient",
    description: "lowest gradient norm of the head's weights first",
    needs: ["gradNorm"],
    also: [],
    score: ({ metrics }) => gradientScores(metrics),
  },
  importance: {
    name: "importance",
    description: "lowest mean |d loss / d gate| x |gate| first (Taylor estimate of the loss)",
    needs: ["gateGradAbs"],
    also: [],
    score: ({ metrics, gates }) => importanceScores(metrics, gates),
  },
  combined: {
    name: "combined",
    description: "0.6 high entropy + 0.4 low gradient norm, each scaled over live heads",
    needs: ["entropy", "gradNorm"],
    also: [],
    score: ({ metrics }) => combinedScores(metrics),
  },
  magnitude: {
    name: "magnitude",
    description: "smallest L2 norm of the head's output projection first",
    needs: [],
    also: ["weightNorms"],
    score: ({ metrics, weightNorms }) => magnitudeScores(metrics, weightNorms!),
  },
  random: {
    name: "random",
    description: "at random, from the run's seed: the control",
    needs: [],
    also: ["random"],
    score: ({ metrics, random }) => randomScores(metrics, random!),
  },
  taylor: {
    name: "taylor",
    description: "the same as importance, by the name it has in the literature",
    needs: ["gateGradAbs"],
    also: [],
    score: ({ metrics, gates }) => importanceScores(metrics, gates),
  },
  fisher: {
    name: "fisher",
    description: "lowest mean (d loss / d gate x gate)^2 first (diagonal Fisher information)",
    needs: ["gateGradSq"],
    also: [],
    score: ({ metrics, gates }) => fisherScores(metrics, gates),
  },
  output_norm: {
    name: "output_norm",
    description: "lowest mean norm of the head's gated output first",
    needs: ["outputNorm"],
    also: [],
    score: ({ metrics, gates }) => outputNormScores(metrics, gates),
  },
  oracle: {
    name: "oracle",
    description: "lowest loss without the head first, each left out once: exact, and slow",
    needs: [],
    also: ["lossWithout"],
    score: ({ metrics, lossWithout }) => oracleScores(metrics, lossWithout!),
  },
};

/**
 * Scores every live head by a strategy.
 *
 * @returns Scores `[L, NH]`, lowest pruned first, NaN for heads that are not live.
 * @throws {TypeError} If the strategy is unknown, or something that it needs was not collected.
 * @throws {RangeError} If a length is wrong or a live head's number is not finite.
 */
export function scoreHeads(strategy: Strategy, inputs: ScoreInputs): Float32Array {
  const info = Object.hasOwn(STRATEGIES, strategy) ? STRATEGIES[strategy] : undefined;
  if (info === undefined) {
    throw new TypeError(`strategy must be one of ${STRATEGY_NAMES.join(", ")}: ${strategy}`);
  }
  checkHeadMetrics(inputs.metrics);
  const missing = [
    ...info.needs.filter((key) => inputs.metrics[key] === undefined),
    ...info.also.filter((key) => inputs[key] === undefined),
  ];
  if (missing.length > 0) {
    throw new TypeError(`strategy ${strategy} needs what was not collected: ${missing.join(", ")}`);
  }
  const scores = info.score(inputs);
  checkPerHead(`${strategy} score`, scores, inputs.metrics);
  return scores;
}

/**
 * L2 norm of every live head's rows of `c_proj.weight`.
 *
 * @param weights For each layer `[live heads * HS, C]`: the rows of live heads alone, in order.
 * @returns Norms `[L, NH]`, NaN for heads that are not live.
 * @throws {RangeError} If a weight's length does not fit.
 */
export function projectionNorms(
  weights: readonly ArrayLike<number>[],
  live: LiveHeads,
  { NH, HS, C }: { NH: number; HS: number; C: number },
): Float32Array {
  const norms = new Float32Array(live.length * NH).fill(NaN);
  live.forEach((heads, layer) => {
    const weight = weights[layer], block = HS * C;
    if (weight?.length !== heads.length * block) {
      throw new RangeError(
        `c_proj.weight of layer ${layer} must hold ${
          heads.length * block
        } numbers: ${weight?.length}`,
      );
    }
    heads.forEach((head, slot) => {
      let sum = 0;
      for (let i = slot * block; i < (slot + 1) * block; i++) sum += weight[i] * weight[i];
      norms[layer * NH + head] = Math.sqrt(sum);
    });
  });
  return norms;
}

function need(metrics: HeadMetrics, key: MetricKey): Float32Array {
  const values = metrics[key];
  if (values === undefined) throw new TypeError(`${key} was not collected`);
  checkPerHead(key, values, metrics);
  return values;
}

function perHead(metrics: HeadMetrics, score: (index: number) => number): Float32Array {
  return Float32Array.from(
    liveMask(metrics.live, metrics.L, metrics.NH),
    (on, i) => on ? score(i) : NaN,
  );
}

/** Scales values to 0..1 over live heads; 0 where all are equal. Kept in f64. */
function minmax(metrics: HeadMetrics, values: Float32Array): number[] {
  const own = metrics.live.flatMap((heads, l) => heads.map((h) => values[l * metrics.NH + h]));
  const least = Math.min(...own), range = Math.max(...own) - least;
  return Array.from(values, (value) => range > 0 ? (value - least) / range : 0);
}
