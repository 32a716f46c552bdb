/**
 * What processes that were killed left half written in a run's folder. Call it under the folder's lock.
 *
 * @module
 */
import { join } from "node:path";

/** A name that `writeWhole` gives a file until it is complete, or `saveModel` a folder. */
const TEMPORARY = /\.tmp-[0-9a-f-]+$/;

/** A model that was about to be replaced. */
const REPLACED_MODEL = /^\.(.+)\.old-[0-9a-f-]+$/;

/** Models that a run saves; those beside them are other commands' (`export`, `compact`). */
const MODELS = /^\.(baseline|model|hf_model|best|cycle_\d+)\.tmp-/;

/** Folders inside a run's folder in which it writes. */
const FOLDERS = ["", "checkpoints", "models", "memory"];

/**
 * Removes what is half written, and puts back what was about to be replaced by it.
 *
 * @param dir The run's folder.
 */
export async function clearLeftOvers(dir: string): Promise<void> {
  for (const folder of FOLDERS) {
    const parent = join(dir, folder);
    for (const entry of await entriesOf(parent)) {
      const path = join(parent, entry.name), { name } = entry;
      const replaced = REPLACED_MODEL.exec(name)?.[1] ??
        (folder === "checkpoints" && name.endsWith(".old") ? name.slice(0, -4) : undefined);
      if (replaced !== undefined) await putBack(path, join(parent, replaced));
      else if (
        TEMPORARY.test(name) && (!entry.isDirectory || MODELS.test(name)) ||
        folder === "checkpoints" && name.endsWith(".partial")
      ) await Deno.remove(path, { recursive: true });
    }
  }
}

/** A killed process may have moved what was there, and not yet put the new one in its place. */
async function putBack(old: string, path: string): Promise<void> {
  const replaced = await Deno.lstat(path).then(() => true, () => false);
  if (replaced) await Deno.remove(old, { recursive: true });
  else await Deno.rename(old, path);
}

async function entriesOf(dir: string): Promise<Deno.DirEntry[]> {
  try {
    return await Array.fromAsync(Deno.readDir(dir));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
