/**
 * What a pass through a model cannot do without, counted from its sizes: the multiply-adds of its
 * products, and the bytes that it must read. The most that leaving heads out can gain follows.
 *
 * @module
 */
import type { Gpt2Config } from "./config.ts";
import { type LiveHeads, parameterLayout } from "./layout.ts";

/** How much a pass computes, summed over its sequences. */
export interface PassSize {
  /** Passes over the weights: 1 for prompts, which go through together, one a token in decoding. */
  passes: number;
  /** Tokens that go through the layers. */
  rows: number;
  /** Pairs of a token and a token that it sees: itself and those before it. */
  pairs: number;
  /** Tokens whose logits are computed. */
  sampled: number;
}

/** An amount of work by who needs it. */
export interface Work {
  /** What heads need: their slices of `c_attn` and `c_proj`, their keys, queries and values. */
  attention: number;
  /** The MLP, the language-model head, and what else belongs to no head. */
  other: number;
}

/** B prompts of P tokens each, to the logits of their last tokens. */
export function prefillSize({ B, P }: { B: number; P: number }): PassSize {
  return { passes: 1, rows: B * P, pairs: B * P * (P + 1) / 2, sampled: B };
}

/** N more tokens of each of B sequences: the first comes of P tokens, whose cache is there. */
export function decodingSize({ B, P, N }: { B: number; P: number; N: number }): PassSize {
  return { passes: N, rows: B * N, pairs: B * (N * P + N * (N - 1) / 2), sampled: B * N };
}

/**
 * Multiply-adds of a pass's products: `c_attn`, q k, p v, `c_proj`, both of the MLP, and logits. The
 * rest (norms, softmax, GELU, biases) grows with the rows alone and is not counted.
 *
 * @param live The heads that are computed.
 */
export function passOperations(
  { L, C, F, V, HS }: Gpt2Config,
  live: LiveHeads,
  { rows, pairs, sampled }: PassSize,
): Work {
  const A = live.flat().length * HS; // channels of all heads, over the layers
  return {
    attention: A * (rows * 3 * C + 2 * pairs + rows * C),
    other: L * rows * 2 * C * F + sampled * V * C,
  };
}

/**
 * Bytes that decoding must read: every weight once a pass, but of the embeddings only the tokens' rows,
 * and for every token the keys and values that it sees.
 *
 * @param live The heads that are computed.
 */
export function passBytes(
  config: Gpt2Config,
  live: LiveHeads,
  { passes, rows, pairs }: PassSize,
): Work {
  const { C, HS, tied } = config;
  const A = live.flat().length * HS;
  let owned = 0, other = 0;
  for (const { name, size, heads } of parameterLayout(config, live)) {
    if (heads) owned += size;
    else if (name !== "wpe.weight" && (tied || name !== "wte.weight")) other += size;
  }
  return {
    attention: 4 * (passes * owned + 2 * A * pairs),
    other: 4 * (passes * other + rows * 2 * C),
  };
}
