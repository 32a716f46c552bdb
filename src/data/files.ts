/**
 * Files that are written whole or not at all, and read with errors that name them.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { isSystemError } from "../errors.ts";
import { checkJsonSize, fromJson } from "../json.ts";
import { didYouMean, nearest } from "../nearest.ts";
import type { ByteSource } from "../gpt2/safetensors.ts";

/**
 * Writes a file under a temporary name beside its place, then renames it: a reader sees the old
 * file or the new one, never a part. The folder must exist.
 *
 * @param path Where the file goes; what is there is replaced.
 * @param content Text (as UTF-8), bytes, or pieces of bytes in order.
 * @throws Whatever the system says; the temporary file is gone and the old file untouched.
 */
export async function writeWhole(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
): Promise<void> {
  const temporary = `${path}.tmp-${crypto.randomUUID()}`;
  try {
    await writeNew(temporary, content);
    await Deno.rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw naming(path, error);
  }
}

/** Waits until a folder's names are on the disk, where the system can be asked to (Windows cannot). */
export async function syncFolder(dir: string): Promise<void> {
  try {
    using folder = await Deno.open(dir);
    await folder.sync();
  } catch { /* a file system that does not do this for folders: there is no other way to ask */ }
}

/** An error of the system that says which file it is about. */
export function naming(path: string, error: unknown): unknown {
  if (error instanceof Error && isSystemError(error) && !error.message.includes(path)) {
    error.message += `: ${path}`;
  }
  return error;
}

async function writeNew(
  path: string,
  content: string | Uint8Array | Iterable<Uint8Array>,
): Promise<void> {
  using file = await Deno.open(path, { write: true, createNew: true });
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  for (const piece of bytes instanceof Uint8Array ? [bytes] : bytes) {
    for (let at = 0; at < piece.length;) at += await file.write(piece.subarray(at));
  }
  await file.sync(); // before it is renamed, or a power cut could leave an empty file
}

/**
 * All bytes of a file.
 *
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {TypeError} If it is a folder, or a pipe or a device, which may never end.
 */
export async function readWhole(path: string): Promise<Uint8Array> {
  await checkFile(path);
  return await Deno.readFile(path);
}

/**
 * Refuses what is not an ordinary file.
 *
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {TypeError} If it is a folder, or a pipe or a device, which may never end.
 */
export async function checkFile(path: string): Promise<Deno.FileInfo> {
  const info = await Deno.stat(path);
  if (info.isFile) return info;
  const what = info.isDirectory ? "a folder" : "a pipe or a device";
  throw new TypeError(`${path} is ${what}, not a file: give a file that can be read again`);
}

/**
 * Reads a JSON file.
 *
 * @throws {Deno.errors.NotFound} If there is no such file.
 * @throws {TypeError} If it is not a file, not UTF-8 text or not JSON.
 */
export async function readJson(path: string): Promise<unknown> {
  let bytes: Uint8Array;
  try {
    checkJsonSize(path, (await checkFile(path)).size);
    bytes = await readWhole(path);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new Deno.errors.NotFound(`no file at ${resolve(path)}`, { cause });
  }
  return parseJson(bytes, path);
}

/**
 * Parses the bytes of a JSON file.
 *
 * @param where What to call the file in an error.
 * @throws {TypeError} If they are not UTF-8 text or not JSON.
 */
export function parseJson(bytes: Uint8Array, where: string): unknown {
  try {
    return fromJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new TypeError(
      `${where} is not JSON, or only a part of it: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** The SHA-256 of bytes, or of a text's UTF-8 form, in lower-case hexadecimal. */
export async function sha256(data: string | Uint8Array): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const hash = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A {@linkcode ByteSource} that holds something open. */
export interface OpenSource extends ByteSource, Disposable {}

/**
 * Opens a file for reading at any place. Reads must not overlap in time.
 *
 * @throws {TypeError} If it is not a file.
 * @throws Whatever the system says if it cannot be opened.
 */
export async function openFile(path: string): Promise<OpenSource> {
  await checkFile(path);
  const file = await Deno.open(path);
  try {
    const { size } = await file.stat();
    return {
      size,
      async read(offset, length) {
        await file.seek(offset, Deno.SeekMode.Start);
        const bytes = new Uint8Array(length);
        let at = 0;
        while (at < length) {
          const got = await file.read(bytes.subarray(at));
          if (got === null) break;
          at += got;
        }
        return bytes.subarray(0, at);
      },
      [Symbol.dispose]: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** Bytes in memory as a source. */
export function memorySource(bytes: Uint8Array): OpenSource {
  return {
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
    [Symbol.dispose]() {},
  };
}

/** Whether there is a file at a path; what cannot be looked at is none. */
export async function isFile(path: string): Promise<boolean> {
  return (await Deno.stat(path).catch(() => undefined))?.isFile ?? false;
}

/** Whether there is a folder at a path; what cannot be looked at is none. */
export async function isFolder(path: string): Promise<boolean> {
  return (await Deno.stat(path).catch(() => undefined))?.isDirectory ?? false;
}

/**
 * Refuses a path where there is no folder, with the one beside it that may have been meant.
 *
 * @throws {Deno.errors.NotFound} If there is none.
 */
export async function checkFolder(dir: string): Promise<void> {
  if (await isFolder(dir)) return;
  throw new Deno.errors.NotFound(
    `no folder at ${resolve(dir)}${didYouMean(dir, await beside(dir))}`,
  );
}

/** The path beside one that is not there that may have been meant, if any, as the other is written. */
export async function beside(path: string): Promise<string[]> {
  const asked = basename(path), names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(dirname(path))) {
      if (names.push(name) > 1000) break;
    }
  } catch {
    // what cannot be listed has nothing to offer
  }
  const meant = nearest(asked, names);
  return meant === undefined ? [] : [path.slice(0, path.lastIndexOf(asked)) + meant];
}
