/**
 * Logs that grow line by line, and are cut back to where a checkpoint saw them.
 *
 * @module
 */
import { checkFile } from "../data/files.ts";
import { join } from "node:path";
import { DamagedError, Hash } from "./sealed.ts";

/** How a log was when a checkpoint was saved. */
export interface LogStamp {
  /** Its length. */
  bytes: number;
  /** The SHA-256 of that much of it; absent in checkpoints of format 1. */
  sha256?: string;
}

/** The stamps of a folder's logs, by name. */
export type LogStamps = Record<string, LogStamp>;

/** Waits until what was written to some logs is on the disk, and stamps them. */
export async function stampLogs(dir: string, names: readonly string[]): Promise<LogStamps> {
  const stamps: LogStamps = {};
  for (const name of names) {
    using file = await Deno.open(join(dir, name), { read: true, write: true });
    await file.sync();
    const { size: bytes } = await file.stat();
    stamps[name] = { bytes, sha256: await hashOf(file, bytes) };
  }
  return stamps;
}

/**
 * Checks that logs still begin with what a checkpoint saw of them.
 *
 * @throws {DamagedError} If one does not; it names the log.
 */
export async function checkLogs(dir: string, stamps: LogStamps): Promise<void> {
  for (const [name, { bytes, sha256 }] of Object.entries(stamps)) {
    const path = join(dir, name);
    let size: number, hash: string | undefined;
    try {
      await checkFile(path);
      using file = await Deno.open(path);
      ({ size } = await file.stat());
      if (size >= bytes && sha256 !== undefined) hash = await hashOf(file, bytes);
    } catch (error) {
      throw new DamagedError(`${path} cannot be read: ${(error as Error).message}`);
    }
    if (size < bytes) {
      throw new DamagedError(
        `${path} is shorter than its checkpoint says: ${size} bytes of ${bytes}`,
      );
    }
    if (hash !== sha256) {
      throw new DamagedError(`${path} is not as it was when the checkpoint was saved`);
    }
  }
}

/** Cuts logs back to what a checkpoint saw of them. */
export async function cutLogs(dir: string, stamps: LogStamps): Promise<void> {
  for (const [name, { bytes }] of Object.entries(stamps)) {
    using file = await Deno.open(join(dir, name), { write: true });
    await file.truncate(bytes);
    await file.sync();
  }
}

/** Bytes that are hashed at a time. */
const PIECE = 1 << 20;

/** The hash of a file's first bytes. */
async function hashOf(file: Deno.FsFile, bytes: number): Promise<string> {
  const hash = new Hash(), piece = new Uint8Array(PIECE);
  await file.seek(0, Deno.SeekMode.Start);
  for (let left = bytes; left > 0;) {
    const got = await file.read(piece.subarray(0, Math.min(left, PIECE)));
    if (got === null) break;
    hash.add(piece.subarray(0, got));
    left -= got;
  }
  return hash.hex();
}
