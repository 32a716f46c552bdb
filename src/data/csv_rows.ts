/**
 * Rows of `.csv` and `.tsv` files, whose first row names the columns.
 *
 * @module
 */
import { Readable } from "node:stream";
import { csvLibrary } from "./deps.ts";
import { LONGEST_ROW, noColumn, type RowReader, tooLong } from "./rows.ts";
import { decodeUtf8, fileBlocks } from "./utf8.ts";

/** Rows that are handed on at once. */
const GROUP = 1000;

/** A row as the package gives it: its fields, its characters, and where it ends. */
interface CsvRow {
  readonly record: string[];
  readonly raw: string;
  readonly info: { readonly lines: number };
}

/** Reads comma-separated values as RFC 4180 has them; other marks may separate them. */
function csvReader(delimiter: "," | "\t"): RowReader {
  return async function* (path, column, reading = {}) {
    const { parse } = await csvLibrary();
    const { size } = await Deno.stat(path);
    const pieces = decodeUtf8(fileBlocks(path, reading), { name: path, size });
    const parser = parse({
      delimiter,
      // a mark inside an unquoted field is a character like any other
      relax_quotes: true,
      skip_empty_lines: true,
      max_record_size: LONGEST_ROW,
      raw: true,
      info: true,
    });
    const source = Readable.from(pieces);
    source.once("error", (error) => parser.destroy(error));
    let index = -1, rows: string[] = [];
    try {
      for await (const { record, raw, info } of source.pipe(parser) as AsyncIterable<CsvRow>) {
        if (index < 0) {
          index = record.indexOf(column);
          if (index < 0) throw noColumn(path, column, record);
          continue;
        }
        const text = record[index];
        if (text.startsWith('"') && !raw.includes(`"${text.replaceAll('"', '""')}"`)) {
          throw new TypeError(
            `${path}, line ${info.lines}: a field goes on after its closing quotation mark: double ` +
              "the marks inside a quoted field",
          );
        }
        rows.push(text);
        if (rows.length < GROUP) continue;
        yield rows;
        rows = [];
      }
    } catch (error) {
      throw saidOf(path, error as Error);
    } finally {
      source.destroy();
    }
    yield rows;
  };
}

/** Rows of comma-separated values. */
export const csvRows: RowReader = csvReader(",");

/** Rows of tab-separated values; quotation marks mean the same as in `.csv`. */
export const tsvRows: RowReader = csvReader("\t");

/** What the package says, in our words and with the file's name. */
function saidOf(path: string, error: Error & { code?: string; lines?: number }): Error {
  if (!error.code?.startsWith("CSV_")) return error;
  const where = `${path}, line ${error.lines}`;
  switch (error.code) {
    case "CSV_MAX_RECORD_SIZE":
      return tooLong(where);
    case "CSV_QUOTE_NOT_CLOSED":
      return new TypeError(
        `${path}: a quotation mark opens in line ${error.lines} and never closes`,
      );
    case "CSV_RECORD_INCONSISTENT_FIELDS_LENGTH":
      return new TypeError(
        `${where} has another number of fields than the first row: ${error.message}; ` +
          "quote a field that holds the separator",
      );
    default:
      return new TypeError(`${where}: ${error.message}`, { cause: error });
  }
}
