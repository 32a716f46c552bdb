/**
 * Options on a command line from the library's own rules and defaults, by heading.
 *
 * @module
 */
import { preparing } from "../src/errors.ts";
import { startedBy } from "../src/run/about.ts";
import type { OptionRule } from "../src/experiment/option_rules.ts";
import {
  type AnyCommand,
  choiceOption,
  numberOption,
  Option,
  parseCommand,
  refuse,
  textOption,
} from "./cli.ts";
import { liveOption, type LivePort } from "./live.ts";

/** Options by heading: the form of the value, and help. Ranges and defaults are the library's. */
export type OptionGroups<Options> = Record<
  string,
  Partial<Record<keyof Options, [string, string]>>
>;

/** Words of other programs for the devices. */
const DEVICE_WORDS: Readonly<Record<string, string>> = { cuda: "gpu" };

/** Adds every option of the groups to a command. */
export function addOptions<Options extends object>(
  command: AnyCommand,
  groups: OptionGroups<Options>,
  rules: Readonly<Record<keyof Options, OptionRule>>,
  defaults: Options,
): void {
  for (const [heading, options] of Object.entries(groups)) {
    for (const [key, [form, help]] of Object.entries<[string, string]>(options as never)) {
      const name = key as keyof Options & string;
      const rule = rules[name];
      const shown = rule.kind === "path"
        ? "none"
        : rule.kind === "list"
        ? String(defaults[name])
        : undefined;
      const standard = defaults[name] === "" && rule.kind === "text" ? undefined : defaults[name];
      const option = new Option(`--${name} ${form}`.trim(), help)
        .default(standard, shown).helpGroup(heading);
      const parser = parserOf(name, rule);
      if (parser) option.argParser(parser);
      command.addOption(option);
    }
  }
}

function parserOf(
  name: string,
  rule: OptionRule,
): ((text: string) => string | number | (string | number)[]) | undefined {
  switch (rule.kind) {
    case "list": {
      const one = parserOf(name, rule.of) as (text: string) => string | number;
      return (text) =>
        text.split(",").map((part) => {
          if (part.trim() === "") throw new TypeError(`${name} has an empty value: ${text}`);
          return one(part.trim());
        });
    }
    case "number":
      return numberOption(name, rule.range);
    case "choice": {
      const choice = choiceOption(name, rule.choices);
      return name === "device" ? (text) => choice(DEVICE_WORDS[text] ?? text) : choice;
    }
    case "text":
    case "path":
      return textOption(name);
    case "flag":
      return undefined;
  }
}

/** What the command line of a run asks for: a new one, or one to go on with. */
export type RunCommand<Options> =
  & {
    /** What the run is called. */
    readonly name?: string;
    readonly json: boolean;
    readonly verbose: boolean;
    readonly live?: LivePort;
  }
  & (
    | { readonly options: Options; readonly resume?: undefined }
    | { readonly options?: undefined; readonly resume: string }
  );

/** The option by which a run, or what else has a folder, gets a name. */
export function runNameOption(what = "run"): Option {
  return new Option(
    "--run_name <name>",
    `what the ${what} is called, and its folder after the time (default: the model's name)`,
  ).helpGroup("Output:").argParser(textOption("run_name"));
}

/**
 * Options of every run that stand beside those of its library.
 *
 * @param what What the command makes.
 */
export function addRunOptions(command: AnyCommand, what = "run"): void {
  command
    .addOption(
      new Option("--no_controls", "leave the controls out").helpGroup("Controls:")
        .implies({ controls: false }),
    )
    .addOption(
      new Option("--resume <dir>", `continue a ${what} that was stopped or killed`)
        .helpGroup("Output:").argParser(textOption("resume")),
    )
    .addOption(runNameOption(what))
    .addOption(new Option("--json", "print the results as one JSON line").helpGroup("Output:"))
    .addOption(liveOption());
}

/** Refuses options that `--resume` would not heed. @param beside Those that may stand beside it. */
export function refuseBesideResume(command: AnyCommand, beside: readonly string[]): void {
  const other = command.options.map((option) => option.attributeName())
    .filter((name) => command.getOptionValueSource(name) === "cli")
    .find((name) => !["resume", ...beside].includes(name));
  if (other === undefined) return;
  refuse(`${other} cannot be changed by --resume, which continues with the run's own options`);
}

/**
 * Parses the command line of a run.
 *
 * @param rules What options there are.
 * @param check Completes and checks them.
 * @param beside Further options that may stand beside `--resume`: they do not change what is computed.
 * @throws {CommanderError | RangeError | TypeError} As `parseCommand` does.
 */
export function parseRun<Options extends object>(
  command: AnyCommand,
  args: readonly string[] | undefined,
  { rules, check, beside }: {
    rules: Readonly<Record<keyof Options, OptionRule>>;
    check: (given: Partial<Options>) => Options;
    beside: readonly string[];
  },
): RunCommand<Options> {
  const values = parseCommand(command, args) as Record<string, unknown>;
  startedBy(command.name(), args ?? Deno.args);
  const shared = {
    json: values.json === true,
    verbose: values.verbose === true,
    ...(values.live !== undefined && { live: values.live as LivePort }),
    ...(values.run_name !== undefined && { name: values.run_name as string }),
  };
  if (values.resume !== undefined) {
    refuseBesideResume(command, ["json", "live", ...beside]);
    return { resume: values.resume as string, ...shared };
  }
  if (values.no_controls && command.getOptionValueSource("controls") === "cli") {
    refuse("controls and no_controls cannot both be given");
  }
  const given = Object.keys(rules).filter((name) =>
    command.getOptionValueSource(name) !== "default"
  );
  const own = Object.fromEntries(given.map((name) => [name, values[name]]));
  return { options: preparing(() => check(own as Partial<Options>)), ...shared };
}
