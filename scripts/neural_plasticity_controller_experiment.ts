/**
 * `deno task experiment`: see --help.
 *
 * @module
 */
import { preparing, printJson, Progress, runMain } from "./cli.ts";
import { parseExperiment } from "./experiment_options.ts";
import { DivergedError } from "../src/experiment/lockstep.ts";
import { readOptions, resumeExperiment, startExperiment } from "../src/experiment/run.ts";
import { Gpu } from "../src/gpu/device.ts";
import { readRun } from "../src/report/read.ts";
import { verdict } from "../src/report/verdict.ts";
import { writeReport } from "../src/report/write.ts";

await runMain(async (signal) => {
  const { options, resume, json } = parseExperiment();
  using gpu = await preparing(async () => {
    const { device } = options ?? await readOptions(resume);
    return await Gpu.open({ device });
  });
  const progress = new Progress();
  const listeners = {
    onProgress: (p: Parameters<Progress["update"]>[0]) => progress.update(p),
    onMessage: (line: string) => progress.log(line),
  };
  progress.log(`adapter: ${gpu.info.name}`);
  using experiment = await preparing(() =>
    resume === undefined
      ? startExperiment(gpu, options, listeners)
      : resumeExperiment(gpu, resume, listeners)
  );
  const { dir } = experiment.folder;
  try {
    const results = await experiment.run(signal);
    progress.stop();
    const page = await writeReport(dir);
    if (json) printJson({ run: dir, ...results });
    else console.log(`${verdict(await readRun(dir))}\n${page}`);
  } catch (error) {
    progress.stop();
    const command = `deno task experiment --resume ${dir}`;
    if (signal.aborted && error === signal.reason) {
      throw new DOMException(`Stopped. Go on with: ${command}`, "AbortError");
    }
    if (error instanceof DivergedError) console.error(`What was done is in ${dir}`);
    else console.error(`What was done is in ${dir}; go on with: ${command}`);
    throw error;
  }
});
