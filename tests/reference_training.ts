/**
 * The oracle's second half, in f64: the optimiser, the norms, and the statistics of heads.
 *
 * @module
 */
import type { F64, Values } from "./reference_ops.ts";

/** The numbers of one AdamW step. */
export interface AdamWOptions {
  lr: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** Decoupled: the step also subtracts `lr * weightDecay * param`. */
  weightDecay: number;
  /** Counts from 1. */
  step: number;
  /** Every gradient is multiplied by this first; see {@linkcode clipScale}. 1 unless given. */
  gradScale?: number;
}

/**
 * One step of PyTorch's AdamW (Loshchilov & Hutter 2019):
 * `p -= lr * factor * wd * p; p -= lr * factor * mhat / (sqrt(vhat) + eps)`.
 *
 * `factor`, one an element and 1 unless given, stands for a head's own learning rate: it scales the
 * whole update, decay included, so a factor of 0 freezes the element. The moments do not see it.
 */
export function adamwStep(
  { param, grad, m, v, factor }: {
    param: Values;
    grad: Values;
    m: Values;
    v: Values;
    factor?: Values;
  },
  { lr, beta1, beta2, eps, weightDecay, step, gradScale = 1 }: AdamWOptions,
): { param: F64; m: F64; v: F64 } {
  const out = {
    param: Float64Array.from(param),
    m: Float64Array.from(m),
    v: Float64Array.from(v),
  };
  for (let i = 0; i < param.length; i++) {
    const g = grad[i] * gradScale, rate = lr * (factor ? factor[i] : 1);
    out.m[i] = beta1 * m[i] + (1 - beta1) * g;
    out.v[i] = beta2 * v[i] + (1 - beta2) * g * g;
    const mhat = out.m[i] / (1 - beta1 ** step), vhat = out.v[i] / (1 - beta2 ** step);
    out.param[i] -= rate * weightDecay * out.param[i];
    out.param[i] -= rate * mhat / (Math.sqrt(vhat) + eps);
  }
  return out;
}

/** L2 norm of all the tensors as if they were one. */
export function globalNorm(tensors: Iterable<Values>): number {
  let sum = 0;
  for (const tensor of tensors) for (const x of tensor) sum += x * x;
  return Math.sqrt(sum);
}

/** What PyTorch's `clip_grad_norm_` multiplies gradients by: `min(1, maxNorm / (norm + 1e-6))`. */
export function clipScale(norm: number, maxNorm: number): number {
  return Math.min(1, maxNorm / (norm + 1e-6));
}

/**
 * `[NH]`: the L2 norm of each head's gradient, over its columns of q, k and v in `c_attn.weight`
 * `[C, 3*NH*HS]` and `c_attn.bias`, and its rows of `c_proj.weight` `[NH*HS, C]`.
 */
export function headGradNorms(
  { attnWeight, attnBias, projWeight }: {
    attnWeight: Values;
    attnBias: Values;
    projWeight: Values;
  },
  { C, NH, HS }: { C: number; NH: number; HS: number },
): F64 {
  const A = NH * HS, squares = new Float64Array(NH);
  for (let h = 0; h < NH; h++) {
    for (let i = h * HS; i < (h + 1) * HS; i++) {
      for (let part = 0; part < 3; part++) {
        squares[h] += attnBias[part * A + i] ** 2;
        for (let c = 0; c < C; c++) squares[h] += attnWeight[c * 3 * A + part * A + i] ** 2;
      }
      for (let c = 0; c < C; c++) squares[h] += projWeight[i * C + c] ** 2;
    }
  }
  return squares.map(Math.sqrt);
}

/** Means of what attention says about each head, `[NH]` each; see {@linkcode headStats}. */
export interface HeadStats {
  /** Entropy in nats. */
  entropy: F64;
  /** Entropy over `ln(t + 1)`, the largest that row t can have: from 0 to 1. */
  normalised: F64;
  /** Weight on the first key. */
  first: F64;
  /** L2 norm of the head's output. */
  znorm: F64;
}

/**
 * Means over samples and rows of `[B, NH, T]` each. Row 0 sees one key and says nothing of
 * attention: the means of the entropies and the first key's weight start at row 1, the norm's at 0.
 */
export function headStats(
  { entropy, first, znorm }: { entropy: Values; first: Values; znorm: Values },
  { B, NH, T }: { B: number; NH: number; T: number },
): HeadStats {
  if (T < 2) throw new RangeError(`entropy needs rows with two keys: T is ${T}`);
  const mean = (from: number, value: (row: number, t: number) => number) =>
    new Float64Array(NH).map((_, h) => {
      let sum = 0;
      for (let b = 0; b < B; b++) {
        for (let t = from; t < T; t++) sum += value((b * NH + h) * T + t, t);
      }
      return sum / (B * (T - from));
    });
  return {
    entropy: mean(1, (row) => entropy[row]),
    normalised: mean(1, (row, t) => entropy[row] / Math.log(t + 1)),
    first: mean(1, (row) => first[row]),
    znorm: mean(0, (row) => znorm[row]),
  };
}
