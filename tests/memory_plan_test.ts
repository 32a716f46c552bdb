/** The plan of memory against what is really allocated and bound, and what is said where it does not fit. */
import assert from "node:assert/strict";
import { compactWeights, initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { allHeads, type LiveHeads } from "../src/gpt2/layout.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { Gpu } from "../src/gpu/device.ts";
import { planTraining } from "../src/optim/memory.ts";
import { Trainer } from "../src/optim/trainer.ts";
import { memoryTable, planMemory, tellMemory } from "../src/experiment/memory_plan.ts";
import { gpu } from "./gpu.ts";

const config = makeConfig({ L: 3, NH: 4, C: 128, V: 3000, T: 256 });
const weights = initWeights(config, 1);
const full = allHeads(config);
const GPT2 = makeConfig({ L: 12, NH: 12, C: 768, V: 50257, T: 1024 });
const big = { config: GPT2, live: allHeads(GPT2) };

for (const live of [full, [[0, 2, 3], [1], [0, 1, 2, 3]]] as LiveHeads[]) {
  for (const recompute of [false, true]) {
    Deno.test(`the plan counts what is allocated: ${live.flat().length} heads, recompute ${recompute}`, () => {
      const options = { B: 4, T: 200, recompute };
      const plan = planTraining(gpu, { config, live }, { ...options, models: 1 });
      const before = gpu.bytes;
      using model = new Gpt2(gpu, config, compactWeights(config, live, weights), live);
      using _trainer = new Trainer(model, options);
      const bytes = gpu.bytes - before;
      const own = plan.parts.reduce((sum, part) => sum + part.bytes, 0);
      const textures = plan.shared.reduce((sum, part) => sum + part.bytes, 0);
      // uniforms, gates and partial sums are not planned: 64 KiB at a time, and a few
      const small = 10 * 65536;
      assert.ok(bytes >= own && bytes <= own + textures + small, `${bytes}: ${own} + ${textures}`);
      assert.equal(plan.bytes, own + textures);
      assert.equal(plan.parameters, model.layout.reduce((sum, { size }) => sum + size, 0));
    });
  }
}

Deno.test("a plan's models count each, and share their textures", () => {
  const one = planTraining(gpu, { config, live: full }, { B: 2, T: 64, models: 1 });
  const three = planTraining(gpu, { config, live: full }, { B: 2, T: 64, models: 3 });
  const shared = one.shared.reduce((sum, part) => sum + part.bytes, 0);
  assert.equal(three.bytes - shared, 3 * (one.bytes - shared));
});

Deno.test("what is said to fit does, and one more does not", async () => {
  using small = await Gpu.open({ maxBinding: 1 << 20 });
  const sizes = { config, live: full };
  const refusal = (B: number, T: number) => {
    try {
      planMemory(small, sizes, { B, T, models: 1, lengthOption: "sequence_length" }, Infinity);
    } catch (error) {
      assert.ok(error instanceof RangeError);
      return error.message;
    }
    return assert.fail("it was not refused");
  };
  const said = refusal(64, 100);
  assert.match(said, /^batch_size 64 x 100 tokens does not fit: fc would bind 13\.1 MB at once, /);
  const batch = Number(/what fits: batch_size (\d+)/.exec(said)?.[1]);
  assert.ok(batch > 1 && batch < 64);
  using model = new Gpt2(small, config, weights);
  {
    using trainer = new Trainer(model, { B: batch, T: 100 });
    assert.equal(trainer.batchSize, batch);
  }
  assert.throws(() => new Trainer(model, { B: batch + 1, T: 100 }), /would bind/);
  const shorter = refusal(8, 256);
  const length = Number(/or sequence_length (\d+)/.exec(shorter)?.[1]);
  assert.match(shorter, /what fits: batch_size 2, or sequence_length \d+; batch_size 2 with /);
  assert.match(shorter, /with gradient_accumulation_steps 4 trains alike$/);
  using _trainer = new Trainer(model, { B: 8, T: length });
  assert.throws(() => new Trainer(model, { B: 8, T: length + 1 }), /would bind/);
});

Deno.test("where memory is short, recomputation and smaller batches are offered, or nothing", () => {
  const sizes = { config, live: full };
  const shape = { B: 8, T: 256, models: 1 };
  const { bytes } = planTraining(gpu, sizes, shape);
  const less = planTraining(gpu, sizes, { ...shape, recompute: true }).bytes;
  assert.ok(less < bytes);
  assert.equal(planMemory(gpu, sizes, shape, bytes).bytes, bytes);
  assert.throws(
    () => planMemory(gpu, sizes, shape, bytes - 1),
    /1 model in training would take [\d.]+ MB, and [\d.]+ MB are free; what fits: .*, or recompute/,
  );
  assert.throws(() => planMemory(gpu, sizes, shape, 1e6), /no batch of this model fits/);
});

Deno.test("GPT-2's token table and logits are planned in pieces", async () => {
  using small = await Gpu.open({ maxBinding: 1 << 27 });
  const plan = planTraining(small, big, { B: 4, T: 1024, models: 1 });
  assert.equal(plan.parameters, 124439808);
  assert.ok(plan.vocabulary_pieces > 1);
  assert.ok(plan.largest_binding.bytes <= plan.binding_limit);
  assert.equal(plan.largest_buffer.what, "wte.weight");
  const lines: string[] = [], details: string[] = [];
  const listeners = {
    onMessage: (line: string) => void lines.push(line),
    onDetail: (line: string) => void details.push(line),
  };
  tellMemory(plan, listeners);
  assert.deepEqual(lines, memoryTable(plan));
  assert.ok(lines.some((line) => /together +[\d.]+ GB {3}1 model/.test(line)), lines.join("\n"));
  assert.deepEqual(details, []);
  lines.length = 0;
  const little = planTraining(gpu, { config, live: full }, { B: 2, T: 64, models: 3 });
  tellMemory(little, listeners);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /^memory: [\d.]+ MB for 3 models of [\d,]+ parameters in training, /);
  assert.deepEqual(details, memoryTable(little));
});
