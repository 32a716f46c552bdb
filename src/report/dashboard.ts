/**
 * A run's dashboard: its report page in one file, and the figures of it that a notebook shows inline.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { dirname } from "node:path";
import { writeWhole } from "../data/files.ts";
import { type Page, pageHtml } from "./document.ts";
import type { FigureName } from "./figures.ts";
import { markup } from "./html.ts";
import { drawReport } from "./write.ts";
import { writePage } from "./write_page.ts";

/** A figure of a dashboard. */
export interface DashboardPanel {
  /** Its file name without the ending. */
  readonly name: string;
  /** What it shows, in a few words. */
  readonly title: string;
  /** How to read it, and what it was measured on. */
  readonly caption: string;
  /** The drawing, an SVG file's text. */
  readonly svg: string;
}

/** A dashboard that was written. A Jupyter notebook shows it where a cell ends with it. */
export interface Dashboard {
  /** The page's file. */
  readonly path: string;
  /** What the page begins with. */
  readonly verdict: string;
  /** The panels that a notebook shows, in their order; those that nothing was measured for are absent. */
  readonly figures: readonly DashboardPanel[];
  /** What Deno's Jupyter kernel asks for. */
  [JUPYTER_DISPLAY](): { "text/html": string };
}

/** By what Deno's Jupyter kernel knows values that can show themselves. */
export const JUPYTER_DISPLAY: unique symbol = Symbol.for("Jupyter.display");

/**
 * Losses over training, loss and perplexity on validation text, heads and sparsity, which heads went in
 * which cycle, and each cycle before and after with the controls.
 */
const PANELS: readonly FigureName[] = ["timeline", "validation", "sparsity", "life", "cycles"];

/**
 * Draws a run so far, writes the page, and hands over what a notebook shows of it.
 *
 * @param dir The run's folder. Unless `savePath` is given the page goes there, as `report.html`, and its
 * figures into `figures/`.
 * @param savePath Where the page goes instead, alone; its folder is made if it is not there.
 * @throws {TypeError} If `savePath` does not end in `.html`, or `dir` is not a run folder.
 */
export async function writeDashboard(
  dir: string,
  { savePath }: { savePath?: string } = {},
): Promise<Dashboard> {
  if (savePath !== undefined && !savePath.endsWith(".html")) {
    throw new TypeError(
      `savePath must end in .html, for the dashboard is a page: ${JSON.stringify(savePath)}`,
    );
  }
  const page = await drawReport(dir);
  const path = savePath ?? await writePage(dir, page);
  if (savePath !== undefined) {
    await Deno.mkdir(dirname(savePath), { recursive: true });
    await writeWhole(savePath, pageHtml(page));
  }
  const figures = PANELS.flatMap((panel) =>
    page.figures.filter(({ name }) => name === panel)
      .map(({ name, title, caption, svg }) => ({ name, title, caption, svg }))
  );
  const { verdict } = page;
  return {
    path,
    verdict,
    figures,
    [JUPYTER_DISPLAY]: () => ({ "text/html": inline(page, figures) }),
  };
}

/**
 * Each figure as an image, so that the ids and styles of several dashboards in one notebook stay apart.
 */
function inline({ verdict }: Page, figures: readonly DashboardPanel[]): string {
  return markup`<div><p>${verdict}</p>
${
    figures.map(({ title, caption, svg }) =>
      markup`<figure style="margin:0 0 1.5em">
<figcaption><strong>${title}.</strong> ${caption}</figcaption>
<img style="max-width:100%" alt="${description(svg) ?? title}" src="${`data:image/svg+xml;base64,${
        Buffer.from(svg).toString("base64")
      }`}">
</figure>
`
    )
  }</div>`.text;
}

/** What the figure says of itself, with XML's escapes undone: `markup` makes its own. */
function description(svg: string): string | undefined {
  const text = /<desc[^>]*>([^<]*)<\/desc>/.exec(svg)?.[1];
  if (text === undefined) return undefined;
  const plain: Record<string, string> = { lt: "<", gt: ">", quot: '"', amp: "&" };
  return text.replace(/&(lt|gt|quot|amp);/g, (_, name) => plain[name]);
}
