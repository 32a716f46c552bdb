/**
 * Which heads go: lowest scores first, live heads only, every layer keeping some; and how many by
 * the end of each cycle.
 *
 * @module
 */
import type { LiveHeads } from "../gpt2/layout.ts";
import { checkPerHead, liveMask } from "../controller/metrics.ts";

/** A head that was chosen to go. */
export interface ChosenHead {
  /** Its layer. */
  readonly layer: number;
  /** Its number in the full model's layer. */
  readonly head: number;
  /** Its score when it was chosen. */
  readonly score: number;
  /**
   * Its place among all live heads by score, 1 = first to go. Numbers are missing where a head with
   * a lower score stays because its layer needs it.
   */
  readonly rank: number;
  /** Live heads when it was chosen. */
  readonly of: number;
}

/** How many heads to choose, and within which limits. */
export interface ChooseOptions {
  /** Heads to prune. */
  readonly count: number;
  /** Live heads that every layer keeps; 1 unless given. */
  readonly minPerLayer?: number;
  /** The order in which layers go where scores are equal; ascending unless given. */
  readonly layerOrder?: readonly number[];
}

/**
 * Chooses the heads to prune, in the order they go: lowest score first, equal scores by layer, then
 * by head.
 *
 * @param scores `[L, NH]`; only live heads' are looked at.
 * @param live The heads that are still there.
 * @throws {RangeError} If a live head's score is not finite, a number is out of range, or so many
 * heads cannot go.
 */
export function chooseHeads(
  scores: Float32Array,
  live: LiveHeads,
  { count, minPerLayer = 1, layerOrder }: ChooseOptions,
): ChosenHead[] {
  const L = live.length, NH = scores.length / L;
  if (!Number.isInteger(NH)) {
    throw new RangeError(
      `scores must hold as many heads for each of ${L} layers: ${scores.length}`,
    );
  }
  liveMask(live, L, NH);
  checkPerHead("score", scores, { L, NH, live });
  for (
    const [name, value, least] of [["count", count, 0], ["minPerLayer", minPerLayer, 1]] as const
  ) {
    if (!Number.isInteger(value) || value < least) {
      throw new RangeError(`${name} must be a whole number, ${least} or more: ${value}`);
    }
  }
  const place = live.map((_, layer) => layerOrder ? layerOrder.indexOf(layer) : layer);
  if (place.includes(-1) || (layerOrder && layerOrder.length !== L)) {
    throw new RangeError(`layerOrder must name each of ${L} layers once: [${layerOrder}]`);
  }
  const spare = live.map((heads) => Math.max(0, heads.length - minPerLayer));
  const most = spare.reduce((a, b) => a + b, 0);
  if (count > most) {
    throw new RangeError(
      `Cannot prune ${count} heads: ${most} can go while each of ${L} layers keeps ${minPerLayer}`,
    );
  }
  // Heads come ascending and the sort is stable: equal ones stay in the order of their numbers.
  const ranking = live
    .flatMap((heads, layer) =>
      heads.map((head) => ({ layer, head, score: scores[layer * NH + head] }))
    )
    .sort((a, b) => a.score - b.score || place[a.layer] - place[b.layer]);
  const chosen: ChosenHead[] = [];
  ranking.forEach((head, index) => {
    if (chosen.length === count || spare[head.layer] === 0) return;
    spare[head.layer]--;
    chosen.push({ ...head, rank: index + 1, of: ranking.length });
  });
  return chosen;
}

/** What {@linkcode cycleTargets} spreads over cycles. */
export interface PruningPlan {
  /** Heads of the full model. */
  readonly totalHeads: number;
  /** Layers, each of which keeps one head. */
  readonly layers: number;
  /** Share of heads to have pruned at the end, 0 to 1. */
  readonly pruningLevel: number;
  /** Pruning cycles. */
  readonly cycles: number;
}

/**
 * How many heads are pruned in all by the end of each cycle. The last is
 * `round(totalHeads * pruningLevel)`, at most `totalHeads - layers`; cycle c of n has
 * `round(last * c / n)`. Halves round up. A cycle prunes none where there are more cycles than heads.
 *
 * @throws {RangeError} If a number is out of range.
 */
export function cycleTargets(
  { totalHeads, layers, pruningLevel, cycles }: PruningPlan,
): number[] {
  for (const [name, value] of Object.entries({ totalHeads, layers, cycles })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`${name} must be a positive whole number: ${value}`);
    }
  }
  if (layers > totalHeads) {
    throw new RangeError(`layers must not be above totalHeads ${totalHeads}: ${layers}`);
  }
  if (!(pruningLevel >= 0 && pruningLevel <= 1)) {
    throw new RangeError(`pruning_level must be between 0 and 1: ${pruningLevel}`);
  }
  const last = Math.min(Math.round(totalHeads * pruningLevel), totalHeads - layers);
  return Array.from({ length: cycles }, (_, c) => Math.round(last * (c + 1) / cycles));
}
