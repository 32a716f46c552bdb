/**
 * Maps of layer by head: entropy, gradient norm, and which heads died when.
 *
 * @module
 */

import type { HeadRow, RunRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import { type Death, deaths, extent, headGrid, lastSnapshot } from "./series.ts";
import { draw, pixels, type SvgPart } from "./svg.ts";
import { measured, plural } from "./theme.ts";

/** Half a page wide, so that two stand side by side. */
const WIDTH = 464, LEFT = 44, TOP = 62, BOTTOM = 40;

interface Cell {
  layer: number;
  head: number;
  value?: number;
  death?: Death;
}

interface Scale {
  /** From a value to 0..1 along the ramp. */
  position(value: number): number;
  ticks: number[];
  format(value: number): string;
}

/** Draws the normalised attention entropy of every head at the last analysis. */
export function entropyFigure(run: RunRecord): string | undefined {
  return heatMap(run, "entropy", {
    id: "entropy",
    title: "Attention entropy",
    unit: "mean entropy of a row over the ln of the keys it sees: 0 one key, 1 uniform",
    scale: () => ({
      position: (value) => value,
      ticks: [0, 0.25, 0.5, 0.75, 1],
      format: (value) => String(Number(value.toFixed(2))),
    }),
  });
}

/** Draws the gradient norm of every head's weights at the last analysis, on a log ramp. */
export function gradientFigure(run: RunRecord): string | undefined {
  return heatMap(run, "grad_norm", {
    id: "gradient",
    title: "Gradient norm",
    unit: "L2 norm of the loss gradient of the head’s weights, log scale",
    scale: logScale,
  });
}

/** Draws in which cycle each head was removed; nothing before the first pruning. */
export function deathsFigure(run: RunRecord): string | undefined {
  const grid = headGrid(run), dead = deaths(run);
  if (!grid || dead.size === 0) return undefined;
  const cells = cellsOf(grid, dead, []);
  const size = cellSize(grid, 56);
  const left = upTo(grid.L).map((layer) => {
    const live = cells.filter((cell) => cell.layer === layer && !cell.death).length;
    return { layer, live };
  });
  return draw({
    ...frame(grid, { marginRight: 56, marginTop: 40 }),
    marks: [
      ...gridAxes(grid),
      Plot.cell(cells, {
        ...PLACE,
        inset: 1,
        stroke: "var(--rule)",
        fill: (cell: Cell) => cell.death ? "var(--pruning)" : "var(--paper)",
        fillOpacity: 0.2,
        ariaDescription: "head",
        title: (cell: Cell) => name(cell),
      }),
      Plot.text(cells.filter(({ death }) => death), {
        ...PLACE,
        text: (cell: Cell) => String(cell.death!.cycle),
        fontSize: Math.min(13, size * 0.6),
        fontWeight: 600,
        fill: "var(--ink)",
        ariaDescription: "cycle of death",
      }),
      Plot.text(left, {
        y: "layer",
        frameAnchor: "right",
        textAnchor: "start",
        dx: 8,
        text: ({ live }: { live: number }) => `${live}/${grid.NH}`,
        fontSize: Math.min(12, size * 0.7),
        fill: "var(--quiet)",
        ariaDescription: "live heads of the layer",
      }),
      pixels([
        "text",
        { x: WIDTH - 48, y: 30, "text-anchor": "start", fill: "var(--quiet)" },
        "live",
      ]),
    ],
  }, {
    id: "deaths",
    title: "Which heads died when",
    description: [...dead.values()].map((death) =>
      `layer ${death.layer} head ${death.head} in cycle ${death.cycle}`
    ).join("; ") + ".",
  });
}

/** The analysis that a map shows, in words. */
export function mapCaption(run: RunRecord, column: "entropy" | "grad_norm"): string {
  const at = lastSnapshot(run, column);
  if (!at) return "";
  const when = `Measured at step ${at.step}${at.cycle > 0 ? `, cycle ${at.cycle}` : ""}.`;
  return deaths(run).size === 0 ? when : `${when} A cross marks a pruned head, with its cycle; ` +
    `a head that was gone by then was not measured.`;
}

const PLACE = { x: "head", y: "layer" } as const;

function heatMap(
  run: RunRecord,
  column: "entropy" | "grad_norm",
  { id, title, unit, scale }: {
    id: string;
    title: string;
    unit: string;
    scale: (values: number[]) => Scale;
  },
): string | undefined {
  const grid = headGrid(run), snapshot = lastSnapshot(run, column);
  if (!grid || !snapshot) return undefined;
  const cells = cellsOf(grid, deaths(run), snapshot.rows, column);
  const values = cells.flatMap(({ value }) => (measured(value) ? [value] : []));
  const { position, ticks, format } = scale(values);
  const size = cellSize(grid);
  const known = cells.filter(({ value }) => measured(value));
  const dead = cells.filter(({ death }) => death);
  // What is written on a cell is dark on light colours and light on dark ones.
  const onto = (cell: Cell) =>
    cell.value === undefined ? "var(--ink)" : position(cell.value) > 0.5 ? "#14171b" : "#fff";
  const [low, high] = extent(values);
  // Small numbers are written in units of a power of ten, so that a cell needs two or three digits.
  const cellUnit = low > 0 && low < 0.1 && high < low * 1000
    ? 10 ** Math.floor(Math.log10(low))
    : 1;
  return draw({
    ...frame(grid),
    marks: [
      ...gridAxes(grid),
      Plot.cell(cells.filter(({ value }) => !measured(value)), {
        ...PLACE,
        inset: 1,
        fill: "none",
        stroke: "var(--rule)",
        ariaDescription: "head not measured",
        title: (cell: Cell) => name(cell),
      }),
      Plot.cell(known, {
        ...PLACE,
        inset: 0.5,
        fill: (cell: Cell) => colour(position(cell.value!)),
        ariaDescription: "head",
        title: (cell: Cell) => `${name(cell)}; ${title.toLowerCase()} ${format4(cell.value!)}`,
      }),
      size >= 26
        ? Plot.text(known.filter(({ death }) => !death), {
          ...PLACE,
          text: (cell: Cell) => short(cell.value! / cellUnit),
          fontSize: Math.min(11, size * 0.3),
          fill: onto,
          ariaDescription: "value",
        })
        : null,
      Plot.dot(dead, {
        ...PLACE,
        symbol: "times",
        r: size * 0.2,
        stroke: onto,
        strokeWidth: 1.5,
        dx: size >= 20 ? -size * 0.14 : 0,
        ariaDescription: "pruned",
      }),
      size >= 20
        ? Plot.text(dead, {
          ...PLACE,
          dx: size * 0.24,
          text: (cell: Cell) => String(cell.death!.cycle),
          fontSize: Math.min(12, size * 0.36),
          fontWeight: 600,
          fill: onto,
          ariaDescription: "cycle of death",
        })
        : null,
      pixels(...ramp(position, ticks, format), [
        "text",
        { x: LEFT, y: 42, fill: "var(--quiet)", "text-anchor": "start", "font-size": 11 },
        unit + (cellUnit < 1 && size >= 26 ? `; cells in ${cellUnit.toExponential(0)}` : ""),
      ]),
    ],
  }, {
    id,
    title,
    description: `${unit}. At step ${snapshot.step}, ${plural(known.length, "head")} measured, ` +
      `from ${format4(low)} to ${format4(high)}.`,
  });
}

function cellsOf(
  { L, NH }: { L: number; NH: number },
  dead: Map<string, Death>,
  rows: readonly HeadRow[],
  column?: keyof HeadRow,
): Cell[] {
  const values = new Map(
    rows.map((row) => [`${row.layer},${row.head}`, column ? row[column] : undefined]),
  );
  return Array.from({ length: L * NH }, (_, i) => {
    const layer = Math.floor(i / NH), head = i % NH, key = `${layer},${head}`;
    const value = values.get(key);
    return { layer, head, value: measured(value) ? value : undefined, death: dead.get(key) };
  });
}

function name({ layer, head, death }: Cell): string {
  return `layer ${layer}, head ${head}: ` +
    (death
      ? `pruned in cycle ${death.cycle} at step ${death.step}, ${death.strategy} score ` +
        `${format4(death.score)}, rank ${death.rank} of ${death.of}`
      : "live");
}

function cellSize({ L, NH }: { L: number; NH: number }, right = 4): number {
  // Square cells, unless few heads would make a tall figure or many a flat one.
  const width = (WIDTH - LEFT - right) / NH;
  return Math.min(width, Math.max(12, 420 / L), 44);
}

function frame(
  grid: { L: number; NH: number },
  { marginRight = 4, marginTop = TOP }: { marginRight?: number; marginTop?: number } = {},
): Plot.PlotOptions {
  const size = cellSize(grid, marginRight);
  return {
    width: WIDTH,
    height: marginTop + grid.L * size + BOTTOM,
    marginTop,
    marginBottom: BOTTOM,
    marginLeft: LEFT,
    marginRight,
    padding: 0,
    x: { type: "band", domain: upTo(grid.NH) },
    y: { type: "band", domain: upTo(grid.L) },
  };
}

/** Every layer and head is numbered, as in `results.json`, from 0; some only where they are many. */
function gridAxes({ L, NH }: { L: number; NH: number }): Plot.Markish[] {
  const some = (n: number, most: number) => {
    const every = Math.ceil(n / most);
    return upTo(n).filter((i) => i % every === 0);
  };
  const common = { tickSize: 0, labelAnchor: "center", labelArrow: "none" } as const;
  return [
    Plot.axisX(some(NH, 20), { ...common, label: "head" }),
    Plot.axisY(some(L, 32), { ...common, label: "layer" }),
  ];
}

function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** Dark to light in lightness too, so a greyscale print keeps the order. */
const cividis = Plot.scale({ color: { type: "linear", scheme: "cividis", domain: [0, 1] } });

function colour(position: number): string {
  return cividis.apply(Math.min(1, Math.max(0, position)));
}

/** The legend, from marks: a row of small rectangles with ticks under it. */
function ramp(
  position: (value: number) => number,
  ticks: readonly number[],
  format: (value: number) => string,
): SvgPart[] {
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

/** A log ramp between round ends, with a tick at 1, 2 and 5 of every power, or at the powers. */
function logScale(values: number[]): Scale {
  const positive = values.filter((value) => value > 0);
  const [low, high] = positive.length > 0 ? extent(positive) : [0.1, 1];
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

/** Two digits, as short as they go: `.62`, `1.3`, `45`. */
function short(value: number): string {
  if (value !== 0 && (value < 0.005 || value >= 999.5)) return value.toExponential(0);
  return (value < 0.995 ? value.toFixed(2) : value < 9.95 ? value.toFixed(1) : value.toFixed(0))
    .replace(/^0\./, ".");
}
