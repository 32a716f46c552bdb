/** Launchers of `shaders/sampling.wgsl`. @module */
import page from "../../shaders/sampling.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";

const op = "sampling";

/** Numbers kept for each sequence in `cursors`; the page lists them. */
export const CURSOR = 4;

/** Numbers in `settings`. */
export const SAMPLING_SETTINGS = 8;

/** Scratch numbers for each sequence; `tops` and `bins` begin as zeros. */
export const SAMPLING_SCRATCH = { tops: 1, bins: 4 * 256, searches: 8 } as const;

/** Largest vocabulary whose weights the integers of the page can sum. */
const LARGEST_V = 2 ** 17 - 1;

/** No token: where it stands for `stop`, nothing ends a sequence early. */
const NONE = 0xffffffff;

/** How the next token is chosen; the defaults draw from the model's own distribution. */
export interface SamplingOptions {
  /** Divides the logits; below 1 favours likely tokens, 0 always takes the likeliest. 1 unless given. */
  temperature?: number;
  /** Draw from this many of the likeliest tokens; 0, the default, from all. */
  topK?: number;
  /** Draw from the fewest likeliest tokens that together have this probability; 1 unless given. */
  topP?: number;
  /**
   * Divides the positive logits of tokens that the sequence holds, its prompt included, and
   * multiplies the negative: above 1 they become less likely. 1 unless given.
   */
  repetitionPenalty?: number;
  /** Whole number from 0 to 2^53 - 1: the same seed draws the same tokens. 0 unless given. */
  seed?: number;
  /** Token that ends a sequence; it is still appended. */
  stop?: number;
  /** Only ids below this are chosen, where the tokenizer knows fewer than the model has. */
  vocabSize?: number;
  /** Ids below `vocabSize` that are never chosen, because no token has them; none unless given. */
  holes?: Uint32Array;
}

/** The searches that find a token, in order; see the page. */
export type SamplingSearches = readonly ("top-k" | "top-p" | "draw")[];

const KIND = { "top-k": 0, "top-p": 1, "draw": 2 } as const;

/** Options as the device wants them. */
export interface SamplingRule {
  /** Which searches are needed. */
  searches: SamplingSearches;
  /** Whether tokens that a sequence holds are penalised. */
  penalises: boolean;
  /** The page's `Settings`. */
  settings: Uint32Array;
  /** Ids that are never chosen. */
  holes: Uint32Array;
}

/**
 * Checks options and packs them.
 *
 * @param V Vocabulary size of the model.
 * @throws {RangeError} If one is out of its range.
 */
export function samplingRule(
  { temperature = 1, topK = 0, topP = 1, seed = 0, stop, ...rest }: SamplingOptions,
  V: number,
): SamplingRule {
  const { vocabSize = V, repetitionPenalty = 1, holes = new Uint32Array() } = rest;
  const whole = (name: string, value: number, least: number, most: number) => {
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      throw new RangeError(`${name} must be a whole number from ${least} to ${most}: ${value}`);
    }
  };
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new RangeError(`temperature must be 0 or more: ${temperature}`);
  }
  if (!(topP >= 0 && topP <= 1)) throw new RangeError(`top_p must be between 0 and 1: ${topP}`);
  const penalty = Math.fround(repetitionPenalty);
  if (!(penalty > 0 && penalty < Infinity)) {
    throw new RangeError(`repetition_penalty must be above 0: ${repetitionPenalty}`);
  }
  whole("top_k", topK, 0, Number.MAX_SAFE_INTEGER);
  whole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  if (stop !== undefined) whole("stop token", stop, 0, V - 1);
  whole("vocabulary size", vocabSize, 1, V);
  for (const id of holes) whole("a number without a token", id, 0, vocabSize - 1);
  if (holes.length >= vocabSize) throw new RangeError("There is no token that could be chosen");

  const greedy = temperature === 0 || topK === 1;
  const k = greedy ? 1 : topK === 0 ? vocabSize : Math.min(topK, vocabSize);
  const words = new DataView(new ArrayBuffer(SAMPLING_SETTINGS * 4));
  [seed >>> 0, Math.floor(seed / 2 ** 32), stop ?? NONE, vocabSize, k]
    .forEach((word, i) => words.setUint32(i * 4, word, true));
  words.setFloat32(20, topP, true);
  // finite, so that 0 times it is 0; greedy looks at no weight
  words.setFloat32(28, penalty, true);
  words.setFloat32(24, greedy ? 1 : Math.min(1 / temperature, 1e30), true);
  const searches: SamplingSearches = greedy ? ["top-k"] : [
    ...(k < vocabSize ? ["top-k"] as const : []),
    ...(Math.fround(topP) < 1 ? ["top-p"] as const : []),
    "draw",
  ];
  return { searches, penalises: penalty !== 1, settings: new Uint32Array(words.buffer), holes };
}

/** out[b] = inp[b, last[b]]: the row of each sequence's last token. inp (B, T, C), out (B, C). */
export function samplingGather(
  plan: Plan,
  tensors: Record<"inp" | "cursors" | "out", Tensor>,
  shape: { B: number; T: number; C: number },
): Dispatch {
  return plan.call({ op, page, entry: "gather" }, {
    tensors,
    params: shape,
    grid: flatGrid(shape.B * shape.C, 64),
  });
}

/** Tensors of {@linkcode samplingNext}; the last three are scratch. */
export type SamplingTensors = Record<
  "logits" | "settings" | "cursors" | "tokens" | keyof typeof SAMPLING_SCRATCH,
  Tensor
>;

/**
 * Chooses the next token of every sequence that has not ended, appends it to `tokens` (B, T) and
 * moves its cursor on. Where tokens are penalised, `logits` holds the penalised ones afterwards.
 * Those of `holes` are written over.
 *
 * @param tensors Logits are (B, stride); the settings say how many columns count.
 * @param searches Those of the rule whose settings are on the device.
 * @throws {RangeError} If the vocabulary is larger than 131,071.
 */
export function samplingNext(
  plan: Plan,
  { logits, settings, cursors, tokens, tops, bins, searches: scratch, holes }:
    & SamplingTensors
    & { holes?: Tensor | undefined },
  { B, T, V, stride, searches, penalises }: {
    B: number;
    T: number;
    V: number;
    stride: number;
  } & Pick<SamplingRule, "searches" | "penalises">,
): Dispatch[] {
  if (V > LARGEST_V) {
    throw new RangeError(`Cannot sample from more than ${LARGEST_V} tokens: ${V}`);
  }
  // four digits of the key, then those of the id
  const idDigits = Math.max(1, Math.ceil(Math.log2(V) / 8));
  const digits = [24, 16, 8, 0].map((shift) => ({ by_key: 1, shift }));
  for (let i = idDigits - 1; i >= 0; i--) digits.push({ by_key: 0, shift: 8 * i });
  const RESTS = 2 ** (8 * idDigits) - 1;
  /** The bits of a word whose lowest `bits` are not yet found. */
  const found = (word: number, bits: number) => word - 2 ** bits + 1;

  const grid = flatGrid(B * V, 64);
  const highest = plan.call({ op, page, entry: "highest" }, {
    tensors: { logits, settings, tops },
    params: { B, V, stride },
    grid,
  });
  const rounds = searches.flatMap((kind, search) =>
    digits.flatMap(({ by_key, shift }, digit) => {
      const [START, END] = [digit === 0, digit === digits.length - 1];
      const FULL = START && search === 0, FINISH = END && search === searches.length - 1;
      const draws = START && kind === "draw";
      const constants = Object.fromEntries(
        Object.entries({ START, END, FULL, FINISH }).map(([name, is]) => [name, is ? 1 : 0]),
      );
      return [
        plan.call({ op, page, entry: "tally" }, {
          tensors: { logits, settings, tops, searches: scratch, bins },
          params: {
            B,
            V,
            stride,
            by_key,
            shift,
            key_mask: by_key ? found(NONE, shift + 8) : NONE,
            rest_mask: by_key ? 0 : found(RESTS, shift + 8),
          },
          grid,
        }),
        plan.call({
          op,
          page,
          entry: "narrow",
          constants: { ...constants, KIND: KIND[kind], RESTS },
        }, {
          tensors: {
            bins,
            searches: scratch,
            ...((START || FINISH) && { settings }),
            ...((draws || FINISH) && { cursors }),
            ...(FINISH && { tops, tokens }),
          },
          params: { B, T, by_key, shift },
          grid: [Math.ceil(B / 64)],
        }),
      ];
    })
  );
  const banned = holes === undefined ? [] : [
    plan.call({ op, page, entry: "ban" }, {
      tensors: { holes, logits },
      params: { B, N: holes.size, stride },
      grid: flatGrid(B * holes.size, 64),
    }),
  ];
  if (!penalises) return [...banned, highest, ...rounds];
  const penalise = plan.call({ op, page, entry: "penalise" }, {
    tensors: { logits, settings, cursors, tokens },
    params: { B, T, stride },
    grid: flatGrid(B * T, 64),
  });
  return [penalise, ...banned, highest, ...rounds];
}
