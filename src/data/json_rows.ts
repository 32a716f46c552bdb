/**
 * Rows of JSON: an object a line, or one array of objects.
 *
 * @module
 */
import { fromJson } from "../json.ts";
import { JSONParser } from "./deps.ts";
import { LONGEST_ROW, noColumn, tooLong } from "./rows.ts";
import { decodeUtf8, fileBlocks, type Reading } from "./utf8.ts";

/**
 * The rows of a file of JSON lines, those of a block at once. Empty lines are skipped.
 *
 * @throws {TypeError} If a line is not an object with text in that column; the error names the line.
 */
export async function* jsonLines(
  path: string,
  column: string,
  reading: Reading = {},
): AsyncGenerator<string[]> {
  yield* linesOf(await piecesOf(path, reading), path, column);
}

/**
 * The rows of a `.json` file, which holds an object a line or one array of objects.
 *
 * @throws {TypeError} If it holds anything else; the error names the line, or the object's place.
 */
export async function* jsonRows(
  path: string,
  column: string,
  reading: Reading = {},
): AsyncGenerator<string[]> {
  const pieces = await piecesOf(path, reading);
  let start = "", done = false;
  while (!done && !/\S/.test(start)) {
    const next = await pieces.next();
    if (next.done) done = true;
    else start += next.value;
  }
  const all = async function* () {
    yield start;
    yield* pieces;
  };
  const rowsOf = start.trimStart().startsWith("[") ? elementsOf : linesOf;
  yield* rowsOf(all(), path, column);
}

async function piecesOf(path: string, reading: Reading): Promise<AsyncGenerator<string>> {
  const { size } = await Deno.stat(path);
  return decodeUtf8(fileBlocks(path, reading), { name: path, size });
}

async function* linesOf(
  pieces: AsyncIterable<string>,
  path: string,
  column: string,
): AsyncGenerator<string[]> {
  let number = 0, rest = "";
  const rowsOf = (lines: readonly string[]) =>
    lines.flatMap((line) => {
      const where = `${path}, line ${++number}`;
      return line.trim() === "" ? [] : [textOf(parseLine(line, where, column), where, column)];
    });
  for await (const piece of pieces) {
    const lines = piece.split("\n");
    if (rest.length + lines[0].length > LONGEST_ROW) throw tooLong(`${path}, line ${number + 1}`);
    lines[0] = rest + lines[0];
    rest = lines.pop()!;
    yield rowsOf(lines);
  }
  yield rowsOf([rest]);
}

function parseLine(line: string, where: string, column: string): unknown {
  try {
    return fromJson(line);
  } catch (cause) {
    const hint = /\b-?(NaN|Infinity)\b/.test(line)
      ? " (JSON has no NaN and no Infinity: write null, or leave the value out)"
      : "";
    throw new TypeError(
      `${where} is not JSON${hint}: ${(cause as Error).message}; a line holds ` +
        `{"${column}": "..."}, or a .json file one array of such objects`,
      { cause },
    );
  }
}

async function* elementsOf(
  pieces: AsyncIterable<string>,
  path: string,
  column: string,
): AsyncGenerator<string[]> {
  const parser = new JSONParser({ paths: ["$.*"], keepStack: false });
  let values: unknown[] = [], number = 0;
  parser.onValue = ({ value }) => values.push(value);
  for await (const piece of pieces) {
    let failure: Error | undefined;
    try {
      parser.write(piece);
    } catch (cause) {
      failure = cause as Error;
    }
    yield values.map((value) => textOf(value, `${path}, object ${++number}`, column));
    values = [];
    if (failure !== undefined) {
      throw new TypeError(`${path} is not JSON after object ${number}: ${failure.message}`, {
        cause: failure,
      });
    }
  }
  if (!parser.isEnded) {
    throw new TypeError(
      `${path} ends after object ${number}, in the middle of its array: fetch or write it again`,
    );
  }
}

function textOf(row: unknown, where: string, column: string): string {
  if (typeof row !== "object" || row === null || Array.isArray(row)) {
    const what = Array.isArray(row) ? "a JSON array" : "no object";
    throw new TypeError(`${where} holds ${what}: write one object a line, {"${column}": "..."}`);
  }
  if (!Object.hasOwn(row, column)) throw noColumn(where, column, Object.keys(row));
  const value = (row as Record<string, unknown>)[column];
  if (typeof value === "string") {
    if (value.isWellFormed()) return value;
    throw new TypeError(
      `${where} is not text in its column ${column}: half of a surrogate pair stands alone in it; ` +
        "write the file again, with whole characters",
    );
  }
  const kind = value === null ? "null" : Array.isArray(value) ? "a list" : `a ${typeof value}`;
  throw new TypeError(
    `${where} has no text in its column ${column}, but ${kind}: name another as text_column, or ` +
      "leave the line out",
  );
}
