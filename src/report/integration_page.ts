/**
 * The page of an integrated run, from its records alone.
 *
 * @module
 */

import { aboutTable } from "./about.ts";
import type { IntegrationRecord } from "../record.ts";
import type { Page } from "./document.ts";
import { glanceFigure, headsLeftFigure } from "./glance.ts";
import type { Html } from "./html.ts";
import { integrationHeading } from "./integration.ts";
import { controllerTable, cyclesTables, memoryHtml } from "./integration_tables.ts";
import { lifeFigure } from "./life.ts";
import { changesTable } from "./numbers.ts";
import { headsPanel, PANEL_SCRIPT } from "./panel.ts";
import { contents, dataTables, figureHtml, pair, recordTable, section } from "./parts.ts";
import { predictionsFigure, predictionsHtml } from "./predictions.ts";
import { drawRecipes, mapRecipe, type Recipe } from "./recipe.ts";
import { ratingsFigure, ratingsTable } from "./strategies.ts";
import { measured } from "./theme.ts";

/** How the figures of the page are made, in its order. */
const RECIPES = {
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
    numbers: changesTable,
  },
  entropy: mapRecipe("entropy"),
  gradient: mapRecipe("gradient"),
  importance: mapRecipe("importance"),
  "pruning-ratings": {
    title: "Pruning strategies",
    draw: (run) => ratingsFigure(run, "pruning"),
    numbers: (run) => ratingsTable(run, "pruning"),
    caption: () => "The higher its rating, the likelier a strategy is drawn.",
  },
  "growth-ratings": {
    title: "Growth strategies",
    draw: (run) => ratingsFigure(run, "growth"),
    numbers: (run) => ratingsTable(run, "growth"),
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
} satisfies Record<string, Recipe<IntegrationRecord>>;

type Name = keyof typeof RECIPES;

/** The figures of the page, in its order. */
export const INTEGRATION_FIGURES = Object.keys(RECIPES) as Name[];

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
  const figures = drawRecipes(RECIPES, run);
  const show = (name: Name, named = true): Html[] =>
    figures.filter((figure) => figure.name === name).map((figure) => figureHtml(figure, named));
  const { cycles, config } = run;
  const model = config.model_name;
  const any = cycles.length > 0;
  const panel = headsPanel(run);
  const sections = [
    section("Cycles at a glance", [...show("glance"), ...show("left")]),
    section("Cycles", any && cyclesTables(cycles)),
    section("Heads, moment by moment", panel ?? false),
    section("The life of every head", show("life", false)),
    section("Entropy, gradient and importance", [
      ...show("entropy"),
      ...show("gradient"),
      ...show("importance"),
    ]),
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
    section("Run", aboutTable(run)),
    section("Configuration", recordTable(config)),
    section("Environment", recordTable(run.environment)),
    section("Data", dataTables(run.data)),
  ];
  return {
    title: `Pollard integrated run${typeof model === "string" ? `: ${model}` : ""}`,
    ...integrationHeading(run),
    body: [contents(sections), sections],
    ...(panel && { scripts: [PANEL_SCRIPT] }),
    ...{ figures, names: INTEGRATION_FIGURES },
  };
}
