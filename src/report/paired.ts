/**
 * Differences that are paired by seed: each run against the controls that ran beside it, with the same
 * batches. What they have in common, the seed above all, does not blur them.
 *
 * @module
 */
import type { ComparedGroup, ComparisonRecord, Estimate, PairedDifference } from "../record.ts";
import { estimate } from "../spread.ts";
import { type ComparedRun, isComparable } from "./compared.ts";
import type { Comparison, Group, SeedPoint, Series } from "./comparing.ts";
import { comparisonVerdict } from "./comparison_words.ts";
import { loss, percent, plural, signed } from "./theme.ts";

/** Sums up every strategy at every level, in the order of the page's series. */
export function pairedGroups({ series }: Comparison): ComparedGroup[] {
  return series.filter(({ floor }) => !floor).flatMap((one) =>
    one.groups.map((group) => pairedGroup(one, group))
  );
}

function pairedGroup({ name }: Series, { level, share, points }: Group): ComparedGroup {
  const seeds = [...Map.groupBy(points, ({ seed }) => seed)];
  const over = (value: (point: SeedPoint) => number | undefined) => {
    const means = seeds.flatMap(([, own]) => {
      const values = own.map(value).filter((one) => one !== undefined);
      return values.length > 0 ? [values.reduce((a, b) => a + b, 0) / values.length] : [];
    });
    return means.length > 0 ? estimate(means) : undefined;
  };
  const random = over(({ random }) => random);
  const againstRandom = over(({ againstRandom }) => againstRandom);
  return {
    strategy: name,
    ...(level !== undefined && { level }),
    removed: share,
    seeds: seeds.flatMap(([seed]) => seed === undefined ? [] : [seed]),
    pruned: over(({ loss }) => loss)!,
    unpruned_twin: over(({ twin }) => twin)!,
    ...(random && { random_pruning: random }),
    pruned_minus_twin: judged(over(({ value }) => value)!),
    ...(againstRandom && { pruned_minus_random: judged(againstRandom) }),
  };
}

function judged(difference: Estimate): PairedDifference {
  const { interval } = difference;
  if (!interval) return difference;
  return { ...difference, smaller_than_error: interval[0] <= 0 && interval[1] >= 0 };
}

/** A paired difference in words: `+0.0123, 95 % confidence interval +0.0021 to +0.0225 (n = 5)`. */
export function differenceInWords(difference: PairedDifference): string {
  const { n, mean, interval, smaller_than_error } = difference;
  if (!interval) return `${signed(mean)} (n = 1: no error can be given)`;
  return `${signed(mean)}, 95 % confidence interval ${signed(interval[0])} to ` +
    `${signed(interval[1])} (n = ${n})${smaller_than_error ? ": smaller than its error" : ""}`;
}

/** A mean in words: `4.0123, standard deviation 0.0045 (n = 5)`. */
export function estimateInWords({ n, mean, deviation }: Estimate): string {
  return loss(mean) + (deviation === undefined ? "" : `, standard deviation ${loss(deviation)}`) +
    ` (n = ${n})`;
}

/** The groups as lines of text. */
export function pairedLines(comparison: Comparison): string[] {
  return pairedGroups(comparison).flatMap((group) => {
    const rows: [string, string | undefined][] = [
      ["pruned", estimateInWords(group.pruned)],
      ["unpruned twin", estimateInWords(group.unpruned_twin)],
      ["random pruning", group.random_pruning && estimateInWords(group.random_pruning)],
      ["pruned minus twin", differenceInWords(group.pruned_minus_twin)],
      [
        "pruned minus random",
        group.pruned_minus_random && differenceInWords(group.pruned_minus_random),
      ],
    ];
    const heading = `${group.strategy}, ${percent(group.removed)} of heads removed, ` +
      `${plural(group.seeds.length, "seed")}; test loss in nats per token:`;
    return [
      heading,
      ...rows.flatMap(([name, text]) => text === undefined ? [] : [`  ${name.padEnd(21)}${text}`]),
    ];
  });
}

/** Everything that a comparison says, as lines of text. */
export function comparisonLines(comparison: Comparison): string[] {
  const adapters = adaptersInWords(comparison);
  return [
    ...comparisonVerdict(comparison),
    ...(adapters === "" ? [] : [adapters]),
    ...pairedLines(comparison),
  ];
}

/** The adapters of runs, each with its number of runs; one that continued on another has both. */
export function adaptersOf(runs: readonly ComparedRun[]): Record<string, number> {
  const names = runs.flatMap(({ adapters = [] }) =>
    adapters.length > 0 ? [adapters.join("; then ")] : []
  );
  return Object.fromEntries(
    [...Map.groupBy(names, (name) => name)].map(([name, own]) => [name, own.length]),
  );
}

/** Says so if the compared runs did not all run on one adapter; empty if they did. */
export function adaptersInWords({ runs }: Comparison): string {
  const adapters = Object.entries(adaptersOf(runs.filter(isComparable)));
  if (adapters.length < 2 && !adapters.some(([name]) => name.includes("; then "))) return "";
  return "The runs used different adapters, whose roundings differ: " +
    adapters.map(([name, n]) => `${name} (${plural(n, "run")})`).join(", ") + ".";
}

/** What a comparison says, for programs. */
export function comparisonRecord(comparison: Comparison): ComparisonRecord {
  const { runs } = comparison;
  return {
    format: 1,
    verdict: comparisonVerdict(comparison),
    groups: pairedGroups(comparison),
    adapters: adaptersOf(runs.filter(isComparable)),
    left_out: runs.filter((run) => !isComparable(run)).map(({ name, state, reason }) => ({
      ...{ run: name, state },
      ...(reason !== undefined && { reason }),
    })),
  };
}
