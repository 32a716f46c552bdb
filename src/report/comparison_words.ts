/**
 * What a comparison says in words: no more than its seeds allow.
 *
 * @module
 */
import type { RunKind } from "../record.ts";
import type { ComparedRun } from "./compared.ts";
import { type Comparison, type Group, seedsOf, type Series } from "./comparing.ts";
import { sharePercent } from "./comparison_figures.ts";
import { plural, signed } from "./theme.ts";
import { differingOptions } from "./variants.ts";

/** A strategy at one level. */
interface Contestant {
  name: string;
  kind: RunKind;
  letter: string;
  group: Group;
}

/**
 * Says which strategy did best, and whether that is more than chance; the first sentence first.
 */
export function comparisonVerdict({ runs, series }: Comparison): string[] {
  const [main, ...others] = contests(series);
  if (!main) return nothingToCompare(runs);
  const [best, next] = main;
  const at = sharePercent(best.group.share);
  const how = best.group.twin.mean > 0 ? "loses least against its" : "gains most on its";
  const first = next
    ? `At ${at} of heads removed, ${best.name} ${how} unpruned twin: ${
      described(best.group)
    }; then ` +
      `comes ${next.name}: ${described(next.group)}.`
    : `With ${at} of heads removed by ${best.name}, the test loss minus the unpruned twin’s is ` +
      `${described(best.group)}.`;
  return [
    first,
    ...(next ? [orderOf(best, next)] : []),
    ...againstRandom(best),
    ...elsewhere(best, others),
    ...(next || seedsOf(best.group) > 1 ? [] : ["One seed: there is no spread."]),
  ];
}

/**
 * The groups that may be compared, those of one configuration and level together, best first. First
 * comes the level that most strategies have, the highest of those.
 */
function contests(series: readonly Series[]): Contestant[][] {
  const all = series.filter(({ floor }) => !floor).flatMap(({ name, kind, variant, groups }) =>
    groups.map((group): Contestant => ({ name, kind, letter: variant.letter, group }))
  );
  const found = Map.groupBy(
    all,
    ({ kind, letter, group }) =>
      JSON.stringify([kind, letter, group.level, kind === "experiment" && group.share]),
  );
  const integrated = ([{ kind }]: Contestant[]) => Number(kind === "integration");
  return [...found.values()]
    .map((contest) => contest.toSorted((a, b) => a.group.twin.mean - b.group.twin.mean))
    .sort((a, b) =>
      b.length - a.length || integrated(a) - integrated(b) || b[0].group.share - a[0].group.share
    );
}

/** A difference with its spread: `+0.0037 nats per token (+0.0010 to +0.0061 over 3 seeds)`. */
function described({ twin: { mean, least, most }, points }: Group): string {
  const seeds = seedsOf({ points });
  const over = seeds === points.length
    ? plural(seeds, "seed")
    : `${plural(points.length, "run")} of ${plural(seeds, "seed")}`;
  return `${signed(mean)} nats per token ` +
    (points.length > 1 ? `(${signed(least)} to ${signed(most)} over ${over})` : `(${over})`);
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
  const where = beside === 1
    ? `${better === 1 ? "" : "not "}better (`
    : `better in ${better} of ${beside} runs (in the mean `;
  return [
    `Against the random pruning beside it, ${name} is ${where}${
      signed(random.mean)
    } nats per token).`,
  ];
}

/** Where else another does best. */
function elsewhere(best: Contestant, others: readonly Contestant[][]): string[] {
  const found = others.filter(([first, second]) =>
    second && first.kind === best.kind && first.letter === best.letter && first.name !== best.name
  );
  if (found.length === 0) return [];
  const where = found.map(([{ name, group }]) => `${name} at ${sharePercent(group.share)}`);
  return [`Elsewhere another does best: ${listed(where)}.`];
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
