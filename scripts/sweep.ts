/**
 * `deno task sweep`: see --help.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { preparing, printJson, runMain } from "./cli.ts";
import { columns } from "./columns.ts";
import { checkNewFile, planLines, writeLines } from "./plan.ts";
import { slurmScript, submitCommand } from "./slurm.ts";
import { parseSweep, type SweepCommand } from "./sweep_options.ts";
import { gridLine, runSweep } from "./sweep_run.ts";
import { isFile } from "../src/data/files.ts";
import { newSweepFolder, prepareSweep, Sweep } from "../src/experiment/sweep.ts";
import type { SweepOptions } from "../src/experiment/sweep_options.ts";
import { RUN_MARK, type SweepRun } from "../src/record.ts";
import { collectRuns } from "../src/report/collect.ts";
import { namedFrom, writeSweep } from "../src/report/comparison.ts";
import { compareRuns } from "../src/report/comparing.ts";
import { comparisonLines, comparisonRecord } from "../src/report/paired.ts";
import { runName } from "../src/report/sweep_folder.ts";
import { plural } from "../src/report/theme.ts";
import { taskCommand } from "../src/shell.ts";

await runMain(async (signal) => {
  const command = parseSweep();
  const { options: given, name, resume, json, dryRun, plan, slurm, collect, live: port } = command;
  if (collect !== undefined) return await preparing(() => tellCollected(collect, json));
  if (plan !== undefined || slurm !== undefined) {
    const files = { ...(plan !== undefined && { plan }), ...(slurm !== undefined && { slurm }) };
    return await preparing(() => writePlan(files, command));
  }
  if (dryRun) return await preparing(() => tellPlan(given, resume, json));
  const what = resume === undefined ? { options: given!, ...(name && { name }) } : { resume };
  return await runSweep(what, { json, port, signal });
});

/** Says which runs there would be, or are. */
async function tellPlan(
  given: SweepOptions | undefined,
  resume: string | undefined,
  json: boolean,
): Promise<void> {
  const { options, runs } = given ? await planOf(given) : await Sweep.resume(resume!);
  if (json) return printJson({ options, runs });
  const rows = runs.map((run) => [runName(run), run.state]);
  console.log([gridLine(options, runs), ...columns(rows), "Nothing was written."].join("\n"));
}

/** Makes a sweep's folder, if it is not there, and writes a command for each of its runs. */
async function writePlan(
  { plan, slurm }: { plan?: string; slurm?: string },
  { options: given, name, resume, json }: SweepCommand,
): Promise<void> {
  const path = (plan ?? slurm)!;
  await checkNewFile(path);
  const { options, runs } = given ? await planOf(given) : await Sweep.resume(resume!);
  const write = (dir: string) => {
    const lines = planLines(options, runs, dir), logs = join(dir, "logs");
    return { logs, lines: slurm === undefined ? lines : [slurmScript(lines, dir, logs)] };
  };
  write(resolve(given?.output_dir ?? resume!)); // which refuses what no file takes
  const dir = resolve(given ? await newSweepFolder(options, runs, name) : resume!);
  const { logs, lines } = write(dir);
  if (slurm !== undefined) await Deno.mkdir(logs, { recursive: true });
  await writeLines(path, lines);
  const then = taskCommand("sweep --collect", [dir]);
  if (json) return printJson({ sweep: dir, ...(plan ? { plan } : { slurm }), runs });
  const next = slurm === undefined ? "" : `Submit them with: ${submitCommand(slurm)}\n`;
  console.error(`${plural(runs.length, "command")} in ${path}\n${next}When they have run: ${then}`);
}

/** Compares the runs in a folder, and says which were left out. */
async function tellCollected(dir: string, json: boolean): Promise<void> {
  if (await isFile(join(dir, RUN_MARK))) {
    throw new TypeError(`${dir} is the folder of one run: give the folder that holds several`);
  }
  const runs = namedFrom(dir, await collectRuns(dir));
  const page = await writeSweep(dir, runs);
  const comparison = compareRuns(runs), record = comparisonRecord(comparison);
  if (json) return printJson({ page, ...record });
  console.log([...comparisonLines(comparison), page].join("\n"));
  const { left_out: out } = record;
  if (out.length > 0) console.error(`${plural(out.length, "run")} of ${runs.length} left out:`);
  for (const { run, state, reason } of out) {
    console.error(`  ${run}: ${state}${reason === undefined ? "" : `: ${reason}`}`);
  }
}

async function planOf(given: SweepOptions) {
  const { options, runs } = await prepareSweep(given);
  return { options, runs: runs.map((run): SweepRun => ({ ...run, state: "waiting" })) };
}
