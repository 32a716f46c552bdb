/**
 * A checkpoint on the disk: a state as JSON and tensors, each with its hash.
 *
 * @module
 */
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { openFile, readWhole, syncFolder, writeWhole } from "../data/files.ts";
import { safetensorsChunks, SafetensorsFile, type TensorToWrite } from "../gpt2/safetensors.ts";
import type { LogStamps } from "./logs.ts";
import { DamagedError, Hash, seal, unseal } from "./sealed.ts";

/** Format of the checkpoints that are written; format 1 had no hashes, and is still read. */
const FORMAT = 2;
const STATE = "state.json";
const TENSORS = "tensors.safetensors";

/** What a checkpoint holds. */
export interface CheckpointContent<State> {
  /** What is saved as JSON. */
  state: State;
  /** The logs as they are at the time. */
  logs: LogStamps;
  /** Hash of the folder's mark; absent in format 1. */
  run?: string;
}

/** A checkpoint as it was read back. */
export interface SavedCheckpoint<State> extends CheckpointContent<State> {
  /** Its folder. */
  path: string;
  /** What was saved as tensors, by name. */
  tensors: Map<string, Float32Array>;
}

/**
 * Writes a checkpoint's folder, which appears complete. Where one is there already, it goes only once
 * the new one is complete.
 */
export async function writeCheckpoint<State>(
  path: string,
  { state, logs, run }: CheckpointContent<State>,
  tensors: readonly TensorToWrite[],
): Promise<void> {
  const partial = `${path}.partial`, old = `${path}.old`;
  await removeAll(partial);
  await Deno.mkdir(partial, { recursive: true });
  const hash = new Hash();
  await writeWhole(join(partial, TENSORS), hashed(safetensorsChunks(tensors), hash));
  const head = { format: FORMAT, pollard: denoJson.version, tensors_sha256: hash.hex(), run };
  await writeWhole(join(partial, STATE), seal({ ...head, logs, state }));
  await removeAll(old);
  await Deno.rename(path, old).catch(unlessMissing);
  await Deno.rename(partial, path);
  await syncFolder(join(path, ".."));
  await removeAll(old);
}

/**
 * Reads a checkpoint, and changes nothing.
 *
 * @throws {DamagedError} If a file of it is not as it was written.
 * @throws {TypeError} If it was written by a version of Pollard whose format this one does not know.
 */
export async function readCheckpoint<State>(path: string): Promise<SavedCheckpoint<State>> {
  const content = await readState<State>(path);
  const file = join(path, TENSORS);
  const tensors = new Map<string, Float32Array>();
  try {
    using source = await openFile(file);
    const hash = content.tensors_sha256 && await hashOf(source);
    if (hash !== content.tensors_sha256) {
      throw new DamagedError(`${file} is not as it was written: its hash has changed`);
    }
    const all = await SafetensorsFile.open(source, file);
    for (const name of all.tensors.keys()) tensors.set(name, await all.read(name));
  } catch (error) {
    throw asDamage(error, file);
  }
  return { ...content, path, tensors };
}

/**
 * Reads what a checkpoint holds besides its tensors.
 *
 * @throws As {@linkcode readCheckpoint} does.
 */
async function readState<State>(
  path: string,
): Promise<CheckpointContent<State> & { tensors_sha256?: string }> {
  const file = join(path, STATE);
  let bytes: Uint8Array;
  try {
    bytes = await readWhole(file);
  } catch (error) {
    throw asDamage(error, file);
  }
  const sealed = unseal(bytes, file);
  if (sealed === undefined) {
    const { logs, state } = JSON.parse(new TextDecoder().decode(bytes)) ?? {};
    if (typeof logs !== "object" || typeof state !== "object") {
      throw new DamagedError(`${file} is not the state of a run`);
    }
    const lengths = Object.entries(logs as Record<string, number>);
    return { state, logs: Object.fromEntries(lengths.map(([log, bytes]) => [log, { bytes }])) };
  }
  const { format, pollard } = sealed;
  if (format !== FORMAT) {
    throw new TypeError(
      `${file} has format ${format}, of Pollard ${pollard}; this is Pollard ${denoJson.version}, ` +
        `which reads formats 1 and ${FORMAT}: continue with that version`,
    );
  }
  return sealed as unknown as CheckpointContent<State> & { tensors_sha256: string };
}

function* hashed(pieces: Iterable<Uint8Array>, hash: Hash): Generator<Uint8Array> {
  for (const piece of pieces) {
    hash.add(piece);
    yield piece;
  }
}

/** Bytes that are hashed at a time. */
const PIECE = 1 << 22;

export async function hashOf(
  source: { size: number; read(offset: number, length: number): Promise<Uint8Array> },
): Promise<string> {
  const hash = new Hash();
  for (let at = 0; at < source.size; at += PIECE) {
    hash.add(await source.read(at, Math.min(PIECE, source.size - at)));
  }
  return hash.hex();
}

/** What keeps a file from being read, as damage of the checkpoint that it belongs to. */
export function asDamage(error: unknown, file: string): DamagedError {
  if (error instanceof DamagedError) return error;
  const { message } = error as Error;
  return new DamagedError(message.includes(file) ? message : `${file}: ${message}`);
}

async function removeAll(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch(unlessMissing);
}

function unlessMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
