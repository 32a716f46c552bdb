/**
 * How the report page is set: system type, one column, rules instead of boxes.
 *
 * @module
 */

import { FONT, paletteCss } from "./theme.ts";

/** The page's style sheet, for screens light and dark, and for paper. */
export const PAGE_CSS = `${paletteCss(":root")}
*{box-sizing:border-box}
html{font:16px/1.55 ${FONT};background:var(--paper);color:var(--ink);-webkit-text-size-adjust:100%}
body{margin:0}
main{max-width:1008px;margin:0 auto;padding:4rem 24px 6rem}
h1{font-size:1.75rem;line-height:1.35;font-weight:500;letter-spacing:-.012em;margin:0 0 .75rem;max-width:36em;text-wrap:pretty;font-variant-numeric:tabular-nums}
h2{font-size:1.125rem;line-height:1.3;font-weight:600;margin:0 0 1.25rem;padding-top:.9rem;border-top:1px solid var(--ink)}
h3{font-size:1rem;font-weight:600;margin:0 0 .75rem;overflow-wrap:anywhere}
h4{font-size:.8125rem;font-weight:400;color:var(--quiet);margin:0 0 .25rem}
p{margin:0 0 1rem;max-width:42em}
section{margin-top:4rem}
.quiet{color:var(--quiet);font-weight:400}
figure{margin:0 0 2.5rem}
figcaption{font-size:.875rem;line-height:1.5;color:var(--quiet);margin-top:.5rem;max-width:52em}
figcaption strong{color:var(--ink);font-weight:600}
.drawing,.wide{overflow-x:auto}
.pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:0 32px}
table{border-collapse:collapse;font-size:.9375rem;font-variant-numeric:tabular-nums;text-align:left}
th,td{padding:.4rem 1.5rem .4rem 0;border-bottom:1px solid var(--rule);vertical-align:baseline}
th{font-weight:400;color:var(--quiet)}
.numbers,.claims,.words{width:100%;margin-bottom:1rem}
.numbers,.words{font-size:.875rem}
.words th,.words td{padding-right:1rem}
.words td:not(:last-child){white-space:nowrap}.words td:last-child{min-width:12rem;padding-right:0}
.note{font-size:.875rem;line-height:1.5;color:var(--quiet);max-width:60em;margin-bottom:2rem}
.numbers th,.numbers td{text-align:right;padding:.4rem 0 .4rem 1rem}
.numbers th:first-child,.numbers td:first-child{text-align:left;padding-left:0}
.runs{font-size:.8125rem}.runs th,.runs td{padding-left:.75rem}.runs td:first-child{min-width:11rem}.runs th:last-child,.runs td:last-child{text-align:left;min-width:6rem}
.claims th:nth-child(3),.claims td:nth-child(3){padding-right:0;color:var(--quiet);font-size:.8125rem;width:42%}
.claims td:nth-child(2){white-space:nowrap}
.key th{color:var(--ink);padding-right:3rem}.key td+td{color:var(--quiet);padding-right:0}
.record{font-size:.8125rem;line-height:1.45;width:100%;margin-bottom:1.5rem}
.record th{width:19rem;padding-right:1rem;overflow-wrap:anywhere}
.record td{padding-right:0;overflow-wrap:anywhere}
.record th,.record td{padding-top:.22rem;padding-bottom:.22rem}
.sample{margin-bottom:2.5rem}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;list-style:none;padding:0;margin:2rem 0 0;font-size:.875rem}
a{color:inherit;text-underline-offset:.2em;text-decoration-color:var(--grey)}
details{font-size:.875rem;margin-top:.5rem}
summary{cursor:pointer;color:var(--quiet);width:fit-content}
details>.wide{max-height:24rem;overflow:auto;margin-top:.5rem}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
:focus-visible{outline:2px solid var(--warmup);outline-offset:2px}
.controls{display:flex;flex-wrap:wrap;align-items:center;gap:.5rem 1.5rem;margin-bottom:.75rem;font-size:.875rem}
.controls[hidden],.ramp[hidden]{display:none}
.scrub{display:flex;align-items:center;gap:.6rem;flex:1 1 20rem}
input[type=range]{flex:1;accent-color:var(--ink);min-width:8rem}
.controls button,select{font:inherit;color:inherit;background:none;border:1px solid var(--grey);border-radius:4px;padding:.2rem .7rem;min-width:4.5rem}
select option{background:var(--paper)}
.moment{margin-bottom:.75rem;font-variant-numeric:tabular-nums}.moment output{font-weight:600}
.heads-panel .pair{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}
.heads{table-layout:fixed;max-width:464px;width:100%;font-size:.75rem}
.heads caption{text-align:left;color:var(--quiet);padding-bottom:.25rem;font-size:.8125rem}
.heads th,.heads td{border:0;padding:1px;text-align:center;vertical-align:middle}
.heads tr>:first-child{width:1.75rem}
.heads button{display:block;width:100%;height:1.9rem;padding:0;border:1px solid var(--rule);border-radius:3px;background:color-mix(in srgb,var(--grey) 34%,var(--paper));color:var(--ink);font:inherit;font-weight:600;font-size:.75rem;line-height:1;overflow:hidden;cursor:pointer}
.heads .pruned{background:none;color:var(--pruning)}
.heads .regrown{border:2px solid var(--finetuning)}
.heads .changed{border:2px solid var(--ink)}
.heads [aria-pressed=true]{outline:3px solid var(--warmup);outline-offset:-1px}
.legend{font-size:.8125rem;line-height:1.5;color:var(--quiet);margin:.75rem 0}
.scale{white-space:nowrap}.strip{display:inline-block;width:7rem;height:.55rem;vertical-align:baseline}
.history h3{margin-bottom:.4rem}.history ul{margin:0 0 .75rem;padding-left:1.1rem;font-size:.875rem}
.measured{max-height:20rem;overflow:auto}.measured[hidden]{display:none}.history table{margin:0;font-size:.8125rem}
.history th:first-child{white-space:nowrap}.history thead th{position:sticky;top:0;background:var(--paper)}
[aria-current] th,[aria-current] td{background:color-mix(in srgb,var(--warmup) 16%,var(--paper));color:var(--ink)}
blockquote{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.9375rem}
@media screen and (max-width:760px){
main{padding-top:2rem}h1{font-size:1.375rem}.pair,.heads-panel .pair{grid-template-columns:minmax(0,1fr);gap:1.5rem 0}
.drawing .pollard-figure[width="960"]{min-width:720px}.drawing .pollard-figure[width="464"]{min-width:440px}.record th{width:10rem}.key th{padding-right:1.5rem}
.claims td:nth-child(2){white-space:normal}
}
@media print{
@page{margin:16mm}
html{font-size:10.5pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main{max-width:none;padding:0}section{margin-top:2rem}
figure,tr,.sample{break-inside:avoid}h2,h3,h4{break-after:avoid}
.drawing,.wide,.measured{overflow:visible;max-height:none}
nav,.controls,.picked .quiet,details:not([open]){display:none}
}`;
