/**
 * The command line of `deno task sweep`.
 *
 * @module
 */
import {
  checkSweepOptions,
  SWEEP_DEFAULTS,
  SWEEP_RULES,
  type SweepOptions,
} from "../src/experiment/sweep_options.ts";
import { type AnyCommand, newCommand, Option, refuse, textOption } from "./cli.ts";
import { EXPERIMENT_GROUPS, STRATEGIES_HELP } from "./experiment_options.ts";
import {
  addOptions,
  addRunOptions,
  type OptionGroups,
  parseRun,
  type RunCommand,
} from "./option_groups.ts";

const { output_dir: _, ...OUTPUT } = EXPERIMENT_GROUPS["Output:"];

const GROUPS: OptionGroups<SweepOptions> = {
  "Grid: a run for each strategy at each level with each seed:": {
    strategies: ["<names>", "which heads go first, separated by commas; see below"],
    levels: ["<shares>", "shares of heads that are gone at the end of a run, 0 to 1"],
    seeds: ["<numbers>", "each decides batches, samples and random pruning of its runs"],
  },
  ...Object.fromEntries(
    Object.entries(EXPERIMENT_GROUPS).map(([heading, options]) => {
      const { strategy: _, pruning_level: __, seed: ___, ...shared } = options;
      return [heading, shared];
    }),
  ),
  "Output:": {
    ...OUTPUT,
    output_dir: ["<dir>", "folder in which the sweep gets a folder of its own, for all its runs"],
  },
};

const AFTER =
  `The grid runs seed by seed, so that the first seed's comparison is there early. By default
there are twelve runs, shorter than those of deno task experiment (fewer steps, and two cycles in
place of three), so that a CPU can bear them; raise --warmup_steps and --finetuning_steps for results
to rely on, and take three seeds or more for a spread that means something.

The folder gets sweep.json (the plan), a run folder for each run, and report.html, which is drawn
again after each run. If a run fails, the next one begins; --resume keeps the runs that finished,
continues those that were stopped, and tries those that failed once more, from their last
checkpoints. A run whose folder was deleted is run again. One process at a time can carry out a
sweep; a run that another process is running is left to it.

--plan writes a file with one command for each run (- for stdout), which work from any folder, in any
order, on all machines that see the same paths: each begins its run, continues it, or does nothing if
it has finished. A run that another process has is refused with exit code 2. --slurm writes the same as
an array for sbatch, which saves before the time limit and queues itself again. docs/many-machines.md
shows both, GNU parallel and Kubernetes.

${STRATEGIES_HELP}

Examples:
  deno task sweep --dry_run
  deno task sweep --strategies importance,random --levels 0.1,0.3 --seeds 1,2,3
  deno task sweep --resume sweeps/SWEEP
  deno task sweep --plan plan.txt --seeds 1,2,3 && parallel --jobs 2 < plan.txt
  deno task sweep --collect sweeps/SWEEP`;

/** What the command line of a sweep asks for. */
export type SweepCommand = RunCommand<SweepOptions> & {
  readonly dryRun: boolean;
  /** Where the plan goes: one command a line. */
  readonly plan?: string;
  /** Where the script of a Slurm array goes. */
  readonly slurm?: string;
  /** A folder whose runs are compared, and nothing is run. */
  readonly collect?: string;
};

/** Options in whose place nothing is run. */
const INSTEAD = ["dry_run", "plan", "slurm", "collect"] as const;

/**
 * Parses the command line of a sweep.
 *
 * @param args The command line; the process's own unless given.
 * @throws {CommanderError | RangeError | TypeError} As `parseCommand` does.
 */
export function parseSweep(
  args?: readonly string[],
  command: AnyCommand = sweepCommand(),
): SweepCommand {
  const parsed = parseRun(command, args, {
    ...{ rules: SWEEP_RULES, check: checkSweepOptions, beside: INSTEAD },
  });
  const given = command.options.map((option) => option.attributeName())
    .filter((name) => command.getOptionValueSource(name) === "cli");
  const { dry_run, plan, slurm, collect } = command.opts();
  const instead = INSTEAD.filter((name) => given.includes(name));
  if (instead.length > 1) refuse(`--${instead[0]} and --${instead[1]} cannot both be given`);
  if (instead.length > 0 && parsed.live !== undefined) {
    refuse(`--live and --${instead[0]} cannot both be given`);
  }
  const other = given.find((name) => name !== "collect" && name !== "json");
  if (collect !== undefined && other) {
    refuse(`--${other} cannot be given beside --collect, which compares the runs that are there`);
  }
  return {
    ...parsed,
    dryRun: dry_run === true,
    ...(plan !== undefined && { plan }),
    ...(slurm !== undefined && { slurm }),
    ...(collect !== undefined && { collect }),
  };
}

/** The command with all its options. */
export function sweepCommand(): AnyCommand {
  const command: AnyCommand = newCommand({
    name: "deno task sweep",
    description:
      "Runs an experiment for every strategy, level and seed of a grid, and compares them: loss " +
      "against heads removed, with the spread over seeds.",
    after: AFTER,
  });
  addOptions(command, GROUPS, SWEEP_RULES, SWEEP_DEFAULTS);
  addRunOptions(command, "sweep");
  const instead = (flags: string, help: string, name?: string) => {
    const option = new Option(flags, help).helpGroup("Instead of running it:");
    return name ? option.argParser(textOption(name)) : option;
  };
  return command
    .addOption(instead("--dry_run", "say which runs there would be, and write nothing"))
    .addOption(
      instead(
        "--plan <file>",
        "make the folder, and write one command for each run: see below",
        "plan",
      ),
    )
    .addOption(
      instead("--slurm <file>", "the same as the script of a Slurm array, for sbatch", "slurm"),
    )
    .addOption(
      instead(
        "--collect <dir>",
        "compare all runs in a folder, and say which are missing",
        "collect",
      ),
    );
}
