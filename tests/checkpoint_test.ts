import assert from "node:assert/strict";
import {
  checkLiveHeads,
  compactWeights,
  initWeights,
  padWeights,
  toCheckpoint,
  type Weights,
} from "../src/gpt2/checkpoint.ts";
import { type AvailableTensor, readCheckpoint } from "../src/gpt2/read_checkpoint.ts";
import { type Gpt2Config, makeConfig } from "../src/gpt2/config.ts";
import { allHeads, parameterLayout } from "../src/gpt2/layout.ts";

const config = makeConfig({ L: 2, NH: 3, C: 12, V: 11, T: 7, F: 10 });
const untied = makeConfig({ L: 2, NH: 3, C: 12, V: 11, T: 7, F: 10, tied: false });

/** Every element of every parameter has a value of its own. */
function numbered(config: Gpt2Config): Weights {
  let next = 1;
  return new Map(
    parameterLayout(config).map((
      { name, size },
    ) => [name, Float32Array.from({ length: size }, () => next++)]),
  );
}

function offer(config: Gpt2Config, weights: Weights, prefix = ""): AvailableTensor[] {
  return parameterLayout(config).map(({ name, shape }) => ({
    name: prefix + name,
    shape,
    where: "model.safetensors",
    read: () => Promise.resolve(weights.get(name)!),
  }));
}

function assertSameWeights(a: Weights, b: Weights): void {
  assert.deepEqual([...a.keys()], [...b.keys()]);
  for (const [name, values] of a) assert.deepEqual(values, b.get(name), name);
}

Deno.test("checkpoint: names with and without the prefix, masks ignored", async () => {
  const weights = numbered(config);
  const masks = ["h.0.attn.bias", "transformer.h.1.attn.masked_bias"].map((name) => ({
    name,
    shape: [1, 1, 7, 7],
    read: () => Promise.reject(new Error("masks must not be read")),
  }));
  for (const prefix of ["", "transformer."]) {
    const read = await readCheckpoint(config, [
      ...masks,
      ...offer(config, weights, prefix).reverse(),
    ]);
    assertSameWeights(read, weights);
  }
});

Deno.test("checkpoint: heads of tied and untied models", async () => {
  const weights = numbered(config);
  const wte = weights.get("wte.weight")!;
  const head = (data: Float32Array, shape = [11, 12]): AvailableTensor => ({
    name: "lm_head.weight",
    shape,
    read: () => Promise.resolve(data),
  });
  const read = await readCheckpoint(config, [...offer(config, weights), head(wte.slice())]);
  assert.ok(!read.has("lm_head.weight"));

  const other = wte.slice();
  other[130] += 1;
  await assert.rejects(readCheckpoint(config, [...offer(config, weights), head(other)]), {
    name: "RangeError",
    message: /"lm_head\.weight" differs from wte\.weight at element 130, .*tie_word_embeddings/,
  });
  await assert.rejects(readCheckpoint(untied, offer(config, weights)), {
    name: "TypeError",
    message: /lacks 1 of 29 parameters: lm_head\.weight/,
  });
  const free = await readCheckpoint(untied, [...offer(config, weights), head(other)]);
  assert.deepEqual(free.get("lm_head.weight"), other);
});

Deno.test("checkpoint: a tied table may lie under the head's name alone", async () => {
  const weights = numbered(config);
  const renamed = offer(config, weights, "transformer.").map((tensor) => (
    { ...tensor, name: tensor.name.replace("transformer.wte.weight", "lm_head.weight") }
  ));
  assert.ok(renamed.every(({ name }) => !name.includes("wte")));
  assertSameWeights(await readCheckpoint(config, renamed), weights);
  await assert.rejects(readCheckpoint(untied, renamed), /lacks 1 of 29 parameters: wte\.weight/);
});

Deno.test("checkpoint: wrappers' prefixes are taken off, heads for other tasks left out and named", async () => {
  const weights = numbered(config);
  const further = ["v_head.summary.bias", "score.weight", "multiple_choice_head.summary.weight"]
    .map(
      (name) => ({ name, shape: [1], read: () => Promise.reject(new Error("not to be read")) }),
    );
  for (const prefix of ["", "transformer.", "module.transformer.", "module._orig_mod."]) {
    const lines: string[] = [];
    const tensors = [...further, ...offer(config, weights, prefix)];
    const onMessage = (line: string) => lines.push(line);
    assertSameWeights(await readCheckpoint(config, tensors, { onMessage }), weights);
    assert.equal(lines.length, 1);
    for (const { name } of further) assert.ok(lines[0].includes(name), lines[0]);
  }
  for (
    const name of ["transformer.score.weight", "module.transformer.x", "h.0.x", "lm_head.bias"]
  ) {
    const tensors = [...offer(config, weights), { ...further[0], name }];
    await assert.rejects(readCheckpoint(config, tensors), {
      name: "TypeError",
      message: /tensors that a GPT-2 of 2 layers does not have/,
    });
  }
});

Deno.test("checkpoint: a weight that is not finite is refused by name and place", async () => {
  for (const value of [NaN, Infinity, -Infinity]) {
    const weights = numbered(config);
    weights.get("h.1.mlp.c_fc.bias")![3] = value;
    await assert.rejects(readCheckpoint(config, offer(config, weights)), {
      name: "RangeError",
      message: new RegExp(
        `^model\\.safetensors: tensor "h\\.1\\.mlp\\.c_fc\\.bias" .*element 3 is ${value};`,
      ),
    });
  }
});

Deno.test("checkpoint: what is missing, unknown, double or of another shape", async () => {
  const tensors = offer(config, numbered(config));
  const rejects = (list: AvailableTensor[], name: string, message: RegExp) =>
    assert.rejects(readCheckpoint(config, list), { name, message });
  const at = tensors.findIndex(({ name }) => name === "h.1.attn.c_proj.bias");
  await rejects(tensors.toSpliced(at, 1), "TypeError", /lacks 1 of 28 .*h\.1\.attn\.c_proj\.bias/);
  await rejects([], "TypeError", /lacks 28 of 28 .*and 24 more/);
  await rejects(
    [...tensors, { ...tensors[at], name: "h.2.ln_1.bias" }],
    "TypeError",
    /GPT-2 of 2 layers does not have: model\.safetensors: tensor "h\.2\.ln_1\.bias"/,
  );
  await rejects(
    [...tensors, { ...tensors[at], name: "transformer.h.1.attn.c_proj.bias", where: "b" }],
    "TypeError",
    /b: tensor "transformer\.h\.1\.attn\.c_proj\.bias": .* given twice/,
  );
  // Conv1D weights are [in, out]: a Linear's transposed shape must not pass.
  const qkv = tensors.findIndex(({ name }) => name === "h.0.attn.c_attn.weight");
  await rejects(
    tensors.with(qkv, { ...tensors[qkv], shape: [36, 12] }),
    "RangeError",
    /"h\.0\.attn\.c_attn\.weight" has shape \[36,12\]: config\.json asks for \[12,36\]/,
  );
});

Deno.test("checkpoint: fresh weights", () => {
  const big = makeConfig({ L: 8, NH: 4, C: 64, V: 300, T: 32 });
  const weights = initWeights(big, 5);
  const deviation = (name: string) => {
    const values = weights.get(name)!;
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    assert.ok(Math.abs(mean) < 0.001, `${name} has mean ${mean}`);
    return Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length);
  };
  // 6 % is four standard errors, 1/sqrt(2n), for the smallest of them (wpe: n = 2,048).
  const near = (name: string, expected: number) => {
    const got = deviation(name);
    assert.ok(Math.abs(got / expected - 1) < 0.06, `${name}: ${got}, expected ${expected}`);
  };
  for (
    const name of ["wte.weight", "wpe.weight", "h.3.attn.c_attn.weight", "h.7.mlp.c_fc.weight"]
  ) {
    near(name, 0.02);
  }
  for (const name of ["h.0.attn.c_proj.weight", "h.7.mlp.c_proj.weight"]) near(name, 0.02 / 4);
  assert.ok(weights.get("h.2.ln_1.weight")!.every((v) => v === 1));
  assert.ok(weights.get("h.2.attn.c_attn.bias")!.every((v) => v === 0));

  assertSameWeights(initWeights(big, 5), weights);
  const other = initWeights(big, 6);
  assert.notDeepEqual(other.get("wte.weight"), weights.get("wte.weight"));
  assert.notDeepEqual(
    weights.get("h.0.mlp.c_fc.weight"),
    weights.get("h.1.mlp.c_fc.weight"),
    "parameters have streams of their own",
  );
  assert.throws(() => initWeights(big, -1), { name: "RangeError", message: /seed .*: -1/ });
});

Deno.test("checkpoint: compact and padded forms", () => {
  const full = numbered(config);
  const live = [[0, 2], [1]];
  const compact = compactWeights(config, live, full);
  for (const { name, size } of parameterLayout(config, live)) {
    assert.equal(compact.get(name)!.length, size, name);
  }
  const padded = padWeights(config, live, compact);
  const HS = 4, C = 12;
  for (const { name, shape, layer, heads } of parameterLayout(config)) {
    const values = padded.get(name)!, original = full.get(name)!;
    assert.equal(values.length, original.length);
    values.forEach((value, i) => {
      // Which head owns element i, found from its place alone.
      const head = heads === "rows"
        ? Math.floor(i / C / HS)
        : Math.floor((i % shape[shape.length - 1]) % C / HS);
      const kept = heads === undefined || live[layer!].includes(head);
      assert.equal(value, kept ? original[i] : 0, `${name}[${i}]`);
    });
  }
  assertSameWeights(compactWeights(config, live, padded), compact);
  assertSameWeights(compactWeights(config, allHeads(config), full), full);
});

Deno.test("checkpoint: heads and weights that do not fit are refused", () => {
  for (
    const bad of [[[0]], [[], [1]], [[0, 1], [3]], [[1, 0], [0]], [[0, 0], [1]], [[0], [-1]], [
      [0],
      [0.5],
    ]]
  ) {
    assert.throws(() => checkLiveHeads(config, bad, "live_heads"), {
      name: "RangeError",
      message: /^live_heads /,
    });
  }
  const full = numbered(config);
  assert.throws(() => padWeights(config, [[0], [1]], full), {
    name: "RangeError",
    message: /"h\.0\.attn\.c_attn\.weight" have 432 elements: shape \[12,12\] asks for 144/,
  });
  assert.throws(() => toCheckpoint(untied, allHeads(untied), full), {
    name: "TypeError",
    message: /lack "lm_head\.weight"/,
  });
  assert.throws(() => toCheckpoint(config, allHeads(config), numbered(untied)), {
    name: "TypeError",
    message: /does not have: lm_head\.weight/,
  });
});

Deno.test("checkpoint: saved names are those of transformers", async () => {
  const names = (c: Gpt2Config) =>
    toCheckpoint(c, allHeads(c), numbered(c)).map(({ name }) => name);
  assert.ok(names(config).every((name) => name.startsWith("transformer.")));
  assert.deepEqual(names(untied), [...names(config), "lm_head.weight"]);

  const weights = numbered(untied);
  const saved = toCheckpoint(untied, allHeads(untied), weights);
  const read = await readCheckpoint(
    untied,
    saved.map(({ name, shape, data }) => ({ name, shape, read: () => Promise.resolve(data) })),
  );
  assertSameWeights(read, weights);
});
