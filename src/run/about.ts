/**
 * What a run's mark says about it besides its kind: nothing of it decides what is computed.
 *
 * @module
 */
import type { AboutRun } from "../record.ts";
import { shellQuote } from "../shell.ts";

let command: string | undefined;

/** Says by which command this process was started: runs that begin in it keep that. */
export function startedBy(task: string, args: readonly string[]): void {
  const word = (arg: string) => /^--?[a-z][\w-]*$/i.test(arg) ? arg : shellQuote(arg);
  command = [task, ...args.map(word)].join(" ");
}

/** What is kept of a run. @param name What the user calls it. */
export function aboutRun<Options extends object>(
  options: Options,
  defaults: Options,
  name?: string,
): AboutRun {
  const changed = (Object.keys(defaults) as (keyof Options & string)[])
    .filter((key) => JSON.stringify(options[key]) !== JSON.stringify(defaults[key]));
  return {
    ...(name !== undefined && { name }),
    ...(command !== undefined && { command }),
    changed,
  };
}
