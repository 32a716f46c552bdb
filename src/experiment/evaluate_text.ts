/**
 * Perplexity of a model on a whole text, by the strided-window recipe.
 *
 * @module
 */
import { WindowList } from "../data/batches.ts";
import { type LoadedModel, tokenizerOf } from "../data/model_files.ts";
import type { Tokens } from "../data/tokens.ts";
import { Activations } from "../gpt2/activations.ts";
import { Evaluator, type Window } from "../gpt2/evaluate.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { planMemory } from "./memory_plan.ts";

/** How text is cut into windows. */
export interface EvaluateTextOptions {
  /** Tokens in a window; the model's positions unless given. */
  maxLength?: number;
  /**
   * Tokens from one window to the next; `maxLength` unless given. A smaller stride gives every
   * scored token more context, and takes longer.
   */
  stride?: number;
  /** Windows scored at once; 8 unless given. */
  batchSize?: number;
  /** Ends the evaluation between batches: the signal's reason is thrown then. */
  signal?: AbortSignal;
  /** Told how many windows of how many have gone to the device. */
  onProgress?: (progress: { done: number; total: number }) => void;
}

/** What `deno task evaluate --json` prints. */
export interface TextEvaluation {
  /** Mean nats per predicted token. */
  loss: number;
  /** exp(loss); absent if that is beyond what a number can hold (a loss above 709.78). */
  perplexity?: number;
  /** Tokens in the text. */
  tokens: number;
  /** Tokens that were predicted and scored: all but the first of each window that starts afresh. */
  predicted: number;
}

/**
 * Scores a text, or tokens that the model's own tokenizer made of one: windows of `maxLength` tokens,
 * `stride` apart; of each window only the tokens that no earlier window scored count (Hugging Face,
 * "Perplexity of fixed-length models").
 *
 * @throws {RangeError} If a length is out of range, the text has fewer than two tokens, the model does
 * not fit on the adapter, or the loss is not a number.
 * @throws {TypeError} If the model came without a tokenizer.
 */
export async function evaluateText(
  gpu: Gpu,
  loaded: LoadedModel,
  text: string | Tokens,
  { maxLength = loaded.config.T, stride = maxLength, batchSize = 8, signal, onProgress }:
    EvaluateTextOptions = {},
): Promise<TextEvaluation> {
  const { config, weights, live } = loaded;
  const tokens = typeof text === "string" ? await tokenizerOf(loaded).encode(text) : text;
  if (tokens.length < 2) {
    throw new RangeError(
      `The text has ${tokens.length} tokens: at least 2 are needed to predict one`,
    );
  }
  if (!Number.isInteger(maxLength) || maxLength < 1 || maxLength > config.T) {
    throw new RangeError(
      `max_length must be between 1 and the model's ${config.T} positions: ${maxLength}`,
    );
  }
  const windows = new WindowList(tokens, maxLength, stride);
  // a short text costs no more than it needs
  const B = Math.min(batchSize, windows.length), T = Math.min(maxLength, tokens.length);
  planMemory(gpu, { config, live }, { B, T, models: 1, training: false });
  using model = new Gpt2(gpu, config, weights, live);
  using acts = new Activations(model, { B, T, training: false });
  using evaluator = new Evaluator(model, acts);
  const { loss, perplexity, predicted } = await evaluator.evaluate(
    onProgress ? followed(windows, onProgress) : windows,
    signal,
  );
  if (!Number.isFinite(loss)) {
    throw new RangeError(
      `The model's loss is ${loss}: its weights are not finite, or far too large`,
    );
  }
  return {
    loss,
    ...(Number.isFinite(perplexity) && { perplexity }),
    tokens: tokens.length,
    predicted,
  };
}

function* followed(
  windows: WindowList,
  onProgress: NonNullable<EvaluateTextOptions["onProgress"]>,
): Generator<Window> {
  let done = 0;
  for (const window of windows) {
    yield window;
    onProgress({ done: ++done, total: windows.length });
  }
}
