/** GPT-2's tokenizer.json, made of the ranks that `npm:gpt-tokenizer` brings. */
import { gpt2Ranks } from "./deps.ts";

/** Bytes of every token, by number. */
export const gpt2Tokens: readonly Uint8Array<ArrayBuffer>[] = gpt2Ranks.map((token) =>
  typeof token === "string" ? new TextEncoder().encode(token) : Uint8Array.from(token)
);

/** The printable character that stands for each byte. */
const LETTERS: readonly string[] = (() => {
  const plain = (byte: number) => byte > 32 && byte < 127 || byte > 160 && byte !== 173;
  let next = 256;
  return Array.from(
    { length: 256 },
    (_, byte) => String.fromCodePoint(plain(byte) ? byte : next++),
  );
})();

const spell = (bytes: Iterable<number>) => Array.from(bytes, (byte) => LETTERS[byte]).join("");

/** The two parts that a token was merged from: BPE with the tokens of lower rank alone. */
function partsOf(token: string, rank: number, ranks: ReadonlyMap<string, number>): string[] {
  const parts = [...token];
  while (parts.length > 2) {
    let least = rank, at = -1;
    for (let i = 0; i + 1 < parts.length; i++) {
      const pair = ranks.get(parts[i] + parts[i + 1]) ?? rank;
      if (pair < least) [least, at] = [pair, i];
    }
    if (at < 0) throw new TypeError(`token ${rank} cannot be merged`);
    parts.splice(at, 2, parts[at] + parts[at + 1]);
  }
  return parts;
}

/** As `openai-community/gpt2` has it, in all that decides tokens. */
export function gpt2Json(): Record<string, unknown> {
  const spelled = gpt2Tokens.map(spell);
  const ranks = new Map(spelled.map((token, rank) => [token, rank]));
  const merges = spelled.map((token, rank) => partsOf(token, rank, ranks))
    .filter((parts) => parts.length === 2).map((parts) => parts.join(" "));
  const end = { id: spelled.length, content: "<|endoftext|>", special: true };
  const plain = { single_word: false, lstrip: false, rstrip: false, normalized: true };
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  return {
    version: "1.0",
    added_tokens: [{ ...end, ...plain }],
    normalizer: null,
    pre_tokenizer: level,
    post_processor: { ...level, trim_offsets: false },
    decoder: { ...level, add_prefix_space: true },
    model: {
      type: "BPE",
      vocab: Object.fromEntries([...ranks, [end.content, end.id]]),
      merges,
    },
  };
}
