/**
 * Text from a model: forward, sample, append, and again, all on the device; the host looks only
 * once in many tokens.
 *
 * @module
 */
import { type Dispatch, Plan, submit } from "../gpu/kernel.ts";
import { freeTensor, makeTensor, slice, type Tensor, upload } from "../gpu/tensor.ts";
import { pieceOf, tablePieces } from "../kernels/embedding.ts";
import { matmul } from "../kernels/matmul.ts";
import {
  CURSOR,
  SAMPLING_SCRATCH,
  SAMPLING_SETTINGS,
  samplingGather,
  samplingNext,
  type SamplingOptions,
  type SamplingRule,
  samplingRule,
  type SamplingSearches,
} from "../kernels/sampling.ts";
import { Activations } from "./activations.ts";
import type { Gpt2Config } from "./config.ts";
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

/** Window lengths are multiples of this: forward runs on whole windows. */
const WINDOW = 16;

/**
 * Continues prompts with a model. Buffers are made at the first call, kept, and made anew where a
 * call needs more. Dispose it before the model.
 *
 * Each token is a forward pass over all tokens so far, in a window that is rounded up: what stands
 * behind a sequence's last token cannot reach it, because attention is causal.
 */
export class Generator implements Disposable {
  readonly #model: Gpt2;
  readonly #pieceBytes: number;
  #room: Room | undefined;
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
   * Continues every prompt. What a sequence becomes depends on the seed, its place in `prompts` and
   * its own tokens: not on its neighbours, nor on how often the host looks.
   *
   * @returns Each prompt with its continuation; where `stop` came, it is the last token.
   * @throws {RangeError} If a prompt is empty, holds an unknown token, or leaves no room for the new
   *   ones in the model's positions; if an option is out of range; if the logits are not finite.
   * @throws {TypeError} If an earlier call has not returned yet.
   */
  async generate(
    { prompts, maxNewTokens, ...sampling }: GenerateOptions,
    { signal, onTokens, chunk }: GenerateControls = {},
  ): Promise<Uint32Array[]> {
    const { gpu, config } = this.#model;
    const longest = checkPrompts(prompts, maxNewTokens, config);
    const rule = samplingRule(sampling, config.V);
    if (chunk !== undefined && !(Number.isInteger(chunk) && chunk >= 1)) {
      throw new RangeError(`chunk must be a whole number of 1 or more: ${chunk}`);
    }
    if (this.#busy) {
      throw new TypeError("This generator is still writing: wait for it, or make another");
    }
    this.#busy = true;
    try {
      const B = prompts.length;
      const room = this.#reserve(B, windowOf(longest + maxNewTokens, config));
      let step = room.step(B, windowOf(longest + 1, config), rule.searches);
      room.begin(step, { prompts, maxNewTokens, rule });

      const out = prompts.map((prompt) => [...prompt]);
      let count = chunk ?? 1; // the first may have to compile
      for (let written = 0; written < maxNewTokens;) {
        signal?.throwIfAborted();
        const start = performance.now();
        const end = Math.min(written + count, maxNewTokens);
        for (; written < end; written++) {
          // the longest has longest + written tokens, and gains one
          const T = windowOf(longest + written + 1, config);
          if (T > step.T) step = room.widen(step, T);
          submit(gpu, step.dispatches);
        }
        const { fresh, ended } = await room.look(step, out);
        fresh.forEach((tokens, b) => out[b].push(...tokens));
        onTokens?.(fresh);
        if (ended) break;
        count = chunk ?? adapted(count, performance.now() - start);
      }
      return out.map((tokens) => Uint32Array.from(tokens));
    } finally {
      this.#busy = false;
    }
  }

  #reserve(B: number, T: number): Room {
    if (!this.#room?.holds(B, T)) {
      this.#room?.dispose();
      this.#room = undefined;
      this.#room = new Room(this.#model, { B, T, pieceBytes: this.#pieceBytes });
    }
    return this.#room;
  }

  /** Frees the buffers. The generator may be used again, and makes new ones. */
  dispose(): void {
    this.#room?.dispose();
    this.#room = undefined;
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
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
  return Math.max(...prompts.map(({ length }) => length));
}

function windowOf(length: number, { T }: Gpt2Config): number {
  return Math.min(T, Math.ceil(length / WINDOW) * WINDOW);
}

/** How many tokens to write next, where the last `count` took `ms`. */
function adapted(count: number, ms: number): number {
  const fitting = Math.floor(count * CHUNK_MS / Math.max(1, ms));
  return Math.max(1, Math.min(fitting, 4 * count, LONGEST_CHUNK));
}

/** One more token for B sequences, in windows of T. */
interface Step {
  readonly B: number;
  readonly T: number;
  /** (B, T). */
  readonly tokens: Tensor;
  readonly searches: SamplingSearches;
  readonly dispatches: readonly Dispatch[];
}

/** The buffers of a generator, and its steps over different windows. */
class Room implements Disposable {
  readonly #model: Gpt2;
  readonly #B: number;
  readonly #pieceBytes: number;
  readonly #stride: number;
  readonly #owned = new DisposableStack();
  readonly #plan: Plan;
  readonly #acts: Activations;
  readonly #last: Tensor;
  readonly #logits: Tensor;
  readonly #cursors: Tensor;
  readonly #settings: Tensor;
  readonly #scratch: Record<keyof typeof SAMPLING_SCRATCH, Tensor>;
  readonly #steps = new Map<string, Step>();

  constructor(
    model: Gpt2,
    { B, T, pieceBytes }: { B: number; T: number; pieceBytes: number },
  ) {
    const { gpu, config: { C, V } } = model;
    this.#model = model;
    this.#B = B;
    this.#pieceBytes = pieceBytes;
    this.#stride = Math.ceil(V / 4) * 4;
    const most = Math.floor(gpu.maxBinding / (4 * this.#stride));
    if (B > most) {
      throw new RangeError(`${B} prompts are too many for this adapter: give at most ${most}`);
    }
    try {
      this.#plan = this.#owned.use(new Plan(gpu));
      // its own logits are not used: the sampled rows' are enough
      this.#acts = this.#owned.use(
        new Activations(model, { B, T, training: false, logitBytes: 1 }),
      );
      this.#last = this.#tensor("last rows", B * C);
      this.#logits = this.#tensor("last logits", B * this.#stride);
      this.#cursors = this.#tensor("cursors", B * CURSOR);
      this.#settings = this.#tensor("sampling settings", SAMPLING_SETTINGS);
      this.#scratch = {
        tops: this.#tensor("sampling tops", B * SAMPLING_SCRATCH.tops),
        bins: this.#tensor("sampling bins", B * SAMPLING_SCRATCH.bins),
        searches: this.#tensor("sampling searches", B * SAMPLING_SCRATCH.searches),
      };
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  #tensor(label: string, size: number): Tensor {
    const { gpu } = this.#model;
    return this.#owned.adopt(makeTensor(gpu, label, size), (tensor) => freeTensor(gpu, tensor));
  }

  /** Whether B windows of T fit. */
  holds(B: number, T: number): boolean {
    return B <= this.#B && B * T <= this.#acts.rows;
  }

  /** The step of B windows of T, made at its first use. */
  step(B: number, T: number, searches: SamplingSearches): Step {
    const key = `${B} x ${T}, ${searches}`;
    let step = this.#steps.get(key);
    if (step === undefined) {
      const windows = { B, T, tokens: this.#tensor(`tokens ${key}`, B * T), searches };
      step = { ...windows, dispatches: this.#dispatches(windows) };
      this.#steps.set(key, step);
    }
    return step;
  }

  #dispatches({ B, T, tokens, searches }: Omit<Step, "dispatches">): Dispatch[] {
    const model = this.#model, plan = this.#plan, { C, V } = model.config;
    const last = this.#last, logits = this.#logits, cursors = this.#cursors;
    const stride = this.#stride;
    // rows lie side by side, so the front of each tensor serves fewer of them
    const { layers, stats, lnf, meanf, rstdf } = this.#acts;
    const acts = { B, T, rows: B * T, tokens, layers, stats, lnf, meanf, rstdf };
    const table = model.param(headWeight(model));
    return [
      ...forward(plan, model, acts),
      samplingGather(plan, { inp: acts.lnf, cursors, out: last }, { B, T, C }),
      ...tablePieces(V, C, this.#pieceBytes).map((piece) => {
        const out = slice(logits, piece.V0, logits.size - piece.V0);
        return matmul(plan, { a: last, b: pieceOf(table, piece, C), out }, {
          product: "nt",
          M: B,
          N: piece.V1 - piece.V0,
          K: C,
          outStride: stride,
        });
      }),
      ...samplingNext(
        plan,
        { logits, settings: this.#settings, cursors, tokens, ...this.#scratch },
        { B, T, V, stride, searches },
      ),
    ];
  }

  /** Puts the prompts into a step's windows and the cursors on their last tokens. */
  begin(
    { T, tokens }: Step,
    { prompts, maxNewTokens, rule }: {
      prompts: readonly Uint32Array[];
      maxNewTokens: number;
      rule: SamplingRule;
    },
  ): void {
    const { gpu } = this.#model;
    const windows = new Uint32Array(prompts.length * T);
    const cursors = new Uint32Array(prompts.length * CURSOR);
    prompts.forEach((prompt, b) => {
      windows.set(prompt, b * T);
      const last = prompt.length - 1;
      cursors.set([last, last + maxNewTokens], b * CURSOR);
    });
    upload(gpu, tokens, windows);
    upload(gpu, this.#cursors, cursors);
    upload(gpu, this.#settings, rule.settings);
  }

  /** Goes over to windows of T, and takes the tokens along. */
  widen(from: Step, T: number): Step {
    const { device } = this.#model.gpu;
    const to = this.step(from.B, T, from.searches);
    const encoder = device.createCommandEncoder();
    const row = (b: number, step: Step) => step.tokens.offset + 4 * b * step.T;
    for (let b = 0; b < from.B; b++) {
      encoder.copyBufferToBuffer(
        from.tokens.buffer,
        row(b, from),
        to.tokens.buffer,
        row(b, to),
        4 * from.T,
      );
    }
    device.queue.submit([encoder.finish()]);
    return to;
  }

  /** Reads what was written since the host had `known`, and whether every sequence has ended. */
  async look(
    { B, T, tokens }: Step,
    known: readonly number[][],
  ): Promise<{ fresh: Uint32Array[]; ended: boolean }> {
    const range = ({ buffer, offset }: Tensor, size: number) => ({ buffer, offset, size });
    const [windows, cursors] = (await this.#model.gpu.read([
      range(tokens, 4 * B * T),
      range(this.#cursors, 4 * B * CURSOR),
    ])).map((bytes) => new Uint32Array(bytes));
    let ended = true;
    const fresh = known.map(({ length }, b) => {
      const [last, end, fault] = cursors.subarray(b * CURSOR);
      if (fault !== 0) {
        throw new RangeError(
          `The logits after token ${last} of sequence ${b} are not finite: the model has diverged`,
        );
      }
      ended &&= last === end;
      return windows.slice(b * T + length, b * T + last + 1);
    });
    return { fresh, ended };
  }

  dispose(): void {
    this.#steps.clear();
    this.#owned.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
