/**
 * Writes a run folder's report: `report.html`, and each figure on its own in `figures/`.
 *
 * @module
 */

import type { RunKind } from "../record.ts";
import { drawFigures, FIGURE_NAMES } from "./figures.ts";
import { renderIntegration } from "./integration_page.ts";
import { renderPage } from "./page.ts";
import { readIntegration, readKind, readRun } from "./read.ts";
import { type Page, writePage } from "./write_page.ts";

/** How the page of each kind of run is drawn. */
const PAGES: Record<RunKind, (dir: string) => Promise<Page>> = {
  async experiment(dir) {
    const run = await readRun(dir);
    const figures = drawFigures(run);
    return { html: renderPage(run, figures), figures, names: FIGURE_NAMES };
  },
  async integration(dir) {
    return renderIntegration(await readIntegration(dir));
  },
};

/**
 * Draws the report of a run folder, an experiment's or an integrated run's, and writes it there. An
 * error leaves the folder as it was.
 *
 * @param dir The run folder.
 * @returns The path of `report.html`.
 * @throws {TypeError | SyntaxError} If the folder is not a run folder, or a file in it is broken.
 */
export async function writeReport(dir: string): Promise<string> {
  const kind = await readKind(dir);
  return await writePage(dir, await PAGES[kind](dir));
}
