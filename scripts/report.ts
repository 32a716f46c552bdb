/**
 * `deno task report`: see --help.
 *
 * @module
 */
import { newCommand, Option, parseCommand, preparing, refuse, runMain, textOption } from "./cli.ts";
import { writeComparison, writeSweep } from "../src/report/comparison.ts";
import { siftRuns } from "../src/report/sift.ts";
import { isSweep } from "../src/report/sweep_folder.ts";
import { writeReport } from "../src/report/write.ts";

const AFTER = `Examples:
  deno task report runs/RUN
  deno task report runs/RUN1 runs/RUN2 runs/RUN3
  deno task report runs/*
  deno task report sweeps/SWEEP`;

await runMain(async () => {
  const command = newCommand({
    name: "deno task report",
    description:
      "Draws run_dir/report.html and run_dir/figures/*.svg again from the records in run_dir. " +
      "Of several runs it draws a comparison: loss against heads removed, with the spread over " +
      "seeds; of a sweep, the comparison of its runs.",
    after: AFTER,
  }).argument(
    "<run_dir...>",
    "folders that runs of deno task experiment, integrate, upgrayedd or sweep left",
  ).addOption(
    new Option(
      "--output <dir>",
      "the folder that a comparison goes to (default: the one that holds all runs)",
    ).argParser(textOption("output")),
  );
  const { output } = parseCommand(command);
  const [dirs] = command.processedArgs;
  if (dirs.length === 1 && output !== undefined) {
    refuse("output is for the comparison of several runs: the report of one goes into its folder");
  }
  console.log(
    await preparing(async () => {
      if (dirs.length > 1) {
        const { dirs: runs, leftOut } = await siftRuns(dirs);
        for (const line of leftOut) console.error(line);
        return await writeComparison(runs, output === undefined ? {} : { output });
      }
      return await isSweep(dirs[0]) ? await writeSweep(dirs[0]) : await writeReport(dirs[0]);
    }),
  );
});
