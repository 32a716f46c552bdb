/**
 * The story of every head of the model under study: its state and what was measured of it at each
 * moment, and why it was pruned or grown. From the records alone.
 *
 * @module
 */

import type { EventRow, HeadRow } from "../record.ts";
import { extent, snapshots } from "./series.ts";
import { measured, written } from "./theme.ts";

/** A head at a moment: `regrown` has been pruned before, in this run. */
export type HeadState = "live" | "pruned" | "regrown";

/** What is told of a head at a moment, in the order it is offered. */
export const STORY_METRICS = {
  gate: {
    label: "gate",
    unit: "what the head’s output is multiplied by, 0 to 1",
    of: (row: HeadRow) => row.gate,
    log: false,
  },
  entropy: {
    label: "entropy",
    unit: "mean entropy of a row over the ln of the keys it sees: 0 one key, 1 uniform",
    of: (row: HeadRow) => row.entropy,
    log: false,
  },
  gradient: {
    label: "gradient norm",
    unit: "L2 norm of the loss gradient of the head’s weights, log scale",
    of: (row: HeadRow) => row.grad_norm,
    log: true,
  },
  importance: {
    label: "importance",
    unit: "mean |d loss / d gate| times the gate, over sequences, log scale",
    of: ({ gate_grad_abs, gate }: HeadRow) =>
      measured(gate_grad_abs) && measured(gate) ? gate_grad_abs * gate : undefined,
    log: true,
  },
  score: {
    label: "pruning score",
    unit: "what the pruning strategy ranked heads by: the lowest go first",
    of: (row: HeadRow) => row.score,
    log: false,
  },
} as const;

/** The name of one of them. */
export type StoryMetric = keyof typeof STORY_METRICS;

/** All heads at one moment; lists are by layer, then head. */
export interface Moment {
  step: number;
  cycle: number;
  /** `before`: what the cycle was decided by; `after`: later in it; `end`: nothing was measured. */
  when: "before" | "after" | "end";
  states: HeadState[];
  values: Partial<Record<StoryMetric, (number | undefined)[]>>;
}

/** What happened to a head. */
export interface HeadEvent {
  step: number;
  cycle: number;
  event: "prune" | "grow";
  /** By which score, and how it ranked. */
  reason: string;
  /** Whether the cycle was rolled back. */
  undone: boolean;
}

/** The story of every head. */
export interface HeadStory {
  /** Layers, and heads of the full model's layer. */
  L: number;
  NH: number;
  moments: Moment[];
  /** By layer, then head; in the order it happened. */
  events: HeadEvent[][];
}

/** What stories are told from. */
export interface StoryRecords {
  events: readonly EventRow[];
  heads: readonly HeadRow[];
}

type Change = Extract<EventRow, { event: "prune" | "grow" | "rollback" }>;

/** Numbers that a story may hold, so that its page stays small. */
const MOST_NUMBERS = 120_000;
const MOST_MOMENTS = 60;

/** Tells the story of every head; nothing where no head was ever measured. */
export function headStory({ events, heads }: StoryRecords): HeadStory | undefined {
  const all = snapshots({ heads });
  if (all.length === 0) return undefined;
  const changes = changesOf(events);
  const rows = [...heads, ...changes.flatMap((row) => row.event === "rollback" ? [] : [row])];
  const L = 1 + extent(rows.map(({ layer }) => layer))[1];
  const NH = 1 + extent(rows.map(({ head }) => head))[1];
  const state = new Standing(all[0].rows, L, NH);
  const moments: Moment[] = [];
  let next = 0;
  all.forEach((snapshot, i) => {
    // What a cycle is decided by is measured before the cycle changes anything.
    const first = all[i - 1]?.cycle !== snapshot.cycle;
    const before = (row: Change) =>
      row.cycle < snapshot.cycle ||
      (row.cycle === snapshot.cycle && !first && row.step <= snapshot.step);
    while (next < changes.length && before(changes[next])) state.apply(changes[next++]);
    const { step, cycle } = snapshot;
    moments.push({ step, cycle, when: first ? "before" : "after", ...state.seen(snapshot.rows) });
  });
  while (next < changes.length) state.apply(changes[next++]);
  const end = state.seen([]), last = moments[moments.length - 1];
  if (end.states.some((one, i) => one !== last.states[i])) {
    const { step, cycle } = changes[changes.length - 1];
    moments.push({ step, cycle, when: "end", ...end });
  }
  return { L, NH, moments: some(moments, L * NH), events: state.events };
}

/** A moment in words: `cycle 2, step 100, before pruning`. */
export function momentName({ step, cycle, when }: Moment): string {
  const parts = [cycle > 0 ? `cycle ${cycle}` : "", measured(step) ? `step ${step}` : ""];
  const where = parts.filter((part) => part !== "").join(", ");
  return where +
    (when === "before" ? ", before pruning" : when === "end" ? ", after the last changes" : "");
}

/** Moments that what is drawn for each cycle shows: those before pruning, and the last measured. */
export function keyMoments(
  { moments }: HeadStory,
  metric: StoryMetric,
  most: number,
): Moment[] {
  const known = moments.filter(({ values }) => values[metric]?.some(measured));
  const last = known.at(-1);
  return evenly(known.filter((one) => one.when === "before" || one === last), most);
}

/** The range of what was measured over all moments, so that each is drawn to the same scale. */
export function metricRange(
  { moments }: HeadStory,
  metric: StoryMetric,
): [number, number] | undefined {
  const log = STORY_METRICS[metric].log;
  const known = moments.flatMap(({ values }) => values[metric] ?? []).filter(measured)
    .filter((value) => !log || value > 0);
  return known.length === 0 ? undefined : extent(known);
}

/** At most so many of a list, the first and the last among them, at even distances. */
export function evenly<One>(list: readonly One[], most: number): One[] {
  if (list.length <= most) return [...list];
  if (most < 2) return list.slice(-1);
  return Array.from(
    { length: most },
    (_, i) => list[Math.round(i * (list.length - 1) / (most - 1))],
  );
}

/** Why a head was pruned or grown, in words. */
export function changeReason(row: Extract<Change, { event: "prune" | "grow" }>): string {
  const { event, strategy, score, rank, of } = row;
  const parts = [
    written(score, (value) => `score ${Number(value.toPrecision(4))}`),
    written(rank, (value) => `rank ${value} of ${of}`),
    event === "prune" ? written(row.gate, (gate) => `gate ${gate.toFixed(3)}`) : undefined,
  ].filter((part) => part !== undefined);
  const how = event === "prune" ? "pruned by" : `grown, ${row.regrowth}, by`;
  return `${how} ${strategy}${parts.length > 0 ? ": " : ""}${parts.join(", ")}`;
}

function changesOf(events: readonly EventRow[]): Change[] {
  return events.filter((row): row is Change =>
    row.arm === "pruned" &&
    (row.event === "prune" || row.event === "grow" || row.event === "rollback")
  );
}

/** How every head stands while the records are gone through. */
class Standing {
  readonly #NH: number;
  #live: boolean[];
  #cut: boolean[];
  /** As it was before the cycle that a rollback would undo. */
  #before: { cycle: number; live: boolean[]; cut: boolean[] } | undefined;
  readonly events: HeadEvent[][];

  constructor(rows: readonly HeadRow[], L: number, NH: number) {
    this.#NH = NH;
    this.#live = Array.from({ length: L * NH }, () => true);
    for (const { layer, head, alive } of rows) this.#live[layer * NH + head] = alive === 1;
    this.#cut = this.#live.map(() => false);
    this.events = this.#live.map(() => []);
  }

  apply(row: Change): void {
    const { cycle, step } = row;
    if (this.#before?.cycle !== cycle) {
      this.#before = { cycle, live: [...this.#live], cut: [...this.#cut] };
    }
    if (row.event === "rollback") {
      this.#live = [...this.#before.live];
      this.#cut = [...this.#before.cut];
      for (const one of this.events.flat()) if (one.cycle === cycle) one.undone = true;
      return;
    }
    const { event, layer, head } = row, i = layer * this.#NH + head;
    this.#live[i] = event === "grow";
    if (event === "prune") this.#cut[i] = true;
    this.events[i].push({ step, cycle, event, reason: changeReason(row), undone: false });
  }

  /** The states now, and what rows measured. */
  seen(rows: readonly HeadRow[]): Pick<Moment, "states" | "values"> {
    const states = this.#live.map((live, i): HeadState =>
      live ? this.#cut[i] ? "regrown" : "live" : "pruned"
    );
    const values: Moment["values"] = {};
    for (const name of Object.keys(STORY_METRICS) as StoryMetric[]) {
      const list = this.#live.map((): number | undefined => undefined);
      for (const row of rows) {
        const value = STORY_METRICS[name].of(row);
        if (measured(value)) list[row.layer * this.#NH + row.head] = value;
      }
      if (list.some(measured)) values[name] = list;
    }
    return { states, values };
  }
}

/** Few enough moments; those before pruning stay as long as there is room for them. */
function some(moments: readonly Moment[], heads: number): Moment[] {
  const each = heads * Object.keys(STORY_METRICS).length;
  const most = Math.max(2, Math.min(MOST_MOMENTS, Math.floor(MOST_NUMBERS / each)));
  if (moments.length <= most) return [...moments];
  const last = moments[moments.length - 1];
  const key = evenly(moments.filter((one) => one.when !== "after" || one === last), most);
  const rest = evenly(moments.filter((one) => !key.includes(one)), most - key.length);
  return moments.filter((one) => key.includes(one) || (rest.includes(one) && key.length < most));
}
