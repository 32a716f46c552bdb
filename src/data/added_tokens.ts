/**
 * Tokens that a folder names beside its vocabulary, put into its `tokenizer.json` as transformers does:
 * `added_tokens_decoder` and special tokens of `tokenizer_config.json`, or, where there is no
 * `added_tokens_decoder`, `special_tokens_map.json` and `added_tokens.json`.
 *
 * @module
 */
import { END_OF_TEXT } from "./bpe.ts";

/** The parsed files that name tokens; those that are there. */
export interface TokenFiles {
  /** `tokenizer_config.json`. */
  readonly config?: unknown;
  /** `special_tokens_map.json`. */
  readonly specialTokens?: unknown;
  /** `added_tokens.json`. */
  readonly addedTokens?: unknown;
}

/** A token of `added_tokens` in a `tokenizer.json`. */
interface AddedToken {
  id: number;
  content: string;
  single_word: boolean;
  lstrip: boolean;
  rstrip: boolean;
  normalized: boolean;
  special: boolean;
}

/** What is said of a token before its number is known. */
type Said = Omit<AddedToken, "id">;
type Json = Record<string, unknown>;

/** The special tokens with names of their own, in the order in which they are added. */
const NAMED = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);

/** Special tokens of GPT-2's tokenizer, unless a file says otherwise. */
const GPT2_NAMED: Json = Object.fromEntries(
  ["bos_token", "eos_token", "unk_token"].map((name) => [name, END_OF_TEXT]),
);

/** A tokenizer with all of its tokens, and what its `tokenizer_config.json` comes to. */
export interface WholeTokenizer {
  /** The `tokenizer.json`; the same object where the other files add nothing. */
  readonly json: Json;
  /** The `tokenizer_config.json`, with the special tokens of `special_tokens_map.json`. */
  readonly config: Json;
}

/**
 * Puts the tokens of the other files into a `tokenizer.json`.
 *
 * @param json The parsed `tokenizer.json`, or what was made of the two older files.
 * @param files The other files.
 * @param options.older Whether it was made of the two older files: GPT-2's special tokens are added then.
 * @param options.where What to call the folder in an error.
 * @throws {TypeError} If a file is malformed, or gives a token a number that it does not get in Python.
 */
export function withAddedTokens(
  json: unknown,
  files: TokenFiles,
  { older, where }: { older: boolean; where: string },
): WholeTokenizer {
  const at = (name: string) => `${where}: ${name}`;
  const own = objectOf(files.config, at("tokenizer_config.json"));
  const decoder = own.added_tokens_decoder;
  const map = decoder === undefined
    ? objectOf(files.specialTokens, at("special_tokens_map.json"))
    : {};
  const { additional_special_tokens = map.additional_special_tokens } = own;
  const config = { ...own, ...map, additional_special_tokens };
  if (!isObject(json) || !isObject(json.model)) return { json: json as Json, config };
  const tokens = new TokenList(json, where);
  if (decoder !== undefined) {
    const name = at("tokenizer_config.json's added_tokens_decoder");
    for (const [number, token] of byNumber(objectOf(decoder, name))) {
      tokens.add(said(token, name), { number, name, overrides: true });
    }
  } else if (files.addedTokens !== undefined) {
    const name = at("added_tokens.json"), added = objectOf(files.addedTokens, name);
    const special = new Set(specialTokens(config, {}, at).map(({ content }) => content));
    const numbered = Object.entries(added).map(([content, id]): [string, unknown] => [
      String(id),
      { content, special: special.has(content), normalized: !special.has(content) },
    ]);
    for (const [number, token] of byNumber(numbered)) {
      tokens.add(said(token, name), { number, name });
    }
  }
  for (const token of specialTokens(config, older ? GPT2_NAMED : {}, at)) {
    tokens.add(token, { special: true });
  }
  const spaced = withPrefixSpace(json, config);
  return { json: tokens.changed ? { ...spaced, added_tokens: tokens.list() } : spaced, config };
}

/** The added tokens of a `tokenizer.json`, to which more come. */
class TokenList {
  readonly #tokens: Map<string, AddedToken>;
  readonly #vocab: ReadonlyMap<string, number>;
  changed = false;

  constructor({ added_tokens, model }: Json, where: string) {
    const listed = Array.isArray(added_tokens) ? added_tokens as AddedToken[] : [];
    const bad = listed.find((token) => !isObject(token));
    if (bad !== undefined) {
      throw new TypeError(
        `${where}: tokenizer.json's added_tokens must be objects: ${JSON.stringify(bad)}`,
      );
    }
    const { vocab } = model as Json;
    this.#vocab = new Map(
      Array.isArray(vocab)
        ? vocab.map((entry, id) => [String(entry?.[0]), id])
        : Object.entries((vocab ?? {}) as Record<string, number>),
    );
    this.#tokens = new Map();
    // Python's library numbers them as they come, whatever the file says
    for (const token of listed) {
      const { content } = token;
      const id = this.#tokens.get(content)?.id ?? this.#vocab.get(content) ?? this.#next();
      this.#tokens.set(content, token.id === id ? token : { ...token, id });
    }
  }

  /** Adds a token, as `Tokenizer.add_tokens` of Python's tokenizers does. */
  add(
    token: Said,
    { number, name, overrides = false, special = false }: {
      number?: number;
      name?: string;
      overrides?: boolean;
      special?: boolean;
    },
  ): void {
    const there = this.#tokens.get(token.content);
    const id = there?.id ?? this.#vocab.get(token.content) ?? this.#next();
    if (number !== undefined && number !== id) {
      throw new TypeError(
        `${name} gives the token ${
          JSON.stringify(token.content)
        } the number ${number}, but it gets ` +
          `${id} in Python's tokenizers: give it that number, or the tokens between as well`,
      );
    }
    const made = there === undefined || overrides
      ? { id, ...token }
      : special
      ? { ...there, special: true }
      : there;
    if (there !== undefined && isSame(there, made)) return;
    this.#tokens.set(token.content, made);
    this.changed = true;
  }

  /** The number of a token that is in no vocabulary. */
  #next(): number {
    let next = this.#vocab.size;
    for (const { id } of this.#tokens.values()) next = Math.max(next, id + 1);
    return next;
  }

  list(): AddedToken[] {
    return [...this.#tokens.values()].sort((a, b) => a.id - b.id);
  }
}

function isSame(a: AddedToken, b: AddedToken): boolean {
  return (Object.keys(b) as (keyof AddedToken)[]).every((key) => a[key] === b[key]);
}

/** The special tokens that the files name, each once, in the order in which they are added. */
function specialTokens(config: Json, defaults: Json, at: (name: string) => string): Said[] {
  const all: Json = { ...defaults, ...config };
  const { extra_special_tokens, additional_special_tokens } = all;
  const further = Object.keys(all).filter((key) =>
    key.endsWith("_token") && !NAMED.includes(key) && typeof all[key] === "string"
  );
  const values = [
    ...[...NAMED, ...further].map((key) => all[key]),
    ...(isObject(extra_special_tokens) ? Object.values(extra_special_tokens) : []),
    ...firstFilled(extra_special_tokens, additional_special_tokens),
  ];
  const found = new Map<string, Said>();
  for (const value of values) {
    if (value === undefined || value === null) continue;
    const token = said(value, at("tokenizer_config.json and special_tokens_map.json"), true);
    found.set(token.content, token); // of two that differ, the later counts
  }
  return [...found.values()];
}

/**
 * Of GPT-2's tokenizer, `tokenizer_config.json` decides whether a space is put before a text: where it
 * names the class and does not say, none is.
 */
function withPrefixSpace(json: Json, config: Json): Json {
  const { tokenizer_class } = config, pre = json.pre_tokenizer;
  const named = /^GPT2Tokenizer(Fast)?$/.test(String(tokenizer_class));
  if (!named && (tokenizer_class ?? undefined) !== undefined) return json;
  const add_prefix_space = config.add_prefix_space ?? (named ? false : undefined);
  if (typeof add_prefix_space !== "boolean") return json;
  if (!isObject(pre) || pre.type !== "ByteLevel") return json;
  if ((pre.add_prefix_space ?? true) === add_prefix_space) return json;
  return { ...json, pre_tokenizer: { ...pre, add_prefix_space } };
}

/** What a file says of a token: its text, or an object. */
function said(token: unknown, name: string, special = false): Said {
  const given = typeof token === "string" ? { content: token } : token;
  if (!isObject(given) || typeof given.content !== "string" || given.content === "") {
    throw new TypeError(`${name} must name a token by its text: ${JSON.stringify(token)}`);
  }
  const is = (key: string, otherwise = false): boolean =>
    typeof given[key] === "boolean" ? given[key] : otherwise;
  const isSpecial = special || is("special");
  return {
    content: given.content,
    single_word: is("single_word"),
    lstrip: is("lstrip"),
    rstrip: is("rstrip"),
    normalized: is("normalized", !isSpecial),
    special: isSpecial,
  };
}

/** Tokens by ascending number. */
function byNumber(tokens: Json | [string, unknown][]): [number, unknown][] {
  const entries = Array.isArray(tokens) ? tokens : Object.entries(tokens);
  return entries.map(([id, token]): [number, unknown] => [Number(id), token])
    .sort(([a], [b]) => a - b);
}

/** The first of several values that is a list with something in it. */
function firstFilled(...values: unknown[]): unknown[] {
  return values.find((value) => Array.isArray(value) && value.length > 0) as unknown[] ?? [];
}

function objectOf(value: unknown, name: string): Json {
  if (value === undefined) return {};
  if (!isObject(value)) throw new TypeError(`${name} must hold a JSON object`);
  return value;
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
