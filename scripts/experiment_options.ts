/**
 * The command line of `deno task experiment`.
 *
 * @module
 */
import {
  checkOptions,
  DEFAULTS,
  type ExperimentOptions,
  OPTION_RULES,
} from "../src/experiment/options.ts";
import { STRATEGIES } from "../src/plasticity/scores.ts";
import {
  type AnyCommand,
  MODEL_HELP,
  newCommand,
  Option,
  refuse,
  TEXT_HELP,
  textOption,
  wholeOption,
} from "./cli.ts";
import {
  addOptions,
  addRunOptions,
  type OptionGroups,
  parseRun,
  type RunCommand,
} from "./option_groups.ts";

/** Every option of an experiment, by heading. */
export const EXPERIMENT_GROUPS: OptionGroups<ExperimentOptions> = {
  "Model and text:": {
    model_name: ["<name>", MODEL_HELP],
    text: ["<text>", TEXT_HELP.text],
    dataset_config: ["<name>", TEXT_HELP.dataset_config],
    text_column: ["<name>", TEXT_HELP.text_column],
    max_length: ["<tokens>", "tokens in a sequence, at most the model's context"],
    batch_size: ["<number>", "sequences that are computed at once"],
    gradient_accumulation_steps: [
      "<number>",
      "such batches in an optimizer step, one after the other, in the memory of one",
    ],
    recompute: ["", "compute activations again in backward: less memory, more time, the same bits"],
    device: ["<name>", "auto, gpu (refuses a software adapter) or cpu (asks for one)"],
    seed: ["<number>", "decides batches, samples and random pruning"],
  },
  "Training:": {
    learning_rate: ["<rate>", "AdamW's highest learning rate"],
    training_steps: [
      "<steps>",
      "steps over which the learning rate falls to a tenth, 0 for the whole run",
    ],
    warmup_steps: [
      "<steps>",
      "most steps before the first pruning, fewer where the loss is stable",
    ],
    stability_window: ["<number>", "losses that must be stable to end the warm-up"],
    finetuning_steps: ["<steps>", "steps after each pruning"],
    eval_freq: ["<steps>", "steps from one validation to the next"],
    eval_tokens: ["<tokens>", "validation tokens scored each time, 0 for all"],
    test_tokens: ["<tokens>", "test tokens scored at the end, 0 for all"],
  },
  "Pruning:": {
    pruning_level: [
      "<share>",
      "share of heads that are gone at the end, 0 to 1; each layer keeps one",
    ],
    cycles: ["<number>", "times to prune and fine-tune"],
    strategy: ["<name>", "which heads go first; see below"],
    pruning_mode: ["<name>", "compressed (for good), or adaptive: pruned heads may come back"],
    fold_means: ["", "pruned heads leave their mean outputs in c_proj.bias (mean ablation)"],
    controller_reg_weight: ["<weight>", "L1 weight of the controller's gates"],
    controller_update_freq: ["<steps>", "steps from one update of the controller to the next"],
  },
  "Controls:": {
    controls: ["", "also run an unpruned twin and random pruning on the same batches"],
  },
  "Output:": {
    output_dir: ["<dir>", "folder in which the run gets a folder of its own"],
  },
};

/** What each strategy is, for `--help`. */
export const STRATEGIES_HELP: string = `Strategies:
${
  Object.values(STRATEGIES)
    .map(({ name, description }) => `  ${name.padEnd(12)}${description}`).join("\n")
}`;

const AFTER = `${STRATEGIES_HELP}

Options may be spelled with dashes too: --pruning-level=0.3

Examples:
  deno task experiment
  deno task experiment --pruning_level 0.5 --cycles 5 --strategy importance
  deno task experiment --model_name gpt2 --text ./my.txt --max_length 128 --learning_rate 5e-5
  deno task experiment --resume runs/RUN
  deno task experiment --run_dir runs/first --seed 1
  deno task experiment --seeds 5`;

/** What the command line of an experiment asks for. */
export type ExperimentCommand = RunCommand<ExperimentOptions> & {
  /** The run's own folder: begun there, continued, or left alone if it has finished. */
  readonly runDir?: string;
  /** How many seeds it is to be run with, `options.seed` and those that follow it. */
  readonly seeds?: number;
};

/**
 * Parses the command line of an experiment.
 *
 * @param args The command line; the process's own unless given.
 * @param command A fresh one unless given.
 * @throws {CommanderError | RangeError | TypeError} As `parseCommand` does.
 */
export function parseExperiment(
  args?: readonly string[],
  command: AnyCommand = experimentCommand(),
): ExperimentCommand {
  const beside = ["no_wandb", "verbose"];
  const parsed = parseRun(command, args, { rules: OPTION_RULES, check: checkOptions, beside });
  const { run_dir: runDir, seeds } = command.opts();
  if (runDir !== undefined && parsed.name !== undefined) {
    refuse("--run_dir is the run's own folder, and --run_name names one that is made: give one");
  }
  if (seeds !== undefined && runDir !== undefined) {
    refuse("--run_dir is for one run, and --seeds makes several: give one");
  }
  if (runDir !== undefined && command.getOptionValueSource("output_dir") === "cli") {
    refuse("--run_dir is the run's own folder, and --output_dir holds folders of runs: give one");
  }
  return { ...parsed, ...(runDir !== undefined && { runDir }), ...(seeds && { seeds }) };
}

/** The command with all its options. */
export function experimentCommand(): AnyCommand {
  const command: AnyCommand = newCommand({
    name: "deno task experiment",
    description:
      "Trains a GPT-2, prunes its attention heads over several cycles, fine-tunes it, and " +
      "compares the result with an unpruned twin and with random pruning.",
    after: AFTER,
  });
  addOptions(command, EXPERIMENT_GROUPS, OPTION_RULES, DEFAULTS);
  addRunOptions(command);
  return command
    .addOption(
      new Option(
        "--seeds <number>",
        "run it with so many seeds, --seed and those that follow it, and compare: means, spread, and " +
          "differences that are paired by seed",
      ).helpGroup("Controls:").argParser(wholeOption("seeds", { min: 2, max: 1000 })),
    )
    .addOption(
      new Option(
        "--run_dir <dir>",
        "the run's own folder: the run begins there, continues what is there, or does nothing if " +
          "it has finished; give the same options each time",
      ).helpGroup("Output:").argParser(textOption("run_dir")),
    )
    .addOption(
      new Option("--verbose", "tell what memory is for").helpGroup("Output:"),
    )
    .addOption(
      new Option("--no_wandb", "accepted, of no effect: nothing is sent anywhere")
        .helpGroup("Output:"),
    );
}
