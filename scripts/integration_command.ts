/**
 * The command line of `deno task integrate`.
 *
 * @module
 */
import { type AnyCommand, MODEL_HELP, newCommand, Option, TEXT_HELP } from "./cli.ts";
import {
  addOptions,
  addRunOptions,
  type OptionGroups,
  parseRun,
  type RunCommand,
} from "./option_groups.ts";
import { CONTROLLERS } from "../src/controller/guides.ts";
import {
  checkIntegrationOptions,
  INTEGRATION_DEFAULTS,
  INTEGRATION_RULES,
  type IntegrationOptions,
} from "../src/experiment/integration_options.ts";
import { GROWTHS } from "../src/plasticity/growth.ts";
import { STRATEGIES } from "../src/plasticity/scores.ts";

const GROUPS: OptionGroups<IntegrationOptions> = {
  "Model and text:": {
    model_name: ["<name>", MODEL_HELP],
    dataset: ["<text>", TEXT_HELP.text],
    dataset_config: ["<name>", TEXT_HELP.dataset_config],
    text_column: ["<name>", TEXT_HELP.text_column],
    sequence_length: ["<tokens>", "tokens in a sequence, at most the model's context"],
    batch_size: ["<number>", "sequences that are computed at once"],
    gradient_accumulation_steps: [
      "<number>",
      "such batches in an optimizer step, one after the other, in the memory of one",
    ],
    recompute: ["", "compute activations again in backward: less memory, more time, the same bits"],
    device: ["<name>", "auto, gpu (refuses a software adapter) or cpu (asks for one)"],
    seed: ["<number>", "decides batches, choices and samples"],
  },
  "Cycles:": {
    max_cycles: ["<number>", "cycles at most; fewer where they no longer pay"],
    training_steps: ["<steps>", "optimizer steps in the first cycle; outcomes change it"],
    learning_rate: ["<rate>", "AdamW's highest learning rate"],
    pruning_level: [
      "<share>",
      "share of live heads a cycle prunes; the share already pruned or closed comes on top",
    ],
    growth_ratio: [
      "<share>",
      "share of pruned heads the first cycle grows; outcomes change it, but 0",
    ],
    regrowth: ["<way>", "what grown heads begin with: warm (their own weights), donor or fresh"],
    max_perplexity_increase: ["<share>", "a cycle that raises the perplexity by more is undone"],
    max_degeneration_score: ["<score>", "so is one whose texts score above this, 0 to 5"],
    eval_tokens: ["<tokens>", "validation tokens scored each time, 0 for all"],
    test_tokens: ["<tokens>", "test tokens scored at the end, 0 for all"],
  },
  "Controller:": {
    controller_type: ["<name>", "who guides the cycles; see below"],
    controller_lr: ["<rate>", "its rate in the first cycle, 0.9 times as much in each next"],
    controller_weights: ["<path>", "run folder, or its controller.json, whose controller to take"],
    update_frequency: [
      "<steps>",
      "training steps between moves of ann's and rule's gates, 0 never",
    ],
  },
  "Memory:": {
    memory: ["<path>", "run folder, or its transformations.json, whose memory to begin with"],
    memory_capacity: ["<number>", "successful transformations that are remembered"],
  },
  "Controls:": {
    controls: ["", "also run an unpruned twin, and random pruning and growth"],
  },
  "Output:": {
    output_dir: ["<dir>", "folder in which the run gets a folder of its own"],
    cycle_models: ["", "save the model after every cycle, not only the best"],
  },
};

const list = (of: Record<string, { name: string; description: string }>) =>
  Object.values(of).map(({ name, description }) => `  ${name.padEnd(21)}${description}`).join("\n");

const AFTER = `Controllers:
${Object.entries(CONTROLLERS).map(([name, what]) => `  ${name.padEnd(8)}${what}`).join("\n")}

Pruning strategies, drawn by how well they have done (never the oracle):
${list(STRATEGIES)}

Growth strategies, likewise:
${list(GROWTHS)}

Examples:
  deno task integrate --max_cycles 5
  deno task integrate --model_name gpt2 --dataset ./my.txt --sequence_length 128 --learning_rate 5e-5`;

/**
 * Parses the command line of an integrated run.
 *
 * @param args The command line; the process's own unless given.
 * @throws {CommanderError | RangeError | TypeError} As `parseCommand` does.
 */
export function parseIntegration(
  args?: readonly string[],
  command: AnyCommand = integrationCommand(),
): RunCommand<IntegrationOptions> {
  const beside = ["verbose"];
  return parseRun(command, args, {
    rules: INTEGRATION_RULES,
    check: checkIntegrationOptions,
    beside,
  });
}

/** The command with all its options. */
export function integrationCommand(): AnyCommand {
  const command: AnyCommand = newCommand({
    name: "deno task integrate",
    description: "A controller guides cycles that prune, measure, grow and learn; how each ends " +
      "changes what the controller says next. The best model stands beside an unpruned twin.",
    after: AFTER,
  });
  addOptions(command, GROUPS, INTEGRATION_RULES, INTEGRATION_DEFAULTS);
  addRunOptions(command);
  return command
    .addOption(
      new Option("--no_cycle_models", "save the best model only").helpGroup("Output:")
        .implies({ cycle_models: false }),
    )
    .addOption(
      new Option(
        "--verbose",
        "tell what memory is for, and what cycles and controller do, in more detail",
      )
        .helpGroup("Output:"),
    );
}
