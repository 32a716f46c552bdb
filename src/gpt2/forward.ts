/**
 * GPT-2's forward pass as a list of dispatches.
 *
 * @module
 */
import type { Dispatch, Plan } from "../gpu/kernel.ts";
import { first, type Tensor } from "../gpu/tensor.ts";
import { attentionForward } from "../kernels/attention.ts";
import { crossentropyForward, crossentropyMean } from "../kernels/crossentropy.ts";
import { embeddingForward, pieceOf, type TablePiece, tablePieces } from "../kernels/embedding.ts";
import { geluForward } from "../kernels/gelu.ts";
import { layernormForward } from "../kernels/layernorm.ts";
import type { gemv } from "../kernels/gemv.ts";
import { matmul } from "../kernels/matmul.ts";
import { logitStride } from "./activation_sizes.ts";
import type { Activations } from "./activations.ts";
import type { Gpt2 } from "./model.ts";

/** Name of the parameter that the language-model head multiplies by. */
export function headWeight(model: Gpt2): string {
  return model.config.tied ? "wte.weight" : "lm_head.weight";
}

/** What a pass does otherwise than over whole windows; decoding does most of it otherwise. */
export interface ForwardParts {
  /** In place of the window's embedding: fills the first layer's `pre`. */
  embed?: Dispatch[];
  /** In place of attention over the window: from a layer's `qkv` to its `zg`. */
  attend?: (layer: number) => Dispatch[];
  /** What computes a linear layer: `matmul` unless given. */
  product?: typeof gemv;
  /**
   * What to do besides when a layer's head outputs are there: without backward, the next layer
   * overwrites them.
   */
  afterLayer?: (layer: number) => Dispatch[];
}

/** What forward reads and fills of {@linkcode Activations}. */
export type ForwardActivations = Pick<
  Activations,
  "B" | "T" | "rows" | "tokens" | "layers" | "stats" | "lnf" | "meanf" | "rstdf"
>;

/**
 * One layer from its input to the MLP's activations: all that its backward reads. What is left is the
 * MLP's output projection.
 */
export function layerForward(
  plan: Plan,
  model: Gpt2,
  acts: ForwardActivations,
  l: number,
  { attend, product = matmul }: ForwardParts = {},
): Dispatch[] {
  const { C, F, HS, eps } = model.config;
  const { B, T, rows } = acts;
  const a = acts.layers[l], h = `h.${l}`;
  const NH = model.live[l].length, A = NH * HS;
  const p = (name: string) => model.param(`${h}.${name}`);
  const linear = (name: string, inp: Tensor, out: Tensor, sizes: { K: number; N: number }) =>
    product(plan, { a: inp, b: p(`${name}.weight`), bias: p(`${name}.bias`), out }, {
      product: "nn",
      M: rows,
      ...sizes,
    });
  const attention = () =>
    attentionForward(
      plan,
      { qkv: a.qkv, gates: model.gates, z: a.z, zg: a.zg, stats: acts.stats },
      { B, T, NH, HS, head0: model.head0[l] },
    );
  const norm = (name: string, tensors: Record<"inp" | "out" | "mean" | "rstd", Tensor>) =>
    layernormForward(plan, { ...tensors, weight: p(`${name}.weight`), bias: p(`${name}.bias`) }, {
      rows,
      C,
      eps,
    });
  return [
    norm("ln_1", { inp: a.pre, out: a.ln1, mean: a.mean1, rstd: a.rstd1 }),
    linear("attn.c_attn", a.ln1, a.qkv, { K: C, N: 3 * A }),
    ...(attend?.(l) ?? [attention()]),
    projection(plan, model, `${h}.attn.c_proj`, { inp: a.zg, residual: a.pre, out: a.mid }, {
      rows,
      product,
    }),
    norm("ln_2", { inp: a.mid, out: a.ln2, mean: a.mean2, rstd: a.rstd2 }),
    linear("mlp.c_fc", a.ln2, a.fc, { K: C, N: F }),
    geluForward(plan, { inp: first(a.fc, rows * F), out: a.gelu }),
  ];
}

/** out = residual + inp weight + bias; where the residual is out itself, it is added to in place. */
function projection(
  plan: Plan,
  model: Gpt2,
  name: string,
  { inp, residual, out }: Record<"inp" | "residual" | "out", Tensor>,
  { rows, product }: { rows: number; product: typeof gemv },
): Dispatch {
  const { C } = model.config;
  const weight = model.param(`${name}.weight`), bias = model.param(`${name}.bias`);
  const shape = { product: "nn", M: rows, N: C, K: weight.size / C } as const;
  const inPlace = residual === out;
  const tensors = { a: inp, b: weight, bias, out, ...(!inPlace && { residual }) };
  return product(plan, tensors, { ...shape, accumulate: inPlace });
}

/**
 * Tokens to the final layer norm's output, `acts.lnf`; fills the heads' row statistics.
 */
export function forward(
  plan: Plan,
  model: Gpt2,
  acts: ForwardActivations,
  parts: ForwardParts = {},
): Dispatch[] {
  const { L, C, V, eps } = model.config;
  const { B, T, rows, tokens, layers } = acts;
  const { embed, product = matmul, afterLayer = () => [] } = parts;
  const pieces = tablePieces(V, C, model.gpu.maxBinding);
  const wte = model.param("wte.weight"), wpe = model.param("wpe.weight");
  const { lnf: out, meanf: mean, rstdf: rstd } = acts;
  const weight = model.param("ln_f.weight"), bias = model.param("ln_f.bias");
  const inp = layers[L - 1].post;
  return [
    ...(embed ??
      embeddingForward(plan, { tokens, wte, wpe, out: layers[0].pre }, { B, T, C, pieces })),
    ...layers.flatMap(({ gelu, mid, post }, l) => [
      ...layerForward(plan, model, acts, l, parts),
      ...afterLayer(l),
      projection(plan, model, `h.${l}.mlp.c_proj`, { inp: gelu, residual: mid, out: post }, {
        rows,
        product,
      }),
    ]),
    layernormForward(plan, { inp, weight, bias, out, mean, rstd }, { rows, C, eps }),
  ];
}

/** Logits of one piece of the vocabulary, into `acts.logits`. */
export function logitsForward(
  plan: Plan,
  model: Gpt2,
  acts: Activations,
  piece: TablePiece,
): Dispatch {
  const { C } = model.config;
  const b = pieceOf(model.param(headWeight(model)), piece, C);
  return matmul(plan, { a: acts.lnf, b, out: acts.logits }, {
    product: "nt",
    M: acts.rows,
    N: piece.V1 - piece.V0,
    K: C,
    outStride: logitStride(piece),
  });
}

/** From `acts.lnf` to the loss of every row, and their weighted sum in a slot of the ring. */
export function lossForward(
  plan: Plan,
  model: Gpt2,
  acts: Activations,
  ring: Tensor = acts.ring,
): Dispatch[] {
  const { logits, targets, state, losses, hyper, rows, pieces } = acts;
  return [
    ...pieces.flatMap((piece, i) => [
      logitsForward(plan, model, acts, piece),
      crossentropyForward(plan, { logits, targets, state, losses }, {
        rows,
        N: piece.V1 - piece.V0,
        stride: logitStride(piece),
        V0: piece.V0,
        first: i === 0,
        last: i === pieces.length - 1,
      }),
    ]),
    crossentropyMean(plan, { losses, hyper, ring }, { rows }),
  ];
}
