/**
 * Files of tokens: written once for a text and a tokenizer, then read in place of both.
 *
 * A file is a header of 96 bytes and the token numbers, little-endian, 2 bytes each where the vocabulary
 * has at most 65,536 tokens, else 4. The header: the format's name (8 bytes), bytes of a number (4),
 * four zeros, how many numbers (8), what they were made from (SHA-256, 32), SHA-256 of the numbers (32),
 * the first 8 bytes of the SHA-256 of all of that.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { join } from "node:path";
import { keepIn, removeStale } from "./cache_folder.ts";
import { FileTokens, type TokenWidth } from "./tokens.ts";
import { fileBlocks, type Reading } from "./utf8.ts";

/** Names the format; counts up whenever the same text might give other numbers. */
const FORMAT = "pollard3";
const HEADER = 96;
/** Bytes of the header that its own hash covers. */
const HASHED = 88;

/** Everything that decides the numbers. */
export interface TokenKey {
  /** SHA-256 of each file, in order. */
  readonly files: readonly string[];
  /** How text is read from each: the column, or nothing where the file is all text. */
  readonly columns: readonly (string | undefined)[];
  /** SHA-256 of the tokenizer. */
  readonly tokenizer: string;
}

/** A place in the cache. */
export interface CachedTokens {
  /** The file. */
  readonly path: string;
  /** What it must have been made from, SHA-256. */
  readonly key: Uint8Array;
  /** Bytes of a number. */
  readonly width: TokenWidth;
}

/**
 * Where tokens are kept.
 *
 * @param folder The cache. @param vocabSize Decides the width of a number.
 */
export function placeOf(folder: string, key: TokenKey, vocabSize: number): CachedTokens {
  const { files, columns, tokenizer } = key;
  const told = [FORMAT, tokenizer, files.map((file, i) => [file, columns[i] ?? null])];
  const digest = createHash("sha256").update(JSON.stringify(told)).digest();
  const width = vocabSize <= 65536 ? 2 : 4;
  return {
    path: join(folder, "tokens", `${digest.toString("hex").slice(0, 32)}.bin`),
    key: new Uint8Array(digest),
    width,
  };
}

/**
 * Opens what is kept.
 *
 * @returns Nothing where there is no file, or a damaged one.
 */
export async function openCached(
  { path, key, width }: CachedTokens,
  reading: Reading = {},
): Promise<FileTokens | undefined> {
  let size: number;
  try {
    ({ size } = await Deno.stat(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    if (error instanceof Deno.errors.NotADirectory) return undefined; // writing will say so
    throw error;
  }
  const head = new Uint8Array(HEADER), hash = createHash("sha256");
  let read = 0;
  for await (const block of fileBlocks(path, reading)) {
    const taken = Math.min(block.length, Math.max(0, HEADER - read));
    head.set(block.subarray(0, taken), Math.min(read, HEADER));
    hash.update(block.subarray(taken));
    read += block.length;
  }
  const length = (size - HEADER) / width;
  if (read !== size || !Number.isSafeInteger(length) || length < 0) return undefined;
  const expected = header({ key, width, length, body: hash });
  if (!expected.every((byte, i) => head[i] === byte)) return undefined;
  return FileTokens.open(path, { offset: HEADER, length, width });
}

/**
 * Writes tokens under a temporary name as they come, then renames the file.
 *
 * @returns The opened file.
 * @throws What the pieces throw. {TypeError} If the cache cannot be written to. Nothing is left then.
 */
export async function writeCached(
  { path, key, width }: CachedTokens,
  pieces: AsyncIterable<Uint32Array>,
): Promise<FileTokens> {
  const temporary = `${path}.tmp-${crypto.randomUUID()}`;
  const body = createHash("sha256");
  let length = 0;
  const writing = <T>(action: () => Promise<T>) => keepIn(path, "tokens", action);
  try {
    using file = await writing(async () => {
      await Deno.mkdir(join(path, ".."), { recursive: true });
      return await Deno.open(temporary, { write: true, createNew: true });
    });
    await writing(() => writeAll(file, new Uint8Array(HEADER)));
    for await (const ids of pieces) {
      const numbers = width === 2 ? Uint16Array.from(ids) : ids;
      const bytes = new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
      body.update(bytes);
      length += ids.length;
      await writing(() => writeAll(file, bytes));
    }
    await writing(async () => {
      await file.seek(0, Deno.SeekMode.Start);
      await writeAll(file, header({ key, width, length, body }));
      await file.sync(); // before it is renamed, or a power cut could leave a hole
      await Deno.rename(temporary, path);
      await removeStale(join(path, ".."));
    });
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
  return FileTokens.open(path, { offset: HEADER, length, width });
}

function header(
  { key, width, length, body }: { key: Uint8Array; width: number; length: number; body: Hash },
): Uint8Array {
  const bytes = new Uint8Array(HEADER), view = new DataView(bytes.buffer);
  bytes.set(new TextEncoder().encode(FORMAT));
  view.setUint32(8, width, true);
  view.setBigUint64(16, BigInt(length), true);
  bytes.set(key, 24);
  bytes.set(body.digest(), 56);
  const hash = createHash("sha256").update(bytes.subarray(0, HASHED)).digest();
  bytes.set(hash.subarray(0, HEADER - HASHED), HASHED);
  return bytes;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
