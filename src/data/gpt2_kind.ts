/**
 * Tells GPT-2's kind of tokenizer, which is computed in TypeScript, from all others.
 *
 * @module
 */
import { alphabet } from "./bpe.ts";
import { COMPONENTS, isObject, type Json } from "./tokenizer_kinds.ts";

/** The keys that the library knows. */
const KEYS = new Set(
  ["version", "truncation", "padding", "added_tokens", ...Object.keys(COMPONENTS)],
);

/** Numbers that GPT-2's kind may have: a list of its tokens has no more places. */
const NUMBERS = 1 << 24;

/**
 * Whether this is a tokenizer of GPT-2's kind: byte-level BPE over all 256 bytes with GPT-2's splitting,
 * no normaliser, and added tokens that stand for themselves alone. What Python's library would refuse is
 * none, so that it is refused here too.
 *
 * @param json A `tokenizer.json` with a value for every key.
 */
export function isGpt2Kind(json: Json): boolean {
  const { normalizer, pre_tokenizer: pre, decoder, model, added_tokens: added } = json;
  if (!isObject(model) || !isObject(model.vocab)) return false;
  return json.version === "1.0" && Object.keys(json).every((key) => KEYS.has(key)) &&
    normalizer === null && isByteLevel(pre) && isByteLevel(decoder) &&
    pre.add_prefix_space === false && pre.use_regex !== false &&
    isPlain(model) && isSpelled(model.vocab, added) && mergesTokens(model.merges, model.vocab) &&
    standAlone(added, model.vocab as Record<string, number>);
}

/** Whether a component is ByteLevel and has all that the library asks for. */
function isByteLevel(component: unknown): component is Json {
  if (!isObject(component)) return false;
  const { type, add_prefix_space, trim_offsets, use_regex = true } = component;
  return type === "ByteLevel" &&
    [add_prefix_space, trim_offsets, use_regex].every((flag) => typeof flag === "boolean");
}

/** Whether a model is BPE without options. */
function isPlain(model: Json): boolean {
  const { type = "BPE", dropout, unk_token, fuse_unk, byte_fallback, ignore_merges } = model;
  const { continuing_subword_prefix: prefix, end_of_word_suffix: suffix } = model;
  return type === "BPE" && (dropout ?? null) === null &&
    [byte_fallback, ignore_merges].every((flag) => (flag ?? false) === false) &&
    typeof (fuse_unk ?? false) === "boolean" && typeof (unk_token ?? "") === "string" &&
    [prefix, suffix].every((text) => (text ?? "") === "");
}

/**
 * Whether a vocabulary holds all bytes, numbers that a list can hold, and no token but the added ones
 * that is not written in the byte-level alphabet.
 */
function isSpelled(vocab: Json, added: unknown): boolean {
  const { symbols } = alphabet(), known = new Set(symbols);
  const own = new Set(Array.isArray(added) ? added.map((token) => token?.content) : []);
  return symbols.every((symbol) => Object.hasOwn(vocab, symbol)) &&
    Object.entries(vocab).every(([token, id]) =>
      Number.isInteger(id) && id as number >= 0 && id as number < NUMBERS && token !== "" &&
      (own.has(token) || Array.from(token).every((symbol) => known.has(symbol)))
    );
}

/** Whether all merges are written in one way, and make tokens of two tokens. */
function mergesTokens(merges: unknown, vocab: Json): boolean {
  return Array.isArray(merges) && merges.every((merge) => {
    if (typeof merge !== typeof merges[0]) return false;
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    return Array.isArray(pair) && pair.length === 2 &&
      [...pair, pair.join("")].every((token) =>
        typeof token === "string" && Object.hasOwn(vocab, token)
      );
  });
}

/**
 * Whether added tokens have no option of their own, and the numbers that the library would give them. It
 * looks for those without `normalized` first, which shows only if such a token overlaps one with it.
 */
function standAlone(added: unknown, vocab: Record<string, number>): boolean {
  if (!Array.isArray(added) || !added.every(isPlainToken)) return false;
  const contents = new Set(added.map(({ content }) => content));
  const symbols = new Set(alphabet().symbols);
  const early = added.filter(({ normalized }) => !normalized);
  const late = added.filter(({ normalized }) => normalized);
  if (
    contents.size < added.length ||
    early.some((a) => late.some((b) => overlap(a.content, b.content)))
  ) return false;
  const taken = new Set(Object.values(vocab));
  let next = Object.keys(vocab).length;
  return added.every(({ id, content }) => {
    const own = Object.hasOwn(vocab, content);
    if (id !== (own ? vocab[content] : next) || (!own && taken.has(id))) return false;
    next = Math.max(next, id + 1);
    return !readsAsBytes(content, symbols);
  });
}

/** Whether an added token is complete and is found wherever its text is. */
function isPlainToken(
  token: unknown,
): token is { id: number; content: string; normalized: boolean } {
  if (!isObject(token)) return false;
  const { id, content, normalized, special } = token;
  return Number.isInteger(id) && typeof content === "string" && content !== "" &&
    content.isWellFormed() && typeof normalized === "boolean" && typeof special === "boolean" &&
    [token.single_word, token.lstrip, token.rstrip].every((flag) => flag === false);
}

/** Whether a text may hold two strings so that they have characters in common. */
function overlap(a: string, b: string): boolean {
  if (a.includes(b) || b.includes(a)) return true;
  for (let n = 1; n < Math.min(a.length, b.length); n++) {
    if (a.endsWith(b.slice(0, n)) || b.endsWith(a.slice(0, n))) return true;
  }
  return false;
}

/** Whether the library decodes a token that is written in the byte-level alphabet as other characters. */
function readsAsBytes(content: string, symbols: ReadonlySet<string>): boolean {
  const characters = [...content];
  return characters.every((c) => symbols.has(c)) && characters.some((c) => c > "~");
}
