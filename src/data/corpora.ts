/**
 * Whole texts, in memory.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { SplitName } from "./parts.ts";
import { type TextFile, textOf } from "./text_files.ts";
import { openText, pickSplit, type TextOptions } from "./text_source.ts";

/** A text and where it came from. */
export interface Corpus {
  /** The name or path it was asked for by. */
  readonly name: string;
  /** All of it. */
  readonly text: string;
  /** SHA-256 of its bytes (a file's own, byte-order mark and all), in hexadecimal. */
  readonly sha256: string;
}

/** Which text, and how to find it. */
export interface LoadTextOptions extends TextOptions {
  /** Which split of a data set that has splits; others have none to name. */
  split?: SplitName | undefined;
}

/**
 * Loads a text into memory: by the same names and from the same files as `openText` finds. A byte-order
 * mark is dropped; line ends stay as they are; rows are joined by blank lines.
 *
 * @throws {Deno.errors.NotFound} If there is none.
 * @throws {TypeError} If a file is not UTF-8 text, or a row has none; the error says about where. If a
 * named text cannot be fetched.
 * @throws {RangeError} If it is empty, or its splits are not as asked for.
 */
export async function loadText(
  nameOrPath: string,
  { split, ...options }: LoadTextOptions = {},
): Promise<Corpus> {
  const source = await openText(nameOrPath, options);
  const files = source.splits[pickSplit(source, split)]!;
  let text = "";
  for await (const piece of textOf(files, options)) text += piece;
  const hashes = await Promise.all(files.map((file: TextFile) => file.sha256()));
  return { name: nameOrPath, text, sha256: combinedHash(hashes) };
}

/** The hash of a file, or of the hashes of several, in order. */
export function combinedHash(hashes: readonly string[]): string {
  if (hashes.length === 1) return hashes[0];
  return createHash("sha256").update(hashes.join("\n")).digest("hex");
}
