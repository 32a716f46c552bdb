/**
 * The analysis before a pruning: every live head is scored on calibration text, and the heads to
 * prune are chosen by score and by what the controller has closed.
 *
 * @module
 */
import type { HeadMetrics } from "../controller/metrics.ts";
import type { Batch } from "../data/batches.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { chooseHeads, type ChosenHead } from "../plasticity/prune.ts";
import { leaveOneOut } from "../plasticity/leave_one_out.ts";
import { projectionNorms, scoreHeads, STRATEGIES, type Strategy } from "../plasticity/scores.ts";
import type { Arm } from "./arm.ts";

/** By what heads are scored. */
export interface ScoreOptions {
  strategy: Strategy;
  /** Gates of all heads, L * NH. */
  gates: Float32Array;
  /** Uniform numbers, for the strategy that needs them. */
  random: () => number;
  /** Stops it between two batches; nothing is changed then. */
  signal?: AbortSignal;
}

/**
 * Measures every live head on calibration batches, with the arm's weights and gates as they are, and
 * scores it. Nothing is trained.
 *
 * @throws The signal's reason.
 */
export async function scoreArm(
  arm: Arm,
  calibration: readonly Batch[],
  { strategy, gates, random, signal }: ScoreOptions,
): Promise<{ metrics: HeadMetrics; scores: Float32Array }> {
  const { model } = arm;
  const metrics = await arm.measureHeads(calibration, signal);
  const { L, NH, HS, C } = model.config;
  const weights = await model.weights();
  const projections = Array.from(
    { length: L },
    (_, l) => weights.get(`h.${l}.attn.c_proj.weight`)!,
  );
  const weightNorms = projectionNorms(projections, model.live, { NH, HS, C })
    .map((norm, i) => norm * gates[i]); // what reaches the residual stream is gate x projection
  const { also } = STRATEGIES[strategy];
  const leftOut = also.includes("lossWithout")
    ? await leaveOneOut(arm, calibration, signal)
    : undefined;
  const inputs = { metrics, gates, weightNorms, random, ...leftOut };
  return { metrics, scores: scoreHeads(strategy, inputs) };
}

/**
 * Chooses heads to prune: first those whose gate the controller has closed, the most closed before
 * the others, then by score, lowest first.
 *
 * @param scores L * NH scores. @param closed 1 where the controller has closed the head.
 * @param held 1 for heads that go last, by score: they have not shown yet what they are worth.
 */
export function choosePruned(
  scores: Float32Array,
  { live, gates, closed, held, count }: {
    live: LiveHeads;
    gates: Float32Array;
    closed: ArrayLike<number>;
    held?: ArrayLike<number>;
    count: number;
  },
): ChosenHead[] {
  const lowest = scores.reduce((a, b) => Math.min(a, Number.isFinite(b) ? b : a), Infinity);
  const highest = scores.reduce((a, b) => Math.max(a, Number.isFinite(b) ? b : a), -Infinity);
  const ranked = scores.map((score, i) => {
    if (held?.[i]) return highest + 1 + score - lowest;
    // gates are below 1, so every closed head ranks below every open one
    return closed[i] ? lowest - 2 + gates[i] : score;
  });
  const NH = scores.length / live.length;
  return chooseHeads(ranked, live, { count })
    .map((chosen) => ({ ...chosen, score: scores[chosen.layer * NH + chosen.head] }));
}

/** Values of heads by layer; null where one is not a number. */
export function headRows(
  { L, NH }: { L: number; NH: number },
  values?: Float32Array,
): (number | null)[][] {
  const at = (i: number) => values && Number.isFinite(values[i]) ? values[i] : null;
  return Array.from(
    { length: L },
    (_, layer) => Array.from({ length: NH }, (_, head) => at(layer * NH + head)),
  );
}
