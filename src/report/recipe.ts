/**
 * How the figures of a page are made: each by a recipe, which draws nothing where nothing was measured.
 *
 * @module
 */

import type { Html } from "./html.ts";
import { MAP_TITLES, type MapMetric, mapsCaption, mapsFigure } from "./maps.ts";
import { mapTable } from "./numbers.ts";
import type { PageFigure } from "./parts.ts";
import type { StoryRecords } from "./story.ts";

/** How a figure is made of a run's records. */
export interface Recipe<Run> {
  /** What it shows, in a few words. */
  title: string;
  /** Draws it; nothing where nothing was measured. */
  draw(run: Run): string | undefined;
  /** How to read it. */
  caption(run: Run): string;
  /** The numbers behind it, where no other table of the page holds them. */
  numbers?(run: Run): Html | undefined;
}

/** A figure with a name of its own. */
export type NamedFigure<Name extends string> = PageFigure & { name: Name };

/** Draws every figure that the records allow, in the order of the recipes. */
export function drawRecipes<Run, Name extends string>(
  recipes: Record<Name, Recipe<NoInfer<Run>>>,
  run: Run,
): NamedFigure<Name>[] {
  return (Object.keys(recipes) as Name[]).flatMap((name) => {
    const { title, draw, caption, numbers } = recipes[name];
    const svg = draw(run);
    if (svg === undefined) return [];
    const behind = numbers?.(run);
    return [{ name, title, caption: caption(run), svg, ...(behind && { numbers: behind }) }];
  });
}

/** The maps of a measurement. */
export function mapRecipe(metric: MapMetric): Recipe<StoryRecords> {
  return {
    title: MAP_TITLES[metric],
    draw: (run) => mapsFigure(run, metric),
    caption: (run) => mapsCaption(run, metric),
    numbers: (run) => mapTable(run, metric),
  };
}
