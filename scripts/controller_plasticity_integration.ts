/**
 * `deno task integrate`: see --help.
 *
 * @module
 */
import {
  type AnyCommand,
  newCommand,
  Option,
  parseCommand,
  preparing,
  printJson,
  Progress,
  runMain,
} from "./cli.ts";
import { addOptions, type OptionGroups } from "./option_groups.ts";
import { ControllerPlasticityIntegration } from "../src/experiment/integration.ts";
import {
  checkIntegrationOptions,
  INTEGRATION_DEFAULTS,
  INTEGRATION_RULES,
  type IntegrationOptions,
} from "../src/experiment/integration_options.ts";
import { Gpu } from "../src/gpu/device.ts";
import { GROWTHS } from "../src/plasticity/growth.ts";
import { STRATEGIES } from "../src/plasticity/scores.ts";
import { integrationVerdict } from "../src/report/integration.ts";

const GROUPS: OptionGroups<IntegrationOptions> = {
  "Model and text:": {
    model_name: ["<dir>", "embedded (1M parameters), or a Hugging Face GPT-2 folder or its URL"],
    dataset: [
      "<file>",
      "moby_dick (embedded), tiny_shakespeare (fetched once), or a UTF-8 text file",
    ],
    sequence_length: ["<tokens>", "tokens in a sequence, at most the model's context"],
    batch_size: ["<number>", "sequences in a batch"],
    device: ["<name>", "auto, gpu (refuses a software adapter) or cpu (asks for one)"],
    seed: ["<number>", "decides batches, choices and samples"],
  },
  "Cycles:": {
    max_cycles: ["<number>", "cycles at most; fewer where they no longer pay"],
    training_steps: ["<steps>", "optimizer steps in the first cycle; outcomes change it"],
    learning_rate: ["<rate>", "AdamW's highest learning rate"],
    regrowth: ["<way>", "what grown heads begin with: warm (their own weights), donor or fresh"],
    max_perplexity_increase: ["<share>", "a cycle that raises the perplexity by more is undone"],
    max_degeneration_score: ["<score>", "so is one whose texts score above this, 0 to 5"],
    eval_tokens: ["<tokens>", "validation tokens scored each time, 0 for all"],
    test_tokens: ["<tokens>", "test tokens scored at the end, 0 for all"],
    controls: ["", "also run an unpruned twin, and random pruning and growth"],
  },
  "Controller:": {
    controller_type: ["<name>", "ann (trained gates and rules), rule (rules alone), static (none)"],
    controller_lr: ["<rate>", "its rate in the first cycle, 0.9 times as much in each next"],
  },
  "Output:": {
    output_dir: ["<dir>", "folder in which the run gets a folder of its own"],
  },
};

const list = (of: Record<string, { name: string; description: string }>) =>
  Object.values(of).map(({ name, description }) => `  ${name.padEnd(21)}${description}`).join("\n");

const AFTER = `Pruning strategies, drawn by how well they have done (never the oracle):
${list(STRATEGIES)}

Growth strategies, likewise:
${list(GROWTHS)}

Examples:
  deno task integrate --max_cycles 5
  deno task integrate --model_name ./gpt2 --dataset ./my.txt --sequence_length 128 --learning_rate 5e-5`;

await runMain(async (signal) => {
  const command: AnyCommand = newCommand({
    name: "deno task integrate",
    description: "A controller guides cycles that prune, measure, grow and learn; how each ends " +
      "changes what the controller says next. The best model stands beside an unpruned twin.",
    after: AFTER,
  });
  addOptions(command, GROUPS, INTEGRATION_RULES, INTEGRATION_DEFAULTS);
  command
    .addOption(
      new Option("--no_controls", "leave the controls out").helpGroup("Cycles:")
        .implies({ controls: false }),
    )
    .addOption(new Option("--json", "print the results as one JSON line").helpGroup("Output:"))
    .addOption(
      new Option("--verbose", "accepted, of no effect: cycles are always told")
        .helpGroup("Output:"),
    );
  const values = parseCommand(command) as Record<string, unknown>;
  const own = Object.fromEntries(
    Object.keys(INTEGRATION_RULES).map((name) => [name, values[name]]),
  ) as Partial<IntegrationOptions>;
  const progress = new Progress();
  const { gpu, run } = await preparing(async () => {
    const options = checkIntegrationOptions(own);
    const gpu = await Gpu.open({ device: options.device });
    progress.log(`adapter: ${gpu.info.name}`);
    const tokens = options.batch_size * options.sequence_length * (options.controls ? 3 : 1);
    const run = await ControllerPlasticityIntegration.start(gpu, options, {
      onMessage: (line) => progress.log(line),
      onStep: ({ cycle, done, steps, loss }) =>
        progress.update({
          phase: `cycle ${cycle}`,
          step: done,
          total: steps,
          loss,
          tokens: done * tokens,
        }),
    });
    return { gpu, run };
  });
  using _gpu = gpu;
  using _run = run;
  try {
    const results = await run.runIntegratedOptimization(signal);
    progress.stop();
    if (values.json) printJson({ run: run.folder.dir, ...results });
    else console.log(`${integrationVerdict(results)}\n${run.folder.dir}`);
  } catch (error) {
    progress.stop();
    console.error(`What was done is in ${run.folder.dir}`);
    throw error;
  }
});
