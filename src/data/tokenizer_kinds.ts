/**
 * What a `tokenizer.json` holds: which components there are, which of them are computed here and which by
 * Hugging Face's own library, and where a text may be cut without a change to its tokens.
 *
 * @module
 */
import { alphabet } from "./bpe.ts";

/** A parsed JSON object. */
export type Json = Record<string, unknown>;

/** The components of Hugging Face's tokenizers 0.23, by the place in `tokenizer.json` that holds them. */
export const COMPONENTS = {
  normalizer: [
    ...[
      "BertNormalizer",
      "Strip",
      "StripAccents",
      "NFC",
      "NFD",
      "NFKC",
      "NFKD",
      "Lowercase",
      "Nmt",
    ],
    ...["Precompiled", "Replace", "Prepend", "ByteLevel", "Sequence"],
  ],
  pre_tokenizer: [
    ...["BertPreTokenizer", "ByteLevel", "CharDelimiterSplit", "Metaspace", "Whitespace"],
    ...[
      "WhitespaceSplit",
      "Split",
      "Punctuation",
      "Digits",
      "UnicodeScripts",
      "FixedLength",
      "Sequence",
    ],
  ],
  model: ["BPE", "WordPiece", "WordLevel", "Unigram"],
  decoder: [
    ...["BPEDecoder", "ByteLevel", "WordPiece", "Metaspace", "CTC", "Replace", "Fuse", "Strip"],
    ...["ByteFallback", "Sequence"],
  ],
  post_processor: [
    ...["RobertaProcessing", "BertProcessing", "ByteLevel", "TemplateProcessing", "Sequence"],
  ],
} as const;

type Place = keyof typeof COMPONENTS;

/** Where the components of a `Sequence` are. */
const PARTS: Partial<Record<Place, string>> = {
  normalizer: "normalizers",
  pre_tokenizer: "pretokenizers",
  decoder: "decoders",
  post_processor: "processors",
};

/**
 * Checks that a `tokenizer.json` asks for nothing that is not computed.
 *
 * @param where What to call the file in an error.
 * @throws {TypeError} If a component is unknown, if a pattern may take forever, or if tokens are left to
 *   chance; the message names the component.
 */
export function checkComponents(json: Json, where: string): void {
  for (const place of Object.keys(COMPONENTS) as Place[]) {
    for (const component of componentsOf(json[place], place, where)) {
      const { type, pattern } = component;
      const known: readonly string[] = COMPONENTS[place];
      // older files name no type for their model, and the library finds it
      if (!(type === undefined && place === "model") && !known.includes(type as string)) {
        throw new TypeError(
          `${where}: the ${place} ${JSON.stringify(type)} is not computed; computed are ${
            known.join(", ")
          }`,
        );
      }
      if (isObject(pattern) && typeof pattern.Regex === "string" && mayRunForever(pattern.Regex)) {
        throw new TypeError(
          `${where}: the regular expression of the ${place} ${type} repeats what repeats itself, ` +
            `and may take forever on some texts: ${pattern.Regex}`,
        );
      }
    }
  }
  const { dropout } = json.model as Json;
  if (typeof dropout === "number" && dropout > 0) {
    throw new TypeError(
      `${where}: the model BPE has dropout ${dropout}, which chooses tokens by chance; set it to null`,
    );
  }
}

/** The components at a place, those inside of a `Sequence` included, without recursion. */
function componentsOf(component: unknown, place: Place, where: string): Json[] {
  const all: Json[] = [], open = [component];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next === null) continue;
    if (!isObject(next)) throw new TypeError(`${where}: ${place} must hold objects with a "type"`);
    all.push(next);
    const parts = next.type === "Sequence" ? next[PARTS[place]!] : undefined;
    if (Array.isArray(parts)) { for (const part of parts) open.push(part ?? null); }
  }
  return all;
}

/**
 * Whether a regular expression repeats a group that itself repeats some number of times or has
 * alternatives: such patterns can take time that is exponential in the length of a text, and the library
 * then ends the process. Possessive and atomic groups, which cannot, are not told apart.
 */
export function mayRunForever(pattern: string): boolean {
  /** For each open group: whether it repeats something or has alternatives. */
  const groups: boolean[] = [];
  let closed = false;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    let repeats = c === "*" || c === "+", varies = repeats;
    if (c === "{") {
      const bounds = /^\{(\d*)(,?)(\d*)\}/.exec(pattern.slice(i));
      if (bounds) {
        const [, least, comma, most] = bounds;
        varies = comma === "," && least !== most;
        repeats = Number(comma === "," ? most || Infinity : least) > 1;
        i += bounds[0].length - 1;
      }
    }
    if (repeats && closed) return true;
    if (varies && groups.length > 0) groups[groups.length - 1] = true;
    closed = false;
    if (c === "\\") i++;
    else if (c === "[") i = endOfClass(pattern, i);
    else if (c === "(") groups.push(false);
    else if (c === "|" && groups.length > 0) groups[groups.length - 1] = true;
    else if (c === ")") {
      closed = groups.pop() ?? false;
      if (closed && groups.length > 0) groups[groups.length - 1] = true;
    }
  }
  return false;
}

/** The place of the bracket that ends a class of characters; classes may hold classes. */
function endOfClass(pattern: string, start: number): number {
  let depth = 0;
  for (let i = start; i < pattern.length; i++) {
    if (pattern[i] === "\\") i++;
    else if (pattern[i] === "[") depth++;
    else if (pattern[i] === "]" && --depth === 0) return i;
  }
  return pattern.length;
}

/**
 * Whether this is a tokenizer of GPT-2's kind: byte-level BPE over all 256 bytes with GPT-2's splitting,
 * no normaliser, and added tokens that stand for themselves alone.
 */
export function isGpt2Kind(json: Json): boolean {
  const { normalizer, pre_tokenizer: pre, decoder, model, added_tokens: added } = json;
  if (!isObject(model) || !isObject(model.vocab) || !Array.isArray(model.merges)) return false;
  const vocab = model.vocab as Record<string, number>;
  const plain = (model.type === undefined || model.type === "BPE") && !model.dropout &&
    !model.continuing_subword_prefix && !model.end_of_word_suffix && !model.byte_fallback &&
    !model.ignore_merges;
  return plain && normalizer === null &&
    isObject(pre) && pre.type === "ByteLevel" && pre.add_prefix_space === false &&
    pre.use_regex !== false && isObject(decoder) && decoder.type === "ByteLevel" &&
    alphabet().symbols.every((symbol) => Object.hasOwn(vocab, symbol)) &&
    spelled(vocab, added) &&
    model.merges.every((merge) => Object.hasOwn(vocab, mergedOf(merge))) &&
    standAlone(added, vocab);
}

/** Whether all tokens but the added ones are written in the byte-level alphabet. */
function spelled(vocab: Json, added: unknown): boolean {
  const symbols = new Set(alphabet().symbols);
  const own = new Set(Array.isArray(added) ? added.map((token) => token?.content) : []);
  return Object.keys(vocab).every((token) =>
    own.has(token) || Array.from(token).every((symbol) => symbols.has(symbol))
  );
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

/** What a merge makes of two tokens. */
function mergedOf(merge: unknown): string {
  if (typeof merge === "string") return merge.replace(" ", "");
  return Array.isArray(merge) && merge.length === 2 ? merge.join("") : "";
}

/**
 * Whether added tokens have no option of their own, and the numbers that the library would give them. It
 * looks for those without `normalized` first, which shows only if such a token overlaps one with it.
 */
function standAlone(added: unknown, vocab: Record<string, number>): boolean {
  if (!Array.isArray(added)) return false;
  const taken = new Set<string>(), symbols = new Set(alphabet().symbols);
  const early = added.filter(({ normalized }) => !normalized);
  const late = added.filter(({ normalized }) => normalized);
  if (early.some((a) => late.some((b) => overlap(a.content, b.content)))) return false;
  let next = Object.keys(vocab).length;
  return [...added].sort((a, b) => a.id - b.id).every((token) => {
    const { id, content, single_word, lstrip, rstrip } = token as Json;
    if (single_word || lstrip || rstrip || typeof content !== "string" || content === "") {
      return false;
    }
    if (taken.has(content) || readsAsBytes(content, symbols)) return false;
    taken.add(content);
    const expected = Object.hasOwn(vocab, content) ? vocab[content] : next;
    if (id !== expected) return false;
    next = Math.max(next, id + 1);
    return true;
  });
}

/** Normalisers that change each character, with the marks that follow it, on its own. */
const LOCAL = new Set(
  [
    "BertNormalizer",
    "StripAccents",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Lowercase",
    "Nmt",
    "Precompiled",
  ],
);

/** Pre-tokenizers that throw white space away: no token reaches across it. */
const DROPS_SPACE = new Set(["BertPreTokenizer", "Whitespace", "WhitespaceSplit"]);

/** Pre-tokenizers that cut pieces without regard to where in the text they are. */
const CUTS_FURTHER = new Set(
  [...DROPS_SPACE, "CharDelimiterSplit", "Digits", "Punctuation", "Split", "UnicodeScripts"],
);

/**
 * Where a text may be cut so that its parts have the tokens of the whole: before white space that follows
 * something else, as long as no token, normaliser or added token reaches across such a place.
 *
 * - GPT-2's splitting never joins white space to what stands before it, unless that is white space too,
 *   and looks ahead only out of white space.
 * - A pre-tokenizer that puts a space before its text leaves a text alone that begins with one: then only
 *   a space will do.
 * - A normaliser may drop any white space but the space: then, too, only a space will do.
 * - There is no cut behind what only some libraries take for white space.
 *
 * @returns A pattern that matches at such places, or undefined if none is known.
 */
export function safeCuts(json: Json): RegExp | undefined {
  const added = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  const stays = added.every((token) =>
    !token.lstrip && !token.rstrip && !token.single_word &&
    !/[\s\p{White_Space}]/u.test(token.content)
  );
  const local = flat(json.normalizer, "normalizer").every(({ type }) => LOCAL.has(type as string));
  if (!stays || !local) return undefined;
  const [pre, ...rest] = flat(json.pre_tokenizer, "pre_tokenizer");
  const atSpace = /(?<=[^\s\p{White_Space}]) /gu;
  const atWhiteSpace = /(?<=[^\s\p{White_Space}])[ \t\n\v\f\r]/gu;
  const type = pre?.type as string | undefined;
  if (type !== undefined && DROPS_SPACE.has(type)) {
    if (!rest.every((part) => CUTS_FURTHER.has(part.type as string))) return undefined;
    return json.normalizer === null ? atWhiteSpace : atSpace;
  }
  if (rest.length > 0) return undefined;
  if (type === "Metaspace") return pre.split === false ? undefined : atSpace;
  if (type !== "ByteLevel" || pre.use_regex === false || json.normalizer !== null) return undefined;
  return pre.add_prefix_space === false ? atWhiteSpace : atSpace;
}

/** The components at a place in the order in which they are applied; those of a `Sequence` are its parts. */
function flat(component: unknown, place: Place): Json[] {
  if (!isObject(component)) return [];
  const parts = component.type === "Sequence" ? component[PARTS[place]!] : [component];
  return Array.isArray(parts) ? parts.filter(isObject) : [];
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
