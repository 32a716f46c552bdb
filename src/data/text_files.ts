/**
 * The text of files, piece by piece, whatever their format: memory does not grow with them.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { checkFile } from "./files.ts";
import { csvRows, tsvRows } from "./csv_rows.ts";
import { jsonLines, jsonRows } from "./json_rows.ts";
import { parquetRows } from "./parquet.ts";
import type { RowReader } from "./rows.ts";
import { decodeUtf8, fileBlocks, type Reading } from "./utf8.ts";

/** Stands between two rows, and between two files, as between the lines of WikiText in transformers' documentation. */
export const ROW_SEPARATOR = "\n\n";

/** What a text is read from. */
export interface TextFile {
  /** Its path, or a name. */
  readonly name: string;
  /** Bytes in it. */
  readonly size: number;
  /** The column its text is read from; absent where all of it is text. */
  readonly column?: string;
  /** SHA-256 of its bytes, in hexadecimal. */
  sha256(reading?: Reading): Promise<string>;
  /** Its text in order, in pieces of any length. */
  text(reading?: Reading): AsyncIterable<string>;
}

/** A text in memory. */
export function memoryText(name: string, content: string | Uint8Array): TextFile {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const { length: size } = bytes;
  return {
    name,
    size,
    sha256: () => Promise.resolve(createHash("sha256").update(bytes).digest("hex")),
    text: () => decodeUtf8([bytes], { name, size }),
  };
}

/** How a file's rows are read, by its ending. */
const ROWS: ReadonlyMap<string, RowReader> = new Map<string, RowReader>([
  ["jsonl", jsonLines],
  ["ndjson", jsonLines],
  ["json", jsonRows],
  ["csv", csvRows],
  ["tsv", tsvRows],
  ["parquet", parquetRows],
]);

/** Endings of files that hold rows. */
export const ROW_ENDINGS: readonly string[] = [...ROWS.keys()];

/**
 * A file on disk: `.jsonl` and `.ndjson` hold an object a line, `.json` the same or one array of objects,
 * `.csv`, `.tsv` and `.parquet` a table; every other file is plain UTF-8 text.
 *
 * @param column Where rows have their text.
 * @throws {TypeError} If it is a pipe, a device or a folder.
 * @throws Whatever the system says if it cannot be looked at.
 */
export async function textFile(path: string, column: string): Promise<TextFile> {
  const { size, mtime } = await checkFile(path);
  const rows = ROWS.get(/\.(\w+)$/.exec(path)?.[1].toLowerCase() ?? "");
  const checkUnchanged = async () => {
    const now = await Deno.stat(path);
    if (now.size === size && now.mtime?.getTime() === mtime?.getTime()) return;
    throw new TypeError(`${path} was changed while it was read: try again when it is whole`);
  };
  return {
    name: path,
    size,
    ...(rows && { column }),
    async sha256(reading) {
      const hash = createHash("sha256");
      for await (const block of fileBlocks(path, reading)) hash.update(block);
      await checkUnchanged();
      return hash.digest("hex");
    },
    async *text(reading) {
      if (rows) yield* joined(rows(path, column, reading));
      else yield* decodeUtf8(fileBlocks(path, reading), { name: path, size });
      await checkUnchanged();
    },
  };
}

/**
 * The text of several files, one after the other.
 *
 * @throws {RangeError} At the end, if there was nothing but white space in them.
 */
export async function* textOf(
  files: readonly TextFile[],
  reading: Reading = {},
): AsyncGenerator<string> {
  let holdsText = false;
  for (const [i, file] of files.entries()) {
    if (i > 0) yield ROW_SEPARATOR;
    for await (const piece of file.text(reading)) {
      holdsText ||= /\S/.test(piece);
      yield piece;
    }
  }
  if (holdsText) return;
  throw new RangeError(`${files[0].name} is empty: give a file with text in it`);
}

async function* joined(groups: AsyncIterable<string[]>): AsyncGenerator<string> {
  let begun = false;
  for await (const rows of groups) {
    if (rows.length === 0) continue;
    if (begun) yield ROW_SEPARATOR;
    yield* longPieces(rows);
    begun = true;
  }
}

/** Rows joined, a million characters at once or so: no string becomes as long as a row group. */
function* longPieces(rows: readonly string[]): Generator<string> {
  let from = 0, length = 0;
  for (const [i, row] of rows.entries()) {
    length += row.length;
    if (length < 1 << 20 && i + 1 < rows.length) continue;
    yield rows.slice(from, i + 1).join(ROW_SEPARATOR) + (i + 1 < rows.length ? ROW_SEPARATOR : "");
    from = i + 1;
    length = 0;
  }
}
