/**
 * Finds run folders, however they came to where they are, and reads what can be compared of them.
 *
 * @module
 */
import { join } from "node:path";
import { checkFolder, isFile } from "../data/files.ts";
import { RUN_MARK, type SweepPlanRun } from "../record.ts";
import { type ComparedRun, readCompared, waitingRun } from "./compared.ts";
import { isSweep, readSweep, stateOf } from "./sweep_folder.ts";

/** Folders below the one that is searched: `DIR/host/sweep/run` is three. */
const DEPTH = 4;

/**
 * Reads every run folder in a folder and in those below it. Runs that have not finished, or cannot be
 * read, are among them with the reason; so are the runs of the sweeps' plans there that have no folder yet.
 *
 * @param dir A sweep's folder, or any other that holds run folders.
 * @throws {TypeError} If there is no such folder, neither a run folder nor a sweep's plan, or a plan is broken.
 */
export async function collectRuns(dir: string): Promise<ComparedRun[]> {
  await checkFolder(dir);
  const found: Found = { runs: [], plans: [] };
  await search(dir, DEPTH, found, new Set());
  const runs = await Promise.all(found.runs.toSorted().map(readFound));
  const missing = new Map<string, SweepPlanRun>();
  for (const { path, plan } of found.plans) {
    if (found.runs.includes(path) || runs.some((run) => isOf(run, plan))) continue;
    missing.set(JSON.stringify([plan.strategy, plan.pruning_level, plan.seed]), plan);
  }
  const all = [...runs, ...[...missing.values()].map(waitingRun)];
  if (all.length > 0) return all;
  throw new TypeError(`there is no run folder in ${dir}, or in the folders in it`);
}

interface Found {
  /** Paths of run folders. */
  readonly runs: string[];
  /** What plans of sweeps name, and where it would be. */
  readonly plans: { readonly path: string; readonly plan: SweepPlanRun }[];
}

/** @param seen Real paths of the folders that were searched: links may lead back. */
async function search(dir: string, depth: number, found: Found, seen: Set<string>): Promise<void> {
  const real = await Deno.realPath(dir);
  if (seen.has(real)) return;
  seen.add(real);
  if (await isRunFolder(dir)) {
    found.runs.push(dir);
    return;
  }
  if (await isSweep(dir)) {
    for (const plan of (await readSweep(dir)).runs) {
      found.plans.push({ path: join(dir, plan.folder), plan });
    }
  }
  if (depth === 0) return;
  for await (const { name } of Deno.readDir(dir)) {
    const path = join(dir, name);
    const stat = await Deno.stat(path).catch(() => undefined); // a link that leads nowhere
    if (stat?.isDirectory && !name.startsWith(".")) await search(path, depth - 1, found, seen);
  }
}

/** Runs of older versions have no mark. */
async function isRunFolder(dir: string): Promise<boolean> {
  if (await isFile(join(dir, RUN_MARK))) return true;
  return await isFile(join(dir, "data.json")) && await isFile(join(dir, "environment.json"));
}

async function readFound(dir: string): Promise<ComparedRun> {
  try {
    const read = await readCompared(dir);
    if (read.state !== "unfinished") return read;
    const { state, message } = await stateOf(dir);
    const reason = [state === "failed" ? undefined : read.reason, message].filter(Boolean);
    return {
      ...read,
      state: state === "failed" ? "failed" : "unfinished",
      ...(reason.length > 0 && { reason: reason.join("; ") }),
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return {
      ...{ name: dir, dir, page: false, kind: "experiment", strategy: "unknown", cycles: [] },
      ...{ state: "failed", reason },
    };
  }
}

function isOf({ kind, strategy, level, seed }: ComparedRun, plan: SweepPlanRun): boolean {
  return kind === "experiment" && strategy === plan.strategy && level === plan.pruning_level &&
    seed === plan.seed;
}
