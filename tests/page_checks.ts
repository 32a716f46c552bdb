/** What every page is held to. */
import assert from "node:assert/strict";
import { PANEL_SCRIPT } from "../src/report/panel.ts";

/** A page without its style sheet, and without the script and the data of its heads panel. */
export function bare(html: string): string {
  return html.replace(/<style>.*?<\/style>/gs, "")
    .replace(`<script>${PANEL_SCRIPT}</script>`, "")
    .replace(/<script type="application\/json">[^<]*<\/script>/, "");
}

/** How many times a pattern occurs. */
export function times(text: string, pattern: string | RegExp): number {
  return text.split(pattern).length - 1;
}

/** The children of the `<g>` with this description: one for each mark drawn. */
export function marks(svg: string | undefined, label: string): number {
  assert.ok(svg !== undefined, "the figure is missing");
  const groups = svg.split(`aria-description="${label}"`).slice(1);
  assert.ok(groups.length > 0, `no marks called ${label}`);
  return groups.reduce(
    (sum, group) =>
      sum + times(group.slice(0, group.indexOf("</g>")), /<(?:path|rect|text|line|circle)[ >]/),
    0,
  );
}

/** Words that show a value that was not there. */
export const HOLES = /\bNaN\b|undefined|Infinity|\[object|\bnull\b/;

/** What would make a browser fetch something, or run something. */
export const REACHES_OUT =
  /<script|<link|<iframe|@import|\bsrc=|\bhref=(?!"#)|url\((?!#)|\bon\w+=/i;
