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
.claims th:nth-child(3),.claims td:nth-child(3){padding-right:0;color:var(--quiet);font-size:.8125rem;width:42%}
.claims td:nth-child(2){white-space:nowrap}
.key th{color:var(--ink);padding-right:3rem}.key td+td{color:var(--quiet);padding-right:0}
.record{font-size:.8125rem;line-height:1.45;width:100%;margin-bottom:1.5rem}
.record th{width:19rem;padding-right:1rem;overflow-wrap:anywhere}
.record td{padding-right:0;overflow-wrap:anywhere}
.record th,.record td{padding-top:.22rem;padding-bottom:.22rem}
.sample{margin-bottom:2.5rem}
blockquote{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font-size:.9375rem}
@media screen and (max-width:760px){
main{padding-top:2rem}h1{font-size:1.375rem}.pair{grid-template-columns:minmax(0,1fr);gap:1.5rem 0}
.drawing .pollard-figure[width="960"]{min-width:720px}.drawing .pollard-figure[width="464"]{min-width:440px}.record th{width:10rem}.key th{padding-right:1.5rem}
.claims td:nth-child(2){white-space:normal}
}
@media print{
@page{margin:16mm}
html{font-size:10.5pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main{max-width:none;padding:0}section{margin-top:2rem}
figure,tr,.sample{break-inside:avoid}h2,h3,h4{break-after:avoid}
.drawing,.wide{overflow:visible}
}`;
