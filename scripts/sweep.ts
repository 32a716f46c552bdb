/**
 * `deno task sweep`: see --help.
 *
 * @module
 */
import { join, relative, resolve } from "node:path";
import { preparing, printJson, Progress, runMain } from "./cli.ts";
import { columns } from "./columns.ts";
import { openLive } from "./live.ts";
import { formatSeconds } from "./progress.ts";
import { checkNewFile, planLines, writeLines } from "./plan.ts";
import { carryThrough } from "./run_task.ts";
import { slurmScript, submitCommand } from "./slurm.ts";
import { parseSweep } from "./sweep_options.ts";
import { isFile } from "../src/data/files.ts";
import { stepBatch } from "../src/experiment/options.ts";
import {
  newSweepFolder,
  prepareSweep,
  Sweep,
  type SweepListeners,
} from "../src/experiment/sweep.ts";
import { checkSweepOptions, type SweepOptions } from "../src/experiment/sweep_options.ts";
import { shellCommand } from "../src/shell.ts";
import { Gpu } from "../src/gpu/device.ts";
import { RUN_MARK, type SweepRun, type SweepState } from "../src/record.ts";
import { collectRuns } from "../src/report/collect.ts";
import { isComparable, readSwept } from "../src/report/compared.ts";
import { drawSweep, writeSweep } from "../src/report/comparison.ts";
import { compareRuns } from "../src/report/comparing.ts";
import { comparisonVerdict } from "../src/report/comparison_words.ts";
import type { Page } from "../src/report/document.ts";
import { readSweep, runName } from "../src/report/sweep_folder.ts";
import { duration, plural } from "../src/report/theme.ts";
import { drawReport } from "../src/report/write.ts";
import { shellQuote } from "../src/shell.ts";

await runMain(async (signal) => {
  const { options: given, resume, json, dryRun, plan, slurm, collect, live: port } = parseSweep();
  if (collect !== undefined) return await preparing(() => tellCollected(collect, json));
  if (plan !== undefined || slurm !== undefined) {
    const files = { ...(plan !== undefined && { plan }), ...(slurm !== undefined && { slurm }) };
    return await preparing(() => writePlan(files, given, resume, json));
  }
  if (dryRun) return await preparing(() => tellPlan(given, resume, json));
  using live = openLive(port);
  const { device } = given ?? await preparing(() => optionsOf(resume!));
  using gpu = await preparing(() => Gpu.open({ device }));
  const progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  const config = { gpu, signal, ...listenersOf(progress, () => sweep.runs) };
  const sweep: Sweep = await preparing(() =>
    resume === undefined ? Sweep.start(given!, config) : Sweep.resume(resume, config)
  );
  const { dir, page, options } = sweep;
  progress.log(planLine(options, sweep.runs));
  const where = {
    dir,
    resume: shellCommand("deno task sweep --resume", [dir]),
    shown: () => soFar(sweep),
  };
  const told = { progress, live };
  const { runs } = await carryThrough(where, told, signal, () => sweep.run(signal));
  const verdict = comparisonVerdict(compareRuns(await readSwept(dir, runs)));
  if (json) printJson({ sweep: dir, page, verdict, options, runs });
  else console.log(`${verdict.join("\n")}\n${page}`);
  return tellUnfinished(runs, where.resume);
});

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

/** Says which runs there would be, or are. */
async function tellPlan(
  given: SweepOptions | undefined,
  resume: string | undefined,
  json: boolean,
): Promise<void> {
  const { options, runs } = given ? await planOf(given) : await Sweep.resume(resume!);
  if (json) return printJson({ options, runs });
  const rows = runs.map((run) => [runName(run), run.state]);
  console.log([planLine(options, runs), ...columns(rows), "Nothing was written."].join("\n"));
}

/** Makes a sweep's folder, if it is not there, and writes a command for each of its runs. */
async function writePlan(
  { plan, slurm }: { plan?: string; slurm?: string },
  given: SweepOptions | undefined,
  resume: string | undefined,
  json: boolean,
): Promise<void> {
  const path = (plan ?? slurm)!;
  await checkNewFile(path);
  const { options, runs } = given ? await planOf(given) : await Sweep.resume(resume!);
  const write = (dir: string) => {
    const lines = planLines(options, runs, dir), logs = join(dir, "logs");
    return { logs, lines: slurm === undefined ? lines : [slurmScript(lines, dir, logs)] };
  };
  write(resolve(given?.output_dir ?? resume!)); // which refuses what no file takes
  const dir = resolve(given ? await newSweepFolder(options, runs) : resume!);
  const { logs, lines } = write(dir);
  if (slurm !== undefined) await Deno.mkdir(logs, { recursive: true });
  await writeLines(path, lines);
  const then = `deno task sweep --collect ${shellQuote(dir)}`;
  if (json) return printJson({ sweep: dir, ...(plan ? { plan } : { slurm }), runs });
  const next = slurm === undefined ? "" : `Submit them with: ${submitCommand(slurm)}\n`;
  console.error(`${plural(runs.length, "command")} in ${path}\n${next}When they have run: ${then}`);
}

/** Compares the runs in a folder, and says which were left out. */
async function tellCollected(dir: string, json: boolean): Promise<void> {
  if (await isFile(join(dir, RUN_MARK))) {
    throw new TypeError(`${dir} is the folder of one run: give the folder that holds several`);
  }
  const runs = await collectRuns(dir);
  const page = await writeSweep(dir, runs);
  const verdict = comparisonVerdict(compareRuns(runs));
  const out = runs.filter((run) => !isComparable(run)).map(({ name, dir: own, state, reason }) => ({
    name: own === undefined ? name : relative(dir, own),
    state,
    ...(reason !== undefined && { reason }),
  }));
  if (json) return printJson({ page, verdict, compared: runs.length - out.length, left_out: out });
  console.log(`${verdict.join("\n")}\n${page}`);
  if (out.length > 0) console.error(`${plural(out.length, "run")} of ${runs.length} left out:`);
  for (const { name, state, reason } of out) {
    console.error(`  ${name}: ${state}${reason === undefined ? "" : `: ${reason}`}`);
  }
}

async function planOf(given: SweepOptions) {
  const { options, runs } = await prepareSweep(given);
  return { options, runs: runs.map((run): SweepRun => ({ ...run, state: "waiting" })) };
}

async function optionsOf(dir: string): Promise<SweepOptions> {
  return checkSweepOptions((await readSweep(dir)).options as Partial<SweepOptions>);
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
