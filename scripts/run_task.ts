/**
 * How every run is carried through on a terminal: progress while it goes on, and what to do where it
 * ends early.
 *
 * @module
 */
import { join } from "node:path";
import { isFile } from "../src/data/files.ts";
import { taskCommand } from "../src/shell.ts";
import { Progress } from "./cli.ts";
import type { IntegrationOptions } from "../src/experiment/integration_options.ts";
import type { IntegrationListeners } from "../src/experiment/integration_lines.ts";
import { stepBatch } from "../src/experiment/options.ts";
import { DivergedError } from "../src/experiment/lockstep.ts";
import type { RunListeners } from "../src/experiment/experiment_state.ts";
import { LockedError } from "../src/run/lock.ts";
import type { LiveServer, LiveSource } from "../src/live/server.ts";
import { tellStage, toTheEnd } from "./live.ts";

/** Tells the progress of an experiment. */
export function experimentListeners(
  { progress, live, verbose }: {
    progress: Progress;
    live: LiveServer | undefined;
    verbose: boolean;
  },
): RunListeners {
  const say = (line: string) => progress.log(line);
  return {
    onProgress: (state) => progress.update(state),
    onMessage: say,
    ...(verbose && { onDetail: say }),
    onEvent: (row) => live?.recorded(row),
  };
}

/** Tells the progress of an integrated run, and in more detail where that was asked for. */
export function integrationListeners(
  { progress, live, verbose }: {
    progress: Progress;
    live: LiveServer | undefined;
    verbose: boolean;
  },
  options: IntegrationOptions,
): IntegrationListeners {
  const tokens = stepBatch(options) * options.sequence_length * (options.controls ? 3 : 1);
  const say = (line: string) => progress.log(line);
  return {
    onMessage: say,
    ...(verbose && { onDetail: say }),
    onStep: ({ cycle, done: step, steps: total, loss }) =>
      progress.update({ phase: `cycle ${cycle}`, step, total, loss, tokens: step * tokens }),
    onEvent: (row) => tellStage(live, row),
  };
}

/**
 * Carries a run through.
 *
 * @param run.dir Its folder. @param run.resume The command that continues it.
 * @param run.shown What those see who look at it; the report of its folder unless given. Those of `undefined` see
 * nothing until they are shown something.
 * @param run.kept What they are told when it has ended; where its report is unless given.
 * @param told.live Who looks at it; they are told how it ended.
 * @param action The run; progress has stopped when it returns or throws.
 * @throws {DOMException} An AbortError that says how to go on, where Ctrl-C stopped it.
 */
export async function carryThrough<Result>(
  { dir, resume, kept = `Its report is ${dir}/report.html.`, ...own }: {
    dir: string;
    resume: string;
    shown?: LiveSource | undefined;
    kept?: string;
  },
  { progress, live }: { progress: Progress; live: LiveServer | undefined },
  signal: AbortSignal,
  action: () => Promise<Result>,
): Promise<Result> {
  const shown = "shown" in own ? own.shown : dir;
  if (shown !== undefined) live?.show(shown);
  try {
    return await toTheEnd(live, signal, action, {
      kept,
      again: resume,
    });
  } catch (error) {
    progress.stop();
    if (signal.aborted && error === signal.reason) {
      throw new DOMException(`Stopped. Continue with: ${resume}`, "AbortError");
    }
    if (error instanceof LockedError) throw error;
    if (error instanceof DivergedError) console.error(`What was done is in ${dir}`);
    else if (await isFile(join(dir, "results.json"))) {
      const report = taskCommand("report", [dir]);
      console.error(`The results are in ${dir}; draw their report with: ${report}`);
    } else console.error(`What was done is in ${dir}. Continue with: ${resume}`);
    throw error;
  } finally {
    progress.stop();
  }
}
