/** The bench: the task it times, its arithmetic, and what it prints where a number is missing. */
import assert from "node:assert/strict";
import { compareMemory, countParameters } from "../bench/memory.ts";
import { measureModel } from "../bench/model.ts";
import { compare, parsePeers } from "../bench/peers.ts";
import { percent, show } from "../bench/print.ts";
import { columns } from "../scripts/columns.ts";
import { sharesOf } from "../bench/profile.ts";
import { checkLoss, hash, taskBatch, taskConfig, TASKS, taskWeights } from "../bench/task.ts";
import { SubmitClock } from "../bench/timing.ts";
import { spread } from "../src/spread.ts";
import { parameterLayout } from "../src/gpt2/layout.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";

/** The hash in unbounded integers, cut to 32 bits after every step. */
function exactHash(i: number, seed: number): number {
  const bits = (1n << 32n) - 1n;
  let x = (BigInt(i) * 0x9e3779b1n + BigInt(seed) * 0x85ebca6bn) & bits;
  x = ((x ^ (x >> 16n)) * 0x7feb352dn) & bits;
  x = ((x ^ (x >> 15n)) * 0x846ca68bn) & bits;
  return Number(x ^ (x >> 16n));
}

Deno.test("bench: hashes are exact", () => {
  for (const seed of [1, 2, 51, 999]) {
    for (const i of [0, 1, 2, 255, 65_536, 1_572_863]) {
      assert.equal(hash(i, seed), exactHash(i, seed), `hash(${i}, ${seed})`);
    }
  }
});

Deno.test("bench: weights and tokens begin as the hash says", () => {
  const weights = taskWeights(TASKS.S);
  // wte is parameter 1; c_attn of layer 0 is the fifth: after wte, wpe, ln_1's weight and bias
  const places = [["wte.weight", 1], ["wpe.weight", 2], ["h.0.attn.c_attn.weight", 5]] as const;
  for (const [name, seed] of places) {
    const expected = [0, 1, 2].map((i) => (exactHash(i, seed) / 2 ** 31 - 1) * 0.02 * 3 ** 0.5);
    assertClose(weights.get(name)!.subarray(0, 3), expected, { atol: 0, rtol: 1e-7, what: name });
  }
  assert.deepEqual(new Set(weights.get("h.3.ln_2.weight")), new Set([1]));
  assert.deepEqual(new Set(weights.get("h.3.mlp.c_fc.bias")), new Set([0]));

  const { T, V } = TASKS.S;
  const { inputs, targets } = taskBatch(TASKS.S);
  assert.equal(inputs[0], exactHash(0, 999) % V);
  assert.equal(inputs[T], exactHash(T + 1, 999) % V, "the second sequence begins after T + 1");
  assert.deepEqual(targets.subarray(0, T - 1), inputs.subarray(1, T), "targets follow inputs");
  assert.equal(targets[T - 1], exactHash(T, 999) % V);
});

Deno.test("bench: another loss than the known one stops it", () => {
  checkLoss("S", 6.9636, "loss");
  assert.throws(() => checkLoss("S", 6.9653, "loss"), /Wrong loss at S: 6.9653 where 6.9633/);
  assert.throws(() => checkLoss("M", NaN, "loss"), /Wrong loss at M: NaN/);
});

Deno.test("bench: memory of a tiny model, by hand", () => {
  const tiny = { B: 1, T: 2, L: 1, NH: 1, C: 2, A: 2, F: 8, V: 3 };
  // wte 6, wpe 4; norms 4 + 4 + 4; c_attn 12 + 6, c_proj 4 + 2; c_fc 16 + 8, c_proj 16 + 2
  assert.equal(countParameters(tiny), 88);
  // with 2 rows: tokens 4, stream 12, norms 24, qkv 12, heads 4, lse 2, MLP 32, logits 6
  const memory = compareMemory(tiny, 2240);
  assert.equal(memory.least_bytes, 4 * (4 * 88 + 96));
  assert.equal(memory.ratio, 1.25);
});

Deno.test("bench: parameters are counted as the layout lists them", () => {
  for (const task of Object.values(TASKS)) {
    const config = taskConfig(task);
    const listed = parameterLayout(config).reduce((sum, { size }) => sum + size, 0);
    assert.equal(countParameters({ ...task, A: config.C, F: config.F }), listed);
  }
});

Deno.test("bench: numbers and their absence", () => {
  assert.equal(show(undefined, "ms"), "-");
  assert.equal(show(NaN), "-");
  assert.equal(show(Infinity), "-");
  assert.equal(show(0.012345, "ms"), "0.0123 ms");
  assert.equal(show(98.76), "98.8");
  assert.equal(show(12345.6), "12,346");
  assert.equal(show(1234567), "1,234,567");
  assert.equal(percent(undefined), "-");
  assert.equal(percent(0.1234), "12.3 %");
  assert.deepEqual(columns([["a", "1"], ["long", show(undefined)], ["b"]]), [
    "  a     1",
    "  long  -",
    "  b",
  ]);
  assert.deepEqual(columns([]), []);
});

Deno.test("bench: timings in order, even and odd", () => {
  assert.deepEqual(spread([3, 1, 2]), { median: 2, min: 1, max: 3, n: 3 });
  assert.equal(spread([4, 1, 2, 10]).median, 3);
  assert.throws(() => spread([]), RangeError);
});

Deno.test("bench: an op without a time has no share and spoils no other's", () => {
  const op = { phase: "forward", calls: 1 } as const;
  const { ops, sum_ms } = sharesOf([
    { ...op, op: "short" },
    { ...op, op: "b", ms: 1 },
    { ...op, op: "a", ms: 3 },
  ]);
  assert.equal(sum_ms, 4);
  assert.deepEqual(ops.map(({ op, share }) => [op, share]), [["a", 0.75], ["b", 0.25], [
    "short",
    undefined,
  ]]);
});

Deno.test("bench: a peer that failed, or computed something else, has no time", () => {
  const adapter = "llvmpipe";
  const line = { peer: "jax-js-webgpu", size: "S", what: "train", ms: 900, loss0: 6.9633, adapter };
  const rows = parsePeers([
    "a message",
    JSON.stringify(line),
    JSON.stringify({ ...line, peer: "wrong-webgpu", ms: 1, loss0: 6.95 }),
    JSON.stringify({ ...line, peer: "timeless-webgpu", ms: 0 }),
    JSON.stringify({ ...line, peer: "elsewhere-webgpu", ms: 5, adapter: "another" }),
    JSON.stringify({ ...line, peer: "tfjs-wasm", ms: 30, adapter: "-" }),
    JSON.stringify({ failed: "deno run -A tfjs_step.ts S train webgpu n=5" }),
    JSON.stringify({ peer: "zeros-webgpu", size: "8x8x8", what: "matmul", ms: 1, maxErr: 3 }),
    '{"peer":"cut o',
  ].join("\n"));
  assert.deepEqual(rows.map(({ failed }) => failed !== undefined), [
    false,
    true,
    true,
    false,
    false,
    true,
    true,
    true,
  ]);
  assert.ok(rows.every(({ failed, ms }) => failed === undefined || ms === undefined));
  assert.deepEqual(rows[5], {
    peer: "tfjs_step.ts webgpu",
    size: "S",
    what: "train",
    failed: "it ended without a result",
  });

  const ours = { what: "train", size: "S", ours_ms: [80, 100] } as const;
  const compared = compare({ ...ours, ours_ms: [...ours.ours_ms] }, rows, adapter);
  assert.equal(compared.peers.length, 6, "the product is of another table");
  assert.deepEqual(compared.fastest_webgpu, { peer: "jax-js-webgpu", ratio: 10 });
  const none = compare({ ...ours, ours_ms: [80] }, rows, "a third adapter");
  assert.equal(none.fastest_webgpu, undefined);
});

Deno.test("bench: time inside submit is counted, and only while asked", async () => {
  const { queue } = gpu.device, submit = queue.submit;
  {
    using clock = new SubmitClock(gpu);
    await gpu.idle();
    assert.ok(clock.ms > 0);
    assert.notEqual(queue.submit, submit);
  }
  assert.equal(queue.submit, submit);
});

Deno.test("bench: the first step at S has the peers' loss and fits its memory", async () => {
  const before = gpu.bytes;
  const { loss, memory } = await measureModel(gpu, { size: "S", parts: ["memory"], repeats: 1 });
  assertClose([loss], [6.9633], { atol: 1e-4, what: "loss of step 1" });
  assert.ok(memory!.ratio > 1 && memory!.ratio <= 1.3, `memory ratio ${memory!.ratio}`);
  assert.equal(gpu.bytes, before, "all of it is given back");
});
