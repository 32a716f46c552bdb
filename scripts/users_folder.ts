/**
 * The folder in which the user typed the command. `deno task` runs a command in the folder of
 * `deno.json`, and tells by `INIT_CWD` where it was typed.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { asUrl, pathInside } from "../src/data/paths.ts";
import { tasksAreIn } from "../src/shell.ts";
import { readEnv } from "./env.ts";

/** Options that name what is read. */
export const INPUT_OPTIONS: ReadonlySet<string> = new Set([
  ...["model_name", "model", "text", "text_file", "dataset", "data_path", "prompts_file"],
  ...["resume", "memory", "controller_weights", "json_config", "collect"],
]);

/** The folder of `deno.json`, if the user typed the command elsewhere. */
let project: string | undefined;

/**
 * Goes to the folder in which the user typed the command, so that every relative path begins there.
 * A script that is run without `deno task` is there already.
 *
 * @param root The folder of `deno.json`.
 */
export function enterUsersFolder(root: string | undefined = rootFolder()): void {
  const typed = readEnv("INIT_CWD");
  if (root === undefined || !typed || !mayRead(root) || !mayRead(typed)) return;
  if (resolve(Deno.cwd()) !== resolve(root) || resolve(typed) === resolve(root)) return;
  try {
    Deno.chdir(typed);
    project = root;
    if (pathInside(root, resolve(typed)) === undefined) tasksAreIn(join(root, "deno.json"));
  } catch {
    // the folder is gone: paths begin at the project then
  }
}

/** A path that is read: as it is, or below the folder of `deno.json` if it is there and not here. */
export function inputPath(value: string): string {
  if (project === undefined || asUrl(value) !== undefined) return value;
  const below = join(project, value);
  return isThere(value) || !isThere(below) ? value : below;
}

function rootFolder(): string | undefined {
  const root = new URL("..", import.meta.url);
  return root.protocol === "file:" ? fileURLToPath(root) : undefined;
}

function mayRead(path: string): boolean {
  return Deno.permissions.querySync({ name: "read", path }).state === "granted";
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
