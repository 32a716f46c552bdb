/**
 * The figures of a comparison: what pruning costs by how much is pruned, and how it came to that.
 *
 * @module
 */
import {
  type Comparison,
  type Group,
  type SeedPoint,
  seedsOf,
  type Series,
  type Trajectory,
} from "./comparing.ts";
import { Plot } from "./deps.ts";
import { endLabels, type LineEnd } from "./labels.ts";
import type { Html } from "./html.ts";
import { columnsTable, type PageFigure } from "./parts.ts";
import { draw, key, lineSample, type SvgPart, symbolSample, textWidth } from "./svg.ts";
import { ARM_NAMES, percent, plural, signed, written } from "./theme.ts";

const SIZE = { width: 960, height: 440, marginTop: 34, marginLeft: 64, marginBottom: 58 } as const;

/** Pixels between the symbols of series at the same number of heads. */
const DODGE = 9;

/** How a series is drawn: by symbol and colour together, never by colour alone. */
interface Style {
  symbol: Plot.SymbolType & string;
  colour: string;
  fill: boolean;
  dash?: string;
}

const SYMBOLS = ["circle", "square", "triangle", "diamond", "plus", "times"] as const;
const COLOURS = ["ink", "warmup", "pruning", "finetuning", "evaluation", "analysis"];

const FLOOR: Style = { symbol: "times", colour: "var(--grey)", fill: false, dash: "5,3" };

/** How each series is drawn, by its name. */
function stylesOf(series: readonly Series[]): Map<string, Style> {
  const drawn = series.filter(({ floor }) => !floor);
  return new Map(series.map((one) => {
    const i = drawn.indexOf(one);
    if (i < 0) return [one.name, FLOOR];
    const symbol = SYMBOLS[i % 5]; // the cross is random pruning's
    const colour = `var(--${COLOURS[i % COLOURS.length]})`;
    return [one.name, { symbol, colour, fill: symbol !== "plus" && Math.floor(i / 5) % 2 === 0 }];
  }));
}

/** Draws test loss minus the twin's against the heads removed; nothing without a run to compare. */
export function comparisonFigure({ series }: Comparison): string | undefined {
  if (series.length === 0) return undefined;
  const styles = stylesOf(series);
  const groups = series.flatMap((one) => one.groups);
  const marginRight = rightMargin(series.map(({ name }) => name));
  const most = Math.max(...groups.flatMap(({ points }) => points.map(({ share }) => share)));
  const domain: [number, number] = [0, most * 1.04 || 1];
  const unit = (domain[1] - domain[0]) / (SIZE.width - SIZE.marginLeft - marginRight);
  const dodge = new Map(
    series.map((
      { name },
      i,
    ) => [name, (i - (series.length - 1) / 2) * Math.min(DODGE, 60 / series.length) * unit]),
  );
  const last = Math.max(...groups.map(({ share }) => share)) + Math.max(...dodge.values());
  const ends = series.map(({ name, groups, floor }): LineEnd => {
    const { share, twin } = groups.at(-1)!, own = share + dodge.get(name)!;
    const end = { name, y: twin.mean, quiet: floor };
    // amid the others a sample would look like one more point
    return last - own > 80 * unit
      ? { ...end, x: own }
      : { ...end, x: last, sample: sampleOf(styles.get(name)!) };
  });
  return draw({
    ...SIZE,
    marginRight,
    x: { domain },
    y: { zero: true, nice: true, inset: 6 },
    marks: [
      ...axes("test loss minus the unpruned twin’s, nats per token"),
      headsAxis(groups, unit),
      twinLine(domain),
      ...series.flatMap((one) =>
        seriesMarks(one, styles.get(one.name)!, { shift: dodge.get(one.name)!, cap: 4 * unit })
      ),
      endLabels(ends),
      key(
        [
          { label: "mean over seeds", sample: symbolSample("circle", "var(--ink)", true) },
          { label: "least to greatest", sample: WHISKER },
          { label: "one seed", sample: [["g", { opacity: 0.45 }, undefined, ONE_SEED]] },
          { label: ARM_NAMES.unpruned_twin, sample: lineSample("var(--grey)", 1.5) },
        ],
        SIZE.marginLeft,
        12,
      ),
    ],
  }, {
    id: "comparison",
    title: "Test loss minus the unpruned twin’s, by heads removed",
    description: series.map(({ name, groups }) =>
      `${name}: ` + groups.map((group) =>
        `${signed(group.twin.mean)} at ${sharePercent(group.share)}` +
        (group.points.length > 1
          ? ` (${signed(group.twin.least)} to ${signed(group.twin.most)})`
          : "")
      ).join(", ")
    ).join("; ") + ".",
  });
}

const WHISKER: SvgPart[] = [["path", {
  d: "M11,-2v14M8,-2h6M8,12h6",
  ...{ fill: "none", stroke: "var(--ink)", "stroke-width": 1.4 },
}]];
const ONE_SEED: SvgPart[] = [["circle", { cx: 11, cy: 5, r: 2.6, fill: "var(--ink)" }]];

/** The line of means, and on it every group's spread, its seeds and its mean. */
function seriesMarks(
  { name, groups, floor }: Series,
  { symbol, colour, fill, dash }: Style,
  { shift, cap }: { shift: number; cap: number },
): Plot.Markish[] {
  const x = ({ share }: { share: number }) => share + shift;
  const spread = groups.filter((group) => seedsOf(group) > 1);
  const seeds = spread.flatMap(({ points }) => points);
  const paint = fill
    ? { fill: colour, stroke: "var(--paper)", strokeWidth: 0.8 }
    : { fill: "none", stroke: colour, strokeWidth: 1.8 };
  return [
    Plot.line(groups, {
      ...{ x, y: ({ twin }: Group) => twin.mean, stroke: colour, strokeWidth: 1.1 },
      ...(dash && { strokeDasharray: dash }),
      ariaDescription: `${name}, means`,
    }),
    Plot.ruleX(spread, {
      x,
      y1: ({ twin }: Group) => twin.least,
      y2: ({ twin }: Group) => twin.most,
      ...{ stroke: colour, strokeWidth: 1.4, ariaDescription: `${name}, spread` },
    }),
    Plot.ruleY(
      spread.flatMap((
        { share, twin },
      ) => [{ share, value: twin.least }, { share, value: twin.most }]),
      {
        ...{ x1: (end) => x(end) - cap, x2: (end) => x(end) + cap, y: "value" },
        ...{ stroke: colour, strokeWidth: 1.4, ariaDescription: `${name}, ends of the spread` },
      },
    ),
    Plot.dot(seeds, {
      ...{ x, y: "value", r: 2.4, fill: colour, fillOpacity: 0.45 },
      ariaDescription: `${name}, one seed`,
      title: (point: SeedPoint) => seedTitle(name, point),
    }),
    Plot.dot(groups, {
      ...{ x, y: ({ twin }: Group) => twin.mean, symbol, r: floor ? 4 : 4.6, ...paint },
      ariaDescription: name,
      title: (group: Group) =>
        `${name}, ${sharePercent(group.share)} removed: ${signed(group.twin.mean)}, ` +
        `mean of ${plural(group.points.length, "run")}`,
    }),
  ];
}

function seedTitle(name: string, { seed, removed, total, value }: SeedPoint): string {
  return `${name}, ${seed === undefined ? "unknown seed" : `seed ${seed}`}, ${removed} of ` +
    `${plural(total, "head")} removed: ${signed(value)}`;
}

/** Draws validation loss minus the twin's after each cycle; nothing where no cycle has both. */
export function trajectoryFigure({ trajectories, series }: Comparison): string | undefined {
  if (trajectories.length === 0) return undefined;
  const styles = stylesOf(series);
  const names = [...new Set(trajectories.map(({ name }) => name))];
  const marginRight = rightMargin(names);
  const points = trajectories.flatMap((one) => one.points);
  const domain: [number, number] = [0, Math.max(...points.map(({ share }) => share)) * 1.04 || 1];
  // the name stands at the end of a series' longest line
  const longest = names.map((name) =>
    trajectories.filter((one) => one.name === name)
      .reduce((a, b) => b.points.at(-1)!.share > a.points.at(-1)!.share ? b : a)
  );
  return draw({
    ...SIZE,
    height: 380,
    marginBottom: 44,
    marginRight,
    x: { domain },
    y: { zero: true, nice: true, inset: 6 },
    marks: [
      ...axes("validation loss minus the twin’s, nats per token"),
      Plot.axisX({
        ...{ label: "share of heads removed", labelAnchor: "center", labelArrow: "none" },
        ...{ tickSize: 4, tickFormat: sharePercent, ticks: 8 },
      }),
      twinLine(domain),
      ...trajectories.flatMap(({ name, floor, level, points }) => {
        const { symbol, colour, fill, dash } = styles.get(name)!;
        const place = { x: "share", y: "value" } as const;
        const asked = level === undefined ? "" : `, level ${sharePercent(level)}`;
        return [
          Plot.line(points, {
            ...{ ...place, stroke: colour, strokeWidth: 1.3, ariaDescription: name + asked },
            ...(dash && { strokeDasharray: dash }),
          }),
          Plot.dot(points, {
            ...{ ...place, symbol, r: floor ? 3.2 : 3.8 },
            ...(fill
              ? { fill: colour, stroke: "var(--paper)", strokeWidth: 0.8 }
              : { fill: "none", stroke: colour, strokeWidth: 1.6 }),
            ariaDescription: `${name}${asked}, after a cycle`,
            title: ({ cycle, value, runs }: typeof points[number]) =>
              `${name}${asked}, after cycle ${cycle}: ${signed(value)}, mean of ${
                plural(runs, "run")
              }`,
          }),
        ];
      }),
      endLabels(longest.map(({ name, floor, points }) => {
        const { share, value } = points.at(-1)!;
        return { name, x: share, y: value, quiet: floor, sample: sampleOf(styles.get(name)!) };
      })),
      key(
        [{ label: ARM_NAMES.unpruned_twin, sample: lineSample("var(--grey)", 1.5) }],
        SIZE.marginLeft,
        12,
      ),
    ],
  }, {
    id: "trajectory",
    title: "Validation loss minus the unpruned twin’s, cycle by cycle",
    description: trajectories.map(({ name, level, points }) =>
      `${name}${level === undefined ? "" : ` to ${sharePercent(level)}`}: ` +
      points.map(({ share, value }) =>
        `${signed(value)} at ${sharePercent(share)}`
      ).join(", ")
    ).join("; ") + ".",
  });
}

/** The figures that a comparison's page may have. */
export const COMPARISON_FIGURES = ["comparison", "trajectory"] as const;

/** Draws both figures, as far as there is something to draw. */
export function drawComparisonFigures(comparison: Comparison): PageFigure[] {
  const drawn: (Omit<PageFigure, "svg"> & { svg: string | undefined })[] = [
    {
      name: COMPARISON_FIGURES[0],
      title: "Test loss minus the unpruned twin’s, by heads removed",
      caption:
        "Below zero is better than the twin, which had the same training and lost no head. " +
        "Where a whisker of one series reaches into another’s, their order may be chance. Symbols " +
        "of the same number of heads stand side by side.",
      svg: comparisonFigure(comparison),
    },
    {
      name: COMPARISON_FIGURES[1],
      title: "Cycle by cycle",
      caption:
        "After each cycle’s fine-tuning, on validation text; a line for each level that was " +
        "asked for, each point a mean over seeds, their spread left out. Every model was its twin " +
        "before its first pruning.",
      svg: trajectoryFigure(comparison),
      numbers: trajectoryTable(comparison),
    },
  ];
  return drawn.flatMap(({ svg, ...rest }) => svg === undefined ? [] : [{ ...rest, svg }]);
}

function trajectoryTable({ trajectories }: Comparison): Html {
  type Row = Trajectory & { point: Trajectory["points"][number] };
  const rows = trajectories.flatMap((one) => one.points.map((point): Row => ({ ...one, point })));
  return columnsTable<Row>(
    [
      ["Strategy", ({ name }) => name],
      ["Level asked", ({ level }) => written(level, sharePercent)],
      ["Cycle", ({ point }) => String(point.cycle)],
      ["Heads removed", ({ point }) => sharePercent(point.share)],
      ["Runs", ({ point }) => String(point.runs)],
      ["Minus twin, mean", ({ point }) => signed(point.value)],
    ],
    rows,
    "numbers",
  );
}

function axes(label: string): Plot.Markish[] {
  return [
    Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 6 }),
    Plot.axisY({ label, labelAnchor: "center", labelArrow: "none", tickSize: 0, ticks: 6 }),
  ];
}

function twinLine([x1, x2]: [number, number]): Plot.Markish {
  return Plot.ruleY([0], {
    ...{ x1, x2, stroke: "var(--grey)", strokeWidth: 1.5 },
    ariaDescription: ARM_NAMES.unpruned_twin,
  });
}

/** Shares of heads at the bottom, with their numbers below where all models have as many. */
function headsAxis(groups: readonly Group[], unit: number): Plot.Markish {
  const points = groups.flatMap((group) => group.points);
  const totals = new Set(points.map(({ total }) => total));
  const [total] = totals;
  const ticks = [0];
  for (const share of [...new Set(points.map(({ share }) => share))].sort((a, b) => a - b)) {
    if (share - ticks.at(-1)! > 52 * unit) ticks.push(share);
  }
  return Plot.axisX(ticks, {
    label: `heads removed, share of all${totals.size === 1 ? ` ${total}` : ""}`,
    ...{ labelAnchor: "center", labelArrow: "none", tickSize: 4 },
    tickFormat: (share: number) =>
      sharePercent(share) +
      (totals.size === 1 ? `\n${plural(Math.round(share * total), "head")}` : ""),
  });
}

function sampleOf({ symbol, colour, fill, dash }: Style): SvgPart[] {
  return [...lineSample(colour, 1.2, dash), ...symbolSample(symbol, colour, fill)];
}

function rightMargin(names: readonly string[]): number {
  return Math.ceil(50 + Math.max(...names.map((name) => textWidth(name))));
}

/** A share of heads: 10 of 32 are 31.3 %. */
export function sharePercent(share: number): string {
  return percent(Number(share.toFixed(4)));
}
