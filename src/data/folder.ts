/**
 * A folder of files that are read by name, on the local disk or on a web server.
 *
 * @module
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { didYouMean } from "../nearest.ts";
import { beside, memorySource, openFile, type OpenSource, readWhole } from "./files.ts";
import { LOOKED_FOR, refuseLfsPointer } from "./formats.ts";
import { HUB_MODEL_NAMES } from "./hub_models.ts";
import { asUrl } from "./paths.ts";
import { fetchPage } from "./web.ts";

/**
 * A folder to read from. A file that is not there is `undefined`, not an error; a Git LFS pointer in a
 * file's place, and a link to what is gone, are refused with a `TypeError`.
 */
export interface Folder {
  /** What errors call it. */
  readonly where: string;
  /** What errors call one of its files. */
  path(name: string): string;
  /** Whether it holds a file. */
  has(name: string): Promise<boolean>;
  /** The names in a folder in it, in order; none where there is no such folder, or it cannot be listed. */
  list(folder: string): Promise<string[]>;
  /** All bytes of a file. */
  read(name: string): Promise<Uint8Array | undefined>;
  /** A file for reading at any place; the caller disposes of it. */
  open(name: string): Promise<OpenSource | undefined>;
}

/**
 * Opens a folder by local path, or by `file:`, `http:` or `https:` URL, which may be a string.
 *
 * @throws {Deno.errors.NotFound} If there is no such local folder.
 * @throws {TypeError} If a local path is not a folder, or a URL is of another kind.
 */
export async function openFolder(dir: string | URL): Promise<Folder> {
  if (typeof dir === "string") dir = asUrl(dir) ?? dir;
  if (dir instanceof URL && dir.protocol !== "file:") return webFolder(dir);
  const path = dir instanceof URL ? fileURLToPath(dir) : dir;
  const info = await orUndefined(Deno.stat(path));
  if (info === undefined) {
    throw new Deno.errors.NotFound(
      `no folder at ${resolve(path)}: ` +
        "give one that holds config.json, model.safetensors and tokenizer.json, " +
        "or a model of the hub: gpt2, distilgpt2, owner/name" +
        didYouMean(path, ["embedded", ...HUB_MODEL_NAMES, ...await beside(path)]),
    );
  }
  if (!info.isDirectory) throw new TypeError(`${path} is a file: give the folder that holds it`);
  const inside = (name: string) => `${path.replace(/\/+$/, "")}/${name}`;
  return {
    where: path,
    path: inside,
    has: async (name) => await there(inside(name), Deno.stat) !== undefined,
    list: async (folder) => {
      const found = await orUndefined(Array.fromAsync(Deno.readDir(inside(folder)))) ?? [];
      return found.map(({ name }) => name).sort();
    },
    read: async (name) => checkedBytes(await there(inside(name), readWhole), inside(name)),
    open: async (name) => await checkedSource(await there(inside(name), openFile), inside(name)),
  };
}

function checkedBytes<T extends Uint8Array | undefined>(bytes: T, where: string): T {
  if (bytes !== undefined) refuseLfsPointer(bytes, where);
  return bytes;
}

async function checkedSource(
  source: OpenSource | undefined,
  where: string,
): Promise<OpenSource | undefined> {
  if (source === undefined) return undefined;
  try {
    refuseLfsPointer(await source.read(0, Math.min(source.size, LOOKED_FOR)), where);
  } catch (error) {
    source[Symbol.dispose]();
    throw error;
  }
  return source;
}

/**
 * What is at a path, `undefined` where nothing is.
 *
 * @throws {TypeError} If a link is there, to something that is not.
 */
async function there<T>(path: string, get: (path: string) => Promise<T>): Promise<T | undefined> {
  const got = await orUndefined(get(path));
  if (got !== undefined || !(await orUndefined(Deno.lstat(path)))?.isSymlink) return got;
  throw new TypeError(
    `${path} is a link to ${await Deno.readLink(
      path,
    )}, which is not there: download the file again`,
  );
}

async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

function webFolder(url: URL): Folder {
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError(`a folder's URL must begin with file:, http: or https:: ${url}`);
  }
  const base = url.href.endsWith("/") ? url : new URL(`${url.href}/`);
  const inside = (name: string) => new URL(name, base).href;
  const request = async (name: string, method: "GET" | "HEAD") => {
    const { ok, status, bytes } = await fetchPage(inside(name), { method });
    if (ok) return checkedBytes(bytes, inside(name));
    if (status === 404) return undefined;
    throw new Error(`${inside(name)}: the server answered ${status}`);
  };
  const read = (name: string) => request(name, "GET");
  return {
    where: url.href,
    path: inside,
    has: async (name) => await request(name, "HEAD") !== undefined,
    list: () => Promise.resolve([]), // a web server does not tell
    read,
    async open(name) {
      const bytes = await read(name);
      return bytes && memorySource(bytes);
    },
  };
}
