/**
 * GPT-2's backward pass: forward's list in reverse, each step undoing the one it quotes.
 * Parameter gradients are added to; activation gradients are replaced, except that the residual
 * stream's gathers what every branch sends back.
 *
 * @module
 */
import type { Dispatch, Plan } from "../gpu/kernel.ts";
import { attentionBackward } from "../kernels/attention.ts";
import { crossentropyBackward } from "../kernels/crossentropy.ts";
import { embeddingBackward, pieceOf, tablePieces } from "../kernels/embedding.ts";
import { geluBackward } from "../kernels/gelu.ts";
import { headstatsBackward, headstatsForward } from "../kernels/headstats.ts";
import { layernormBackward } from "../kernels/layernorm.ts";
import { linearBackward, matmul } from "../kernels/matmul.ts";
import { headNorms } from "../kernels/norm.ts";
import { logitStride } from "./activation_sizes.ts";
import type { Activations } from "./activations.ts";
import { headWeight, layerForward, logitsForward } from "./forward.ts";
import { type Gpt2, type ParameterTensors, tensorOf } from "./model.ts";

/**
 * From the losses back to every parameter.
 *
 * @param grads Where parameter gradients are added.
 * @param acts Activations of a forward pass and its loss, made for training.
 */
export function backward(
  plan: Plan,
  model: Gpt2,
  grads: ParameterTensors,
  acts: Activations,
): Dispatch[] {
  if (acts.grads === undefined) throw new TypeError("These activations were not made for training");
  const { config, live, head0 } = model;
  const { L, C, F, V, HS } = config;
  const { B, T, rows, tokens, order, targets, state, hyper, logits } = acts;
  const { dresid, dln, dzg, dqkv, dfc } = acts.grads;
  const list: Dispatch[] = [];
  const p = (name: string) => model.param(name);
  const d = (name: string) => tensorOf(grads, name);
  const linear = (
    name: string,
    { inp, dout, dinp }: Record<"inp" | "dout" | "dinp", typeof dln>,
    sizes: { IN: number; OUT: number },
  ) =>
    linearBackward(plan, {
      inp,
      dout,
      dinp,
      weight: p(`${name}.weight`),
      dweight: d(`${name}.weight`),
      dbias: d(`${name}.bias`),
    }, { rows, ...sizes });
  const norm = (
    name: string,
    saved: Record<"inp" | "mean" | "rstd", typeof dln>,
    accumulate: boolean,
  ) =>
    layernormBackward(plan, {
      ...saved,
      dout: dln,
      dinp: dresid,
      weight: p(`${name}.weight`),
      dweight: d(`${name}.weight`),
      dbias: d(`${name}.bias`),
    }, { rows, C, accumulate });

  // losses = crossentropy(lnf head^T): piece by piece, recomputing logits that were not kept
  const head = headWeight(model);
  acts.pieces.forEach((piece, i) => {
    const N = piece.V1 - piece.V0, stride = logitStride(piece);
    if (acts.pieces.length > 1) list.push(logitsForward(plan, model, acts, piece));
    const shape = { rows, N, stride, V0: piece.V0 };
    list.push(crossentropyBackward(plan, { logits, targets, state, hyper }, shape));
    list.push(
      matmul(plan, { a: logits, b: pieceOf(p(head), piece, C), out: dln }, {
        product: "nn",
        M: rows,
        N: C,
        K: N,
        aStride: stride,
        accumulate: i > 0,
      }),
      matmul(plan, { a: logits, b: acts.lnf, out: pieceOf(d(head), piece, C) }, {
        product: "tn",
        M: N,
        N: C,
        K: rows,
        aStride: stride,
        accumulate: true,
      }),
    );
  });
  // lnf = ln_f(post)
  const last = acts.layers[L - 1].post;
  list.push(...norm("ln_f", { inp: last, mean: acts.meanf, rstd: acts.rstdf }, false));

  for (let l = L - 1; l >= 0; l--) {
    const a = acts.layers[l], h = `h.${l}`;
    const NH = live[l].length, A = NH * HS;
    // layers that share their activations: the last one's are still there
    if (acts.recompute && l < L - 1) list.push(...layerForward(plan, model, acts, l));
    // post = mid + c_proj(gelu(c_fc(ln_2(mid))))
    list.push(
      ...linear(`${h}.mlp.c_proj`, { inp: a.gelu, dout: dresid, dinp: dfc }, { IN: F, OUT: C }),
      geluBackward(plan, { inp: a.fc, dout: dfc }),
      ...linear(`${h}.mlp.c_fc`, { inp: a.ln2, dout: dfc, dinp: dln }, { IN: C, OUT: F }),
      ...norm(`${h}.ln_2`, { inp: a.mid, mean: a.mean2, rstd: a.rstd2 }, true),
    );
    // mid = pre + c_proj(gate attention(c_attn(ln_1(pre))))
    const { qkv, z } = a, { gates } = model, { stats, rowdot } = acts;
    list.push(
      ...linear(`${h}.attn.c_proj`, { inp: a.zg, dout: dresid, dinp: dzg }, { IN: A, OUT: C }),
      ...attentionBackward(plan, { qkv, gates, z, stats, dzg, rowdot, dqkv }, {
        B,
        T,
        NH,
        HS,
        head0: head0[l],
      }),
      ...linear(`${h}.attn.c_attn`, { inp: a.ln1, dout: dqkv, dinp: dln }, { IN: C, OUT: 3 * A }),
      ...norm(`${h}.ln_1`, { inp: a.pre, mean: a.mean1, rstd: a.rstd1 }, true),
    );
  }
  // pre of layer 0 = wte[token] + wpe[t]
  const pieces = tablePieces(V, C, model.gpu.maxBinding);
  const tables = { dwte: d("wte.weight"), dwpe: d("wpe.weight") };
  const batch = { tokens, order, dout: dresid };
  list.push(...embeddingBackward(plan, { ...batch, ...tables }, { B, T, C, pieces }));
  return list;
}

/**
 * Adds this pass's part of the head metrics to `acts.sums`: after backward.
 *
 * @param batch Sequences of the batch that the pass is a part of.
 */
export function headMetrics(
  plan: Plan,
  model: Gpt2,
  acts: Activations,
  batch: number,
): Dispatch[] {
  const { stats, rowdot, gateGrads, sums, B, T } = acts;
  const shape = { heads: model.heads, B, T, batch };
  return [
    headstatsForward(plan, { stats, sums }, shape),
    headstatsBackward(plan, { rowdot, gate_grads: gateGrads, sums }, shape),
  ];
}

/** Adds each head's gradient norm: after the batch's last backward, before gradients are cleared. */
export function headGradients(
  plan: Plan,
  model: Gpt2,
  grads: ParameterTensors,
  { sums }: Activations,
): Dispatch[] {
  const { config: { L, C, HS }, live, head0 } = model;
  return Array.from({ length: L }, (_, l) =>
    headNorms(plan, {
      dqkv_weight: tensorOf(grads, `h.${l}.attn.c_attn.weight`),
      dqkv_bias: tensorOf(grads, `h.${l}.attn.c_attn.bias`),
      dproj_weight: tensorOf(grads, `h.${l}.attn.c_proj.weight`),
      sums,
    }, { NH: live[l].length, HS, C, head0: head0[l] }));
}
