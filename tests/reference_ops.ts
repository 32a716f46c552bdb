/**
 * The oracle: every op of GPT-2 in f64, as loops that can be read beside their formula. Kernels are
 * held against these functions, and these against finite differences (reference_test.ts).
 *
 * Letters: `B` batch, `T` sequence length, `C` channels, `NH` heads, `HS` head size, `V` vocabulary;
 * `d` + name is the gradient of the loss by `name`. Tensors are row-major. Inputs are never written;
 * results are new arrays. The plan of each loop follows llm.c's train_gpt2.c.
 *
 * @module
 */

/** What an op reads: f64, or f32 where a kernel's own input is passed on. */
export type Values = Float64Array | Float32Array;

/** What an op returns. */
export type F64 = Float64Array<ArrayBuffer>;

/** Token numbers. */
export type Tokens = ArrayLike<number>;

const zeros = (n: number) => new Float64Array(n);

/** `out[b, t] = wte[tokens[b, t]] + wpe[t]`: `out` is `[B, T, C]`. */
export function embeddingForward(
  { tokens, wte, wpe }: { tokens: Tokens; wte: Values; wpe: Values },
  { B, T, C }: { B: number; T: number; C: number },
): { out: F64 } {
  const out = zeros(B * T * C);
  for (let row = 0; row < B * T; row++) {
    for (let i = 0; i < C; i++) {
      out[row * C + i] = wte[tokens[row] * C + i] + wpe[(row % T) * C + i];
    }
  }
  return { out };
}

/** `dwte` is `[V, C]`, `dwpe` `[positions, C]`, of which only the first T rows are not 0. */
export function embeddingBackward(
  { dout, tokens }: { dout: Values; tokens: Tokens },
  { B, T, C, V, positions }: { B: number; T: number; C: number; V: number; positions: number },
): { dwte: F64; dwpe: F64 } {
  const dwte = zeros(V * C), dwpe = zeros(positions * C);
  for (let row = 0; row < B * T; row++) {
    for (let i = 0; i < C; i++) {
      // out[row] = wte[tokens[row]] + wpe[row % T]
      dwte[tokens[row] * C + i] += dout[row * C + i];
      dwpe[(row % T) * C + i] += dout[row * C + i];
    }
  }
  return { dwte, dwpe };
}

/** `out = (inp - mean) * rstd * weight + bias` over C; `rstd = 1 / sqrt(variance + eps)`. */
export function layernormForward(
  { inp, weight, bias }: { inp: Values; weight: Values; bias: Values },
  { rows, C, eps }: { rows: number; C: number; eps: number },
): { out: F64; mean: F64; rstd: F64 } {
  const out = zeros(rows * C), mean = zeros(rows), rstd = zeros(rows);
  for (let row = 0; row < rows; row++) {
    const x = inp.subarray(row * C, (row + 1) * C);
    let m = 0, variance = 0;
    for (let i = 0; i < C; i++) m += x[i] / C;
    for (let i = 0; i < C; i++) variance += (x[i] - m) ** 2 / C;
    mean[row] = m;
    rstd[row] = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < C; i++) out[row * C + i] = (x[i] - m) * rstd[row] * weight[i] + bias[i];
  }
  return { out, mean, rstd };
}

/** Gradients of {@linkcode layernormForward}: `dinp` is `[rows, C]`, `dweight` and `dbias` `[C]`. */
export function layernormBackward(
  { dout, inp, weight, mean, rstd }: {
    dout: Values;
    inp: Values;
    weight: Values;
    mean: Values;
    rstd: Values;
  },
  { rows, C }: { rows: number; C: number },
): { dinp: F64; dweight: F64; dbias: F64 } {
  const dinp = zeros(rows * C), dweight = zeros(C), dbias = zeros(C);
  for (let row = 0; row < rows; row++) {
    const at = row * C;
    const norm = (i: number) => (inp[at + i] - mean[row]) * rstd[row];
    let dnormMean = 0, dnormNormMean = 0;
    for (let i = 0; i < C; i++) {
      // out = norm * weight + bias
      dbias[i] += dout[at + i];
      dweight[i] += dout[at + i] * norm(i);
      dnormMean += weight[i] * dout[at + i] / C;
      dnormNormMean += weight[i] * dout[at + i] * norm(i) / C;
    }
    for (let i = 0; i < C; i++) {
      // norm = (inp - mean) * rstd, where mean and rstd depend on every inp of the row
      dinp[at + i] = (weight[i] * dout[at + i] - dnormMean - norm(i) * dnormNormMean) * rstd[row];
    }
  }
  return { dinp, dweight, dbias };
}

/**
 * `out[M, N] = inp[M, K] · weight[K, N] (+ bias[N]) (+ residual[M, N])`: Conv1D's layout, where the
 * weight is `[in, out]`.
 */
export function matmulForward(
  { inp, weight, bias, residual }: {
    inp: Values;
    weight: Values;
    bias?: Values;
    residual?: Values;
  },
  { M, K, N }: { M: number; K: number; N: number },
): { out: F64 } {
  const out = zeros(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      out[m * N + n] = (bias ? bias[n] : 0) + (residual ? residual[m * N + n] : 0);
    }
    for (let k = 0; k < K; k++) {
      for (let n = 0; n < N; n++) out[m * N + n] += inp[m * K + k] * weight[k * N + n];
    }
  }
  return { out };
}

/** Gradients of {@linkcode matmulForward}; the residual's is `dout` itself. */
export function matmulBackward(
  { dout, inp, weight }: { dout: Values; inp: Values; weight: Values },
  { M, K, N }: { M: number; K: number; N: number },
): { dinp: F64; dweight: F64; dbias: F64 } {
  const dinp = zeros(M * K), dweight = zeros(K * N), dbias = zeros(N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) dbias[n] += dout[m * N + n];
    for (let k = 0; k < K; k++) {
      for (let n = 0; n < N; n++) {
        // out[m, n] += inp[m, k] * weight[k, n]
        dinp[m * K + k] += dout[m * N + n] * weight[k * N + n];
        dweight[k * N + n] += dout[m * N + n] * inp[m * K + k];
      }
    }
  }
  return { dinp, dweight, dbias };
}

/** `[rows, columns]` to `[columns, rows]`. */
export function transpose(inp: Values, rows: number, columns: number): F64 {
  const out = zeros(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = inp[r * columns + c];
  }
  return out;
}

/** The language-model head: `logits[rows, V] = inp[rows, C] · wte[V, C]ᵀ`. */
export function headForward(
  { inp, wte }: { inp: Values; wte: Values },
  { rows, C, V }: { rows: number; C: number; V: number },
): { logits: F64 } {
  const { out } = matmulForward({ inp, weight: transpose(wte, V, C) }, { M: rows, K: C, N: V });
  return { logits: out };
}

/** Gradients of {@linkcode headForward}. */
export function headBackward(
  { dlogits, inp, wte }: { dlogits: Values; inp: Values; wte: Values },
  { rows, C, V }: { rows: number; C: number; V: number },
): { dinp: F64; dwte: F64 } {
  const weight = transpose(wte, V, C);
  const { dinp, dweight } = matmulBackward(
    { dout: dlogits, inp, weight },
    { M: rows, K: C, N: V },
  );
  return { dinp, dwte: transpose(dweight, C, V) };
}

const GELU_SCALE = Math.sqrt(2 / Math.PI);

/** `out = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`: Hugging Face's `gelu_new`. */
export function geluForward({ inp }: { inp: Values }): { out: F64 } {
  const out = zeros(inp.length);
  for (let i = 0; i < inp.length; i++) {
    const x = inp[i];
    out[i] = 0.5 * x * (1 + Math.tanh(GELU_SCALE * (x + 0.044715 * x * x * x)));
  }
  return { out };
}

/** Gradient of {@linkcode geluForward}. */
export function geluBackward(
  { dout, inp }: { dout: Values; inp: Values },
): { dinp: F64 } {
  const dinp = zeros(inp.length);
  for (let i = 0; i < inp.length; i++) {
    const x = inp[i];
    const th = Math.tanh(GELU_SCALE * (x + 0.044715 * x * x * x));
    // out = x / 2 * (1 + th); tanh' = 1 - tanh^2
    const dth = GELU_SCALE * (1 + 3 * 0.044715 * x * x) * (1 - th * th);
    dinp[i] = dout[i] * (0.5 * (1 + th) + 0.5 * x * dth);
  }
  return { dinp };
}

/** Sizes of an attention op; `NH` counts the heads that are computed, live ones only. */
export interface AttentionSizes {
  B: number;
  T: number;
  NH: number;
  HS: number;
}

/** What the attention of one layer computes; see {@linkcode attentionForward}. */
export interface AttentionResult {
  /** `[B, T, NH*HS]`: the heads' outputs before their gates. */
  z: F64;
  /** `[B, T, NH*HS]`: `gate * z`, the input of the output projection. */
  zg: F64;
  /** `[B, NH, T]`: log of the sum of exponentials of the row's scores. */
  lse: F64;
  /** `[B, NH, T]`: entropy of the row's probabilities in nats. */
  entropy: F64;
  /** `[B, NH, T]`: the weight on key 0. */
  first: F64;
  /** `[B, NH, T]`: L2 norm of the row of z. */
  znorm: F64;
}

/**
 * Causal attention with gates. A row of `qkv`, `[B, T, 3*NH*HS]`, is three blocks q, k, v of
 * `NH*HS` columns, of which head h owns `h*HS` and on. With `s = q·k / sqrt(HS)` over the keys up to
 * t: `p = exp(s - lse)`, `z = sum p*v`, `H = lse - sum p*s`, `zg = gates[h] * z`.
 */
export function attentionForward(
  { qkv, gates }: { qkv: Values; gates: Values },
  { B, T, NH, HS }: AttentionSizes,
): AttentionResult {
  const A = NH * HS;
  const z = zeros(B * T * A), zg = zeros(B * T * A);
  const lse = zeros(B * NH * T), entropy = zeros(B * NH * T);
  const first = zeros(B * NH * T), znorm = zeros(B * NH * T);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const row = (b * NH + h) * T + t, out = (b * T + t) * A + h * HS;
        const s = scores(qkv, b, h, t, { B, T, NH, HS });
        const max = s.reduce((a, x) => Math.max(a, x));
        lse[row] = max + Math.log(s.reduce((sum, x) => sum + Math.exp(x - max), 0));
        let meanScore = 0;
        for (let key = 0; key <= t; key++) {
          const p = Math.exp(s[key] - lse[row]);
          const v = (b * T + key) * 3 * A + 2 * A + h * HS;
          meanScore += p * s[key];
          for (let i = 0; i < HS; i++) z[out + i] += p * qkv[v + i];
        }
        entropy[row] = lse[row] - meanScore;
        first[row] = Math.exp(s[0] - lse[row]);
        znorm[row] = Math.hypot(...z.subarray(out, out + HS));
        for (let i = 0; i < HS; i++) zg[out + i] = gates[h] * z[out + i];
      }
    }
  }
  return { z, zg, lse, entropy, first, znorm };
}

/** Scores of query t of head h against the keys 0 to t. */
function scores(
  qkv: Values,
  b: number,
  h: number,
  t: number,
  { T, NH, HS }: AttentionSizes,
): F64 {
  const A = NH * HS, q = (b * T + t) * 3 * A + h * HS;
  return zeros(t + 1).map((_, key) => {
    const k = (b * T + key) * 3 * A + A + h * HS;
    let dot = 0;
    for (let i = 0; i < HS; i++) dot += qkv[q + i] * qkv[k + i];
    return dot / Math.sqrt(HS);
  });
}

/**
 * Gradients of {@linkcode attentionForward} from `dzg`, with p recomputed from `lse`: `dqkv`, and
 * `rowdot[b, h, t] = sum_i dzg * z`. Sample b's gradient of gate h is the sum of its rowdots over t.
 */
export function attentionBackward(
  { dzg, qkv, gates, z, lse }: {
    dzg: Values;
    qkv: Values;
    gates: Values;
    z: Values;
    lse: Values;
  },
  { B, T, NH, HS }: AttentionSizes,
): { dqkv: F64; rowdot: F64 } {
  const A = NH * HS, scale = 1 / Math.sqrt(HS);
  const dqkv = zeros(B * T * 3 * A), rowdot = zeros(B * NH * T);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < NH; h++) {
      for (let t = 0; t < T; t++) {
        const row = (b * NH + h) * T + t, out = (b * T + t) * A + h * HS;
        // zg = gate * z
        for (let i = 0; i < HS; i++) rowdot[row] += dzg[out + i] * z[out + i];
        const s = scores(qkv, b, h, t, { B, T, NH, HS });
        const q = (b * T + t) * 3 * A + h * HS;
        for (let key = 0; key <= t; key++) {
          const k = (b * T + key) * 3 * A + A + h * HS, v = k + A;
          const p = Math.exp(s[key] - lse[row]);
          let dp = 0;
          for (let i = 0; i < HS; i++) {
            // z += p * v
            const dz = gates[h] * dzg[out + i];
            dp += dz * qkv[v + i];
            dqkv[v + i] += p * dz;
          }
          // p = softmax(s): ds = p * (dp - sum p*dp), and sum p*dp = dz·z = gate * rowdot
          const ds = p * (dp - gates[h] * rowdot[row]);
          for (let i = 0; i < HS; i++) {
            // s = q·k * scale
            dqkv[q + i] += ds * scale * qkv[k + i];
            dqkv[k + i] += ds * scale * qkv[q + i];
          }
        }
      }
    }
  }
  return { dqkv, rowdot };
}

/** `losses[row] = lse(logits[row]) - logits[row, targets[row]]` in nats, and their mean. */
export function crossentropyForward(
  { logits, targets }: { logits: Values; targets: Tokens },
  { rows, V }: { rows: number; V: number },
): { losses: F64; lse: F64; mean: number } {
  const losses = zeros(rows), lse = zeros(rows);
  for (let row = 0; row < rows; row++) {
    if (!(targets[row] >= 0 && targets[row] < V)) {
      throw new RangeError(`target of row ${row} is not in the vocabulary: ${targets[row]}`);
    }
    const x = logits.subarray(row * V, (row + 1) * V);
    let max = -Infinity, sum = 0;
    for (let i = 0; i < V; i++) max = Math.max(max, x[i]);
    for (let i = 0; i < V; i++) sum += Math.exp(x[i] - max);
    lse[row] = max + Math.log(sum);
    losses[row] = lse[row] - x[targets[row]];
  }
  return { losses, lse, mean: losses.reduce((a, b) => a + b, 0) / rows };
}

/** Gradient of the mean loss: `dlogits[row, i] = (softmax(logits[row])[i] - [i is target]) / rows`. */
export function crossentropyBackward(
  { logits, targets, lse }: { logits: Values; targets: Tokens; lse: Values },
  { rows, V }: { rows: number; V: number },
): { dlogits: F64 } {
  const dlogits = zeros(rows * V);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < V; i++) {
      // loss = lse - logits[target]
      dlogits[row * V + i] = Math.exp(logits[row * V + i] - lse[row]) / rows;
    }
    dlogits[row * V + targets[row]] -= 1 / rows;
  }
  return { dlogits };
}
