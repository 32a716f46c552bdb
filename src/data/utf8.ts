/**
 * UTF-8, checked while it is read: what is not text is refused with the place where it stops being text.
 *
 * @module
 */

import { isWide, kindOf, LOOKED_AT, refuseLfsPointer } from "./formats.ts";

/** Bytes that are read at once. */
export const BLOCK = 1 << 20;

/** What goes along with reading a long file. */
export interface Reading {
  /** Ends it: the signal's reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Told how many bytes were read, each time. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/**
 * The bytes of a file, block by block. Each is valid until the next is asked for. A pipe that nobody
 * writes to can be interrupted by the signal.
 */
export async function* fileBlocks(
  path: string,
  { signal, onBytes }: Reading = {},
): AsyncGenerator<Uint8Array> {
  using stop = aborted(signal);
  using file = await stop.before(Deno.open(path));
  const block = new Uint8Array(BLOCK);
  for (;;) {
    signal?.throwIfAborted();
    const got = await stop.before(file.read(block));
    if (got === null) return;
    onBytes?.(got);
    yield block.subarray(0, got);
  }
}

/** Lets a signal end the wait for a promise, whatever becomes of that. */
function aborted(signal: AbortSignal | undefined) {
  let stop = () => {};
  const never = new Promise<never>((_, reject) => {
    stop = () => reject(signal!.reason);
    signal?.addEventListener("abort", stop);
  });
  never.catch(() => {});
  return {
    before: <T>(promise: Promise<T>): Promise<T> =>
      signal ? Promise.race([promise, never]) : promise,
    [Symbol.dispose]: () => signal?.removeEventListener("abort", stop),
  };
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
  let read = 0, rest = new Uint8Array(0), first: Uint8Array | undefined;
  const decode = (bytes: Uint8Array): string => {
    try {
      return decoder.decode(bytes);
    } catch (cause) {
      const at = read + firstInvalidUtf8(bytes);
      throw new TypeError(
        `${name} is not UTF-8 text (it stops being so at byte ${at} of ${size}), but ${
          kindOf(name, first!)
        }`,
        { cause },
      );
    }
  };
  for await (const block of blocks) {
    if (first === undefined) {
      first = block.slice(0, LOOKED_AT);
      refuseLfsPointer(first, name);
      if (isWide(first)) {
        throw new TypeError(
          `${name} is not UTF-8 text (more than a quarter of its first bytes are zeros), but ${
            kindOf(name, first)
          }`,
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

/** Bytes of a short file, at most. */
const SHORT = 1 << 26;

/**
 * The text of a short file, or of a pipe.
 *
 * @throws {TypeError} If it is not UTF-8, or longer than 64 MiB.
 */
export async function readUtf8(path: string, { signal }: Reading = {}): Promise<string> {
  const { size } = await Deno.stat(path);
  let text = "", read = 0;
  const onBytes = (bytes: number) => {
    read += bytes;
    if (read > SHORT) throw new TypeError(`${path} is longer than ${SHORT} bytes: give less`);
  };
  const blocks = fileBlocks(path, { signal, onBytes });
  for await (const piece of decodeUtf8(blocks, { name: path, size })) text += piece;
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
