/**
 * The one table of a GPT-2's parameters. Allocation, loading, saving, AdamW, per-head learning
 * rates, gradient norms, tests and reports all walk this list.
 *
 * @module
 */
import type { Gpt2Config } from "./config.ts";

/**
 * The heads each layer still computes: for every layer the original head numbers, ascending.
 * A pruned head is simply not in the list, and has no parameters.
 */
export type LiveHeads = readonly (readonly number[])[];

/**
 * How heads own slices of a parameter of shape `[rows, columns]` or `[columns]`:
 * - `"qkv"`: the last axis is three blocks (q, k, v) of `heads * HS` columns each;
 * - `"rows"`: the first axis is `heads * HS` rows.
 */
export type HeadAxis = "qkv" | "rows";

/** One parameter tensor. */
export interface Parameter {
  /** The checkpoint's name, without the `transformer.` prefix: `h.0.attn.c_attn.weight`. */
  readonly name: string;
  /** Dimensions, as stored: Conv1D weights are `[in, out]`. */
  readonly shape: readonly number[];
  /** Number of elements. */
  readonly size: number;
  /** Layer that owns it; absent for embeddings, the final norm and the untied head. */
  readonly layer?: number;
  /** Whether AdamW decays it: matrices do, biases, norms and positions do not. */
  readonly decay: boolean;
  /** How a fresh one is drawn; `"residual"` is normal, scaled by 1/sqrt(2L) (Radford et al. 2019). */
  readonly init: "normal" | "residual" | "zeros" | "ones";
  /** Present where attention heads own slices of it. */
  readonly heads?: HeadAxis;
}

/** Every head of every layer: the unpruned model. */
export function allHeads(config: Gpt2Config): number[][] {
  return Array.from({ length: config.L }, () => Array.from({ length: config.NH }, (_, h) => h));
}

/**
 * Lists the parameters of a model in a fixed order.
 *
 * @param config The full model's sizes.
 * @param live The heads that are computed; all of them unless given.
 */
export function parameterLayout(
  config: Gpt2Config,
  live: LiveHeads = allHeads(config),
): Parameter[] {
  const { L, C, F, V, T, HS, tied } = config;
  const out: Parameter[] = [];
  const add = (name: string, shape: number[], rest: Omit<Parameter, "name" | "shape" | "size">) =>
    out.push({ name, shape, size: shape.reduce((a, b) => a * b, 1), ...rest });
  const matrix = { decay: true, init: "normal" } as const;
  const residual = { decay: true, init: "residual" } as const;
  const zeros = { decay: false, init: "zeros" } as const;
  const ones = { decay: false, init: "ones" } as const;

  add("wte.weight", [V, C], matrix);
  add("wpe.weight", [T, C], { decay: false, init: "normal" });
  for (let layer = 0; layer < L; layer++) {
    const A = live[layer].length * HS; // channels of the live heads
    const h = `h.${layer}`;
    add(`${h}.ln_1.weight`, [C], { layer, ...ones });
    add(`${h}.ln_1.bias`, [C], { layer, ...zeros });
    add(`${h}.attn.c_attn.weight`, [C, 3 * A], { layer, ...matrix, heads: "qkv" });
    add(`${h}.attn.c_attn.bias`, [3 * A], { layer, ...zeros, heads: "qkv" });
    add(`${h}.attn.c_proj.weight`, [A, C], { layer, ...residual, heads: "rows" });
    add(`${h}.attn.c_proj.bias`, [C], { layer, ...zeros });
    add(`${h}.ln_2.weight`, [C], { layer, ...ones });
    add(`${h}.ln_2.bias`, [C], { layer, ...zeros });
    add(`${h}.mlp.c_fc.weight`, [C, F], { layer, ...matrix });
    add(`${h}.mlp.c_fc.bias`, [F], { layer, ...zeros });
    add(`${h}.mlp.c_proj.weight`, [F, C], { layer, ...residual });
    add(`${h}.mlp.c_proj.bias`, [C], { layer, ...zeros });
  }
  add("ln_f.weight", [C], ones);
  add("ln_f.bias", [C], zeros);
  if (!tied) add("lm_head.weight", [V, C], matrix);
  return out;
}

/**
 * Copies one head's slice of a parameter between two tensors that may hold different sets of heads.
 *
 * @param axis How heads own the parameter.
 * @param rows Rows of both tensors; 1 for a bias. For `"rows"` it is not used.
 * @param from Source values, its number of heads, and the head's place in it.
 * @param to Target values, its number of heads, and the head's place in it.
 * @param HS Head size.
 * @param C Columns of a `"rows"` parameter.
 */
export function copyHead(
  axis: HeadAxis,
  { rows, HS, C }: { rows: number; HS: number; C: number },
  from: { values: Float32Array; heads: number; at: number },
  to: { values: Float32Array; heads: number; at: number },
): void {
  if (axis === "rows") {
    const block = HS * C;
    to.values.set(from.values.subarray(from.at * block, (from.at + 1) * block), to.at * block);
    return;
  }
  for (let row = 0; row < rows; row++) {
    for (let part = 0; part < 3; part++) {
      const source = (row * 3 + part) * from.heads * HS + from.at * HS;
      const target = (row * 3 + part) * to.heads * HS + to.at * HS;
      to.values.set(from.values.subarray(source, source + HS), target);
    }
  }
}
