/**
 * Reads run folders into what can be compared: losses beside their controls', and what each run was
 * asked to do.
 *
 * @module
 */
import { isFile } from "../data/files.ts";
import { join } from "node:path";
import {
  type CycleResult,
  type DataRecord,
  type IntegrationRecord,
  RUN_MARK,
  type RunKind,
  type RunRecord,
  type SweepPlanRun,
  type SweepRun,
} from "../record.ts";
import { readIntegration, readKind, readRun } from "./read.ts";
import { runName } from "./sweep_folder.ts";
import { lastStep, phaseBands } from "./series.ts";
import { measured, PHASE_NAMES } from "./theme.ts";

/** How a run stands. */
export type ComparedState = "finished" | "unfinished" | "failed" | "waiting";

/** A run as far as it can be compared. Losses are of test text, in nats per token. */
export interface ComparedRun {
  /** What it is called: its folder as the page sees it, or its name in the plan of a sweep. */
  name: string;
  /** Its folder's path, where it has one. */
  dir?: string;
  /** Whether the folder holds a report of its own. */
  page: boolean;
  kind: RunKind;
  /** The pruning strategy, or the controller of an integrated run. */
  strategy: string;
  /** The share of heads that was to go; an integrated run decides that itself. */
  level?: number;
  seed?: number;
  state: ComparedState;
  /** Why it is not finished, or cannot be compared. */
  reason?: string;
  loss?: number;
  twin?: number;
  random?: number;
  /** Heads that are gone at its end, and all of the full model. */
  removed?: number;
  total?: number;
  /** What the pruned model was trained on: a measure of its steps. */
  tokens?: number;
  cycles: readonly CycleResult[];
  /** Whether it ran as its options plan, where that is known. */
  planned?: boolean;
  /** Every option; absent where there is no folder yet. */
  config?: Record<string, unknown>;
  data?: DataRecord;
  environment?: RunRecord["environment"];
  /** The adapters it ran on, in order: another one where it continued elsewhere. */
  adapters?: readonly string[];
}

/**
 * Reads a run folder, an experiment's or an integrated run's.
 *
 * @throws {TypeError | SyntaxError} If it is not a run folder, or a file in it is broken.
 */
export async function readCompared(dir: string): Promise<ComparedRun> {
  const kind = await readKind(dir);
  const page = await isFile(join(dir, "report.html"));
  const found = kind === "experiment"
    ? experimentOf(await readRun(dir))
    : integrationOf(await readIntegration(dir));
  return judged({ name: dir, dir, page, kind, ...found });
}

/**
 * Reads the runs of a sweep, those without a folder among them. A run that cannot be read has failed.
 *
 * @param dir The sweep's folder.
 * @param runs Its runs as they stand.
 */
export async function readSwept(dir: string, runs: readonly SweepRun[]): Promise<ComparedRun[]> {
  return await Promise.all(runs.map(async (run): Promise<ComparedRun> => {
    const { state, folder, message } = run;
    const planned: ComparedRun = {
      ...waitingRun(run),
      state: state === "failed" ? "failed" : state === "waiting" ? "waiting" : "unfinished",
      ...(message !== undefined && { reason: message }),
    };
    if (!await isFile(join(dir, folder, RUN_MARK))) return planned;
    try {
      const read = await readCompared(join(dir, folder));
      if (state === "failed") return { ...read, state, reason: message ?? read.reason };
      if (state !== "running") return read;
      return { ...read, reason: [read.reason, message].filter(Boolean).join("; ") };
    } catch (error) {
      return { ...planned, dir: join(dir, folder), state: "failed", reason: said(error) };
    }
  }));
}

/** A run of a sweep's plan that has no folder yet. */
export function waitingRun(plan: SweepPlanRun): ComparedRun {
  const { strategy, pruning_level: level, seed } = plan;
  return {
    ...{ name: runName(plan), page: false, kind: "experiment", strategy, level, seed, cycles: [] },
    state: "waiting",
  };
}

/** Whether a run has what a comparison needs: a test loss, its twin's, and its heads. */
export function isComparable(
  run: ComparedRun,
): run is ComparedRun & Required<Pick<ComparedRun, "loss" | "twin" | "removed" | "total">> {
  return run.state === "finished" && [run.loss, run.twin, run.removed, run.total].every(measured);
}

type Found = Omit<ComparedRun, "name" | "dir" | "page" | "kind" | "state"> & {
  finished: boolean;
};

function experimentOf(run: RunRecord): Found {
  const { config, data, environment, results } = run;
  const { strategy, pruning_level: level } = config;
  return {
    strategy: typeof strategy === "string" ? strategy : "unknown",
    ...(measured(level) && { level }),
    ...seedOf(results?.seed ?? config.seed),
    ...(results ? {} : { reason: whereItEnds(run) }),
    ...losses(results?.final_loss, results?.unpruned_twin_loss, results?.random_pruning_loss),
    ...headsOf(results),
    ...(measured(results?.tokens_seen) && { tokens: results.tokens_seen }),
    cycles: results?.cycles ?? [],
    ...(results?.planned !== undefined && { planned: results.planned }),
    ...{ config, data, environment, adapters: adaptersIn(run), finished: results !== undefined },
  };
}

function integrationOf(run: IntegrationRecord): Found {
  const { config, data, environment, results, cycles } = run;
  const { controller_type: type } = config;
  return {
    strategy: typeof type === "string" ? type : "unknown",
    ...seedOf(results?.seed ?? config.seed),
    ...(results ? {} : { reason: `its records end after ${cycles.length} cycles` }),
    ...losses(results?.test_loss, results?.unpruned_twin_loss, results?.random_pruning_loss),
    ...headsOf(results),
    cycles: [],
    ...{ config, data, environment, adapters: adaptersIn(run), finished: results !== undefined },
  };
}

/** The adapter that a run began on, and each other one that it continued on. */
function adaptersIn({ environment, events }: Pick<RunRecord, "environment" | "events">): string[] {
  const all = [
    environment.adapter,
    ...events.flatMap((row) => row.event === "resume" ? [row.adapter] : []),
  ];
  return all.filter((name, i) => typeof name === "string" && name !== all[i - 1]);
}

function judged({ finished, ...run }: Found & Pick<ComparedRun, "name" | "dir" | "page" | "kind">) {
  const read: ComparedRun = { ...run, state: finished ? "finished" : "unfinished" };
  if (!finished || isComparable(read)) return read;
  if (!measured(read.loss)) {
    return { ...read, state: "failed" as const, reason: "its test loss is not a number" };
  }
  return { ...read, reason: "no unpruned twin was trained: it cannot be compared" };
}

function seedOf(seed: unknown): { seed?: number } {
  return measured(seed) ? { seed } : {};
}

function losses(loss: unknown, twin: unknown, random: unknown) {
  return {
    ...(measured(loss) && { loss }),
    ...(measured(twin) && { twin }),
    ...(measured(random) && { random }),
  };
}

function headsOf(results?: { active_heads: number; total_heads: number }) {
  if (!results) return {};
  const { active_heads, total_heads: total } = results;
  return measured(active_heads) && measured(total) ? { removed: total - active_heads, total } : {};
}

function whereItEnds(run: RunRecord): string {
  const band = phaseBands(run).at(-1);
  if (!band) return "nothing was trained yet";
  return `its records end at step ${lastStep(run)}, in ${PHASE_NAMES[band.phase]}` +
    (band.cycle > 0 ? ` of cycle ${band.cycle}` : "");
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
