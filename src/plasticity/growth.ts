/**
 * Which pruned heads to bring back: pure functions from what was measured to one number per head,
 * `[L, NH]`. The head with the HIGHEST score grows first. Live heads get NaN.
 *
 * @module
 */
import { checkPerHead, liveMask } from "../controller/metrics.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { pearson } from "./rank.ts";

/** Names of the strategies, in the order that `--help` lists them. */
export const GROWTH_NAMES = [
  "gradient_sensitivity",
  "entropy_gap",
  "balanced",
  "hebbian",
  "random",
] as const;

/** The name of a growth strategy. */
export type GrowthStrategy = typeof GROWTH_NAMES[number];

/** What the scores are computed from; arrays are `[L, NH]`. */
export interface GrowthInputs {
  /** The heads that are live. */
  readonly live: LiveHeads;
  /** Heads in each layer of the full model. */
  readonly NH: number;
  /** For each layer the pruned heads that may grow; all of them unless given. */
  readonly candidates?: LiveHeads;
  /** d loss / d gate on calibration text, pruned heads among the others at gate 0. */
  readonly gateGrad?: ArrayLike<number>;
  /** Entropy of each live head's rows, each over the ln of the keys it sees: 0 to 1. */
  readonly entropy?: ArrayLike<number>;
  /** How each pruned head's activity correlates with what live heads carry: {@linkcode liveCorrelations}. */
  readonly liveCorrelation?: ArrayLike<number>;
  /** A seeded source of numbers in [0, 1). */
  readonly random?: () => number;
}

/** One growth strategy. */
export interface GrowthInfo {
  /** What records call it. */
  readonly name: GrowthStrategy;
  /** One line for `--help`. */
  readonly description: string;
  /** The inputs it needs. */
  readonly needs: readonly ("gateGrad" | "entropy" | "liveCorrelation" | "random")[];
  /** Whether its needs are of the pruned heads themselves, which must be measured at gate 0. */
  readonly dormant: boolean;
  /** Scores from inputs that hold what it needs. */
  readonly score: (inputs: GrowthInputs) => Float32Array;
}

/** A head that was chosen to grow. */
export interface ChosenGrowth {
  /** Its layer. */
  readonly layer: number;
  /** Its number in the full model's layer. */
  readonly head: number;
  /** Its score when it was chosen. */
  readonly score: number;
  /** Its place among the pruned heads by score, 1 = first to grow. */
  readonly rank: number;
  /** Pruned heads when it was chosen. */
  readonly of: number;
}

/** Every strategy: what it does, what it needs, and its scores. */
export const GROWTHS: Readonly<Record<GrowthStrategy, GrowthInfo>> = {
  gradient_sensitivity: {
    name: "gradient_sensitivity",
    description: "heads whose opening would lower the loss fastest (gate gradient at gate 0) first",
    needs: ["gateGrad"],
    dormant: true,
    // opening the gate by a little changes the loss by gateGrad times as much
    score: (inputs) => perPruned(inputs, (i) => -inputs.gateGrad![i]),
  },
  entropy_gap: {
    name: "entropy_gap",
    description: "heads of the layers whose live heads attend most narrowly first",
    needs: ["entropy"],
    dormant: false,
    score: (inputs) => {
      const gaps = inputs.live.map((heads, layer) => {
        const all = heads.map((head) => inputs.entropy![layer * inputs.NH + head]);
        return heads.length > 0 ? 1 - all.reduce((a, b) => a + b, 0) / heads.length : 1;
      });
      return perPruned(inputs, (_, layer) => gaps[layer]);
    },
  },
  balanced: {
    name: "balanced",
    description: "heads of the layers with fewest live heads first, counting those that grow",
    needs: [],
    dormant: false,
    score: (inputs) => perPruned(inputs, (_, layer, nth) => -(inputs.live[layer].length + nth)),
  },
  hebbian: {
    name: "hebbian",
    description: "heads most active where their layer's live heads are quiet first",
    needs: ["liveCorrelation"],
    dormant: true,
    score: (inputs) => perPruned(inputs, (i) => -inputs.liveCorrelation![i]),
  },
  random: {
    name: "random",
    description: "at random, from the run's seed: the control",
    needs: ["random"],
    dormant: false,
    score: (inputs) => {
      // for live heads too, so that a head's number does not depend on which others are live
      const drawn = Float32Array.from(
        { length: inputs.live.length * inputs.NH },
        () => inputs.random!(),
      );
      return perPruned(inputs, (i) => drawn[i]);
    },
  },
};

/**
 * Scores every pruned head by a strategy.
 *
 * @returns Scores `[L, NH]`, highest grown first, NaN for live heads.
 * @throws {TypeError} If the strategy is unknown, or something that it needs was not collected.
 * @throws {RangeError} If a length is wrong or a number that decides is not finite.
 */
export function scoreGrowth(strategy: GrowthStrategy, inputs: GrowthInputs): Float32Array {
  const info = Object.hasOwn(GROWTHS, strategy) ? GROWTHS[strategy] : undefined;
  if (info === undefined) {
    throw new TypeError(`a growth strategy must be one of ${GROWTH_NAMES.join(", ")}: ${strategy}`);
  }
  const missing = info.needs.filter((key) => inputs[key] === undefined);
  if (missing.length > 0) {
    throw new TypeError(
      `growth strategy ${strategy} needs what was not collected: ${missing.join(", ")}`,
    );
  }
  const scores = info.score(inputs);
  const { NH, live: { length: L } } = inputs;
  checkPerHead(`${strategy} score`, scores, { L, NH, live: candidatesOf(inputs) });
  return scores;
}

/**
 * Chooses heads to grow, in the order they come: highest score first, equal scores by layer, then by
 * head.
 *
 * @param count Heads to grow; as many as there are where there are fewer.
 * @param candidates For each layer the pruned heads that may grow; all of them unless given.
 */
export function chooseGrowth(
  scores: Float32Array,
  live: LiveHeads,
  { count, candidates }: { count: number; candidates?: LiveHeads },
): ChosenGrowth[] {
  if (!Number.isInteger(count) || count < 0) {
    throw new RangeError(`count must be a whole number, 0 or more: ${count}`);
  }
  const NH = scores.length / live.length;
  const ranking = (candidates ?? prunedHeads(live, NH))
    .flatMap((heads, layer) =>
      heads.map((head) => ({ layer, head, score: scores[layer * NH + head] }))
    )
    .sort((a, b) => b.score - a.score);
  return ranking.slice(0, count)
    .map((head, i) => ({ ...head, rank: i + 1, of: ranking.length }));
}

/** For every layer the heads that are not live. */
export function prunedHeads(live: LiveHeads, NH: number): number[][] {
  const mask = liveMask(live, live.length, NH);
  return live.map((_, layer) =>
    Array.from({ length: NH }, (_, head) => head).filter((head) => !mask[layer * NH + head])
  );
}

/**
 * How each pruned head's activity correlates, over tokens, with how much its layer's live heads carry
 * together: Pearson's coefficient between the norm of its output and the mean of theirs, each head's
 * norms over its own mean. -1 is a head that is active exactly where the others are quiet: by Hebb's
 * rule units that fire together are wired together, and by its reverse among competitors (Földiák
 * 1990, "Forming sparse representations by local anti-Hebbian learning") each learns what the others
 * do not carry. 0 where either does not vary, or the layer has no live head.
 *
 * @param norms For each layer and head `[L][NH]` the norm of the head's output before its gate at
 *   every token, all of the same length; pruned heads measured at gate 0.
 * @returns Correlations `[L, NH]`, NaN for live heads.
 */
export function liveCorrelations(
  norms: readonly (readonly ArrayLike<number>[])[],
  live: LiveHeads,
): Float32Array {
  const NH = norms[0].length;
  const out = new Float32Array(live.length * NH).fill(NaN);
  prunedHeads(live, NH).forEach((heads, layer) => {
    const tokens = norms[layer][0].length;
    const carried = new Float64Array(tokens);
    for (const head of live[layer]) {
      const own = relative(norms[layer][head]);
      for (let t = 0; t < tokens; t++) carried[t] += own[t];
    }
    for (const head of heads) {
      out[layer * NH + head] = pearson(relative(norms[layer][head]), carried);
    }
  });
  return out;
}

function relative(values: ArrayLike<number>): Float64Array {
  const own = Float64Array.from(values);
  const mean = own.reduce((a, b) => a + b, 0) / own.length;
  return mean > 0 ? own.map((value) => value / mean) : own;
}

function candidatesOf({ candidates, live, NH }: GrowthInputs): LiveHeads {
  return candidates ?? prunedHeads(live, NH);
}

/** Scores of the candidates; `nth` counts them within their layer from 0. */
function perPruned(
  inputs: GrowthInputs,
  score: (index: number, layer: number, nth: number) => number,
): Float32Array {
  const { live, NH } = inputs;
  const out = new Float32Array(live.length * NH).fill(NaN);
  candidatesOf(inputs).forEach((heads, layer) =>
    heads.forEach((head, nth) => out[layer * NH + head] = score(layer * NH + head, layer, nth))
  );
  return out;
}
