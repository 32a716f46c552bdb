/**
 * `deno task compact`: see --help.
 *
 * @module
 */
import {
  newCommand,
  Option,
  parseCommand,
  preparing,
  printJson,
  Progress,
  refuse,
  runMain,
  textOption,
  wholeOption,
} from "./cli.ts";
import { columns } from "./columns.ts";
import { exportedLines } from "./exported.ts";
import { type Compacted, compactModel, prepareCompact } from "../src/experiment/compact.ts";
import { SPEED_DEFAULTS } from "../src/experiment/speed.ts";
import { Gpu } from "../src/gpu/device.ts";
import type { SpeedRecord } from "../src/record.ts";
import { speedRows, speedVerdict, speedWords } from "../src/report/speed.ts";

const AFTER =
  `Writes the same compact form as deno task export --form compact, and measures it: how fast it is
beside the same model in full shape, where every head is computed, as other programs do, and beside
the most that arithmetic allows for the heads that are gone. The numbers go into speed.json and the
model's card. Both forms are timed in turns; what else the machine does shows in the range.

Examples:
  deno task compact --model_name runs/RUN
  deno task compact --model_name runs/RUN --batch_size 8 --prompt_length 64 --rounds 9 --json`;

const { batch_size, prompt_length, new_tokens, rounds } = SPEED_DEFAULTS;

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task compact",
    description: "Writes a pruned model without the heads that are gone, and measures how much " +
      "faster that is.",
    after: AFTER,
  })
    .addOption(
      new Option(
        "--model_name <name>",
        "a pruned model: its folder, the folder of its run, its URL, or its name on the hub (owner/name@revision)",
      )
        .argParser(textOption("model_name")),
    )
    .addOption(
      new Option("--output_dir <dir>", "where it goes (default: beside the model, NAME-compact)")
        .argParser(textOption("output_dir")),
    )
    .option("--overwrite", "replace a model that is there")
    .option("--no_measure", "write it and measure nothing: no adapter is needed")
    .addOption(
      new Option("--batch_size <number>", "sequences that are computed at once")
        .default(batch_size).argParser(wholeOption("batch_size", { min: 1, max: 4096 })),
    )
    .addOption(
      new Option(
        "--prompt_length <tokens>",
        `tokens of each prompt (default: ${prompt_length}, at most half of the model's context)`,
      ).argParser(wholeOption("prompt_length", { min: 1 })),
    )
    .addOption(
      new Option(
        "--new_tokens <tokens>",
        `tokens that each prompt is continued by (default: ${new_tokens})`,
      ).argParser(wholeOption("new_tokens", { min: 1 })),
    )
    .addOption(
      new Option("--rounds <number>", "how often each is timed")
        .default(rounds).argParser(wholeOption("rounds", { min: 1, max: 1000 })),
    )
    .option("--json", "print what was done as one JSON line");
  const { model_name, output_dir: output, overwrite, no_measure, json, ...options } = parseCommand(
    command,
  );
  if (model_name === undefined) {
    return refuse("model_name is needed: the folder of a run, or of a pruned model");
  }
  const idle = Object.keys(options).find((name) => command.getOptionValueSource(name) === "cli");
  if (no_measure && idle !== undefined) {
    return refuse(`${idle} says what to measure, and no_measure that nothing is: leave one out`);
  }
  const { prepared, gpu } = await preparing(async () => {
    const prepared = await prepareCompact(model_name, {
      ...{ output, overwrite, options },
      onMessage: (line) => console.error(line),
    });
    return { prepared, gpu: no_measure ? undefined : await Gpu.open() };
  });
  using _gpu = gpu;
  using progress = new Progress();
  if (gpu) progress.log(`adapter: ${gpu.info.name}`);
  // what cannot be computed or written here is the model's, the adapter's or the disk's fault
  const done = await preparing(() =>
    compactModel(prepared, gpu, { signal, onProgress: (state) => progress.update(state) })
  );
  progress.stop();
  if (json) printJson(done);
  else console.log(inWords(done));
});

function inWords({ speed, ...exported }: Compacted): string {
  return [...exportedLines(exported), ...(speed ? ["", ...speedLines(speed)] : [])].join("\n");
}

function speedLines(speed: SpeedRecord): string[] {
  const { head, rows } = speedRows(speed);
  return [speedVerdict(speed), "", ...columns([head, ...rows]), "", ...speedWords(speed)];
}
