/**
 * The cycles of an integrated run at a glance: where pruning, growth and training took the loss and
 * the heads, cycle by cycle, and which cycles were undone.
 *
 * @module
 */

import type { IntegrationCycle, IntegrationRecord, PlasticityMeasure } from "../record.ts";
import { Plot } from "./deps.ts";
import { cycleAxis, FRAME } from "./frame.ts";
import { outcome } from "./integration.ts";
import { extent } from "./series.ts";
import { draw, type FigureText, key, type KeyItem, lineSample, symbolSample } from "./svg.ts";
import { ARM_NAMES, loss, measured } from "./theme.ts";

/** One measurement, at its place between the cycle's number less and plus a half. */
interface Spot {
  cycle: IntegrationCycle;
  x: number;
  value: number;
  what: What;
}

type Stage = "initial" | "pruned" | "grown" | "final";
type What = Stage | "undone" | "twin" | "random";

interface Kind {
  label: string;
  symbol: "circle" | "triangle" | "plus" | "times" | "square" | "diamond";
  fill: boolean;
  colour: string;
  /** From the cycle's number, so that time runs left to right. */
  offset: number;
}

const INK = "var(--ink)", GREY = "var(--grey)";

/** A shape for each measurement, so that they are told apart without colour. */
const KINDS: Record<What, Kind> = {
  initial: { label: "before", symbol: "circle", fill: false, colour: INK, offset: -0.36 },
  pruned: {
    label: "pruned",
    symbol: "triangle",
    fill: true,
    colour: "var(--pruning)",
    offset: -0.16,
  },
  grown: { label: "grown", symbol: "plus", fill: false, colour: "var(--finetuning)", offset: 0.04 },
  final: { label: "trained", symbol: "circle", fill: true, colour: INK, offset: 0.22 },
  undone: {
    label: "trained, rolled back",
    symbol: "times",
    fill: false,
    colour: INK,
    offset: 0.22,
  },
  twin: {
    label: ARM_NAMES.unpruned_twin,
    symbol: "square",
    fill: true,
    colour: GREY,
    offset: 0.31,
  },
  random: {
    label: ARM_NAMES.random_pruning,
    symbol: "diamond",
    fill: true,
    colour: GREY,
    offset: 0.4,
  },
};

const STAGES = ["initial", "pruned", "grown", "final"] as const;

/** Draws validation loss through every cycle, with the controls beside the trained model. */
export function glanceFigure(run: IntegrationRecord): string | undefined {
  return pathFigure(run, {
    id: "glance",
    title: "Validation loss through every cycle",
    value: ({ loss }) => loss,
    write: loss,
    axis: "validation loss, nats per token",
    height: 340,
    controls: true,
  });
}

/** Draws the heads that are computed, through every cycle. */
export function headsLeftFigure(run: IntegrationRecord): string | undefined {
  return pathFigure(run, {
    id: "left",
    title: "Heads left through every cycle",
    value: ({ heads }) => heads,
    write: String,
    axis: "heads that are computed",
    height: 240,
    controls: false,
  });
}

interface PathOptions {
  id: string;
  title: string;
  value(measure: PlasticityMeasure): number;
  write(value: number): string;
  axis: string;
  height: number;
  /** Whether the controls' losses are drawn, and the key that names all shapes. */
  controls: boolean;
}

function pathFigure(run: IntegrationRecord, options: PathOptions): string | undefined {
  const { id, title, write, axis, height, controls } = options;
  const { cycles } = run;
  const spots = cycles.flatMap((cycle) => spotsOf(cycle, options));
  if (spots.length === 0) return undefined;
  const at = (what: What) => spots.filter((spot) => spot.what === what);
  const shown = (Object.keys(KINDS) as What[]).filter((what) => at(what).length > 0);
  const best = bestSpot(run, spots);
  const told = (spot: Spot) => write(spot.value) + (spot === best ? ", best" : "");
  const ticks = controls ? 6 : wholeTicks(spots.map(({ value }) => value));
  const place = { x: "x", y: "value" } as const;
  const first = cycles[0].cycle, last = cycles.at(-1)!.cycle;
  const width = (FRAME.size.width - 2 * FRAME.size.marginLeft) / (last + 1 - first);
  // Narrow cycles have no room for the numbers of all.
  const ends = [...at("final"), ...at("undone")].filter((spot) => width >= 40 || spot === best);
  return draw({
    ...FRAME.size,
    height,
    marginTop: controls ? 34 : 12,
    marginBottom: FRAME.bottom,
    x: { domain: [first - 0.5, last + 0.5] },
    y: { nice: true, inset: 22 },
    marks: [
      ...undoneBands(cycles, width),
      Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks }),
      Plot.axisY({
        label: axis,
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
        ticks,
        ...(!controls && { tickFormat: "d" }),
      }),
      cycleAxis(cycles),
      Plot.ruleX(cycles.slice(1).map(({ cycle }) => cycle - 0.5), { stroke: "var(--rule)" }),
      ...(["twin", "random"] as const).map((what) =>
        Plot.line(at(what).filter(({ cycle }) => cycle.success), {
          ...place,
          stroke: GREY,
          strokeWidth: 1,
          strokeDasharray: what === "random" ? "5,3" : undefined,
          ariaDescription: `path of ${KINDS[what].label}`,
        })
      ),
      ...undonePaths(spots),
      Plot.line(keptPath(spots), {
        ...place,
        stroke: INK,
        strokeWidth: 1.2,
        ariaDescription: "path of the model",
      }),
      ...shown.toReversed().map((what) => {
        const { symbol, fill, label, colour } = KINDS[what];
        const paint = symbol === "plus" || symbol === "times"
          ? { stroke: colour, strokeWidth: 1.8 }
          : {
            fill: fill ? colour : "var(--paper)",
            stroke: fill ? "var(--paper)" : colour,
            strokeWidth: fill ? 0.8 : 1.5,
          };
        return Plot.dot(at(what), {
          ...place,
          ...paint,
          symbol,
          r: 4.5,
          ariaDescription: label,
          title: ({ cycle, value }: Spot) => `cycle ${cycle.cycle}, ${label}: ${write(value)}`,
        });
      }),
      ...(best ? [bestRing(best)] : []),
      ...(controls ? best ? [text([best], { write: () => "best", dy: 20 })] : [] : [
        text(at("initial").slice(0, 1), { write: told, dy: -18 }),
        text(ends, { write: told, dy: 20 }),
      ]),
      controls ? key(shown.flatMap(keyItem), FRAME.size.marginLeft, 12) : null,
    ],
  }, describe(options, { id, title, cycles, best }));
}

/** The cycle that made the best model, at its end; the start where no cycle did. */
function bestSpot(run: IntegrationRecord, spots: readonly Spot[]): Spot | undefined {
  const number = run.results?.best_cycle;
  if (!measured(number)) return undefined;
  return number === 0
    ? spots.find(({ what }) => what === "initial")
    : spots.find(({ cycle, what }) => cycle.cycle === number && what === "final");
}

function bestRing(spot: Spot): Plot.Markish {
  return Plot.dot([spot], { x: "x", y: "value", r: 9, stroke: INK, ariaDescription: "best model" });
}

/** A word at each spot, legible on a line. */
function text(
  spots: readonly Spot[],
  { write, dy }: { write(spot: Spot): string; dy: number },
): Plot.Markish {
  return Plot.text(spots, {
    x: "x",
    y: "value",
    text: write,
    dy,
    fill: ({ what }: Spot) => what === "undone" ? "var(--quiet)" : INK,
    stroke: "var(--paper)",
    strokeWidth: 3,
  });
}

function spotsOf(cycle: IntegrationCycle, { value, controls }: PathOptions): Spot[] {
  const found: [What, number | undefined][] = [
    ["initial", value(cycle.initial)],
    ["pruned", value(cycle.pruned)],
    ["grown", value(cycle.grown)],
    [cycle.success ? "final" : "undone", value(cycle.final)],
  ];
  if (controls) {
    found.push(["twin", cycle.unpruned_twin_loss], ["random", cycle.random_pruning_loss]);
  }
  return found.flatMap(([what, value]) =>
    measured(value) ? [{ cycle, x: cycle.cycle + KINDS[what].offset, value, what }] : []
  );
}

/** Where the model under study went: through a cycle that was kept, straight on under another. */
function keptPath(spots: readonly Spot[]): Spot[] {
  const stages: readonly What[] = STAGES;
  return spots.flatMap((spot) => {
    if (spot.cycle.success) return stages.includes(spot.what) ? [spot] : [];
    return spot.what === "initial" ? [spot, atEnd(spot)] : [];
  });
}

/** What a cycle tried and did not keep, and the way back to what it began with. */
function undonePaths(spots: readonly Spot[]): Plot.Markish[] {
  const tried = spots.filter(({ cycle, what }) =>
    !cycle.success && what !== "twin" && what !== "random"
  );
  const ends = tried.filter(({ what }) => what === "undone").flatMap((end) => {
    const start = tried.find(({ cycle, what }) => cycle === end.cycle && what === "initial");
    return start ? [{ end, back: atEnd(start) }] : [];
  });
  const style = { stroke: INK, strokeWidth: 1.2, strokeDasharray: "3,3" };
  return [
    Plot.line(tried, {
      x: "x",
      y: "value",
      z: (spot: Spot) => spot.cycle.cycle,
      ...style,
      ariaDescription: "path that was undone",
    }),
    Plot.arrow(ends, {
      x1: (one: typeof ends[number]) => one.end.x,
      y1: (one: typeof ends[number]) => one.end.value,
      x2: (one: typeof ends[number]) => one.back.x,
      y2: (one: typeof ends[number]) => one.back.value,
      ...style,
      headLength: 9,
      inset: 4,
      ariaDescription: "way back",
    }),
  ];
}

/** The same value at the end of the cycle. */
function atEnd(spot: Spot): Spot {
  return { ...spot, x: spot.cycle.cycle + KINDS.undone.offset };
}

/** The background of cycles that were undone, with a word where it is as wide as that. */
function undoneBands(cycles: readonly IntegrationCycle[], width: number): Plot.Markish[] {
  const undone = cycles.filter(({ success }) => !success);
  const word = width >= 76 ? "rolled back" : width >= 48 ? "undone" : undefined;
  return [
    Plot.rectX(undone, {
      x1: ({ cycle }: IntegrationCycle) => cycle - 0.5,
      x2: ({ cycle }: IntegrationCycle) => cycle + 0.5,
      fill: "var(--rule)",
      fillOpacity: 0.45,
      ariaDescription: "rolled back",
      title: (cycle: IntegrationCycle) => `cycle ${cycle.cycle}, ${outcome(cycle)}`,
    }),
    word === undefined ? null : Plot.text(undone, {
      x: "cycle",
      frameAnchor: "top",
      dy: 2,
      text: () => word,
      fontSize: 11,
      fill: "var(--quiet)",
    }),
  ];
}

function keyItem(what: What): KeyItem[] {
  const { label, symbol, colour, fill } = KINDS[what];
  if (what === "undone") {
    return [{ label: "rolled back", sample: [...lineSample(INK, 1.2, "3,3")] }];
  }
  return [{ label, sample: symbolSample(symbol, colour, fill) }];
}

/** Whole numbers between the least and the greatest, a few. */
function wholeTicks(values: readonly number[]): number[] {
  const [low, high] = extent(values);
  const step = Math.max(1, Math.ceil((high - low) / 5));
  const ticks: number[] = [];
  for (let tick = Math.floor(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return ticks;
}

function describe(
  options: PathOptions,
  { id, title, cycles, best }: {
    id: string;
    title: string;
    cycles: readonly IntegrationCycle[];
    best: Spot | undefined;
  },
): FigureText {
  const { write } = options;
  const lines = cycles.map((cycle) =>
    `Cycle ${cycle.cycle}${cycle.success ? "" : ", rolled back"}: ` +
    spotsOf(cycle, options).map(({ what, value }) => `${KINDS[what].label} ${write(value)}`)
      .join(", ")
  );
  const which = best === undefined
    ? ""
    : ` Best: ${best.what === "initial" ? "the start" : `cycle ${best.cycle.cycle}`}.`;
  return { id, title, description: `${lines.join("; ")}.${which}` };
}
