/**
 * The folder of work that is not a run, a pretraining or a bake-off: what it is continued from. It is made
 * as a run's folder is, and goes when the work is done.
 *
 * @module
 */
import { join } from "node:path";
import { readJson } from "../data/files.ts";
import type { Continuing } from "../run/continuing.ts";
import type { FolderKind } from "./folder_mark.ts";
import { type Beginning, releasing, RunFolder } from "./run_folder.ts";

/** Kinds of work. */
export type WorkKind = Exclude<FolderKind, "experiment" | "integration">;

/** Work that has its folder. */
export interface Work<State> {
  /** The folder. */
  folder: RunFolder;
  /** What the work takes. */
  continuing: Continuing<State>;
}

/** The names of what work begins with. */
const CONFIG = "config.json", DATA = "data.json", ENVIRONMENT = "environment.json";

/** What work begins with. */
export function workBeginning(
  { options, data, environment }: { options: unknown; data: unknown; environment: unknown },
): Beginning {
  return { [CONFIG]: options, [DATA]: data, [ENVIRONMENT]: environment };
}

/**
 * Reads what earlier work began with.
 *
 * @throws {TypeError} If the folder is not that of such work, or something in it has changed.
 */
export async function readWork<Options, Data>(
  dir: string,
  kind: WorkKind,
): Promise<{ options: Options; data: Data }> {
  await RunFolder.check(dir, kind);
  return {
    options: await readJson(join(dir, CONFIG)) as Options,
    data: await readJson(join(dir, DATA)) as Data,
  };
}

/** Work that begins in a folder that was made for it. */
export function beginWork<State>(folder: RunFolder): Work<State> {
  return { folder, continuing: { save: (...given) => folder.saveStep(...given) } };
}

/**
 * Work that is continued, from its newest checkpoint that is whole or from its beginning.
 *
 * @throws {TypeError} If it is not the folder of such work, another process has it, or what is in it is
 * damaged.
 */
export async function continueWork<State>(
  dir: string,
  kind: WorkKind,
  say: (line: string) => void,
): Promise<Work<State>> {
  const folder = await RunFolder.open(dir, { kind, say });
  return await releasing(folder, async () => {
    const from = await folder.newest<State>(say);
    if (from) await folder.cutTo(from);
    return { folder, continuing: { from, save: (...given) => folder.saveStep(...given) } };
  });
}

/** Removes what the work was continued from, and lets the folder go. */
export async function endWork(folder: RunFolder): Promise<void> {
  await folder.clear([CONFIG, DATA, ENVIRONMENT]);
}
