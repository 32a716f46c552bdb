/**
 * `deno task integrate`: see --help.
 *
 * @module
 */
import { preparing, printJson, Progress, runMain } from "./cli.ts";
import { parseIntegration } from "./integration_command.ts";
import { openLive } from "./live.ts";
import { carryThrough, integrationListeners } from "./run_task.ts";
import {
  readIntegrationOptions,
  resumeIntegration,
  startIntegration,
} from "../src/experiment/integration.ts";
import { taskCommand } from "../src/shell.ts";
import { Gpu } from "../src/gpu/device.ts";
import { integrationVerdict } from "../src/report/integration.ts";
import { writeReport } from "../src/report/write.ts";

await runMain(async (signal) => {
  const { options, name, resume, json, verbose, live: port } = parseIntegration();
  using live = openLive(port);
  const own = options ?? await preparing(() => readIntegrationOptions(resume!));
  using gpu = await preparing(() => Gpu.open({ device: own.device }));
  const progress = new Progress({ follower: live });
  const listeners = { ...integrationListeners({ progress, live, verbose }, own), signal };
  progress.log(`adapter: ${gpu.info.name}`);
  using run = await preparing(() =>
    resume === undefined
      ? startIntegration(gpu, options, listeners, { name })
      : resumeIntegration(gpu, resume, listeners)
  );
  const { dir } = run.folder;
  const where = { dir, resume: taskCommand("integrate --resume", [dir]) };
  const [results, page] = await carryThrough(where, { progress, live }, signal, async () => {
    const results = await run.run(signal);
    return [results, await writeReport(dir)];
  });
  if (json) printJson({ run: dir, ...results });
  else console.log(`${integrationVerdict(results)}\n${page}`);
});
