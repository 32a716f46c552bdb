/**
 * What a comparison says in words: no more than its seeds allow.
 *
 * @module
 */
import type { ComparedRun } from "./compared.ts";
import { type Comparison, type Group, seedsOf, type Series, type Spread } from "./comparing.ts";
import { sharePercent } from "./comparison_figures.ts";
import { plural, signed } from "./theme.ts";
import { differingOptions } from "./variants.ts";

/** A strategy at one level. */
interface Contestant {
  name: string;
  group: Group;
}

/**
 * Says which strategy did best, and whether that is more than chance; the first sentence first.
 */
export function comparisonVerdict({ runs, series }: Comparison): string[] {
  const contest = mainContest(series);
  if (!contest) return nothingToCompare(runs);
  const [best, next] = contest;
  const at = sharePercent(best.group.share);
  const first = next
    ? `At ${at} of heads removed, ${best.name} does best against its unpruned twin: ` +
      `${described(best.group)}; next comes ${next.name}: ${described(next.group)}.`
    : `With ${at} of heads removed by ${best.name}, the test loss minus the unpruned twin’s is ` +
      `${described(best.group)}.`;
  return [
    first,
    ...(next ? [orderOf(best, next)] : []),
    ...againstRandom(best),
    ...(next || seedsOf(best.group) > 1 ? [] : ["One seed: there is no spread."]),
  ];
}

/**
 * The groups that are compared in the verdict, best first: of one configuration, at the level that
 * most strategies have, the highest of those.
 */
function mainContest(series: readonly Series[]): Contestant[] | undefined {
  const all = series.filter(({ floor }) => !floor);
  const contests = Map.groupBy(
    all.flatMap(({ name, kind, variant, groups }) =>
      groups.map((group) => ({ name, kind, variant, group }))
    ),
    ({ kind, variant, group }) =>
      JSON.stringify([kind, variant.letter, group.level, kind === "experiment" && group.share]),
  );
  const ranked = [...contests.values()].sort((a, b) =>
    b.length - a.length ||
    Number(a[0].kind === "integration") - Number(b[0].kind === "integration") ||
    b[0].group.share - a[0].group.share
  );
  return ranked[0]?.toSorted((a, b) => a.group.twin.mean - b.group.twin.mean);
}

/** A difference with what it was measured on: `+0.0037 nats per token (+0.0010 to +0.0061, 3 seeds)`. */
function described({ twin, points }: Group): string {
  return `${signed(twin.mean)} nats per token` +
    (points.length > 1
      ? ` in the mean of ${runsAndSeeds(points)} (${range(twin)})`
      : " with one seed");
}

function runsAndSeeds(points: Group["points"]): string {
  const seeds = seedsOf({ points });
  return seeds === points.length
    ? plural(seeds, "seed")
    : `${plural(points.length, "run")} of ${plural(seeds, "seed")}`;
}

function range({ least, most }: Spread): string {
  return `${signed(least)} to ${signed(most)}`;
}

/** Whether the two best are told apart. */
function orderOf(best: Contestant, next: Contestant): string {
  const fewest = Math.min(seedsOf(best.group), seedsOf(next.group));
  if (fewest < 2) {
    return "With one seed there is no spread: the order is not settled.";
  }
  if (best.group.twin.most >= next.group.twin.least) {
    return "Their spreads overlap: the order is not settled.";
  }
  return `Their spreads do not overlap` +
    (fewest < 3 ? `; ${fewest} seeds are few, and more could still change the order.` : ".");
}

/** How the best did against random pruning with the same seeds. */
function againstRandom({ name, group: { random, better, beside } }: Contestant): string[] {
  if (!random) return [];
  const count = beside === 1
    ? `in ${better === 1 ? "the" : "no"} run`
    : `in ${better} of ${beside} runs`;
  const mean = beside === 1 ? "" : " in the mean";
  return [
    `Random pruning of as many heads, in the same run: ${name} is better ${count} ` +
    `(${signed(random.mean)} nats per token${mean}).`,
  ];
}

function nothingToCompare(runs: readonly ComparedRun[]): string[] {
  const waiting = runs.filter(({ state }) => state === "waiting" || state === "unfinished").length;
  return [
    `None of ${plural(runs.length, "run")} can be compared yet: it takes a test loss and that of ` +
    `an unpruned twin.` + (waiting > 0 ? ` ${waiting} not finished.` : ""),
  ];
}

/** How many runs there are, and how they stand: `6 runs: 4 finished, 1 failed, 1 waiting`. */
export function runsInWords(runs: readonly ComparedRun[]): string {
  const states = Map.groupBy(runs, ({ state }) => state);
  const parts = [...states].map(([state, own]) => `${own.length} ${state}`);
  return `${plural(runs.length, "run")}: ${parts.join(", ")}.`;
}

/** Whether the runs differ in more than strategy, level and seed. */
export function differencesInWords({ variants, mixed }: Comparison): string {
  const kinds = new Set(variants.map(({ kind }) => kind));
  const integrated = kinds.size > 1
    ? " Integrated runs train, prune and regrow by other rules, and decide themselves how many " +
      "heads go: compare them with others by their distance from their own twins only."
    : "";
  if (!mixed) {
    return `Strategy, level and seed apart, all runs${
      kinds.size > 1 ? " of a kind" : ""
    } that are ` +
      `compared have the same configuration, model and text.${integrated}`;
  }
  const names = differingOptions(variants.filter(({ letter }) => letter !== ""))
    .map(({ name }) => name);
  return `The runs differ in more than strategy, level and seed: in ${listed(names)}. Each ` +
    "configuration has a letter; compare only series of the same letter, because what differs " +
    `between letters may be what made the difference.${integrated}`;
}

/** `a, b and c`. */
function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}
