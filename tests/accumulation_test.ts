/** Accumulated gradients and recomputed activations: less memory, the same training. */
import assert from "node:assert/strict";
import { compactWeights, initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import type { LiveHeads } from "../src/gpt2/layout.ts";
import { Gpt2, tensorOf } from "../src/gpt2/model.ts";
import { download } from "../src/gpu/tensor.ts";
import { IGNORE } from "../src/kernels/crossentropy.ts";
import { Trainer, type TrainerOptions } from "../src/optim/trainer.ts";
import { assertClose, assertRelativeL2, randomArray, randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";

const config = makeConfig({ L: 3, NH: 4, C: 32, V: 300, T: 24 });
const T = 24, BATCH = 6, STEPS = 3;
const LIVE: LiveHeads = [[0, 2, 3], [1], [0, 1, 2, 3]];
const weights = initWeights(config, 5);
for (const [name, values] of weights) {
  if (name.endsWith("weight") && !name.includes("ln_")) {
    values.set(randomArray(values.length, name.length, 0.2));
  }
}

/** A few steps on the same batches, some of whose targets are not scored, and all that comes out. */
async function train(
  options: Partial<TrainerOptions>,
  live: LiveHeads = LIVE,
  steps = STEPS,
) {
  using model = new Gpt2(gpu, config, compactWeights(config, live, weights), live);
  const before = gpu.bytes;
  using trainer = new Trainer(model, { B: BATCH, T, ...options });
  const bytes = gpu.bytes - before;
  for (let step = 0; step < steps; step++) {
    const targets = randomIntegers(BATCH * T, 50 + step, config.V);
    targets.fill(IGNORE, 2 * T, 2 * T + 17); // so that parts have unequal numbers of targets
    const learningRate = 1e-3, metrics = step !== 1;
    trainer.step(randomIntegers(BATCH * T, step, config.V), targets, { learningRate, metrics });
  }
  const names = model.layout.map(({ name }) => name);
  return {
    bytes,
    steps: await trainer.read(),
    metrics: await trainer.readMetrics(),
    grads: await download(gpu, ...names.map((name) => tensorOf(trainer.grads, name))),
    weights: await model.weights(),
    names,
  };
}

Deno.test("a batch in parts trains like the whole batch, up to rounding", async () => {
  const whole = await train({}), first = await train({}, LIVE, 1);
  for (const accumulate of [2, 3, 6]) {
    const parts = await train({ B: BATCH / accumulate, accumulate });
    for (const name of ["loss", "gradNorm"] as const) {
      const values = ({ steps }: typeof whole) => steps.map((step) => step[name]);
      assertClose(values(parts), values(whole), { atol: 0, rtol: 1e-6, what: name });
    }
    // later gradients are of weights that have drifted apart
    const { grads } = await train({ B: BATCH / accumulate, accumulate }, LIVE, 1);
    whole.names.forEach((name, i) => {
      if (name.endsWith("c_attn.bias")) return; // keys' are 0 but for rounding
      assertRelativeL2(grads[i], first.grads[i], 1e-6, name);
    });
    for (const [name, values] of Object.entries(whole.metrics)) {
      const got = parts.metrics[name as keyof typeof whole.metrics];
      const live = (_: number, i: number) => LIVE[Math.floor(i / 4)].includes(i % 4);
      assertRelativeL2(got.filter(live), values.filter(live), 2e-6, name);
    }
    assert.ok(parts.bytes < whole.bytes, "parts need less memory");
    assert.deepEqual(await train({ B: BATCH / accumulate, accumulate }), parts, "the same bits");
  }
});

Deno.test("recomputed activations change no bit, and save what they promise", async () => {
  for (const live of [LIVE, [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]]]) {
    for (const options of [{}, { B: 3, accumulate: 2 }]) {
      const kept = await train(options, live);
      const { bytes, ...again } = await train({ ...options, recompute: true }, live);
      assert.deepEqual({ ...again, bytes: kept.bytes }, kept);
      // each layer keeps its input; all others are of the widest layer, once
      const { C, F, HS, L } = config, rows = (options.B ?? BATCH) * T;
      const layer = (A: number) => 3 * C + 5 * A + 2 * F + 4;
      const widths = live.map((heads) => heads.length * HS);
      const all = widths.reduce((sum, A) => sum + layer(A), 0);
      const saved = 4 * rows * (all - layer(Math.max(...widths)));
      assert.ok(Math.abs(kept.bytes - bytes - saved) <= 256 * 12 * L, `${kept.bytes - bytes}`);
    }
  }
});

Deno.test("a number of parts that cannot be is refused", () => {
  using model = new Gpt2(gpu, config, weights);
  const bytes = gpu.bytes;
  assert.throws(
    () => new Trainer(model, { B: 1, T, accumulate: 0 }),
    /gradient_accumulation_steps must be 1 or more: 0/,
  );
  assert.equal(gpu.bytes, bytes, "nothing was allocated");
  using trainer = new Trainer(model, { B: 2, T, accumulate: 2 });
  const one = randomIntegers(2 * T, 1, config.V);
  assert.throws(() => trainer.step(one, one, { learningRate: 0 }), /A batch of 4 x 24 needs 96/);
  assert.equal(trainer.steps, 0);
});
