import assert from "node:assert/strict";
import { makeConfig } from "../src/gpt2/config.ts";
import { type LiveHeads, type Parameter, parameterLayout } from "../src/gpt2/layout.ts";
import {
  assertClose,
  assertRelativeL2,
  randomArray,
  randomIntegers,
  randomStream,
} from "./close.ts";
import {
  adamwStep,
  attentionBackward,
  attentionForward,
  clipScale,
  crossentropyBackward,
  crossentropyForward,
  embeddingBackward,
  embeddingForward,
  geluBackward,
  geluForward,
  globalNorm,
  gpt2Reference,
  headBackward,
  headForward,
  headGradNorms,
  headStats,
  layernormBackward,
  layernormForward,
  matmulBackward,
  matmulForward,
} from "./reference.ts";

const random = (n: number, seed: number, scale = 1) =>
  Float64Array.from(randomArray(n, seed, scale));
const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);

/** Central differences err by h^2/6 of the third derivative, and by rounding / h. */
const H = 2e-5;

/** Derivatives of `loss` by the chosen elements of `values`, all of them unless given. */
function differences(
  values: Float64Array,
  loss: () => number,
  elements: Iterable<number> = values.keys(),
): number[] {
  return Array.from(elements, (i) => {
    const was = values[i];
    values[i] = was + H;
    const above = loss();
    values[i] = was - H;
    const below = loss();
    values[i] = was;
    return (above - below) / (2 * H);
  });
}

/** Holds every gradient against the differences of `loss` by the input of the same name. */
function checkGradients(
  inputs: Record<string, Float64Array>,
  gradients: Record<string, Float64Array>,
  loss: () => number,
) {
  for (const [name, values] of Object.entries(inputs)) {
    // Values of about 1, measured at most 1.3e-10 apart.
    assertClose(gradients[name], differences(values, loss), { atol: 1e-9, rtol: 1e-6, what: name });
  }
}

Deno.test("embedding: backward agrees with differences", () => {
  const B = 2, T = 5, C = 3, V = 4, positions = 6;
  const tokens = randomIntegers(B * T, 1, V); // more rows than tokens: some repeat
  const wte = random(V * C, 2), wpe = random(positions * C, 3), dout = random(B * T * C, 4);
  const { dwte, dwpe } = embeddingBackward({ dout, tokens }, { B, T, C, V, positions });
  checkGradients(
    { wte, wpe },
    { wte: dwte, wpe: dwpe },
    () => dot(dout, embeddingForward({ tokens, wte, wpe }, { B, T, C }).out),
  );
});

Deno.test("layernorm: backward agrees with differences", () => {
  const sizes = { rows: 5, C: 7, eps: 2e-3 };
  const inp = random(35, 1), weight = random(7, 2), bias = random(7, 3), dout = random(35, 4);
  const { mean, rstd } = layernormForward({ inp, weight, bias }, sizes);
  const d = layernormBackward({ dout, inp, weight, mean, rstd }, sizes);
  checkGradients(
    { inp, weight, bias },
    { inp: d.dinp, weight: d.dweight, bias: d.dbias },
    () => dot(dout, layernormForward({ inp, weight, bias }, sizes).out),
  );
});

Deno.test("layernorm: rows have mean 0, and variance 1 but for eps", () => {
  const C = 1001, weight = new Float64Array(C).fill(1), bias = new Float64Array(C);
  const inp = random(C, 1).map((x) => 50 + 3 * x);
  const { out, mean } = layernormForward({ inp, weight, bias }, { rows: 1, C, eps: 1e-9 });
  assertClose([dot(out, weight) / C, dot(out, out) / C], [0, 1], { atol: 1e-8 });
  assertClose(mean, [50], { atol: 0.2 });
});

Deno.test("matmul: backward agrees with differences", () => {
  const M = 5, K = 3, N = 7, sizes = { M, K, N };
  const inp = random(M * K, 1), weight = random(K * N, 2), bias = random(N, 3);
  const residual = random(M * N, 4), dout = random(M * N, 5);
  const d = matmulBackward({ dout, inp, weight }, sizes);
  checkGradients(
    { inp, weight, bias, residual },
    { inp: d.dinp, weight: d.dweight, bias: d.dbias, residual: dout },
    () => dot(dout, matmulForward({ inp, weight, bias, residual }, sizes).out),
  );
});

Deno.test("matmul: a product done by hand", () => {
  const inp = Float64Array.of(1, 2, 3, 4, 5, 6), weight = Float64Array.of(1, 0, -1, 2, 1, 1);
  assert.deepEqual(
    [...matmulForward({ inp, weight }, { M: 2, K: 3, N: 2 }).out],
    [1 - 2 + 3, 0 + 4 + 3, 4 - 5 + 6, 0 + 10 + 6],
  );
});

Deno.test("head: backward agrees with differences", () => {
  const sizes = { rows: 5, C: 3, V: 7 };
  const inp = random(15, 1), wte = random(21, 2), dlogits = random(35, 3);
  const d = headBackward({ dlogits, inp, wte }, sizes);
  checkGradients(
    { inp, wte },
    { inp: d.dinp, wte: d.dwte },
    () => dot(dlogits, headForward({ inp, wte }, sizes).logits),
  );
});

Deno.test("gelu: backward agrees with differences, far from 0 too", () => {
  const inp = random(41, 1, 6), dout = random(41, 2);
  const { dinp } = geluBackward({ dout, inp });
  checkGradients({ inp }, { inp: dinp }, () => dot(dout, geluForward({ inp }).out));
  const far = Float64Array.of(-1e4, -60, 60, 1e4), ones = far.map(() => 1);
  assertClose(geluForward({ inp: far }).out, [0, 0, 60, 1e4], { atol: 0 });
  assertClose(geluBackward({ dout: ones, inp: far }).dinp, [0, 0, 1, 1], { atol: 0 });
});

Deno.test("attention: backward agrees with differences, a gate of 0 included", () => {
  const B = 2, T = 7, NH = 3, HS = 5, A = NH * HS, sizes = { B, T, NH, HS };
  const qkv = random(B * T * 3 * A, 1, 2), gates = Float64Array.of(0.3, 0, 1);
  const dzg = random(B * T * A, 2);
  const { z, lse } = attentionForward({ qkv, gates }, sizes);
  const { dqkv, rowdot } = attentionBackward({ dzg, qkv, gates, z, lse }, sizes);
  const dgates = gates.map((_, h) => {
    let sum = 0;
    for (let b = 0; b < B; b++) {
      for (let t = 0; t < T; t++) sum += rowdot[(b * NH + h) * T + t];
    }
    return sum;
  });
  checkGradients(
    { qkv, gates },
    { qkv: dqkv, gates: dgates },
    () => dot(dzg, attentionForward({ qkv, gates }, sizes).zg),
  );
});

Deno.test("attention: equal keys attend uniformly, and nothing sees the future", () => {
  const B = 1, T = 5, NH = 2, HS = 3, A = NH * HS, sizes = { B, T, NH, HS };
  const gates = Float64Array.of(1, 0.5), qkv = random(T * 3 * A, 1);
  for (let t = 0; t < T; t++) qkv.fill(0.7, t * 3 * A + A, t * 3 * A + 2 * A);
  const { z, zg, entropy, first, znorm } = attentionForward({ qkv, gates }, sizes);
  const rows = Array.from({ length: NH * T }, (_, row) => row % T + 1);
  assertClose(entropy, rows.map(Math.log), { atol: 1e-14, what: "entropy" });
  assertClose(first, rows.map((n) => 1 / n), { atol: 1e-14, what: "first" });
  assertClose(z.subarray(0, A), qkv.subarray(2 * A, 3 * A), { atol: 1e-15, what: "z of row 0" });
  assertClose(zg, z.map((x, i) => x * gates[Math.floor(i % A / HS)]), { atol: 0, what: "zg" });
  assertClose([znorm[T - 1]], [globalNorm([z.subarray((T - 1) * A, (T - 1) * A + HS)])], {
    atol: 1e-14,
  });
  const changed = qkv.slice();
  changed.set(random(3 * A, 2), (T - 1) * 3 * A);
  const after = attentionForward({ qkv: changed, gates }, sizes).z;
  assert.deepEqual(after.subarray(0, (T - 1) * A), z.subarray(0, (T - 1) * A));
  assert.notDeepEqual(after, z);
});

Deno.test("crossentropy: backward agrees with differences", () => {
  const rows = 5, V = 7, logits = random(rows * V, 1, 4), targets = randomIntegers(rows, 2, V);
  const { lse } = crossentropyForward({ logits, targets }, { rows, V });
  const { dlogits } = crossentropyBackward({ logits, targets, lse }, { rows, V });
  checkGradients(
    { logits },
    { logits: dlogits },
    () => crossentropyForward({ logits, targets }, { rows, V }).mean,
  );
});

Deno.test("crossentropy: uniform logits cost ln V, huge ones do not overflow", () => {
  const logits = Float64Array.of(5, 5, 5, 1000, -1000, 0), sizes = { rows: 2, V: 3 };
  const { losses, mean } = crossentropyForward({ logits, targets: [2, 1] }, sizes);
  assertClose(losses, [Math.log(3), 2000], { atol: 1e-14 });
  assertClose([mean], [(Math.log(3) + 2000) / 2], { atol: 1e-12 });
  assert.throws(() => crossentropyForward({ logits, targets: [2, 3] }, sizes), /vocabulary: 3/);
});

const ADAMW = { lr: 0.1, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.5, step: 1 };

Deno.test("adamw: the first step moves by the rate against the gradient's sign, and decays", () => {
  const param = Float64Array.of(1, 1, -2), grad = Float64Array.of(3, -1e-3, 0);
  const m = new Float64Array(3), v = new Float64Array(3);
  const next = adamwStep({ param, grad, m, v }, ADAMW);
  assertClose(next.param, [0.95 - 0.1, 0.95 + 0.1, -1.9], { atol: 1e-5 }); // eps shows at 1e-3
  assertClose(next.m, [0.3, -1e-4, 0], { atol: 1e-15 });
  assertClose(next.v, [0.009, 1e-9, 0], { atol: 1e-15 });
  const halved = adamwStep({ param, grad, m, v }, { ...ADAMW, gradScale: 0.5 });
  const scaled = adamwStep({ param, grad: grad.map((x) => x / 2), m, v }, ADAMW);
  assert.deepEqual(halved, scaled);
});

Deno.test("adamw: a factor scales the whole update and leaves the moments alone", () => {
  const param = random(9, 1), grad = random(9, 2), m = random(9, 3), v = random(9, 4).map(Math.abs);
  const plain = adamwStep({ param, grad, m, v }, { ...ADAMW, step: 5 });
  const factor = Float64Array.from({ length: 9 }, (_, i) => i % 3); // 0, 1, 2
  const next = adamwStep({ param, grad, m, v, factor }, { ...ADAMW, step: 5 });
  assert.deepEqual([next.m, next.v], [plain.m, plain.v]);
  const two = adamwStep({ param, grad, m, v }, { ...ADAMW, step: 5, lr: 2 * ADAMW.lr });
  const expected = param.map((p, i) => [p, plain.param[i], two.param[i]][i % 3]);
  assert.deepEqual(next.param, expected);
});

Deno.test("norms: global, clip and per head", () => {
  assert.equal(globalNorm([Float64Array.of(3), Float64Array.of(0, 4)]), 5);
  assert.equal(clipScale(0.5, 1), 1);
  assertClose([clipScale(4, 1)], [1 / 4.000001], { atol: 1e-15 });
  const C = 6, NH = 3, HS = 2, A = NH * HS;
  const attnWeight = random(C * 3 * A, 1),
    attnBias = random(3 * A, 2),
    projWeight = random(A * C, 3);
  const norms = headGradNorms({ attnWeight, attnBias, projWeight }, { C, NH, HS });
  // All heads together own all of it, and clearing what head 1 owns leaves it nothing.
  assertClose([globalNorm([norms])], [globalNorm([attnWeight, attnBias, projWeight])], {
    atol: 1e-12,
  });
  const owns = (column: number) => Math.floor(column % A / HS) === 1;
  const cleared = headGradNorms({
    attnWeight: attnWeight.map((x, i) => owns(i % (3 * A)) ? 0 : x),
    attnBias: attnBias.map((x, i) => owns(i) ? 0 : x),
    projWeight: projWeight.map((x, i) => owns(Math.floor(i / C)) ? 0 : x),
  }, { C, NH, HS });
  assert.deepEqual([...cleared], [norms[0], 0, norms[2]]);
});

Deno.test("headStats: means by hand, without row 0", () => {
  const sizes = { B: 2, NH: 1, T: 3 };
  const entropy = Float64Array.of(9, Math.log(2), 0, 9, 0, Math.log(3));
  const first = Float64Array.of(9, 0.1, 0.2, 9, 0.3, 0.4),
    znorm = Float64Array.of(1, 2, 3, 4, 5, 6);
  const stats = headStats({ entropy, first, znorm }, sizes);
  assertClose(stats.entropy, [Math.log(6) / 4], { atol: 1e-15 });
  assertClose(stats.normalised, [0.5], { atol: 1e-15 });
  assertClose(stats.first, [0.25], { atol: 1e-15 });
  assertClose(stats.znorm, [3.5], { atol: 1e-15 });
  assert.throws(() => headStats({ entropy, first, znorm }, { ...sizes, T: 1 }), RangeError);
});

const SIZES = { L: 2, NH: 3, C: 15, V: 23, T: 9, F: 37, eps: 2e-5 }; // T 9 of which 7 are used
const TIED = makeConfig(SIZES), B = 2, T = 7;
const BATCH = {
  tokens: randomIntegers(B * T, 71, 23),
  targets: randomIntegers(B * T, 72, 23),
  B,
  T,
};
const GATES = Float64Array.of(0.9, 0.4, 1, 0, 1, 0.7);

function randomWeights(layout: Parameter[]): Map<string, Float64Array> {
  return new Map(layout.map(({ name, size, init }, i) => [
    name,
    random(size, i, 0.5).map((x) => init === "ones" ? 1 + x : x),
  ]));
}

for (const tied of [true, false]) {
  Deno.test(`gpt2: every gradient agrees with differences, ${tied ? "tied" : "untied"}`, () => {
    const config = makeConfig({ ...SIZES, tied }), gates = GATES.slice();
    const layout = parameterLayout(config), weights = randomWeights(layout);
    const loss = () => gpt2Reference(config, weights, { ...BATCH, gates }).loss;
    const { grads, dgates } = gpt2Reference(config, weights, { ...BATCH, gates });
    assert.deepEqual([...grads.keys()].sort(), [...weights.keys()].sort());

    const next = randomStream(5);
    for (const { name, size } of layout) {
      const values = weights.get(name)!, grad = grads.get(name)!;
      assert.equal(grad.length, size);
      const elements = Array.from({ length: 4 }, () => Math.floor(next() * size));
      // Measured at most 1.3e-10 apart, and 2.6e-9 along the longer way of a direction.
      assertClose(elements.map((i) => grad[i]), differences(values, loss, elements), {
        atol: 2e-9,
        rtol: 1e-6,
        what: name,
      });
      // Along one random direction, so that no element is left out.
      const direction = random(size, 900), start = values.slice(), t = Float64Array.of(0);
      const [along] = differences(t, () => {
        values.forEach((_, i) => values[i] = start[i] + t[0] * direction[i]);
        return loss();
      });
      values.set(start);
      assertClose([dot(grad, direction)], [along], {
        atol: 2e-9,
        rtol: 1e-6,
        what: `${name} along a direction`,
      });
    }
    const summed = gates.map((_, i) => dgates[i] + dgates[gates.length + i]);
    assertClose(summed, differences(gates, loss), { atol: 2e-9, rtol: 1e-6, what: "gates" });
  });
}

Deno.test("gpt2: each sample's gate gradient is its own", () => {
  const weights = randomWeights(parameterLayout(TIED));
  const { dgates } = gpt2Reference(TIED, weights, { ...BATCH, gates: GATES });
  for (let b = 0; b < B; b++) {
    const tokens = BATCH.tokens.subarray(b * T, (b + 1) * T);
    const targets = BATCH.targets.subarray(b * T, (b + 1) * T);
    const alone = gpt2Reference(TIED, weights, { tokens, targets, B: 1, T, gates: GATES });
    assertClose(dgates.subarray(b * 6, (b + 1) * 6), alone.dgates.map((x) => x / B), {
      atol: 1e-15,
    });
  }
});

Deno.test("gpt2: gates of 1 are no gates, to the bit", () => {
  const weights = randomWeights(parameterLayout(TIED));
  const without = gpt2Reference(TIED, weights, BATCH);
  const ones = gpt2Reference(TIED, weights, { ...BATCH, gates: new Float64Array(6).fill(1) });
  assert.deepEqual(ones, without);
  assert.notEqual(gpt2Reference(TIED, weights, { ...BATCH, gates: GATES }).loss, without.loss);
});

/** What is left of a parameter when only the `live` heads of its layer are kept. */
function compact({ name, layer, heads: axis }: Parameter, values: Float64Array, live: LiveHeads) {
  if (layer === undefined || !axis) return values;
  const { C, HS, NH } = TIED, rows = name.endsWith("bias") ? 1 : C;
  const kept: number[] = [];
  if (axis === "rows") {
    for (const h of live[layer]) kept.push(...values.subarray(h * HS * C, (h + 1) * HS * C));
    return Float64Array.from(kept);
  }
  for (let block = 0; block < 3 * rows; block++) {
    for (const h of live[layer]) {
      const at = (block * NH + h) * HS;
      kept.push(...values.subarray(at, at + HS));
    }
  }
  return Float64Array.from(kept);
}

for (const live of [[[0, 2], [1]], [[1], []]]) {
  Deno.test(`gpt2: heads ${JSON.stringify(live)} alone are the model with the rest gated to 0`, () => {
    const layout = parameterLayout(TIED), weights = randomWeights(layout);
    const gates = Float64Array.of(0.9, 0.4, 0.8, 0.3, 0.6, 0.7);
    const masked = gates.map((g, i) => live[Math.floor(i / 3)].some((h) => h === i % 3) ? g : 0);
    const full = gpt2Reference(TIED, weights, { ...BATCH, gates: masked });
    const small = new Map(layout.map((p) => [p.name, compact(p, weights.get(p.name)!, live)]));
    const found = gpt2Reference(TIED, small, { ...BATCH, gates, live });
    assertClose(found.logits, full.logits, { atol: 1e-13, what: "logits" });
    for (const parameter of layout) {
      const expected = compact(parameter, full.grads.get(parameter.name)!, live);
      const actual = found.grads.get(parameter.name)!;
      if (expected.length === 0) assert.equal(actual.length, 0);
      else assertRelativeL2(actual, expected, 1e-12, parameter.name);
    }
    const dgates = full.dgates.map((d, i) => masked[i % 6] === 0 ? 0 : d);
    assertRelativeL2(found.dgates, dgates, 1e-12, "gates");
  });
}

Deno.test("gpt2: a weight of the wrong size is refused by name", () => {
  const weights = randomWeights(parameterLayout(TIED));
  weights.set("h.1.ln_2.bias", new Float64Array(14));
  assert.throws(() => gpt2Reference(TIED, weights, BATCH), /h\.1\.ln_2\.bias has 14 .* of 15/);
  weights.delete("h.1.ln_2.bias");
  assert.throws(() => gpt2Reference(TIED, weights, BATCH), /h\.1\.ln_2\.bias has undefined/);
});
