/**
 * The runs of a sweep as commands: one for each run, which any machine that sees the same folders can
 * carry out, in any order, as often as it likes.
 *
 * @module
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { DEFAULTS, type ExperimentOptions } from "../src/experiment/options.ts";
import { shellCommand } from "../src/shell.ts";

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
    ...[Deno.execPath(), "run", "-A"],
    script.protocol === "file:" ? fileURLToPath(script) : script.href,
    ...["--run_dir", resolve(runDir), ...experimentArgs(options)],
  ];
}

/** The same as one line for a shell. */
export function planLine(command: readonly string[]): string {
  return shellCommand("", command).trimStart();
}
