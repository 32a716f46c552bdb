/**
 * GPT-2's forward pass as a list of dispatches.
 *
 * @module
 */
import type { Dispatch, Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { attentionForward } from "../kernels/attention.ts";
import { crossentropyForward, crossentropyMean } from "../kernels/crossentropy.ts";
import { embeddingForward, pieceOf, type TablePiece, tablePieces } from "../kernels/embedding.ts";
import { geluForward } from "../kernels/gelu.ts";
import { layernormForward } from "../kernels/layernorm.ts";
import { linearForward, matmul } from "../kernels/matmul.ts";
import { type Activations, logitStride } from "./activations.ts";
import type { Gpt2 } from "./model.ts";

/** Name of the parameter that the language-model head multiplies by. */
export function headWeight(model: Gpt2): string {
  return model.config.tied ? "wte.weight" : "lm_head.weight";
}

/** What forward reads and fills of {@linkcode Activations}. */
export type ForwardActivations = Pick<
  Activations,
  "B" | "T" | "rows" | "tokens" | "layers" | "stats" | "lnf" | "meanf" | "rstdf"
>;

/**
 * Tokens to the final layer norm's output, `acts.lnf`; fills the heads' row statistics.
 *
 * @param afterAttention What to do besides when a layer's head outputs are there: without backward,
 * the next layer overwrites them.
 */
export function forward(
  plan: Plan,
  model: Gpt2,
  acts: ForwardActivations,
  afterAttention: (layer: number) => Dispatch[] = () => [],
): Dispatch[] {
  const { config, live, head0 } = model;
  const { L, C, F, V, HS, eps } = config;
  const { B, T, rows } = acts;
  const list: Dispatch[] = [];
  const p = (name: string) => model.param(name);

  const pieces = tablePieces(V, C, model.gpu.maxBinding);
  const wte = p("wte.weight"), wpe = p("wpe.weight");
  list.push(
    ...embeddingForward(plan, { tokens: acts.tokens, wte, wpe, out: acts.layers[0].pre }, {
      B,
      T,
      C,
      pieces,
    }),
  );
  for (let l = 0; l < L; l++) {
    const a = acts.layers[l], h = `h.${l}`;
    const NH = live[l].length, A = NH * HS;
    const linear = (
      name: string,
      inp: typeof a.pre,
      out: typeof a.pre,
      sizes: { IN: number; OUT: number },
      residual?: typeof a.pre,
    ) => {
      const weight = p(`${h}.${name}.weight`), bias = p(`${h}.${name}.bias`);
      if (residual === undefined) {
        return linearForward(plan, { inp, weight, bias, out }, { rows, ...sizes });
      }
      if (residual !== out) {
        return linearForward(plan, { inp, weight, bias, residual, out }, { rows, ...sizes });
      }
      const { IN: K, OUT: N } = sizes;
      const shape = { product: "nn", M: rows, N, K, accumulate: true } as const;
      return matmul(plan, { a: inp, b: weight, bias, out }, shape);
    };
    const norm = (name: string, inp: typeof a.pre, out: typeof a.pre, which: 1 | 2) =>
      layernormForward(plan, {
        inp,
        weight: p(`${h}.${name}.weight`),
        bias: p(`${h}.${name}.bias`),
        out,
        mean: which === 1 ? a.mean1 : a.mean2,
        rstd: which === 1 ? a.rstd1 : a.rstd2,
      }, { rows, C, eps });

    list.push(norm("ln_1", a.pre, a.ln1, 1));
    list.push(linear("attn.c_attn", a.ln1, a.qkv, { IN: C, OUT: 3 * A }));
    list.push(
      attentionForward(
        plan,
        { qkv: a.qkv, gates: model.gates, z: a.z, zg: a.zg, stats: acts.stats },
        { B, T, NH, HS, head0: head0[l] },
      ),
    );
    list.push(...afterAttention(l));
    list.push(linear("attn.c_proj", a.zg, a.mid, { IN: A, OUT: C }, a.pre));
    list.push(norm("ln_2", a.mid, a.ln2, 2));
    list.push(linear("mlp.c_fc", a.ln2, a.fc, { IN: C, OUT: F }));
    list.push(geluForward(plan, { inp: a.fc, out: a.gelu }));
    list.push(linear("mlp.c_proj", a.gelu, a.post, { IN: F, OUT: C }, a.mid));
  }
  const { lnf: out, meanf: mean, rstdf: rstd } = acts;
  const weight = p("ln_f.weight"), bias = p("ln_f.bias");
  const inp = acts.layers[L - 1].post;
  list.push(layernormForward(plan, { inp, weight, bias, out, mean, rstd }, { rows, C, eps }));
  return list;
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
