/**
 * Options on a command line from the library's own rules and defaults, by heading.
 *
 * @module
 */
import type { OptionRule } from "../src/experiment/option_rules.ts";
import { type AnyCommand, choiceOption, numberOption, Option, textOption } from "./cli.ts";

/** Options by heading: placeholder and help. Ranges and defaults are the library's. */
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
    for (const [key, [placeholder, help]] of Object.entries<[string, string]>(options as never)) {
      const name = key as keyof Options & string;
      const option = new Option(`--${name} ${placeholder}`.trim(), help)
        .default(defaults[name]).helpGroup(heading);
      const parser = parserOf(name, rules[name]);
      if (parser) option.argParser(parser);
      command.addOption(option);
    }
  }
}

function parserOf(
  name: string,
  rule: OptionRule,
): ((text: string) => string | number) | undefined {
  switch (rule.kind) {
    case "number":
      return numberOption(name, rule.range);
    case "choice": {
      const choice = choiceOption(name, rule.choices);
      return name === "device" ? (text) => choice(DEVICE_WORDS[text] ?? text) : choice;
    }
    case "text":
      return textOption(name);
    case "flag":
      return undefined;
  }
}
