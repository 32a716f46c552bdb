/**
 * Token numbers in order, wherever they lie: what batches and windows are cut from.
 *
 * @module
 */

/** Token numbers in order; a `Uint32Array` is one. */
export interface Tokens {
  /** How many. */
  readonly length: number;
  /**
   * Those from `begin` up to `end`, not included; to the last unless given. Both lie between 0 and
   * `length`. The array may be a view: who changes it changes a copy.
   */
  subarray(begin: number, end?: number): Uint32Array;
}

/** Cuts tokens out without reading them: a view of an array, a range of a file. */
export function partOfTokens(tokens: Tokens, begin: number, end: number): Tokens {
  return tokens instanceof FileTokens ? tokens.part(begin, end) : tokens.subarray(begin, end);
}

/** Bytes of a token in a file: 2 where the vocabulary allows. */
export type TokenWidth = 2 | 4;

/** What all parts of an open file share; the file is closed when the last of them is forgotten. */
interface Handle {
  readonly file: Deno.FsFile;
  readonly path: string;
  readonly width: TokenWidth;
}
const forgotten = new FinalizationRegistry<Deno.FsFile>((file) => {
  try {
    file.close();
  } catch {
    // its owner closed it
  }
});

/**
 * Tokens that stay in a file and are read as they are asked for, so that memory does not grow with
 * the text. The file is held open: that it is deleted meanwhile does no harm.
 */
export class FileTokens implements Tokens, Disposable {
  /** How many. */
  readonly length: number;
  readonly #handle: Handle;
  readonly #offset: number;

  private constructor(handle: Handle, offset: number, length: number) {
    this.length = length;
    this.#handle = handle;
    this.#offset = offset;
  }

  /**
   * Opens a file of little-endian numbers.
   *
   * @param layout `offset` of the first in bytes, how many there are, and bytes of each.
   */
  static open(
    path: string,
    { offset, length, width }: { offset: number; length: number; width: TokenWidth },
  ): FileTokens {
    const file = Deno.openSync(path);
    const handle = { file, path, width };
    forgotten.register(handle, file, handle);
    return new FileTokens(handle, offset, length);
  }

  /**
   * Reads tokens, at once and in memory of their own.
   *
   * @throws {Error} If the file has become shorter.
   */
  subarray(begin: number, end: number = this.length): Uint32Array {
    const { file, path, width } = this.#handle;
    const bytes = new Uint8Array(Math.max(0, end - begin) * width);
    file.seekSync(this.#offset + begin * width, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) {
      const got = file.readSync(bytes.subarray(at));
      if (got === null) throw new Error(`${path} became shorter while it was read`);
      at += got;
    }
    return width === 4
      ? new Uint32Array(bytes.buffer)
      : Uint32Array.from(new Uint16Array(bytes.buffer));
  }

  /** A range of them, in the same open file. */
  part(begin: number, end: number): FileTokens {
    const offset = this.#offset + begin * this.#handle.width;
    return new FileTokens(this.#handle, offset, end - begin);
  }

  /** Closes the file, for its parts too. */
  dispose(): void {
    forgotten.unregister(this.#handle);
    this.#handle.file.close();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
