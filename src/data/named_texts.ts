/**
 * Texts that are known by a name and fetched once: checked by their hash, and kept for later.
 *
 * @module
 */
import { join } from "node:path";
import { sha256, writeWhole } from "./files.ts";

/** A text on the web that does not change. */
export interface NamedText {
  /** What people call it. */
  readonly name: string;
  /** Where it is fetched from. */
  readonly url: string;
  /** SHA-256 of its bytes, in hexadecimal: whatever is fetched must have it. */
  readonly sha256: string;
}

/** The texts that a name stands for. */
export const NAMED_TEXTS: Readonly<Record<string, NamedText>> = {
  tiny_shakespeare: {
    name: "tiny_shakespeare",
    url:
      "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    sha256: "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
  },
};

/** Where fetched texts are kept: `POLLARD_CACHE`, or a folder of the user's cache. */
export function cacheFolder(): string {
  const { env, build } = Deno;
  const own = env.get("POLLARD_CACHE");
  if (own) return own;
  const base = build.os === "windows"
    ? env.get("LOCALAPPDATA")
    : env.get("XDG_CACHE_HOME") ?? (env.get("HOME") && join(env.get("HOME")!, ".cache"));
  if (!base) throw new TypeError("There is no folder to keep texts in: set POLLARD_CACHE to one");
  return join(base, "pollard");
}

/**
 * The bytes of a named text: from the cache, or fetched, checked and then cached.
 *
 * @param folder The cache.
 * @throws {TypeError} If it cannot be fetched, or is not what the name stands for; the error says
 * what to do instead. Nothing is cached then.
 */
export async function namedText(
  { name, url, sha256: expected }: NamedText,
  folder: string = cacheFolder(),
): Promise<Uint8Array> {
  const path = join(folder, `${name}-${expected.slice(0, 16)}.txt`);
  const kept = await Deno.readFile(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  if (kept && await sha256(kept) === expected) return kept;
  const instead = `fetch it on a machine that can, and give its path instead of ${name}`;
  let bytes: Uint8Array;
  try {
    const response = await fetch(url);
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`the server answered ${response.status}`);
    }
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new TypeError(
      `${name} cannot be fetched from ${url}: ${(cause as Error).message}; ${instead}`,
      {
        cause,
      },
    );
  }
  const found = await sha256(bytes);
  if (found !== expected) {
    throw new TypeError(
      `${url} is not the text that ${name} stands for: its SHA-256 is ${found}, not ${expected}; ${instead}`,
    );
  }
  await Deno.mkdir(folder, { recursive: true });
  await writeWhole(path, bytes);
  return bytes;
}
