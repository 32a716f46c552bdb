/**
 * Files beside a checkpoint that its work still needs: their hashes belong to its state.
 *
 * @module
 */
import { join } from "node:path";
import { openFile } from "../data/files.ts";
import { asDamage, hashOf } from "./checkpoint_files.ts";
import { DamagedError } from "./sealed.ts";

/** SHA-256 of files, by their paths within a folder. */
export type FileHashes = Readonly<Record<string, string>>;

/**
 * Hashes the files that lie directly in a part of a folder.
 *
 * @param dir The folder. @param part The part's name in it.
 */
export async function fileHashes(dir: string, part: string): Promise<FileHashes> {
  const hashes: Record<string, string> = {};
  for await (const { name, isFile } of Deno.readDir(join(dir, part))) {
    if (isFile) hashes[`${part}/${name}`] = await fileHash(join(dir, part, name));
  }
  return hashes;
}

/**
 * Checks that files are as they were when they were hashed.
 *
 * @throws {DamagedError} If one is not, or cannot be read; it is named.
 */
export async function checkFileHashes(dir: string, hashes: FileHashes): Promise<void> {
  for (const [name, hash] of Object.entries(hashes)) {
    const path = join(dir, name);
    let now: string;
    try {
      now = await fileHash(path);
    } catch (error) {
      throw asDamage(error, path);
    }
    if (now !== hash) {
      throw new DamagedError(`${path} is not as it was written: its hash has changed`);
    }
  }
}

async function fileHash(path: string): Promise<string> {
  using source = await openFile(path);
  return await hashOf(source);
}
