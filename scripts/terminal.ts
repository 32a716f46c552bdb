/**
 * What reaches the terminal: text, and nothing that the terminal would obey.
 *
 * @module
 */

/** Controls of terminals but for the line feed and the tab, and marks that turn the direction of text. */
const CONTROLS =
  // deno-lint-ignore no-control-regex -- these are what is looked for
  /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A text with its control characters written out: `\u001b` for an escape. */
export function printable(text: string): string {
  return text.replaceAll(/\r\n/g, "\n").replaceAll(
    CONTROLS,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/**
 * Lets every line that this process prints pass through {@linkcode printable}: names, paths and what a
 * server says come from others. What goes to a file or another program through stdout stays exact.
 */
export function guardTerminal(
  out: Console = console,
  exact: boolean = !Deno.stdout.isTerminal(),
): void {
  const guard = (print: (...values: unknown[]) => void) => (...values: unknown[]) =>
    print(...values.map((value) => typeof value === "string" ? printable(value) : value));
  out.error = guard(out.error.bind(out));
  if (!exact) out.log = guard(out.log.bind(out));
}
