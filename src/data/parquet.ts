/**
 * A column of text from a Parquet file, row group by row group: memory is that of one of them.
 *
 * @module
 */
import {
  type AsyncBuffer,
  compressorsLibrary,
  type FileMetaData,
  parquetLibrary,
  type SchemaTree,
} from "./deps.ts";
import { formatOf, LOOKED_FOR } from "./formats.ts";
import { PageChecks } from "./parquet_pages.ts";
import { noColumn } from "./rows.ts";
import type { Reading } from "./utf8.ts";

/**
 * The rows of a column, those of a row group at once.
 *
 * @throws {TypeError} If the file is not Parquet or damaged (checksums of its pages are held against
 * them, where they are there), has no such column, or the column holds
 * something else than text; the error names the columns or the row, counted from 0.
 */
export async function* parquetRows(
  path: string,
  column: string,
  { signal, onBytes }: Reading = {},
): AsyncGenerator<string[]> {
  const { parquetMetadataAsync, parquetScan, parquetSchema } = await parquetLibrary();
  const { compressors } = await compressorsLibrary();
  using file = new OpenBuffer(path);
  checkEnds(path, file);
  const damaged = (cause: unknown) =>
    new TypeError(`${path} is a damaged Parquet file: ${(cause as Error).message}; fetch it anew`, {
      cause,
    });
  let metadata: FileMetaData;
  try {
    metadata = await parquetMetadataAsync(file);
  } catch (cause) {
    throw damaged(cause);
  }
  checkColumn(path, parquetSchema(metadata).children, column);
  const parsers = { stringFromBytes: decode };
  const scan = await parquetScan({ file, metadata, columns: [column], compressors, parsers });
  const pages = new PageChecks(file, metadata, column);
  const rows = Math.max(1, Number(metadata.num_rows));
  for (const { rowStart, rowEnd } of scan.ranges) {
    signal?.throwIfAborted();
    let values: ArrayLike<unknown>;
    try {
      await pages.upTo(rowEnd);
      values = await scan.readColumn({ column, rowStart, rowEnd });
      if (values.length !== rowEnd - rowStart) {
        throw new Error(`it has ${values.length} of the rows ${rowStart} to ${rowEnd - 1}`);
      }
    } catch (cause) {
      if (!(cause instanceof NotUtf8)) throw damaged(cause);
      throw new TypeError(
        `${path}: the column ${column} is not UTF-8 text in a row from ${rowStart} to ` +
          `${rowEnd - 1}: name another as text_column, or write the file anew`,
        { cause },
      );
    }
    const texts = Array.from(values, (value, i) => {
      if (typeof value === "string") return value;
      throw new TypeError(
        `${path}: row ${rowStart + i} has no text in its column ${column}: name another as ` +
          "text_column, or leave the row out",
      );
    });
    onBytes?.(file.byteLength * (rowEnd - rowStart) / rows);
    yield texts;
  }
}

function checkColumn(path: string, children: readonly SchemaTree[], column: string): void {
  const found = children.find(({ element }) => element.name === column);
  if (found === undefined) {
    throw noColumn(path, column, children.map(({ element }) => element.name));
  }
  const { type, logical_type, converted_type } = found.element;
  const other = logical_type && logical_type.type !== "STRING" ||
    converted_type && converted_type !== "UTF8";
  if (found.children.length > 0 || type !== "BYTE_ARRAY" || other) {
    const kind = found.children.length > 0 ? "nested" : converted_type ?? type;
    throw new TypeError(
      `${path}: the column ${column} does not hold text (${kind}): name another as text_column`,
    );
  }
}

/** Parquet's texts are UTF-8; a file that breaks that is refused, not mended. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new NotUtf8("no UTF-8", { cause });
  }
}

class NotUtf8 extends TypeError {}

/** What a Parquet file begins and ends with, and the bytes of the smallest. */
const MARK = "PAR1", SMALLEST = 12;

/** Refuses what does not begin and end as Parquet files do. */
function checkEnds(path: string, file: OpenBuffer): void {
  const bytes = (start: number, end?: number) => new Uint8Array(file.slice(start, end));
  const size = file.byteLength, first = bytes(0, Math.min(LOOKED_FOR, size));
  const isMark = (bytes: Uint8Array) => MARK === String.fromCharCode(...bytes);
  if (!isMark(first.subarray(0, 4))) {
    const format = formatOf(first);
    throw new TypeError(
      `${path} is not a Parquet file` +
        (format ? `, but ${format}` : size === 0 ? ": it is empty" : ": it does not begin as one"),
    );
  }
  if (size >= SMALLEST && isMark(bytes(size - 4))) return;
  throw new TypeError(
    `${path} is only a part of a Parquet file: it ends after ${size} bytes, and not as one; fetch it ` +
      "anew",
  );
}

/** An open file as the package reads it: anywhere, and several places at once. */
class OpenBuffer implements AsyncBuffer, Disposable {
  readonly byteLength: number;
  readonly #file: Deno.FsFile;

  constructor(path: string) {
    this.#file = Deno.openSync(path);
    this.byteLength = this.#file.statSync().size;
  }

  /** Reads at once, so that no other read can move the place in between. */
  slice(start: number, end: number = this.byteLength): ArrayBuffer {
    const bytes = new Uint8Array(Math.max(0, end - start));
    this.#file.seekSync(start, Deno.SeekMode.Start);
    for (let at = 0; at < bytes.length;) {
      const got = this.#file.readSync(bytes.subarray(at));
      if (got === null) throw new Error("it ends too early");
      at += got;
    }
    return bytes.buffer;
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }
}
