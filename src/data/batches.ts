/**
 * Training batches, and windows for evaluation.
 *
 * @module
 */
import type { Window } from "../gpt2/evaluate.ts";
import { Random, type RandomState } from "../random.ts";
import type { Tokens } from "./tokens.ts";

/** @throws {RangeError} If a size is not a positive whole number. */
export function checkSize(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new RangeError(`${name} must be a positive whole number: ${value}`);
  }
}

/** One batch: `targets[i]` is the token that follows `inputs[i]` in the text. */
export interface Batch {
  /** Token numbers `(B, T)`, row-major. */
  readonly inputs: Uint32Array;
  /** Token numbers `(B, T)`, row-major. */
  readonly targets: Uint32Array;
}

/** Where a {@linkcode TrainBatches} stands; survives `JSON.stringify` and back. */
export interface TrainBatchesState {
  /** Windows in a batch. */
  readonly B: number;
  /** Tokens in a window. */
  readonly T: number;
  /** Length of the text sampled from. */
  readonly tokens: number;
  /** Batches drawn so far. */
  readonly drawn: number;
  /** The generator's state. */
  readonly random: RandomState;
}

/** Draws batches of windows that begin anywhere in a text, uniformly and independently. */
export class TrainBatches {
  readonly #tokens: Tokens;
  readonly #B: number;
  readonly #T: number;
  #random: Random;
  #drawn = 0;

  /**
   * A sampler at its beginning.
   *
   * @param tokens The text to sample from, usually the train part.
   * @param options `B` windows of `T` tokens a batch; the same seed gives the same batches.
   * @throws {RangeError} If a size is not positive, the seed is not a whole number from 0 to
   *   2^53 - 1, or the text does not hold one window of T + 1 tokens.
   */
  constructor(tokens: Tokens, { B, T, seed }: { B: number; T: number; seed: number }) {
    checkSize("batch_size", B);
    checkSize("max_length", T);
    if (tokens.length < T + 1) {
      throw new RangeError(
        `${tokens.length} tokens hold no window of max_length ${T}, which takes ${T + 1}`,
      );
    }
    this.#tokens = tokens;
    this.#B = B;
    this.#T = T;
    this.#random = new Random(seed);
  }

  /** The next batch, in memory of its own. */
  next(): Batch {
    const tokens = this.#tokens, B = this.#B, T = this.#T;
    const inputs = new Uint32Array(B * T), targets = new Uint32Array(B * T);
    for (let b = 0; b < B; b++) {
      const at = this.#random.int(tokens.length - T);
      const window = tokens.subarray(at, at + T + 1);
      inputs.set(window.subarray(0, T), b * T);
      targets.set(window.subarray(1), b * T);
    }
    this.#drawn++;
    return { inputs, targets };
  }

  /** Where the sampler stands now. */
  get state(): TrainBatchesState {
    return {
      B: this.#B,
      T: this.#T,
      tokens: this.#tokens.length,
      drawn: this.#drawn,
      random: this.#random.state,
    };
  }

  /**
   * Goes on from a saved state: the next batch is the one that would have come then.
   *
   * @throws {RangeError} If the state was saved for other sizes or another text's length.
   * @throws {TypeError} If it holds no generator's state.
   */
  restore(state: TrainBatchesState): void {
    const mine = this.state;
    for (const key of ["B", "T", "tokens"] as const) {
      if (state[key] !== mine[key]) {
        throw new RangeError(
          `the saved sampler has ${key} ${state[key]}, this one ${
            mine[key]
          }: resume with the same text and sizes`,
        );
      }
    }
    this.#random = Random.restore(state.random);
    this.#drawn = state.drawn;
  }
}

/**
 * The strided windows by which Hugging Face measures the perplexity of models of fixed length
 * (https://huggingface.co/docs/transformers/perplexity): windows of at most T tokens begin every
 * `stride` tokens, and each scores only tokens that no window before it has covered. Targets are
 * shifted inside a window, so a window's first token is never predicted: with `stride` = T one
 * token a window is not scored, with a smaller one only the text's first.
 *
 * Unlike that page's code, which weighs overlapping windows by one token less than they score, this
 * leaves the average to the caller: the sum of the scored losses over their number. Windows are never
 * padded. A forward pass that needs a fixed length may put anything after the end of `inputs`
 * (a causal model does not look there) as long as it scores only `from <= i < targets.length`.
 *
 * @param part The text's tokens.
 * @param T Tokens in a window, at least 2 (`--max_length`).
 * @param stride Tokens from the beginning of a window to the next one's, 1 to T; T unless given.
 * @throws {RangeError} If T or the stride is out of range, or the part has fewer than 2 tokens.
 */
export function evalWindows(
  part: Tokens,
  T: number,
  stride: number = T,
): IterableIterator<Window> {
  return new WindowList(part, T, stride)[Symbol.iterator]();
}

/** The windows of {@linkcode evalWindows}, cut only as they are asked for: a list without its memory. */
export class WindowList implements Iterable<Window> {
  /** How many. */
  readonly length: number;
  readonly #part: Tokens;
  readonly #T: number;
  readonly #stride: number;

  /**
   * The windows from the first on.
   *
   * @param limit How many at most; all unless given.
   * @throws {RangeError} As {@linkcode evalWindows} does.
   */
  constructor(part: Tokens, T: number, stride: number = T, limit: number = Infinity) {
    if (!Number.isSafeInteger(T) || T < 2) {
      throw new RangeError(`max_length must be a whole number of at least 2: ${T}`);
    }
    if (!Number.isSafeInteger(stride) || stride < 1 || stride > T) {
      throw new RangeError(`stride must be a whole number from 1 to max_length ${T}: ${stride}`);
    }
    if (part.length < 2) {
      throw new RangeError(
        `${part.length} tokens leave nothing to predict: give a text of at least 2 tokens`,
      );
    }
    this.#part = part;
    this.#T = T;
    this.#stride = stride;
    const begins = 1 + Math.max(0, Math.ceil((part.length - T) / stride));
    // a single token at the end: nothing precedes it in its window
    const alone = part.length - (begins - 1) * stride < 2 ? 1 : 0;
    this.length = Math.min(limit, begins - alone);
  }

  /** Some of them, in memory. */
  slice(begin: number, end: number = this.length): Window[] {
    const last = Math.min(end, this.length);
    return Array.from({ length: Math.max(0, last - begin) }, (_, i) => this.#window(begin + i));
  }

  /** All of them, one after the other. */
  *[Symbol.iterator](): Generator<Window, undefined> {
    for (let i = 0; i < this.length; i++) yield this.#window(i);
  }

  #window(i: number): Window {
    const begin = i * this.#stride;
    const tokens = this.#part.subarray(begin, Math.min(begin + this.#T, this.#part.length));
    // the window before has covered up to T - stride tokens of this one ("trg_len" in the page's code)
    const covered = i === 0 ? 0 : this.#T - this.#stride;
    const from = Math.max(0, covered - 1);
    return { inputs: tokens.subarray(0, -1), targets: tokens.subarray(1), from };
  }
}

/** Batches as windows of T tokens, every target scored: the same text, to be evaluated. */
export function batchWindows(batches: readonly Batch[], T: number): Window[] {
  return batches.flatMap(({ inputs, targets }) =>
    Array.from({ length: inputs.length / T }, (_, b) => ({
      inputs: inputs.subarray(b * T, (b + 1) * T),
      targets: targets.subarray(b * T, (b + 1) * T),
      from: 0,
    }))
  );
}
