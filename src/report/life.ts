/**
 * The life of every head: a row for each, a column for the start and for every cycle.
 *
 * @module
 */

import type { EventRow, HeadRow } from "../record.ts";
import { Plot } from "./deps.ts";
import { headGrid, snapshots } from "./series.ts";
import { changeReason } from "./story.ts";
import { draw, key, MOST_TITLES, pixels, type SvgPart } from "./svg.ts";
import { plural } from "./theme.ts";

/** What a cycle did to a head. */
export type Change = "pruned" | "grown" | "both";

/** A head after a cycle, or at the start. */
export interface LifeCell {
  /** Counts from 0. */
  layer: number;
  /** Counts from 0, in the full model's layer. */
  head: number;
  /** 0 at the start. */
  cycle: number;
  /** Whether it is computed then. */
  live: boolean;
  /** What happened to it, or would have, had the cycle been kept. */
  change?: Change;
  /** Whether the cycle, and with it the change, was undone. */
  undone: boolean;
  /** All of it in words. */
  title: string;
}

/** What a cycle did to the heads: of an integrated run, or {@linkcode lifeCycles}'s of an experiment. */
export interface LifeCycle {
  /** 1, 2, ... */
  cycle: number;
  /** Whether it was kept. */
  success: boolean;
  /** The live heads of each layer before it. */
  heads_before: number[][];
  /** Heads that it removed, `[layer, head]`. */
  pruned_heads: [number, number][];
  /** Heads that it brought back. */
  grown_heads: [number, number][];
  /** The gates of each layer's heads, where they are known. */
  gates?: readonly (readonly unknown[])[];
}

/** What lives are told from. */
export interface LifeRecord {
  cycles: readonly LifeCycle[];
  events: readonly EventRow[];
}

/** What each cycle of an experiment did to its heads. */
export function lifeCycles(
  run: { events: readonly EventRow[]; heads: readonly HeadRow[] },
): LifeCycle[] {
  const grid = headGrid(run);
  if (!grid) return [];
  const start = new Map(
    snapshots(run)[0]?.rows.map(({ layer, head, alive }) => [`${layer},${head}`, alive === 1]),
  );
  let live = Array.from(
    { length: grid.L },
    (_, layer) => upTo(grid.NH).filter((head) => start.get(`${layer},${head}`) ?? true),
  );
  const found: LifeCycle[] = [];
  for (const row of run.events) {
    if (row.arm !== "pruned" || (row.event !== "prune" && row.event !== "grow")) continue;
    const { event, cycle, layer, head } = row;
    if (found.at(-1)?.cycle !== cycle) {
      const heads_before = live.map((heads) => [...heads]);
      found.push({ cycle, success: true, heads_before, pruned_heads: [], grown_heads: [] });
    }
    const { pruned_heads, grown_heads } = found[found.length - 1];
    (event === "prune" ? pruned_heads : grown_heads).push([layer, head]);
    live = live.map((heads, i) =>
      i !== layer ? heads : event === "prune" ? heads.filter((h) => h !== head) : [...heads, head]
    );
  }
  return found;
}

/** Cells of a head that follow one another, drawn as one. */
interface Span extends LifeCell {
  columns: number;
}

/** The cells of a kind, those that follow one another together. */
function spans(cells: readonly LifeCell[], of: (cell: LifeCell) => boolean): Span[] {
  const found: Span[] = [];
  cells.forEach((cell, i) => {
    if (!of(cell)) return;
    const before = cells[i - 1], last = found.at(-1);
    const follows = before && of(before) && before.layer === cell.layer &&
      before.head === cell.head;
    if (follows && last) last.columns++;
    else found.push({ ...cell, columns: 1 });
  });
  return found;
}

/** What is written on a cell; in brackets where it was undone. */
const SIGNS: Record<Change, string> = { pruned: "−", grown: "+", both: "±" };
const WORDS: Record<Change, string> = {
  pruned: "pruned",
  grown: "grown back",
  both: "pruned and grown back at once",
};

/** Every head at the start and after every cycle, by layer, head and cycle. */
export function headLives({ cycles, events }: LifeRecord): LifeCell[] {
  if (cycles.length === 0) return [];
  const counts = headCounts(cycles);
  const told = changesTold(events);
  const start = liveSet(cycles[0].heads_before);
  return counts.flatMap((heads, layer) =>
    Array.from({ length: heads }, (_, head) => {
      const place = `${layer},${head}`;
      const live = start.has(place);
      const first: LifeCell = {
        ...{ layer, head, cycle: 0, live, undone: false },
        title: `layer ${layer}, head ${head}, at the start: ${live ? "live" : "pruned before"}`,
      };
      return [first, ...cycles.map((cycle) => cellAfter(cycle, { layer, head }, told))];
    }).flat()
  );
}

/** How many heads each layer of the full model has, as far as the records show it. */
export function headCounts(cycles: readonly LifeCycle[]): number[] {
  const counts: number[] = [];
  const see = (layer: number, heads: number) => counts[layer] = Math.max(counts[layer] ?? 0, heads);
  for (const { heads_before, gates, pruned_heads, grown_heads } of cycles) {
    gates?.forEach((row, layer) => see(layer, row.length));
    heads_before.forEach((heads, layer) => see(layer, Math.max(0, ...heads.map((h) => h + 1))));
    for (const [layer, head] of [...pruned_heads, ...grown_heads]) see(layer, head + 1);
  }
  return Array.from(counts, (heads) => heads ?? 0);
}

/** The heads that are computed after a cycle, as `"layer,head"`. */
export function liveAfter(cycle: LifeCycle): Set<string> {
  const live = liveSet(cycle.heads_before);
  if (!cycle.success) return live;
  for (const place of cycle.pruned_heads) live.delete(place.join());
  for (const place of cycle.grown_heads) live.add(place.join());
  return live;
}

function liveSet(heads: readonly (readonly number[])[]): Set<string> {
  return new Set(heads.flatMap((row, layer) => row.map((head) => `${layer},${head}`)));
}

function cellAfter(
  cycle: LifeCycle,
  { layer, head }: { layer: number; head: number },
  told: ReadonlyMap<string, string>,
): LifeCell {
  const place = `${layer},${head}`;
  const has = (heads: readonly [number, number][]) => heads.some((one) => one.join() === place);
  const pruned = has(cycle.pruned_heads), grown = has(cycle.grown_heads);
  const change = pruned ? grown ? "both" : "pruned" : grown ? "grown" : undefined;
  const live = liveAfter(cycle).has(place), undone = !cycle.success;
  const details = (["prune", "grow"] as const).flatMap((event) =>
    told.get(`${event},${cycle.cycle},${place}`) ?? []
  );
  const title = `layer ${layer}, head ${head}, cycle ${cycle.cycle}: ` +
    (change === undefined ? live ? "live" : "still pruned" : WORDS[change]) +
    (details.length > 0 ? ` (${details.join("; ")})` : "") +
    (change !== undefined && undone
      ? `; the cycle was rolled back, so it is ${live ? "live" : "pruned"} as before`
      : "");
  return { layer, head, cycle: cycle.cycle, live, ...(change && { change }), undone, title };
}

/** Why each head was chosen, by event, cycle, layer and head. */
function changesTold(events: readonly EventRow[]): Map<string, string> {
  const told = new Map<string, string>();
  for (const row of events) {
    if (row.arm !== "pruned" || (row.event !== "prune" && row.event !== "grow")) continue;
    const { event, cycle, layer, head } = row;
    told.set(`${event},${cycle},${layer},${head}`, changeReason(row));
  }
  return told;
}

/** Draws the life of every head; nothing before the first cycle. */
export function lifeFigure(run: LifeRecord): string | undefined {
  const cells = headLives(run);
  if (cells.length === 0) return undefined;
  const { cycles } = run;
  const grid = layout(headCounts(cycles), cycles.length + 1);
  const { size, row, blocks } = grid;
  const column = new Map([0, ...cycles.map(({ cycle }) => cycle)].map((cycle, i) => [cycle, i]));
  const left = ({ layer, cycle }: LifeCell) => blocks[layer].x + column.get(cycle)! * size;
  const top = ({ layer, head }: LifeCell) => blocks[layer].y + head * row;
  const middle = {
    x: (cell: LifeCell) => left(cell) + size / 2,
    y: (cell: LifeCell) => top(cell) + row / 2,
  };
  const box = (inset: number) => ({
    x1: left,
    x2: (cell: LifeCell) => left(cell) + size,
    y1: (cell: LifeCell) => top(cell) + inset,
    y2: (cell: LifeCell) => top(cell) + row - inset,
  });
  const changed = cells.filter(({ change }) => change !== undefined);
  const live = spans(cells, ({ live }) => live), dead = spans(cells, ({ live }) => !live);
  const right = (cell: Span) => left(cell) + cell.columns * size;
  return draw({
    width: WIDTH,
    height: grid.height,
    margin: 0,
    x: { type: "identity", axis: null },
    y: { type: "identity", axis: null },
    marks: [
      Plot.rect(cells.filter(({ undone }) => undone), {
        ...box(0),
        fill: "var(--rule)",
        fillOpacity: 0.6,
        ariaDescription: "cycle that was undone",
      }),
      Plot.link(dead, {
        x1: left,
        x2: right,
        y1: middle.y,
        y2: middle.y,
        stroke: "var(--grey)",
        strokeDasharray: "1,3",
        ariaDescription: "pruned head",
      }),
      Plot.rect(live, {
        ...box(2),
        x2: right,
        fill: "var(--grey)",
        fillOpacity: 0.38,
        ariaDescription: "live head",
      }),
      ...(["pruned", "grown", "both"] as const).flatMap((change) =>
        [false, true].map((undone) =>
          Plot.text(changed.filter((cell) => cell.change === change && cell.undone === undone), {
            ...middle,
            text: () => sign(change, undone),
            fontSize: grid.font,
            fontWeight: undone ? 400 : 700,
            fill: COLOURS[change],
            stroke: "var(--paper)",
            strokeWidth: 2,
            ariaDescription: undone ? `${WORDS[change]}, undone` : WORDS[change],
          })
        )
      ),
      // On top of all, so that every cell tells its story wherever the pointer is on it.
      cells.length > MOST_TITLES ? null : Plot.rect(cells, {
        ...box(0),
        fill: "transparent",
        title: "title",
        ariaDescription: "head at a moment",
      }),
      pixels(...names(grid, cycles)),
      key(keyItems(cells), 0, 12),
    ],
  }, {
    id: "life",
    title: "The life of every head",
    description: describe(cells, cycles),
  });
}

const COLOURS: Record<Change, string> = {
  pruned: "var(--pruning)",
  grown: "var(--finetuning)",
  both: "var(--evaluation)",
};

function sign(change: Change, undone: boolean): string {
  return undone ? `(${SIGNS[change]})` : SIGNS[change];
}

const WIDTH = 960, TOP = 56, LABEL = 40, BETWEEN = 36, LAYER_GAP = 8;

/** Where everything stands, in pixels. */
interface Layout {
  /** Width of a cycle's column. */
  size: number;
  /** Height of a head's row. */
  row: number;
  /** Size of the signs on the cells. */
  font: number;
  height: number;
  /** For each layer the left edge of its cells, the top of its first head, and its heads. */
  blocks: { x: number; y: number; heads: number }[];
}

/** Layers one under the other, and side by side where there is room. */
function layout(counts: readonly number[], columns: number): Layout {
  const stacks = Math.max(1, Math.floor((WIDTH + BETWEEN) / (LABEL + columns * 24 + BETWEEN)));
  const layers = Math.ceil(counts.length / stacks);
  const used = Math.ceil(counts.length / layers);
  const width = (WIDTH + BETWEEN) / used - BETWEEN - LABEL;
  const size = Math.min(44, width / columns);
  const row = counts.reduce((sum, heads) => sum + heads, 0) > 64 ? 13 : 16;
  const blocks: Layout["blocks"] = [];
  let height = 0;
  counts.forEach((heads, layer) => {
    const place = layer % layers, stack = Math.floor(layer / layers);
    const before = place === 0 ? undefined : blocks[layer - 1];
    const y = before ? before.y + before.heads * row + LAYER_GAP : TOP;
    blocks.push({ x: LABEL + stack * (LABEL + columns * size + BETWEEN), y, heads });
    height = Math.max(height, y + heads * row + 4);
  });
  return { size, row, font: Math.min(12, row - 2, Math.max(6, size * 0.5)), height, blocks };
}

/** The names of heads and of cycles; those of cycles stand at the top of every stack. */
function names({ blocks, row, size }: Layout, cycles: readonly LifeCycle[]): SvgPart[] {
  const quiet = { fill: "var(--quiet)", "font-size": 11 };
  const words = [
    "start",
    ...cycles.map(({ cycle, success }) => success ? `${cycle}` : `(${cycle})`),
  ];
  const every = Math.ceil(words.length * 14 / (words.length * size));
  return blocks.flatMap(({ x, y, heads }, layer) => [
    ...(y === TOP
      ? words.flatMap((word, i): SvgPart[] =>
        i % every === 0
          ? [["text", {
            ...{ x: x + (i + 0.5) * size, y: y - 8, "text-anchor": "middle" },
            ...quiet,
          }, word]]
          : []
      )
      : []),
    ...Array.from({ length: heads }, (_, head): SvgPart => ["text", {
      ...{ x: x - 6, y: y + (head + 0.5) * row, dy: "0.35em", "text-anchor": "end" },
      ...quiet,
    }, `${layer}.${head}`]),
  ]);
}

/** A sample for each thing that there is on the figure. */
function keyItems(cells: readonly LifeCell[]) {
  const glyph = (text: string, colour: string): SvgPart[] => [["text", {
    ...{ x: 11, y: 9, "text-anchor": "middle", "font-weight": 700 },
    fill: colour,
  }, text]];
  const changes = (["pruned", "grown", "both"] as const).filter((change) =>
    cells.some((cell) => cell.change === change)
  );
  const labels: Record<Change, string> = {
    pruned: "pruned in this cycle",
    grown: "grown back",
    both: "pruned and grown back at once",
  };
  const dotted: SvgPart = ["line", {
    ...{ x1: 0, x2: 22, y1: 5, y2: 5, stroke: "var(--grey)", "stroke-dasharray": "1,3" },
  }];
  const bar: SvgPart = ["rect", {
    ...{ x: 0, y: -1, width: 22, height: 12, fill: "var(--grey)", "fill-opacity": 0.38 },
  }];
  return [
    { label: "live", sample: [bar] },
    ...(cells.some(({ live }) => !live) ? [{ label: "pruned", sample: [dotted] }] : []),
    ...changes.map((change) => ({
      label: labels[change],
      sample: glyph(SIGNS[change], COLOURS[change]),
    })),
    ...(cells.some(({ undone }) => undone)
      ? [{ label: "undone: the cycle was rolled back", sample: glyph("( )", "var(--ink)") }]
      : []),
  ];
}

function describe(cells: readonly LifeCell[], cycles: readonly LifeCycle[]): string {
  const start = cells.filter(({ cycle, live }) => cycle === 0 && live).length;
  const lines = cycles.map(({ cycle, success, pruned_heads, grown_heads }) =>
    `cycle ${cycle} pruned ${places(pruned_heads)} and grew ${places(grown_heads)}` +
    (success ? "" : ", which was undone")
  );
  return `${plural(start, "head")} at the start; ${lines.join("; ")}.`;
}

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

function places(heads: readonly [number, number][]): string {
  return heads.map(([layer, head]) => `${layer}.${head}`).join(" ") || "none";
}
