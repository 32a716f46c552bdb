/**
 * The lock of a folder that one process at a time may write to. It is an advisory lock of the operating
 * system (`flock`) on a file in the folder, so it ends with its process, however that process ends.
 * Reading a folder needs no lock.
 *
 * @module
 */
import { join } from "node:path";
import { blameInput } from "../errors.ts";

/** The file that is locked. It names its holder, and is removed when the lock is released. */
export const LOCK_FILE = "pollard.lock";

/** The process that holds a lock. */
export interface LockHolder {
  /** Its process number. */
  readonly pid: number;
  /** The host that it runs on. */
  readonly host: string;
  /** When it took the lock (ISO 8601, UTC). */
  readonly since: string;
}

/** Another process, or another object of this process, holds the lock of a folder. */
export class LockedError extends TypeError {
  /** The holder, if the lock file could be read. */
  readonly holder: LockHolder | undefined;

  /** @param dir The folder. @param holder The process that holds its lock. */
  constructor(dir: string, holder?: LockHolder) {
    super(`${dir} is in use by ${describe(holder)}; wait until it has ended, or stop it`);
    this.holder = holder;
    blameInput(this); // wherever it is found
  }
}

/** A lock that is held until it is disposed or the process ends. */
export class FolderLock implements Disposable {
  /** The folder. */
  readonly dir: string;
  readonly #key: string;
  readonly #file: Deno.FsFile | undefined;
  #held = true;

  /** @internal */
  constructor(dir: string, key: string, file: Deno.FsFile | undefined) {
    this.dir = dir;
    this.#key = key;
    this.#file = file;
    heldHere.add(key);
  }

  /** Releases the lock; a second call does nothing. */
  dispose(): void {
    if (!this.#held) return;
    this.#held = false;
    heldHere.delete(this.#key);
    const file = this.#file;
    if (!file) return;
    try {
      // While it is still locked, so that nobody else's lock file is removed. Windows refuses to remove
      // an open file, and the folder may be gone: an unlocked file that stays does no harm.
      Deno.removeSync(join(this.#key, LOCK_FILE));
    } catch { /* see above */ }
    file.close();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * Real paths of the folders that this process has locked. NFS locks belong to the process, so there the
 * system alone would not keep two objects of one process apart.
 */
const heldHere = new Set<string>();

/**
 * Takes the lock of a folder, without waiting.
 *
 * @param dir An existing folder.
 * @param onMessage Receives one line if the file system has no locks: the caller then goes on without.
 * @throws {LockedError} If somebody else holds it; nothing was changed.
 * @throws Whatever the system says if the lock file cannot be created; the message names it.
 */
export async function lockFolder(
  dir: string,
  onMessage: (line: string) => void = () => {},
): Promise<FolderLock> {
  const key = await Deno.realPath(dir);
  const path = join(key, LOCK_FILE);
  for (;;) {
    if (heldHere.has(key)) throw new LockedError(dir, await readHolder(path));
    const file = await Deno.open(path, { create: true, read: true, write: true });
    try {
      if (!file.tryLockSync(true)) {
        const holder = await readHolder(path);
        file.close();
        throw new LockedError(dir, holder);
      }
    } catch (error) {
      if (error instanceof LockedError) throw error;
      file.close();
      await Deno.remove(path).catch(() => {});
      if (heldHere.has(key)) continue;
      const lock = new FolderLock(dir, key, undefined);
      onMessage(
        `the file system of ${dir} has no locks (${(error as Error).message}): ` +
          "make sure that no other process writes to this folder",
      );
      return lock;
    }
    if (!await isStillThere(file, path)) { // its last holder removed it after we had opened it
      file.close();
      continue;
    }
    // no await from here on, so that two calls of this process cannot both get here
    if (heldHere.has(key)) {
      file.close();
      continue;
    }
    const lock = new FolderLock(dir, key, file);
    writeHolder(file);
    return lock;
  }
}

/**
 * Who holds the lock of a folder now.
 *
 * @returns `undefined` if nobody does, or if the holder's lock file cannot be read.
 */
export async function lockHolder(dir: string): Promise<LockHolder | undefined> {
  const path = join(dir, LOCK_FILE);
  let file: Deno.FsFile;
  try {
    file = await Deno.open(path);
  } catch {
    return undefined;
  }
  try {
    // a shared lock, so that two who look at the same time do not see each other
    if (!heldHere.has(await Deno.realPath(dir)) && file.tryLockSync(false)) return undefined;
  } catch {
    return undefined;
  } finally {
    file.close();
  }
  return await readHolder(path);
}

async function isStillThere(file: Deno.FsFile, path: string): Promise<boolean> {
  const own = await file.stat();
  if (own.ino === null) return true; // Windows, where an open file cannot be removed
  const there = await Deno.stat(path).catch(() => undefined);
  return there !== undefined && there.ino === own.ino && there.dev === own.dev;
}

function writeHolder(file: Deno.FsFile): void {
  const holder: LockHolder = {
    pid: Deno.pid,
    host: Deno.hostname(),
    since: new Date().toISOString(),
  };
  file.truncateSync();
  file.writeSync(new TextEncoder().encode(JSON.stringify(holder) + "\n"));
}

/** Times that a lock file is read anew, and milliseconds in between: its holder may be writing it. */
const READS = 5, BETWEEN_READS_MS = 20;

async function readHolder(path: string): Promise<LockHolder | undefined> {
  for (let i = 0; i < READS; i++) {
    try {
      const { pid, host, since } = JSON.parse(await Deno.readTextFile(path));
      if (Number.isInteger(pid)) return { pid, host: String(host), since: String(since) };
    } catch { /* half written, just removed, or locked against reading (Windows) */ }
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_READS_MS));
  }
}

function describe(holder: LockHolder | undefined): string {
  if (!holder) return "another process";
  const { pid, host, since } = holder;
  const own = pid === Deno.pid && host === Deno.hostname();
  const who = own ? `this process already (number ${pid})` : `process ${pid} on ${host}`;
  return `${who}, since ${since}`;
}
