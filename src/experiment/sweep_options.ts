/**
 * The options of a sweep: those of an experiment, with lists of what is varied.
 *
 * @module
 */
import type { Strategy } from "../plasticity/scores.ts";
import type { SweepPlanRun } from "../record.ts";
import { runName } from "../report/sweep_folder.ts";
import { completeOptions, isOpen, list, type OptionRule } from "./option_rules.ts";
import {
  checkFolding,
  checkOptions,
  DEFAULTS,
  type ExperimentOptions,
  OPTION_RULES,
} from "./options.ts";

/** Everything that decides what a sweep does: the options that its runs share, and the grid. */
export interface SweepOptions
  extends Omit<ExperimentOptions, "strategy" | "pruning_level" | "seed"> {
  /** Which heads go first: one run for each. */
  readonly strategies: readonly Strategy[];
  /** Shares of heads that are gone at the end of a run. */
  readonly levels: readonly number[];
  /** Seeds: each decides batches, samples and random pruning of its runs. */
  readonly seeds: readonly number[];
}

const { strategy: _strategy, pruning_level: _level, seed: _seed, ...SHARED } = DEFAULTS;
const { strategy, pruning_level, seed, ...SHARED_RULES } = OPTION_RULES;

/**
 * A grid of twelve runs that a CPU can bear: each has 70 steps where a run of the experiment has 240
 * at most.
 */
export const SWEEP_DEFAULTS: SweepOptions = Object.freeze({
  ...SHARED,
  strategies: ["importance", "entropy", "magnitude"] as const,
  levels: [0.3, 0.5],
  seeds: [1, 2],
  warmup_steps: 30,
  finetuning_steps: 20,
  cycles: 2,
  output_dir: "sweeps",
});

/** The rule of every option. */
export const SWEEP_RULES: Readonly<Record<keyof SweepOptions, OptionRule>> = {
  strategies: list(strategy),
  levels: list(pruning_level),
  seeds: list(seed),
  ...SHARED_RULES,
};

/**
 * Completes options by {@linkcode SWEEP_DEFAULTS} and checks all of them.
 *
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If a value is of the wrong kind, an option unknown, or two contradict each other.
 */
export function checkSweepOptions(given: Partial<SweepOptions> = {}): SweepOptions {
  const complete = completeOptions(SWEEP_DEFAULTS, SWEEP_RULES, given);
  checkFolding(complete);
  return complete;
}

/**
 * The sweep that repeats one experiment with several seeds: its own, and those that follow it.
 *
 * @throws {RangeError} If a seed would be too large.
 */
export function withSeeds(options: ExperimentOptions, count: number): SweepOptions {
  const { strategy, pruning_level, seed, ...shared } = options;
  return checkSweepOptions({
    ...{ ...shared, strategies: [strategy], levels: [pruning_level] },
    seeds: Array.from({ length: count }, (_, i) => seed + i),
  });
}

/** The runs of a grid in the order they are run: every strategy at every level before the next seed. */
export function planSweep({ strategies, levels, seeds }: SweepOptions): SweepPlanRun[] {
  return seeds.flatMap((seed) =>
    levels.flatMap((pruning_level) =>
      strategies.map((strategy) => {
        const run = { strategy, pruning_level, seed };
        return { ...run, folder: runName(run) };
      })
    )
  );
}

/**
 * The options of one run of a sweep.
 *
 * @param output_dir The sweep's folder.
 */
export function runOptions(
  options: SweepOptions,
  { strategy, pruning_level, seed }: Omit<SweepPlanRun, "folder">,
  output_dir: string,
): ExperimentOptions {
  const { strategies: _, levels: __, seeds: ___, ...shared } = options;
  const { max_length } = shared;
  return checkOptions({
    ...{ ...shared, max_length: isOpen(options, "max_length") ? undefined : max_length },
    ...{ strategy: strategy as Strategy, pruning_level, seed, output_dir },
  });
}
