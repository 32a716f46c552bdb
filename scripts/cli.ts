/**
 * The shell that every script shares: a command line, exit codes, Ctrl-C. Results go to stdout and
 * everything else to stderr, without colours or other controls of terminals.
 *
 * | exit code | |
 * | --- | --- |
 * | 0 | done |
 * | 1 | it failed while it ran: the device was lost, the disk is full, our mistake |
 * | 2 | the input is at fault: options, files, text, no adapter |
 * | 130 | stopped by Ctrl-C |
 * | 143, 129 | stopped by SIGTERM, by SIGHUP |
 *
 * @module
 */
import denoJson from "../deno.json" with { type: "json" };
import { blameInput, isInputError, preparing } from "../src/errors.ts";
import { TEXT_COLUMN } from "../src/data/text_source.ts";
import { checkChoice, checkNumber, type NumberRange } from "../src/ranges.ts";
import { EMBEDDED_MODEL } from "../src/experiment/options.ts";
import { Command, CommanderError, Option } from "./deps.ts";
import { showingDownloads } from "./downloads.ts";
import { readEnv } from "./env.ts";
import { fitHelp } from "./help.ts";
import { guardTerminal, printable } from "./terminal.ts";
import { enterUsersFolder, INPUT_OPTIONS, inputPath } from "./users_folder.ts";
import { meantOption, withDashes } from "./option_names.ts";
import { listenToSignals } from "./signals.ts";
import { toJson } from "../src/json.ts";
export { Option };
export { preparing } from "../src/errors.ts";
export { Progress } from "./progress.ts";

/** What `--help` begins and ends with. */
export interface CommandText {
  /** How it is called: `deno task generate`. */
  name: string;
  /** What it does, in a sentence or a few. */
  description: string;
  /** Printed under the options: examples, notes. */
  after?: string;
}

/**
 * A command that takes options in the house's way: spelled with underscores in `--help`, with
 * underscores or dashes by the user. Add options to it and hand it to {@linkcode parseCommand}.
 *
 * @example
 * ```ts ignore
 * await runMain(async (signal) => {
 *   const { seed, json } = parseCommand(
 *     newCommand({ name: "deno task generate", description: "Continues a prompt." })
 *       .option("--seed <number>", "decides the draws", wholeOption("seed", { min: 0 }), 42)
 *       .option("--json", "print one JSON line"),
 *   );
 * });
 * ```
 */
export function newCommand({ name, description, after }: CommandText): Command {
  const command = new Command(name)
    .description(description)
    .helpOption("-h, --help", "print this help")
    .version(denoJson.version, "--version", "print the version")
    .showHelpAfterError("(--help lists the options)")
    .exitOverride();
  fitHelp(command, after);
  return command;
}

/** What {@linkcode parseCommand} takes: a command with its options' types. */
// deno-lint-ignore no-explicit-any -- the package's own bound
export type AnyCommand = Command<any, any, any>;

/**
 * Parses the command line. Arguments that are not options are in `command.processedArgs` afterwards.
 *
 * @param args The command line; the process's own unless given.
 * @returns The options' values.
 * @throws {CommanderError} If help was asked for, or an option is unknown, incomplete or too many;
 * all there is to say was printed. {@linkcode runMain} knows it.
 * @throws {RangeError | TypeError} If a value is bad, as an input error.
 */
export function parseCommand<C extends AnyCommand>(
  command: C,
  args: readonly string[] = Deno.args,
): ReturnType<C["opts"]> {
  optionNames = command.options.map((option) => option.long?.slice(2) ?? "").filter(Boolean);
  preparing(() => command.parse(withUnderscores(command, args), { from: "user" }));
  for (const [name, value] of Object.entries<unknown>(command.opts())) {
    if (typeof value !== "string" || !INPUT_OPTIONS.has(name)) continue;
    const source = command.getOptionValueSource(name);
    command.setOptionValueWithSource(name, inputPath(value), source);
  }
  for (const [i, value] of command.processedArgs.entries()) {
    if (Array.isArray(value)) command.processedArgs[i] = value.map(inputPath);
    else if (typeof value === "string") command.processedArgs[i] = inputPath(value);
  }
  return command.opts();
}

/** The options of the command that this process runs: a process runs one. */
let optionNames: readonly string[] = [];

/**
 * Spells options as the command does, where they are written with dashes; values stay as they are.
 * An option's value is never another option: `--text --json` lacks a text (`--text=--json` has one).
 */
function withUnderscores(command: AnyCommand, args: readonly string[]): string[] {
  const known = new Map(command.options.map((option) => [option.long, option]));
  const spell = (arg: string): string => {
    if (!arg.startsWith("--")) return arg;
    const [flag, ...value] = arg.split("=");
    const spelled = "--" + flag.slice(2).replaceAll("-", "_");
    return known.has(flag) || !known.has(spelled) ? arg : [spelled, ...value].join("=");
  };
  const out: string[] = [];
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--") return [...out, ...args.slice(i)];
    const arg = spell(args[i]);
    out.push(arg);
    if (/^--./.test(arg)) checkKnown(command, arg, known);
    const option = known.get(arg.split("=")[0]);
    if (!option?.required || arg.includes("=") || i + 1 === args.length) continue;
    if (known.has(spell(args[i + 1]).split("=")[0])) {
      command.error(`error: option '${option.flags}' argument missing`, {
        code: "commander.optionMissingArgument",
      });
    }
    out.push(args[++i]);
  }
  return out;
}

/** Refuses an option that the command does not have, with the one that was meant. */
function checkKnown(
  command: AnyCommand,
  arg: string,
  known: ReadonlyMap<string | undefined, { required: boolean; optional: boolean }>,
): void {
  const flag = arg.split("=")[0];
  if (known.has(arg) || flag === "--help") return;
  const option = known.get(flag);
  if (option !== undefined) {
    if (option.required || option.optional) return;
    command.error(`error: option '${flag}' takes no value: ${arg}`, {
      code: "commander.excessArguments",
    });
  }
  const meant = meantOption(flag.slice(2).replaceAll("-", "_"), [...optionNames, "help"]);
  command.error(
    `error: unknown option '${flag}'${meant === undefined ? "" : `; did you mean --${meant}?`}`,
    { code: "commander.unknownOption" },
  );
}

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/**
 * Reads an option's number.
 *
 * @returns A parser, which throws a RangeError that names the option.
 */
export function numberOption(name: string, range: NumberRange = {}): (text: string) => number {
  return (text) => checkNumber(name, NUMBER.test(text) ? Number(text) : NaN, range, text);
}

/** Reads an option's whole number; see {@linkcode numberOption}. */
export function wholeOption(name: string, range: NumberRange = {}): (text: string) => number {
  return numberOption(name, { ...range, whole: true });
}

/** Reads one of a few words. */
export function choiceOption<const C extends string>(
  name: string,
  choices: readonly C[],
): (text: string) => C {
  return (text) => checkChoice(name, text, choices);
}

/** Reads a path or another text that must not be empty. */
export function textOption(name: string): (text: string) => string {
  return (text) => {
    if (text.trim() === "") throw new TypeError(`${name} must not be empty`);
    if (text.includes("\0")) throw new TypeError(`${name} must not hold a NUL character`);
    return text;
  };
}

/** Reads a text that must not be empty; white space alone is one. */
export function anyTextOption(name: string): (text: string) => string {
  return (text) => {
    if (text === "") throw new TypeError(`${name} must not be empty`);
    return text;
  };
}

/** Collects the values of an option that may be given several times. */
export function severalOption<T>(
  parse: (text: string) => T,
): (text: string, before?: T[]) => T[] {
  return (text, before = []) => [...before, parse(text)];
}

/** What commands take for a model. */
export const MODEL_HELP =
  "embedded (1M parameters), a GPT-2 of the hub (gpt2, owner/name@revision), or the folder of a " +
  "model or of a run, or its URL";

/** The option by which commands take a model; open what it gives with `openModel`. */
export function modelOption() {
  return new Option("--model_name <name>", MODEL_HELP)
    .default(EMBEDDED_MODEL).argParser(textOption("model_name"));
}

/** Says which texts commands take; the two other options belong to it. */
export const TEXT_HELP = {
  text:
    "moby_dick (embedded), tiny_shakespeare or wikitext (fetched once), or the path of a text, " +
    "JSON, CSV, TSV or Parquet file, or of a folder with train.*, validation.* and test.*",
  dataset_config:
    "which wikitext, wikitext-2-raw-v1 (taken if none is named) or wikitext-103-raw-v1; of a data " +
    "set that is a folder, which folder in it",
  text_column: "the column in which a table (JSON, CSV, TSV, Parquet) has its text",
} as const;

/** The option by which commands take a data set's configuration. */
export function datasetConfigOption() {
  return new Option("--dataset_config <name>", TEXT_HELP.dataset_config)
    .default("", "none").argParser(textOption("dataset_config"));
}

/** The option by which commands take the column that text is in. */
export function textColumnOption() {
  return new Option("--text_column <name>", TEXT_HELP.text_column)
    .default(TEXT_COLUMN).argParser(textOption("text_column"));
}

/** Prints a piece of text on stdout; where nobody reads any more (`| head`), the process ends. */
export function printPiece(text: string): void {
  let bytes = new TextEncoder().encode(Deno.stdout.isTerminal() ? printable(text) : text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(Deno.stdout.writeSync(bytes));
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(141); // as SIGPIPE would end it
    throw error;
  }
}

/** Prints a result for programs: one line of JSON on stdout. */
export function printJson(value: unknown): void {
  console.log(toJson(value));
}

/** What the user is told of an error, and the exit code. */
export interface ErrorReport {
  code: number;
  /** Empty where all was said already. */
  message: string;
}

/**
 * What to say of an error that ends a script.
 *
 * @param options.stopped The exit code of the signal that stopped it.
 * @param options.debug Whether to show the stack.
 */
export function reportError(
  error: unknown,
  { stopped, debug = false }: { stopped?: number; debug?: boolean } = {},
): ErrorReport {
  if (error instanceof CommanderError) return { code: error.exitCode === 0 ? 0 : 2, message: "" };
  if (!(error instanceof Error)) return { code: 1, message: String(error) };
  if (stopped !== undefined && error.name === "AbortError") {
    return { code: stopped, message: error.message };
  }
  const mistake = !isInputError(error) && isMistake(error);
  const said = debug
    ? Deno.inspect(error)
    : mistake
    ? `${error.name}: ${error.message}`
    : withDashes(error.message || error.name, optionNames);
  if (isInputError(error)) return { code: 2, message: said };
  if (debug || !mistake) return { code: 1, message: said };
  const advice =
    "This is a mistake in Pollard, not in what you gave it. POLLARD_DEBUG=1 shows where.";
  return { code: 1, message: `${said}\n${advice}` };
}

/** Types that, outside of preparation, only wrong code throws. */
function isMistake(error: Error): boolean {
  return error instanceof TypeError || error instanceof RangeError ||
    error instanceof ReferenceError || error instanceof SyntaxError ||
    error.name === "AssertionError";
}

/**
 * Runs a script and ends the process with its exit code.
 *
 * @param main The script. Its signal is aborted by Ctrl-C, SIGTERM or SIGHUP: save what must be saved, then throw an
 * `AbortError`, whose message is printed (`signal.throwIfAborted()` does, where there is nothing to
 * say). A second Ctrl-C ends the process at once. May return an exit code other than 0.
 */
export async function runMain(
  main: (signal: AbortSignal) => Promise<number | void>,
): Promise<never> {
  guardTerminal();
  enterUsersFolder();
  const stopping = listenToSignals(), { signal } = stopping;
  let code: number;
  try {
    code = await showingDownloads(signal, () => main(signal)) ?? 0;
  } catch (error) {
    const stopped = signal.aborted ? stopping.code() : undefined;
    const report = reportError(error, { stopped, debug: readEnv("POLLARD_DEBUG") === "1" });
    if (report.message) console.error(report.message);
    code = report.code;
  }
  Deno.exit(code); // not by itself: a poll of the GPU may still be under way
}

/** Refuses input for a reason that no type of error tells: exit code 2. */
export function refuse(message: string): never {
  throw blameInput(new TypeError(message));
}
