/**
 * A page as one file, with no network and nothing to install.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Html, markup, type MarkupValue } from "./html.ts";
import type { PageFigure } from "./parts.ts";
import { PAGE_CSS } from "./style.ts";

/** A page that has been drawn. */
export interface Page {
  /** What a browser's tab says. */
  title: string;
  /** What is said first. */
  verdict: string;
  /** What is said under it, in small print. */
  standing: string | readonly string[];
  /** Its sections. */
  body: MarkupValue;
  /** Scripts that its sections need, whole; the page says all it has to say without them. */
  scripts?: readonly string[];
  /** What goes into `figures/`. */
  figures: readonly PageFigure[];
  /** Names of all figures that such a page may have: those that were not drawn go. */
  names: readonly string[];
}

/** What a server adds to a page. */
export interface Served {
  /** Stands before everything else. */
  top: Html;
  /** A script that talks to the server the page came from. */
  script: string;
}

/**
 * Writes a page. It may run the scripts it was written with, and no other; a page that is
 * {@linkcode Served} may talk to its own server, and to no other.
 */
export function pageHtml(
  { title, verdict, standing, body, scripts = [] }: Page,
  served?: Served,
): string {
  const lines = [standing].flat().map((line) => markup`<p class="quiet">${line}</p>\n`);
  // A browser reads CRLF as LF, and hashes that: a script from a clone with CRLF has to be LF here.
  const all = [...scripts, ...(served ? [served.script] : [])]
    .map((script) => script.replaceAll(/\r\n?/g, "\n"));
  const policy = [
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    ...(all.length > 0 ? [`script-src ${all.map(allowed).join(" ")}`] : []),
    ...(served ? ["connect-src 'self'"] : []),
  ].join("; ");
  // A script must not end its own element: in JavaScript `<\/` is `</`.
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${new Html(policy)}">
<title>${title}</title>
<style>${new Html(PAGE_CSS)}</style>
</head>
<body>
${served?.top}<main>
<header>
<h1>${verdict}</h1>
${lines}</header>
${body}
</main>
${all.map((script) => new Html(`<script>${script}</script>\n`))}</body>
</html>
`.text;
}

/** How the policy knows a script: by its hash. */
function allowed(script: string): string {
  if (/<\/script|<!--/i.test(script)) throw new TypeError("a script must not end its own element");
  return `'sha256-${createHash("sha256").update(script).digest("base64")}'`;
}
