/**
 * The folder in which texts and tokens are kept for later.
 *
 * @module
 */
import { join } from "node:path";

/** Where it is: `POLLARD_CACHE`, or a folder of the user's cache. */
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

/** What to do where it takes no more. */
export const KEEP_ELSEWHERE = "make room there, or name another folder by POLLARD_CACHE";

/**
 * Says of the cache what the system says of a file in it.
 *
 * @param where The file or folder. @param what What is read from it or written to it.
 * @throws {TypeError} If the action throws.
 */
export async function keepIn<T>(where: string, what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw new TypeError(
      `${what} cannot be kept in ${where}: ${(cause as Error).message}; ${KEEP_ELSEWHERE}`,
      { cause },
    );
  }
}

/** Milliseconds without a write after which a temporary file belongs to nobody any more. */
const STALE_MS = 60 * 60_000;

/** Removes what processes that were killed left half written in a folder of the cache. */
export async function removeStale(dir: string): Promise<void> {
  for (const { name } of await Array.fromAsync(Deno.readDir(dir))) {
    if (!/\.tmp-[0-9a-f-]{36}$/.test(name)) continue;
    const path = join(dir, name);
    const { mtime } = await Deno.lstat(path).catch(() => ({ mtime: null }));
    if (mtime && Date.now() - mtime.getTime() > STALE_MS) await Deno.remove(path).catch(() => {});
  }
}
