/**
 * `deno task sweep`: see --help.
 *
 * @module
 */
import { join } from "node:path";
import { preparing, printJson, Progress, runMain } from "./cli.ts";
import { columns } from "./columns.ts";
import { openLive } from "./live.ts";
import { formatSeconds } from "./progress.ts";
import { carryThrough } from "./run_task.ts";
import { parseSweep } from "./sweep_options.ts";
import { stepBatch } from "../src/experiment/options.ts";
import { prepareSweep, Sweep, type SweepListeners } from "../src/experiment/sweep.ts";
import { checkSweepOptions, type SweepOptions } from "../src/experiment/sweep_options.ts";
import { Gpu } from "../src/gpu/device.ts";
import type { SweepRun } from "../src/record.ts";
import { readSwept, runName } from "../src/report/compared.ts";
import { drawSweep, readSweep } from "../src/report/comparison.ts";
import { compareRuns } from "../src/report/comparing.ts";
import { comparisonVerdict } from "../src/report/comparison_words.ts";
import type { Page } from "../src/report/document.ts";
import { duration, plural } from "../src/report/theme.ts";
import { drawReport } from "../src/report/write.ts";

await runMain(async (signal) => {
  const { options: given, resume, json, dryRun, live: port } = parseSweep();
  if (dryRun) return await preparing(() => tellPlan(given, resume, json));
  using live = openLive(port);
  const { device } = given ??
    checkSweepOptions((await preparing(() => readSweep(resume!))).options as Partial<SweepOptions>);
  using gpu = await preparing(() => Gpu.open({ device }));
  const progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  const config = { gpu, signal, ...listenersOf(progress, () => sweep.runs) };
  const sweep: Sweep = await preparing(() =>
    resume === undefined ? Sweep.start(given!, config) : Sweep.resume(resume, config)
  );
  const { dir, page, options } = sweep;
  progress.log(planLine(options, sweep.runs));
  const where = { dir, resume: `deno task sweep --resume ${dir}`, shown: () => soFar(sweep) };
  const told = { progress, live };
  const record = await carryThrough(where, told, signal, () => sweep.run(signal));
  const verdict = comparisonVerdict(compareRuns(await readSwept(dir, record)));
  const failed = record.runs.filter(({ state }) => state === "failed");
  if (json) printJson({ sweep: dir, page, verdict, ...record });
  else console.log(`${verdict.join("\n")}\n${page}`);
  if (failed.length === 0) return;
  console.error(`${plural(failed.length, "run")} of ${record.runs.length} failed:`);
  for (const run of failed) console.error(`  ${runName(run)}: ${run.message}`);
  console.error(`Try them once more with: ${where.resume}`);
  return 1;
});

/** The comparison; until a run has ended, the report of the first. */
async function soFar({ dir, runs }: Sweep): Promise<Page> {
  const running = runs.find(({ state, folder }) => state === "running" && folder !== undefined);
  const ended = runs.some(({ state }) => state === "finished" || state === "failed");
  return running && !ended ? await drawReport(join(dir, running.folder!)) : await drawSweep(dir);
}

/** Says which runs there would be, or are. */
async function tellPlan(
  given: SweepOptions | undefined,
  resume: string | undefined,
  json: boolean,
): Promise<void> {
  const { options, runs } = given ? await prepareSweep(given) : await planOf(resume!);
  if (json) return printJson({ options, runs });
  const rows = runs.map((run) => [runName(run), run.state]);
  console.log([planLine(options, runs), ...columns(rows), "Nothing was written."].join("\n"));
}

async function planOf(dir: string): Promise<{ options: SweepOptions; runs: readonly SweepRun[] }> {
  const { options, runs } = await Sweep.resume(dir);
  return { options, runs };
}

function planLine(options: SweepOptions, runs: readonly SweepRun[]): string {
  const { strategies, levels, seeds, warmup_steps, cycles, finetuning_steps } = options;
  const { max_length, controls } = options;
  const grid = [plural(levels.length, "level"), plural(seeds.length, "seed")].join(" x ");
  const done = runs.filter(({ state }) => state === "finished").length;
  return `${plural(runs.length, "run")}: ${strategies.join(", ")} x ${grid}; each has ` +
    `${warmup_steps} + ${cycles} x ${finetuning_steps} steps of ${
      stepBatch(options)
    } x ${max_length} ` +
    `tokens at most, ${controls ? "beside an unpruned twin and random pruning" : "no controls"}` +
    (done > 0 ? `; ${done} finished before` : "");
}

/** One line for each run that ends, with the time left; what runs say is told by progress alone. */
function listenersOf(progress: Progress, runs: () => readonly SweepRun[]): SweepListeners {
  let name = "", spent = 0, ended = 0;
  return {
    onRunStart: (run, index) => name = `${index + 1}/${runs().length} ${runName(run)}`,
    onProgress: (p) => progress.update({ ...p, phase: name }),
    onRunEnd(run, _index, seconds) {
      spent += seconds;
      ended++;
      const left = runs().filter(({ state }) => state === "waiting").length;
      const how = run.state === "failed" ? `failed: ${run.message}` : "finished";
      progress.log(
        `${name}: ${how} in ${duration(seconds)}` +
          (left > 0
            ? `; ${plural(left, "run")} left, about ${formatSeconds(left * spent / ended)}`
            : ""),
      );
    },
  };
}
