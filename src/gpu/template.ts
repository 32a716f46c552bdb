/**
 * The little language that unrolls our WGSL pages. naga bounds every loop it compiles, so a loop
 * over registers must be written out; these directives do that and keep the page readable:
 *
 * ```wgsl
 * //# for i in 0..TM        repeat the lines up to the matching end, $i counting
 * //# if BIAS               keep the lines only if the expression is not 0; //# else is allowed
 * //# end
 * //# entry forward         the lines up to the next entry belong to this entry point alone
 * ```
 *
 * `$NAME` and `$(expression)` become numbers. Text before the first entry is common to all.
 *
 * @module
 */

/** Numbers a page is specialised by. */
export type Constants = Readonly<Record<string, number>>;

const TOKEN = /\s*(\d+|[A-Za-z_]\w*|&&|\|\||==|!=|<=|>=|[-+*\/%<>!()])/y;
const LEVELS = [["||"], ["&&"], ["==", "!="], ["<", ">", "<=", ">="], ["+", "-"], ["*", "/", "%"]];

/** Evaluates whole-number arithmetic and comparisons; truth is 1 and 0, division rounds down. */
function evaluate(expression: string, names: Constants): number {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const text = expression.trim();
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) throw new SyntaxError(`Cannot read expression: ${expression}`);
    tokens.push(match[1]);
  }
  let at = 0;
  function unary(): number {
    const token = tokens[at++];
    if (token === "-") return -unary();
    if (token === "!") return unary() === 0 ? 1 : 0;
    if (token === "(") {
      const value = binary(0);
      if (tokens[at++] !== ")") throw new SyntaxError(`Missing ) in expression: ${expression}`);
      return value;
    }
    if (token !== undefined && /^\d/.test(token)) return Number(token);
    if (token === undefined || !(token in names)) {
      throw new SyntaxError(`Unknown name in expression ${expression}: ${token}`);
    }
    return names[token];
  }
  function binary(level: number): number {
    if (level === LEVELS.length) return unary();
    let left = binary(level + 1);
    while (LEVELS[level].includes(tokens[at])) {
      const operator = tokens[at++];
      const right = binary(level + 1);
      left = apply(operator, left, right);
    }
    return left;
  }
  const value = binary(0);
  if (at !== tokens.length) throw new SyntaxError(`Cannot read expression: ${expression}`);
  return value;
}

function apply(operator: string, a: number, b: number): number {
  switch (operator) {
    case "||":
      return a || b ? 1 : 0;
    case "&&":
      return a && b ? 1 : 0;
    case "==":
      return a === b ? 1 : 0;
    case "!=":
      return a !== b ? 1 : 0;
    case "<":
      return a < b ? 1 : 0;
    case ">":
      return a > b ? 1 : 0;
    case "<=":
      return a <= b ? 1 : 0;
    case ">=":
      return a >= b ? 1 : 0;
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return Math.floor(a / b);
    default:
      return a % b;
  }
}

/** Replaces `$NAME` and `$(expression)`. */
function substitute(line: string, names: Constants): string {
  let out = "", at = 0;
  for (let dollar = line.indexOf("$"); dollar >= 0; dollar = line.indexOf("$", at)) {
    out += line.slice(at, dollar);
    let end = dollar + 1;
    if (line[end] === "(") {
      for (let depth = 0; end < line.length; end++) {
        if (line[end] === "(") depth++;
        else if (line[end] === ")" && --depth === 0) break;
      }
      end++;
    } else {
      while (/\w/.test(line[end] ?? "")) end++;
    }
    out += evaluate(line.slice(dollar + 1, end), names);
    at = end;
  }
  return out + line.slice(at);
}

/**
 * Writes out one entry point of a page.
 *
 * @param page The text of a `.wgsl` file.
 * @param entry Which entry's lines to keep, besides the common ones.
 * @param constants Values for `$NAME`.
 * @throws {SyntaxError} If a directive is malformed, a name unknown, or the entry missing.
 */
export function expand(page: string, entry: string, constants: Constants): string {
  const kept: string[] = [];
  let section = "", found = false;
  for (const line of page.split("\n")) {
    const match = /^\s*\/\/#\s*entry\s+(\w+)\s*$/.exec(line);
    if (match) {
      section = match[1];
      found ||= section === entry;
    } else if (section === "" || section === entry) {
      kept.push(line);
    }
  }
  if (!found) throw new SyntaxError(`Shader page has no entry ${entry}`);

  const out: string[] = [];
  /** Emits lines [from, to) and resolves the directives among them. */
  function emit(from: number, to: number, names: Constants): void {
    for (let i = from; i < to; i++) {
      const directive = /^\s*\/\/#\s*(\w+)\s*(.*?)\s*$/.exec(kept[i]);
      if (!directive) {
        out.push(substitute(kept[i], names));
        continue;
      }
      const [, word, rest] = directive;
      if (word !== "for" && word !== "if") {
        throw new SyntaxError(`Unexpected shader directive: ${kept[i].trim()}`);
      }
      const { middle, end } = matching(i, to);
      if (word === "if") {
        if (evaluate(rest, names) !== 0) emit(i + 1, middle, names);
        else if (middle < end) emit(middle + 1, end, names);
      } else {
        const loop = /^(\w+)\s+in\s+(.+?)\.\.(.+)$/.exec(rest);
        if (!loop) throw new SyntaxError(`Cannot read shader loop: ${rest}`);
        const last = evaluate(loop[3], names);
        for (let value = evaluate(loop[2], names); value < last; value++) {
          emit(i + 1, end, { ...names, [loop[1]]: value });
        }
      }
      i = end;
    }
  }
  /** Finds the `end` that closes the directive at `start`, and its `else` if it has one. */
  function matching(start: number, to: number): { middle: number; end: number } {
    let depth = 0, middle = -1;
    for (let i = start; i < to; i++) {
      const word = /^\s*\/\/#\s*(\w+)/.exec(kept[i])?.[1];
      if (word === "for" || word === "if") depth++;
      else if (word === "else" && depth === 1) middle = i;
      else if (word === "end" && --depth === 0) return { middle: middle < 0 ? i : middle, end: i };
    }
    throw new SyntaxError(`Shader directive without end: ${kept[start].trim()}`);
  }
  emit(0, kept.length, constants);
  return out.join("\n");
}
