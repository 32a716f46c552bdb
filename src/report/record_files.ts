/**
 * Reads the files of a run folder, checks them by their forms, and tells where one does not hold.
 *
 * @module
 */
import { checkJsonSize, fromJson } from "../json.ts";
import { eachHeadCsvRow, eachJsonLine, type HeadRow } from "../record.ts";
import { jsonPlaces, v } from "./deps.ts";
import { type Form, headForm } from "./record_forms.ts";

/** A row of a log and the line it stands on, counted from 1. */
export interface Row<T> {
  value: T;
  line: number;
}

/**
 * Reads a JSON file.
 *
 * @returns What it holds; undefined where there is no such file.
 * @throws {SyntaxError} If it is not JSON.
 * @throws {TypeError} If it does not hold what it should, with the line.
 */
export async function readRecord<T>(path: string, form: Form<T>): Promise<T | undefined> {
  const text = await readText(path);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = fromJson(text);
  } catch (error) {
    throw new SyntaxError(`Cannot parse ${path}: ${(error as Error).message}`);
  }
  const result = v.safeParse(form, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  throw refusal(path, await lineOf(text, keysOf(issue)), issue);
}

/**
 * Reads JSON Lines. A last line that was cut short is left out; a missing file has no rows.
 *
 * @throws {SyntaxError} If a line is not JSON.
 * @throws {TypeError} If a line does not hold what it should.
 */
export async function readLines<T>(path: string, form: Form<T>): Promise<Row<T>[]> {
  return checked(path, form, eachJsonLine(await readText(path) ?? ""));
}

/**
 * Reads `heads.csv`. A last line that was cut short is left out; a missing file has no rows.
 *
 * @throws {SyntaxError} If a line cannot be parsed.
 * @throws {TypeError} If a line does not hold what it should.
 */
export async function readHeads(path: string): Promise<Row<HeadRow>[]> {
  const text = await readText(path);
  // Only a whole line ends with a line feed: what a killed run left after the last one is dropped.
  const whole = text?.slice(0, text.lastIndexOf("\n") + 1);
  return whole ? checked(path, headForm, eachHeadCsvRow(whole)) : [];
}

function checked<T>(path: string, form: Form<T>, rows: Iterable<Row<unknown>>): Row<T>[] {
  const found: Row<T>[] = [];
  try {
    for (const { value, line } of rows) {
      const result = v.safeParse(form, value, { abortEarly: true });
      if (!result.success) throw refusal(path, line, result.issues[0]);
      found.push({ value: result.output, line });
    }
  } catch (error) {
    if (error instanceof SyntaxError) throw new SyntaxError(`${path}: ${error.message}`);
    throw error;
  }
  return found;
}

async function readText(path: string): Promise<string | undefined> {
  try {
    const { isFile, size } = await Deno.stat(path);
    if (!isFile) throw new TypeError(`${path} is not a file`);
    checkJsonSize(path, size);
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** `results.json line 12: cycles[0].sparsity must be a number from 0 to 1: "x"`. */
function refusal(path: string, line: number, issue: v.BaseIssue<unknown>): TypeError {
  const place = keysOf(issue).map((key) => typeof key === "number" ? `[${key}]` : `.${key}`)
    .join("").replace(/^\./, "");
  const subject = place === "" ? "" : `${place} `;
  const what = issue.input === undefined
    ? `${subject || "the value "}is missing`
    : `${subject || "the record "}${issue.message}: ${shortened(issue.input)}`;
  return new TypeError(`${path} line ${line}: ${what}`);
}

function keysOf(issue: v.BaseIssue<unknown>): (string | number)[] {
  return (issue.path ?? []).map(({ key }) => key as string | number);
}

function shortened(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

/** The line of a value in a JSON text, or of what lacks it. */
async function lineOf(text: string, keys: (string | number)[]): Promise<number> {
  const { findNodeAtLocation, parseTree } = await jsonPlaces();
  const root = parseTree(text);
  for (let depth = keys.length; root && depth >= 0; depth--) {
    const node = findNodeAtLocation(root, keys.slice(0, depth));
    if (node) return text.slice(0, node.offset).split("\n").length;
  }
  return 1;
}
