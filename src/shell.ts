/**
 * Commands that are printed for the user to copy into a shell.
 *
 * @module
 */

/** What every shell takes as it stands. A leading `~` or `-` is not among them. */
const PLAIN = /^[\p{L}\p{N}_./:@%+=,][\p{L}\p{N}_./:@%+=,-]*$/u;

/** What `cmd.exe` and PowerShell take as it stands. */
const PLAIN_WINDOWS = /^[\p{L}\p{N}_./:\\+-]+$/u;

/** Control characters, which must not reach a terminal as they are. */
// deno-lint-ignore no-control-regex -- these are what is looked for
const CONTROL = /[\x00-\x1f\x7f-\x9f\u2028\u2029]/;

/**
 * Quotes one argument of a command, so that a shell reads it back as it was.
 *
 * @param argument A path, or any other text.
 * @param os `windows` for double quotes, which `cmd.exe` and PowerShell understand; the shells of every
 * other system get single quotes, or `$'...'` (bash, zsh, ksh) for control characters.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { shellQuote } from "./shell.ts";
 *
 * assert.equal(shellQuote("runs/2026-a", "linux"), "runs/2026-a");
 * assert.equal(shellQuote("my runs/it's", "linux"), `'my runs/it'\\''s'`);
 * assert.equal(shellQuote("C:\\my runs", "windows"), `"C:\\my runs"`);
 * ```
 */
export function shellQuote(argument: string, os: string = thisSystem()): string {
  if (os === "windows") {
    if (PLAIN_WINDOWS.test(argument)) return argument;
    // A backslash before a double quote escapes it, so those at the end are doubled.
    return `"${argument.replaceAll(/(\\*)"/g, '$1$1\\"').replace(/\\+$/, "$&$&")}"`;
  }
  if (PLAIN.test(argument)) return argument;
  if (!CONTROL.test(argument)) return `'${argument.replaceAll("'", `'\\''`)}'`;
  const escaped = argument.replaceAll(/[\\']/g, "\\$&").replaceAll(
    new RegExp(CONTROL, "g"),
    (character) =>
      [...new TextEncoder().encode(character)]
        .map((byte) => "\\" + byte.toString(8).padStart(3, "0")).join(""),
  );
  return `$'${escaped}'`;
}

/** How the user calls a task. */
let task = "deno task";

/**
 * Says which `deno.json` has the tasks, where Deno does not find it from the user's folder by itself.
 *
 * @param config Its path; nothing where Deno finds it.
 */
export function tasksAreIn(config: string | undefined, os?: string): void {
  task = config === undefined ? "deno task" : `deno task --config ${shellQuote(config, os)}`;
}

/**
 * The command line of a task, for the user to type: words that stand as they are, and arguments to be
 * quoted.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { taskCommand } from "./shell.ts";
 *
 * assert.equal(taskCommand("report", ["my runs"], "linux"), "deno task report 'my runs'");
 * ```
 */
export function taskCommand(words: string, args: readonly string[] = [], os?: string): string {
  return [task, words, ...args.map((argument) => shellQuote(argument, os))].join(" ");
}

/** A browser has no `Deno`. */
function thisSystem(): string {
  return globalThis.Deno?.build.os ?? "linux";
}
