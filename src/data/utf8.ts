/**
 * UTF-8, checked while it is read: what is not text is refused with the place where it stops being text.
 *
 * @module
 */

import { formatOf, isWide, refuseLfsPointer } from "./formats.ts";

/** Bytes that are read at once. */
export const BLOCK = 1 << 20;

/** What goes along with reading a long file. */
export interface Reading {
  /** Ends it: the signal's reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Told how many bytes were read, each time. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/** The bytes of a file, block by block. Each is valid until the next is asked for. */
export async function* fileBlocks(
  path: string,
  { signal, onBytes }: Reading = {},
): AsyncGenerator<Uint8Array> {
  using file = await Deno.open(path);
  const block = new Uint8Array(BLOCK);
  for (;;) {
    signal?.throwIfAborted();
    const got = await file.read(block);
    if (got === null) return;
    onBytes?.(got);
    yield block.subarray(0, got);
  }
}

/**
 * The text of bytes, piece by piece; no character is cut in two. A byte-order mark at the beginning is
 * dropped, line ends stay as they are.
 *
 * @param name What to call them in an error. @param size How many there are, for the same.
 * @throws {TypeError} If they are not UTF-8; the error says at which byte, or what they are instead.
 */
export async function* decodeUtf8(
  blocks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  { name, size }: { name: string; size: number },
): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let read = 0, rest = new Uint8Array(0), format: string | undefined;
  const decode = (bytes: Uint8Array): string => {
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      if (format !== undefined) {
        throw new TypeError(`${name} is not UTF-8 text, but ${format}`, { cause });
      }
      throw new TypeError(
        `${name} is not UTF-8 text: no character goes on at byte ${
          read + firstInvalidUtf8(bytes)
        } of ${size}; convert it, for example with iconv -f latin1 -t utf-8`,
        { cause },
      );
    }
  };
  for await (const block of blocks) {
    if (read + rest.length === 0) {
      format = formatOf(block);
      refuseLfsPointer(block, name);
      if (isWide(block)) {
        throw new TypeError(
          `${name} is not UTF-8 text: more than a quarter of its first bytes are zeros, as in UTF-16 ` +
            "and UTF-32; convert it, for example with iconv -f utf-16 -t utf-8",
        );
      }
    }
    const bytes = rest.length === 0 ? block : concat(rest, block);
    const whole = bytes.length - unfinished(bytes);
    let text = decode(bytes.subarray(0, whole));
    if (read === 0 && text.startsWith("\ufeff")) text = text.slice(1);
    rest = bytes.slice(whole);
    read += whole;
    if (text.length > 0) yield text;
  }
  if (rest.length > 0) decode(rest); // throws: a character was cut
}

/**
 * The text of a short file.
 *
 * @throws {TypeError} If it is not UTF-8.
 */
export async function readUtf8(path: string): Promise<string> {
  const bytes = await Deno.readFile(path);
  let text = "";
  for await (const piece of decodeUtf8([bytes], { name: path, size: bytes.length })) text += piece;
  return text;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}

/** Bytes at the end that begin a character and do not end it, 0 to 3. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue; // inside a character
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? back : 0;
  }
  return 0;
}

/** The first byte that cannot go on a UTF-8 text, or the length if the last character is cut. */
function firstInvalidUtf8(bytes: Uint8Array): number {
  let good = 0, bad = bytes.length + 1; // lengths of a valid and an invalid beginning
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1;
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, middle), { stream: true });
      good = middle;
    } catch {
      bad = middle;
    }
  }
  return good;
}
