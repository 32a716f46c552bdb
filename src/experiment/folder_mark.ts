/**
 * What tells whose folder it is, and that what the work began with has not changed.
 *
 * @module
 */
import { join, resolve } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { checkFolder, parseJson, readWhole, sha256 } from "../data/files.ts";
import { type AboutRun, RUN_MARK, type RunKind } from "../record.ts";
import { taskCommand } from "../shell.ts";

/** Records that grow line by line. */
export const LOGS = ["metrics.jsonl", "events.jsonl", "heads.csv"] as const;

/** One of {@linkcode LOGS}. */
export type Log = typeof LOGS[number];

/** What a folder is for that can be continued: a run, or work whose folder holds no run's records. */
export type FolderKind = RunKind | "pretraining" | "bakeoff";

/** Marks the folder of work that is not a run; it goes when the work is done. */
export const WORK_MARK = "pollard-work.json";

const FORMAT = 1;

/** What belongs to each kind. */
const KINDS: Record<FolderKind, { mark: string; logs: readonly Log[]; what: string; by: string }> =
  {
    experiment: {
      ...{ mark: RUN_MARK, logs: LOGS, what: "an experiment" },
      by: "experiment --resume",
    },
    integration: {
      ...{ mark: RUN_MARK, logs: LOGS, what: "an integration" },
      by: "integrate --resume",
    },
    pretraining: {
      ...{ mark: WORK_MARK, logs: [], what: "a pretraining" },
      by: "pretrain --resume",
    },
    bakeoff: { mark: WORK_MARK, logs: [], what: "a bake-off", by: "bakeoff --resume" },
  };

/** The name of the file that marks a kind of folder. */
export function markOf(kind: FolderKind): string {
  return KINDS[kind].mark;
}

/** The logs that a kind of folder has. */
export function logsOf(kind: FolderKind): readonly Log[] {
  return KINDS[kind].logs;
}

/**
 * What the mark of a new folder says.
 *
 * @param hashes Hashes of the files that the work begins with.
 * @param about What else it says about a run.
 */
export function newMark(
  kind: FolderKind,
  hashes: Readonly<Record<string, string>>,
  about: AboutRun = {},
): unknown {
  const created = new Date().toISOString();
  return { format: FORMAT, kind, created, pollard: denoJson.version, ...about, sha256: hashes };
}

/**
 * Reads the mark of a folder, and checks what the work began with against its hashes.
 *
 * @returns The mark's own hash.
 * @throws {TypeError} If there is none, it is of another kind or version, or something has changed.
 */
export async function readMark(dir: string, kind: FolderKind): Promise<string> {
  const own = KINDS[kind], file = join(dir, own.mark);
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(file);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
      throw error;
    }
    await checkFolder(dir);
    throw new TypeError(
      own.mark === RUN_MARK
        ? `${resolve(dir)} is not a folder that a run of Pollard made: it has no ${RUN_MARK}`
        : `${dir} is not the folder of ${own.what} that can be continued: it has no ${own.mark}`,
    );
  }
  const mark = parseJson(bytes, file);
  const { format, kind: made = "experiment", sha256: hashes = {} } = (mark ?? {}) as {
    format?: number;
    kind?: FolderKind;
    sha256?: Record<string, string>;
  };
  if (format !== FORMAT || !Object.hasOwn(KINDS, made)) {
    throw new TypeError(`${dir} was made by another version of Pollard: ${JSON.stringify(mark)}`);
  }
  if (made !== kind) {
    const { what, by } = KINDS[made];
    throw new TypeError(
      `${dir} is the folder of ${what}: continue with ${taskCommand(by, [dir])}`,
    );
  }
  for (const [name, hash] of Object.entries(hashes)) {
    const path = join(dir, name);
    const now = await readWhole(path).catch((error) => {
      throw new TypeError(`what the run began with cannot be read: ${error.message}`);
    });
    if (await sha256(now) !== hash) {
      throw new TypeError(
        `${path} is not what it was when the run began: its hash has changed; ` +
          "put it back, or begin another run",
      );
    }
  }
  return await sha256(bytes);
}
