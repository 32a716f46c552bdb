/**
 * The command line of `deno task upgrayedd`.
 *
 * @module
 */
import {
  type AnyCommand,
  MODEL_HELP,
  newCommand,
  Option,
  parseCommand,
  refuse,
  TEXT_HELP,
  textOption,
} from "./cli.ts";
import { liveOption, type LivePort } from "./live.ts";
import { addOptions, type OptionGroups, runNameOption } from "./option_groups.ts";
import { CONTROLLERS } from "../src/controller/guides.ts";
import { startedBy } from "../src/run/about.ts";
import { preparing } from "../src/errors.ts";
import { readJson } from "../src/data/files.ts";
import {
  checkUpgradeOptions,
  UPGRADE_DEFAULTS,
  UPGRADE_RULES,
  type UpgradeOptions,
} from "../src/experiment/upgrade_options.ts";

/** What the command line asks for: a new upgrade, or one to go on with. */
export type UpgradeCommand =
  & { readonly json: boolean; readonly verbose: boolean; readonly live?: LivePort }
  & (
    | {
      readonly options: UpgradeOptions;
      readonly name?: string;
      readonly dryRun: boolean;
      readonly resume?: undefined;
    }
    | { readonly options?: undefined; readonly name?: undefined; readonly resume: string }
  );

const GROUPS: OptionGroups<UpgradeOptions> = {
  "Model and text:": {
    model: ["<name>", `the model to upgrade: ${MODEL_HELP}`],
    dataset: ["<text>", TEXT_HELP.text],
    dataset_config: ["<name>", TEXT_HELP.dataset_config],
    text_column: ["<name>", TEXT_HELP.text_column],
    data_path: ["<file>", "a file or folder, in place of --dataset"],
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
  "Upgrade:": {
    cycles: ["<number>", "cycles at most; fewer where they no longer pay"],
    pruning_level: [
      "<share>",
      "share of live heads a cycle prunes; the share already pruned or closed comes on top",
    ],
    growth_ratio: ["<share>", "share of pruned heads the first cycle grows; outcomes change it"],
    train_steps: ["<steps>", "optimizer steps in the first cycle; outcomes change it"],
    learning_rate: ["<rate>", "AdamW's highest learning rate"],
    controller_type: ["<name>", "who guides the cycles; see below"],
    controller_weights: ["<path>", "run folder, or its controller.json, whose controller to take"],
    controls: ["", "also run an unpruned twin, and random pruning and growth"],
    again: ["", "upgrade a model that was upgraded before"],
  },
  "At the end:": {
    run_inference: ["", "let model and upgraded model continue the prompt"],
    prompt: ["<text>", "what they go on from"],
    temperature: ["<number>", "0 always takes the likeliest token"],
  },
  "Output:": {
    output_dir: ["<dir>", "folder in which the upgrade gets a folder of its own"],
    save_checkpoints: ["", "save the model after every cycle, not only the best"],
  },
};

const AFTER = `Controllers:
${Object.entries(CONTROLLERS).map(([name, what]) => `  ${name.padEnd(8)}${what}`).join("\n")}

A file given by --json_config holds options by these names, such as {"cycles": 3}; what the command
line says wins. The upgraded model is the folder hf_model of the run's folder: any program loads it.

Examples:
  deno task upgrayedd --model gpt2 --dry_run
  deno task upgrayedd --model gpt2 --dataset ./my.txt --cycles 5 --run_inference
  deno task upgrayedd --resume_from upgraded/RUN`;

/** Options that are on or off; each can be switched off on the command line. */
const FLAGS = Object.entries(UPGRADE_RULES).filter(([, rule]) => rule.kind === "flag")
  .map(([name]) => name);

/** The options that may stand beside `--resume_from`: they do not change what is computed. */
const BESIDE_RESUME = ["resume_from", "json", "verbose", "live"];

/**
 * Parses the command line of an upgrade.
 *
 * @param args The command line; the process's own unless given.
 * @throws {CommanderError | RangeError | TypeError} As `parseCommand` does; TypeError too where the
 * file of options is missing, not JSON, or holds what is not an option.
 */
export async function parseUpgrade(
  args?: readonly string[],
  command: AnyCommand = upgradeCommand(),
): Promise<UpgradeCommand> {
  const values = parseCommand(command, args) as Record<string, unknown>;
  startedBy(command.name(), args ?? Deno.args);
  const shared = {
    json: values.json === true,
    verbose: values.verbose === true,
    ...(values.live !== undefined && { live: values.live as LivePort }),
  };
  if (values.dry_run && shared.live !== undefined) refuse("live and dry_run cannot both be given");
  const given = command.options.map((option) => option.attributeName())
    .filter((name) => command.getOptionValueSource(name) === "cli");
  if (values.resume_from !== undefined) {
    const other = given.find((name) => !BESIDE_RESUME.includes(name));
    if (other) {
      refuse(
        `${other} cannot be changed by --resume_from, which continues with the run's own options`,
      );
    }
    return { resume: values.resume_from as string, ...shared };
  }
  for (const name of FLAGS) {
    if (!given.includes(`no_${name}`)) continue;
    if (given.includes(name)) refuse(`${name} and no_${name} cannot both be given`);
    given.push(name);
  }
  const own = Object.fromEntries(
    given.filter((name) => name in UPGRADE_RULES).map((name) => [name, values[name]]),
  );
  return await preparing(async () => {
    const file = values.json_config as string | undefined;
    const config = file ? await readConfig(file) : {};
    if ("dataset" in own && !("data_path" in own)) delete config.data_path; // it stands in for dataset
    const options = checkUpgradeOptions({ ...config, ...own });
    const name = values.run_name as string | undefined;
    return { options, ...(name && { name }), dryRun: values.dry_run === true, ...shared };
  });
}

async function readConfig(file: string): Promise<Partial<UpgradeOptions>> {
  const config = await readJson(file);
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new TypeError(`${file} must hold a JSON object of options`);
  }
  // spelled with dashes or underscores, as on the command line
  return Object.fromEntries(
    Object.entries(config).map(([name, value]) => {
      const spelled = name.replaceAll("-", "_");
      if (!(spelled in UPGRADE_RULES)) {
        throw new TypeError(
          `${file}: unknown option ${name}; there are ${Object.keys(UPGRADE_RULES).join(", ")}`,
        );
      }
      return [spelled, value];
    }),
  );
}

/** The command with all its options. */
export function upgradeCommand(): AnyCommand {
  const command: AnyCommand = newCommand({
    name: "deno task upgrayedd",
    description:
      "Turns a GPT-2 into an optimised one: cycles prune and regrow its attention heads under a " +
      "controller, beside an unpruned twin. Writes it in Hugging Face's format with a model card.",
    after: AFTER,
  });
  addOptions(command, GROUPS, UPGRADE_RULES, UPGRADE_DEFAULTS);
  const add = (flags: string, help: string, group: string) => {
    const option = new Option(flags, help).helpGroup(group);
    command.addOption(option);
    return option;
  };
  for (const name of FLAGS) {
    const help = name === "controls"
      ? "leave the controls out"
      : `not ${name}, whatever a file says`;
    const option = add(`--no_${name}`, help, "Upgrade:").implies({ [name]: false });
    if (name !== "controls") option.hideHelp();
  }
  add("--dry_run", "say what would be done, with memory and time; write nothing", "Output:");
  add("--json_config <file>", "options from a JSON file; the command line wins", "Output:")
    .argParser(textOption("json_config"));
  add("--resume_from <dir>", "continue an upgrade that was stopped or killed", "Output:")
    .argParser(textOption("resume_from"));
  command.addOption(runNameOption());
  add("--json", "print the results as one JSON line", "Output:");
  add(
    "--verbose",
    "tell what memory is for, and what cycles and controller do, in more detail",
    "Output:",
  );
  command.addOption(liveOption());
  return command;
}
