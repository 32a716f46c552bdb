/**
 * Every figure of a run, from its records alone. Each is an SVG string that stands on its own, and
 * absent where nothing was measured to draw it from.
 *
 * @module
 */

import type { RunRecord } from "../record.ts";
import { differenceFigure, sparsityFigure, totalHeads, validationFigure } from "./curves.ts";
import { cyclesOf } from "./cycle_results.ts";
import { cyclesFigure, impactFigure } from "./cycles.ts";
import { trainingWindow } from "./frame.ts";
import { gatesFigure } from "./gates.ts";
import { lifeCycles, lifeFigure } from "./life.ts";
import { changesTable, gatesTable, headsLeftTable, lossesTable, phasesTable } from "./numbers.ts";
import { drawRecipes, mapRecipe, type NamedFigure, type Recipe } from "./recipe.ts";
import { timelineCaption, timelineFigure } from "./timeline.ts";
import { warmupCaption, warmupFigure, warmupTable } from "./warmup.ts";

/** How they are made, in the order of the page. */
const RECIPES = {
  timeline: {
    title: "Process timeline",
    draw: timelineFigure,
    caption: timelineCaption,
    numbers: phasesTable,
  },
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
    numbers: lossesTable,
  },
  sparsity: {
    title: "Active heads and sparsity",
    draw: sparsityFigure,
    caption: (run) =>
      "Heads that are computed." +
      (run.metrics.some(({ arm }) => arm === "random_pruning")
        ? " Random pruning removes as many as the pruned model, at the same steps."
        : ""),
    numbers: (run) => headsLeftTable(run, totalHeads(run)!),
  },
  warmup: {
    title: "Warm-up",
    draw: warmupFigure,
    caption: warmupCaption,
    numbers: warmupTable,
  },
  impact: {
    title: "Impact and recovery",
    draw: impactFigure,
    caption: (run) =>
      "Validation loss less that before the cycle’s pruning, in nats per token. Training alone " +
      "lowers the loss too" +
      (hasTwin(run) ? ": the square is what it did for the unpruned twin in the same steps." : "."),
  },
  cycles: {
    title: "Loss by cycle",
    draw: cyclesFigure,
    caption: (run) =>
      "On validation text." +
      (hasTwin(run)
        ? " The controls stand beside the fine-tuned model: same step, same batches."
        : ""),
  },
  entropy: mapRecipe("entropy"),
  gradient: mapRecipe("gradient"),
  importance: mapRecipe("importance"),
  life: {
    title: "The life of every head",
    draw: (run) => lifeFigure({ cycles: lifeCycles(run), events: run.events }),
    caption: () =>
      "Layer and head on the left, the start and the cycles on top. The signs say what a cycle did.",
    numbers: changesTable,
  },
  gates: {
    title: "The controller’s gates",
    draw: gatesFigure,
    caption: () => "One stroke for each live head, moment by moment.",
    numbers: gatesTable,
  },
} satisfies Record<string, Recipe<RunRecord>>;

function hasTwin(run: RunRecord): boolean {
  return cyclesOf(run).some((cycle) => cycle.unpruned_twin_loss !== undefined);
}

/** The name of a figure. */
export type FigureName = keyof typeof RECIPES;

/** A figure of a run, and `figures/<name>.svg`. */
export type Figure = NamedFigure<FigureName>;

/** The figures of a report, in the order of the page. */
export const FIGURE_NAMES = Object.keys(RECIPES) as FigureName[];

/** Draws every figure that the records allow. */
export function drawFigures(run: RunRecord): Figure[] {
  return drawRecipes(RECIPES, run);
}
