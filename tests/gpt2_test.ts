/**
 * The whole model on the device against PyTorch and transformers (fixtures made by make_fixtures.py).
 * The bounds are the project's promises; what was measured on lavapipe stands beside them.
 */
import assert from "node:assert/strict";
import { makeConfig, parseConfig } from "../src/gpt2/config.ts";
import { compactWeights, initWeights } from "../src/gpt2/checkpoint.ts";
import { Gpt2, tensorOf } from "../src/gpt2/model.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { Evaluator } from "../src/gpt2/evaluate.ts";
import { Gpu } from "../src/gpu/device.ts";
import { download } from "../src/gpu/tensor.ts";
import { Trainer } from "../src/optim/trainer.ts";
import { assertClose, assertRelativeL2, randomArray, randomIntegers } from "./close.ts";
import { floats, integers, loadFixture, loadFixtureJson, loadFixtureWeights } from "./fixtures.ts";
import { gpu } from "./gpu.ts";
import { logitsOf } from "./logits.ts";
import { gpt2Reference, headGradNorms, headStats } from "./reference.ts";

/** A checkpoint, its sizes, what PyTorch computes with it, and at which lengths. */
function fixture(folder: string, file: string, lengths: number[]) {
  return {
    folder,
    lengths,
    config: parseConfig(loadFixtureJson(`${folder}/config.json`)),
    weights: loadFixtureWeights(folder),
    reference: loadFixture(file),
  };
}

/**
 * In one model no size is a multiple of a tile or a vector, in the other all are multiples of 4:
 * software adapters compute the two with different kernels.
 */
const FIXTURES = [
  fixture("tiny", "reference.safetensors", [37, 29]),
  fixture("even", "even.safetensors", [36]),
];
const [{ config, weights, reference }] = FIXTURES;
const { V } = config;

const CASES = FIXTURES.flatMap((set) => set.lengths.map((T) => ({ ...set, T })));
for (const { folder, T, config, weights, reference } of CASES) {
  const { L, NH, C, HS } = config;
  for (const kind of ["ones", "gated"]) {
    // a budget of 64 columns cuts the vocabularies of 211 and 212 into four pieces
    for (const logitBytes of [1 << 26, 64 * 4 * 2 * T]) {
      const cut = logitBytes < 1 << 26 ? "in pieces" : "whole";
      Deno.test(`GPT-2 equals PyTorch: ${folder}, T ${T}, gates ${kind}, logits ${cut}`, async () => {
        using model = new Gpt2(gpu, config, weights);
        if (kind === "gated") model.setGates(floats(reference, "gates"));
        using trainer = new Trainer(model, { B: 2, T, logitBytes });
        assert.equal(trainer.acts.pieces.length, cut === "whole" ? 1 : 4);
        const tokens = Uint32Array.from(integers(reference, `t${T}/tokens`));
        const targets = Uint32Array.from(integers(reference, `t${T}/targets`));
        const expected = (name: string) => floats(reference, `t${T}/${kind}/${name}`);

        trainer.measure(tokens, targets);
        const metrics = await trainer.readMetrics();
        const names = model.layout.map(({ name }) => name);
        const grads = await download(gpu, ...names.map((name) => tensorOf(trainer.grads, name)));
        // measured 8e-7
        names.forEach((name, i) =>
          assertRelativeL2(grads[i], expected(`grad/${name}`), 1e-4, name)
        );
        const gateGrads = await trainer.gateGradients();
        // ours are of a sequence's own mean loss, PyTorch's of the batch's: B times as small
        assertRelativeL2(gateGrads.map((g) => g / 2), expected("dgates"), 1e-4, "gate gradients");

        const logits = await logitsOf(model, trainer.acts);
        assertClose(logits, expected("logits"), { atol: 2e-4, what: "logits" }); // measured 4e-6
        const { loss } = await trainer.evaluator.evaluate([0, 1].map((b) => ({
          inputs: tokens.subarray(b * T, (b + 1) * T),
          targets: targets.subarray(b * T, (b + 1) * T),
          from: 0,
        })));
        assertClose([loss], expected("loss"), { atol: 0, rtol: 1e-5, what: "loss" });

        for (let l = 0; l < L; l++) {
          const layer = (name: string) =>
            expected(name).subarray(l * 2 * NH * T, (l + 1) * 2 * NH * T);
          const stats = headStats(
            { entropy: layer("entropy"), first: layer("first"), znorm: layer("znorm") },
            { B: 2, NH, T },
          );
          const mine = (values: Float32Array) => values.subarray(l * NH, (l + 1) * NH);
          assertClose(mine(metrics.entropyNats), stats.entropy, { atol: 1e-4, what: "entropy" });
          assertClose(mine(metrics.entropy), stats.normalised, { atol: 1e-4, what: "normalised" });
          assertClose(mine(metrics.firstKey), stats.first, { atol: 1e-4, what: "first key" });
          assertClose(mine(metrics.outputNorm), stats.znorm, { atol: 1e-4, what: "output norm" });
          const norms = headGradNorms({
            attnWeight: expected(`grad/h.${l}.attn.c_attn.weight`),
            attnBias: expected(`grad/h.${l}.attn.c_attn.bias`),
            projWeight: expected(`grad/h.${l}.attn.c_proj.weight`),
          }, { C, NH, HS });
          assertRelativeL2(mine(metrics.gradNorm), norms, 1e-4, "head gradient norms");
        }
      });
    }
  }
}

for (const { folder, lengths: [T], config, weights, reference } of FIXTURES) {
  Deno.test(`20 AdamW steps follow PyTorch's losses and gradient norms: ${folder}`, async () => {
    using model = new Gpt2(gpu, config, weights);
    using trainer = new Trainer(model, { B: 2, T, weightDecay: 0.01, clip: 1 });
    const tokens = Uint32Array.from(integers(reference, "adamw/tokens"));
    const targets = Uint32Array.from(integers(reference, "adamw/targets"));
    for (let step = 0; step < 20; step++) {
      const at = step % 3 * 2 * T;
      trainer.step(tokens.subarray(at, at + 2 * T), targets.subarray(at, at + 2 * T), {
        learningRate: 1e-3,
      });
    }
    const steps = await trainer.read();
    assertClose(steps.map(({ loss }) => loss), floats(reference, "adamw/losses"), {
      atol: 1e-4,
      what: "losses",
    });
    assertRelativeL2(
      steps.map(({ gradNorm }) => gradNorm),
      floats(reference, "adamw/norms"),
      1e-4,
      "gradient norms",
    );
  });
}

Deno.test("tensors larger than a binding are bound in pieces, and nothing changes", async () => {
  // the token table has 43,044 bytes, the largest matrix of a layer 31,212
  using small = await Gpu.open({ maxBinding: 1 << 15 });
  const results: { losses: number[]; weights: Map<string, Float32Array> }[] = [];
  const tokens = Uint32Array.from(integers(reference, "t29/tokens")).slice(0, 29);
  const targets = Uint32Array.from(integers(reference, "t29/targets")).slice(0, 29);
  for (const device of [gpu, small]) {
    using model = new Gpt2(device, config, weights);
    using trainer = new Trainer(model, { B: 1, T: 29 });
    for (let step = 0; step < 3; step++) trainer.step(tokens, targets, { learningRate: 1e-3 });
    const losses = (await trainer.read()).map(({ loss }) => loss);
    results.push({ losses, weights: await model.weights() });
  }
  const [whole, pieces] = results;
  assertClose(pieces.losses, whole.losses, { atol: 0, rtol: 1e-6, what: "losses" });
  for (const [name, values] of whole.weights) {
    // the gradient of keys' biases is 0 but for rounding, and Adam makes whole steps of it
    if (name.endsWith("c_attn.bias")) continue;
    assertRelativeL2(pieces.weights.get(name)!, values, 1e-4, name);
  }
  assert.throws(
    () => new Trainer(new Gpt2(small, config, weights), { B: 2, T: 29 }),
    /would bind \d+ bytes of \w+, and this adapter binds 32768/,
  );
  using tiny = await Gpu.open({ maxBinding: 1 << 14 });
  using model = new Gpt2(tiny, config, weights);
  assert.throws(
    () => new Trainer(model, { B: 1, T: 29 }),
    /would bind 31216 bytes of b, and this adapter binds 16384/,
  );
});

Deno.test("an untied head has its own logits and gradient", async () => {
  const untied = parseConfig(loadFixtureJson("untied/config.json"));
  using model = new Gpt2(gpu, untied, loadFixtureWeights("untied"));
  using trainer = new Trainer(model, { B: 2, T: 19 });
  const tokens = Uint32Array.from(integers(reference, "untied/tokens"));
  const targets = Uint32Array.from(integers(reference, "untied/targets"));
  trainer.measure(tokens, targets);
  for (const name of ["lm_head.weight", "wte.weight"]) {
    const [grad] = await download(gpu, tensorOf(trainer.grads, name));
    assertRelativeL2(grad, floats(reference, `untied/grad/${name}`), 1e-4, name);
  }
  const logits = await logitsOf(model, trainer.acts);
  assertClose(logits, floats(reference, "untied/logits"), { atol: 2e-4, what: "logits" });
});

Deno.test("half-precision checkpoints give transformers' logits", async () => {
  const tokens = Uint32Array.from(integers(reference, "t29/tokens"));
  for (const kind of ["f16", "bf16"]) {
    using model = new Gpt2(gpu, config, loadFixtureWeights(`tiny-${kind}`));
    using acts = new Activations(model, { B: 2, T: 29, training: false });
    acts.upload(tokens, tokens);
    const logits = await logitsOf(model, acts);
    assertClose(logits, floats(reference, `${kind}/logits`), { atol: 2e-4, what: kind });
  }
});

for (const { folder, lengths: [T], config, weights, reference } of FIXTURES) {
  const { L, NH, V } = config;
  Deno.test(`gates at 1, and activations reused across layers, change no bit: ${folder}`, async () => {
    const tokens = Uint32Array.from(integers(reference, `t${T}/tokens`));
    const results: Float32Array[] = [];
    for (const [training, gates] of [[true, false], [true, true], [false, true]]) {
      using model = new Gpt2(gpu, config, weights);
      if (gates) model.setGates(new Float32Array(L * NH).fill(1));
      using acts = new Activations(model, { B: 2, T, training });
      acts.upload(tokens, tokens);
      results.push(await logitsOf(model, acts));
    }
    assert.deepEqual(results[1], results[0]);
    assert.deepEqual(results[2], results[0]);
  });

  Deno.test(`a gate at 1 passes the head's output on bit for bit: ${folder}`, async () => {
    using model = new Gpt2(gpu, config, weights);
    using acts = new Activations(model, { B: 2, T, training: true });
    acts.upload(Uint32Array.from(integers(reference, `t${T}/tokens`)), new Uint32Array(2 * T));
    await logitsOf(model, acts);
    for (const { z, zg } of acts.layers) {
      const [before, after] = await download(gpu, z, zg);
      assert.ok(before.some((value) => value !== 0));
      assert.deepEqual(after, before);
    }
  });

  Deno.test(`a step allocates nothing and waits for nothing: ${folder}`, async () => {
    using model = new Gpt2(gpu, config, weights);
    using trainer = new Trainer(model, { B: 2, T });
    const tokens = randomIntegers(2 * T, 1, V), targets = randomIntegers(2 * T, 2, V);
    const { device } = gpu;
    let created = 0, mapped = 0;
    const { createBuffer, createTexture, createBindGroup } = device;
    const { mapAsync } = GPUBuffer.prototype;
    device.createBuffer = (descriptor) => (created++, createBuffer.call(device, descriptor));
    device.createTexture = (descriptor) => (created++, createTexture.call(device, descriptor));
    device.createBindGroup = (descriptor) => (created++, createBindGroup.call(device, descriptor));
    GPUBuffer.prototype.mapAsync = function (...args) {
      mapped++;
      return mapAsync.apply(this, args);
    };
    try {
      for (let step = 0; step < 20; step++) {
        trainer.step(tokens, targets, { learningRate: 1e-3, metrics: true });
      }
      assert.deepEqual({ created, mapped }, { created: 0, mapped: 0 });
      assert.equal((await trainer.read()).length, 20);
      assert.equal(mapped, 1, "one wait for twenty steps");
    } finally {
      Object.assign(device, { createBuffer, createTexture, createBindGroup });
      GPUBuffer.prototype.mapAsync = mapAsync;
    }
  });
}

Deno.test("evaluating or measuring between steps loses no loss", async () => {
  using model = new Gpt2(gpu, config, weights);
  using trainer = new Trainer(model, { B: 2, T: 37 });
  const tokens = randomIntegers(74, 1, V), targets = randomIntegers(74, 2, V);
  const window = { inputs: tokens.subarray(0, 30), targets: targets.subarray(0, 30), from: 0 };
  trainer.step(tokens, targets, { learningRate: 0 });
  const { loss } = await trainer.evaluator.evaluate([window]);
  trainer.measure(tokens, targets);
  trainer.step(tokens, targets, { learningRate: 0 });
  const [first, second] = await trainer.read();
  assert.equal(first.loss, second.loss);
  assert.notEqual(first.loss, loss);
});

Deno.test("a batch that is refused changes nothing", async () => {
  using model = new Gpt2(gpu, config, weights);
  using trainer = new Trainer(model, { B: 2, T: 37 });
  const tokens = randomIntegers(74, 1, V);
  const step = { learningRate: 1e-3, metrics: true };
  assert.throws(() => trainer.step(tokens.subarray(1), tokens, step), /needs 74 tokens/);
  assert.equal(trainer.steps, 0);
  assert.equal(trainer.unread, 0);
  await assert.rejects(() => trainer.readMetrics(), /No head metrics/);
});

Deno.test("a model without its pruned heads equals the full one with their gates at 0", async () => {
  const small = makeConfig({ L: 3, NH: 4, C: 32, V: 64, T: 24 });
  const full = initWeights(small, 5);
  for (const [name, values] of full) {
    if (name.endsWith("weight") && !name.includes("ln_")) {
      values.set(randomArray(values.length, name.length, 0.3));
    }
  }
  const live = [[0, 2, 3], [1], [0, 1, 2, 3]];
  const gates = new Float32Array(12);
  live.forEach((heads, l) => heads.forEach((h) => gates[l * 4 + h] = 0.5 + 0.1 * h));
  const tokens = randomIntegers(48, 3, 64), targets = randomIntegers(48, 4, 64);

  using masked = new Gpt2(gpu, small, full);
  masked.setGates(gates);
  using compact = new Gpt2(gpu, small, compactWeights(small, live, full), live);
  compact.setGates(gates);
  using a = new Activations(masked, { B: 2, T: 24, training: false });
  using b = new Activations(compact, { B: 2, T: 24, training: false });
  a.upload(tokens, targets);
  b.upload(tokens, targets);
  assertClose(await logitsOf(compact, b), await logitsOf(masked, a), {
    atol: 1e-5,
    what: "logits",
  });

  // and its gradients are the f64 reference's for the same heads
  using trainer = new Trainer(compact, { B: 2, T: 24 });
  trainer.measure(tokens, targets);
  const { gateGrad } = await trainer.readMetrics();
  const expected = gpt2Reference(small, compactWeights(small, live, full), {
    tokens,
    targets,
    B: 2,
    T: 24,
    gates: Float64Array.from(gates),
    live,
  });
  for (const { name } of compact.layout) {
    const [grad] = await download(gpu, tensorOf(trainer.grads, name));
    assertRelativeL2(grad, expected.grads.get(name)!, 1e-4, name);
  }
  for (let l = 0; l < 3; l++) {
    for (let h = 0; h < 4; h++) {
      if (!live[l].includes(h)) {
        assert.ok(Number.isNaN(gateGrad[l * 4 + h]), "a pruned head has no gate gradient");
        continue;
      }
      const sum = expected.dgates[l * 4 + h] + expected.dgates[12 + l * 4 + h];
      assertClose([gateGrad[l * 4 + h]], [sum], { atol: 1e-6, rtol: 1e-4, what: "gate gradient" });
    }
  }
});

Deno.test("the same seed gives the same bits, and restored state goes on with them", async () => {
  const small = makeConfig({ L: 2, NH: 4, C: 32, V: 64, T: 16 });
  const batch = (step: number) => [randomIntegers(32, step, 64), randomIntegers(32, step + 50, 64)];
  const train = (trainer: Trainer, from: number, to: number) => {
    for (let step = from; step < to; step++) {
      const [inputs, targets] = batch(step);
      trainer.step(inputs, targets, { learningRate: 1e-2, metrics: step % 2 === 0 });
    }
  };
  const runs: { weights: Map<string, Float32Array>; losses: number[] }[] = [];
  for (let run = 0; run < 2; run++) {
    using model = new Gpt2(gpu, small, initWeights(small, 1));
    using trainer = new Trainer(model, { B: 2, T: 16 });
    train(trainer, 0, 12);
    const losses = (await trainer.read()).map(({ loss }) => loss);
    runs.push({ weights: await model.weights(), losses });
  }
  assert.deepEqual(runs[1], runs[0]);
  assert.ok(runs[0].losses[11] !== runs[0].losses[0], "training changes the loss");

  using first = new Gpt2(gpu, small, initWeights(small, 1));
  using half = new Trainer(first, { B: 2, T: 16 });
  train(half, 0, 6);
  const state = await half.state();
  const expected = await half.readMetrics();
  using second = new Gpt2(gpu, small, await first.weights());
  using rest = new Trainer(second, { B: 2, T: 16 });
  rest.restore(state);
  assert.deepEqual(
    await rest.readMetrics(),
    expected,
    "gathered head metrics are part of the state",
  );
  train(rest, 6, 12);
  assert.deepEqual(await second.weights(), runs[0].weights);
});

Deno.test("a head's factor of 0 freezes its own weights and no others", async () => {
  const small = makeConfig({ L: 1, NH: 4, C: 32, V: 64, T: 16 });
  const before = initWeights(small, 1);
  using model = new Gpt2(gpu, small, before);
  using trainer = new Trainer(model, { B: 2, T: 16 });
  trainer.setHeadFactors(new Float32Array([1, 0, 1, 1]));
  trainer.step(randomIntegers(32, 1, 64), randomIntegers(32, 2, 64), { learningRate: 1e-2 });
  const after = await model.weights();
  const frozen = (name: string, i: number) =>
    name.endsWith("c_attn.weight") ? i % 32 >> 3 === 1 : i >> 8 === 1;
  for (const name of ["h.0.attn.c_attn.weight", "h.0.attn.c_proj.weight"]) {
    const changed = after.get(name)!.map((value, i) => value === before.get(name)![i] ? 0 : 1);
    changed.forEach((flag, i) => {
      if (frozen(name, i)) assert.equal(flag, 0, `${name}[${i}] moved`);
    });
    const free = changed.filter((_, i) => !frozen(name, i));
    assert.ok(free.reduce((a, b) => a + b, 0) > 0.9 * free.length, `${name} did not train`);
  }
});

Deno.test("evaluation fills short windows up without scoring the filling", async () => {
  using model = new Gpt2(gpu, config, weights);
  using acts = new Activations(model, { B: 3, T: 20, training: false });
  using evaluator = new Evaluator(model, acts);
  const tokens = randomIntegers(60, 9, V);
  const windows = [
    { inputs: tokens.subarray(0, 20), targets: tokens.subarray(1, 21), from: 0 },
    { inputs: tokens.subarray(10, 30), targets: tokens.subarray(11, 31), from: 10 },
    { inputs: tokens.subarray(20, 40), targets: tokens.subarray(21, 41), from: 10 },
    { inputs: tokens.subarray(40, 47), targets: tokens.subarray(41, 48), from: 3 },
  ];
  const got = await evaluator.evaluate(windows);
  let sum = 0, count = 0;
  for (const { inputs, targets, from } of windows) {
    const T = inputs.length;
    const { losses } = gpt2Reference(config, weights, { tokens: inputs, targets, B: 1, T });
    for (let t = from; t < T; t++, count++) sum += losses[t];
  }
  assert.equal(got.predicted, count);
  assertClose([got.loss], [sum / count], { atol: 0, rtol: 1e-5, what: "loss" });
  await assert.rejects(() => evaluator.evaluate([]), /too short/);
});

Deno.test("bytes on the device return to where they were", () => {
  const before = gpu.bytes;
  const model = new Gpt2(gpu, config, weights);
  const trainer = new Trainer(model, { B: 2, T: 8 });
  assert.ok(gpu.bytes > before);
  trainer.dispose();
  model.dispose();
  assert.equal(gpu.bytes, before);
});

Deno.test("what a model cannot take is refused before anything is allocated", () => {
  const before = gpu.bytes;
  const bad = new Map(weights);
  bad.delete("h.1.ln_2.bias");
  assert.throws(() => new Gpt2(gpu, config, bad), /h\.1\.ln_2\.bias/);
  using model = new Gpt2(gpu, config, weights);
  const allocated = gpu.bytes;
  assert.throws(() => new Trainer(model, { B: 1, T: 38 }), /37 positions: 38/);
  assert.throws(() => new Trainer(model, { B: 1, T: 8, eps: NaN }), /eps must be above 0: NaN/);
  assert.throws(() => new Trainer(model, { B: 1 << 20, T: 37 }), /software adapter|maxBufferSize/);
  assert.equal(gpu.bytes, allocated, "what was allocated before the refusal was given back");
  assert.throws(() => model.setGates(new Float32Array(3)), /3 gates for a model of 6/);
  assert.ok(gpu.bytes > before);
});
