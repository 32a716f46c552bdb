/**
 * Carries a sweep through on a terminal: for `deno task sweep`, and for an experiment with several seeds.
 *
 * @module
 */
import { join } from "node:path";
import { preparing, printJson, Progress } from "./cli.ts";
import { type LivePort, openLive } from "./live.ts";
import { formatSeconds } from "./progress.ts";
import { carryThrough } from "./run_task.ts";
import { isFile } from "../src/data/files.ts";
import { stepBatch } from "../src/experiment/options.ts";
import { Sweep, type SweepListeners } from "../src/experiment/sweep.ts";
import { checkSweepOptions, type SweepOptions } from "../src/experiment/sweep_options.ts";
import { Gpu } from "../src/gpu/device.ts";
import type { SweepRun, SweepState } from "../src/record.ts";
import { readSwept } from "../src/report/compared.ts";
import { drawSweep } from "../src/report/comparison.ts";
import { compareRuns } from "../src/report/comparing.ts";
import type { Page } from "../src/report/document.ts";
import { comparisonLines, pairedGroups } from "../src/report/paired.ts";
import { comparisonVerdict } from "../src/report/comparison_words.ts";
import { readSweep, runName } from "../src/report/sweep_folder.ts";
import { duration, plural } from "../src/report/theme.ts";
import { drawReport } from "../src/report/write.ts";
import { taskCommand } from "../src/shell.ts";

/**
 * Runs a sweep, or continues one, and tells how it went.
 *
 * @param what Its options, or the folder of one that was begun.
 * @returns The exit code.
 */
export async function runSweep(
  what: { options: SweepOptions; name?: string; resume?: undefined } | {
    options?: undefined;
    resume: string;
  },
  { json, port, signal }: { json: boolean; port: LivePort | undefined; signal: AbortSignal },
): Promise<number> {
  using live = openLive(port);
  const { device } = what.options ?? await preparing(() => optionsOf(what.resume));
  using gpu = await preparing(() => Gpu.open({ device }));
  const progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  const config = { gpu, signal, ...listenersOf(progress, () => sweep.runs) };
  const sweep: Sweep = await preparing(() =>
    what.resume === undefined
      ? Sweep.start(what.options, { ...config, ...(what.name && { name: what.name }) })
      : Sweep.resume(what.resume, config)
  );
  const { dir, page, options } = sweep;
  progress.log(gridLine(options, sweep.runs));
  const resume = taskCommand("sweep --resume", [dir]);
  const where = { dir, resume, shown: () => soFar(sweep) };
  const told = { progress, live };
  const { runs } = await carryThrough(where, told, signal, () => sweep.run(signal));
  const comparison = compareRuns(await readSwept(dir, runs));
  if (json) {
    const verdict = comparisonVerdict(comparison), groups = pairedGroups(comparison);
    printJson({ sweep: dir, page, verdict, options, runs, groups });
  } else console.log([...comparisonLines(comparison), page].join("\n"));
  return tellUnfinished(runs, resume);
}

/** Says which runs did not finish. @returns The exit code. */
function tellUnfinished(runs: readonly SweepRun[], again: string): number {
  const tell = (state: SweepState, what: string) => {
    const those = runs.filter((run) => run.state === state);
    if (those.length > 0) {
      console.error(`${plural(those.length, "run")} of ${runs.length} ${what}:`);
    }
    for (const run of those) console.error(`  ${runName(run)}: ${run.message}`);
    return those.length;
  };
  const failed = tell("failed", "failed");
  if (failed > 0) console.error(`Try them once more with: ${again}`);
  const elsewhere = tell("running", "are being run by other processes");
  if (elsewhere > 0) console.error(`When they have ended: ${again}`);
  return failed + elsewhere > 0 ? 1 : 0;
}

/** The comparison; until a run has ended, the report of the first. */
async function soFar({ dir, runs }: Sweep): Promise<Page> {
  const running = runs.find(({ state }) => state === "running");
  const ended = runs.some(({ state }) => state === "finished" || state === "failed");
  if (running && !ended) {
    const own = join(dir, running.folder);
    if (await isFile(join(own, "data.json"))) return await drawReport(own);
  }
  return await drawSweep(dir, await readSwept(dir, runs));
}

async function optionsOf(dir: string): Promise<SweepOptions> {
  return checkSweepOptions((await readSweep(dir)).options as Partial<SweepOptions>);
}

/** What a sweep runs, in one line. */
export function gridLine(options: SweepOptions, runs: readonly SweepRun[]): string {
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
    onRunEnd(run, index, seconds) {
      spent += seconds;
      ended++;
      const left = runs().slice(index + 1)
        .filter(({ state }) => state !== "finished" && state !== "running").length;
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
