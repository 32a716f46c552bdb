/**
 * Text from a model: forward, sample, append, and again, all on the device; the host looks only
 * once in many tokens.
 *
 * @module
 */
import { GpuError } from "../gpu/device.ts";
import { type Dispatch, Plan, submit } from "../gpu/kernel.ts";
import { freeTensor, makeTensor, slice, type Tensor, upload } from "../gpu/tensor.ts";
import { pieceOf, tablePieces } from "../kernels/embedding.ts";
import { matmul } from "../kernels/matmul.ts";
import {
  CURSOR,
  SAMPLING_SETTINGS,
  samplingGather,
  samplingNext,
  type SamplingOptions,
  samplingSettings,
} from "../kernels/sampling.ts";
import { Activations } from "./activations.ts";
import { forward, headWeight } from "./forward.ts";
import type { Gpt2 } from "./model.ts";

/** What to write; see {@linkcode SamplingOptions} for how tokens are chosen. */
export interface GenerateOptions extends SamplingOptions {
  /** Token ids to go on from, at least one each; their lengths may differ. */
  prompts: readonly Uint32Array[];
  /** Tokens to append to each prompt, unless `stop` comes before. */
  maxNewTokens: number;
}

/** How to follow the writing; nothing here changes what is written. */
export interface GenerateControls {
  /** Ends the writing early: `generate` then throws the signal's reason. */
  signal?: AbortSignal;
  /** Called after every read-back with the tokens each sequence gained, possibly none. */
  onTokens?: (fresh: Uint32Array[]) => void;
  /** Tokens to write between read-backs; adapted to about {@linkcode CHUNK_MS} unless given. */
  chunk?: number;
}

/** Time between read-backs, in ms: a fence costs 11, and progress must be seen. */
export const CHUNK_MS = 100;

/** Most tokens between read-backs. */
const LONGEST_CHUNK = 64;

/** Window lengths are multiples of this: forward runs on whole windows. */
const WINDOW = 16;

/** A forward pass over B windows of T tokens, and the choice of the next token. */
interface Step {
  readonly T: number;
  readonly tokens: Tensor;
  readonly dispatches: Dispatch[];
}

/** Buffers for up to `rows` tokens in `sequences` sequences, and the steps that use them. */
interface Room extends Disposable {
  readonly rows: number;
  readonly sequences: number;
  step(B: number, T: number): Step;
}

/**
 * Continues prompts with a model. Its buffers grow with the longest request and are kept; dispose it
 * before the model.
 *
 * Each token is a forward pass over all tokens so far, in a window that is rounded up: what stands
 * after a sequence's last token cannot reach it, because attention is causal.
 */
export class Generator implements Disposable {
  readonly #model: Gpt2;
  readonly #pieceBytes: number;
  #room: Room | undefined;
  #busy = false;

  /**
   * @param model The model to sample from, with its gates and weights as they are at each call.
   * @param pieceBytes Most bytes of the head's table to bind at once; never more than one binding.
   */
  constructor(model: Gpt2, { pieceBytes = Infinity }: { pieceBytes?: number } = {}) {
    this.#model = model;
    this.#pieceBytes = Math.min(pieceBytes, model.gpu.maxBinding);
  }

  /**
   * Continues every prompt. A sequence's tokens depend on the seed, its place in `prompts` and its
   * own tokens only: not on its neighbours, nor on how often the host looks.
   *
   * @returns Each prompt with its continuation, which ends with `stop` where that came.
   * @throws {RangeError} If a prompt is empty, holds an unknown token, or leaves no room for the new
   *   ones in the model's positions; or an option is out of range.
   * @throws {GpuError} If the model's logits are not finite.
   */
  async generate(
    { prompts, maxNewTokens, ...sampling }: GenerateOptions,
    { signal, onTokens, chunk }: GenerateControls = {},
  ): Promise<Uint32Array[]> {
    const { gpu, config } = this.#model;
    if (chunk !== undefined && !(Number.isInteger(chunk) && chunk >= 1)) {
      throw new RangeError(`chunk must be a whole number of 1 or more: ${chunk}`);
    }
    const longest = checkPrompts(prompts, maxNewTokens, config);
    const settings = samplingSettings(sampling, config.V);
    signal?.throwIfAborted();
    if (this.#busy) {
      throw new TypeError("This generator is writing already: wait for it, or make another");
    }
    this.#busy = true;
    try {
      const B = prompts.length;
      const room = this.#reserve(B, windowFor(longest + maxNewTokens, config.T));
      const out = prompts.map((prompt) => [...prompt]);
      let step = room.step(B, windowFor(longest + 1, config.T));
      room.begin(step, prompts, { settings, maxNewTokens });

      let count = chunk ?? 1; // the first one may have to compile
      for (let written = 0; written < maxNewTokens;) {
        signal?.throwIfAborted();
        const start = performance.now();
        const end = Math.min(written + count, maxNewTokens);
        for (; written < end; written++) {
          const T = windowFor(longest + written + 1, config.T);
          if (T > step.T) step = room.widen(step, room.step(B, T));
          submit(gpu, step.dispatches);
        }
        const { fresh, ended } = await room.look(step, out);
        fresh.forEach((tokens, b) => out[b].push(...tokens));
        onTokens?.(fresh);
        if (ended) break;
        if (chunk === undefined) count = adapt(count, performance.now() - start);
      }
      return out.map((tokens) => Uint32Array.from(tokens));
    } finally {
      this.#busy = false;
    }
  }
}
