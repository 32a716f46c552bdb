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
