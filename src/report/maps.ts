/**
 * Maps of layer by head, one for each cycle, all to the same scale: entropy, gradient norm, importance.
 *
 * @module
 */

import { colour } from "./colours.ts";
import { Plot } from "./deps.ts";
import {
  type HeadState,
  type HeadStory,
  headStory,
  keyMoments,
  metricRange,
  type Moment,
  STORY_METRICS,
  type StoryRecords,
} from "./story.ts";
import { draw, MOST_TITLES, pixels, type SvgPart } from "./svg.ts";
import { measured, plural } from "./theme.ts";

/** What has maps. */
export type MapMetric = "entropy" | "gradient" | "importance";

/** What each is called. */
export const MAP_TITLES: Record<MapMetric, string> = {
  entropy: "Attention entropy",
  gradient: "Gradient norm",
  importance: "Importance",
};

/** Maps beside one another: more would be too small to read. */
const MOST_MAPS = 6;

/** Cells of all maps together, so that the page of a big model stays small. */
const MOST_CELLS = 2400;

const WIDTH = 960, LEFT = 44, TOP = 78, BOTTOM = 40, BETWEEN = 20;

interface Cell {
  layer: number;
  head: number;
  panel: number;
  state: HeadState;
  value?: number;
}

interface Scale {
  /** From a value to 0..1 along the ramp. */
  position(value: number): number;
  ticks: number[];
  format(value: number): string;
}

/** Draws a measurement of every head before each cycle's pruning, and at the end. */
export function mapsFigure(records: StoryRecords, metric: MapMetric): string | undefined {
  const story = headStory(records);
  const range = story && metricRange(story, metric);
  if (!story || !range) return undefined;
  const moments = mapMoments(story, metric);
  const cells = moments.flatMap((moment, panel) => cellsOf(story, moment, panel, metric));
  const known = cells.filter(({ value }) => measured(value));
  const scale = metric === "entropy" ? LINEAR : logScale(range);
  const { L, NH } = story;
  const size = Math.min(40, Math.max(11, 400 / L), panelWidth(moments.length) / NH);
  const left = (cell: Cell) => panelLeft(cell.panel, moments.length) + cell.head * size;
  const top = (cell: Cell) => TOP + cell.layer * size;
  const box = (inset: number) => ({
    x1: (cell: Cell) => left(cell) + inset,
    x2: (cell: Cell) => left(cell) + size - inset,
    y1: (cell: Cell) => top(cell) + inset,
    y2: (cell: Cell) => top(cell) + size - inset,
  });
  const middle = {
    x: (cell: Cell) => left(cell) + size / 2,
    y: (cell: Cell) => top(cell) + size / 2,
  };
  const { unit } = STORY_METRICS[metric];
  const title = (cell: Cell) => told(cell, moments[cell.panel], metric);
  const titles = cells.length <= MOST_TITLES ? { title } : {};
  return draw({
    width: WIDTH,
    height: TOP + L * size + BOTTOM,
    margin: 0,
    x: { type: "identity", axis: null },
    y: { type: "identity", axis: null },
    marks: [
      Plot.rect(known, {
        ...box(0.5),
        fill: ({ value }: Cell) => colour(scale.position(value!)),
        ariaDescription: "head",
        ...titles,
      }),
      Plot.rect(cells.filter(({ value }) => !measured(value)), {
        ...box(1),
        fill: "none",
        stroke: "var(--rule)",
        ariaDescription: "head not measured",
        ...titles,
      }),
      Plot.dot(cells.filter(({ state }) => state === "pruned"), {
        ...middle,
        symbol: "times",
        r: Math.min(5, size * 0.22),
        stroke: "var(--quiet)",
        strokeWidth: 1.3,
        ariaDescription: "pruned",
      }),
      pixels(
        ...ramp(scale),
        ["text", {
          ...{ x: LEFT, y: 42, "text-anchor": "start", "font-size": 11 },
          fill: "var(--quiet)",
        }, unit],
        ...frames(story, moments, size),
      ),
    ],
  }, {
    id: metric,
    title: MAP_TITLES[metric],
    description: `${unit}. ${plural(moments.length, "map")}: ` +
      moments.map((moment, panel) => {
        const of = known.filter((cell) => cell.panel === panel);
        return `${caption(moment)}, ${plural(of.length, "head")} measured`;
      }).join("; ") + `. From ${format4(range[0])} to ${format4(range[1])}.`,
  });
}

/** How the maps are to be read. */
export function mapsCaption(records: StoryRecords, metric: MapMetric): string {
  const story = headStory(records);
  if (!story) return "";
  const shown = mapMoments(story, metric);
  const all = keyMoments(story, metric, Infinity);
  return `One map ${
    shown.length < all.length ? "for some of the cycles" : "a cycle"
  }, all to the ` +
    "same scale, measured before its pruning; the last map is the last that was measured." +
    (shown.some(({ states }) => states.includes("pruned"))
      ? " A cross is a pruned head, of which nothing is measured."
      : "");
}

/** The moments that there is a map of. */
export function mapMoments(story: HeadStory, metric: MapMetric): Moment[] {
  const most = Math.min(MOST_MAPS, Math.max(2, Math.floor(MOST_CELLS / (story.L * story.NH))));
  return keyMoments(story, metric, most);
}

function cellsOf({ NH }: HeadStory, moment: Moment, panel: number, metric: MapMetric): Cell[] {
  return moment.states.map((state, i) => {
    const value = moment.values[metric]?.[i];
    return { layer: Math.floor(i / NH), head: i % NH, panel, state, value };
  });
}

function told({ layer, head, state, value }: Cell, moment: Moment, metric: MapMetric): string {
  return `${caption(moment)}, layer ${layer}, head ${head}: ` +
    (measured(value)
      ? `${STORY_METRICS[metric].label} ${format4(value)}`
      : state === "pruned"
      ? "pruned"
      : "not measured");
}

function caption({ cycle, step }: Moment): string {
  return cycle > 0 ? `cycle ${cycle}, step ${step}` : `step ${step}`;
}

function panelWidth(panels: number): number {
  return (WIDTH - LEFT - BETWEEN * (panels - 1)) / panels;
}

function panelLeft(panel: number, panels: number): number {
  return LEFT + panel * (panelWidth(panels) + BETWEEN);
}

/** What each map is of, and the numbers of layers and heads, from 0 as in `results.json`. */
function frames(
  { L, NH }: HeadStory,
  moments: readonly Moment[],
  size: number,
): SvgPart[] {
  const quiet = { fill: "var(--quiet)", "font-size": 11 };
  const some = (n: number, room: number) => {
    const every = Math.ceil(n * room / (n * size));
    return Array.from({ length: n }, (_, i) => i).filter((i) => i % every === 0);
  };
  const bottom = TOP + L * size;
  return [
    ...some(L, 11).map((layer): SvgPart => ["text", {
      ...{ x: LEFT - 6, y: TOP + (layer + 0.5) * size, dy: "0.35em", "text-anchor": "end" },
      ...quiet,
    }, String(layer)]),
    ["text", {
      transform: `translate(12,${TOP + L * size / 2}) rotate(-90)`,
      "text-anchor": "middle",
      ...quiet,
    }, "layer"],
    ...moments.flatMap((moment, panel): SvgPart[] => {
      const x = panelLeft(panel, moments.length);
      return [
        ["text", {
          ...{ x, y: TOP - 10, "text-anchor": "start", "font-size": 12 },
          fill: "var(--ink)",
        }, caption(moment)],
        ...some(NH, 15).map((head): SvgPart => ["text", {
          ...{ x: x + (head + 0.5) * size, y: bottom + 14, "text-anchor": "middle" },
          ...quiet,
        }, String(head)]),
        ["text", {
          ...{ x: x + NH * size / 2, y: bottom + 30, "text-anchor": "middle" },
          ...quiet,
        }, "head"],
      ];
    }),
  ];
}

/** The legend, from marks: a row of small rectangles with ticks under it. */
function ramp({ position, ticks, format }: Scale): SvgPart[] {
  const steps = 60, width = 240, height = 9, top = 2;
  const rects = Array.from({ length: steps }, (_, i): SvgPart => ["rect", {
    x: LEFT + width * i / steps,
    y: top,
    width: width / steps + 0.4,
    height,
    fill: colour((i + 0.5) / steps),
  }]);
  const labels = ticks.map((tick): SvgPart => ["text", {
    x: LEFT + width * position(tick),
    y: top + height + 14,
    "text-anchor": "middle",
    "font-size": 11,
    fill: "var(--ink)",
  }, format(tick)]);
  return [...rects, ...labels];
}

const LINEAR: Scale = {
  position: (value) => value,
  ticks: [0, 0.25, 0.5, 0.75, 1],
  format: (value) => String(Number(value.toFixed(2))),
};

/** A log ramp between round ends, with a tick at 1, 2 and 5 of every power, or at the powers. */
function logScale([low, high]: [number, number]): Scale {
  const round = (from: number, to: number, digits: number[]) => {
    const found: number[] = [];
    for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power++) {
      for (const digit of digits) found.push(Number(`${digit}e${power}`));
    }
    const first = found.findLastIndex((value) => value <= from * (1 + 1e-9));
    const last = found.findIndex((value) => value >= to * (1 - 1e-9));
    return found.slice(first, Math.max(last, first + 1) + 1);
  };
  const fine = round(low, high, [1, 2, 5]);
  const ticks = fine.length <= 7 ? fine : round(low, high, [1]);
  const from = Math.log(ticks[0]), to = Math.log(ticks.at(-1)!);
  return {
    position: (value) => value > 0 ? (Math.log(value) - from) / (to - from) : 0,
    ticks,
    format: (value) => value >= 0.001 && value < 10000 ? String(value) : value.toExponential(0),
  };
}

function format4(value: number): string {
  return String(Number(value.toPrecision(4)));
}
