/**
 * What each cycle did to the loss, and where the controller's gates ended.
 *
 * @module
 */

import type { CycleResult, HeadRow, RunRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import { FRAME } from "./frame.ts";
import { headGrid, lastSnapshot } from "./series.ts";
import { draw, key, type KeyItem, type SvgPart, symbolSample } from "./svg.ts";
import { loss, measured } from "./theme.ts";

interface Measurement {
  cycle: number;
  /** Distance from the cycle's number on the axis, so that time runs left to right. */
  offset: number;
  value: number;
  what: keyof typeof KINDS;
}

/** A shape for each measurement, so that they are told apart without colour. */
const KINDS = {
  before: { label: "before pruning", symbol: "circle", fill: false, offset: -0.3 },
  after: { label: "after pruning", symbol: "triangle", fill: true, offset: -0.07 },
  recovered: { label: "after fine-tuning", symbol: "circle", fill: true, offset: 0.16 },
  twin: { label: "unpruned twin", symbol: "square", fill: true, offset: 0.25 },
  random: { label: "random pruning", symbol: "diamond", fill: true, offset: 0.34 },
} as const;

/** Draws validation loss before and after each pruning and after recovery, with the controls. */
export function cyclesFigure(run: RunRecord): string | undefined {
  const cycles = run.results?.cycles ?? [];
  const points = cycles.flatMap(measurements);
  if (points.length === 0) return undefined;
  const place = { x: ({ cycle, offset }: Measurement) => cycle + offset, y: "value" } as const;
  const own = points.filter(({ what }) => what !== "twin" && what !== "random");
  const kinds = (Object.keys(KINDS) as (keyof typeof KINDS)[])
    .filter((what) => points.some((point) => point.what === what));
  const first = cycles[0].cycle, last = cycles.at(-1)!.cycle;
  return draw({
    ...FRAME.size,
    height: 300,
    marginTop: 32,
    marginBottom: FRAME.bottom,
    x: { domain: [first - 0.5, last + 0.5] },
    y: { nice: true, inset: 8 },
    marks: [
      Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 6 }),
      Plot.axisY({
        label: "validation loss, nats per token",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
        ticks: 6,
      }),
      Plot.axisX(cycles.map(({ cycle }) => cycle), {
        label: "cycle",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
        tickFormat: "d",
      }),
      Plot.ruleX(cycles.slice(1).map(({ cycle }) => cycle - 0.5), { stroke: "var(--rule)" }),
      Plot.line(own, { ...place, z: "cycle", stroke: "var(--ink)", strokeWidth: 1 }),
      ...kinds.toReversed().map((what) => {
        const { symbol, fill, label } = KINDS[what];
        const colour = kindColour(what);
        return Plot.dot(points.filter((point) => point.what === what), {
          ...place,
          symbol,
          r: 4.5,
          fill: fill ? colour : "var(--paper)",
          stroke: fill ? "var(--paper)" : colour,
          strokeWidth: fill ? 0.8 : 1.5,
          ariaDescription: label,
          title: ({ cycle, value }: Measurement) => `cycle ${cycle}, ${label}: ${loss(value)}`,
        });
      }),
      key(kinds.map(keyItem), FRAME.size.marginLeft, 12),
    ],
  }, {
    id: "cycles",
    title: "Loss by cycle",
    description: cycles.map((cycle) =>
      `Cycle ${cycle.cycle}: ` +
      measurements(cycle).map(({ what, value }) => `${KINDS[what].label} ${loss(value)}`).join(", ")
    ).join("; ") + ".",
  });
}

/** Draws every head's gate at the last snapshot, a stroke a head, a row a layer. */
export function gatesFigure(run: RunRecord): string | undefined {
  const grid = headGrid(run), snapshot = lastSnapshot(run, "gate");
  if (!grid || !snapshot) return undefined;
  const rows = snapshot.rows.filter((row) => measured(row.gate));
  const live = rows.filter((row) => row.alive === 1), dead = rows.filter((row) => row.alive !== 1);
  const least = Math.min(...rows.map((row) => row.gate!));
  const from = Math.max(0, Math.floor(least * 10 - 1e-9) / 10);
  const place = { x: "gate", y: "layer" } as const;
  return draw({
    width: 464,
    height: 40 + grid.L * Math.min(40, Math.max(12, 400 / grid.L)) + 40,
    marginLeft: 44,
    marginRight: 16,
    marginTop: 40,
    marginBottom: 40,
    x: { domain: [from, 1] },
    y: { domain: Array.from({ length: grid.L }, (_, layer) => layer), padding: 0.25 },
    marks: [
      Plot.gridX({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 5 }),
      Plot.axisX({
        label: "gate, what a head’s output is multiplied by",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
        ticks: 5,
      }),
      Plot.axisY({ label: "layer", labelAnchor: "center", labelArrow: "none", tickSize: 0 }),
      Plot.tickX(live, {
        ...place,
        stroke: "var(--ink)",
        strokeWidth: 1.4,
        strokeOpacity: 0.75,
        ariaDescription: "gate of a live head",
        title: gateTitle,
      }),
      Plot.dot(dead, {
        ...place,
        symbol: "times",
        r: 4,
        stroke: "var(--pruning)",
        ariaDescription: "gate of a pruned head",
        title: gateTitle,
      }),
      key(
        [
          { label: "live head", sample: [line(11)] },
          ...(dead.length > 0
            ? [{ label: "pruned head", sample: symbolSample("times", "var(--pruning)") }]
            : []),
        ],
        44,
        14,
      ),
    ],
  }, {
    id: "gates",
    title: "The controller’s gates",
    description:
      `${live.length} live heads at step ${snapshot.step}, from ${least.toFixed(3)} to ` +
      `${Math.max(...rows.map((row) => row.gate!)).toFixed(3)}.`,
  });
}

function measurements(cycle: CycleResult): Measurement[] {
  const found: [keyof typeof KINDS, number | undefined][] = [
    ["before", cycle.loss_before],
    ["after", cycle.loss_after_pruning],
    ["recovered", cycle.loss_after_finetuning],
    ["twin", cycle.unpruned_twin_loss],
    ["random", cycle.random_pruning_loss],
  ];
  return found.flatMap(([what, value]) =>
    measured(value) ? [{ cycle: cycle.cycle, offset: KINDS[what].offset, value, what }] : []
  );
}

function kindColour(what: keyof typeof KINDS): string {
  return what === "twin" || what === "random"
    ? "var(--grey)"
    : what === "after"
    ? "var(--pruning)"
    : "var(--ink)";
}

function keyItem(what: keyof typeof KINDS): KeyItem {
  const { label, symbol, fill } = KINDS[what];
  return { label, sample: symbolSample(symbol, kindColour(what), fill) };
}

function line(x: number): SvgPart {
  return ["line", { x1: x, x2: x, y1: -1, y2: 11, stroke: "var(--ink)", "stroke-width": 1.4 }];
}

function gateTitle({ layer, head, gate }: HeadRow): string {
  return `layer ${layer}, head ${head}: gate ${gate!.toFixed(4)}`;
}
