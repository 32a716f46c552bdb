/**
 * `deno task bakeoff`: see --help.
 *
 * @module
 */
import {
  datasetConfigOption,
  MODEL_HELP,
  newCommand,
  Option,
  parseCommand,
  preparing,
  printJson,
  Progress,
  runMain,
  TEXT_HELP,
  textColumnOption,
  textOption,
  wholeOption,
} from "./cli.ts";
import { columns } from "./columns.ts";
import { liveOption, openLive, toTheEnd } from "./live.ts";
import { writeWhole } from "../src/data/files.ts";
import {
  bakeoff,
  BAKEOFF_LEVELS,
  type BakeoffProgress,
  checkBakeoff,
  prepareBakeoff,
} from "../src/experiment/bakeoff.ts";
import { DEFAULTS } from "../src/experiment/options.ts";
import { newFolder, shortName } from "../src/experiment/run_folder.ts";
import { Gpu } from "../src/gpu/device.ts";
import { bakeoffRows, bakeoffVerdict, renderBakeoff, writeBakeoff } from "../src/report/bakeoff.ts";
import { toJson } from "../src/json.ts";

const LEVELS = BAKEOFF_LEVELS.map((level) => `${100 * level}`).join(", ");

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task bakeoff",
    description:
      "Scores every head by every pruning strategy, and tells which score to trust, on text that " +
      "no score has seen: its rank correlation with the loss without each head, and the loss " +
      `after removing ${LEVELS} % of the heads by it, without retraining.`,
    after: "The folder gets bakeoff.json, report.html and figures/*.svg.",
  })
    .addOption(
      new Option("--model_name <name>", MODEL_HELP).default(DEFAULTS.model_name).argParser(
        textOption("model_name"),
      ),
    )
    .addOption(
      new Option(
        "--text <text>",
        TEXT_HELP.text,
      )
        .default(DEFAULTS.text).argParser(textOption("text")),
    )
    .addOption(datasetConfigOption())
    .addOption(textColumnOption())
    .addOption(
      new Option("--max_length <tokens>", "tokens in a sequence, at most the model's context")
        .default(DEFAULTS.max_length).argParser(wholeOption("max_length", { min: 1 })),
    )
    .addOption(
      new Option("--batch_size <number>", "sequences in a batch")
        .default(DEFAULTS.batch_size).argParser(wholeOption("batch_size", { min: 1, max: 4096 })),
    )
    .addOption(
      new Option("--eval_tokens <tokens>", "validation tokens scored each time, 0 for all")
        .default(DEFAULTS.eval_tokens).argParser(wholeOption("eval_tokens", { min: 0 })),
    )
    .addOption(
      new Option("--seed <number>", "decides the random strategy")
        .default(DEFAULTS.seed).argParser(wholeOption("seed", { min: 0 })),
    )
    .addOption(
      new Option("--output_dir <dir>", "folder in which the bake-off gets a folder of its own")
        .default("bakeoffs").argParser(textOption("output_dir")),
    )
    .option("--json", "print the record as one JSON line")
    .addOption(liveOption());
  const { output_dir, json, live: port, ...given } = parseCommand(command);
  using live = openLive(port);
  const { gpu, options, materials, dir } = await preparing(async () => {
    const listeners = { signal, onMessage: (line: string) => console.error(line) };
    const prepared = await prepareBakeoff(given, listeners);
    const gpu = await Gpu.open();
    await checkBakeoff(gpu, prepared.options, prepared.materials, listeners);
    return { gpu, ...prepared, dir: await newFolder(output_dir, shortName(given.model_name)) };
  });
  using _gpu = gpu;
  using progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  let said = "";
  try {
    const onProgress = ({ what, done, total, soFar }: BakeoffProgress) => {
      if (what !== said) progress.log(said = what);
      live?.progress({ phase: what, step: done, total });
      if (soFar) live?.show(() => renderBakeoff(soFar, total));
    };
    const [record, page] = await toTheEnd(live, signal, async () => {
      const record = await bakeoff(gpu, options, materials, onProgress, signal);
      await writeWhole(`${dir}/bakeoff.json`, toJson(record, 2) + "\n");
      const page = await writeBakeoff(dir, record);
      live?.show(() => renderBakeoff(record));
      return [record, page];
    }, { kept: `Its report is ${dir}/report.html.` });
    if (json) return printJson({ folder: dir, ...record });
    const { head, rows } = bakeoffRows(record);
    console.log(
      `${bakeoffVerdict(record)}\n\n${columns([head, ...rows], "").join("\n")}\n\n${page}`,
    );
  } catch (error) {
    await Deno.remove(dir).catch(() => {}); // where nothing is in it yet
    throw error;
  }
});
