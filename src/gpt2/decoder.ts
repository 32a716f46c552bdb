/**
 * The device's side of writing text: prompts go through the model once, in windows, and leave their
 * keys and values in a cache; then each token is a pass over itself alone.
 *
 * @module
 */
import { type Dispatch, Plan } from "../gpu/kernel.ts";
import { first, freeTensor, makeTensor, slice, type Tensor, upload } from "../gpu/tensor.ts";
import { cacheAttend, cacheStore, decodeEmbed } from "../kernels/decode.ts";
import { pieceOf, tablePieces } from "../kernels/embedding.ts";
import { gemv } from "../kernels/gemv.ts";
import {
  CURSOR,
  SAMPLING_SCRATCH,
  SAMPLING_SETTINGS,
  samplingGather,
  samplingNext,
  type SamplingRule,
} from "../kernels/sampling.ts";
import { Activations } from "./activations.ts";
import type { Gpt2Config } from "./config.ts";
import { forward, headWeight } from "./forward.ts";
import type { Gpt2 } from "./model.ts";

/** How much is to be written. */
export interface DecoderShape {
  /** Sequences. */
  B: number;
  /** Places of a prompt: the longest's, or more. */
  T: number;
  /** Places of a sequence, prompt and continuation: the longest's, or more. */
  S: number;
}

/** Lengths are rounded up to multiples of this, so that few different ones are bound. */
const ROUND = 16;

/** What a request is written in: its longest prompt decides. */
export function decoderShape(
  { sequences: B, longest, maxNewTokens }: {
    sequences: number;
    longest: number;
    maxNewTokens: number;
  },
  { T }: Gpt2Config,
): DecoderShape {
  const rounded = (length: number) => Math.min(T, Math.ceil(length / ROUND) * ROUND);
  return { B, T: rounded(longest), S: rounded(longest + maxNewTokens) };
}

/** A request's tensors. */
interface Texts extends DecoderShape {
  /** (B, T). */
  readonly prompts: Tensor;
  /** (B, S). */
  readonly tokens: Tensor;
  /** Numbers that are never chosen, where there are some. */
  readonly holes: Tensor | undefined;
}

/** A request, bound to its tensors. */
export interface Writing extends Texts {
  /** All prompts, and the first token of each continuation. */
  readonly prefill: readonly Dispatch[];
  /** One more token of each sequence. */
  readonly decode: readonly Dispatch[];
}

/** Buffers for up to so many sequences, prompts and places, and what was bound to them so far. */
export class Decoder implements Disposable {
  readonly #model: Gpt2;
  readonly #most: DecoderShape;
  readonly #pieceBytes: number;
  readonly #stride: number;
  readonly #owned = new DisposableStack();
  readonly #plan: Plan;
  /** Activations of whole prompts, and of one token a sequence. */
  readonly #window: Activations;
  readonly #token: Activations;
  readonly #prompts: Tensor;
  readonly #tokens: Tensor;
  /** Keys and values of each layer (B, S, 2A). */
  readonly #caches: Tensor[];
  readonly #scores: Tensor;
  readonly #last: Tensor;
  readonly #logits: Tensor;
  readonly #cursors: Tensor;
  readonly #settings: Tensor;
  readonly #scratch: Record<keyof typeof SAMPLING_SCRATCH, Tensor>;
  readonly #writings = new Map<string, Writing>();

  /**
   * @param pieceBytes Most bytes of the head's table to bind at once.
   * @throws {RangeError} If there are more sequences than one binding can hold.
   * @throws {GpuError} If a buffer exceeds the adapter's limits.
   */
  constructor(model: Gpt2, most: DecoderShape, pieceBytes: number) {
    const { gpu, config: { C, V } } = model, { B, T, S } = most;
    this.#model = model;
    this.#most = most;
    this.#pieceBytes = pieceBytes;
    this.#stride = Math.ceil(V / 4) * 4;
    checkSequences(model, most);
    try {
      this.#plan = this.#owned.use(new Plan(gpu));
      // their own logits are not used: the sampled rows' are enough
      const passes = { B, training: false, logitBytes: 1 };
      this.#window = this.#owned.use(new Activations(model, { ...passes, T }));
      this.#token = this.#owned.use(new Activations(model, { ...passes, T: 1 }));
      this.#prompts = this.#tensor("prompts", B * T);
      this.#tokens = this.#tensor("tokens", B * S);
      this.#caches = model.live.map((_, l) =>
        this.#tensor(`cache ${l}`, B * S * cacheWidth(model, l))
      );
      this.#scores = this.#tensor(
        "scores",
        B * S * Math.max(...model.live.map(({ length }) => length)),
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

  /** Whether a request fits. */
  holds({ B, T, S }: DecoderShape): boolean {
    return B <= this.#most.B && B * T <= this.#window.rows && B * S <= this.#tokens.size;
  }

  /** Puts the prompts into their windows and the cursors on their last tokens. */
  begin(
    shape: DecoderShape,
    { prompts, maxNewTokens, rule, streams }: {
      prompts: readonly Uint32Array[];
      maxNewTokens: number;
      rule: SamplingRule;
      streams?: readonly number[] | undefined;
    },
  ): Writing {
    const { gpu } = this.#model, { B, T, S } = shape;
    const writing = this.#writing(shape, rule);
    const windows = new Uint32Array(B * T), tokens = new Uint32Array(B * S);
    const cursors = new Uint32Array(B * CURSOR);
    prompts.forEach((prompt, b) => {
      windows.set(prompt, b * T);
      tokens.set(prompt, b * S);
      const last = prompt.length - 1;
      cursors.set([last, last + maxNewTokens, 0, streams?.[b] ?? b], b * CURSOR);
    });
    upload(gpu, writing.prompts, windows);
    upload(gpu, writing.tokens, tokens);
    upload(gpu, this.#cursors, cursors);
    upload(gpu, this.#settings, rule.settings);
    if (writing.holes) upload(gpu, writing.holes, rule.holes);
    return writing;
  }

  /** What a request needs, bound at its first use. */
  #writing(shape: DecoderShape, rule: SamplingRule): Writing {
    const { B, T, S } = shape;
    const key = [B, T, S, ...rule.searches, rule.penalises, rule.holes.length].join(" ");
    let writing = this.#writings.get(key);
    if (writing === undefined) {
      const prompts = first(this.#prompts, B * T), tokens = first(this.#tokens, B * S);
      const { length } = rule.holes;
      const holes = length > 0 ? this.#tensor("numbers without a token", length) : undefined;
      const texts = { ...shape, prompts, tokens, holes };
      const sample = this.#sample(texts, rule);
      writing = {
        ...texts,
        prefill: [...this.#prefill(texts), ...sample],
        decode: [...this.#decode(texts), ...sample],
      };
      this.#writings.set(key, writing);
    }
    return writing;
  }

  /** From the prompts to the cache and the rows of their last tokens. */
  #prefill({ B, T, S, prompts }: Texts): Dispatch[] {
    const plan = this.#plan, model = this.#model, { C, HS } = model.config;
    // rows lie side by side, so the front of each tensor serves fewer of them
    const { layers, stats, lnf, meanf, rstdf } = this.#window;
    const acts = { B, T, rows: B * T, tokens: prompts, layers, stats, lnf, meanf, rstdf };
    const afterLayer = (l: number) => {
      const NH = model.live[l].length, { qkv } = layers[l];
      return [cacheStore(plan, { qkv, cache: this.#caches[l] }, { B, T, S, NH, HS })];
    };
    return [
      ...forward(plan, model, acts, { afterLayer }),
      samplingGather(plan, { inp: lnf, cursors: this.#cursors, out: this.#last }, { B, T, C }),
    ];
  }

  /** From each sequence's last token to its row. */
  #decode({ B, S, tokens }: Texts): Dispatch[] {
    const plan = this.#plan, model = this.#model, { C, V, HS } = model.config;
    const { layers, stats, meanf, rstdf } = this.#token, cursors = this.#cursors;
    const acts = { B, T: 1, rows: B, tokens, layers, stats, lnf: this.#last, meanf, rstdf };
    const wte = model.param("wte.weight"), wpe = model.param("wpe.weight");
    const pieces = tablePieces(V, C, model.gpu.maxBinding);
    const embed = decodeEmbed(
      plan,
      { tokens, cursors, wte, wpe, out: layers[0].pre },
      { B, S, C, pieces },
    );
    const attend = (l: number) => {
      const NH = model.live[l].length, head0 = model.head0[l], shape = { B, S, NH, HS };
      const { qkv, zg } = layers[l], cache = this.#caches[l];
      return [
        cacheStore(plan, { qkv, cache, cursors }, { ...shape, T: 1 }),
        ...cacheAttend(
          plan,
          { qkv, cache, cursors, gates: model.gates, scores: this.#scores, zg },
          { ...shape, head0 },
        ),
      ];
    };
    return forward(plan, model, acts, { embed, attend, product: gemv });
  }

  /** From the last tokens' rows to their logits, and the next tokens. */
  #sample(
    { B, S, tokens, holes }: Texts,
    { searches, penalises }: SamplingRule,
  ): Dispatch[] {
    const plan = this.#plan, model = this.#model, { C, V } = model.config;
    const logits = this.#logits, stride = this.#stride;
    const table = model.param(headWeight(model));
    return [
      ...tablePieces(V, C, this.#pieceBytes).map((piece) => {
        const out = slice(logits, piece.V0, logits.size - piece.V0);
        return gemv(plan, { a: this.#last, b: pieceOf(table, piece, C), out }, {
          product: "nt",
          M: B,
          N: piece.V1 - piece.V0,
          K: C,
          outStride: stride,
        });
      }),
      ...samplingNext(
        plan,
        {
          logits,
          settings: this.#settings,
          cursors: this.#cursors,
          tokens,
          holes,
          ...this.#scratch,
        },
        { B, T: S, V, stride, searches, penalises },
      ),
    ];
  }

  /** Lets a sequence end where it is, at `length` tokens. */
  end(b: number, length: number): void {
    const last = length - 1;
    upload(this.#model.gpu, this.#cursors, Uint32Array.of(last, last, 0, 0), b * CURSOR);
  }

  /** Reads what was written since the host had `known`, and which sequences have ended. */
  async look(
    { B, S, tokens }: Writing,
    known: readonly number[][],
  ): Promise<{ fresh: Uint32Array; ended: boolean }[]> {
    const range = ({ buffer, offset }: Tensor, size: number) => ({ buffer, offset, size });
    const [windows, cursors] = (await this.#model.gpu.read([
      range(tokens, 4 * B * S),
      range(this.#cursors, 4 * B * CURSOR),
    ])).map((bytes) => new Uint32Array(bytes));
    return known.map(({ length }, b) => {
      const [last, end, fault] = cursors.subarray(b * CURSOR);
      if (fault !== 0) {
        throw new RangeError(
          `The logits after token ${last} of sequence ${b} are not finite: the model has diverged`,
        );
      }
      return { fresh: windows.slice(b * S + length, b * S + last + 1), ended: last === end };
    });
  }

  dispose(): void {
    this.#writings.clear();
    this.#owned.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Numbers that a layer keeps of one token: its live heads' keys and values. */
function cacheWidth({ live, config: { HS } }: Gpt2, layer: number): number {
  return 2 * live[layer].length * HS;
}

/** @throws {RangeError} If logits, a layer's cache or its widest activation exceed a binding. */
function checkSequences(model: Gpt2, { B, T, S }: DecoderShape): void {
  const { gpu, live, config: { C, F, V } } = model;
  const kept = Math.max(...live.map((_, l) => cacheWidth(model, l)));
  const widest = Math.max(C, F, 1.5 * kept); // queries, keys and values
  const each = 4 * Math.max(Math.ceil(V / 4) * 4, S * kept, T * widest);
  const most = Math.floor(gpu.maxBinding / each);
  if (B > most) {
    throw new RangeError(
      `${B} prompts of up to ${T} tokens, in texts of up to ${S}, are too many for this adapter: ` +
        `give at most ${most}`,
    );
  }
}
