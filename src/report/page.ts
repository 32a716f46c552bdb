/**
 * `report.markup`: one file that shows a run, with no network, no script and nothing to install.
 *
 * @module
 */

import type { CycleResult, RunRecord, Sample } from "../record.ts";
import { aboutLine, aboutTable } from "./about.ts";
import { cyclesOf } from "./cycle_results.ts";
import { impact, recovery } from "./cycles.ts";
import type { Page } from "./document.ts";
import { drawFigures, type Figure, FIGURE_NAMES, type FigureName } from "./figures.ts";
import { type Html, markup, type MarkupValue } from "./html.ts";
import {
  type Column,
  columnsTable,
  contents,
  dataTables,
  figureHtml,
  recordTable,
  section,
  table,
} from "./parts.ts";
import { headsPanel, PANEL_SCRIPT } from "./panel.ts";
import { loss, minus, percent, written } from "./theme.ts";
import { type Claim, claims, type KeyNumber, keyNumbers, standing, verdict } from "./verdict.ts";

/** Draws the page of a run, from its records alone. What they do not hold has no section. */
export function renderPage(run: RunRecord): Page {
  const figures = drawFigures(run);
  const at = new Map<FigureName, Figure>(figures.map((figure) => [figure.name, figure]));
  const show = (...names: FigureName[]) =>
    names.flatMap((name) => at.has(name) ? [figureHtml(at.get(name)!, names.length > 1)] : []);
  const cycles = cyclesOf(run);
  const numbers = keyNumbers(run), evidence = claims(run), panel = headsPanel(run);
  const sections = [
    section("Key numbers", numbers.length > 0 && keyTable(numbers)),
    section("Timeline", show("timeline")),
    section("Difference from the unpruned twin", show("difference")),
    section("Loss, perplexity and sparsity", show("validation", "sparsity")),
    section("Warm-up", show("warmup")),
    section(
      "Cycles",
      cycles.length > 0 && [show("impact", "cycles"), cyclesTable(cycles)],
    ),
    section("Heads, moment by moment", panel ?? false),
    section("The life of every head", show("life")),
    section("Entropy, gradient and importance", show("entropy", "gradient", "importance")),
    section("Gates", show("gates")),
    section("Samples", run.samples?.length ? samplesHtml(run.samples) : false),
    section("What we claim, and the evidence", evidence.length > 0 && claimsTable(evidence)),
    section("Run", aboutTable(run)),
    section("Configuration", recordTable(run.config)),
    section("Environment", recordTable(run.environment)),
    section("Data", dataTables(run.data)),
  ];
  return {
    ...{ title: title(run), verdict: verdict(run), standing: [standing(run), aboutLine(run)] },
    body: [contents(sections), sections],
    ...(panel && { scripts: [PANEL_SCRIPT] }),
    ...{ figures, names: FIGURE_NAMES },
  };
}

function title(run: RunRecord): string {
  const model = run.config.model_name;
  return `Pollard report${typeof model === "string" ? `: ${model}` : ""}`;
}

function keyTable(rows: KeyNumber[]): Html {
  const body = rows.map(({ name, value, aside }) =>
    markup`<tr><th scope="row">${name}</th><td>${value}</td><td>${aside}</td></tr>\n`
  );
  return markup`<table class="key"><tbody>\n${body}</tbody></table>\n`;
}

function claimsTable(rows: Claim[]): Html {
  return table(
    ["Claim", "Finding", "In results.json"],
    rows.map(({ claim, finding, evidence }) => [claim, finding, evidence]),
    "claims",
  );
}

/** The cycles in numbers. */
function cyclesTable(cycles: CycleResult[]): Html {
  const columns: Column<CycleResult>[] = [
    ["Cycle", ({ cycle }) => String(cycle)],
    ["Heads pruned", ({ pruned_heads }) => String(pruned_heads.length)],
    ["Left", ({ active_heads }) => String(active_heads)],
    ["Sparsity", ({ sparsity }) => written(sparsity, percent)],
    ["Before", ({ loss_before }) => written(loss_before, loss)],
    ["After pruning", ({ loss_after_pruning }) => written(loss_after_pruning, loss)],
    ["Impact", impact],
    ["After fine-tuning", ({ loss_after_finetuning }) => written(loss_after_finetuning, loss)],
    ["Recovered", recovery],
    ["Unpruned twin", ({ unpruned_twin_loss }) => written(unpruned_twin_loss, loss)],
    ["Minus twin", (cycle) => minus(cycle.loss_after_finetuning, cycle.unpruned_twin_loss)],
    ["Random pruning", ({ random_pruning_loss }) => written(random_pruning_loss, loss)],
    ["Minus random", (cycle) => minus(cycle.loss_after_finetuning, cycle.random_pruning_loss)],
  ];
  return columnsTable(columns, cycles, "numbers");
}

function samplesHtml(samples: Sample[]): MarkupValue {
  // The prompt is told apart from what the model added, where a sample repeats it.
  const text = (sample: Sample, whole: string) =>
    whole.startsWith(sample.prompt)
      ? markup`<span class="quiet">${sample.prompt}</span>${whole.slice(sample.prompt.length)}`
      : markup`${whole}`;
  return [
    markup`<p class="quiet">Written after the same prompt with the same seed, before and after.</p>`,
    ...samples.map((sample) =>
      markup`<article class="sample">
<h3>${sample.prompt.trim() || "(no prompt)"} <span class="quiet">seed ${sample.seed}</span></h3>
<div class="pair">
<div><h4>Before pruning</h4><blockquote>${text(sample, sample.baseline)}</blockquote></div>
<div><h4>Pruned</h4><blockquote>${text(sample, sample.pruned)}</blockquote></div>
</div>
</article>
`
    ),
  ];
}
