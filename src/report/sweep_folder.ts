/**
 * A sweep's folder: its plan, and how each of its runs stands, which the run folders tell.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { checkFolder, isFile, isFolder, readWhole } from "../data/files.ts";
import { pathInside } from "../data/paths.ts";
import {
  type EventRow,
  parseJsonLines,
  RUN_MARK,
  SWEEP_FILE,
  type SweepPlanRun,
  type SweepRecord,
  type SweepRun,
} from "../record.ts";
import { lockHolder } from "../run/lock.ts";
import { readRecord } from "./record_files.ts";
import { sweepForm } from "./record_forms.ts";

/** What a run of a sweep is called, and its folder: `importance-0.3-seed1`. */
export function runName(
  { strategy, pruning_level, seed }: { strategy: string; pruning_level: number; seed: number },
): string {
  return `${strategy}-${pruning_level}-seed${seed}`;
}

/** Whether a folder holds a sweep. */
export async function isSweep(dir: string): Promise<boolean> {
  return await isFile(join(dir, SWEEP_FILE));
}

/**
 * Reads a sweep's plan. Plans of format 1 say how far the sweep was, too: that is not looked at.
 *
 * @throws {TypeError} If the folder is not a sweep's, or the file broken.
 */
export async function readSweep(dir: string): Promise<SweepRecord> {
  const record = await readRecord(join(dir, SWEEP_FILE), sweepForm);
  if (!record) {
    await checkFolder(dir);
    throw new TypeError(
      `${resolve(dir)} is not a folder that a sweep made: it has no ${SWEEP_FILE}`,
    );
  }
  const runs = record.runs.map(({ strategy, pruning_level, seed, folder }) => {
    const own = { strategy, pruning_level, seed };
    return { ...own, folder: folder ?? runName(own) };
  });
  for (const { folder } of runs) await checkInside(dir, folder);
  return { ...record, runs };
}

/** A run is written where its folder leads: a link must not take it elsewhere. */
async function checkInside(dir: string, folder: string): Promise<void> {
  const path = join(dir, folder);
  if (!await isFolder(path)) return;
  if (pathInside(await Deno.realPath(dir), await Deno.realPath(path)) !== undefined) return;
  throw new TypeError(`${path} is a link that leads out of the sweep's folder: remove it`);
}

/** How the runs of a sweep stand now. @param dir The sweep's folder. */
export async function standings(
  dir: string,
  runs: readonly SweepPlanRun[],
): Promise<SweepRun[]> {
  return await Promise.all(runs.map((run) => standing(dir, run)));
}

/** How one run of a sweep stands now. */
export async function standing(dir: string, plan: SweepPlanRun): Promise<SweepRun> {
  const { strategy, pruning_level, seed, folder } = plan;
  return { strategy, pruning_level, seed, folder, ...await stateOf(join(dir, folder)) };
}

/** How a run stands, by its folder. */
export async function stateOf(dir: string): Promise<Pick<SweepRun, "state" | "message">> {
  if (!await isFolder(dir)) return { state: "waiting" };
  if (await isFile(join(dir, "results.json"))) return { state: "finished" };
  const holder = await lockHolder(dir);
  if (holder) {
    const { pid, host, since } = holder;
    return {
      state: "running",
      message: `process ${pid} on ${host} is running it, since ${since}`,
    };
  }
  if (!await isFile(join(dir, RUN_MARK))) return { state: "waiting" };
  const reason = await failure(dir);
  return reason === undefined ? { state: "stopped" } : { state: "failed", message: reason };
}

/** Why a run ended early, if an error was the last that happened to it. */
async function failure(dir: string): Promise<string | undefined> {
  try {
    const text = new TextDecoder().decode(await readWhole(join(dir, "events.jsonl")));
    const last = text.trimEnd().split("\n").at(-1) ?? "";
    const [row] = parseJsonLines<EventRow>(last + "\n");
    return row?.event === "failed" ? String(row.reason) : undefined;
  } catch {
    return undefined; // whoever opens the run is told what is wrong with its records
  }
}
