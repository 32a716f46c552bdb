/** The kernels of decoding against the f64 oracles of whole windows, and products of few rows. */
import assert from "node:assert/strict";
import { CURSOR } from "../src/kernels/sampling.ts";
import { cacheAttend, cacheStore, decodeEmbed } from "../src/kernels/decode.ts";
import { tablePieces } from "../src/kernels/embedding.ts";
import { gemv } from "../src/kernels/gemv.ts";
import { assertClose, randomArray, randomIntegers } from "./close.ts";
import { garbage, withTensors } from "./gpu.ts";
import * as oracle from "./reference.ts";

/** Cursors whose last tokens stand at these places. */
function cursorsAt(places: number[]): Uint32Array {
  const cursors = new Uint32Array(places.length * CURSOR).fill(7);
  places.forEach((place, b) => cursors[b * CURSOR] = place);
  return cursors;
}

for (
  const { NH, HS, T, S, places } of [
    { NH: 3, HS: 17, T: 9, S: 20, places: [0, 8, 5] },
    { NH: 5, HS: 16, T: 150, S: 151, places: [149, 64, 63, 1] },
    { NH: 2, HS: 72, T: 70, S: 70, places: [69] },
    { NH: 1, HS: 131, T: 3, S: 4, places: [2, 1] },
  ]
) {
  Deno.test(`attention from the cache, NH ${NH}, HS ${HS}, ${places} of ${T} places`, async () => {
    const B = places.length, A = NH * HS, head0 = 2;
    const qkv = randomArray(B * T * 3 * A, 1, 2);
    const gates = randomArray(head0 + NH, 3);
    const rows = places.map((place, b) => (b * T + place) * 3 * A);
    const own = new Float32Array(rows.flatMap((at) => [...qkv.subarray(at, at + 3 * A)]));
    // the last token's keys and values come in a pass of their own, over what stands there
    const before = qkv.slice();
    rows.forEach((at) => before.set(garbage(2 * A), at + A));
    const shape = { B, S, NH, HS };
    const { cache, zg } = await withTensors(
      {
        ...{ before, own, gates, zg: garbage(B * A), cache: garbage(B * S * 2 * A) },
        scores: garbage(B * NH * S),
        cursors: cursorsAt(places),
      },
      (plan, { before, own, cursors, cache, ...t }) => [
        cacheStore(plan, { qkv: before, cache }, { ...shape, T }),
        cacheStore(plan, { qkv: own, cache, cursors }, { ...shape, T: 1 }),
        ...cacheAttend(plan, { qkv: own, cache, cursors, ...t } as never, { ...shape, head0 }),
      ],
      ["cache", "zg"],
    );
    for (let b = 0; b < B; b++) {
      for (let t = 0; t < T; t++) {
        const at = (b * T + t) * 3 * A + A;
        const row = (b * S + t) * 2 * A;
        assert.deepEqual(cache.subarray(row, row + 2 * A), qkv.subarray(at, at + 2 * A));
      }
    }
    assert.deepEqual(
      cache.subarray(T * 2 * A, S * 2 * A),
      garbage(B * S * 2 * A).subarray(T * 2 * A, S * 2 * A),
    );
    const all = oracle.attentionForward({ qkv, gates: gates.subarray(head0) }, { B, T, NH, HS });
    const expected = places.flatMap((place, b) => {
      const at = (b * T + place) * A;
      return [...all.zg.subarray(at, at + A)];
    });
    assertClose(zg, expected, { atol: 5e-6, what: "zg" });
  });
}

Deno.test("embedding of the last tokens, in pieces", async () => {
  const places = [3, 0, 10], B = 3, S = 12, C = 52, V = 211;
  const tokens = randomIntegers(B * S, 1, V);
  const wte = randomArray(V * C, 2), wpe = randomArray(S * C, 3);
  const { out } = await withTensors(
    { tokens, cursors: cursorsAt(places), wte, wpe, out: garbage(B * C) },
    (plan, t) => decodeEmbed(plan, t as never, { B, S, C, pieces: tablePieces(V, C, 64 * C * 4) }),
    ["out"],
  );
  const all = oracle.embeddingForward({ tokens, wte, wpe }, { B, T: S, C }).out;
  const expected = places.flatMap((place, b) => {
    const at = (b * S + place) * C;
    return [...all.subarray(at, at + C)];
  });
  assertClose(out, expected, { atol: 1e-6, what: "out" });
});

for (const [M, K, N] of [[1, 64, 44], [3, 51, 37], [8, 300, 12], [19, 132, 260], [1, 1, 1]]) {
  Deno.test(`products of few rows, ${M} x ${K} x ${N}`, async () => {
    const a = randomArray(M * K, 1), b = randomArray(K * N, 2);
    const bias = randomArray(N, 3), residual = randomArray(M * N, 4), old = randomArray(M * N, 5);
    const full = oracle.matmulForward({ inp: a, weight: b, bias, residual }, { M, K, N }).out;
    const tolerance = { atol: 2e-7 * K };
    const nn = await withTensors(
      { a, b, bias, residual, out: garbage(M * N) },
      (plan, t) => gemv(plan, t as never, { product: "nn", M, N, K }),
      ["out"],
    );
    assertClose(nn.out, full, { ...tolerance, what: "nn" });
    const added = oracle.matmulForward({ inp: a, weight: b, bias, residual: old }, { M, K, N }).out;
    const onto = await withTensors(
      { a, b, bias, out: old },
      (plan, t) => gemv(plan, t as never, { product: "nn", M, N, K, accumulate: true }),
      ["out"],
    );
    assertClose(onto.out, added, { ...tolerance, what: "nn, added" });

    const stride = N + 3;
    const plain = oracle.matmulForward({ inp: a, weight: b }, { M, K, N }).out;
    const bt = Float32Array.from(oracle.transpose(b, K, N));
    const product = { product: "nt", N, K, outStride: stride } as const;
    const nt = await withTensors(
      { a, b: bt, out: garbage(M * stride) },
      (plan, t) => gemv(plan, t as never, { ...product, M }),
      ["out"],
    );
    for (let m = 0; m < M; m++) {
      const row = nt.out.subarray(m * stride, m * stride + N);
      assertClose(row, plain.subarray(m * N, (m + 1) * N), { ...tolerance, what: "nt" });
      assert.deepEqual(
        nt.out.subarray(m * stride + N, (m + 1) * stride),
        garbage(M * stride).subarray(m * stride + N, (m + 1) * stride),
        "nothing is written between rows",
      );
    }
    // a row alone is the same bits
    const last = await withTensors(
      { a: a.slice((M - 1) * K), b: bt, out: garbage(stride) },
      (plan, t) => gemv(plan, t as never, { ...product, M: 1 }),
      ["out"],
    );
    assert.deepEqual(last.out.subarray(0, N), nt.out.subarray((M - 1) * stride, M * stride - 3));
  });
}
