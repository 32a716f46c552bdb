/**
 * Turns compared runs into series: for each strategy and level the mean over seeds, and its spread.
 *
 * @module
 */
import type { RunKind } from "../record.ts";
import { estimate } from "../spread.ts";
import { type ComparedRun, isComparable } from "./compared.ts";
import { measured } from "./theme.ts";
import { differingOptions, findVariants, type Variant } from "./variants.ts";

/** One run, or one control of a run, in a series. */
export interface SeedPoint {
  seed?: number;
  /** Share of all heads that are gone, 0 to 1. */
  share: number;
  removed: number;
  total: number;
  /** Test loss, and the unpruned twin's. */
  loss: number;
  twin: number;
  /** Test loss of random pruning in the same run; absent for random pruning itself. */
  random?: number;
  /** Test loss minus the unpruned twin's. */
  value: number;
  /** Test loss minus that of random pruning in the same run; absent for random pruning itself. */
  againstRandom?: number;
}

/** A mean and its spread. */
export interface Spread {
  mean: number;
  least: number;
  most: number;
  /** Of the sample (n - 1), from three values on. */
  deviation?: number;
}

/** One point of a series: all that ran with the same strategy and level. */
export interface Group {
  /** The share that was asked for; absent for integrated runs. */
  level?: number;
  points: SeedPoint[];
  /** Mean share of heads that are gone. */
  share: number;
  /** The difference from the twin. */
  twin: Spread;
  /** The difference from random pruning with the same seed, where it ran. */
  random?: Spread;
  /** Runs that did better than it, and those that it ran beside. */
  better: number;
  beside: number;
}

/** What is drawn under one name. */
export interface Series {
  /** With the letter of its configuration, where there are several. */
  name: string;
  /** Whether it is the random pruning that runs beside others, as their control. */
  floor: boolean;
  kind: RunKind;
  variant: Variant;
  /** Ascending by the share of heads that are gone. */
  groups: Group[];
}

/** Validation loss minus the twin's after each cycle of one strategy and level: means over seeds. */
export interface Trajectory {
  /** Of its {@linkcode Series}. */
  name: string;
  floor: boolean;
  level?: number;
  points: { cycle: number; share: number; value: number; runs: number }[];
}

/** Everything a comparison shows. */
export interface Comparison {
  runs: readonly ComparedRun[];
  series: Series[];
  trajectories: Trajectory[];
  variants: Variant[];
  /** The configuration of each run that can be compared. */
  variantOf: ReadonlyMap<ComparedRun, Variant>;
  /** Whether series of one kind differ in more than strategy, level and seed. */
  mixed: boolean;
}

/** What random pruning is called where it is a control. */
export const CONTROL_NAME = "random pruning, control";

/** A run's difference, or its control's, with what tells whether it was counted before. */
interface Entry {
  series: string;
  floor: boolean;
  run: ComparedRun;
  variant: Variant;
  point: SeedPoint;
  identity: string;
}

/** Puts runs side by side. Runs and controls that are the same twice count once. */
export function compareRuns(runs: readonly ComparedRun[]): Comparison {
  const variantOf = findVariants(runs.filter(isComparable));
  const entries = unique(runs.flatMap((run) => entriesOf(run, variantOf)));
  const variants = [...new Set(variantOf.values())];
  return {
    runs,
    series: seriesOf(entries),
    trajectories: trajectoriesOf(entries),
    variants,
    variantOf,
    mixed: (["experiment", "integration"] as const).some((kind) =>
      differingOptions(variants.filter((variant) => variant.kind === kind)).length > 0
    ),
  };
}

/** Mean, least, greatest and, from three values on, the standard deviation. */
export function spreadOf(values: readonly number[]): Spread {
  const { n, mean, least, most, deviation } = estimate(values);
  return { mean, least, most, ...(n >= 3 && { deviation }) };
}

/** How many different seeds a group has. */
export function seedsOf({ points }: Pick<Group, "points">): number {
  return new Set(points.map(({ seed }) => seed)).size;
}

function entriesOf(run: ComparedRun, variantOf: Map<ComparedRun, Variant>): Entry[] {
  const variant = variantOf.get(run);
  if (!isComparable(run) || !variant) return [];
  const { kind, strategy, level, seed, loss, twin, random, removed, total, tokens } = run;
  const named = (name: string) => variant.letter ? `${name} (${variant.letter})` : name;
  const heads = { seed, removed, total, share: removed / total };
  const entry = (name: string, floor: boolean, value: number, more = {}): Entry => ({
    ...{ series: named(name), floor, run, variant },
    point: { ...heads, loss: value, twin, value: value - twin, ...more },
    identity: JSON.stringify([named(name), level, seed, removed, tokens, value, twin]),
  });
  const own = kind === "integration"
    ? `${strategy}, integrated`
    : strategy === "random"
    ? "random, as a strategy"
    : strategy;
  const beside = measured(random) ? { random, againstRandom: loss - random } : {};
  return [
    entry(own, false, loss, beside),
    ...(kind === "experiment" && measured(random) ? [entry(CONTROL_NAME, true, random)] : []),
  ];
}

function unique(entries: readonly Entry[]): Entry[] {
  const seen = new Map<string, Entry>();
  for (const entry of entries) if (!seen.has(entry.identity)) seen.set(entry.identity, entry);
  return [...seen.values()];
}

function seriesOf(entries: readonly Entry[]): Series[] {
  const series = [...Map.groupBy(entries, (entry) => entry.series)].map(([name, own]): Series => {
    const { floor, run: { kind }, variant } = own[0];
    const groups = [...Map.groupBy(own, groupKey).values()].map(groupOf);
    groups.sort((a, b) => a.share - b.share || (a.level ?? 0) - (b.level ?? 0));
    return { name, floor, kind, variant, groups };
  });
  return series.sort((a, b) => Number(a.floor) - Number(b.floor));
}

/** Integrated runs decide how many heads go: those of a controller are one group. */
function groupKey({ run, point }: Entry): string {
  return run.kind === "integration" ? "" : JSON.stringify([run.level, point.removed, point.total]);
}

function groupOf(entries: readonly Entry[]): Group {
  const points = entries.map(({ point }) => point);
  const against = points.flatMap(({ againstRandom: a }) => a === undefined ? [] : [a]);
  const { level } = entries[0].run;
  return {
    ...(level !== undefined && { level }),
    points,
    share: points.reduce((sum, { share }) => sum + share, 0) / points.length,
    twin: spreadOf(points.map(({ value }) => value)),
    ...(against.length > 0 && { random: spreadOf(against) }),
    better: against.filter((difference) => difference < 0).length,
    beside: against.length,
  };
}

function trajectoriesOf(entries: readonly Entry[]): Trajectory[] {
  const experiments = entries.filter(({ run }) => run.cycles.length > 0);
  const groups = Map.groupBy(experiments, (entry) => entry.series + groupKey(entry));
  return [...groups.values()].flatMap((own): Trajectory[] => {
    const { series: name, floor, run: { level } } = own[0];
    const rows = own.flatMap(({ run }) =>
      run.cycles.flatMap(({ cycle, sparsity, ...cycleLosses }) => {
        const { unpruned_twin_loss: twin, random_pruning_loss: random } = cycleLosses;
        const value = floor ? random : cycleLosses.loss_after_finetuning;
        if (![value, twin, sparsity].every(measured)) return [];
        return [{ cycle, share: sparsity, value: value! - twin! }];
      })
    );
    const points = [...Map.groupBy(rows, ({ cycle }) => cycle)].map(([cycle, at]) => {
      const mean = (key: "share" | "value") => at.reduce((sum, r) => sum + r[key], 0) / at.length;
      return { cycle, share: mean("share"), value: mean("value"), runs: at.length };
    });
    points.sort((a, b) => a.cycle - b.cycle);
    return points.length === 0
      ? []
      : [{ name, floor, ...(level !== undefined && { level }), points }];
  });
}
