/**
 * One repository's folder in the cache, laid out as Python's `huggingface_hub` lays it out:
 *
 * - `blobs/<hash>`: the files, each once, under the SHA-256 or git's SHA-1 of what they hold
 * - `snapshots/<commit>/<path>`: links to them
 * - `refs/<revision>`: which commit a branch or tag was
 * - `trees/<commit>.json`: which files a commit has
 *
 * @module
 */
import { dirname, join, relative } from "node:path";
import { writeWhole } from "./files.ts";
import type { HubEntry } from "./hub_types.ts";

/** The format of `trees/<commit>.json` that is read and written here, Python's first. */
const TREE_FORMAT = 1;

/** A commit's full name. */
export const COMMIT = /^[0-9a-f]{40}$/;

/** A file's name in `blobs`. */
export function blobName(entry: HubEntry): string {
  return entry.sha256 ?? entry.blobId;
}

/** One repository in the cache. */
export class HubCache {
  /** The repository's folder. */
  readonly dir: string;
  /** Where its locks lie: beside all repositories. */
  readonly locks: string;

  constructor(cache: string, folder: string) {
    this.dir = join(cache, folder);
    this.locks = join(cache, ".locks", folder);
  }

  blob(entry: HubEntry): string {
    return join(this.dir, "blobs", blobName(entry));
  }

  /** The folder of a commit. */
  snapshot(commit: string): string {
    return join(this.dir, "snapshots", commit);
  }

  /** Where a file of a commit lies; the path was checked by {@linkcode checkHubPath}. */
  pointer(commit: string, path: string): string {
    return join(this.snapshot(commit), ...path.split("/"));
  }

  /** Which commit a revision was when the hub was asked last. */
  async readRef(revision: string): Promise<string | undefined> {
    const text = await orUndefined(Deno.readTextFile(this.#ref(revision)));
    return text !== undefined && COMMIT.test(text.trim()) ? text.trim() : undefined;
  }

  async writeRef(revision: string, commit: string): Promise<void> {
    if (revision === commit || await this.readRef(revision) === commit) return;
    const path = this.#ref(revision);
    await Deno.mkdir(dirname(path), { recursive: true });
    await writeWhole(path, commit);
  }

  #ref(revision: string): string {
    return join(this.dir, "refs", ...revision.split("/"));
  }

  /** The files of a commit, where they were listed before. */
  async readTree(commit: string): Promise<HubEntry[] | undefined> {
    const text = await orUndefined(Deno.readTextFile(this.#tree(commit)));
    return text === undefined ? undefined : parseTree(text);
  }

  async writeTree(commit: string, entries: readonly HubEntry[]): Promise<void> {
    const files = Object.fromEntries(
      entries.map((entry) => [entry.path, {
        size: entry.size,
        blob_id: entry.blobId,
        ...(entry.sha256 !== undefined && { lfs_sha256: entry.sha256, lfs_size: entry.size }),
        ...(entry.xetHash !== undefined && { xet_hash: entry.xetHash }),
      }]),
    );
    const path = this.#tree(commit);
    await Deno.mkdir(dirname(path), { recursive: true });
    await writeWhole(path, JSON.stringify({ format_version: TREE_FORMAT, files }, null, 1));
  }

  #tree(commit: string): string {
    return join(this.dir, "trees", `${commit}.json`);
  }

  /** The paths of a commit's files that are in the cache. */
  async cachedPaths(commit: string): Promise<string[]> {
    const found: string[] = [];
    const walk = async (folder: string, prefix: string) => {
      for (const item of await orUndefined(Array.fromAsync(Deno.readDir(folder))) ?? []) {
        const path = prefix + item.name;
        if (item.isDirectory) await walk(join(folder, item.name), `${path}/`);
        else if (await sizeOf(join(folder, item.name)) !== undefined) found.push(path);
      }
    };
    await walk(this.snapshot(commit), "");
    return found.sort();
  }

  /** Puts a blob into a commit's folder: a link or, where there can be none, a copy. */
  async link(entry: HubEntry, commit: string, copies: boolean): Promise<void> {
    const blob = this.blob(entry), pointer = this.pointer(commit, entry.path);
    await Deno.mkdir(dirname(pointer), { recursive: true });
    const temporary = `${pointer}.tmp-${crypto.randomUUID()}`;
    try {
      if (!copies) {
        // from folder to folder, so that the cache can be moved
        copies = await Deno.symlink(relative(dirname(pointer), blob), temporary)
          .then(() => false, () => true);
      }
      if (copies) await Deno.copyFile(blob, temporary);
      await Deno.rename(temporary, pointer);
    } catch (error) {
      await Deno.remove(temporary).catch(() => {});
      throw error;
    }
  }
}

/** Bytes of the file at a path, through links; nothing where there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const info = await orUndefined(Deno.stat(path));
  return info?.isFile ? info.size : undefined;
}

/**
 * Refuses a path in a repository that would leave the folder it is put into.
 *
 * @throws {TypeError} If it does.
 */
export function checkHubPath(path: string): void {
  const parts = path.split(/[\\/]/);
  if (
    path === "" || path.includes("\0") || /^[\\/]/.test(path) ||
    parts.some((part) => part === "" || part === "." || part === ".." || /^[A-Za-z]:/.test(part))
  ) {
    throw new TypeError(`a path in a repository cannot be ${JSON.stringify(path)}`);
  }
}

function parseTree(text: string): HubEntry[] | undefined {
  try {
    const { format_version, files } = JSON.parse(text);
    if (format_version !== TREE_FORMAT) return undefined;
    return Object.entries<Record<string, unknown>>(files).map(([path, file]) => {
      checkHubPath(path);
      return checkEntry({
        path,
        size: file.size as number,
        blobId: file.blob_id as string,
        ...(file.lfs_sha256 !== undefined && { sha256: file.lfs_sha256 as string }),
        ...(file.xet_hash !== undefined && { xetHash: file.xet_hash as string }),
      });
    });
  } catch {
    return undefined; // listed anew, as Python does
  }
}

/**
 * Refuses what cannot be a file's size and hashes.
 *
 * @throws {TypeError} If it cannot.
 */
export function checkEntry(entry: HubEntry): HubEntry {
  const { path, size, blobId, sha256 } = entry;
  if (
    !Number.isSafeInteger(size) || size < 0 || !COMMIT.test(blobId) ||
    (sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256))
  ) {
    throw new TypeError(`the hub's list has no proper size and hash of ${path}`);
  }
  return entry;
}

async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}
