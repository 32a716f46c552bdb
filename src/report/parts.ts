/**
 * Pieces that every page is put together from: sections, figures, tables.
 *
 * @module
 */
import type { DataRecord } from "../record.ts";
import { Html, markup, type MarkupValue } from "./html.ts";
import { count, percent } from "./theme.ts";

/** A figure as a page shows it. */
export interface PageFigure {
  /** Its file name without the ending. */
  name: string;
  /** What it shows, in a few words. */
  title: string;
  /** How to read it, and what it was measured on. */
  caption: string;
  /** The drawing, which stands on its own. */
  svg: string;
  /** The numbers that it draws, where no table of the page holds them. */
  numbers?: Html;
}

/** A section, or nothing at all where there is nothing to put in it. */
export function section(name: string, body: MarkupValue | false): Html | undefined {
  if (body === false || (Array.isArray(body) && body.length === 0)) return undefined;
  const id = name.toLowerCase().replaceAll(/[^a-z]+/g, "-");
  return markup`<section id="${id}">
<h2>${name}</h2>
${body}
</section>`;
}

/** Links to sections, for a page that is longer than a screen. */
export function contents(sections: readonly (Html | undefined)[]): Html {
  const links = sections.flatMap((one) => {
    const [, id, name] = one?.text.match(/^<section id="([^"]*)">\n<h2>(.*)<\/h2>/) ?? [];
    return id === undefined ? [] : [markup`<li><a href="#${id}">${new Html(name)}</a></li>\n`];
  });
  return markup`<nav aria-label="Sections"><ul>\n${links}</ul></nav>\n`;
}

/** A figure, its caption, which names it where a section has more than one, and its numbers. */
export function figureHtml(
  { svg, title, caption, name, numbers }: PageFigure,
  named: boolean,
): Html {
  const behind = numbers && markup`<details>
<summary>The numbers<span class="unseen"> of ${title}</span></summary>
${numbers}</details>
`;
  return markup`<figure id="figure-${name}">
<div class="drawing">${new Html(svg)}</div>
<figcaption>${named ? markup`<strong>${title}.</strong> ` : undefined}${caption}</figcaption>
${behind}</figure>
`;
}

/** Figures side by side where there is room. */
export function pair(figures: Html[]): Html | undefined {
  return figures.length === 0 ? undefined : markup`<div class="pair">${figures}</div>\n`;
}

/** Sentences in small print that explain a table. */
export function note(...sentences: (string | false)[]): Html {
  return markup`<p class="note">${sentences.filter((one) => one !== false).join(" ")}</p>\n`;
}

/** Names on the left, values on the right. */
export function namedTable(rows: [string, string][], kind: string): Html {
  const body = rows.map(([name, value]) =>
    markup`<tr><th scope="row">${name}</th><td>${value}</td></tr>\n`
  );
  return markup`<table class="${kind}"><tbody>\n${body}</tbody></table>\n`;
}

/** A table with a heading for each column. */
export function table(head: string[], rows: MarkupValue[][], kind: string): Html {
  const top = head.map((cell) => markup`<th scope="col">${cell}</th>`);
  const body = rows.map((row) => markup`<tr>${row.map((cell) => markup`<td>${cell}</td>`)}</tr>\n`);
  return markup`<div class="wide"><table class="${kind}">
<thead><tr>${top}</tr></thead>
<tbody>\n${body}</tbody></table></div>
`;
}

/** A column: its heading, and what it says of a row; nothing where that was not measured. */
export type Column<Row> = readonly [name: string, value: (row: Row) => string | undefined];

/** A table of records. A column that says nothing of any row is left out. */
export function columnsTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  kind: string,
): Html {
  const shown = columns.filter(([, value]) => rows.some((row) => value(row) !== undefined));
  return table(
    shown.map(([name]) => name),
    rows.map((row) => shown.map(([, value]) => value(row) ?? "")),
    kind,
  );
}

/** Which text a run used, and how it was cut. */
export function dataTables({ parts, files, ...rest }: DataRecord): MarkupValue {
  const hashes = Object.fromEntries(
    (files ?? []).map(({ split, file, sha256 }) => [`${split}: ${file}`, sha256]),
  );
  const splits = Object.values(parts ?? {}).some(({ split }) => split !== undefined);
  const whole = Object.values(parts ?? {}).reduce((sum, { start, end }) => sum + end - start, 0);
  return [
    recordTable({ ...rest, ...hashes }) || undefined,
    whole > 0
      ? table(
        ["Part", ...(splits ? ["Cut from"] : []), "From token", "To", "Tokens", "Share"],
        Object.entries(parts).map(([name, { split, start, end }]) => [
          name,
          ...(splits ? [split ?? ""] : []),
          count(start),
          count(end),
          count(end - start),
          percent((end - start) / whole),
        ]),
        "numbers",
      )
      : undefined,
  ];
}

/** A record as a table of names and values; a record inside it becomes rows of its own. */
export function recordTable(record: object): Html | false {
  const rows: [string, string][] = [];
  const add = (prefix: string, value: unknown) => {
    if (value === undefined || value === null) return;
    if (typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) {
        add(`${prefix}${prefix && "."}${key}`, inner);
      }
    } else rows.push([prefix, typeof value === "string" ? value : JSON.stringify(value)]);
  };
  add("", record);
  return rows.length === 0 ? false : namedTable(rows, "record");
}
