/** The plan of memory against what is really allocated and bound, and what is said where it does not fit. */
import assert from "node:assert/strict";
import type { Tokenizer } from "../src/data/tokenizer.ts";
import { continueTexts } from "../src/experiment/continue_text.ts";
import { evaluateText } from "../src/experiment/evaluate_text.ts";
import { activationSizes } from "../src/gpt2/activation_sizes.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { compactWeights, initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { allHeads, type LiveHeads } from "../src/gpt2/layout.ts";
import { Generator } from "../src/gpt2/generate.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { Gpu } from "../src/gpu/device.ts";
import { planModels } from "../src/optim/memory.ts";
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
      const plan = planModels(gpu, { config, live }, { ...options, models: 1 });
      using owned = new DisposableStack();
      const allocate = () => {
        const before = gpu.bytes;
        const own = compactWeights(config, live, weights);
        const model = owned.use(new Gpt2(gpu, config, own, live));
        owned.use(new Trainer(model, options));
        return { model, bytes: gpu.bytes - before };
      };
      const [{ bytes: first }, { model, bytes }] = [allocate(), allocate()];
      const own = plan.parts.reduce((sum, part) => sum + part.bytes, 0);
      const textures = plan.shared.reduce((sum, part) => sum + part.bytes, 0);
      // uniforms, gates and partial sums are not planned: 64 KiB at a time, and a few
      const small = 10 * 65536;
      assert.ok(bytes >= own && bytes <= own + small, `${bytes}: ${own}`);
      assert.ok(first - bytes <= textures + small, `${first - bytes}: ${textures}`); // shared
      assert.equal(plan.bytes, own + textures);
      assert.equal(plan.parameters, model.layout.reduce((sum, { size }) => sum + size, 0));
    });
  }
}

Deno.test("a plan's models count each, and share their textures", () => {
  const one = planModels(gpu, { config, live: full }, { B: 2, T: 64, models: 1 });
  const three = planModels(gpu, { config, live: full }, { B: 2, T: 64, models: 3 });
  const shared = one.shared.reduce((sum, part) => sum + part.bytes, 0);
  assert.equal(three.bytes - shared, 3 * (one.bytes - shared));
});

Deno.test("a batch that is in parts already is advised to have more of them", () => {
  const shape = { B: 8, T: 64, models: 1, accumulate: 3 };
  const { bytes } = planModels(gpu, { config, live: full }, { B: 4, T: 64, models: 1 });
  assert.throws(
    () => planMemory(gpu, { config, live: full }, shape, bytes),
    /batch_size 4 with gradient_accumulation_steps 6 trains alike$/,
  );
});

Deno.test("what is said to fit does, and one more does not", async () => {
  using small = await Gpu.open({ maxBinding: 1 << 20 });
  const sizes = { config, live: full };
  const refusal = (B: number, T: number, more: { accumulate?: number } = {}) => {
    const allocation = { B, T, models: 1, lengthOption: "sequence_length", ...more };
    try {
      planMemory(small, sizes, allocation, Infinity);
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
  assert.doesNotMatch(said, /accumulation/, "an option that the command does not have");
  const shorter = refusal(8, 256, { accumulate: 1 });
  const length = Number(/or sequence_length (\d+)/.exec(shorter)?.[1]);
  assert.match(shorter, /what fits: batch_size 2, or sequence_length \d+; batch_size 2 with /);
  assert.match(shorter, /with gradient_accumulation_steps 4 trains alike$/);
  using _trainer = new Trainer(model, { B: 8, T: length });
  assert.throws(() => new Trainer(model, { B: 8, T: length + 1 }), /would bind/);
});

Deno.test("where memory is short, recomputation and smaller batches are offered, or nothing", () => {
  const sizes = { config, live: full };
  const shape = { B: 8, T: 256, models: 1 };
  const { bytes } = planModels(gpu, sizes, shape);
  const less = planModels(gpu, sizes, { ...shape, recompute: true }).bytes;
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
  const plan = planModels(small, big, { B: 4, T: 1024, models: 1 });
  assert.equal(plan.parameters, 124439808);
  assert.ok(plan.vocabulary_pieces > 1);
  // a short batch's logits would fit at once, but one thread of a software adapter reads a whole row
  const { pieces } = activationSizes(
    ...[GPT2, big.live, { B: 1, T: 16, training: true }] as const,
    { maxBinding: 1 << 30, serial: true },
  );
  assert.ok(pieces.every(({ V0, V1 }) => V1 - V0 <= 16384), `${pieces.length} pieces`);
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
  const little = planModels(gpu, { config, live: full }, { B: 2, T: 64, models: 3 });
  tellMemory(little, listeners);
  assert.equal(lines.length, 1);
  assert.match(lines[0], /^memory: [\d.]+ MB for 3 models of [\d,]+ parameters in training, /);
  assert.deepEqual(details, memoryTable(little));
});

Deno.test("forward passes alone are planned as they are allocated, without gradients", () => {
  const options = { B: 4, T: 200, training: false };
  const plan = planModels(gpu, { config, live: full }, { ...options, models: 1 });
  const before = gpu.bytes;
  using model = new Gpt2(gpu, config, weights);
  using _acts = new Activations(model, options);
  const own = plan.parts.reduce((sum, part) => sum + part.bytes, 0);
  const bytes = gpu.bytes - before;
  assert.ok(bytes >= own && bytes <= own + 10 * 65536, `${bytes}: ${own}`);
  assert.ok(!plan.parts.some(({ what }) => /gradients|moments/.test(what)));
});

Deno.test("the plan of a text's writing covers what is allocated for it", async () => {
  const plan = planModels(gpu, { config, live: full }, {
    ...{ B: 3, T: 16, writes: 144, models: 1, training: false },
  });
  const before = gpu.bytes;
  using model = new Gpt2(gpu, config, weights);
  using generator = new Generator(model);
  const prompts = Array.from({ length: 3 }, () => new Uint32Array(16));
  await generator.generate({ prompts, maxNewTokens: 144, seed: 1, stop: 0, until: () => true });
  const bytes = gpu.bytes - before, [cache] = plan.parts.slice(2);
  assert.deepEqual(cache, { what: "keys and values", bytes: 3 * (3 * 160 * 2 * 128) * 4 });
  assert.ok(bytes <= plan.bytes + 10 * 65536, `${bytes} of ${plan.bytes}`);
  assert.ok(bytes >= plan.parts[0].bytes + cache.bytes, `${bytes}`);
});

Deno.test("evaluating and generating refuse what does not fit, before anything is allocated", async () => {
  // one binding holds a pass over one window of 64, and no matrix of the MLP
  const maxBinding = 200_000, tokens = new Uint32Array(200);
  assert.ok(weights.get("h.0.mlp.c_fc.weight")!.byteLength > maxBinding);
  const loaded = { config, live: full, weights, form: "padded" as const };
  const tokenizer = { encode: () => tokens.subarray(0, 8) } as unknown as Tokenizer;
  const drawing = { temperature: 0, top_k: 0, top_p: 1, seed: 1, max_new_tokens: 4 };
  using strict = await Gpu.open({ maxBinding, serial: false });
  const matrix =
    /: h\.0\.mlp\.c_fc\.weight would bind 0\.3 MB at once, .* no batch of this model fits/;
  await assert.rejects(evaluateText(strict, loaded, tokens, { maxLength: 64 }), matrix);
  const write = (device: Gpu, prompts: string[]) =>
    continueTexts(device, { ...loaded, tokenizer }, { ...drawing, prompts });
  await assert.rejects(write(strict, ["a"]), matrix);
  assert.equal(strict.bytes, 0);

  using serial = await Gpu.open({ maxBinding, serial: true });
  if (!serial.readsTextures) return; // there, matrices are bound as well
  const sizes = { maxLength: 64, batchSize: 2 };
  await assert.rejects(evaluateText(serial, loaded, tokens, sizes), {
    name: "RangeError",
    message: "batch_size 2 x 64 tokens does not fit: fc would bind 0.3 MB at once, and this " +
      "adapter binds 0.2 MB; what fits: batch_size 1, or max_length 48",
  });
  assert.equal(serial.bytes, 0);
  await assert.rejects(
    write(serial, Array(10).fill("a")),
    /^RangeError: prompts 10 x 16 tokens does not fit: fc would bind .*; what fits: prompts 6, or tokens of/,
  );
  const seen: [number, number][] = [];
  const { predicted } = await evaluateText(serial, loaded, tokens, {
    ...{ ...sizes, batchSize: 1 },
    onProgress: ({ done, total }) => seen.push([done, total]),
  });
  assert.deepEqual(seen, [[1, 4], [2, 4], [3, 4], [4, 4]]);
  // a short text takes no more than its own length, which a binding holds where a window is too long
  const short = await evaluateText(serial, loaded, tokens.subarray(0, 30), { maxLength: 160 });
  assert.equal(short.predicted, 29);
  assert.ok(predicted > 150, "what is said to fit does");
  assert.throws(
    () => planMemory(serial, loaded, { B: 1, T: 64, models: 1, training: false }, 1e6),
    /1 model would take [\d.]+ MB, and 1\.0 MB are free; no batch of this model fits/,
  );
});
