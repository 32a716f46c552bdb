/**
 * Writes a page and its figures into a folder, all of them or none.
 *
 * @module
 */

import { dirname, join } from "node:path";
import { type Page, pageHtml } from "./document.ts";

/**
 * Writes `report.html`, and each figure on its own in `figures/`. Every file is written under a
 * temporary name first and renamed once all of them are whole, so an error leaves the folder as it
 * was.
 *
 * @returns The path of `report.html`.
 */
export async function writePage(dir: string, page: Page): Promise<string> {
  const { figures, names } = page;
  const report = join(dir, "report.html");
  const figurePath = (name: string) => join(dir, "figures", `${name}.svg`);
  const files: [path: string, text: string][] = [
    ...figures.map(({ name, svg }): [string, string] => [figurePath(name), svg + "\n"]),
    [report, pageHtml(page)],
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
  const drawn = new Set(figures.map(({ name }) => name));
  for (const name of names) {
    if (!drawn.has(name)) await Deno.remove(figurePath(name)).catch(ignoreMissing);
  }
  return report;
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
