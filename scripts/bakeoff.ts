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
import { liveOption, openLive } from "./live.ts";
import { refuseBesideResume } from "./option_groups.ts";
import { carryThrough } from "./run_task.ts";
import { writeWhole } from "../src/data/files.ts";
import {
  bakeoff,
  BAKEOFF_LEVELS,
  type BakeoffOptions,
  type BakeoffProgress,
  type BakeoffState,
  checkBakeoff,
  prepareBakeoff,
} from "../src/experiment/bakeoff.ts";
import { DEFAULTS } from "../src/experiment/options.ts";
import { checkUnchanged, tellOtherAdapter } from "../src/experiment/resume.ts";
import { environmentRecord } from "../src/experiment/run.ts";
import { RunFolder, shortName } from "../src/experiment/run_folder.ts";
import {
  beginWork,
  continueWork,
  endWork,
  readWork,
  workBeginning,
} from "../src/experiment/work_folder.ts";
import { Gpu } from "../src/gpu/device.ts";
import type { DataRecord } from "../src/record.ts";
import { taskCommand } from "../src/shell.ts";
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
    .addOption(
      new Option("--resume <dir>", "continue a bake-off that was stopped or killed")
        .argParser(textOption("resume")),
    )
    .option("--json", "print the record as one JSON line")
    .addOption(liveOption());
  const { output_dir, json, live: port, resume, ...own } = parseCommand(command);
  if (resume !== undefined) refuseBesideResume(command, ["json", "live"]);
  using live = openLive(port);
  const { gpu, options, materials, folder, continuing } = await preparing(async () => {
    const say = (line: string) => console.error(line);
    const listeners = { signal, onMessage: say };
    const began = resume === undefined
      ? undefined
      : await readWork<BakeoffOptions, DataRecord>(resume, "bakeoff");
    const asked = command.getOptionValueSource("max_length") === "default"
      ? { ...own, max_length: undefined }
      : own;
    const prepared = await prepareBakeoff(began?.options ?? asked, listeners, began?.data);
    const { options, materials } = prepared;
    if (began) checkUnchanged(began.data, materials.record, options.model_name);
    const gpu = await Gpu.open();
    await checkBakeoff(gpu, options, materials, listeners);
    if (resume !== undefined) {
      const work = await continueWork<BakeoffState>(resume, "bakeoff", say);
      await tellOtherAdapter(work.folder, gpu, say);
      return { gpu, ...prepared, ...work };
    }
    const environment = environmentRecord(gpu);
    const beginning = workBeginning({ options, data: materials.record, environment });
    const folder = await RunFolder.create(output_dir, shortName(own.model_name), {
      ...{ kind: "bakeoff", beginning, say },
    });
    return { gpu, ...prepared, ...beginWork<BakeoffState>(folder) };
  });
  const { dir } = folder;
  using _folder = folder;
  using _gpu = gpu;
  using progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  let said = "";
  const onProgress = ({ what, done, total, soFar }: BakeoffProgress) => {
    if (what !== said) progress.log(said = what);
    live?.progress({ phase: what, step: done, total });
    if (soFar) live?.show(() => renderBakeoff(soFar, total));
  };
  const where = {
    dir,
    resume: taskCommand("bakeoff --resume", [dir]),
    shown: undefined,
  };
  const [record, page] = await carryThrough(where, { progress, live }, signal, async () => {
    const record = await bakeoff(gpu, options, materials, onProgress, signal, continuing);
    await writeWhole(`${dir}/bakeoff.json`, toJson(record, 2) + "\n");
    const page = await writeBakeoff(dir, record);
    await endWork(folder); // until here it can be continued
    live?.show(() => renderBakeoff(record));
    return [record, page];
  });
  if (json) return printJson({ folder: dir, ...record });
  const { head, rows } = bakeoffRows(record);
  console.log(
    `${bakeoffVerdict(record)}\n\n${columns([head, ...rows], "").join("\n")}\n\n${page}`,
  );
});
