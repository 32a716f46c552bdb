/**
 * What each cycle did to the loss.
 *
 * @module
 */

import type { CycleResult, RunRecord } from "../record.ts";
import { cyclesOf } from "./cycle_results.ts";
import { Plot } from "./deps.ts";
import { cycleAxis, FRAME } from "./frame.ts";
import { draw, key, type KeyItem, type SvgPart, symbolSample } from "./svg.ts";
import { ARM_NAMES, loss, measured, minus, percent, plural, signed } from "./theme.ts";

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
  const cycles = cyclesOf(run);
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
      cycleAxis(cycles),
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

/** Draws what each pruning cost and what fine-tuning brought back, from where the cycle began. */
export function impactFigure(run: RunRecord): string | undefined {
  const cycles = cyclesOf(run).filter(({ loss_before, loss_after_pruning }) =>
    measured(loss_before) && measured(loss_after_pruning)
  );
  if (cycles.length === 0) return undefined;
  const rises = cycles.map((cycle, i) => ({
    ...cycle,
    ...riseOf(cycle),
    twin: minusOf(cycle.unpruned_twin_loss, cycles[i - 1]?.unpruned_twin_loss ?? cycle.loss_before),
  }));
  const trained = rises.filter(({ after }) => measured(after));
  // Two numbers a cycle need their room; the table under the figure has them too.
  const { width, marginLeft, marginRight } = FRAME.size;
  const roomy = (width - marginLeft - marginRight) / cycles.length >= 160;
  const numbers = [
    Plot.text(rises, {
      ...{ x: ({ cycle }) => cycle - 0.1, y: "impact", textAnchor: "end" },
      text: ({ impact }) => signed(impact),
      fill: "var(--ink)",
    }),
    Plot.text(trained, {
      ...{ x: ({ cycle }) => cycle + 0.06, y: "after", dx: 6, dy: 12, textAnchor: "end" },
      text: ({ after }) => signed(after!),
      fill: "var(--ink)",
    }),
  ];
  const twins = rises.filter(({ twin }) => measured(twin));
  const first = cycles[0].cycle, last = cycles.at(-1)!.cycle;
  return draw({
    ...FRAME.size,
    marginLeft: 78, // a minus sign, and three digits after the point
    height: 270,
    marginTop: 32,
    marginBottom: FRAME.bottom,
    x: { domain: [first - 0.5, last + 0.5] },
    y: { nice: true, inset: 20, zero: true },
    marks: [
      Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 6 }),
      Plot.axisY({
        label: "change of the validation loss",
        labelOffset: 70,
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
        ticks: 6,
      }),
      cycleAxis(cycles),
      Plot.ruleY([0], { stroke: "var(--quiet)", strokeWidth: 1 }),
      Plot.arrow(rises, {
        ...{
          x1: ({ cycle }) => cycle - 0.06,
          x2: ({ cycle }) => cycle - 0.06,
          y1: 0,
          y2: "impact",
        },
        ...{ strokeWidth: 1.6, stroke: "var(--pruning)", headLength: 7, inset: 1 },
        ariaDescription: "pruning",
      }),
      Plot.arrow(trained, {
        ...{ x1: ({ cycle }) => cycle + 0.06, x2: ({ cycle }) => cycle + 0.06 },
        ...{ y1: "impact", y2: "after" },
        ...{ strokeWidth: 1.6, stroke: "var(--finetuning)", headLength: 7, inset: 1 },
        ariaDescription: "fine-tuning",
      }),
      Plot.dot(twins, {
        ...{ x: ({ cycle }) => cycle + 0.16, y: "twin", symbol: "square", r: 4.5 },
        fill: "var(--grey)",
        stroke: "var(--paper)",
        strokeWidth: 0.8,
        ariaDescription: ARM_NAMES.unpruned_twin,
        title: ({ cycle, twin }) => `cycle ${cycle}, unpruned twin: ${signed(twin!)}`,
      }),
      ...(roomy ? numbers : []),
      key(
        [
          { label: "pruning", sample: arrowSample("var(--pruning)", true) },
          { label: "fine-tuning", sample: arrowSample("var(--finetuning)", false) },
          ...(twins.length > 0
            ? [{
              label: "unpruned twin, over the same steps",
              sample: symbolSample("square", "var(--grey)", true),
            }]
            : []),
        ],
        78,
        12,
      ),
    ],
  }, {
    id: "impact",
    title: "Impact and recovery",
    description: rises.map((cycle) =>
      `Cycle ${cycle.cycle}: pruning ${plural(cycle.pruned_heads.length, "head")} changed the ` +
      `validation loss by ${signed(cycle.impact)}` +
      (measured(cycle.after) ? `, after fine-tuning it stood at ${signed(cycle.after)}` : "")
    ).join("; ") + ".",
  });
}

/** Changes of the loss since before a cycle: by pruning, and after fine-tuning too. */
function riseOf({ loss_before, loss_after_pruning, loss_after_finetuning }: CycleResult) {
  const after = measured(loss_after_finetuning) ? loss_after_finetuning - loss_before : undefined;
  return { impact: loss_after_pruning - loss_before, after };
}

/** What fine-tuning brought back of what pruning cost; nothing where pruning cost nothing. */
export function recovery(cycle: CycleResult): string | undefined {
  const { impact, after } = riseOf(cycle);
  if (!(impact > 0) || !measured(after)) return undefined;
  const share = (impact - after) / impact;
  return share > 1 ? "more than all" : percent(share, 0);
}

/** A cycle's impact, signed. */
export function impact(cycle: CycleResult): string | undefined {
  return minus(cycle.loss_after_pruning, cycle.loss_before);
}

function minusOf(value: number | undefined, other: number): number | undefined {
  return measured(value) ? value - other : undefined;
}

function arrowSample(colour: string, up: boolean): SvgPart[] {
  const head = up ? "M11,-2L7,4M11,-2L15,4" : "M11,12L7,6M11,12L15,6";
  return [["path", { d: `M11,-2V12${head}`, stroke: colour, "stroke-width": 1.6, fill: "none" }]];
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
