/**
 * Text to token numbers and back, by `npm:@huggingface/tokenizers`.
 *
 * What the package does, and what we make of it (checked in `tests/tokenizer_test.ts`):
 * - `decode` tidies spaces before punctuation unless told not to, which loses text: we tell it.
 * - It decodes a number outside the vocabulary as a zero byte, and no numbers not at all: we leave out
 *   the first, as Python does, and return "" for the second.
 * - Its memory for words it has met makes repeated text fast, but a text of megabytes becomes one
 *   array of all its pieces: we feed it chunk by chunk where that provably changes nothing.
 * - Special tokens written out in a text, such as `<|endoftext|>`, become their own number, as in
 *   Python; nothing is added at either end.
 * - Its byte-level splitting takes JavaScript's `\s` for white space, which holds U+FEFF and lacks
 *   U+0085; GPT-2's and Python's is the other way round: we hand it the right pattern (but not where
 *   `add_prefix_space` is on, which GPT-2's is not).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { HuggingFaceTokenizer } from "./deps.ts";

/** A tokenizer read from a Hugging Face `tokenizer.json`. */
export class Tokenizer {
  /** The number of token numbers: one more than the highest. */
  readonly vocabSize: number;
  /** The number of the end-of-text token, absent where the vocabulary has none. */
  readonly eos?: number;
  /** Whether text may be cut before white space and encoded piecewise with the same result. */
  readonly splits: boolean;
  /**
   * SHA-256 of the files it was made from, in hexadecimal, and how many rows the model has where those
   * are fewer than the tokens: the same gives the same numbers, or refuses the same text.
   */
  readonly fingerprint: string;
  readonly #inner: HuggingFaceTokenizer;
  readonly #rows: number;
  /** Where it may be cut. */
  readonly #safe: RegExp | undefined;

  private constructor(
    inner: HuggingFaceTokenizer,
    { safe, eosToken, fingerprint, rows }: {
      safe: RegExp | undefined;
      eosToken: string;
      fingerprint: string;
      rows: number;
    },
  ) {
    this.#inner = inner;
    this.#safe = safe;
    this.#rows = rows;
    this.fingerprint = rows < inner.model!.vocab.length ? `${fingerprint} ${rows}` : fingerprint;
    this.splits = safe !== undefined;
    this.vocabSize = inner.model!.vocab.length;
    this.eos = inner.token_to_id(eosToken);
  }

  /**
   * Makes a tokenizer.
   *
   * @param json The parsed `tokenizer.json`.
   * @param config The parsed `tokenizer_config.json`, where there is one: it may name `eos_token`,
   *   which is `<|endoftext|>` otherwise.
   * @param where What to call the file in an error.
   * @param rows Rows of the model: a text may hold no token from there on.
   * @throws {TypeError} If the package cannot make a tokenizer of it.
   */
  static fromJson(
    json: unknown,
    config: unknown = {},
    where = "tokenizer.json",
    rows = Infinity,
  ): Tokenizer {
    if (!isObject(json) || !isObject(json.model)) {
      throw new TypeError(`${where} must hold a JSON object with a "model"`);
    }
    if (!isObject(config)) throw new TypeError(`tokenizer_config.json must hold a JSON object`);
    // Missing keys mean null to Python's library; this one insists on them.
    const nulls = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null };
    const given = { ...nulls, added_tokens: [], ...json };
    const full = { ...given, pre_tokenizer: withUnicodeSpaces(given.pre_tokenizer) };
    let inner: HuggingFaceTokenizer;
    try {
      inner = new HuggingFaceTokenizer(full, config);
    } catch (cause) {
      throw new TypeError(`${where} is not a usable tokenizer: ${(cause as Error).message}`, {
        cause,
      });
    }
    const eos = isObject(config.eos_token) ? config.eos_token.content : config.eos_token;
    return new Tokenizer(inner, {
      rows,
      safe: safeCuts(given),
      eosToken: typeof eos === "string" ? eos : "<|endoftext|>",
      fingerprint: createHash("sha256").update(JSON.stringify([json, config])).digest("hex"),
    });
  }

  /**
   * Token numbers of a text, which may be long. Nothing is added at either end.
   *
   * @param chunk Characters to encode at once, at least; it changes memory and time, never the result.
   * @throws {RangeError} If `chunk` is below 1, or the model has no row for a token of the text.
   */
  encode(text: string, chunk = 65536): Uint32Array {
    if (!(chunk >= 1)) throw new RangeError(`chunk must be at least 1: ${chunk}`);
    const parts: number[][] = [];
    let length = 0;
    for (const piece of this.#safe ? chunks(text, chunk, this.#safe) : [text]) {
      const { ids } = this.#inner.encode(piece, { add_special_tokens: false });
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
    const token = JSON.stringify(this.#inner.id_to_token(beyond));
    throw new RangeError(
      `the text holds the token ${token}, number ${beyond}, and the model has no row for it: ` +
        `config.json says vocab_size ${this.#rows}; take the token out of the text, or enlarge the ` +
        "model's table",
    );
  }

  /** Whether a number has a token. */
  has(id: number): boolean {
    return this.#inner.id_to_token(id) !== undefined;
  }

  /**
   * The last place at which a text may be cut so that both sides, and whatever follows, encode to the
   * numbers of the whole; 0 where there is none. To be asked only where `splits`.
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
  decode(ids: Iterable<number>): string {
    const list = Array.from(ids).filter((id) => this.has(id));
    if (list.length === 0) return "";
    return this.#inner.decode(list, {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** GPT-2's splitting (Radford et al. 2019), with white space as Unicode defines it. */
const SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|" +
  " ?[^\\p{White_Space}\\p{L}\\p{N}]+|" +
  "\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+";

/** Byte-level splitting by {@linkcode SPLIT} in place of the package's own; others stay as they are. */
function withUnicodeSpaces(pre: unknown): unknown {
  // a space that is added before the text must be there before it is split
  if (!isObject(pre) || pre.type !== "ByteLevel" || pre.use_regex === false) return pre;
  if (pre.add_prefix_space === true) return pre;
  const pattern = { Regex: SPLIT }, behavior = "Isolated", invert = false;
  return {
    type: "Sequence",
    pretokenizers: [{ type: "Split", pattern, behavior, invert }, { ...pre, use_regex: false }],
  };
}

/**
 * GPT-2's byte-level splitting never joins white space to what stands before it unless that is white
 * space too, and looks ahead only out of white space. So a cut before white space that follows
 * something else changes nothing, as long as no normaliser and no added token reaches across it.
 * A pre-tokenizer that puts a space before its text leaves those alone that begin with one: then only
 * a space will do. There is no cut behind what only some libraries take for white space.
 */
function safeCuts(json: Record<string, unknown>): RegExp | undefined {
  const pre = json.pre_tokenizer;
  const added = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  const safe = json.normalizer === null && isObject(pre) && pre.type === "ByteLevel" &&
    pre.use_regex !== false &&
    added.every((token) => !token.lstrip && !token.rstrip && !/\s/.test(token.content));
  if (!safe) return undefined;
  return pre.add_prefix_space === true
    ? /(?<=[^\s\p{White_Space}]) /gu
    : /(?<=[^\s\p{White_Space}])[ \t\n\v\f\r]/gu;
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
