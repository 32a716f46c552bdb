/**
 * Text to token numbers and back. GPT-2's kind of tokenizer is computed by `npm:@huggingface/tokenizers`,
 * which is TypeScript; every other kind by `npm:tokenizers`, the library that Python's `tokenizers` is made
 * of, which is loaded when a model needs it.
 *
 * What is made of the first (checked in `tests/tokenizer_test.ts`):
 * - `decode` tidies spaces before punctuation unless told not to, which loses text: we tell it.
 * - It decodes a number outside the vocabulary as a zero byte, and fails for no numbers: we leave out
 *   the first, as Python does, and return "" for the second.
 * - Its memory for words it has met makes repeated text fast, but a text of megabytes becomes one
 *   array of all its pieces: we feed it chunk by chunk where that provably changes nothing.
 * - Its byte-level splitting takes JavaScript's `\s` for white space, which holds U+FEFF and lacks
 *   U+0085; GPT-2's and Python's is the other way round: we hand it the right pattern.
 *
 * With either, special tokens written out in a text, such as `<|endoftext|>`, become their own number, as
 * in Python; nothing is added at either end.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { HuggingFaceTokenizer, tokenizersLibrary } from "./deps.ts";
import { isGpt2Kind } from "./gpt2_kind.ts";
import { checkComponents, isObject, type Json, safeCuts } from "./tokenizer_kinds.ts";

/** What computes a tokenizer. */
interface Engine {
  /** The token of each number that has one. */
  readonly tokens: ReadonlyMap<number, string>;
  /** The number of a token. */
  numberOf(token: string): number | undefined;
  /** The numbers of a text without lone surrogates. */
  encode(text: string): Promise<readonly number[]>;
  /** The text of numbers that have tokens, at least one. */
  decode(ids: number[]): Promise<string>;
}

/** A tokenizer read from a Hugging Face `tokenizer.json`. */
export class Tokenizer {
  /** The number of token numbers: one more than the highest. */
  readonly vocabSize: number;
  /** The number of the end-of-text token; absent if the vocabulary has none. */
  readonly eos?: number;
  /** Whether text may be cut before white space and encoded piecewise with the same result. */
  readonly splits: boolean;
  /**
   * SHA-256 of the files it was made from, in hexadecimal, and how many rows the model has where those
   * are fewer than the tokens: the same gives the same numbers, or refuses the same text.
   */
  readonly fingerprint: string;
  readonly #engine: Engine;
  readonly #rows: number;
  /** Where it may be cut. */
  readonly #safe: RegExp | undefined;

  private constructor(
    engine: Engine,
    { safe, eosToken, fingerprint, rows }: {
      safe: RegExp | undefined;
      eosToken: string;
      fingerprint: string;
      rows: number;
    },
  ) {
    let vocabSize = 0;
    this.#engine = engine;
    this.#safe = safe;
    this.#rows = rows;
    for (const id of engine.tokens.keys()) if (id >= vocabSize) vocabSize = id + 1;
    this.vocabSize = vocabSize;
    this.fingerprint = rows < this.vocabSize ? `${fingerprint} ${rows}` : fingerprint;
    this.splits = safe !== undefined;
    const eos = engine.numberOf(eosToken);
    if (eos !== undefined) this.eos = eos;
  }

  /**
   * Makes a tokenizer. One that is not of GPT-2's kind needs the permission to load native code
   * (`--allow-ffi`).
   *
   * @param json The parsed `tokenizer.json`.
   * @param config The parsed `tokenizer_config.json`, if there is one: it may name `eos_token`.
   *   Default: `<|endoftext|>`.
   * @param where What to call the file in an error.
   * @param rows Rows of the model: a text may hold no token from there on.
   * @throws {TypeError} If it is malformed, or has a component that is not computed.
   */
  static async fromJson(
    json: unknown,
    config: unknown = {},
    where = "tokenizer.json",
    rows = Infinity,
  ): Promise<Tokenizer> {
    const whole = complete(json, where);
    if (!isObject(config)) throw new TypeError(`tokenizer_config.json must hold a JSON object`);
    checkComponents(whole, where);
    const engine = isGpt2Kind(whole) ? gpt2Engine(whole, where) : await nativeEngine(whole, where);
    return new Tokenizer(engine, {
      rows,
      safe: safeCuts(whole),
      eosToken: endToken(config),
      fingerprint: createHash("sha256").update(JSON.stringify([json, config])).digest("hex"),
    });
  }

  /**
   * Token numbers of a text, which may be long. Nothing is added at either end.
   *
   * @param chunk Characters to encode at once, at least; it changes memory and time, never the result.
   * @throws {RangeError} If `chunk` is below 1, or the model has no row for a token of the text.
   * @throws {TypeError} If the text holds what the tokenizer has no token for, not even an unknown one.
   */
  async encode(text: string, chunk = 65536): Promise<Uint32Array> {
    if (!(chunk >= 1)) throw new RangeError(`chunk must be at least 1: ${chunk}`);
    const parts: (readonly number[])[] = [];
    let length = 0;
    const whole = text.toWellFormed();
    for (const piece of this.#safe ? chunks(whole, chunk, this.#safe) : [whole]) {
      const ids = await this.#engine.encode(piece);
      parts.push(ids);
      length += ids.length;
    }
    const out = new Uint32Array(length);
    let at = 0;
    for (const ids of parts) {
      out.set(ids, at);
      at += ids.length;
    }
    if (this.#rows < this.vocabSize) this.#checkRows(out);
    return out;
  }

  #checkRows(ids: Uint32Array): void {
    const beyond = ids.find((id) => id >= this.#rows);
    if (beyond === undefined) return;
    const token = JSON.stringify(this.#engine.tokens.get(beyond));
    throw new RangeError(
      `the text holds the token ${token}, number ${beyond}, and the model has no row for it: ` +
        `config.json says vocab_size ${this.#rows}; take the token out of the text, or enlarge the ` +
        "model's table",
    );
  }

  /** Whether a number has a token. */
  has(id: number): boolean {
    return this.#engine.tokens.has(id);
  }

  /**
   * The last place at which a text may be cut so that both sides, and whatever follows, encode to the
   * numbers of the whole; 0 if there is none. Call it only if `splits` is true.
   */
  lastCut(text: string): number {
    if (!this.#safe) return 0;
    // looks at ever longer ends, so that a long text is not searched from its beginning
    for (let length = 256;; length *= 4) {
      const start = Math.max(0, text.length - length);
      let last = 0;
      for (const { index } of text.slice(start).matchAll(this.#safe)) last = index;
      if (last > 0) return start + last;
      if (start === 0) return 0;
    }
  }

  /**
   * The text of token numbers. Bytes that are not UTF-8, as where a character was cut in two,
   * become U+FFFD. Numbers that no token has are left out, as in Python.
   */
  async decode(ids: Iterable<number>): Promise<string> {
    const list = Array.from(ids).filter((id) => this.has(id));
    return list.length === 0 ? "" : await this.#engine.decode(list);
  }
}

/** The token that ends a text, as `tokenizer_config.json` names it. Default: `<|endoftext|>`. */
function endToken(config: Json): string {
  const eos = isObject(config.eos_token) ? config.eos_token.content : config.eos_token;
  return typeof eos === "string" ? eos : "<|endoftext|>";
}

/**
 * The number of the token that ends a text, read off the files without making a tokenizer.
 *
 * @param json The parsed `tokenizer.json`. @param config The parsed `tokenizer_config.json`.
 * @returns `undefined` if the vocabulary has none.
 */
export function endTokenNumber(json: unknown, config: unknown): number | undefined {
  if (!isObject(json) || !isObject(json.model)) return undefined;
  const token = endToken(isObject(config) ? config : {});
  const added = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  const { vocab } = json.model;
  const numbers = isObject(vocab) ? vocab : {};
  const own = Array.isArray(vocab)
    ? vocab.findLastIndex(([text]) => text === token)
    : Object.hasOwn(numbers, token)
    ? numbers[token]
    : -1;
  const id = own === -1 ? added.find(({ content }) => content === token)?.id : own;
  return typeof id === "number" && id >= 0 ? id : undefined;
}

/** A `tokenizer.json` with every key that there is; a missing one means null to Python's library. */
function complete(json: unknown, where: string): Json {
  if (!isObject(json) || !isObject(json.model)) {
    throw new TypeError(`${where} must hold a JSON object with a "model"`);
  }
  const nulls = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
  // a text is taken whole, whatever the file says of the length of sequences
  return { version: "1.0", ...nulls, added_tokens: [], ...json, truncation: null, padding: null };
}

/** GPT-2's splitting (Radford et al. 2019), with white space as Unicode defines it. */
const SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" +
  " ?[^\\p{White_Space}\\p{L}\\p{N}]+|" +
  "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";

/** Characters without a place to cut that are encoded in this thread, in which no signal is heard meanwhile. */
const AT_ONCE = 1 << 18;

/**
 * Computes {@linkcode isGpt2Kind GPT-2's kind}, with {@linkcode SPLIT} for the package's own splitting.
 * Longer pieces than {@linkcode AT_ONCE} get the same numbers from the other library where it can be loaded.
 */
function gpt2Engine(json: Json, where: string): Engine {
  let other: Promise<Engine | undefined> | undefined;
  const elsewhere = () => other ??= nativeEngine(json, where).catch(() => undefined);
  const pattern = { Regex: SPLIT }, behavior = "Isolated", invert = false;
  const split = { type: "Split", pattern, behavior, invert };
  const bytes = { ...json.pre_tokenizer as Json, use_regex: false };
  const pre_tokenizer = { type: "Sequence", pretokenizers: [split, bytes] };
  // every byte is a token: no text is unknown
  const model = { ...json.model as Json, type: "BPE", unk_token: null, fuse_unk: false };
  const inner = new HuggingFaceTokenizer(
    { ...json, model, pre_tokenizer, post_processor: null },
    {},
  );
  const tokens = new Map<number, string>();
  inner.model!.vocab.forEach((token, id) => tokens.set(id, token));
  return {
    tokens,
    numberOf: (token) => inner.token_to_id(token),
    async encode(text) {
      const engine = text.length > AT_ONCE ? await elsewhere() : undefined;
      return engine
        ? await engine.encode(text)
        : inner.encode(text, { add_special_tokens: false }).ids;
    },
    decode: (ids) =>
      Promise.resolve(inner.decode(ids, {
        skip_special_tokens: false,
        clean_up_tokenization_spaces: false,
      })),
  };
}

/** Computes every kind as Python does, in a thread of its own, so that a signal is heard meanwhile. */
async function nativeEngine(json: Json, where: string): Promise<Engine> {
  const { Tokenizer } = await library(where);
  const said = (cause: unknown) => (cause as Error).message;
  let inner: InstanceType<typeof Tokenizer>;
  try {
    inner = Tokenizer.fromString(JSON.stringify(json));
  } catch (cause) {
    throw new TypeError(`${where} is not a usable tokenizer: ${said(cause)}`, { cause });
  }
  const normalizer = json.normalizer === null ? null : inner.getNormalizer();
  for (const { content, normalized } of json.added_tokens as Json[]) {
    if (!normalized || content === "" || normalizer?.normalizeString(content as string) !== "") {
      continue;
    }
    throw new TypeError(
      `${where}: the normalizer leaves nothing of the added token ${
        JSON.stringify(content)
      }: set its ` +
        '"normalized" to false',
    );
  }
  const numberOf = (token: string) => inner.tokenToId(token) ?? undefined;
  return {
    tokens: tokensOf(json, inner.getVocab(true), numberOf),
    numberOf,
    async encode(text) {
      try {
        return (await inner.encode(text, null, { addSpecialTokens: false })).getIds();
      } catch (cause) {
        throw new TypeError(`${where} has no token for a part of the text: ${said(cause)}`, {
          cause,
        });
      }
    },
    decode: (ids) => inner.decode(ids, false),
  };
}

/** The token of each number, as `idToToken` of the library has it. */
function tokensOf(
  { model }: Json,
  vocab: Record<string, number>,
  numberOf: (token: string) => number | undefined,
): Map<number, string> {
  const tokens = new Map<number, string>();
  // a list may hold a token twice
  const { vocab: list } = model as Json;
  if (Array.isArray(list)) { for (const [id, [token]] of list.entries()) tokens.set(id, token); }
  for (const [token, id] of Object.entries(vocab)) tokens.set(id, token);
  // an object from native code cannot hold this one
  const hidden = numberOf("__proto__");
  if (hidden !== undefined) tokens.set(hidden, "__proto__");
  return tokens;
}

async function library(where: string): ReturnType<typeof tokenizersLibrary> {
  try {
    return await tokenizersLibrary();
  } catch (cause) {
    throw new TypeError(
      `${where} is not of GPT-2's kind, and the library that computes other kinds cannot be loaded ` +
        `(it needs --allow-ffi, and is downloaded once): ${
          (cause as Error).message.split("\n")[0]
        }`,
      { cause },
    );
  }
}

function* chunks(text: string, least: number, cuts: RegExp): Generator<string> {
  const safe = new RegExp(cuts); // with a place of its own
  let start = 0;
  while (start < text.length) {
    safe.lastIndex = start + least;
    const end = safe.exec(text)?.index ?? text.length;
    yield text.slice(start, end);
    start = end;
  }
}
