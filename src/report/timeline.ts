/**
 * The process timeline: training loss over the phases of a run, with every pruning marked.
 *
 * @module
 */

import type { Phase, RunRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import {
  armsWith,
  axes,
  FRAME,
  pruneRules,
  stepDomain,
  stepToPixel,
  trainingWindow,
} from "./frame.ts";
import {
  type Band,
  extent,
  phaseBands,
  pruneMarks,
  smooth,
  smoothingRadius,
  stabilityMarks,
  thin,
  trainingCurve,
  validationCurve,
} from "./series.ts";
import { draw, key, type KeyItem, lineSample, pixels, type SvgPart, textWidth } from "./svg.ts";
import { ARM_NAMES, ARM_STROKES, measured, PHASE_NAMES, plural } from "./theme.ts";

/** Where the rows above the plot stand, in pixels from the top of the figure. */
const ROWS = { key: 12, phaseKey: 32, moments: 42, phases: 62, plot: 72 };

/** How a phase's band is hatched, and its stripe dashed, so that it is known without colour. */
const HATCHES: Record<Phase, { hatch?: string; dash?: string }> = {
  warmup: { hatch: "M0,8L8,0" },
  analysis: { hatch: "M4,3.5v1", dash: "2,3" },
  pruning: { hatch: "M0,0L8,8M0,8L8,0" },
  finetuning: {},
  evaluation: { hatch: "M0,4H8", dash: "8,4" },
};

/** Draws the timeline; nothing where no training loss was recorded. */
export function timelineFigure(run: RunRecord): string | undefined {
  const raw = trainingCurve(run, "pruned");
  if (raw.length === 0) return undefined;
  const bands = phaseBands(run);
  const radius = smoothingRadius(raw.length);
  const evaluations = validationCurve(run, "pruned");
  const controls = armsWith(run, trainingCurve).filter((arm) => arm !== "pruned");
  const stable = stabilityMarks(run);
  const controlCurves = controls.map((arm) => ({
    arm,
    points: smooth(trainingCurve(run, arm), radius),
  }));
  const labels = [momentLabels(run, bands), phaseLabels(run, bands)];
  // A phase that no label names for want of room is named in a second row of the key.
  const named = labels.flat().map(([, , label]) => label ?? "").join(" ");
  const unnamed = [...new Set(bands.map(({ phase }) => phase))]
    .filter((phase) => !named.includes(phase === "pruning" ? "pruned" : PHASE_NAMES[phase]));
  const shift = unnamed.length > 0 ? 20 : 0;
  const height = ROWS.plot + shift + 300 + FRAME.bottom;
  const values = [raw, evaluations, ...controlCurves.map(({ points }) => points)]
    .flatMap((points) => points.map(({ value }) => value));
  const options = { x: "step", y: "value", z: "segment" } as const;

  return draw({
    ...FRAME.size,
    height,
    marginTop: ROWS.plot + shift,
    marginBottom: FRAME.bottom,
    x: { domain: stepDomain(run) },
    y: { domain: extent(values), nice: true },
    marks: [
      pixels(hatchDefinitions()),
      ...bandMarks(bands),
      ...axes("loss, nats per token", stepDomain(run)[1]),
      ...pruneRules(run),
      Plot.ruleX(stable, { x: "step", stroke: "var(--ink)", strokeDasharray: "6,4" }),
      pixels(...stable.map(({ step }) => stabilityLabel(run, step, height))),
      ...controlCurves.map(({ arm, points }) =>
        Plot.line(thin(points), {
          ...options,
          ...ARM_STROKES[arm],
          strokeWidth: 1.4,
          ariaDescription: `${ARM_NAMES[arm]}, training loss`,
        })
      ),
      Plot.line(thin(raw), {
        ...options,
        stroke: "var(--ink)",
        strokeWidth: 0.6,
        strokeOpacity: 0.4,
        ariaDescription: "training loss of each step",
      }),
      radius > 0
        ? Plot.line(thin(smooth(raw, radius)), {
          ...options,
          stroke: "var(--ink)",
          strokeWidth: 1.9,
          ariaDescription: "training loss, smoothed",
        })
        : null,
      Plot.dot(evaluations, {
        x: "step",
        y: "value",
        r: 2.4,
        fill: "var(--paper)",
        stroke: "var(--ink)",
        strokeWidth: 1.1,
        ariaDescription: "validation loss",
      }),
      pixels(["g", { transform: `translate(0,${shift})` }, undefined, labels.flat()]),
      key(keyItems(radius, controls, evaluations.length > 0), 64, ROWS.key),
      key(unnamed.map((phase) => phaseKeyItem(phase, bands)), 64, ROWS.phaseKey),
    ],
  }, {
    id: "timeline",
    title: "Process timeline",
    description: describe(run, bands),
  });
}

/** Says how the timeline is to be read. */
export function timelineCaption(run: RunRecord): string {
  const window = trainingWindow(run);
  const reasons = stabilityMarks(run).map(({ step, reason }) => `step ${step} (${reason})`);
  return "Training loss of every step, thin" +
    (window > 1 ? `, and the mean of ${window} steps around it, never across a pruning` : "") +
    ". Circles: validation loss, of text that no step was trained on and so higher. A phase that takes no training step is a stripe." +
    (reasons.length > 0 ? ` Warm-up was called stable at ${reasons.join(", ")}.` : "");
}

function bandMarks(bands: readonly Band[]): Plot.Markish[] {
  const wide = bands.filter(({ start, end }) => end > start);
  const rect = { x1: "start", x2: "end" } as const;
  return [
    Plot.rectX(wide, {
      ...rect,
      fill: (band: Band) => `var(--${band.phase})`,
      fillOpacity: 0.13,
      ariaDescription: "phase band",
    }),
    Plot.rectX(wide.filter(({ phase }) => HATCHES[phase].hatch), {
      ...rect,
      fill: (band: Band) => `url(#timeline-${band.phase})`,
      ariaDescription: "phase hatch",
    }),
    Plot.ruleX(wide.slice(1), { x: "start", stroke: "var(--grey)", strokeWidth: 0.7 }),
    ...stripes(bands).map(({ phase, start, offset }) =>
      Plot.ruleX([start], {
        stroke: `var(--${phase})`,
        strokeWidth: 5,
        strokeOpacity: 0.55,
        strokeDasharray: HATCHES[phase].dash,
        strokeLinecap: "butt",
        dx: offset,
        ariaDescription: "phase stripe",
      })
    ),
  ];
}

/** Phases without a training step, those of one step side by side, with a gap for the dotted mark. */
function stripes(bands: readonly Band[]): (Band & { offset: number; group: Band[] })[] {
  return bands.filter(({ start, end }) => start === end).map((band, _, all) => {
    const group = all.filter(({ start }) => start === band.start);
    return { ...band, group, offset: (group.indexOf(band) - (group.length - 1) / 2) * 9 };
  });
}

/** Names the wide bands above the plot, or numbers them by cycle where there is less room. */
function phaseLabels(run: RunRecord, bands: readonly Band[]): SvgPart[] {
  const cycles = Math.max(0, ...bands.map(({ cycle }) => cycle));
  return bands.filter(({ start, end }) => end > start).flatMap(({ phase, cycle, start, end }) => {
    const from = stepToPixel(run, start), to = stepToPixel(run, end);
    const name = PHASE_NAMES[phase];
    const label = [cycles > 1 && cycle > 0 ? `${name} ${cycle}` : name, name, String(cycle)]
      .find((text) => textWidth(text) < to - from - 4);
    if (label === undefined) return [];
    return [text(label, (from + to) / 2, ROWS.phases, `var(--${phase})`)];
  });
}

/** Names what happened at one step, above the stripes: as many words as there is room for. */
function momentLabels(run: RunRecord, bands: readonly Band[]): SvgPart[] {
  const moments = new Map<number, Moment>();
  for (const { step, heads } of pruneMarks(run)) {
    moments.set(step, { step, heads, phases: [], colour: "var(--pruning)" });
  }
  for (const { start, phase } of stripes(bands)) {
    const colour = `var(--${phase})`;
    const moment = moments.get(start) ?? { step: start, heads: 0, phases: [], colour };
    moment.phases.push(PHASE_NAMES[phase]);
    moments.set(start, moment);
  }
  const inOrder = [...moments.values()].sort((a, b) => a.step - b.step);
  const settings = WORDINGS.map((wording) =>
    inOrder.map((moment) => {
      const label = wording(moment), width = textWidth(label);
      // Labels near an edge keep inside the figure.
      const x = Math.min(
        Math.max(stepToPixel(run, moment.step), width / 2),
        FRAME.size.width - width / 2 - 2,
      );
      return { ...moment, label, x, from: x - width / 2, to: x + width / 2 };
    })
  );
  const fits = settings.find((labels) =>
    labels.every(({ from }, i) => i === 0 || from > labels[i - 1].to + 6)
  );
  return (fits ?? []).map(({ label, x, colour }) => text(label, x, ROWS.moments, colour));
}

interface Moment {
  step: number;
  heads: number;
  phases: string[];
  colour: string;
}

/** From the fullest to the shortest: all labels of a figure keep to one. */
const WORDINGS = [
  ({ heads, phases }: Moment) =>
    [
      ...phases.filter((phase) => heads === 0 || phase !== "pruning"),
      ...(heads > 0 ? [`${plural(heads, "head")} pruned`] : []),
    ].join(", "),
  ({ heads, phases }: Moment) => heads > 0 ? plural(heads, "head") : phases.join(", "),
  ({ heads }: Moment) => heads > 0 ? `−${heads}` : "",
];

function stabilityLabel(run: RunRecord, step: number, height: number): SvgPart {
  const x = stepToPixel(run, step), label = "stable";
  const right = x - textWidth(label) - 8 < FRAME.size.marginLeft;
  return [
    "text",
    {
      x: x + (right ? 5 : -5),
      y: height - FRAME.bottom - 8,
      "text-anchor": right ? "start" : "end",
      stroke: "var(--paper)",
      "stroke-width": 3,
      "paint-order": "stroke",
      fill: "var(--ink)",
    },
    label,
  ];
}

function text(label: string, x: number, y: number, fill: string): SvgPart {
  return ["text", { x, y, fill, "text-anchor": "middle" }, label];
}

function hatchDefinitions(): SvgPart {
  return [
    "defs",
    {},
    undefined,
    Object.entries(HATCHES).flatMap(([phase, { hatch }]): SvgPart[] =>
      hatch === undefined ? [] : [[
        "pattern",
        { id: `timeline-${phase}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" },
        undefined,
        [["path", { d: hatch, stroke: `var(--${phase})`, "stroke-opacity": 0.28, fill: "none" }]],
      ]]
    ),
  ];
}

const THIN = { fill: "none", stroke: "var(--ink)", "stroke-width": 0.6, "stroke-opacity": 0.6 };

function keyItems(
  radius: number,
  controls: readonly (keyof typeof ARM_NAMES)[],
  evaluated: boolean,
): KeyItem[] {
  const circle: SvgPart = [
    "circle",
    { cx: 11, cy: 5, r: 2.4, fill: "var(--paper)", stroke: "var(--ink)", "stroke-width": 1.1 },
  ];
  return [
    {
      label: "training loss",
      sample: [["path", { d: "M0,7L4,2L7,8L11,3L14,6L18,1L22,5", ...THIN }]],
    },
    ...(radius > 0 ? [{ label: "smoothed", sample: lineSample("var(--ink)", 1.9) }] : []),
    ...(evaluated ? [{ label: "validation loss", sample: [circle] }] : []),
    ...controls.map((arm) => ({
      label: ARM_NAMES[arm],
      sample: lineSample("var(--grey)", 1.6, ARM_STROKES[arm].strokeDasharray),
    })),
  ];
}

/** A piece of a phase's band, or of its stripe where it took no step. */
function phaseKeyItem(phase: Phase, bands: readonly Band[]): KeyItem {
  const colour = `var(--${phase})`, box = { x: 3, y: -1, width: 16, height: 12 };
  const { hatch, dash } = HATCHES[phase];
  const wide = bands.some((band) => band.phase === phase && band.end > band.start);
  const band: SvgPart[] = [
    ["rect", { ...box, fill: colour, "fill-opacity": 0.13, stroke: "var(--grey)" }],
    ...(hatch ? [["rect", { ...box, fill: `url(#timeline-${phase})` }] as SvgPart] : []),
  ];
  const stripe = { x1: 11, x2: 11, y1: -2, y2: 12, "stroke-width": 5, "stroke-opacity": 0.55 };
  const line = { ...stripe, stroke: colour, ...(dash ? { "stroke-dasharray": dash } : {}) };
  return { label: PHASE_NAMES[phase], sample: wide ? band : [["line", line]] };
}

function describe(run: RunRecord, bands: readonly Band[]): string {
  const phases = bands.map(({ phase, cycle, start, end }) =>
    `${PHASE_NAMES[phase]}${cycle > 0 ? ` ${cycle}` : ""} at steps ${start} to ${end}`
  );
  const prunings = pruneMarks(run).map(({ step, heads }) =>
    `${plural(heads, "head")} pruned at step ${step}`
  );
  const losses = run.metrics.filter((row) => row.arm === "pruned" && measured(row.loss));
  const ends = [losses[0], losses.at(-1)].map((row) => row?.loss?.toFixed(3));
  return [`Training loss goes from ${ends[0]} to ${ends[1]} nats per token`, ...phases, ...prunings]
    .join("; ") + ".";
}
