/**
 * `deno task upgrayedd`: see --help.
 *
 * @module
 */
import { preparing, printJson, Progress, runMain } from "./cli.ts";
import { openLive } from "./live.ts";
import { carryThrough, integrationListeners } from "./run_task.ts";
import { parseUpgrade } from "./upgrade_command.ts";
import { estimateIntegration, type RunEstimate } from "../src/experiment/estimate.ts";
import { allocationOf } from "../src/experiment/integration.ts";
import { memoryTable, planMemory } from "../src/experiment/memory_plan.ts";
import { stepBatch } from "../src/experiment/options.ts";
import {
  type PreparedUpgrade,
  prepareUpgrade,
  readUpgradeOptions,
  resumeUpgrade,
  startUpgrade,
} from "../src/experiment/upgrade.ts";
import { integrationOf } from "../src/experiment/upgrade_options.ts";
import { checkIntegrationOptions } from "../src/experiment/integration_options.ts";
import { taskCommand } from "../src/shell.ts";
import { Gpu } from "../src/gpu/device.ts";
import { integrationVerdict } from "../src/report/integration.ts";
import { count, duration } from "../src/report/theme.ts";
import { writeReport } from "../src/report/write.ts";
import { byteCount } from "../src/units.ts";

await runMain(async (signal) => {
  const command = await parseUpgrade();
  const { resume, json, verbose } = command;
  using live = openLive(command.live);
  const options = command.options ?? await preparing(() => readUpgradeOptions(resume!));
  const prepared = resume === undefined
    ? await preparing(() =>
      prepareUpgrade(options, { signal, onMessage: (line) => console.error(line) })
    )
    : undefined;
  using gpu = await preparing(() => Gpu.open({ device: options.device }));
  const progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  if (prepared && command.options && command.dryRun) {
    const { options, materials } = prepared;
    const memory = preparing(() => planMemory(gpu, materials.model, allocationOf(options)));
    if (!json) console.log(memoryTable(memory).join("\n"));
    const estimate = await preparing(() => estimateIntegration(gpu, options, materials));
    if (json) printJson({ plan: prepared.upgrade, memory, estimate });
    else console.log(plan(prepared, estimate));
    return;
  }
  const integration = checkIntegrationOptions(integrationOf(options));
  const listeners = {
    ...integrationListeners({ progress, live, verbose }, integration),
    signal,
  };
  using run = await preparing(() =>
    prepared
      ? startUpgrade(gpu, prepared, listeners, command.name)
      : resumeUpgrade(gpu, resume!, listeners)
  );
  const { dir } = run.folder;
  const where = { dir, resume: taskCommand("upgrayedd --resume_from", [dir]) };
  const { results, model, inference, page } = await carryThrough(
    where,
    { progress, live },
    signal,
    async () => ({ ...await run.run(signal), page: await writeReport(dir) }),
  );
  if (json) return printJson({ run: dir, model, inference, ...results });
  console.log(integrationVerdict(results));
  if (inference) {
    const { prompt, before, after } = inference;
    console.log(`\nBefore: ${prompt}${before}\n\nAfter:  ${prompt}${after}`);
  }
  console.log(`\n${model}\n${page}`);
});

/** What would be done, and what it would need. */
function plan({ options, materials, upgrade }: PreparedUpgrade, estimate: RunEstimate): string {
  const { model: { config, live }, parts } = materials;
  const percent = (share: number) => `${Number((100 * share).toFixed(1))} %`;
  const time = (seconds: number) =>
    seconds < 1 ? `${(1000 * seconds).toFixed(0)} ms` : duration(seconds);
  const rows = [
    [
      "model",
      `${upgrade.model}: ${config.L} layers x ${config.NH} heads, ${live.flat().length} live, ` +
      `${count(estimate.parameters)} parameters`,
    ],
    ["text", `${options.dataset}: ${count(parts.train.length)} tokens to train on`],
    [
      "cycles",
      `${options.max_cycles} at most: prune ${
        percent(options.pruning_level)
      } of live heads, grow ` +
      `${percent(options.growth_ratio)} of pruned ones, train ${options.training_steps} steps of ` +
      `${stepBatch(options)} x ${options.sequence_length} tokens`,
    ],
    ["controller", options.controller_type],
    ["controls", options.controls ? "unpruned twin, random pruning and growth" : "none"],
    [
      "memory",
      `${byteCount(estimate.device_bytes)} on the device, allocated and counted; up to ` +
      `${byteCount(estimate.host_bytes)} on the host; a run folder of at most ${
        byteCount(estimate.disk_bytes)
      }`,
    ],
    [
      "time",
      `about ${time(estimate.total_s)}: a step takes ${time(estimate.step_s)}, a look at the ` +
      `validation text ${time(estimate.evaluation_s)}, new kernels ${
        time(estimate.compile_s)
      } (timed)`,
    ],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return [...rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`), "Nothing was written."]
    .join("\n");
}
