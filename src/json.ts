/**
 * JSON as every command prints it and every record holds it.
 *
 * @module
 */

/**
 * A value as JSON. A number that JSON cannot hold (`Infinity`, `NaN`) is left out with its key, so that
 * no reader finds `null` where a number belongs.
 *
 * @param space How many blanks to indent by; one line unless given.
 * @throws {RangeError} If such a number stands in a list, which cannot leave it out.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { toJson } from "./json.ts";
 *
 * assert.equal(toJson({ loss: 710, perplexity: Math.exp(710) }), '{"loss":710}');
 * ```
 */
export function toJson(value: unknown, space?: number): string {
  return JSON.stringify(value, leaveOut, space);
}

function leaveOut(this: unknown, key: string, value: unknown): unknown {
  if (typeof value !== "number" || Number.isFinite(value)) return value;
  if (Array.isArray(this)) {
    throw new RangeError(`a list holds ${value} at ${key}: JSON has no such number`);
  }
  return undefined;
}

/** Bytes of JSON that are read at once: as many as a string can hold. */
const LONGEST = 2 ** 29 - 24;

/**
 * Refuses a file that is longer than one string can be, before it is read.
 *
 * @param size Bytes.
 * @throws {TypeError} If it is.
 */
export function checkJsonSize(path: string, size: number): void {
  if (size > LONGEST) {
    throw new TypeError(`${path} has ${size} bytes, and at most ${LONGEST} are read`);
  }
}

/** Levels of lists and objects that are read: far more than any record has, far fewer than a stack holds. */
const DEEPEST = 500;

/**
 * Reads JSON whose lists and objects are not nested too deeply to be worked with.
 *
 * @throws {SyntaxError} If it is not JSON, or nested more than 500 levels deep.
 */
export function fromJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  checkDepth(value, DEEPEST);
  return value;
}

function checkDepth(value: unknown, levels: number): void {
  if (typeof value !== "object" || value === null) return;
  if (levels === 0) throw new SyntaxError(`it is nested more than ${DEEPEST} levels deep`);
  for (const inner of Object.values(value)) checkDepth(inner, levels - 1);
}
