/**
 * Writes a run folder's report: `report.html`, and each figure on its own in `figures/`.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { drawFigures, FIGURE_NAMES } from "./figures.ts";
import { renderPage } from "./page.ts";
import { readRun } from "./read.ts";

/**
 * Draws the report of a run folder and writes it there. Every file is written under a temporary
 * name first and renamed once all of them are whole, so an error leaves the folder as it was.
 *
 * @param dir The run folder.
 * @returns The path of `report.html`.
 * @throws {TypeError | SyntaxError} If the folder is not a run folder, or a file in it is broken.
 */
export async function writeReport(dir: string): Promise<string> {
  const run = await readRun(dir);
  const figures = drawFigures(run);
  const report = join(dir, "report.html");
  const figurePath = (name: string) => join(dir, "figures", `${name}.svg`);
  const files: [path: string, text: string][] = [
    ...figures.map(({ name, svg }): [string, string] => [figurePath(name), svg + "\n"]),
    [report, renderPage(run, figures)],
  ];

  const temporary = (path: string) => `${path}.part`;
  try {
    for (const [path, text] of files) {
      await Deno.mkdir(dirname(path), { recursive: true });
      await Deno.writeTextFile(temporary(path), text);
    }
  } catch (error) {
    for (const [path] of files) await Deno.remove(temporary(path)).catch(() => {});
    // Only goes if it is empty.
    await Deno.remove(join(dir, "figures")).catch(() => {});
    throw error;
  }
  for (const [path] of files) await Deno.rename(temporary(path), path);

  // A figure of an earlier report that these records no longer allow must not stay.
  const drawn = new Set<string>(figures.map(({ name }) => name));
  for (const name of FIGURE_NAMES) {
    if (!drawn.has(name)) await Deno.remove(figurePath(name)).catch(ignoreMissing);
  }
  return report;
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
