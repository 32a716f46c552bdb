/**
 * What the figures over training steps share, so that they line up one under the other: the same
 * width, margins and horizontal scale, the same dotted marks at prunings.
 *
 * @module
 */

import type { Arm, RunRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import {
  lastStep,
  type Point,
  pruneMarks,
  smoothingRadius,
  thin,
  trainingCurve,
} from "./series.ts";
import { type KeyItem, lineSample } from "./svg.ts";
import { ARM_NAMES, ARM_STROKES } from "./theme.ts";

/** Sizes in pixels. */
export const FRAME = {
  size: { width: 960, marginLeft: 64, marginRight: 64 },
  bottom: 44,
} as const;

/** The steps on the horizontal axis of every figure. */
export function stepDomain(run: RunRecord): [number, number] {
  return [0, Math.max(1, lastStep(run))];
}

/** Where a step stands, in pixels from the left of the figure. */
export function stepToPixel(run: RunRecord, step: number): number {
  const { width, marginLeft, marginRight } = FRAME.size;
  return marginLeft + (width - marginLeft - marginRight) * step / stepDomain(run)[1];
}

/**
 * Both axes, named with their units, over a quiet grid.
 *
 * @param last The last step: few steps have a tick each, and none between them.
 */
export function axes(y: string, last: number, ticks: number | number[] = 6): Plot.Markish[] {
  return [
    Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks }),
    Plot.axisY({ label: y, labelAnchor: "center", labelArrow: "none", tickSize: 0, ticks }),
    Plot.axisX({
      label: "training step",
      labelAnchor: "center",
      labelArrow: "none",
      tickSize: 4,
      tickFormat: "d",
      ticks: last < 10 ? Array.from({ length: last + 1 }, (_, step) => step) : 10,
    }),
  ];
}

/** The cycles on the horizontal axis, by their numbers. */
export function cycleAxis(cycles: readonly { cycle: number }[]): Plot.Markish {
  return Plot.axisX(cycles.map(({ cycle }) => cycle), {
    label: "cycle",
    labelAnchor: "center",
    labelArrow: "none",
    tickSize: 0,
    tickFormat: "d",
  });
}

/** Vertical dotted lines where the pruned arm lost heads. */
export function pruneRules(run: RunRecord): Plot.Markish[] {
  return [Plot.ruleX(pruneMarks(run), {
    x: "step",
    stroke: "var(--pruning)",
    strokeWidth: 1.4,
    strokeDasharray: "1.5,3",
    ariaDescription: "pruning",
  })];
}

/** The arms that a curve has points for: controls first, so that the pruned model is on top. */
export function armsWith(run: RunRecord, curve: (run: RunRecord, arm: Arm) => Point[]): Arm[] {
  const order: Arm[] = ["unpruned_twin", "random_pruning", "pruned"];
  return order.filter((arm) => curve(run, arm).length > 0);
}

/** An arm's line, and its dots where they are few. */
export function armLine(
  arm: Arm,
  points: readonly Point[],
  { curve, dots = true }: { curve?: Plot.CurveName; dots?: boolean } = {},
): Plot.Markish[] {
  const channels = { x: "step", y: "value" } as const;
  const ariaDescription = ARM_NAMES[arm];
  const strokeWidth = arm === "pruned" ? 1.9 : 1.5;
  return [
    Plot.line(thin(points), {
      ...channels,
      ...ARM_STROKES[arm],
      strokeWidth,
      ariaDescription,
      curve,
    }),
    dots && points.length <= 120
      ? Plot.dot(points, { ...channels, fill: ARM_STROKES[arm].stroke, r: 2.2, ariaDescription })
      : null,
  ];
}

/** The key of the arms, and of the pruning mark where there is one. */
export function armKey(run: RunRecord, arms: readonly Arm[]): KeyItem[] {
  const order: Arm[] = ["pruned", "unpruned_twin", "random_pruning"];
  return [
    ...order.filter((arm) => arms.includes(arm)).map((arm) => ({
      label: ARM_NAMES[arm],
      sample: lineSample(ARM_STROKES[arm].stroke, 1.8, ARM_STROKES[arm].strokeDasharray),
    })),
    ...(pruneMarks(run).length > 0
      ? [{ label: "heads pruned", sample: lineSample("var(--pruning)", 1.6, "1.5,3") }]
      : []),
  ];
}

/** How many steps the smoothed training loss averages over; 1 where it is not smoothed. */
export function trainingWindow(run: RunRecord): number {
  return 2 * smoothingRadius(trainingCurve(run, "pruned").length) + 1;
}
