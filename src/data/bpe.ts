/**
 * Trains a byte-level BPE vocabulary in the manner of GPT-2 (Sennrich et al. 2016; Radford et al.
 * 2019) and writes it as a Hugging Face `tokenizer.json`.
 *
 * @module
 */

/** GPT-2's pre-tokenisation: contractions, words, numbers, other signs, white space. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** The token that ends a text, in the manner of GPT-2. */
export const END_OF_TEXT = "<|endoftext|>";

/** What {@linkcode trainBpe} returns: an object that serialises to a `tokenizer.json`. */
export interface TokenizerJson extends Record<string, unknown> {
  /** The part that was learnt. */
  readonly model: {
    /** What Hugging Face calls this kind of model. */
    readonly type: "BPE";
    /** Token numbers by token, in the byte-level alphabet. */
    readonly vocab: Readonly<Record<string, number>>;
    /** Both halves of every merge with a space between, the first learnt first. */
    readonly merges: readonly string[];
    readonly [key: string]: unknown;
  };
}

/**
 * Printable stand-ins for the 256 bytes, in GPT-2's order of token numbers: the bytes that print
 * stand for themselves, the others take the characters from U+0100 on.
 */
export function alphabet(): { symbols: string[]; numberOfByte: Uint16Array } {
  const prints = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  const bytes = Array.from({ length: 256 }, (_, b) => b);
  const ordered = [...bytes.filter(prints), ...bytes.filter((b) => !prints(b))];
  const numberOfByte = new Uint16Array(256);
  let next = 256;
  const symbols = ordered.map((byte, number) => {
    numberOfByte[byte] = number;
    return String.fromCharCode(prints(byte) ? byte : next++);
  });
  return { symbols, numberOfByte };
}

/** A pair of token numbers as one number; both stay below 2^16. */
const pairOf = (left: number, right: number) => left * 65536 + right;

/**
 * Learns merges from a text until the vocabulary is full or no pair occurs twice.
 *
 * Token numbers: 0-255 the bytes in GPT-2's order, then the merges in the order learnt, and
 * `<|endoftext|>` last. The commonest pair is merged first; of equally common pairs the one whose
 * left token has the lower number, then the right. The same text gives the same object.
 *
 * @param text What to learn from; occurrences of `<|endoftext|>` separate documents.
 * @param vocabSize Tokens in all, from 257 to 65,536.
 * @throws {RangeError} If `vocabSize` is out of range or the text is empty.
 */
export function trainBpe(text: string, vocabSize = 1024): TokenizerJson {
  if (!Number.isInteger(vocabSize) || vocabSize < 257 || vocabSize > 65536) {
    throw new RangeError(`vocab_size must be a whole number from 257 to 65536: ${vocabSize}`);
  }
  if (text.length === 0) throw new RangeError("the text to learn a vocabulary from is empty");
  const { symbols, numberOfByte } = alphabet();
  const words = countWords(text, numberOfByte);
  const pairs = new PairCounts();
  words.forEach((word, w) => pairs.add(word, w, 1));

  const merges: string[] = [];
  while (symbols.length < vocabSize - 1) {
    const best = pairs.commonest();
    if (best === undefined) break;
    const left = best >>> 16, right = best & 65535, merged = symbols.length;
    symbols.push(symbols[left] + symbols[right]);
    merges.push(`${symbols[left]} ${symbols[right]}`);
    for (const w of pairs.wordsWith(best)) {
      pairs.add(words[w], w, -1);
      words[w].tokens = merge(words[w].tokens, left, right, merged);
      pairs.add(words[w], w, 1);
    }
  }
  const vocab = Object.fromEntries([...symbols, END_OF_TEXT].map((token, id) => [token, id]));
  return tokenizerJson(vocab, merges);
}

interface Word {
  tokens: number[];
  /** How often the text has it. */
  readonly count: number;
}

/** A text has far fewer different words than words: each is worked on once. */
function countWords(text: string, numberOfByte: Uint16Array): Word[] {
  const counts = new Map<string, number>();
  for (const document of text.split(END_OF_TEXT)) {
    for (const [word] of document.matchAll(WORDS)) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  const encoder = new TextEncoder();
  return Array.from(counts, ([word, count]) => ({
    tokens: Array.from(encoder.encode(word), (byte) => numberOfByte[byte]),
    count,
  }));
}

/** Replaces a pair by its merged token, from the left. */
function merge(tokens: readonly number[], left: number, right: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < tokens.length; i++) {
    if (tokens[i] === left && tokens[i + 1] === right) {
      out.push(merged);
      i++;
    } else out.push(tokens[i]);
  }
  return out;
}

/** How often each pair of neighbours occurs, and in which words. */
class PairCounts {
  readonly #counts = new Map<number, number>();
  readonly #words = new Map<number, Set<number>>();

  /** Counts a word's pairs in (sign 1) or out (sign -1). */
  add({ tokens, count }: Word, w: number, sign: 1 | -1): void {
    for (let i = 1; i < tokens.length; i++) {
      const pair = pairOf(tokens[i - 1], tokens[i]);
      const total = (this.#counts.get(pair) ?? 0) + sign * count;
      if (total === 0) {
        this.#counts.delete(pair);
        this.#words.delete(pair);
        continue;
      }
      this.#counts.set(pair, total);
      if (sign < 0) continue; // a word that no longer has the pair does no harm in its set
      const words = this.#words.get(pair);
      if (words === undefined) this.#words.set(pair, new Set([w]));
      else words.add(w);
    }
  }

  /** The pair to merge next, if any occurs twice. */
  commonest(): number | undefined {
    let best: number | undefined, most = 1;
    for (const [pair, count] of this.#counts) {
      if (count > most || (count === most && best !== undefined && pair < best)) {
        best = pair;
        most = count;
      }
    }
    return best;
  }

  /** The words that may hold a pair, as a list of their own. */
  wordsWith(pair: number): number[] {
    return [...this.#words.get(pair) ?? []];
  }
}

/**
 * The tokenizer of the two files that GPT-2 came with, as a `tokenizer.json` without added tokens.
 *
 * @param vocab The parsed `vocab.json`.
 * @param merges The text of `merges.txt`: a merge on a line, after a line for its version.
 * @param where What to call the vocabulary in an error.
 * @throws {TypeError} If they are not those of a byte-level vocabulary.
 */
export function byteLevelTokenizer(vocab: unknown, merges: string, where: string): TokenizerJson {
  const ids = typeof vocab === "object" && vocab !== null ? Object.values(vocab) : [];
  if (ids.length === 0 || !ids.every((id) => Number.isInteger(id) && id >= 0)) {
    throw new TypeError(`${where} must hold a JSON object with a number for every token`);
  }
  const tokens = vocab as Record<string, number>;
  const lines = merges.split(/\r?\n/).filter((line, i) =>
    line !== "" && !(i === 0 && /^#version/.test(line))
  );
  const bad = lines.find((line) => {
    const [left, right, ...rest] = line.split(" ");
    return rest.length > 0 || tokens[left] === undefined || tokens[left + right] === undefined;
  });
  if (bad !== undefined) {
    throw new TypeError(`merges.txt beside ${where} merges what is no token there: ${bad}`);
  }
  return { ...tokenizerJson(tokens, lines), added_tokens: [] };
}

function tokenizerJson(vocab: Record<string, number>, merges: string[]): TokenizerJson {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [{
      id: vocab[END_OF_TEXT],
      content: END_OF_TEXT,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    }],
    normalizer: null,
    pre_tokenizer: {
      type: "ByteLevel",
      add_prefix_space: false,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: {
      type: "ByteLevel",
      add_prefix_space: true,
      trim_offsets: false,
      use_regex: true,
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: "",
      end_of_word_suffix: "",
      fuse_unk: false,
      byte_fallback: false,
      vocab,
      merges,
    },
  };
}
