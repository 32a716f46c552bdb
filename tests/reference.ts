/**
 * The oracle in one place: the ops, the optimiser, and the whole model composed of them, in f64.
 *
 * @module
 */
import type { Gpt2Config } from "../src/gpt2/config.ts";
import { allHeads, type LiveHeads, parameterLayout } from "../src/gpt2/layout.ts";
import {
  attentionBackward,
  attentionForward,
  type AttentionResult,
  crossentropyBackward,
  crossentropyForward,
  embeddingBackward,
  embeddingForward,
  type F64,
  geluBackward,
  geluForward,
  headBackward,
  headForward,
  layernormBackward,
  layernormForward,
  matmulBackward,
  matmulForward,
  type Tokens,
  type Values,
} from "./reference_ops.ts";

export * from "./reference_ops.ts";
export * from "./reference_training.ts";

/** One batch and how to run the model on it. */
export interface Gpt2Batch {
  /** `[B, T]`. */
  tokens: Tokens;
  /** `[B, T]`, already shifted: row t's target is what follows token t. */
  targets: Tokens;
  B: number;
  T: number;
  /** `[L, NH]` by original head number; all 1 unless given. A pruned head's gate is not read. */
  gates?: Values;
  /** The heads whose weights are there; all unless given. */
  live?: LiveHeads;
  /**
   * Heads whose gated output is replaced by these HS numbers at every position, by `layer.head`: mean
   * ablation. For the forward pass alone: gradients are not those of it.
   */
  replaced?: ReadonlyMap<string, Values>;
}

/** All that the model computes for one batch. */
export interface Gpt2Result {
  /** `[B, T, V]`. */
  logits: F64;
  /** `[B, T]`: nats of each prediction. */
  losses: F64;
  /** Their mean. */
  loss: number;
  /** Gradients of the mean loss, by the layout's names. */
  grads: Map<string, F64>;
  /** `[B, L, NH]` by original head number: each sample's share; 0 where a head is pruned. */
  dgates: F64;
  /** For every layer, over its live heads. */
  attention: AttentionResult[];
}

/**
 * GPT-2 forward and backward.
 *
 * @param weights By the layout's names, of the shapes of `parameterLayout(config, live)`.
 * @throws {RangeError} If a weight is missing or of another size.
 */
export function gpt2Reference(
  config: Gpt2Config,
  weights: ReadonlyMap<string, Values>,
  { tokens, targets, B, T, gates, live = allHeads(config), replaced }: Gpt2Batch,
): Gpt2Result {
  const { L, NH, HS, C, F, V, eps, tied } = config;
  const rows = B * T;
  for (const { name, size } of parameterLayout(config, live)) {
    const found = weights.get(name)?.length;
    if (found !== size) throw new RangeError(`${name} has ${found} values instead of ${size}`);
  }
  const w = (name: string) => weights.get(name)!;
  const grads = new Map<string, F64>();

  const norm = (name: string, inp: Values) =>
    layernormForward({ inp, weight: w(`${name}.weight`), bias: w(`${name}.bias`) }, {
      rows,
      C,
      eps,
    });
  const linear = (name: string, inp: Values, K: number, N: number, residual?: Values) =>
    matmulForward(
      { inp, weight: w(`${name}.weight`), bias: w(`${name}.bias`), residual },
      { M: rows, K, N },
    ).out;
  const keep = (name: string, { dweight, dbias }: Record<"dweight" | "dbias", F64>) => {
    grads.set(`${name}.weight`, dweight);
    grads.set(`${name}.bias`, dbias);
  };
  const normBackward = (
    name: string,
    dout: Values,
    inp: Values,
    { mean, rstd }: { mean: Values; rstd: Values },
  ) => {
    const d = layernormBackward({ dout, inp, weight: w(`${name}.weight`), mean, rstd }, {
      rows,
      C,
    });
    keep(name, d);
    return d.dinp;
  };
  const linearBackward = (name: string, dout: Values, inp: Values, K: number, N: number) => {
    const d = matmulBackward({ dout, inp, weight: w(`${name}.weight`) }, { M: rows, K, N });
    keep(name, d);
    return d.dinp;
  };

  // Forward.
  const wte = w("wte.weight");
  let x = embeddingForward({ tokens, wte, wpe: w("wpe.weight") }, { B, T, C }).out;
  const layers = live.map((heads, l) => {
    const h = `h.${l}`, A = heads.length * HS, residual1 = x;
    const gate = Float64Array.from(heads, (head) => gates ? gates[l * NH + head] : 1);
    const ln1 = norm(`${h}.ln_1`, residual1);
    const qkv = linear(`${h}.attn.c_attn`, ln1.out, C, 3 * A);
    const attention = attentionForward({ qkv, gates: gate }, { B, T, NH: heads.length, HS });
    heads.forEach((head, place) => {
      const constant = replaced?.get(`${l}.${head}`);
      for (let row = 0; constant && row < rows; row++) {
        attention.zg.set(constant, row * A + place * HS);
      }
    });
    const residual2 = linear(`${h}.attn.c_proj`, attention.zg, A, C, residual1);
    const ln2 = norm(`${h}.ln_2`, residual2);
    const fc = linear(`${h}.mlp.c_fc`, ln2.out, C, F);
    const gelu = geluForward({ inp: fc }).out;
    x = linear(`${h}.mlp.c_proj`, gelu, F, C, residual2);
    return { heads, A, gate, residual1, ln1, qkv, attention, residual2, ln2, fc, gelu };
  });
  const lnf = norm("ln_f", x);
  const head = tied ? wte : w("lm_head.weight");
  const { logits } = headForward({ inp: lnf.out, wte: head }, { rows, C, V });
  const { losses, lse, mean: loss } = crossentropyForward({ logits, targets }, { rows, V });

  // Backward, each line the inverse of one above, from the last to the first.
  const dgates = new Float64Array(B * L * NH);
  const { dlogits } = crossentropyBackward({ logits, targets, lse }, { rows, V });
  const dhead = headBackward({ dlogits, inp: lnf.out, wte: head }, { rows, C, V });
  let dx = normBackward("ln_f", dhead.dinp, x, lnf);
  for (let l = L - 1; l >= 0; l--) {
    const { heads, A, gate, residual1, ln1, qkv, attention, residual2, ln2, fc, gelu } = layers[l];
    const h = `h.${l}`, { z } = attention, sizes = { B, T, NH: heads.length, HS };
    const dgelu = linearBackward(`${h}.mlp.c_proj`, dx, gelu, F, C);
    const dfc = geluBackward({ dout: dgelu, inp: fc }).dinp;
    const dln2 = linearBackward(`${h}.mlp.c_fc`, dfc, ln2.out, C, F);
    const dresidual2 = add(dx, normBackward(`${h}.ln_2`, dln2, residual2, ln2));
    const dzg = linearBackward(`${h}.attn.c_proj`, dresidual2, attention.zg, A, C);
    const { dqkv, rowdot } = attentionBackward(
      { dzg, qkv, gates: gate, z, lse: attention.lse },
      sizes,
    );
    heads.forEach((number, place) => {
      for (let b = 0; b < B; b++) {
        for (let t = 0; t < T; t++) {
          dgates[(b * L + l) * NH + number] += rowdot[(b * heads.length + place) * T + t];
        }
      }
    });
    const dln1 = linearBackward(`${h}.attn.c_attn`, dqkv, ln1.out, C, 3 * A);
    dx = add(dresidual2, normBackward(`${h}.ln_1`, dln1, residual1, ln1));
  }
  const { dwte, dwpe } = embeddingBackward({ dout: dx, tokens }, {
    B,
    T,
    C,
    V,
    positions: config.T,
  });
  grads.set("wpe.weight", dwpe);
  grads.set("wte.weight", tied ? add(dwte, dhead.dwte) : dwte);
  if (!tied) grads.set("lm_head.weight", dhead.dwte);
  return { logits, losses, loss, grads, dgates, attention: layers.map((layer) => layer.attention) };
}

/**
 * A head's mean gated output over all positions of a batch: HS numbers.
 *
 * @param place Its place among the layer's live heads.
 */
export function meanOutput(
  { zg }: AttentionResult,
  { A, HS, place }: { A: number; HS: number; place: number },
): F64 {
  const rows = zg.length / A;
  return Float64Array.from({ length: HS }, (_, i) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += zg[row * A + place * HS + i];
    return sum / rows;
  });
}

function add(a: Values, b: Values): F64 {
  return Float64Array.from(a, (x, i) => x + b[i]);
}
