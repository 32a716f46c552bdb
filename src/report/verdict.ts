/**
 * What a run showed, in words and in few numbers: the verdict, the key numbers, and what is claimed
 * with the evidence for it. Nothing here is computed but differences of recorded values.
 *
 * @module
 */

import type { CycleResult, RunRecord } from "../record.ts";
import { extent, lastStep, phaseBands, validationCurve } from "./series.ts";
import {
  count,
  duration,
  loss,
  measured,
  percent,
  perplexity,
  PHASE_NAMES,
  plural,
  signed,
  written,
} from "./theme.ts";

/** A claim, what the run says of it, and the values of `results.json` that say so. */
export interface Claim {
  /** What a reader may want to conclude. */
  claim: string;
  /** What was measured, or that it was not. */
  finding: string;
  /** The fields of `results.json` and their values. */
  evidence: string;
}

/** One line of the key numbers. */
export interface KeyNumber {
  /** What was measured. */
  name: string;
  /** The number with its unit. */
  value: string;
  /** The same in other words: a loss as perplexity. */
  aside?: string;
}

/**
 * Says in one sentence how the pruned model did against its unpruned twin and against random
 * pruning, or why that cannot be said.
 */
export function verdict(run: RunRecord): string {
  const results = run.results;
  if (!results || !measured(results.final_loss)) return unfinished(run);
  const { final_loss, unpruned_twin_loss, random_pruning_loss, baseline_loss } = results;
  const removed = results.total_heads - results.active_heads;
  const heads = plural(results.total_heads, "head");
  const start = (removed === 0 ? `With none of ${heads}` : `With ${count(removed)} of ${heads}`) +
    ` removed, the model’s test loss is ${loss(final_loss)} nats per token`;
  const parts: string[] = [];
  if (measured(unpruned_twin_loss)) {
    parts.push(compare(final_loss, unpruned_twin_loss, "its unpruned twin"));
  }
  if (measured(random_pruning_loss) && removed > 0) {
    const name = run.config.strategy === "random"
      ? "another random choice of heads"
      : "random pruning to the same level";
    parts.push(compare(final_loss, random_pruning_loss, name));
  }
  if (measured(unpruned_twin_loss)) return `${start}: ${parts.join(", and ")}.`;
  const against = measured(baseline_loss)
    ? [...parts, compare(final_loss, baseline_loss, "after warm-up")]
    : parts;
  return `${start}${against.length > 0 ? `: ${against.join(", and ")}` : ""}. ` +
    `No unpruned twin was trained, so this does not tell pruning from further training.`;
}

/** What stands under the verdict: how far one run can be trusted. */
export function standing(run: RunRecord): string {
  const seed = run.results?.seed ?? run.config.seed;
  const what = [run.config.model_name, run.data.text].filter((part) => typeof part === "string");
  const { strategy } = run.config;
  const by = typeof strategy === "string" ? `Heads were chosen by ${strategy}. ` : "";
  return `${what.join(" on ")}${what.length > 0 ? ". " : ""}${by}${oneRun(seed)}`;
}

/** How far one run can be trusted. */
export function oneRun(seed: unknown): string {
  return `One run${measured(seed) ? `, seed ${seed}` : ""}: its differences carry no error bar.`;
}

/** The numbers a reader looks for first; what was not measured is left out. */
export function keyNumbers(run: RunRecord): KeyNumber[] {
  const results = run.results;
  if (!results) return [];
  const row = (
    name: string,
    value: unknown,
    write: (value: number) => string,
    aside?: (value: number) => string | undefined,
  ) => measured(value) ? [{ name, value: write(value), aside: aside?.(value) }] : [];
  const nats = (name: string, value: unknown) =>
    row(
      name,
      value,
      (value) => `${loss(value)} nats per token`,
      (value) => `perplexity ${perplexity(Math.exp(value))}`,
    );
  const minus = (name: string, other: unknown) =>
    row(
      name,
      measured(other) && measured(results.final_loss) ? results.final_loss - other : undefined,
      (value) => `${signed(value)} nats per token`,
      (value) => written((Math.exp(value) - 1) * 100, (rise) => `perplexity ${signed(rise, 2)} %`),
    );
  return [
    ...nats("Test loss, pruned model", results.final_loss),
    ...nats("Test loss, unpruned twin", results.unpruned_twin_loss),
    ...minus("Pruned minus twin", results.unpruned_twin_loss),
    ...nats("Test loss, random pruning", results.random_pruning_loss),
    ...minus("Pruned minus random", results.random_pruning_loss),
    ...nats("Test loss after warm-up, before pruning", results.baseline_loss),
    ...row(
      "Heads left",
      results.active_heads,
      (heads) => `${heads} of ${results.total_heads}`,
      () => measured(results.final_sparsity) ? `${percent(results.final_sparsity)} removed` : "",
    ),
    ...row("Tokens trained on", results.tokens_seen, count),
    ...row("Time", results.execution_time_s, duration),
    ...row("Seed", results.seed, String),
  ];
}

/** What we claim, and the rows of `results.json` that carry it. */
export function claims(run: RunRecord): Claim[] {
  const results = run.results;
  if (!results) return [];
  const { final_loss, baseline_loss, unpruned_twin_loss, random_pruning_loss } = results;
  const against = (claim: string, name: string, other: number | undefined): Claim =>
    measured(other) && measured(final_loss)
      ? {
        claim,
        finding: `${betterOrWorse(final_loss - other)} (${signed(final_loss - other)} nats)`,
        evidence: `final_loss ${loss(final_loss)}, ${name} ${loss(other)}`,
      }
      : { claim, finding: "not measured", evidence: `${name} is absent` };
  const found = [
    against(
      "Pruned against its unpruned twin: same batches, same steps",
      "unpruned_twin_loss",
      unpruned_twin_loss,
    ),
    against(
      "The choice of heads against a random choice of as many",
      "random_pruning_loss",
      random_pruning_loss,
    ),
    against(
      "Against the model after warm-up; further training alone moves this too",
      "baseline_loss",
      baseline_loss,
    ),
  ];
  const level = run.config.pruning_level;
  if (measured(results.final_sparsity)) {
    found.push({
      claim: measured(level) ? `Heads removed, asked for ${percent(level)}` : "Heads removed",
      finding: percent(results.final_sparsity),
      evidence: `final_sparsity ${Number(results.final_sparsity.toPrecision(4))}, active_heads ` +
        `${results.active_heads}, total_heads ${results.total_heads}`,
    });
  }
  const forms = [results.masked_loss, results.compacted_loss, results.reloaded_loss];
  const names = ["masked_loss", "compacted_loss", "reloaded_loss"];
  const known = forms.filter(measured);
  if (known.length > 1) {
    const [low, high] = extent(known);
    found.push({
      claim: "The pruned model is the same masked, compacted and reloaded from disk",
      finding: high === low
        ? "equal to the last bit"
        : `apart by ${((high - low) / Math.max(-low, high)).toExponential(1)} of the loss`,
      evidence: names.flatMap((name, i) =>
        measured(forms[i]) ? [`${name} ${forms[i].toFixed(6)}`] : []
      ).join(", "),
    });
  }
  const recovery = recovered(results.cycles ?? []);
  if (recovery) found.push(recovery);
  return found;
}

function recovered(cycles: readonly CycleResult[]): Claim | undefined {
  const whole = cycles.filter((cycle) =>
    [cycle.loss_before, cycle.loss_after_pruning, cycle.loss_after_finetuning].every(measured)
  );
  if (whole.length === 0) return undefined;
  const back = whole.filter((cycle) => cycle.loss_after_finetuning <= cycle.loss_before);
  return {
    claim: "Fine-tuning brings validation loss back to where it was before each pruning",
    finding: `in ${back.length} of ${plural(whole.length, "cycle")}`,
    evidence: whole.map(({ cycle, loss_before, loss_after_finetuning }) =>
      `cycles[${cycle - 1}]: ${loss(loss_before)} to ${loss(loss_after_finetuning)}`
    ).join("; "),
  };
}

function unfinished(run: RunRecord): string {
  const step = lastStep(run);
  const band = phaseBands(run).at(-1);
  const validation = validationCurve(run, "pruned").at(-1);
  const where = band
    ? ` Its records end at step ${step}, in ${PHASE_NAMES[band.phase]}` +
      `${band.cycle > 0 ? ` of cycle ${band.cycle}` : ""}.`
    : "";
  const last = validation
    ? ` The last validation loss is ${loss(validation.value)} nats per token.`
    : "";
  const what = run.results ? "without a finite test loss" : "and there is no test loss yet";
  return `This run is unfinished, ${what}.${where}${last}`;
}

/** How much better or worse a loss is than another, in words. */
export function compare(value: number, other: number, name: string): string {
  const word = betterOrWorse(value - other);
  const than = word === "equal" ? "to four decimals to" : "than";
  const amount = word === "equal" ? "" : `${loss(Math.abs(value - other))} `;
  return `${amount}${word} ${than} ${name} (${loss(other)})`;
}

function betterOrWorse(difference: number): "better" | "worse" | "equal" {
  return Math.abs(difference) < 0.00005 ? "equal" : difference < 0 ? "better" : "worse";
}
