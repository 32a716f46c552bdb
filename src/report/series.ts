/**
 * Turns the rows of a run into what the figures draw: curves, bands, marks and head snapshots.
 * Nothing is filled in: a value that was not measured has no point.
 *
 * @module
 */

import type { Arm, EventRow, HeadRow, MetricRow, Phase, RunRecord } from "../record.ts";
import { measured } from "./theme.ts";

/** One measured value at one training step. */
export interface Point {
  step: number;
  value: number;
  /** Points of different segments are not joined or averaged together. */
  segment: number;
}

/** A phase of the pruned arm, in training steps; `start === end` where it took none. */
export interface Band {
  phase: Phase;
  cycle: number;
  start: number;
  end: number;
}

/** The heads that the pruned arm lost at one step. */
export interface PruneMark {
  step: number;
  cycle: number;
  heads: number;
}

/** Every head at one moment. */
export interface Snapshot {
  step: number;
  cycle: number;
  rows: HeadRow[];
}

/** The last training step that any record of the run names. */
export function lastStep(run: RunRecord): number {
  let last = 0;
  for (const { step } of run.metrics) last = Math.max(last, step);
  for (const { step } of run.events) last = Math.max(last, step);
  return last;
}

/** The pruned arm's phases, in the order they came. */
export function phaseBands(run: RunRecord): Band[] {
  const bands: Band[] = [];
  for (const row of run.events) {
    if (row.event !== "phase" || row.arm !== "pruned") continue;
    const before = bands.at(-1);
    // A resumed run announces the phase that it goes on with once more.
    if (before?.phase === row.phase && before.cycle === row.cycle) continue;
    if (before) before.end = row.step;
    bands.push({ phase: row.phase, cycle: row.cycle, start: row.step, end: row.step });
  }
  const last = bands.at(-1);
  if (last) last.end = Math.max(last.start, lastStep(run));
  return bands;
}

/** The moments at which the pruned arm lost heads. */
export function pruneMarks(run: RunRecord): PruneMark[] {
  const marks = new Map<string, PruneMark>();
  for (const row of run.events) {
    if (row.arm !== "pruned" || row.event !== "prune") continue;
    const { step, cycle } = row;
    const key = `${step},${cycle}`;
    const mark = marks.get(key) ?? { step, cycle, heads: 0 };
    mark.heads++;
    marks.set(key, mark);
  }
  return [...marks.values()].sort((a, b) => a.step - b.step);
}

/** When, and why, the warm-up was called stable. */
export function stabilityMarks(run: RunRecord): { step: number; reason: string }[] {
  return run.events.flatMap((row) =>
    row.event === "stable" && row.arm === "pruned" ? [{ step: row.step, reason: row.reason }] : []
  );
}

/**
 * Training loss of an arm, a point a step. Segments part where heads were pruned, the twin's too, which
 * lost none: smoothed over other steps than its siblings' it would seem to leave them there.
 */
export function trainingCurve(run: RunRecord, arm: Arm): Point[] {
  const cuts = pruneMarks(run).map((mark) => mark.step);
  const points = new Map<number, Point>();
  for (const { step, loss } of rowsOf(run, arm)) {
    if (!measured(loss)) continue;
    points.set(step, { step, value: loss, segment: cuts.filter((cut) => cut < step).length });
  }
  return [...points.values()].sort((a, b) => a.step - b.step);
}

/**
 * Validation loss of an arm. One step may carry several points, in the order they were measured:
 * before and after a pruning.
 */
export function validationCurve(run: RunRecord, arm: Arm): Point[] {
  const points = new Map<string, Point>();
  for (const { step, phase, cycle, eval_loss } of rowsOf(run, arm)) {
    if (!measured(eval_loss)) continue;
    points.set(`${step},${phase},${cycle}`, { step, value: eval_loss, segment: 0 });
  }
  return [...points.values()].sort((a, b) => a.step - b.step);
}

/** Active heads of an arm over steps, as recorded, one point where the number changes. */
export function activeCurve(run: RunRecord, arm: Arm): Point[] {
  const rows = rowsOf(run, arm).filter((row) => measured(row.active_heads));
  const points = rows.map(({ step, active_heads }) => ({ step, value: active_heads, segment: 0 }))
    .sort((a, b) => a.step - b.step);
  return points.filter(({ value }, i) =>
    i === 0 || i === points.length - 1 || value !== points[i - 1].value ||
    value !== points[i + 1].value
  );
}

/** What `arm` minus the unpruned twin makes at every step where both were measured. */
export function differenceFromTwin(
  run: RunRecord,
  arm: "pruned" | "random_pruning",
  curve: (run: RunRecord, arm: Arm) => Point[],
): Point[] {
  const twin = new Map(curve(run, "unpruned_twin").map(({ step, value }) => [step, value]));
  return curve(run, arm).flatMap(({ step, value, segment }) => {
    const other = twin.get(step);
    return other === undefined ? [] : [{ step, value: value - other, segment }];
  });
}

/** How many steps to each side a smoothed curve of `n` points averages over. */
export function smoothingRadius(n: number): number {
  return n < 20 ? 0 : Math.min(50, Math.max(2, Math.round(n / 60)));
}

/** Centred running mean, narrower at the ends of a segment and never across two. */
export function smooth(points: readonly Point[], radius: number): Point[] {
  const sums = [0];
  for (const { value } of points) sums.push(sums[sums.length - 1] + value);
  let first = 0, last = 0;
  return points.map((point, i) => {
    if (i === 0 || points[i - 1].segment !== point.segment) {
      first = last = i;
      while (last < points.length && points[last].segment === point.segment) last++;
    }
    const from = Math.max(first, i - radius), to = Math.min(last, i + radius + 1);
    return { ...point, value: (sums[to] - sums[from]) / (to - from) };
  });
}

/** Keeps the least and the greatest of every bucket, so that a long run stays a small drawing. */
export function thin(points: readonly Point[], most = 2400): Point[] {
  if (points.length <= most) return [...points];
  const width = points.length / (most / 2);
  const kept: Point[] = [];
  for (let bucket = 0; bucket < most / 2; bucket++) {
    const slice = points.slice(Math.floor(bucket * width), Math.floor((bucket + 1) * width));
    const low = slice.reduce((a, b) => (b.value < a.value ? b : a));
    const high = slice.reduce((a, b) => (b.value > a.value ? b : a));
    kept.push(...(low === high ? [low] : low.step < high.step ? [low, high] : [high, low]));
  }
  return kept;
}

/** The least and the greatest of some numbers (there is at least one). */
export function extent(values: readonly number[]): [number, number] {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

/** The moments of `heads.csv`, in the order they were written. */
export function snapshots(run: { heads: readonly HeadRow[] }): Snapshot[] {
  const found: Snapshot[] = [];
  let seen = new Set<string>();
  for (const row of run.heads) {
    const key = `${row.layer},${row.head}`;
    const now = found.at(-1);
    if (now?.step !== row.step || now.cycle !== row.cycle || seen.has(key)) {
      found.push({ step: row.step, cycle: row.cycle, rows: [row] });
      seen = new Set([key]);
    } else {
      now.rows.push(row);
      seen.add(key);
    }
  }
  return found;
}

/** Layers and heads a layer, as far as the records show them; absent where they show none. */
export function headGrid(
  run: { events: readonly EventRow[]; heads: readonly HeadRow[] },
): { L: number; NH: number } | undefined {
  let L = 0, NH = 0;
  const pruned = run.events.flatMap((row) =>
    row.event === "prune" && row.arm === "pruned" ? [row] : []
  );
  for (const { layer, head } of [...run.heads, ...pruned]) {
    L = Math.max(L, layer + 1);
    NH = Math.max(NH, head + 1);
  }
  return L === 0 ? undefined : { L, NH };
}

function rowsOf(run: RunRecord, arm: Arm): MetricRow[] {
  return run.metrics.filter((row) => row.arm === arm);
}
