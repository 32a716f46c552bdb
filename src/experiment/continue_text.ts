/**
 * Continues prompts with a model as it was loaded.
 *
 * @module
 */
import { type LoadedModel, tokenizerOf } from "../data/model_files.ts";
import { drawable } from "../data/vocabulary.ts";
import { TextStream } from "../data/text_stream.ts";
import { decoderShape } from "../gpt2/decoder.ts";
import { Generator } from "../gpt2/generate.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { planMemory } from "./memory_plan.ts";

/** Tokens that are written after a prompt unless another number is asked for. */
export const NEW_TOKENS = 80;

/** What to go on from, and how tokens are drawn. */
export interface ContinueOptions {
  /** What to go on from; one at least. They are written side by side. */
  prompts: readonly string[];
  /** Tokens to write after each; {@linkcode NEW_TOKENS} unless given, or as many as there is room for. */
  max_new_tokens?: number | undefined;
  /** 0 always takes the likeliest token. */
  temperature: number;
  /** Draws from so many of the likeliest tokens, 0 for all. */
  top_k: number;
  /** Draws from the likeliest tokens of this probability. */
  top_p: number;
  /** Above 1, tokens that the text holds already become less likely; 1 unless given. */
  repetition_penalty?: number;
  /** A text ends before any of these strings; none unless given. */
  stop?: readonly string[];
  /** Decides what is drawn: the same after the same prompt, whatever other prompts there are. */
  seed: number;
}

/** How to follow the writing; nothing here changes what is written. */
export interface ContinueListeners {
  /** Ends the writing: the signal's reason is thrown. */
  signal?: AbortSignal;
  /** Called with what is new of each text, possibly "": the pieces together are the texts. */
  onText?: (pieces: string[]) => void;
  /** Told how many tokens the longest continuation has, and how many it may have. */
  onProgress?: (tokens: number, most: number) => void;
}

/** A continuation. */
export interface Continuation {
  /** What follows the prompt. */
  text: string;
  /** Tokens that were written; where one of them ended the text, it is counted. */
  tokens: number;
  /** Why it ends: all tokens were written, a stop string came, or the end-of-text token. */
  finish: "length" | "stop" | "end_of_text";
}

/**
 * Continues prompts.
 *
 * @returns A continuation of each.
 * @throws {TypeError} If the model has no tokenizer, or a prompt or a stop string is empty.
 * @throws {RangeError} If a prompt and its continuation are longer than the model's context, the model
 *   does not fit on the adapter, or a number is out of range.
 */
export async function continueTexts(
  gpu: Gpu,
  model: LoadedModel,
  {
    prompts,
    max_new_tokens: asked,
    temperature,
    top_k,
    top_p,
    repetition_penalty,
    stop = [],
    seed,
  }: ContinueOptions,
  { signal, onText, onProgress }: ContinueListeners = {},
): Promise<Continuation[]> {
  const { config, weights, live, endsOfText = [] } = model, tokenizer = tokenizerOf(model);
  if (stop.includes("")) throw new TypeError("a stop string must not be empty");
  const encoded = await Promise.all(prompts.map(async (prompt, i) => {
    const tokens = await tokenizer.encode(prompt);
    if (tokens.length === 0) throw new TypeError("prompt must not be empty");
    if (tokens.length >= config.T) {
      throw new RangeError(
        `prompt ${
          i + 1
        } has ${tokens.length} tokens, and the model's context is ${config.T}: shorten it`,
      );
    }
    if (asked !== undefined && tokens.length + asked > config.T) {
      throw new RangeError(
        `max_new_tokens must be at most ${config.T - tokens.length} after a prompt of ` +
          `${tokens.length} tokens (the model's context is ${config.T}): ${asked}`,
      );
    }
    return tokens;
  }));
  const ends = new Set(endsOfText);
  const streams = prompts.map(() => new TextStream(tokenizer, stop));
  let longestText = 0;
  const longest = encoded.reduce((most, { length }) => Math.max(most, length), 1);
  const sequences = Math.max(1, prompts.length);
  const max_new_tokens = asked ?? Math.min(NEW_TOKENS, config.T - longest);
  const { B, T, S } = decoderShape({ sequences, longest, maxNewTokens: max_new_tokens }, config);
  planMemory(gpu, { config, live }, {
    ...{ B, T, writes: S - T, models: 1, training: false },
    ...{ batchOption: "prompts", lengthOption: "tokens of a prompt" },
  });
  using gpt2 = new Gpt2(gpu, config, weights, live);
  using generator = new Generator(gpt2);
  const written = await generator.generate({
    prompts: encoded,
    streams: prompts.map(() => 0), // so that a text is what it would be alone
    maxNewTokens: max_new_tokens,
    temperature,
    topK: top_k,
    topP: top_p,
    seed,
    ...drawable(tokenizer, config),
    ...(repetition_penalty !== undefined && { repetitionPenalty: repetition_penalty }),
    stop: endsOfText,
    until: async (continuation, b) => {
      longestText = Math.max(longestText, continuation.length);
      const token = continuation[continuation.length - 1];
      if (!ends.has(token)) await streams[b].add(token);
      return streams[b].stopped;
    },
  }, {
    ...(signal && { signal }),
    onTokens: () => {
      onText?.(streams.map((stream) => stream.take()));
      onProgress?.(longestText, max_new_tokens);
    },
  });
  const rest = await Promise.all(streams.map((stream) => stream.end()));
  if (rest.some((piece) => piece !== "")) onText?.(rest);
  return written.map((tokens, b) => ({
    text: streams[b].text,
    tokens: tokens.length - encoded[b].length,
    finish: streams[b].stopped
      ? "stop"
      : tokens.length > encoded[b].length && ends.has(tokens[tokens.length - 1])
      ? "end_of_text"
      : "length",
  }));
}
