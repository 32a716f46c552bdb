/**
 * The page of an integrated run, from its records alone.
 *
 * @module
 */

import type { IntegrationRecord } from "../record.ts";
import type { Page } from "./document.ts";
import { glanceFigure, headsLeftFigure } from "./glance.ts";
import type { Html } from "./html.ts";
import { integrationHeading } from "./integration.ts";
import { controllerTable, cyclesTables, memoryHtml } from "./integration_tables.ts";
import { lifeFigure } from "./life.ts";
import { dataTables, figureHtml, type PageFigure, pair, recordTable, section } from "./parts.ts";
import { predictionsFigure, predictionsHtml } from "./predictions.ts";
import { ratingsFigure } from "./strategies.ts";
import { measured } from "./theme.ts";

/** The figures of the page, in its order. */
export const INTEGRATION_FIGURES = [
  "glance",
  "left",
  "life",
  "pruning-ratings",
  "growth-ratings",
  "predictions",
] as const;

type Name = typeof INTEGRATION_FIGURES[number];

interface Recipe {
  title: string;
  draw(run: IntegrationRecord): string | undefined;
  caption(run: IntegrationRecord): string;
}

const RECIPES: Record<Name, Recipe> = {
  glance: {
    title: "Validation loss",
    draw: glanceFigure,
    caption: (run) =>
      "From before pruning to after training, in each cycle." +
      (run.cycles.some((cycle) => cycle.unpruned_twin_loss !== undefined)
        ? " The controls stand beside the trained model: same step, same batches."
        : "") +
      (rolledBack(run)
        ? " A dashed path was undone: the arrow leads back to where it began."
        : "") +
      best(run),
  },
  left: {
    title: "Heads left",
    draw: headsLeftFigure,
    caption: () => "Heads that are computed, on the same stages.",
  },
  life: {
    title: "The life of every head",
    draw: lifeFigure,
    caption: (run) =>
      "Layer and head on the left, the start and the cycles on top. The signs say what a cycle did." +
      (rolledBack(run) ? " What stands in brackets was undone by a rollback." : ""),
  },
  "pruning-ratings": {
    title: "Pruning strategies",
    draw: (run) => ratingsFigure(run, "pruning"),
    caption: () => "The higher its rating, the likelier a strategy is drawn.",
  },
  "growth-ratings": {
    title: "Growth strategies",
    draw: (run) => ratingsFigure(run, "growth"),
    caption: () =>
      "All begin at 1, random at 0.5. A success raises the rating, a rollback lowers it.",
  },
  predictions: {
    title: "Predicted and measured",
    draw: predictionsFigure,
    caption: () =>
      "A mark for each head whose gate a round moved. On the dashed line it came as predicted. What is " +
      "measured of a round is shared out to its heads by their gate gradients.",
  },
};

function rolledBack({ cycles }: IntegrationRecord): boolean {
  return cycles.some(({ success }) => !success);
}

function best({ results }: IntegrationRecord): string {
  if (!measured(results?.best_cycle)) return "";
  return results.best_cycle === 0
    ? " The best model is that of the start."
    : ` The best model, by perplexity and heads together, is that of cycle ${results.best_cycle}.`;
}

/** Draws the page of an integrated run and its figures. What the records do not hold is left out. */
export function renderIntegration(run: IntegrationRecord): Page {
  const figures = INTEGRATION_FIGURES.flatMap((name): PageFigure[] => {
    const { title, draw, caption } = RECIPES[name];
    const svg = draw(run);
    return svg === undefined ? [] : [{ name, title, caption: caption(run), svg }];
  });
  const show = (name: Name, named = true): Html[] =>
    figures.filter((figure) => figure.name === name).map((figure) => figureHtml(figure, named));
  const { cycles, config } = run;
  const model = config.model_name;
  const any = cycles.length > 0;
  const body = [
    section("Cycles at a glance", [...show("glance"), ...show("left")]),
    section("Cycles", any && cyclesTables(cycles)),
    section("The life of every head", show("life", false)),
    section(
      "Ratings of strategies",
      any && [
        pair([...show("pruning-ratings"), ...show("growth-ratings")]),
      ],
    ),
    section("What it remembers", memoryHtml(run.memory)),
    section(
      "What the controller predicted, and what came",
      predictionsHtml(run, show("predictions", false)[0]),
    ),
    section("The controller", any && controllerTable(cycles)),
    section("Configuration", recordTable(config)),
    section("Environment", recordTable(run.environment)),
    section("Data", dataTables(run.data)),
  ];
  return {
    title: `Pollard integrated run${typeof model === "string" ? `: ${model}` : ""}`,
    ...integrationHeading(run),
    ...{ body, figures, names: INTEGRATION_FIGURES },
  };
}
