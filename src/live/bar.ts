/**
 * What a served page has above the report: the bar that tells how the run stands, and the script
 * that fills it.
 *
 * @module
 */
import LIVE from "../report/client/live.js" with { type: "text" };
import type { Page, Served } from "../report/document.ts";
import { Html, markup } from "../report/html.ts";

const CSS = `
.live{position:sticky;top:0;z-index:9;background:var(--paper);border-bottom:1px solid var(--rule);font-size:.875rem;line-height:1.4}
.live[data-state=ended]{position:static}
.live-line{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1.5rem;max-width:1008px;margin:0 auto;padding:.5rem 24px}
.live p{margin:0;max-width:none}
.live-numbers{color:var(--quiet);font-variant-numeric:tabular-nums}
.live-track{height:3px;background:var(--rule)}
.live-track div{height:100%;width:100%;background:var(--finetuning);transform:scaleX(0);transform-origin:0 50%}
.live[data-state=lost] .live-state{color:var(--pruning)}
.live[data-state=lost] .live-track div{background:var(--grey)}
.live[data-state=ended] .live-track{display:none}
@media screen{html{scroll-padding-top:4rem}}
@media print{.live{display:none}}
@media screen and (prefers-reduced-motion:no-preference){.live-track div{transition:transform .25s linear}}
`;

/** @param version Which state of the run the page shows. */
export function servedBy(version: string): Served {
  return {
    top: markup`<style>${new Html(CSS)}</style>
<div class="live" id="live" data-version="${version}" data-state="live" role="region" aria-label="The run">
<div class="live-line">
<p class="live-state" role="status">Connecting to the run.</p>
<p class="live-numbers"></p>
</div>
<div class="live-track" role="progressbar" aria-label="Steps of the run" hidden><div></div></div>
<noscript><p class="live-line">This page was true when it was loaded: without scripts it does not follow the run.</p></noscript>
</div>
`,
    script: LIVE,
  };
}

/** What is shown while there is nothing to show yet. */
export const NOTHING_YET: Page = {
  title: "Pollard",
  verdict: "There is nothing to show yet.",
  standing: "What the run measures is shown here as it goes on.",
  body: [],
  figures: [],
  names: [],
};
