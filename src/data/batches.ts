/**
 * Tokens into four disjoint parts, training batches, and windows for evaluation.
 *
 * @module
 */
import type { Window } from "../gpt2/evaluate.ts";
import { Random, type RandomState } from "../random.ts";

/** The parts of a text, none of which sees another's tokens. */
export interface Parts {
  /** What gradients are computed on. */
  readonly train: Uint32Array;
  /** What heads are scored on. */
  readonly calibration: Uint32Array;
  /** What is looked at during a run. */
  readonly validation: Uint32Array;
  /** What is read once, at the end. */
  readonly test: Uint32Array;
}

/** Shares of the tokens in percent, in their order; the rounding goes to test. */
export const SHARES: Readonly<Record<keyof Parts, number>> = {
  train: 80,
  calibration: 5,
  validation: 5,
  test: 10,
};

/**
 * Cuts tokens into four contiguous parts: train, calibration, validation and test, in this order,
 * of the shares in {@linkcode SHARES}.
 *
 * @param tokens The whole text.
 * @param sizes `T`, the window length in tokens, and `B`, the windows in a batch (1 unless given).
 * @returns Views into `tokens`.
 * @throws {RangeError} If the text is too short: every part must hold a window of T + 1 tokens,
 *   and train a batch of B windows; the error says how many tokens that takes.
 */
export function splitTokens(
  tokens: Uint32Array,
  { T, B = 1 }: { T: number; B?: number },
): Parts {
  checkSize("max_length", T);
  checkSize("batch_size", B);
  const { train, calibration, validation } = SHARES;
  // Of the three small parts test is the largest, so calibration decides.
  const needed = Math.ceil(Math.max((B * T + 1) * 100 / train, (T + 1) * 100 / calibration));
  if (tokens.length < needed) {
    throw new RangeError(
      `the text has ${tokens.length} tokens: four parts for batches of ${B} x ${T} tokens take ` +
        `at least ${needed}; give a longer text, shorter sequences or smaller batches`,
    );
  }
  const share = (percent: number) => Math.floor(tokens.length * percent / 100);
  const a = share(train), b = a + share(calibration), c = b + share(validation);
  return {
    train: tokens.subarray(0, a),
    calibration: tokens.subarray(a, b),
    validation: tokens.subarray(b, c),
    test: tokens.subarray(c),
  };
}

function checkSize(name: string, value: number): void {
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
  readonly #tokens: Uint32Array;
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
  constructor(tokens: Uint32Array, { B, T, seed }: { B: number; T: number; seed: number }) {
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
      inputs.set(tokens.subarray(at, at + T), b * T);
      targets.set(tokens.subarray(at + 1, at + 1 + T), b * T);
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
  part: Uint32Array,
  T: number,
  stride: number = T,
): IterableIterator<Window> {
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
  return windows(part, T, stride);
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

function* windows(part: Uint32Array, T: number, stride: number): Generator<Window> {
  let covered = 0;
  for (let begin = 0; covered < part.length; begin += stride) {
    const end = Math.min(begin + T, part.length);
    const fresh = end - covered; // "trg_len" in the page's code
    covered = end;
    const from = Math.max(0, end - begin - fresh - 1);
    if (end - begin < 2) continue; // a single token at the end: nothing precedes it in its window
    yield { inputs: part.subarray(begin, end - 1), targets: part.subarray(begin + 1, end), from };
  }
}
