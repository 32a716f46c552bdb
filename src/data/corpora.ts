/**
 * The texts that models are trained and judged on.
 *
 * @module
 */
import { mobyDick } from "./deps.ts";
import { sha256 } from "./files.ts";
import { NAMED_TEXTS, namedText } from "./named_texts.ts";

/** A text and where it came from. */
export interface Corpus {
  /** The name or path it was asked for by. */
  readonly name: string;
  /** All of it. */
  readonly text: string;
  /** SHA-256 of its bytes (a file's own, byte-order mark and all), in hexadecimal. */
  readonly sha256: string;
}

const EMBEDDED: Readonly<Record<string, () => string>> = {
  // Every chapter ends in a newline; another leaves a blank line, as between paragraphs.
  moby_dick: () => mobyDick().map((chapter) => chapter.text).join("\n"),
};

/** Whether a name stands for a text, embedded or fetched, rather than a file. */
export function isTextName(name: string): boolean {
  return Object.hasOwn(EMBEDDED, name) || Object.hasOwn(NAMED_TEXTS, name);
}

/**
 * Loads a text: an embedded one by name (`moby_dick`), one that is fetched once by name
 * (`tiny_shakespeare`), or a local UTF-8 file by path. A byte-order mark is dropped; line ends stay
 * as they are.
 *
 * @throws {Deno.errors.NotFound} If there is neither.
 * @throws {TypeError} If the file is not UTF-8 text; the error says about where. If a named text
 * cannot be fetched.
 * @throws {RangeError} If the file is empty.
 */
export async function loadText(nameOrPath: string): Promise<Corpus> {
  if (Object.hasOwn(EMBEDDED, nameOrPath)) {
    const text = EMBEDDED[nameOrPath]();
    return { name: nameOrPath, text, sha256: await sha256(text) };
  }
  let bytes: Uint8Array;
  try {
    bytes = Object.hasOwn(NAMED_TEXTS, nameOrPath)
      ? await namedText(NAMED_TEXTS[nameOrPath])
      : await Deno.readFile(nameOrPath);
  } catch (cause) {
    if (cause instanceof TypeError) throw cause;
    if (cause instanceof Deno.errors.NotFound) {
      throw new Deno.errors.NotFound(
        `no text called ${nameOrPath}: give the path of a UTF-8 file, or one of ${
          [...Object.keys(EMBEDDED), ...Object.keys(NAMED_TEXTS)].join(", ")
        }`,
        { cause },
      );
    }
    throw new Error(`cannot read the text ${nameOrPath}: ${(cause as Error).message}`, { cause });
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new TypeError(
      `${nameOrPath} is not UTF-8 text: no character goes on at byte ${
        firstInvalidUtf8(bytes)
      } of ${bytes.length}; convert it, for example with iconv -t utf-8`,
      { cause },
    );
  }
  if (text.length === 0) {
    throw new RangeError(`${nameOrPath} is empty: give a file with text in it`);
  }
  return { name: nameOrPath, text, sha256: await sha256(bytes) };
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
