/**
 * `deno task experiment`: see --help.
 *
 * @module
 */
import { join } from "node:path";
import { preparing, printJson, Progress, runMain } from "./cli.ts";
import { parseExperiment } from "./experiment_options.ts";
import { openLive } from "./live.ts";
import { runSweep } from "./sweep_run.ts";
import { carryThrough, experimentListeners } from "./run_task.ts";
import { isFile } from "../src/data/files.ts";
import { NeuralPlasticityExperiment } from "../src/experiment/neural_plasticity.ts";
import { readFinished, readOptions } from "../src/experiment/run.ts";
import { taskCommand } from "../src/shell.ts";
import { withSeeds } from "../src/experiment/sweep_options.ts";
import { Gpu } from "../src/gpu/device.ts";
import type { Results } from "../src/record.ts";
import { readRun } from "../src/report/read.ts";
import { verdict } from "../src/report/verdict.ts";
import { writeReport } from "../src/report/write.ts";

await runMain(async (signal) => {
  const { options, name, resume, runDir, seeds, json, verbose, live: port } = parseExperiment();
  if (seeds !== undefined) {
    const several = preparing(() => withSeeds(options!, seeds));
    return await runSweep({ options: several, ...(name && { name }) }, { json, port, signal });
  }
  const tell = async (dir: string, results: Results, page: string) => {
    if (json) printJson({ run: dir, ...results });
    else console.log(`${verdict(await readRun(dir))}\n${page}`);
  };
  const done = runDir && await preparing(() => readFinished(runDir, options!));
  if (done) {
    console.error(`${runDir} has finished before: nothing is left to do`);
    const page = join(runDir, "report.html");
    return await tell(runDir, done, await isFile(page) ? page : await writeReport(runDir));
  }
  using live = openLive(port);
  const { device } = options ?? await preparing(() => readOptions(resume!));
  using gpu = await preparing(() => Gpu.open({ device }));
  const progress = new Progress({ follower: live });
  const listeners = { gpu, signal, ...experimentListeners({ progress, live, verbose }) };
  progress.log(`adapter: ${gpu.info.name}`);
  using experiment = await preparing(async () => {
    const experiment = resume === undefined
      ? new NeuralPlasticityExperiment({
        ...listeners,
        options,
        ...(runDir && { runDir }),
        ...(name && { runName: name }),
      })
      : await NeuralPlasticityExperiment.resume(resume, listeners);
    return await experiment.setup();
  });
  const dir = experiment.outputDir;
  const where = { dir, resume: taskCommand("experiment --resume", [dir]) };
  const [results, page] = await carryThrough(where, { progress, live }, signal, async () => {
    const results = await experiment.runPlanned(signal);
    return [results, await writeReport(dir)];
  });
  await tell(dir, results, page);
});
