/**
 * A text of any length to tokens: piece by piece, into memory or a file.
 *
 * @module
 */
import { dirname } from "node:path";
import { cacheFolder, KEEP_ELSEWHERE } from "./cache_folder.ts";
import { checkSpace, type FreeSpace, type SpaceNeeded } from "./disk_space.ts";
import { type SplitName, SPLITS, type SplitTokens } from "./parts.ts";
import { type TextFile, textOf } from "./text_files.ts";
import type { TextSource } from "./text_source.ts";
import { openCached, placeOf, writeCached } from "./token_cache.ts";
import type { Tokenizer } from "./tokenizer.ts";
import type { Tokens } from "./tokens.ts";
import type { Reading } from "./utf8.ts";

/** Characters that are encoded at once, about. */
const PIECE = 1 << 18;

/** Characters that are looked through for a place to cut, at most. */
const LONGEST = 1 << 26;

/** Texts whose files have fewer bytes together are tokenised in memory each time. */
export const KEPT_FROM = 4 << 20;

/** How a text is tokenised. */
export interface TokeniseOptions {
  /** Ends it: the signal's reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Told how far it is, for what takes longer than a second. */
  onMessage?: ((line: string) => void) | undefined;
  /** The folder in which token files are kept; that of {@linkcode cacheFolder} unless given. */
  folder?: string | undefined;
  /** Texts of fewer bytes stay in memory; {@linkcode KEPT_FROM} unless given. */
  keptFrom?: number | undefined;
  /** Tells how many bytes the folder's disk has room for; the system is asked unless given. */
  freeSpace?: FreeSpace | undefined;
}

/** A file of a text, as records tell of it. */
export interface TokenisedFile {
  /** The split it belongs to. */
  readonly split: SplitName;
  /** Its path, or a name. */
  readonly file: string;
  /** SHA-256 of its bytes, in hexadecimal. */
  readonly sha256: string;
}

/** A text's tokens. */
export interface TokenisedText {
  /** Tokens of each split that there is; a text without splits is all `train`. */
  readonly splits: SplitTokens;
  /** What they were read from. */
  readonly files: readonly TokenisedFile[];
}

/**
 * Encodes a text of any length: the numbers are those of the whole, whatever its pieces.
 *
 * @param pieces The text in order.
 * @param least Characters that are encoded at once, at least; it changes memory, never the result.
 * @param signal Ends it, even while a piece is encoded: the signal's reason is thrown.
 * @throws {RangeError} If white space is so far apart that there is no place to cut.
 */
export async function* encodePieces(
  tokenizer: Tokenizer,
  pieces: AsyncIterable<string> | Iterable<string>,
  least: number = PIECE,
  signal?: AbortSignal,
): AsyncGenerator<Uint32Array> {
  let rest = "";
  for await (const piece of pieces) {
    rest += piece;
    if (rest.length < least) continue;
    const cut = tokenizer.lastCut(rest);
    if (cut > 0) {
      yield await unlessAborted(tokenizer.encode(rest.slice(0, cut)), signal);
      rest = rest.slice(cut);
    } else if (rest.length > LONGEST) {
      throw new RangeError(
        tokenizer.splits
          ? `the text has no white space in ${LONGEST} characters: give one with words in it`
          : `the model's tokenizer takes a text as a whole, and so at most ${LONGEST} characters: ` +
            "give a shorter text",
      );
    }
  }
  if (rest.length > 0) yield await unlessAborted(tokenizer.encode(rest), signal);
}

/** What a promise gives, unless a signal comes first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/**
 * Tokenises every split of a text. A long text's tokens go to a file in the cache, named by the hash of
 * the text and the tokenizer, from which they are read as they are needed; where there is such a file,
 * and it is whole, nothing is tokenised.
 *
 * @throws {TypeError} If a file is not what it should be, or the cache cannot be written to.
 * @throws {RangeError} If a split is empty.
 */
export async function tokenise(
  { name, splits }: TextSource,
  tokenizer: Tokenizer,
  options: TokeniseOptions = {},
): Promise<TokenisedText> {
  const { keptFrom = KEPT_FROM } = options;
  const sizes = Object.values(splits).flatMap((files) => files.map(({ size }) => size));
  const keeps = sizes.reduce((a, b) => a + b, 0) >= keptFrom;
  const tokens: Partial<Record<SplitName, Tokens>> = {}, files: TokenisedFile[] = [];
  for (const split of SPLITS) {
    const of = splits[split];
    if (of === undefined) continue;
    const hashes: string[] = [];
    for (const file of of) {
      const reading = tellReading(options, `reading ${file.name}`, file.size);
      hashes.push(await file.sha256(reading));
    }
    of.forEach((file, i) => files.push({ split, file: file.name, sha256: hashes[i] }));
    tokens[split] = keeps
      ? await kept(of, hashes, tokenizer, options)
      : await gathered(encodePieces(tokenizer, textOf(of, options), PIECE, options.signal));
  }
  if (tokens.train === undefined) throw new TypeError(`${name} has no split train`);
  return { splits: tokens as SplitTokens, files };
}

async function kept(
  files: readonly TextFile[],
  hashes: readonly string[],
  tokenizer: Tokenizer,
  options: TokeniseOptions,
): Promise<Tokens> {
  const { folder = cacheFolder(), signal } = options;
  const columns = files.map(({ column }) => column);
  const key = { files: hashes, columns, tokenizer: tokenizer.fingerprint };
  const place = placeOf(folder, key, tokenizer.vocabSize);
  const there = await openCached(place, { signal });
  if (there !== undefined) return there;
  const total = files.reduce((sum, { size }) => sum + size, 0);
  const reading = tellReading(options, `tokenising ${files[0].name}`, total);
  let read = 0;
  const onBytes = (bytes: number) => {
    read += bytes;
    reading.onBytes?.(bytes);
  };
  const text = textOf(files, { ...reading, onBytes });
  const pieces = encodePieces(tokenizer, text, PIECE, signal);
  const needed = (tokens: number) => ({
    what: `the rest of the tokens of ${files[0].name}`,
    bytes: read < ENOUGH ? 0 : Math.ceil(tokens * place.width * Math.max(0, total / read - 1)),
    folder: dirname(place.path),
    advice: KEEP_ELSEWHERE,
  });
  return await writeCached(place, roomFor(pieces, needed, options.freeSpace));
}

/** Bytes of a text after which it is known how many its tokens take, about. */
const ENOUGH = 1 << 24;

/**
 * Passes pieces on. Once it can be told how much there is to come, it must fit on the disk.
 *
 * @param needed What is to come after so many tokens; no bytes as long as that is unknown.
 */
async function* roomFor(
  pieces: AsyncIterable<Uint32Array>,
  needed: (tokens: number) => SpaceNeeded,
  free: FreeSpace | undefined,
): AsyncGenerator<Uint32Array> {
  let tokens = 0, asked = false;
  for await (const piece of pieces) {
    tokens += piece.length;
    const space = needed(tokens);
    if (!asked && space.bytes > 0) {
      await checkSpace(space, free);
      asked = true;
    }
    yield piece;
  }
}

async function gathered(pieces: AsyncIterable<Uint32Array>): Promise<Uint32Array> {
  const parts = await Array.fromAsync(pieces);
  if (parts.length === 1) return parts[0];
  const all = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Milliseconds until the first line is told, and from one to the next. */
const FIRST_MS = 1000, NEXT_MS = 5000;

/** Tells how far a file of `total` bytes was read. */
function tellReading(
  listeners: TokeniseOptions,
  what: string,
  total: number,
): Reading {
  let read = 0, next = performance.now() + FIRST_MS;
  const onBytes = (bytes: number) => {
    read += bytes;
    if (performance.now() < next) return;
    next = performance.now() + NEXT_MS;
    const share = Math.min(100, Math.floor(100 * read / Math.max(1, total)));
    listeners.onMessage?.(`${what}: ${share} % of ${(total / 1e6).toFixed(0)} MB`);
  };
  return { signal: listeners.signal, onBytes };
}
