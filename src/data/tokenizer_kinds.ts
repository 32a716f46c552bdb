/**
 * What a `tokenizer.json` holds: which components there are, which of them are computed here and which by
 * Hugging Face's own library, and where a text may be cut without a change to its tokens.
 *
 * @module
 */
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
      const { type, pattern, prepend } = component;
      const known: readonly string[] = COMPONENTS[place];
      // older files name no type for their model, and the library finds it
      if (!(type === undefined && place === "model") && !known.includes(type as string)) {
        throw new TypeError(
          `${where}: the ${place} ${JSON.stringify(type)} is not computed; computed are ${
            known.join(", ")
          }`,
        );
      }
      if (prepend === "") {
        throw new TypeError(`${where}: the ${place} ${type} prepends nothing: leave it out`);
      }
      if (isObject(pattern) && typeof pattern.Regex === "string" && mayRunForever(pattern.Regex)) {
        throw new TypeError(
          `${where}: the regular expression of the ${place} ${type} repeats what repeats itself, ` +
            `and may take forever on some texts: ${pattern.Regex}`,
        );
      }
    }
  }
  checkModel(json.model as Json, where);
  checkStripping(json.added_tokens, where);
}

/** A token that takes the white space after it and one that begins with that end the process together. */
function checkStripping(added: unknown, where: string): void {
  const tokens = Array.isArray(added) ? added.filter(isObject) : [];
  const spaced = tokens.filter(({ content }) => /^[\s\p{White_Space}]/u.test(String(content)));
  for (const { content, normalized } of tokens.filter(({ rstrip }) => rstrip === true)) {
    const other = spaced.find((token) => token.normalized === normalized);
    if (other === undefined) continue;
    throw new TypeError(
      `${where}: the added token ${
        JSON.stringify(content)
      } takes the white space after it (rstrip), ` +
        `and ${JSON.stringify(other.content)} begins with some: a text with both is not computed`,
    );
  }
}

/** What a model may not ask for: tokens left to chance, and what ends the process in the library. */
function checkModel(model: Json, where: string): void {
  const { dropout, vocab, merges, continuing_subword_prefix: prefix } = model;
  if (typeof dropout === "number" && dropout > 0) {
    throw new TypeError(
      `${where}: the model BPE has dropout ${dropout}, which chooses tokens by chance; set it to null`,
    );
  }
  const tokenOf = new Map<unknown, string>();
  for (const [token, id] of isObject(vocab) ? Object.entries(vocab) : []) {
    const other = tokenOf.get(id);
    if (other !== undefined) {
      throw new TypeError(
        `${where}: the model's vocab gives ${JSON.stringify(other)} and ${JSON.stringify(token)} ` +
          `the same number ${id}, and chance decides which of them it stands for: give each its own`,
      );
    }
    tokenOf.set(id, token);
  }
  if (typeof prefix !== "string" || !Array.isArray(merges)) return;
  const bad = merges.find((merge) => {
    const pair = typeof merge === "string" ? merge.split(" ") : merge;
    return !String(pair?.[1] ?? "").startsWith(prefix);
  });
  if (bad === undefined) return;
  throw new TypeError(
    `${where}: the model BPE has the continuing_subword_prefix ${
      JSON.stringify(prefix)
    }, and the ` +
      `merge ${JSON.stringify(bad)} appends a token that does not begin with it`,
  );
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

/** Normalisers that change each character, with the marks that follow it, on its own. */
const LOCAL = new Set(
  ["BertNormalizer", "StripAccents", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt"],
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
