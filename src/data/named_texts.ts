/**
 * Texts that are known by a name and fetched once: checked by their hash, and kept for later.
 *
 * @module
 */
import { join } from "node:path";
import { cacheFolder, KEEP_ELSEWHERE, keepIn } from "./cache_folder.ts";
import { checkSpace, type FreeSpace } from "./disk_space.ts";
import { sha256, writeWhole } from "./files.ts";
import { fetchPage, type WebOptions } from "./web.ts";

/** A text on the web that does not change. */
export interface NamedText {
  /** What people call it. */
  readonly name: string;
  /** Where it is fetched from. */
  readonly url: string;
  /** Bytes in it. */
  readonly size: number;
  /** SHA-256 of its bytes, in hexadecimal: whatever is fetched must have it. */
  readonly sha256: string;
}

/** The texts that a name stands for. */
export const NAMED_TEXTS: Readonly<Record<string, NamedText>> = {
  tiny_shakespeare: {
    name: "tiny_shakespeare",
    url:
      "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    size: 1_115_394,
    sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
  },
};

/** Where fetched texts go, and how. */
export interface NamedTextOptions extends WebOptions {
  /** The folder in which they are kept; that of {@linkcode cacheFolder} unless given. */
  readonly folder?: string | undefined;
  /** Tells how many bytes the folder's disk has room for; the system is asked unless given. */
  readonly freeSpace?: FreeSpace | undefined;
}

/**
 * The bytes of a named text: from the cache, or fetched, checked and then cached.
 *
 * @throws {TypeError} If it cannot be fetched, is not what the name stands for, or cannot be kept; the
 * error says what to do instead. Nothing is cached then. The signal's reason.
 */
export async function namedText(
  { name, url, size, sha256: expected }: NamedText,
  { folder = cacheFolder(), freeSpace, ...web }: NamedTextOptions = {},
): Promise<Uint8Array> {
  const path = join(folder, `${name}-${expected.slice(0, 16)}.txt`);
  const kept = await keepIn(folder, name, () => optionalFile(path));
  if (kept && await sha256(kept) === expected) return kept;
  await checkSpace({ what: name, bytes: size, folder, advice: KEEP_ELSEWHERE }, freeSpace);
  await keepIn(folder, name, () => Deno.mkdir(folder, { recursive: true }));
  const instead = `fetch it on a machine that can, and give its path instead of ${name}`;
  const { ok, status, bytes } = await fetchPage(url, web).catch((cause) => {
    web.signal?.throwIfAborted();
    throw new TypeError(`${name} cannot be fetched: ${cause.message}; ${instead}`, { cause });
  });
  if (!ok) {
    throw new TypeError(
      `${name} cannot be fetched from ${url}: the server answered ${status}; ${instead}`,
    );
  }
  const found = await sha256(bytes);
  if (found !== expected) {
    throw new TypeError(
      `${url} is not the text that ${name} stands for: its SHA-256 is ${found}, not ${expected}; ${instead}`,
    );
  }
  await keepIn(folder, name, () => writeWhole(path, bytes));
  return bytes;
}

async function optionalFile(path: string): Promise<Uint8Array | undefined> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
