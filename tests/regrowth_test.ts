/** Heads that go and come back: exactly, gradually, and chosen by what was measured. */
import assert from "node:assert/strict";
import { initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { putHead, takeHead } from "../src/gpt2/heads.ts";
import { allHeads } from "../src/gpt2/layout.ts";
import { measureDormant } from "../src/plasticity/dormant.ts";
import {
  chooseGrowth,
  GROWTH_NAMES,
  type GrowthInputs,
  GROWTHS,
  liveCorrelations,
  scoreGrowth,
} from "../src/plasticity/growth.ts";
import { leaveOneOut } from "../src/plasticity/leave_one_out.ts";
import {
  influence,
  PlasticModel,
  type PlasticState,
  RAMP_STEPS,
} from "../src/plasticity/plastic_model.ts";
import { donorParts, freshParts } from "../src/plasticity/regrow.ts";
import { Random } from "../src/random.ts";
import { assertClose, randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";

const config = makeConfig({ L: 2, NH: 3, C: 36, V: 64, T: 16, initializerRange: 0.3 });
const shape = { B: 2, T: 16 };
const batch = (seed: number) => ({
  inputs: randomIntegers(32, seed, 64),
  targets: randomIntegers(32, seed + 100, 64),
});
const begin = (keep = true) =>
  new PlasticModel(gpu, config, { live: allHeads(config), weights: initWeights(config, 1) }, {
    ...shape,
    keep,
  });
const train = (plastic: PlasticModel, steps: number, from = 0) => {
  for (let i = 0; i < steps; i++) {
    const { inputs, targets } = batch(from + i);
    plastic.step(inputs, targets, { learningRate: 3e-3 });
  }
};
const lossOf = async (plastic: PlasticModel, seed = 50) => {
  const { inputs, targets } = batch(seed);
  const windows = [0, 16].map((at) => ({
    inputs: inputs.subarray(at, at + 16),
    targets: targets.subarray(at, at + 16),
    from: 0,
  }));
  return (await plastic.trainer.evaluator.evaluate(windows)).loss;
};
const bits = ({ live, weights, optimizer: { m, v, steps } }: PlasticState) => ({
  live,
  steps,
  values: [weights, m, v].map((map) => [...map].sort(([a], [b]) => a < b ? -1 : 1)),
});

Deno.test("a head's slices come out and go in again", () => {
  const live = [[0, 2], [1]];
  const weights = new Map([...initWeights(config, 2)].map(([name, values]) => {
    if (!name.includes("attn") || name.endsWith("c_proj.bias")) return [name, values];
    const layer = Number(name[2]);
    return [name, values.slice(0, values.length / 3 * live[layer].length)];
  }));
  const own = takeHead(config, weights, live, { layer: 0, head: 2 });
  assert.deepEqual([...own.keys()], [
    "h.0.attn.c_attn.weight",
    "h.0.attn.c_attn.bias",
    "h.0.attn.c_proj.weight",
  ]);
  const before = new Map([...weights].map(([name, values]) => [name, values.slice()]));
  const zeros = new Map([...own].map(([name, values]) => [name, values.map(() => 0)]));
  putHead(config, weights, live, { layer: 0, head: 2 }, zeros);
  const row = weights.get("h.0.attn.c_proj.weight")!;
  assert.ok(row.subarray(12 * 36).every((x) => x === 0), "the second of two heads");
  assert.ok(row.subarray(0, 12 * 36).every((x) => x !== 0), "the first is as it was");
  putHead(config, weights, live, { layer: 0, head: 2 }, own);
  assert.deepEqual(weights, before);
});

Deno.test("a warm head at full influence undoes its pruning to the last bit, moments and all", async () => {
  using plastic = begin();
  train(plastic, 5);
  const before = bits(await plastic.state()), loss = await lossOf(plastic);
  const gone = [{ layer: 0, head: 1 }, { layer: 1, head: 0 }];
  await plastic.prune(gone);
  assert.notEqual(await lossOf(plastic), loss);
  assert.deepEqual(plastic.stored.map(({ layer, head, step }) => [layer, head, step]), [
    [0, 1, 5],
    [1, 0, 5],
  ]);
  await plastic.grow(plastic.stored.map((parts) => ({ ...parts, parts })), { ramp: false });
  assert.deepEqual(bits(await plastic.state()), before);
  assert.equal(await lossOf(plastic), loss);
  assert.equal(plastic.stored.length, 0);

  // and training goes on as if nothing had been
  using never = begin();
  train(never, 5);
  train(plastic, 3, 5);
  train(never, 3, 5);
  assert.deepEqual(bits(await plastic.state()), bits(await never.state()));
});

Deno.test("influence rises from 0.01 to 1 over 100 steps, inside the training step", async () => {
  assert.deepEqual([0, 50, 99, 100, 1000].map(influence), [0.01, 0.505, 0.01 + 98.01 / 100, 1, 1]);
  using plastic = begin();
  await plastic.prune([{ layer: 1, head: 2 }]);
  const gates = new Float32Array(6).fill(0.5);
  plastic.setGates(gates);
  const [parts] = plastic.stored;
  await plastic.grow([{ layer: 1, head: 2, parts }]);
  assertClose(plastic.effectiveGates, [0.5, 0.5, 0.5, 0.5, 0.5, 0.005], { atol: 1e-7, what: "0" });
  train(plastic, 30);
  assertClose([plastic.effectiveGates[5]], [0.5 * (0.01 + 0.99 * 0.3)], { atol: 1e-7, what: "30" });
  const half = await plastic.state();
  assert.deepEqual(half.growing, [[1, 2, 30]]);
  using copy = new PlasticModel(gpu, config, half, { ...shape, keep: true });
  copy.setGates(gates);
  assert.deepEqual(copy.effectiveGates, plastic.effectiveGates);
  train(plastic, RAMP_STEPS - 30);
  assert.deepEqual(plastic.effectiveGates, gates);
  assert.deepEqual(plastic.growing, []);
  await assert.rejects(() => plastic.grow([{ layer: 1, head: 2, parts }]), /is live already/);
  await plastic.prune([{ layer: 1, head: 2 }]);
  await assert.rejects(() => plastic.prune([{ layer: 1, head: 2 }]), /it is not live/);
});

Deno.test("donors and fresh heads begin as they should", async () => {
  using plastic = begin();
  train(plastic, 4);
  await plastic.prune([{ layer: 0, head: 1 }]);
  const { live, weights, optimizer: { m, v } } = await plastic.state();
  const model = { live, weights, m, v };
  const donor = { layer: 0, head: 2 };
  const copy = donorParts(config, model, donor, new Random(1));
  const again = donorParts(config, model, donor, new Random(1));
  assert.deepEqual(copy, again);
  const own = takeHead(config, weights, live, donor);
  for (const [name, values] of own) {
    const rms = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    const off = copy.weights.get(name)!.map((x, i) => x - values[i]);
    const noise = Math.sqrt(off.reduce((sum, x) => sum + x * x, 0) / off.length);
    assert.ok(noise > 0.07 * rms && noise < 0.13 * rms, `${name}: ${noise / rms}`);
  }
  const fresh = freshParts(config, model, 0, new Random(2));
  const std = (name: string) => {
    const values = fresh.weights.get(name)!;
    return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
  };
  assert.ok(Math.abs(std("h.0.attn.c_attn.weight") - 0.3) < 0.03);
  assert.ok(Math.abs(std("h.0.attn.c_proj.weight") - 0.3 / 2) < 0.02, "1/sqrt(2L) with L 2");
  assert.ok(fresh.weights.get("h.0.attn.c_attn.bias")!.every((x) => x === 0));
  const mean = [0, 2].map((head) => takeHead(config, v, live, { layer: 0, head }));
  for (const [name, values] of fresh.v) {
    assertClose(values, values.map((_, i) => (mean[0].get(name)![i] + mean[1].get(name)![i]) / 2), {
      atol: 1e-12,
      what: name,
    });
    assert.ok(fresh.m.get(name)!.every((x) => x === 0));
  }
});

Deno.test("dormant heads are measured exactly, and change nothing", async () => {
  using plastic = begin();
  train(plastic, 4);
  await plastic.prune([{ layer: 0, head: 1 }, { layer: 1, head: 2 }]);
  const before = bits(await plastic.state());
  const batches = [batch(50)];
  const { gateGrad, liveCorrelation } = await measureDormant(gpu, plastic, batches, shape);
  assert.deepEqual(bits(await plastic.state()), before);
  assert.deepEqual([...liveCorrelation].map(Number.isNaN), [true, false, true, true, true, false]);
  for (const r of [liveCorrelation[1], liveCorrelation[5]]) assert.ok(r >= -1 && r <= 1);

  // the loss with the head's gate a little above and below 0
  for (const stored of [...plastic.stored]) {
    using trial = new PlasticModel(gpu, config, await plastic.state(), { ...shape, keep: true });
    await trial.grow([{ ...stored, parts: stored }], { ramp: false });
    const at = stored.layer * 3 + stored.head, step = 0.02;
    const losses: number[] = [];
    for (const gate of [step, -step]) {
      const gates = new Float32Array(6).fill(1);
      gates[at] = gate;
      trial.setGates(gates);
      losses.push(await lossOf(trial));
    }
    const slope = (losses[0] - losses[1]) / (2 * step);
    assertClose([gateGrad[at]], [slope], { atol: 2e-4, rtol: 0.02, what: `head ${at}` });
  }
});

Deno.test("leaving a head out costs what pruning it costs, and is undone", async () => {
  using plastic = begin();
  train(plastic, 4);
  const gates = Float32Array.from([1, 0.5, 1, 1, 0.75, 1]);
  plastic.setGates(gates);
  const loss = await lossOf(plastic);
  const left = await leaveOneOut(plastic, [batch(50)]);
  assert.equal(left.loss, loss);
  assert.equal(await lossOf(plastic), loss, "the gates are as they were");
  for (const [layer, head] of [[0, 1], [1, 0]]) {
    using trial = new PlasticModel(gpu, config, await plastic.state(), shape);
    trial.setGates(gates);
    await trial.prune([{ layer, head }]);
    assertClose([left.lossWithout[layer * 3 + head]], [await lossOf(trial)], {
      atol: 0,
      rtol: 1e-6,
      what: `${layer} ${head}`,
    });
  }
  const stop = new AbortController();
  stop.abort();
  await assert.rejects(() => leaveOneOut(plastic, [batch(50)], stop.signal));
  assert.equal(await lossOf(plastic), loss, "also where it is stopped");
});

const live = [[0, 2], [1], []];
const inputs: GrowthInputs = {
  live,
  NH: 3,
  gateGrad: Float32Array.from([9, -0.5, 9, 0.25, 9, -1, 0, 0.5, -2]),
  entropy: Float32Array.from([0.5, NaN, 0.75, NaN, 0.25, NaN, NaN, NaN, NaN]),
  liveCorrelation: Float32Array.from([NaN, 0.5, NaN, -0.5, NaN, 0.25, 0, 0, 0]),
  random: (() => {
    let n = 0;
    return () => n++ / 16;
  })(),
};

Deno.test("growth scores put the head to grow highest, and NaN where a head is live", () => {
  const expected: Record<string, number[]> = {
    gradient_sensitivity: [NaN, 0.5, NaN, -0.25, NaN, 1, 0, -0.5, 2],
    entropy_gap: [NaN, 0.375, NaN, 0.75, NaN, 0.75, 1, 1, 1],
    balanced: [NaN, -2, NaN, -1, NaN, -2, 0, -1, -2],
    hebbian: [NaN, -0.5, NaN, 0.5, NaN, -0.25, 0, 0, 0],
    random: [NaN, 1 / 16, NaN, 3 / 16, NaN, 5 / 16, 6 / 16, 7 / 16, 8 / 16],
  };
  for (const name of GROWTH_NAMES) {
    assertEqualScores(scoreGrowth(name, inputs), expected[name]);
    assert.equal(GROWTHS[name].name, name);
    for (const key of GROWTHS[name].needs) {
      assert.throws(
        () => scoreGrowth(name, { ...inputs, [key]: undefined }),
        new TypeError(`growth strategy ${name} needs what was not collected: ${key}`),
      );
    }
  }
  assert.throws(() => scoreGrowth("luck" as "random", inputs), /a growth strategy must be one of/);
  const broken = { ...inputs, gateGrad: Float32Array.from({ length: 9 }, () => NaN) };
  assert.throws(() => scoreGrowth("gradient_sensitivity", broken), /must be finite: NaN/);
});

function assertEqualScores(actual: Float32Array, expected: number[]) {
  assert.deepEqual(actual.map((x) => x + 0), Float32Array.from(expected)); // -0 is 0
}

Deno.test("the highest scores grow first, ties by layer and head, no more than there are", () => {
  const scores = Float32Array.from([NaN, 1, NaN, 2, NaN, 1, 0, 0, 3]);
  const places = (count: number) =>
    chooseGrowth(scores, live, { count }).map((
      { layer, head, rank, of },
    ) => [layer, head, rank, of]);
  assert.deepEqual(places(4), [[2, 2, 1, 6], [1, 0, 2, 6], [0, 1, 3, 6], [1, 2, 4, 6]]);
  assert.equal(places(99).length, 6);
  assert.deepEqual(places(0), []);
  assert.throws(() => places(1.5), /count must be a whole number/);
});

Deno.test("the correlation with what live heads carry, by hand", () => {
  const rising = [1, 2, 3, 4], falling = [4, 3, 2, 1], flat = [2, 2, 2, 2];
  const found = liveCorrelations([[rising, falling, rising, flat], [rising, rising, flat, flat]], [
    [0],
    [],
  ]);
  assert.deepEqual([...found].map((x) => Math.round(x * 1e9) / 1e9), [NaN, -1, 1, 0, 0, 0, 0, 0]);
  // twice as loud is not twice as much: each head counts relative to its own mean
  const quiet = liveCorrelations([[
    rising,
    rising.map((x) => x / 100),
    falling.map((x) => 9 * x),
    flat,
  ]], [
    [0, 1],
  ]);
  assert.equal(Math.round(quiet[2] * 1e9) / 1e9, -1);
});
