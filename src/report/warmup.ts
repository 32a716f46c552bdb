/**
 * How the warm-up settled: its losses, smoothed, and what each third of it still learned.
 *
 * @module
 */

import { SMOOTHING, warmupSegments } from "../plasticity/warmup.ts";
import type { RunRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import { axes, FRAME } from "./frame.ts";
import type { Html } from "./html.ts";
import { table } from "./parts.ts";
import { phaseBands, stabilityMarks, thin, trainingCurve } from "./series.ts";
import { draw, key, lineSample } from "./svg.ts";
import { loss, percent } from "./theme.ts";

interface Smoothed {
  step: number;
  value: number;
}

/** A third of the warm-up, as a figure shows it. */
export interface Third {
  name: string;
  from: number;
  to: number;
  first: number;
  last: number;
  improvement: number;
  learning: boolean;
}

/** Training losses of the warm-up, in order; none where there was none. */
function warmupCurve(run: RunRecord) {
  const end = phaseBands(run).find(({ phase }) => phase === "warmup")?.end ?? 0;
  return trainingCurve(run, "pruned").filter(({ step }) => step <= end);
}

/** The warm-up in thirds; none where it was too short. */
export function warmupThirds(run: RunRecord): Third[] {
  const curve = warmupCurve(run);
  let from = 0;
  return warmupSegments(curve.map(({ value }) => value)).map((segment, i) => {
    const steps = curve.slice(from, from += segment.steps);
    return {
      name: ["first third", "middle third", "last third"][i],
      from: steps[0].step,
      to: steps[steps.length - 1].step,
      first: segment.first_loss,
      last: segment.last_loss,
      improvement: segment.improvement,
      learning: segment.still_improving,
    };
  });
}

/** Draws the warm-up's losses; nothing where there was none, or too few to say anything. */
export function warmupFigure(run: RunRecord): string | undefined {
  const curve = warmupCurve(run), thirds = warmupThirds(run);
  if (thirds.length === 0) return undefined;
  const smoothed = Array.from(
    { length: Math.floor(curve.length / SMOOTHING) },
    (_, i): Smoothed => {
      const part = curve.slice(i * SMOOTHING, (i + 1) * SMOOTHING);
      const value = part.reduce((sum, point) => sum + point.value, 0) / part.length;
      return { step: part[part.length - 1].step - (part.length - 1) / 2, value };
    },
  );
  const last = curve[curve.length - 1].step;
  const stable = stabilityMarks(run).filter(({ step }) => step <= last);
  return draw({
    ...FRAME.size,
    height: 280,
    marginTop: 32,
    marginBottom: FRAME.bottom,
    x: { domain: [0, last] },
    y: { nice: true },
    marks: [
      ...axes("training loss, nats per token", last),
      Plot.ruleX(thirds.slice(1).map(({ from }) => from - 0.5), { stroke: "var(--rule)" }),
      Plot.ruleX(stable, { x: "step", stroke: "var(--ink)", strokeDasharray: "6,4" }),
      Plot.line(thin(curve), {
        x: "step",
        y: "value",
        stroke: "var(--ink)",
        strokeWidth: 0.6,
        strokeOpacity: 0.5,
        ariaDescription: "training loss of each step",
      }),
      Plot.line(smoothed, {
        x: "step",
        y: "value",
        stroke: "var(--ink)",
        strokeWidth: 1.8,
        ariaDescription: "training loss, smoothed",
      }),
      Plot.link(thirds, {
        x1: "from",
        x2: "to",
        y1: "first",
        y2: "last",
        stroke: "var(--warmup)",
        strokeWidth: 2.2,
        strokeDasharray: "7,3",
        ariaDescription: "from the first to the last losses of a third",
      }),
      Plot.text(thirds, {
        x: ({ from, to }: Third) => (from + to) / 2,
        frameAnchor: "top",
        dy: 4,
        text: ({ improvement }: Third) =>
          `${percent(Math.abs(improvement))} ${improvement < 0 ? "up" : "down"}`,
        fill: "var(--warmup)",
      }),
      key(
        [
          { label: "training loss", sample: lineSample("var(--ink)", 0.7) },
          { label: `mean of ${SMOOTHING} steps`, sample: lineSample("var(--ink)", 1.8) },
          { label: "by thirds", sample: lineSample("var(--warmup)", 2.2, "7,3") },
          ...(stable.length > 0
            ? [{ label: "called stable", sample: lineSample("var(--ink)", 1, "6,4") }]
            : []),
        ],
        FRAME.size.marginLeft,
        12,
      ),
    ],
  }, {
    id: "warmup",
    title: "Warm-up",
    description: thirds.map(({ name, first, last }) =>
      `${name} from ${loss(first)} to ${loss(last)}`
    )
      .join("; ") + `. ${stableWords(run)}`,
  });
}

/** Why the warm-up ended. */
export function warmupCaption(run: RunRecord): string {
  return `By thirds: from the mean of a third’s first ${SMOOTHING} losses to that of its last. ` +
    stableWords(run);
}

function stableWords(run: RunRecord): string {
  const [mark] = stabilityMarks(run);
  if (mark) return `It was called stable at step ${mark.step}: ${mark.reason}.`;
  return phaseBands(run).length > 1
    ? "It was never called stable: it took all of its steps."
    : "It is not over yet.";
}

/** The thirds in numbers. */
export function warmupTable(run: RunRecord): Html | undefined {
  const thirds = warmupThirds(run);
  if (thirds.length === 0) return undefined;
  return table(
    ["Third", "From step", "To", "First losses", "Last losses", "Drop", "Still learning"],
    thirds.map(({ name, from, to, first, last, improvement, learning }) => [
      name,
      String(from),
      String(to),
      loss(first),
      loss(last),
      percent(improvement),
      learning ? "yes" : "no",
    ]),
    "numbers",
  );
}
