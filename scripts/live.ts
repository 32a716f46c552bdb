/**
 * `--live`: the report in a browser while a task runs.
 *
 * @module
 */
import { LiveServer } from "../src/live/server.ts";
import type { EventRow } from "../src/record.ts";
import { Option, preparing, wholeOption } from "./cli.ts";

/** The port that is tried where none is named, so that a page left open finds the next run. */
export const LIVE_PORT = 8420;

/** What `--live` was given: a port, or true where it names none. */
export type LivePort = number | true;

/** The option by which a task is looked at while it runs. */
export function liveOption() {
  return new Option(
    "--live [port]",
    `serve the report at http://127.0.0.1:PORT while it runs (${LIVE_PORT}, or any that is free)`,
  ).helpGroup("Output:").argParser(wholeOption("live", { min: 0, max: 65535 }));
}

/**
 * Begins to serve where that was asked for, and says where; do it before anything else is begun.
 *
 * @throws {Deno.errors.AddrInUse} If the port that was named is taken, as an input error.
 */
export function openLive(port?: LivePort): LiveServer | undefined {
  if (port === undefined) return undefined;
  const live = preparing(() =>
    port === true ? openAnywhere() : LiveServer.open(undefined, { port })
  );
  console.error(`live: ${live.url}`);
  return live;
}

function openAnywhere(): LiveServer {
  try {
    return LiveServer.open(undefined, { port: LIVE_PORT });
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return LiveServer.open();
  }
}

/** What goes on in an integrated run after an event, until its next steps are done. */
const STAGES: Partial<Record<EventRow["event"], string>> = {
  prune: "pruned, measuring",
  grow: "grown, training",
  checkpoint: "measuring",
};

/** Tells what an integrated run does between the steps of two cycles. */
export function tellStage(live: LiveServer | undefined, { event, cycle }: EventRow): void {
  const stage = STAGES[event];
  if (stage) {
    // A checkpoint ends its cycle: what is measured then belongs to the next, or is the test text.
    const where = event === "checkpoint" ? `after cycle ${cycle}` : `cycle ${cycle}`;
    const phase = cycle === 0 ? stage : `${where}: ${stage}`;
    live?.progress({ phase, step: undefined, total: undefined, tokens: undefined });
  }
  live?.changed();
}

/**
 * Does a task, and tells those who look how it ended.
 *
 * @param signal Whose reason is what the task throws where it was stopped.
 * @param words.kept What is left of it on disk, in a sentence.
 * @param words.again How to go on with it where it was not finished.
 */
export async function toTheEnd<Result>(
  live: LiveServer | undefined,
  signal: AbortSignal,
  action: () => Promise<Result>,
  { kept = "", again = "" }: { kept?: string; again?: string } = {},
): Promise<Result> {
  try {
    const result = await action();
    await live?.end("done", kept);
    return result;
  } catch (error) {
    const stopped = signal.aborted && error === signal.reason;
    const words = stopped ? [] : [`${(error as Error).message}.`.replace(/\.\.$/, ".")];
    if (again) words.push(`Continue with: ${again}`);
    await live?.end(stopped ? "stopped" : "failed", words.join(" "));
    throw error;
  }
}
