/**
 * What an integrated run says of itself.
 *
 * @module
 */
import { aboutLine } from "./about.ts";
import type { IntegrationCycle, IntegrationRecord, IntegrationResults } from "../record.ts";
import { headCounts } from "./life.ts";
import { duration, loss, measured, percent, perplexity, plural, signed } from "./theme.ts";
import { compare, oneRun } from "./verdict.ts";

const ALONE = "No unpruned twin was trained, so this does not tell pruning from further training.";

/** How the best model did, its difference from the unpruned twin first. */
export function integrationVerdict(results: IntegrationResults): string {
  const { test_loss, unpruned_twin_loss: twin, random_pruning_loss: random } = results;
  const { active_heads, total_heads, best_cycle, cycles_completed, improvement } = results;
  const validation = `validation perplexity ${perplexity(results.baseline_perplexity)} -> ` +
    `${perplexity(results.best_perplexity)} (${percent(Number(Math.abs(improvement).toFixed(4)))} ${
      improvement < 0 ? "higher" : "lower"
    })`;
  if (best_cycle === 0) {
    return `No cycle made a better model: the result is the model as it was given, with ` +
      `${active_heads} of ${plural(total_heads, "head")} and a test loss of ${loss(test_loss)} ` +
      `nats per token; nothing was gained over its unpruned twin, which is the same model then.\n` +
      `Of ${plural(cycles_completed, "cycle")} ${
        keptOf(results)
      } kept. It ended: ${results.stopped}.`;
  }
  const against = [
    ...(measured(twin) ? [compare(test_loss, twin, "its unpruned twin")] : []),
    ...(measured(random) ? [compare(test_loss, random, "random pruning and growth")] : []),
  ];
  return `With ${active_heads} of ${plural(total_heads, "head")} the best model’s test loss is ` +
    `${loss(test_loss)} nats per token${against.length > 0 ? `: ${against.join(", ")}` : ""}.` +
    `${measured(twin) ? "" : `\n${ALONE}`}\n` +
    `It was made by cycle ${best_cycle}, the best by perplexity and heads together; of ` +
    `${plural(cycles_completed, "cycle")} ${keptOf(results)} kept; ${validation}. ` +
    `It ended: ${results.stopped}.`;
}

function keptOf({ cycle_metrics }: IntegrationResults): string {
  const kept = cycle_metrics.filter(({ success }) => success).length;
  return kept === 0 ? "none was" : kept === 1 ? "1 was" : `${kept} were`;
}

/** What the page begins with: the first line of the verdict, and what stands under it. */
export function integrationHeading(
  run: IntegrationRecord,
): { verdict: string; standing: string[] } {
  const { results } = run;
  const [verdict, ...rest] = results && isJudged(results)
    ? integrationVerdict(results).replace(" -> ", " → ").split("\n")
    : unfinished(run);
  return { verdict, standing: [rest.join(" "), standing(run), aboutLine(run)] };
}

/** Whether the numbers of the verdict are numbers: JSON turns NaN into null. */
function isJudged(results: IntegrationResults): boolean {
  const { test_loss, baseline_perplexity, best_perplexity, improvement } = results;
  return [test_loss, baseline_perplexity, best_perplexity, improvement].every(measured);
}

/** Why there is no verdict, and how the model stands. */
function unfinished({ cycles, results }: IntegrationRecord): string[] {
  const kept = cycles.filter(({ success }) => success);
  const so = cycles.length === 0 ? "no cycle" : plural(cycles.length, "cycle") +
    (kept.length < cycles.length ? ` (${kept.length} kept)` : "");
  const begin = results
    ? `Finished without a finite test loss: ${so}.`
    : `Unfinished: ${so} so far.`;
  const last = kept.at(-1);
  if (!last || !measured(last.final.loss)) return [begin, "Nothing was judged on test text."];
  const { cycle, final, unpruned_twin_loss: twin } = last;
  const against = measured(twin)
    ? `, ${signed(final.loss - twin)} from its unpruned twin (${loss(twin)})`
    : "";
  return [
    `${begin} After cycle ${cycle} the validation loss with ${plural(final.heads, "head")} is ` +
    `${loss(final.loss)} nats per token${against}.`,
    ...(measured(twin) ? [] : [ALONE]),
    "Nothing was judged on test text.",
  ];
}

/** Model, text, heads, duration and adapter, and how far one run can be trusted. */
function standing({ config, data, cycles, events, environment, results }: IntegrationRecord) {
  const names = [config.model_name, data.text].filter((part) => typeof part === "string");
  const counts = headCounts(cycles);
  const [most, least] = [Math.max(...counts), Math.min(...counts)];
  const shape = counts.length === 0 ? [] : [
    `${plural(counts.length, "layer")} of ${
      most === least ? plural(most, "head") : `up to ${plural(most, "head")}`
    }`,
  ];
  const seconds = results?.total_duration ?? events.at(-1)?.time;
  const { adapter } = environment;
  const where = [
    ...(measured(seconds) ? [`in ${duration(seconds)}`] : []),
    ...(typeof adapter === "string" ? [`on ${adapter}`] : []),
  ].join(" ");
  const ran = plural(cycles.length, "cycle") + (where && ` ${where}`);
  return `${[names.join(" on "), ...shape, ran].filter((part) => part !== "").join(", ")}. ` +
    oneRun(results?.seed ?? config.seed);
}

/** What became of a cycle, and why it was not kept. */
export function outcome({ success, failure }: IntegrationCycle): string {
  if (success) return "kept";
  if (!failure) return "rolled back";
  const reason = /\bNaN\b|Infinity/.test(failure) ? "the loss was no longer a number" : failure;
  return `rolled back: ${reason.replaceAll(" %", "\u00a0%")}`;
}
