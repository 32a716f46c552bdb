/**
 * Every figure of a run, from its records alone. Each is an SVG string that stands on its own, and
 * absent where nothing was measured to draw it from.
 *
 * @module
 */

import type { RunRecord } from "../record.ts";
import { differenceFigure, sparsityFigure, validationFigure } from "./curves.ts";
import { cyclesFigure, gatesFigure } from "./cycles.ts";
import { trainingWindow } from "./frame.ts";
import { deathsFigure, entropyFigure, gradientFigure, mapCaption } from "./maps.ts";
import type { PageFigure } from "./parts.ts";
import { lastSnapshot } from "./series.ts";
import { timelineCaption, timelineFigure } from "./timeline.ts";

export {
  cyclesFigure,
  deathsFigure,
  differenceFigure,
  entropyFigure,
  gatesFigure,
  gradientFigure,
  sparsityFigure,
  timelineFigure,
  validationFigure,
};

/** A figure of a run, and `figures/<name>.svg`. */
export interface Figure extends PageFigure {
  name: FigureName;
}

/** The figures of a report, in the order of the page. */
export const FIGURE_NAMES = [
  "timeline",
  "difference",
  "validation",
  "sparsity",
  "entropy",
  "gradient",
  "deaths",
  "gates",
  "cycles",
] as const;

/** The name of one of them. */
export type FigureName = typeof FIGURE_NAMES[number];

interface Recipe {
  title: string;
  draw(run: RunRecord): string | undefined;
  caption(run: RunRecord): string;
}

const RECIPES: Record<FigureName, Recipe> = {
  timeline: { title: "Process timeline", draw: timelineFigure, caption: timelineCaption },
  difference: {
    title: "Difference from the unpruned twin",
    draw: differenceFigure,
    caption: (run) => {
      const window = trainingWindow(run);
      return "Below zero is better than the twin, which took the same batches for the same steps. " +
        "Dots: validation loss. Thin: training loss on the same batch" +
        (window > 1 ? `, mean of about ${window} steps.` : ".");
    },
  },
  validation: {
    title: "Validation loss and perplexity",
    draw: validationFigure,
    caption: () => "Perplexity is exp(loss): one curve, two scales.",
  },
  sparsity: {
    title: "Active heads and sparsity",
    draw: sparsityFigure,
    caption: (run) =>
      "Heads that are computed." +
      (run.metrics.some(({ arm }) => arm === "random_pruning")
        ? " Random pruning removes as many as the pruned model, at the same steps."
        : ""),
  },
  entropy: {
    title: "Attention entropy",
    draw: entropyFigure,
    caption: (run) => mapCaption(run, "entropy"),
  },
  gradient: {
    title: "Gradient norm",
    draw: gradientFigure,
    caption: (run) => mapCaption(run, "grad_norm"),
  },
  deaths: {
    title: "Which heads died when",
    draw: deathsFigure,
    caption: () => "The number is the cycle that pruned the head; an empty cell is a live head.",
  },
  gates: {
    title: "The controller’s gates",
    draw: gatesFigure,
    caption: (run) => `At step ${lastSnapshot(run, "gate")?.step}, one stroke for each head.`,
  },
  cycles: {
    title: "Loss by cycle",
    draw: cyclesFigure,
    caption: (run) =>
      "On validation text." +
      (run.results?.cycles.some((cycle) => cycle.unpruned_twin_loss !== undefined)
        ? " The controls stand beside the fine-tuned model: same step, same batches."
        : ""),
  },
};

/** Draws every figure that the records allow. */
export function drawFigures(run: RunRecord): Figure[] {
  return FIGURE_NAMES.flatMap((name) => {
    const { title, draw, caption } = RECIPES[name];
    const svg = draw(run);
    return svg === undefined ? [] : [{ name, title, caption: caption(run), svg }];
  });
}
