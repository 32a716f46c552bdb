/**
 * Every kernel against its f64 oracle: odd and even sizes (scalar and vector loads), random upstream
 * gradients, outputs filled with garbage beforehand. Tolerances are in units of what fp32 sums of
 * that length can lose; each was seen to use less than a third of it on lavapipe.
 */
import assert from "node:assert/strict";
import { Gpu } from "../src/gpu/device.ts";
import { Plan, submit } from "../src/gpu/kernel.ts";
import { download, freeTensor, makeTensor, upload } from "../src/gpu/tensor.ts";
import { adamwStep } from "../src/kernels/adamw.ts";
import { attentionBackward, attentionForward } from "../src/kernels/attention.ts";
import {
  crossentropyBackward,
  crossentropyForward,
  crossentropyMean,
  IGNORE,
} from "../src/kernels/crossentropy.ts";
import { embeddingBackward, embeddingForward, tablePieces } from "../src/kernels/embedding.ts";
import { geluBackward, geluForward } from "../src/kernels/gelu.ts";
import { headstatsBackward, headstatsForward } from "../src/kernels/headstats.ts";
import { layernormBackward, layernormForward } from "../src/kernels/layernorm.ts";
import { defaultSchedule, linearBackward, matmul, SCHEDULES } from "../src/kernels/matmul.ts";
import { globalNorm, headNorms, normThreads } from "../src/kernels/norm.ts";
import { tuneMatmul } from "../src/kernels/tune.ts";
import { assertClose, randomArray, randomIntegers } from "./close.ts";
import { garbage, gpu, plus, withTensors } from "./gpu.ts";
import * as oracle from "./reference.ts";

/** The rows of a token list sorted by token, ties ascending. */
function sortedOrder(tokens: Uint32Array): Uint32Array {
  return Uint32Array.from(tokens.keys()).sort((a, b) => tokens[a] - tokens[b] || a - b);
}

for (const { B, T, C, V } of [{ B: 2, T: 7, C: 51, V: 211 }, { B: 3, T: 16, C: 64, V: 128 }]) {
  Deno.test(`embedding, B ${B}, T ${T}, C ${C}, V ${V}, in pieces`, async () => {
    const tokens = randomIntegers(B * T, 1, V);
    const wte = randomArray(V * C, 2), wpe = randomArray((T + 3) * C, 3);
    const dout = randomArray(B * T * C, 4);
    const pieces = tablePieces(V, C, 64 * C * 4); // several pieces
    const shape = { B, T, C, pieces };
    const forward = await withTensors(
      { tokens, wte, wpe, out: garbage(B * T * C) },
      (plan, t) => embeddingForward(plan, t as never, shape),
      ["out"],
    );
    const expected = oracle.embeddingForward({ tokens, wte, wpe }, { B, T, C });
    assertClose(forward.out, expected.out, { atol: 1e-6, what: "out" });

    const dwte = randomArray(V * C, 5), dwpe = randomArray((T + 3) * C, 6);
    const backward = await withTensors(
      { tokens, order: sortedOrder(tokens), dout, dwte, dwpe },
      (plan, t) => embeddingBackward(plan, t as never, shape),
      ["dwte", "dwpe"],
    );
    const grads = oracle.embeddingBackward({ dout, tokens }, { B, T, C, V, positions: T + 3 });
    assertClose(backward.dwte, plus(dwte, grads.dwte), { atol: 1e-5, what: "dwte" });
    assertClose(backward.dwpe, plus(dwpe, grads.dwpe), { atol: 1e-5, what: "dwpe" });
  });
}

for (const { rows, C } of [{ rows: 5, C: 51 }, { rows: 130, C: 128 }, { rows: 67, C: 300 }]) {
  Deno.test(`layernorm, ${rows} rows of ${C}`, async () => {
    const inp = randomArray(rows * C, 1, 3), weight = randomArray(C, 2), bias = randomArray(C, 3);
    const dout = randomArray(rows * C, 4), dinp = randomArray(rows * C, 5);
    const shape = { rows, C, eps: 1e-5 };
    const expected = oracle.layernormForward({ inp, weight, bias }, shape);
    const forward = await withTensors(
      { inp, weight, bias, out: garbage(rows * C), mean: garbage(rows), rstd: garbage(rows) },
      (plan, t) => layernormForward(plan, t as never, shape),
      ["out", "mean", "rstd"],
    );
    for (const key of ["out", "mean", "rstd"] as const) {
      assertClose(forward[key], expected[key], { atol: 2e-6, what: key });
    }
    const { mean, rstd } = expected;
    const grads = oracle.layernormBackward({ dout, inp, weight, mean, rstd }, shape);
    const dweight = randomArray(C, 6), dbias = randomArray(C, 7);
    for (const accumulate of [true, false]) {
      const backward = await withTensors(
        { inp, weight, mean, rstd, dout, dinp, dweight, dbias },
        (plan, t) => layernormBackward(plan, t as never, { rows, C, accumulate }),
        ["dinp", "dweight", "dbias"],
      );
      const dinpExpected = accumulate ? plus(dinp, grads.dinp) : grads.dinp;
      assertClose(backward.dinp, dinpExpected, { atol: 3e-6, what: "dinp" });
      assertClose(backward.dweight, plus(dweight, grads.dweight), { atol: 3e-5, what: "dweight" });
      assertClose(backward.dbias, plus(dbias, grads.dbias), { atol: 3e-5, what: "dbias" });
    }
  });
}

Deno.test("gelu, also at large arguments", async () => {
  const inp = randomArray(1003, 1, 6);
  inp.set([0, 1e3, -1e3, 50, -50, 1e10, -1e10, 12, -12]);
  const dout = randomArray(1003, 2);
  const forward = await withTensors(
    { inp, out: garbage(1003) },
    (plan, t) => geluForward(plan, t as never),
    ["out"],
  );
  const expected = oracle.geluForward({ inp });
  assertClose(forward.out, expected.out, { atol: 2e-6, rtol: 1e-6, what: "out" });
  // beyond fp32's range the gradient's x^2 (1 - y^2) is inf * 0: such inputs do not occur in a model
  inp.set([7, -7], 5);
  const backward = await withTensors(
    { inp, dout },
    (plan, t) => geluBackward(plan, t as never),
    ["dout"],
  );
  const { dinp } = oracle.geluBackward({ dout, inp });
  assertClose(backward.dout, dinp, { atol: 3e-6, what: "dinp" });
});

const usual = defaultSchedule(gpu.serial);
const others = SCHEDULES.filter((schedule) => schedule !== usual && schedule.entry === usual.entry);

for (const [M, K, N] of [[37, 51, 153], [74, 128, 96], [130, 68, 212], [3, 4, 5], [64, 17, 64]]) {
  // the other schedules of real GPUs at one odd shape, because software takes seconds to compile each
  for (const schedule of M === 130 ? [usual, ...others] : [usual]) {
    Deno.test(`matmul ${Object.values(schedule).join(" ")}, ${M} x ${K} x ${N}`, async () => {
      const a = randomArray(M * K, 1), b = randomArray(K * N, 2);
      const bias = randomArray(N, 3), residual = randomArray(M * N, 4), old = randomArray(M * N, 5);
      const plain = oracle.matmulForward({ inp: a, weight: b }, { M, K, N }).out;
      const full = oracle.matmulForward({ inp: a, weight: b, bias, residual }, { M, K, N }).out;
      const tolerance = { atol: 2e-7 * K };
      const at = Float32Array.from(oracle.transpose(a, M, K));
      const bt = Float32Array.from(oracle.transpose(b, K, N));
      const shape = { M, N, K, schedule };
      const nn = await withTensors(
        { a, b, bias, residual, out: garbage(M * N) },
        (plan, t) => matmul(plan, t as never, { product: "nn", ...shape }),
        ["out"],
      );
      assertClose(nn.out, full, { ...tolerance, what: "nn" });
      if (schedule !== usual) return;
      const nt = await withTensors(
        { a, b: bt, out: garbage(M * N) },
        (plan, t) => matmul(plan, t as never, { product: "nt", ...shape }),
        ["out"],
      );
      assertClose(nt.out, plain, { ...tolerance, what: "nt" });
      const tn = await withTensors(
        { a: at, b, out: old },
        (plan, t) => matmul(plan, t as never, { product: "tn", accumulate: true, ...shape }),
        ["out"],
      );
      assertClose(tn.out, plus(old, plain), { ...tolerance, what: "tn" });
    });
  }
}

Deno.test("every candidate gives the same bits, and the fastest is picked", async () => {
  const [M, K, N] = [70, 68, 92];
  const a = randomArray(M * K, 1), b = randomArray(K * N, 2);
  const bias = randomArray(N, 3), residual = randomArray(M * N, 4);
  const outs: Float32Array[] = [];
  for (const schedule of [usual, ...others]) {
    const { out } = await withTensors(
      { a, b, bias, residual, out: garbage(M * N) },
      (plan, t) => matmul(plan, t as never, { product: "nn", M, K, N, schedule }),
      ["out"],
    );
    outs.push(out);
  }
  for (const out of outs) assert.deepEqual(out, outs[0]);
  using own = await Gpu.open({ serial: gpu.serial });
  const bytes = own.bytes;
  const timed = await tuneMatmul(own, { sizes: { M, K, N }, milliseconds: 1 });
  assert.equal(own.bytes, bytes);
  assert.equal(timed.length, others.length === 0 ? 0 : 1 + others.length);
  assert.deepEqual(own.matmulSchedule, timed[0]?.schedule);
  for (let i = 1; i < timed.length; i++) assert.ok(timed[i].ms >= timed[i - 1].ms);
});

// with 16 rows software adapters read them as texels
for (const rows of [13, 16]) {
  Deno.test(`matmul with ${rows} rows of out and a longer than the product, as for logits`, async () => {
    const [C, V, stride] = [20, 27, 28];
    const h = randomArray(rows * C, 1), wte = randomArray(V * C, 2);
    const expected = oracle.headForward({ inp: h, wte }, { rows, C, V }).logits;
    const { out } = await withTensors(
      { a: h, b: wte, out: garbage(rows * stride) },
      (plan, t) =>
        matmul(plan, t as never, { product: "nt", M: rows, N: V, K: C, outStride: stride }),
      ["out"],
    );
    const kept = Float32Array.from(
      { length: rows * V },
      (_, i) => out[Math.floor(i / V) * stride + i % V],
    );
    assertClose(kept, expected, { atol: 2e-6, what: "logits" });

    const dlogits = randomArray(rows * stride, 3);
    for (let row = 0; row < rows; row++) dlogits.fill(0, row * stride + V, (row + 1) * stride);
    const dense = Float32Array.from(
      { length: rows * V },
      (_, i) => dlogits[Math.floor(i / V) * stride + i % V],
    );
    const grads = oracle.headBackward({ dlogits: dense, inp: h, wte }, { rows, C, V });
    const dh = await withTensors(
      { a: dlogits, b: wte, out: garbage(rows * C) },
      (plan, t) =>
        matmul(plan, t as never, { product: "nn", M: rows, N: C, K: V, aStride: stride }),
      ["out"],
    );
    assertClose(dh.out, grads.dinp, { atol: 1e-5, what: "dh" });
    const dwte = await withTensors(
      { a: dlogits, b: h, out: new Float32Array(V * C) },
      (plan, t) =>
        matmul(plan, t as never, {
          product: "tn",
          M: V,
          N: C,
          K: rows,
          aStride: stride,
          accumulate: true,
        }),
      ["out"],
    );
    assertClose(dwte.out, grads.dwte, { atol: 1e-5, what: "dwte" });
  });
}

Deno.test("matmul adds a bias and itself to what is there, as the residual stream does", async () => {
  const [M, K, N] = [70, 64, 36];
  const a = randomArray(M * K, 1), b = randomArray(K * N, 2);
  const bias = randomArray(N, 3), old = randomArray(M * N, 4);
  const expected =
    oracle.matmulForward({ inp: a, weight: b, bias, residual: old }, { M, K, N }).out;
  const { out } = await withTensors(
    { a, b, bias, out: old },
    (plan, t) => matmul(plan, t as never, { product: "nn", M, K, N, accumulate: true }),
    ["out"],
  );
  assertClose(out, expected, { atol: 2e-5, what: "out" });
});

Deno.test("plans share textures, and the last to go takes them along", async () => {
  using own = await Gpu.open({ serial: true });
  const shape = { product: "nn", M: 64, K: 64, N: 64 } as const;
  const before = own.bytes;
  const run = async (plan: Plan) => {
    const [a, b, out] = [1, 2, 3].map((name) => makeTensor(own, String(name), 4096));
    upload(own, a, randomArray(4096, 1));
    upload(own, b, randomArray(4096, 2));
    submit(own, [matmul(plan, { a, b, out }, shape)]);
    const [values] = await download(own, out);
    for (const tensor of [a, b, out]) freeTensor(own, tensor);
    return values;
  };
  const first = new Plan(own), second = new Plan(own);
  const expected = await run(first);
  const held = own.bytes;
  assert.ok(!own.readsTextures || held - before > 2 * 4096 * 4, "two textures and the uniforms");
  assert.deepEqual(await run(second), expected);
  assert.equal(own.bytes - held, held - before - (own.readsTextures ? 2 * 2048 * 16 : 0));
  first.dispose();
  first.dispose();
  assert.deepEqual(await run(second), expected);
  second.dispose();
  assert.equal(own.bytes, before);
  Object.defineProperty(own, "readsTextures", { value: false });
  using third = new Plan(own);
  assertClose(await run(third), expected, { atol: 1e-5, what: "from buffers" });
});

for (const { rows, IN, OUT } of [{ rows: 29, IN: 51, OUT: 17 }, { rows: 70, IN: 64, OUT: 36 }]) {
  Deno.test(`linear layer, ${rows} rows, ${IN} to ${OUT}`, async () => {
    const inp = randomArray(rows * IN, 1), weight = randomArray(IN * OUT, 2);
    const bias = randomArray(OUT, 3), dout = randomArray(rows * OUT, 4);
    const dweight = randomArray(IN * OUT, 5), dbias = randomArray(OUT, 6);
    const shape = { M: rows, K: IN, N: OUT };
    const forward = await withTensors(
      { a: inp, b: weight, bias, out: garbage(rows * OUT) },
      (plan, t) => matmul(plan, t as never, { product: "nn", ...shape }),
      ["out"],
    );
    const { out } = oracle.matmulForward({ inp, weight, bias }, shape);
    assertClose(forward.out, out, { atol: 1e-5, what: "out" });
    const backward = await withTensors(
      { inp, weight, dout, dinp: garbage(rows * IN), dweight, dbias },
      (plan, t) => linearBackward(plan, t as never, { rows, IN, OUT }),
      ["dinp", "dweight", "dbias"],
    );
    const grads = oracle.matmulBackward({ dout, inp, weight }, shape);
    assertClose(backward.dinp, grads.dinp, { atol: 1e-5, what: "dinp" });
    assertClose(backward.dweight, plus(dweight, grads.dweight), { atol: 1e-5, what: "dweight" });
    assertClose(backward.dbias, plus(dbias, grads.dbias), { atol: 1e-5, what: "dbias" });
  });
}

for (
  const { B, T, NH, HS } of [
    { B: 2, T: 37, NH: 3, HS: 17 },
    { B: 3, T: 18, NH: 5, HS: 16 },
    { B: 1, T: 70, NH: 2, HS: 64 },
    { B: 1, T: 1, NH: 1, HS: 4 },
  ]
) {
  Deno.test(`attention, B ${B}, T ${T}, NH ${NH}, HS ${HS}`, async () => {
    const A = NH * HS, head0 = 2;
    const qkv = randomArray(B * T * 3 * A, 1, 2), dzg = randomArray(B * T * A, 2);
    const gates = randomArray(head0 + NH, 3).map(Math.abs);
    gates[head0] = 0; // a closed gate: its gradient is still defined
    const local = gates.subarray(head0);
    const shape = { B, T, NH, HS };
    const expected = oracle.attentionForward({ qkv, gates: local }, shape);
    const before = head0 * B * T;
    const stats = garbage(4 * (before + NH * B * T));
    const forward = await withTensors(
      { qkv, gates, z: garbage(B * T * A), zg: garbage(B * T * A), stats },
      (plan, t) => attentionForward(plan, t as never, { ...shape, head0 }),
      ["z", "zg", "stats"],
    );
    assertClose(forward.z, expected.z, { atol: 5e-6, what: "z" });
    assertClose(forward.zg, expected.zg, { atol: 5e-6, what: "zg" });
    assertClose(forward.stats.subarray(0, 4 * before), stats.subarray(0, 4 * before), {
      atol: 0,
      what: "statistics of other layers",
    });
    // the oracle has [B, NH, T], the kernel [NH, B, T] with four numbers a row
    const place = (h: number, b: number, t: number) => (b * NH + h) * T + t;
    ([["lse", 0], ["entropy", 1], ["first", 2], ["znorm", 3]] as const).forEach(([key, i]) => {
      const mine: number[] = [], theirs: number[] = [];
      for (let h = 0; h < NH; h++) {
        for (let b = 0; b < B; b++) {
          for (let t = 0; t < T; t++) {
            mine.push(forward.stats[4 * (before + (h * B + b) * T + t) + i]);
            theirs.push(expected[key][place(h, b, t)]);
          }
        }
      }
      assertClose(mine, theirs, { atol: 2e-5, what: key });
    });

    const grads = oracle.attentionBackward(
      { dzg, qkv, gates: local, z: expected.z, lse: expected.lse },
      shape,
    );
    const saved = new Float32Array(4 * (before + NH * B * T));
    const rowdot = garbage(before + NH * B * T);
    const rowdotExpected: number[] = [];
    for (let h = 0; h < NH; h++) {
      for (let b = 0; b < B; b++) {
        for (let t = 0; t < T; t++) {
          saved[4 * (before + (h * B + b) * T + t)] = expected.lse[place(h, b, t)];
          rowdotExpected.push(grads.rowdot[place(h, b, t)]);
        }
      }
    }
    const backward = await withTensors(
      { qkv, gates, z: expected.z, stats: saved, dzg, rowdot, dqkv: garbage(B * T * 3 * A) },
      (plan, t) => attentionBackward(plan, t as never, { ...shape, head0 }),
      ["rowdot", "dqkv"],
    );
    assertClose(backward.dqkv, grads.dqkv, { atol: 2e-5, what: "dqkv" });
    assertClose(backward.rowdot.subarray(before), rowdotExpected, { atol: 2e-5, what: "rowdot" });
  });
}

Deno.test("headstats reduces rows to heads", async () => {
  const [heads, B, T] = [5, 3, 19];
  const stats = randomArray(4 * heads * B * T, 1).map(Math.abs);
  const rowdot = randomArray(heads * B * T, 2), sums = randomArray(heads * 8, 3);
  const { sums: got, gate_grads } = await withTensors(
    { stats, rowdot, sums, gate_grads: garbage(B * heads) },
    (plan, t) => [
      headstatsForward(plan, { stats: t.stats, sums: t.sums }, { heads, B, T, batch: B }),
      headstatsBackward(plan, { rowdot: t.rowdot, gate_grads: t.gate_grads, sums: t.sums }, {
        heads,
        B,
        T,
        batch: B,
      }),
    ],
    ["sums", "gate_grads"],
  );
  const column = (i: number) => {
    const values = new Float64Array(B * heads * T); // the oracle's [B, NH, T]
    for (let h = 0; h < heads; h++) {
      for (let b = 0; b < B; b++) {
        for (let t = 0; t < T; t++) {
          values[(b * heads + h) * T + t] = stats[4 * ((h * B + b) * T + t) + i];
        }
      }
    }
    return values;
  };
  const means = oracle.headStats(
    { entropy: column(1), first: column(2), znorm: column(3) },
    { B, NH: heads, T },
  );
  const expected = Float64Array.from(sums);
  for (let h = 0; h < heads; h++) {
    expected[h * 8] += means.entropy[h];
    expected[h * 8 + 1] += means.normalised[h];
    expected[h * 8 + 2] += means.first[h];
    expected[h * 8 + 3] += means.znorm[h];
    for (let b = 0; b < B; b++) {
      let g = 0;
      for (let t = 0; t < T; t++) g += B * rowdot[(h * B + b) * T + t];
      assertClose([gate_grads[b * heads + h]], [g], { atol: 1e-5, what: "gate gradient" });
      expected[h * 8 + 4] += g / B;
      expected[h * 8 + 6] += Math.abs(g) / B;
      expected[h * 8 + 7] += g * g / B;
    }
  }
  assertClose(got, expected, { atol: 1e-4, what: "sums" });
});

Deno.test("cross-entropy over vocabulary pieces, some rows not scored", async () => {
  const [rows, V, piece] = [37, 211, 80];
  const logits = randomArray(rows * V, 1, 8), targets = randomIntegers(rows, 2, V);
  const scored = targets.slice();
  for (const row of [0, 5, 36]) scored[row] = IGNORE;
  const expected = oracle.crossentropyForward({ logits, targets }, { rows, V });
  const weight = 1 / (rows - 3);
  const pieces: { V0: number; N: number; stride: number }[] = [];
  for (let V0 = 0; V0 < V; V0 += piece) {
    const N = Math.min(piece, V - V0);
    pieces.push({ V0, N, stride: Math.ceil(N / 4) * 4 });
  }
  const cut = ({ V0, N, stride }: typeof pieces[0]) => {
    const out = garbage(rows * stride);
    for (let row = 0; row < rows; row++) {
      for (let v = 0; v < N; v++) out[row * stride + v] = logits[row * V + V0 + v];
    }
    return out;
  };
  const hyper = new Float32Array([0, 0, 0, 1, weight]);
  const got = await withTensors(
    {
      ...Object.fromEntries(pieces.map((p, i) => [`logits${i}`, cut(p)])),
      targets: scored,
      hyper,
      state: garbage(rows * 4),
      losses: garbage(rows),
      ring: new Float32Array(4),
    },
    (plan, { targets, hyper, state, losses, ring, ...rest }) => [
      ...pieces.map((shape, i) =>
        crossentropyForward(plan, { logits: rest[`logits${i}`], targets, state, losses }, {
          rows,
          ...shape,
          first: i === 0,
          last: i === pieces.length - 1,
        })
      ),
      crossentropyMean(plan, { losses, hyper, ring }, { rows }),
      ...pieces.map((shape, i) =>
        crossentropyBackward(plan, { logits: rest[`logits${i}`], targets, state, hyper }, {
          rows,
          ...shape,
        })
      ),
    ],
    ["losses", "ring", ...pieces.map((_, i) => `logits${i}`)],
  );
  const losses = expected.losses.map((loss, row) => scored[row] === IGNORE ? 0 : loss);
  assertClose(got.losses, losses, { atol: 5e-6, what: "losses" });
  const mean = losses.reduce((a, b) => a + b) * weight;
  assertClose([got.ring[2]], [mean], { atol: 5e-6, what: "mean" });
  pieces.forEach(({ V0, N, stride }, i) => {
    const d = new Float64Array(rows * stride);
    for (let row = 0; row < rows; row++) {
      if (scored[row] === IGNORE) continue;
      for (let v = 0; v < N; v++) {
        const p = Math.exp(logits[row * V + V0 + v] - expected.lse[row]);
        d[row * stride + v] = (p - (targets[row] === V0 + v ? 1 : 0)) * weight;
      }
    }
    assertClose(got[`logits${i}`], d, { atol: 1e-7, what: `dlogits of piece ${i}` });
  });
});

for (const { NH, HS, C } of [{ NH: 3, HS: 17, C: 51 }, { NH: 5, HS: 8, C: 64 }]) {
  Deno.test(`norms and AdamW, NH ${NH}, HS ${HS}, C ${C}`, async () => {
    const A = NH * HS, head0 = 1, ring = new Float32Array(4);
    const dqkv_weight = randomArray(C * 3 * A, 1), dqkv_bias = randomArray(3 * A, 2);
    const dproj_weight = randomArray(A * C, 3), sums = randomArray((head0 + NH) * 8, 4);
    const heads = await withTensors(
      { dqkv_weight, dqkv_bias, dproj_weight, sums },
      (plan, t) => headNorms(plan, t as never, { NH, HS, C, head0 }),
      ["sums"],
    );
    const norms = oracle.headGradNorms(
      { attnWeight: dqkv_weight, attnBias: dqkv_bias, projWeight: dproj_weight },
      { C, NH, HS },
    );
    const expectedSums = Float64Array.from(sums);
    norms.forEach((norm, h) => expectedSums[(head0 + h) * 8 + 5] += norm);
    assertClose(heads.sums, expectedSums, { atol: 1e-4, what: "head norms" });

    const lr = 1e-2, step = 3, [b1, b2, eps, decay, clip] = [0.9, 0.999, 1e-8, 0.1, 1];
    const hyper = new Float32Array([lr, 1 / (1 - b1 ** step), 1 / Math.sqrt(1 - b2 ** step), 1, 1]);
    const all = oracle.globalNorm([dqkv_weight]);
    const norm = await withTensors(
      {
        grads: dqkv_weight,
        partials: garbage(normThreads(dqkv_weight.length)),
        hyper,
        norm: garbage(2),
        ring,
      },
      (plan, t) => globalNorm(plan, { ...t, grads: [t.grads] } as never, { clip }),
      ["norm", "ring"],
    );
    const scale = oracle.clipScale(all, clip);
    assertClose(norm.norm, [all, scale], { atol: 0, rtol: 1e-5, what: "norm and scale" });
    assertClose([norm.ring[3]], [all], { atol: 0, rtol: 1e-5, what: "norm in the ring" });

    const factors = randomArray(head0 + NH, 5).map(Math.abs);
    const owners = [
      { grad: dqkv_weight, axis: "qkv", columns: 3 * A, head: (i: number) => i % (3 * A) % A / HS },
      { grad: dqkv_bias, axis: "qkv", columns: 3 * A, head: (i: number) => i % A / HS },
      { grad: dproj_weight, axis: "rows", columns: C, head: (i: number) => i / C / HS },
      { grad: dproj_weight, axis: undefined, columns: C, head: () => -1 },
    ] as const;
    for (const { grad, axis, columns, head } of owners) {
      const n = grad.length;
      const param = randomArray(n, 6), m = randomArray(n, 7), v = randomArray(n, 8).map(Math.abs);
      const got = await withTensors(
        { param, grad, m, v, hyper, norm: new Float32Array([all, scale]), factors },
        (plan, t) =>
          adamwStep(plan, t as never, {
            b1,
            b2,
            eps,
            decay,
            ...(axis && { heads: { axis, head0, HS, A, columns } }),
          }),
        ["param", "m", "v"],
      );
      const factor = Float64Array.from({ length: n }, (_, i) => {
        const h = Math.floor(head(i));
        return h < 0 ? 1 : factors[head0 + h];
      });
      const expected = oracle.adamwStep({ param, grad, m, v, factor }, {
        lr,
        beta1: b1,
        beta2: b2,
        eps,
        weightDecay: decay,
        step,
        gradScale: scale,
      });
      for (const key of ["param", "m", "v"] as const) {
        assertClose(got[key], expected[key], { atol: 1e-6, rtol: 1e-5, what: `${axis} ${key}` });
      }
    }
  });
}
