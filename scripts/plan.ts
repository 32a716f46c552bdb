/**
 * The runs of a sweep as commands: one for each run, which any machine that sees the same folders can
 * carry out, in any order, as often as it likes.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { writeWhole } from "../src/data/files.ts";
import { DEFAULTS, type ExperimentOptions } from "../src/experiment/options.ts";
import { runOptions, type SweepOptions } from "../src/experiment/sweep_options.ts";
import type { SweepPlanRun } from "../src/record.ts";
import { shellQuote } from "../src/shell.ts";
import denoJson from "../deno.json" with { type: "json" };
import { printPiece } from "./cli.ts";

/** What `deno task experiment` may do. */
const PERMISSIONS = denoJson.tasks.experiment.command.split(" ")
  .filter((word) => word.startsWith("--allow-"));

/**
 * The options of an experiment as its command line takes them: those that differ from the defaults.
 * `output_dir` is left out.
 */
export function experimentArgs(options: ExperimentOptions): string[] {
  return (Object.keys(DEFAULTS) as (keyof ExperimentOptions)[]).flatMap((name) => {
    const value = options[name];
    if (name === "output_dir" || value === DEFAULTS[name]) return [];
    if (value === true) return [`--${name}`];
    if (value === false) return [`--no_${name}`];
    return [`--${name}=${value}`];
  });
}

/**
 * The words of a command that begins, continues or leaves alone one run.
 *
 * @param runDir The run's own folder.
 */
export function runCommand(options: ExperimentOptions, runDir: string): string[] {
  const script = new URL("./neural_plasticity_controller_experiment.ts", import.meta.url);
  return [
    ...[Deno.execPath(), "run", ...PERMISSIONS],
    script.protocol === "file:" ? fileURLToPath(script) : script.href,
    ...["--run_dir", resolve(runDir), ...experimentArgs(options)],
  ];
}

/**
 * The lines of a plan: one command for each run of a sweep.
 *
 * @param dir The sweep's folder.
 * @throws {TypeError} If a path has control characters, which no line takes in every shell.
 */
export function planLines(
  options: SweepOptions,
  runs: readonly SweepPlanRun[],
  dir: string,
): string[] {
  return runs.map((run) => {
    const command = runCommand(runOptions(options, run, dir), join(dir, run.folder));
    // deno-lint-ignore no-control-regex -- these are what is looked for
    const odd = command.find((word) => /[\x00-\x1f\x7f]/.test(word));
    if (odd !== undefined) {
      throw new TypeError(
        `a plan has one command a line, and this has control characters: ${JSON.stringify(odd)}`,
      );
    }
    return command.map(quoteWord).join(" ");
  });
}

/** An option is quoted from its value on. */
function quoteWord(word: string): string {
  const [, option = "", value = ""] = /^(--[\w-]+(?:=|$))?(.*)$/.exec(word)!;
  return option + (value !== "" || option === "" ? shellQuote(value) : "");
}

/** Where a plan goes that is not to be a file. */
const STDOUT = "-";

/**
 * Refuses a file that is there and holds something: workers may be reading it.
 *
 * @throws {TypeError} If it does.
 */
export async function checkNewFile(path: string): Promise<void> {
  const stat = path === STDOUT ? undefined : await Deno.stat(path).catch(() => undefined);
  if (!stat?.isDirectory && !(stat?.isFile && stat.size > 0)) return;
  throw new TypeError(`${path} is there already: name another file, or remove it`);
}

/** Writes lines to a file, or to stdout where it is named `-`. */
export async function writeLines(path: string, lines: readonly string[]): Promise<void> {
  const text = lines.join("\n").trimEnd() + "\n";
  if (path === STDOUT) return printPiece(text);
  const stat = await Deno.stat(path).catch(() => undefined);
  if (stat && !stat.isFile) await Deno.writeTextFile(path, text); // a pipe, for one
  else await writeWhole(path, text);
}
