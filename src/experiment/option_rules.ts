/**
 * What options must be, whichever command they belong to.
 *
 * @module
 */
import { didYouMean } from "../nearest.ts";
import { checkChoice, checkNumber, type NumberRange } from "../ranges.ts";

/** What a value must be. */
export type OptionRule =
  | { readonly kind: "number"; readonly range: NumberRange }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  | { readonly kind: "text" }
  /** A path or a name; empty for none. */
  | { readonly kind: "path" }
  | { readonly kind: "flag" }
  /** One value at least, none twice. */
  | { readonly kind: "list"; readonly of: OptionRule };

/** A number in a range. */
export const number = (range: NumberRange): OptionRule => ({ kind: "number", range });
/** A whole number. */
export const whole = (min: number, max?: number): OptionRule => number({ whole: true, min, max });
/** A list of values, each by a rule. */
export const list = (of: OptionRule): OptionRule => ({ kind: "list", of });
/** A text that is not empty. */
export const TEXT: OptionRule = { kind: "text" };

/**
 * Completes options by their defaults and checks all of them.
 *
 * @param given Those that differ from the defaults; `undefined` counts as not given.
 * @returns Every option, frozen.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If a value is of the wrong kind, or an option unknown.
 */
export function completeOptions<Options extends object>(
  defaults: Options,
  rules: Readonly<Record<keyof Options, OptionRule>>,
  given: Partial<Options>,
): Options {
  const complete = { ...defaults } as Record<string, unknown>;
  for (const [name, value] of Object.entries(given)) {
    if (!Object.hasOwn(rules, name)) {
      const names = Object.keys(rules);
      throw new TypeError(
        `Unknown option: ${name}; there are ${names.join(", ")}${didYouMean(name, names)}`,
      );
    }
    if (value !== undefined) complete[name] = value;
  }
  for (const [name, rule] of Object.entries<OptionRule>(rules)) {
    checkOption(name, rule, complete[name]);
  }
  const options = Object.freeze(complete) as unknown as Options;
  const open = Object.keys(rules).filter((name) =>
    (given as Record<string, unknown>)[name] === undefined || isOpen(given, name as never)
  );
  OPEN.set(options, new Set(open));
  return options;
}

/** Options that nobody gave, of each object of options that {@linkcode completeOptions} made. */
const OPEN = new WeakMap<object, ReadonlySet<string>>();

/**
 * Whether an option has its default because nobody gave it: what does not fit the model may then be
 * made to fit. Not known of copies: those count as given.
 */
export function isOpen<Options extends object>(
  options: Options,
  name: keyof Options & string,
): boolean {
  return OPEN.get(options)?.has(name) ?? false;
}

/** Lets a copy of options know which of them nobody gave. */
export function copyOf<Options extends object>(options: Options, copy: Options): Options {
  const open = OPEN.get(options);
  if (open !== undefined) OPEN.set(copy, open);
  return copy;
}

function checkOption(name: string, rule: OptionRule, value: unknown): void {
  switch (rule.kind) {
    case "number":
      checkNumber(name, value, rule.range);
      break;
    case "choice":
      checkChoice(name, value, rule.choices);
      break;
    case "text":
      if (typeof value !== "string" || value.trim() === "") {
        throw new TypeError(`${name} must be a text that is not empty: ${JSON.stringify(value)}`);
      }
      break;
    case "path":
      if (typeof value !== "string") {
        throw new TypeError(`${name} must be a path or a name: ${JSON.stringify(value)}`);
      }
      break;
    case "flag":
      if (typeof value !== "boolean") {
        throw new TypeError(`${name} must be true or false: ${JSON.stringify(value)}`);
      }
      break;
    case "list":
      if (!Array.isArray(value) || value.length === 0) {
        throw new TypeError(
          `${name} must be a list of one value or more: ${JSON.stringify(value)}`,
        );
      }
      value.forEach((one, i) => {
        checkOption(name, rule.of, one);
        if (value.indexOf(one) < i) throw new TypeError(`${name} must not name one twice: ${one}`);
      });
  }
}
