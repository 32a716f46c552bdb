/** Launchers of `shaders/sampling.wgsl`. @module */
import text from "../../shaders/sampling.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { withCommon } from "./common.ts";

const op = "sampling";
const page = withCommon(text);

/** Numbers kept for each sequence in `cursors`; the page lists them. */
export const CURSOR = 4;

/** Numbers in `settings`. */
export const SAMPLING_SETTINGS = 8;

/** No token: where it stands for `stop`, nothing stops a sequence early. */
const NONE = 0xffffffff;

/** How the next token is chosen; the defaults draw from the model's own distribution. */
export interface SamplingOptions {
  /** Divides the logits; below 1 favours likely tokens, 0 always takes the likeliest. 1 unless given. */
  temperature?: number;
  /** Draw from this many of the likeliest tokens; 0, the default, from all. */
  topK?: number;
  /** Draw from the fewest likeliest tokens that together have this probability; 1 unless given. */
  topP?: number;
  /** Whole number from 0 to 2^53 - 1: the same seed draws the same tokens. 0 unless given. */
  seed?: number;
  /** Token that ends a sequence; it is still appended. */
  stop?: number;
  /** Only ids below this are chosen, where the tokenizer knows fewer than the model has. */
  vocabSize?: number;
}

/**
 * Checks the options and packs them as the page's `Settings`.
 *
 * @param V Vocabulary size of the model.
 * @throws {RangeError} If one is out of its range.
 */
export function samplingSettings(
  { temperature = 1, topK = 0, topP = 1, seed = 0, stop, vocabSize }: SamplingOptions,
  V: number,
): Uint32Array {
  const whole = (name: string, value: number, least: number, most: number) => {
    if (!Number.isSafeInteger(value) || value < least || value > most) {
      throw new RangeError(`${name} must be a whole number from ${least} to ${most}: ${value}`);
    }
  };
  if (!(temperature >= 0 && temperature < Infinity)) {
    throw new RangeError(`temperature must be 0 or more: ${temperature}`);
  }
  if (!(topP >= 0 && topP <= 1)) throw new RangeError(`top_p must be between 0 and 1: ${topP}`);
  whole("top_k", topK, 0, Number.MAX_SAFE_INTEGER);
  whole("seed", seed, 0, Number.MAX_SAFE_INTEGER);
  if (stop !== undefined) whole("stop token", stop, 0, V - 1);
  if (vocabSize !== undefined) whole("vocabulary size", vocabSize, 1, V);

  const greedy = temperature === 0;
  const k = greedy ? 1 : topK === 0 ? NONE : Math.min(topK, NONE);
  const words = new DataView(new ArrayBuffer(SAMPLING_SETTINGS * 4));
  [seed >>> 0, Math.floor(seed / 2 ** 32), stop ?? NONE, vocabSize ?? V, k]
    .forEach((word, i) => words.setUint32(i * 4, word, true));
  words.setFloat32(20, topP, true);
  // capped so that 0 times it is 0
  words.setFloat32(24, greedy ? 1 : Math.min(1 / temperature, 1e30), true);
  return new Uint32Array(words.buffer);
}

/** out[b] = inp[b, last[b]]: the row of each sequence's last token. inp (B, T, C), out (B, C). */
export function samplingGather(
  plan: Plan,
  tensors: Record<"inp" | "cursors" | "out", Tensor>,
  shape: { B: number; T: number; C: number },
): Dispatch {
  return plan.call({ op, page, entry: "gather", constants: { VEC: 1, LANES: 1, GROUPS: 1 } }, {
    tensors,
    params: shape,
    grid: flatGrid(shape.B * shape.C, 64),
  });
}

/**
 * Chooses the next token of every sequence that has not ended, appends it to `tokens` (B, T) and
 * moves its cursor on. Logits are (B, stride); the settings say how many columns count. `lanes`, a
 * power of two, is how many threads share a sequence: the adapter's usual number unless given.
 */
export function samplingNext(
  plan: Plan,
  tensors: Record<"logits" | "settings" | "cursors" | "tokens", Tensor>,
  { lanes, ...shape }: { B: number; T: number; stride: number; lanes?: number },
): Dispatch {
  const LANES = lanes ?? (plan.gpu.info.software ? 1 : 256);
  // a sequence a thread on software adapters: as many as one SIMD register has lanes
  const team = { LANES, GROUPS: LANES === 1 ? 8 : 1 };
  return plan.call({ op, page, entry: "next", constants: { VEC: 1, ...team } }, {
    tensors,
    params: shape,
    grid: flatGrid(shape.B, team.GROUPS),
  });
}
