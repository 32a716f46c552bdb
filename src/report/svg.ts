/**
 * Draws with Observable Plot under linkedom and hands back an SVG string that stands on its own:
 * title, description, palette and all.
 *
 * @module
 */

import { DOMParser, Plot } from "./deps.ts";
import { FONT, paletteCss } from "./theme.ts";

/** What a reader who does not see the figure is told, and the name its parts are known by. */
export interface FigureText {
  /** Lower-case, with dashes: file name, and prefix of the ids inside the SVG. */
  id: string;
  title: string;
  description: string;
}

/** One entry of a key: a sample, drawn in a box of 22 x 10 pixels, and its name. */
export interface KeyItem {
  label: string;
  sample: SvgPart[];
}

/** An SVG element to be: its name, its attributes, its text and its children if it has any. */
export type SvgPart = [
  name: string,
  attributes: Record<string, string | number>,
  text?: string,
  children?: SvgPart[],
];

/** Above so many marks none has a title of its own, so that the page stays small. */
export const MOST_TITLES = 2000;

// The DOM's types as Plot knows them: a program that takes us as a package need not load `lib="dom"`.
type SvgDocument = NonNullable<Plot.PlotOptions["document"]>;
type SvgGroup = ReturnType<Plot.RenderFunction> & ReturnType<SvgDocument["createElementNS"]>;

const SVG = "http://www.w3.org/2000/svg";

// An XML document, not an HTML one: linkedom would leave the text of an HTML `<title>` unescaped.
const document = new DOMParser().parseFromString(
  `<svg xmlns="${SVG}"></svg>`,
  "image/svg+xml",
) as unknown as SvgDocument;

const CSS = `${paletteCss(".pollard-figure")}
.pollard-figure{display:block;max-width:100%;height:auto;color:var(--ink);background:var(--paper)}
.pollard-figure text{white-space:pre;font-variant-numeric:tabular-nums}`;

/** Characters that no XML file may hold. */
// deno-lint-ignore no-control-regex
const NOT_XML = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;

/** Draws a plot. */
export function draw(options: Plot.PlotOptions, { id, title, description }: FigureText): string {
  const svg = Plot.plot({
    ...options,
    document,
    className: "pollard-figure",
    style: { fontFamily: FONT, fontSize: "12px" },
  });
  svg.querySelector("style")?.remove();
  const head = [
    element(["title", { id: `${id}-title` }, title]),
    element(["desc", { id: `${id}-desc` }, description]),
    element(["style", {}, CSS]),
  ];
  svg.prepend(...head);
  svg.setAttribute("xmlns", SVG);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-labelledby", `${id}-title ${id}-desc`);
  return svg.outerHTML.replace(NOT_XML, "\ufffd");
}

/** A mark made of plain SVG elements in pixel coordinates of the whole figure. */
export function pixels(...parts: SvgPart[]): Plot.RenderFunction {
  return () => group(parts);
}

/** A key, set left to right from `x` on the line whose middle is `y`, in pixels. */
export function key(items: readonly KeyItem[], x: number, y: number): Plot.RenderFunction {
  return () => {
    const all = group([]);
    let left = x;
    for (const { label, sample } of items) {
      const one = group(sample);
      one.setAttribute("transform", `translate(${left},${y - 5})`);
      all.append(
        one,
        element(["text", { x: left + 28, y: y + 4, "text-anchor": "start" }, label]),
      );
      left += 28 + textWidth(label) + 20;
    }
    return all;
  };
}

/** About how wide a text is, in pixels: enough to keep labels apart, not to set type. */
export function textWidth(text: string, size = 12): number {
  return text.length * size * 0.54;
}

/** A key's sample of a line. */
export function lineSample(stroke: string, width: number, dash?: string): SvgPart[] {
  const attributes = { x1: 0, x2: 22, y1: 5, y2: 5, stroke, "stroke-width": width };
  return [["line", dash ? { ...attributes, "stroke-dasharray": dash } : attributes]];
}

/** A symbol in the middle of a key's box, drawn as the plot draws it. */
export function symbolSample(symbol: string, colour: string, fill = false): SvgPart[] {
  const paint: Record<string, string | number> = fill
    ? { fill: colour, stroke: "none" }
    : { fill: "none", stroke: colour, "stroke-width": 1.5 };
  const paths: Record<string, string> = {
    triangle: "M11,0L16,9.2H6Z",
    square: "M7,1h8v8h-8Z",
    diamond: "M11,-1L14.5,5L11,11L7.5,5Z",
    times: "M8,2l6,6M14,2l-6,6",
    plus: "M11,0v10M6,5h10",
  };
  return symbol === "circle"
    ? [["circle", { cx: 11, cy: 5, r: 4.2, ...paint }]]
    : [["path", { d: paths[symbol], ...paint }]];
}

/** Parts as one element: what a mark that draws itself hands back. */
export function group(parts: readonly SvgPart[]): SvgGroup {
  const g = document.createElementNS(SVG, "g") as SvgGroup;
  g.append(...parts.map(element));
  return g;
}

function element([name, attributes, text, children = []]: SvgPart): SvgGroup {
  const made = document.createElementNS(SVG, name) as SvgGroup;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  made.append(...children.map(element));
  return made;
}
