/**
 * Continues a prompt with a model as it was loaded.
 *
 * @module
 */
import type { LoadedModel } from "../data/model_files.ts";
import { Generator } from "../gpt2/generate.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";

/** What to go on from, and how tokens are drawn. */
export interface ContinueOptions {
  /** What to go on from. */
  prompt: string;
  /** Tokens to write. */
  max_new_tokens: number;
  /** 0 always takes the likeliest token. */
  temperature: number;
  /** Draws from so many of the likeliest tokens, 0 for all. */
  top_k: number;
  /** Draws from the likeliest tokens of this probability. */
  top_p: number;
  /** Decides what is drawn. */
  seed: number;
}

/**
 * Continues a prompt.
 *
 * @returns The text that follows the prompt, and its tokens.
 * @throws {TypeError} If the model has no tokenizer.
 * @throws {RangeError} If prompt and continuation are longer than the model's context, or a number
 * is out of range.
 */
export async function continueText(
  gpu: Gpu,
  { config, weights, live, tokenizer }: LoadedModel,
  { prompt, max_new_tokens, temperature, top_k, top_p, seed }: ContinueOptions,
  signal?: AbortSignal,
): Promise<{ text: string; tokens: number }> {
  if (tokenizer === undefined) throw new TypeError("the model has no tokenizer.json");
  const encoded = tokenizer.encode(prompt);
  if (encoded.length + max_new_tokens > config.T) {
    throw new RangeError(
      `max_new_tokens must be at most ${config.T - encoded.length} after a prompt of ` +
        `${encoded.length} tokens (the model's context is ${config.T}): ${max_new_tokens}`,
    );
  }
  using model = new Gpt2(gpu, config, weights, live);
  using generator = new Generator(model);
  const [tokens] = await generator.generate({
    prompts: [encoded],
    maxNewTokens: max_new_tokens,
    temperature,
    topK: top_k,
    topP: top_p,
    seed,
    vocabSize: tokenizer.vocabSize,
    ...(tokenizer.eos !== undefined && { stop: tokenizer.eos }),
  }, signal && { signal });
  const written = tokens.subarray(encoded.length);
  return { text: tokenizer.decode(written), tokens: written.length };
}
