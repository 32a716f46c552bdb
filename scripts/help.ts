/**
 * `--help` that is readable in a terminal of any width.
 *
 * @module
 */
import type { AnyCommand } from "./cli.ts";

/** Columns where the terminal does not tell, and at most. */
const WIDTH = 80, WIDEST = 100;

/** The widest names of options that have their description beside them; others have it below. */
const BESIDE = 28;

/** Lets a command's help fit the terminal, with a text after its options. */
export function fitHelp(command: AnyCommand, after: string | undefined): void {
  command.configureOutput({
    getOutHelpWidth: helpWidth,
    getErrHelpWidth: helpWidth,
    writeErr: (text) => console.error(text.replace(/\n$/, "")),
  });
  command.configureHelp({
    minWidthToWrap: 20,
    padWidth: (command, helper) =>
      Math.min(
        BESIDE,
        Math.max(
          helper.longestOptionTermLength(command, helper),
          helper.longestArgumentTermLength(command, helper),
        ),
      ),
    formatItem(term, width, description, helper) {
      const indent = " ".repeat(width + 4);
      const text = helper.boxWrap(description, (this.helpWidth ?? WIDTH) - indent.length)
        .replaceAll("\n", `\n${indent}`);
      return term.length > width
        ? `  ${term}\n${indent}${text}`
        : `  ${term.padEnd(width)}  ${text}`;
    },
  });
  if (after) command.addHelpText("after", () => `\n${wrapHelp(after, helpWidth())}`);
}

function helpWidth(): number {
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : WIDTH;
  return Math.min(columns, WIDEST);
}

/**
 * Breaks a text into lines of a width: paragraphs, commands (indented, beginning with `deno` or a
 * variable) and tables of two columns (indented, two blanks between them).
 */
export function wrapHelp(text: string, width: number): string {
  const items: string[] = [];
  for (const line of text.split("\n")) {
    const last = items.at(-1);
    const goesOn = last !== undefined && last !== "" && line !== "" && !last.endsWith(":") &&
      (/^ {4,}/.test(line) || !line.startsWith(" ") && !last.startsWith(" "));
    if (goesOn) items[items.length - 1] = `${last} ${line.trim()}`;
    else items.push(line);
  }
  return items.map((item) => wrapItem(item, width)).join("\n");
}

function wrapItem(item: string, width: number): string {
  if (/^ +(deno|[A-Z_]+=)/.test(item)) {
    return fill(item.split(/ (?=--)/), { width: width - 2, end: " \\", indent: "      " });
  }
  const [, term = ""] = /^( +\S+(?: \S+)* {2,})\S/.exec(item) ?? [];
  const words = item.slice(term.length).split(" ");
  return fill([term + words[0], ...words.slice(1)], {
    ...{ width, end: "", indent: " ".repeat(term.length) },
  });
}

function fill(
  words: readonly string[],
  { width, end, indent }: { width: number; end: string; indent: string },
): string {
  const lines: string[] = [];
  let line = words[0];
  for (const word of words.slice(1)) {
    if (line.length + 1 + word.length <= width) line += ` ${word}`;
    else {
      lines.push(line + end);
      line = indent + word;
    }
  }
  return [...lines, line].join("\n");
}
