/**
 * Which of the folders that a user names hold runs: `runs/*` names the comparison's own files, too.
 *
 * @module
 */
import { join } from "node:path";
import { checkFolder, isFile } from "../data/files.ts";
import { SWEEP_FILE } from "../record.ts";
import { RUN_FILES } from "./read.ts";

/** What was named, told apart. */
export interface Sifted {
  /** Run folders, in the order they were named. */
  dirs: string[];
  /** A line for everything that is not one: why it is left out. */
  leftOut: string[];
}

/**
 * Tells run folders from what else was named with them.
 *
 * @throws {TypeError} If a path leads nowhere, or there is no run folder among them.
 */
export async function siftRuns(paths: readonly string[]): Promise<Sifted> {
  const dirs: string[] = [], leftOut: string[] = [];
  for (const path of paths) {
    const why = await whyNot(path);
    if (why === undefined) dirs.push(path);
    else leftOut.push(`${path} is left out: ${why}`);
  }
  if (dirs.length > 0) return { dirs, leftOut };
  throw new TypeError(`there is no run folder among what was named: ${leftOut.join("; ")}`);
}

async function whyNot(path: string): Promise<string | undefined> {
  if (await isFile(path)) return "it is a file";
  await checkFolder(path);
  if (await isFile(join(path, RUN_FILES.config))) return undefined;
  if (await isFile(join(path, SWEEP_FILE))) {
    return "it is a sweep's folder: name it alone, or name the run folders in it";
  }
  return `it is not a run folder: it has no ${RUN_FILES.config}`;
}
