/**
 * The curves under the timeline: difference from the unpruned twin, validation loss with its
 * perplexity, and the heads that are left.
 *
 * @module
 */

import type { RunRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import { armKey, armLine, armsWith, axes, FRAME, pruneRules, stepDomain } from "./frame.ts";
import {
  activeCurve,
  differenceFromTwin,
  extent,
  headGrid,
  smooth,
  smoothingRadius,
  thin,
  trainingCurve,
  validationCurve,
} from "./series.ts";
import { draw, key, type KeyItem, lineSample } from "./svg.ts";
import { ARM_NAMES, ARM_STROKES, loss, percent, perplexity, signed } from "./theme.ts";

const TOP = 32;

/**
 * Draws validation loss minus the unpruned twin's at the same step, and, thin, the same of the
 * training loss; nothing where there is no twin.
 */
export function differenceFigure(run: RunRecord): string | undefined {
  const arms = (["random_pruning", "pruned"] as const).map((arm) => ({
    arm,
    validation: differenceFromTwin(run, arm, validationCurve),
    training: smoothed(differenceFromTwin(run, arm, trainingCurve)),
  })).filter(({ validation, training }) => validation.length + training.length > 0);
  if (arms.length === 0) return undefined;
  const ends = arms.flatMap(({ arm, validation }) => {
    const last = validation.at(-1);
    return last ? [`${ARM_NAMES[arm]} ${signed(last.value)} at step ${last.step}`] : [];
  });
  const trained = arms.some(({ training }) => training.length > 0);
  const items: KeyItem[] = [
    ...armKey(run, ["unpruned_twin", ...arms.map(({ arm }) => arm)]),
    ...(trained
      ? [{ label: "training loss, smoothed", sample: lineSample("var(--ink)", 0.7) }]
      : []),
  ];
  return draw({
    ...panel(run, 240),
    y: { zero: true, nice: true },
    marks: [
      ...axes("loss minus the twin’s, nats per token", stepDomain(run)[1]),
      ...pruneRules(run),
      Plot.ruleY([0], {
        stroke: "var(--grey)",
        strokeWidth: 1.5,
        ariaDescription: ARM_NAMES.unpruned_twin,
      }),
      ...arms.map(({ arm, training }) =>
        Plot.line(thin(training), {
          x: "step",
          y: "value",
          z: "segment",
          ...ARM_STROKES[arm],
          strokeWidth: 0.7,
          strokeOpacity: 0.8,
          ariaDescription: `${ARM_NAMES[arm]}, training loss`,
        })
      ),
      ...arms.flatMap(({ arm, validation }) => armLine(arm, validation)),
      keyRow(items),
    ],
  }, {
    id: "difference",
    title: "Difference from the unpruned twin",
    description:
      `Loss minus that of the unpruned twin at the same step, in nats per token; below ` +
      `zero is better than the twin. Last on validation text: ${ends.join("; ") || "none"}.`,
  });
}

/** Draws validation loss over steps, with perplexity as a second scale on the right. */
export function validationFigure(run: RunRecord): string | undefined {
  const arms = armsWith(run, validationCurve).map((arm) => ({
    arm,
    points: validationCurve(run, arm),
  }));
  if (arms.length === 0) return undefined;
  const ends = arms.map(({ arm, points }) => {
    const { step, value } = points.at(-1)!;
    return `${ARM_NAMES[arm]} ${loss(value)} (perplexity ${
      perplexity(Math.exp(value))
    }) at step ${step}`;
  });
  const values = arms.flatMap(({ points }) => points.map(({ value }) => value));
  const domain = padded(extent(values));
  return draw({
    ...panel(run, 240),
    y: { domain },
    marks: [
      ...axes("validation loss, nats per token", stepDomain(run)[1]),
      Plot.axisY(perplexityTicks(domain, 240).map(Math.log), {
        anchor: "right",
        label: "validation perplexity",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
        tickFormat: (value: number) => String(Number(Math.exp(value).toPrecision(4))),
      }),
      ...pruneRules(run),
      ...arms.flatMap(({ arm, points }) => armLine(arm, points)),
      keyRow(armKey(run, arms.map(({ arm }) => arm))),
    ],
  }, {
    id: "validation",
    title: "Validation loss and perplexity",
    description: `Last values: ${ends.join("; ")}.`,
  });
}

/** Draws how many heads are computed over steps, with the share removed on the right. */
export function sparsityFigure(run: RunRecord): string | undefined {
  const arms = armsWith(run, activeCurve).map((arm) => ({ arm, points: activeCurve(run, arm) }));
  const total = totalHeads(run);
  if (arms.length === 0 || total === undefined) return undefined;
  const shares = [0, 0.25, 0.5, 0.75, 1].filter((share) => Number.isInteger(total * share));
  const last = arms.at(-1)!.points.at(-1)!;
  return draw({
    ...panel(run, 130),
    y: { domain: [0, total] },
    marks: [
      ...axes("active heads", stepDomain(run)[1], shares.map((share) => total * share)),
      Plot.axisY(shares.map((share) => total * (1 - share)), {
        anchor: "right",
        label: "sparsity",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
        tickFormat: (heads: number) => percent(1 - heads / total),
      }),
      ...pruneRules(run),
      ...arms.flatMap(({ arm, points }) =>
        armLine(arm, points, { curve: "step-after", dots: false })
      ),
      keyRow(armKey(run, arms.map(({ arm }) => arm))),
    ],
  }, {
    id: "sparsity",
    title: "Active heads and sparsity",
    description: `${last.value} of ${total} heads are active at step ${last.step}.`,
  });
}

/** Size and step axis of a panel whose curves are so many pixels high. */
function panel(run: RunRecord, pixels: number) {
  return {
    ...FRAME.size,
    height: TOP + pixels + FRAME.bottom,
    marginTop: TOP,
    marginBottom: FRAME.bottom,
    x: { domain: stepDomain(run) },
  };
}

function keyRow(items: readonly KeyItem[]) {
  return key(items, FRAME.size.marginLeft, 12);
}

/** How many heads the full model has: as reported, or as many as the records show. */
export function totalHeads(run: RunRecord): number | undefined {
  if (run.results?.total_heads) return run.results.total_heads;
  const grid = headGrid(run);
  const most = extent([0, ...run.metrics.map((row) => row.active_heads ?? 0)])[1];
  return Math.max(most, grid ? grid.L * grid.NH : 0) || undefined;
}

function smoothed(points: ReturnType<typeof differenceFromTwin>) {
  const radius = smoothingRadius(points.length);
  return radius > 0 ? smooth(points, radius) : points;
}

function padded([low, high]: [number, number]): [number, number] {
  const pad = (high - low) * 0.06 || 0.05;
  return [low - pad, high + pad];
}

/** Round perplexities between the ends of a range of losses, at least 14 pixels apart. */
function perplexityTicks([low, high]: [number, number], pixels: number): number[] {
  const from = Math.exp(low), to = Math.exp(high);
  const between = (ticks: number[]) => ticks.filter((tick) => tick >= from && tick <= to);
  if (to / from > 6) {
    const powers = Array.from({ length: 12 }, (_, power) => 10 ** power);
    return between(powers.flatMap((power) => [power, 2 * power, 5 * power]));
  }
  // On this axis equal steps of perplexity stand closest at the top.
  const least = to * (1 - Math.exp(-14 * (high - low) / pixels));
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= least)!;
  const first = Math.ceil(from / step);
  return between(Array.from({ length: 60 }, (_, i) => (first + i) * step));
}
