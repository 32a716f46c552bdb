/**
 * `deno task report`: see --help.
 *
 * @module
 */
import { newCommand, parseCommand, preparing, runMain } from "./cli.ts";
import { writeReport } from "../src/report/write.ts";

const AFTER = `Example:
  deno task report runs/RUN`;

await runMain(async () => {
  const command = newCommand({
    name: "deno task report",
    description:
      "Draws run_dir/report.html and run_dir/figures/*.svg again from the records in run_dir.",
    after: AFTER,
  }).argument(
    "<run_dir>",
    "the folder that a run of deno task experiment, integrate or upgrayedd left",
  );
  parseCommand(command);
  const [dir] = command.processedArgs;
  console.log(await preparing(() => writeReport(dir)));
});
