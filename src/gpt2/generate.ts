/**
 * Text from a model: a prompt's pass, then token after token, all on the device; the host looks only
 * once in many tokens.
 *
 * @module
 */
import { submit } from "../gpu/kernel.ts";
import { type SamplingOptions, samplingRule } from "../kernels/sampling.ts";
import type { Gpt2Config } from "./config.ts";
import { Decoder, type DecoderShape, decoderShape } from "./decoder.ts";
import type { Gpt2 } from "./model.ts";

/** What to write; see {@linkcode SamplingOptions} for how tokens are chosen. */
export interface GenerateOptions extends Omit<SamplingOptions, "stop"> {
  /** Token ids to go on from, at least one each; their lengths may differ. */
  prompts: readonly Uint32Array[];
  /** Tokens to append to each prompt, unless `stop` comes before. */
  maxNewTokens: number;
  /** Tokens that end a sequence; the one that does is still appended. None unless given. */
  stop?: number | readonly number[];
  /**
   * Which stream of random numbers each prompt draws from, whole numbers below 2^32; its place in
   * `prompts` unless given. The same tokens, seed and stream draw the same continuation.
   */
  streams?: readonly number[];
  /**
   * Asked for each token that a sequence gains: its continuation so far, and its place in `prompts`.
   * Where it says true, the token is the sequence's last.
   */
  until?: (continuation: readonly number[], place: number) => boolean | Promise<boolean>;
}

/** How to follow the writing; nothing here changes what is written. */
export interface GenerateControls {
  /** Ends the writing at the next read-back: `generate` then throws the signal's reason. */
  signal?: AbortSignal;
  /** Called after every read-back with the tokens that each sequence gained, possibly none. */
  onTokens?: (fresh: Uint32Array[]) => void;
  /** Tokens to write between read-backs; adapted to 100 ms of work unless given. */
  chunk?: number;
}

/** Time between read-backs, in ms: a fence costs 11, and the caller wants to see progress. */
const CHUNK_MS = 100;

/** Most tokens between read-backs. */
const LONGEST_CHUNK = 64;

/**
 * Continues prompts with a model. Buffers are made at the first call, kept, and made anew where a
 * call needs more. Dispose it before the model.
 */
export class Generator implements Disposable {
  readonly #model: Gpt2;
  readonly #pieceBytes: number;
  #decoder: Decoder | undefined;
  #busy = false;

  /**
   * Takes a model; nothing is allocated yet.
   *
   * @param model The model to sample from, with its weights and gates as they are at each call.
   * @param pieceBytes Most bytes of the head's table to bind at once; never more than one binding.
   */
  constructor(model: Gpt2, { pieceBytes = Infinity }: { pieceBytes?: number } = {}) {
    this.#model = model;
    this.#pieceBytes = Math.min(pieceBytes, model.gpu.maxBinding);
  }

  /**
   * Continues every prompt. What a sequence becomes depends on the seed, its stream (its place in
   * `prompts` unless given) and its own tokens: not on its neighbours, nor on how often the host looks.
   *
   * @returns Each prompt with its continuation; where `stop` came, or `until` said so, that token is
   *   the last.
   * @throws {RangeError} If a prompt is empty, holds an unknown token, or leaves no room for the new
   *   ones in the model's positions; if an option is out of range; if the logits are not finite.
   * @throws {TypeError} If an earlier call has not returned yet.
   */
  async generate(
    { prompts, maxNewTokens, streams, until, stop: ends = [], ...sampling }: GenerateOptions,
    { signal, onTokens, chunk }: GenerateControls = {},
  ): Promise<Uint32Array[]> {
    const { gpu, config } = this.#model;
    const longest = checkPrompts(prompts, maxNewTokens, config);
    // the device knows one of them, the host sees the others
    const stops = new Set([ends].flat());
    const [stop] = stops;
    const rule = samplingRule({ ...sampling, ...(stop !== undefined && { stop }) }, config.V);
    const bad = streams?.find((stream) => stream >>> 0 !== stream);
    if (bad !== undefined || (streams && streams.length !== prompts.length)) {
      throw new RangeError(
        `streams must be a whole number below 2^32 for each of ${prompts.length} prompts: ${streams}`,
      );
    }
    if (chunk !== undefined && !(Number.isInteger(chunk) && chunk >= 1)) {
      throw new RangeError(`chunk must be a whole number of 1 or more: ${chunk}`);
    }
    if (this.#busy) {
      throw new TypeError("This generator is still writing: wait for it, or make another");
    }
    this.#busy = true;
    try {
      const shape = decoderShape({ sequences: prompts.length, longest, maxNewTokens }, config);
      const decoder = this.#reserve(shape);
      const writing = decoder.begin(shape, { prompts, maxNewTokens, rule, streams });
      const out = prompts.map((prompt) => [...prompt]);
      let count = chunk ?? 1; // the first may have to compile
      for (let written = 0; written < maxNewTokens;) {
        signal?.throwIfAborted();
        const start = performance.now();
        const end = Math.min(written + count, maxNewTokens);
        for (; written < end; written++) {
          submit(gpu, written === 0 ? writing.prefill : writing.decode);
        }
        let going = false;
        const fresh: Uint32Array[] = [];
        for (const [b, look] of (await decoder.look(writing, out)).entries()) {
          const from = prompts[b].length;
          const taken = await taking(look.fresh, out[b], { until, stops, from, place: b });
          if (taken.ended) decoder.end(b, out[b].length);
          going ||= !(look.ended || taken.ended);
          fresh.push(taken.tokens);
        }
        onTokens?.(fresh);
        if (!going) break;
        count = chunk ?? adapted(count, performance.now() - start);
      }
      return out.map((tokens) => Uint32Array.from(tokens));
    } finally {
      this.#busy = false;
    }
  }

  #reserve(shape: DecoderShape): Decoder {
    if (!this.#decoder?.holds(shape)) {
      this.#decoder?.dispose();
      this.#decoder = undefined;
      this.#decoder = new Decoder(this.#model, shape, this.#pieceBytes);
    }
    return this.#decoder;
  }

  /** Frees the buffers. The generator may be used again, and makes new ones. */
  dispose(): void {
    this.#decoder?.dispose();
    this.#decoder = undefined;
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Appends tokens to a sequence up to the one that ends it; `from` is its prompt's length. */
async function taking(
  tokens: Uint32Array,
  sequence: number[],
  { until, stops, from, place }: Pick<GenerateOptions, "until"> & {
    stops: ReadonlySet<number>;
    from: number;
    place: number;
  },
): Promise<{ tokens: Uint32Array; ended: boolean }> {
  for (const [i, token] of tokens.entries()) {
    sequence.push(token);
    if (await until?.(sequence.slice(from), place) || stops.has(token)) {
      return { tokens: tokens.subarray(0, i + 1), ended: true };
    }
  }
  return { tokens, ended: false };
}

/** Checks a request and returns the longest prompt's length. */
function checkPrompts(
  prompts: readonly Uint32Array[],
  maxNewTokens: number,
  { T, V }: Gpt2Config,
): number {
  if (!Number.isInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new RangeError(`max_new_tokens must be a whole number of 1 or more: ${maxNewTokens}`);
  }
  if (prompts.length === 0) throw new RangeError("There are no prompts: give at least one");
  prompts.forEach((prompt, b) => {
    if (prompt.length === 0) {
      throw new RangeError(
        `Prompt ${b} is empty: give it at least one token, for instance the end-of-text token`,
      );
    }
    const unknown = prompt.find((token) => token >= V);
    if (unknown !== undefined) {
      throw new RangeError(
        `Prompt ${b} holds token ${unknown}, and the model knows those below ${V}`,
      );
    }
    if (prompt.length + maxNewTokens > T) {
      throw new RangeError(
        `Prompt ${b} has ${prompt.length} tokens, which with ${maxNewTokens} new ones makes ${
          prompt.length + maxNewTokens
        }: more than the model's ${T} positions; shorten it, or ask for fewer`,
      );
    }
  });
  return prompts.reduce((longest, { length }) => Math.max(longest, length), 0);
}

/** How many tokens to write next, where the last `count` took `ms`. */
function adapted(count: number, ms: number): number {
  const fitting = Math.floor(count * CHUNK_MS / Math.max(1, ms));
  return Math.max(1, Math.min(fitting, 4 * count, LONGEST_CHUNK));
}
