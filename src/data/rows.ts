/**
 * What the readers of tables share: rows that have their text in a column.
 *
 * @module
 */
import { didYouMean } from "../nearest.ts";
import type { Reading } from "./utf8.ts";

/** Reads the texts of a column, a group of rows at once. */
export type RowReader = (
  path: string,
  column: string,
  reading?: Reading,
) => AsyncGenerator<string[]>;

/** Characters of one row, at most. */
export const LONGEST_ROW = 1 << 28;

/** Columns that an error names, and characters of each, at most. */
const NAMED = 20, SHOWN = 40;

/** The error for a table, or a row, that lacks the column. */
export function noColumn(where: string, column: string, names: readonly string[]): TypeError {
  const some = names.slice(0, NAMED).map((name) =>
    name.length > SHOWN ? `${name.slice(0, SHOWN)}...` : name
  );
  const more = names.length > NAMED ? `, and ${names.length - NAMED} more` : "";
  return new TypeError(
    `${where} has no column ${column}: it has ` +
      (names.length > 0
        ? `${some.join(", ")}${more}; name one of them as text_column${didYouMean(column, names)}`
        : "none"),
  );
}

/** The error for a row of more characters than can be one text. */
export function tooLong(where: string): TypeError {
  return new TypeError(
    `${where} is longer than ${LONGEST_ROW.toLocaleString("en-US")} characters: write shorter rows`,
  );
}
