/**
 * Whether a disk has room for what is about to be written to it.
 *
 * @module
 */
import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { byteCount } from "../units.ts";

/** Tells how many bytes may be written to the disk of a folder; nothing where it does not say. */
export type FreeSpace = (folder: string) => Promise<number | undefined>;

/** Bytes that stay free besides: lists, links, and blocks that are not full. */
const MARGIN = 1 << 20;

/** What is about to be written. */
export interface SpaceNeeded {
  /** What errors call it. */
  readonly what: string;
  /** Bytes that are not there yet. */
  readonly bytes: number;
  /** Where it goes; the folder need not be there yet. */
  readonly folder: string;
  /** What to do where there is no room. */
  readonly advice: string;
}

/**
 * Refuses what the disk has no room for.
 *
 * @param free Asks the disk; {@linkcode freeSpace} unless given.
 * @throws {TypeError} If there is too little.
 */
export async function checkSpace(
  { what, bytes, folder, advice }: SpaceNeeded,
  free: FreeSpace = freeSpace,
): Promise<void> {
  const left = await free(folder);
  if (bytes === 0 || left === undefined || bytes + MARGIN <= left) return;
  throw new TypeError(
    `${what} needs ${byteCount(bytes + MARGIN)} more, and the disk of ${folder} has ` +
      `${byteCount(left)} left: ${advice}`,
  );
}

/** Bytes that may be written to the disk of a folder, which need not be there yet. */
export async function freeSpace(folder: string): Promise<number | undefined> {
  for (let at = folder;; at = dirname(at)) {
    try {
      const { bavail, bsize, blocks } = await statfs(at);
      return blocks === 0 ? undefined : bavail * bsize; // what has no blocks counts none
    } catch {
      if (dirname(at) === at) return undefined; // some disks do not tell
    }
  }
}
