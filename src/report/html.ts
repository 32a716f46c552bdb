/**
 * HTML from template literals, with every value escaped unless it is HTML already.
 *
 * @module
 */

/** A piece of HTML, safe to put in a page as it is. */
export class Html {
  /** The markup. */
  readonly text: string;

  /**
   * Takes markup as it is.
   *
   * @param text Markup that is trusted: our own, or an SVG that we drew.
   */
  constructor(text: string) {
    this.text = text;
  }
}

/** What a template may hold: text (escaped), numbers, HTML, lists of these, or nothing. */
export type MarkupValue = string | number | Html | undefined | readonly MarkupValue[];

/**
 * Builds HTML; `${values}` that are not {@link Html} are escaped. (Not called `html`: the formatter
 * would lay such a template out anew, and white space counts here.)
 */
export function markup(strings: TemplateStringsArray, ...values: MarkupValue[]): Html {
  return new Html(strings.reduce((all, part, i) => all + write(values[i - 1]) + part));
}

/** Escapes text for an element or a quoted attribute. Control characters become U+FFFD. */
export function escape(text: string): string {
  return text
    // deno-lint-ignore no-control-regex
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;")
    .replace(/'/g, "&#39;");
}

function write(value: MarkupValue): string {
  if (value === undefined) return "";
  if (value instanceof Html) return value.text;
  if (typeof value === "string" || typeof value === "number") return escape(String(value));
  return value.map(write).join("");
}
