/** A text with every kind of character, which make_tokens_fixture.py makes alike. */
import recipe from "./hard_text.json" with { type: "json" };
import { hash, seedOf } from "./full_size.ts";

/** Runs of characters from the ranges, and literals, in an order that a hash decides. */
export function hardText(): string {
  const { pieces, ranges, literals, longest_run } = recipe;
  const seed = seedOf("hard text"), out: string[] = [];
  const draw = (i: number, below: number) => (hash(seed, i) >>> 0) % below;
  for (let i = 0; i < pieces; i++) {
    const at = i * 16, kind = draw(at, ranges.length + literals.length);
    if (kind >= ranges.length) {
      out.push(literals[kind - ranges.length]);
      continue;
    }
    const [low, high] = ranges[kind].map((code) => parseInt(code, 16));
    const run = 1 + draw(at + 1, longest_run);
    for (let j = 0; j < run; j++) {
      out.push(String.fromCodePoint(low + draw(at + 2 + j, high - low + 1)));
    }
  }
  return out.join("");
}
