/**
 * Writes a run folder's report: `report.html`, and each figure on its own in `figures/`.
 *
 * @module
 */

import type { RunKind } from "../record.ts";
import type { Page } from "./document.ts";
import { renderIntegration } from "./integration_page.ts";
import { renderPage } from "./page.ts";
import { readIntegration, readKind, readRun } from "./read.ts";
import { writePage } from "./write_page.ts";

/** How the page of each kind of run is drawn. */
const PAGES: Record<RunKind, (dir: string) => Promise<Page>> = {
  experiment: async (dir) => renderPage(await readRun(dir)),
  integration: async (dir) => renderIntegration(await readIntegration(dir)),
};

/**
 * Draws the report of a run folder, an experiment's or an integrated run's; nothing is written.
 *
 * @throws {TypeError | SyntaxError} If the folder is not a run folder, or a file in it is broken.
 */
export async function drawReport(dir: string): Promise<Page> {
  return await PAGES[await readKind(dir)](dir);
}

/**
 * Draws the report of a run folder and writes it there. An error leaves the folder as it was.
 *
 * @param dir The run folder.
 * @returns The path of `report.html`.
 * @throws {TypeError | SyntaxError} If the folder is not a run folder, or a file in it is broken.
 */
export async function writeReport(dir: string): Promise<string> {
  return await writePage(dir, await drawReport(dir));
}
