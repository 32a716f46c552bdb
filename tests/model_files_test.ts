import assert from "node:assert/strict";
import { initWeights, padWeights, type Weights } from "../src/gpt2/checkpoint.ts";
import { type Gpt2Config, makeConfig, parseConfig } from "../src/gpt2/config.ts";
import { allHeads, parameterLayout } from "../src/gpt2/layout.ts";
import { safetensorsChunks, SafetensorsFile } from "../src/gpt2/safetensors.ts";
import { trainBpe } from "../src/data/bpe.ts";
import { memorySource, readJson, sha256, writeWhole } from "../src/data/files.ts";
import type { Model } from "../src/data/model_files.ts";
import { loadModel } from "../src/data/load_model.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";
import { drawable } from "../src/data/vocabulary.ts";
import { saveModel } from "../src/data/save_model.ts";

const tokenizerJson = trainBpe("the cat sat on the mat, the cat", 260);
const config = makeConfig({ L: 2, NH: 2, C: 8, V: 260, T: 16 });
const full: Model = {
  config,
  live: allHeads(config),
  weights: initWeights(config, 1),
  tokenizerJson,
  tokenizerConfig: { eos_token: "<|endoftext|>" },
};

async function inTemporaryFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** Every path under a folder with the hash of its content. */
async function snapshot(dir: string, inside = ""): Promise<string[]> {
  const out: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${dir}${inside}`)) {
    const path = `${inside}/${name}`;
    if (isDirectory) out.push(`${path}/`, ...await snapshot(dir, path));
    else out.push(`${path} ${await sha256(await Deno.readFile(`${dir}${path}`))}`);
  }
  return out.sort();
}

function assertSameWeights(a: Weights, b: Weights): void {
  assert.deepEqual([...a.keys()], [...b.keys()]);
  for (const [name, values] of a) assert.deepEqual(values, b.get(name), name);
}

/** Random values everywhere, in the shapes of a pruned model. */
function pruned(config: Gpt2Config, live: number[][]): Model {
  const weights: Weights = new Map(
    parameterLayout(config, live).map(({ name, size }, p) => [
      name,
      Float32Array.from({ length: size }, (_, i) => Math.sin(1 + i + 7 * p)),
    ]),
  );
  return { ...full, config, live, weights };
}

function writeShard(path: string, weights: Weights, names: string[], config: Gpt2Config) {
  const shapes = new Map(parameterLayout(config).map(({ name, shape }) => [name, shape]));
  const tensors = names.map((name) => ({
    name,
    shape: shapes.get(name)!,
    data: weights.get(name)!,
  }));
  return writeWhole(path, safetensorsChunks(tensors));
}

const indexOf = (map: Record<string, string>) => JSON.stringify({ weight_map: map });

Deno.test("model files: what is saved loads again, whole and pruned, tied and not", () =>
  inTemporaryFolder(async (dir) => {
    const untied = makeConfig({ L: 2, NH: 2, C: 8, V: 260, T: 16, F: 12, eps: 1e-6, tied: false });
    const models = [full, pruned(config, [[1], [0, 1]]), pruned(untied, [[0], [1]])];
    for (const [i, model] of models.entries()) {
      await saveModel(`${dir}/${i}`, model);
      const loaded = await loadModel(`${dir}/${i}`);
      const raw = { ...model.config.raw, bos_token_id: 259, eos_token_id: 259 };
      assert.deepEqual(loaded.config, { ...model.config, raw });
      assert.deepEqual(loaded.live, model.live);
      assertSameWeights(loaded.weights, model.weights);
      assert.deepEqual(loaded.tokenizerJson, JSON.parse(JSON.stringify(tokenizerJson)));
      assert.equal(loaded.tokenizer!.eos, 259);
      // Saving what was loaded gives the same files.
      await saveModel(`${dir}/again`, loaded);
      assert.deepEqual(await snapshot(`${dir}/again`), await snapshot(`${dir}/${i}`));
    }
    assert.deepEqual((await snapshot(dir)).filter((path) => path.startsWith("/.")), []);
  }));

Deno.test("model files: other programs find full shapes, zeros, and transformers' names", () =>
  inTemporaryFolder(async (dir) => {
    const model = pruned(config, [[1], [0, 1]]);
    await saveModel(`${dir}/m`, model);
    const file = await SafetensorsFile.open(
      memorySource(await Deno.readFile(`${dir}/m/model.safetensors`)),
    );
    assert.deepEqual(file.metadata, { format: "pt" });
    const name = "transformer.h.0.attn.c_attn.weight";
    assert.deepEqual(file.tensors.get(name)!.shape, [8, 24]);
    const values = await file.read(name);
    assert.ok(values.subarray(0, 4).every((v) => v === 0) && values.subarray(4, 8).every((v) => v));
    const padded = padWeights(config, model.live, model.weights);
    assert.deepEqual(values, padded.get("h.0.attn.c_attn.weight"));
    assert.deepEqual(await readJson(`${dir}/m/pollard.json`), {
      format: 1,
      live_heads: [[1], [0, 1]],
    });
  }));

Deno.test("model files: keys of config.json survive, but the element type is ours", () =>
  inTemporaryFolder(async (dir) => {
    const ends = { bos_token_id: null, eos_token_id: 7 };
    const raw = { ...config.raw, ...ends, torch_dtype: "float16", summary_type: "cls_index" };
    const architectures = ["GPT2DoubleHeadsModel"]; // their further heads are left out
    await saveModel(`${dir}/m`, { ...full, config: parseConfig({ ...raw, architectures }) });
    assert.deepEqual(await readJson(`${dir}/m/config.json`), { ...raw, torch_dtype: "float32" });
  }));

Deno.test("model files: other programs are told which token ends a text", () =>
  inTemporaryFolder(async (dir) => {
    await saveModel(`${dir}/m`, full);
    const saved = await readJson(`${dir}/m/config.json`);
    assert.deepEqual(saved, { ...config.raw, bos_token_id: 259, eos_token_id: 259 });
    const { tokenizerJson: _, tokenizerConfig: __, ...none } = full;
    await saveModel(`${dir}/n`, none);
    assert.deepEqual(await readJson(`${dir}/n/config.json`), config.raw);
  }));

Deno.test("model files: a sharded model, without the prefix", () =>
  inTemporaryFolder(async (dir) => {
    await writeWhole(`${dir}/config.json`, JSON.stringify(config.raw));
    const names = parameterLayout(config).map(({ name }) => name);
    const first = names.slice(0, 9), second = names.slice(9);
    const map = Object.fromEntries(
      names.map((n) => [n, first.includes(n) ? "a.safetensors" : "b.safetensors"]),
    );
    await writeShard(`${dir}/a.safetensors`, full.weights, first, config);
    await writeShard(`${dir}/b.safetensors`, full.weights, second, config);
    const index = `${dir}/model.safetensors.index.json`;
    await writeWhole(index, indexOf(map));
    const loaded = await loadModel(dir);
    assertSameWeights(loaded.weights, full.weights);
    assert.equal(loaded.tokenizer, undefined);
    assert.deepEqual(loaded.live, allHeads(config));

    const rejects = async (map: Record<string, string>, name: string, message: RegExp) => {
      await writeWhole(index, indexOf(map));
      await assert.rejects(loadModel(dir), { name, message });
    };
    await rejects(
      { ...map, [first[0]]: "b.safetensors" },
      "TypeError",
      /b\.safetensors: "wte\.weight" is not in the file but listed for it/,
    );
    const { [first[1]]: _, ...unlisted } = map;
    await rejects(
      unlisted,
      "TypeError",
      /a\.safetensors: "wpe\.weight" is in the file but not listed for it/,
    );
    await rejects(
      { ...map, extra: "b.safetensors" },
      "TypeError",
      /"extra" is not in the file but/,
    );
    await rejects({ ...map, extra: "c.safetensors" }, "NotFound", /lacks c\.safetensors/);
    await rejects({ ...map, extra: "../b.safetensors" }, "TypeError", /same folder: "\.\.\/b/);
    await writeWhole(index, "[]");
    await assert.rejects(loadModel(dir), { name: "TypeError", message: /a "weight_map"/ });
  }));

Deno.test("model files: missing, old and half-written files", () =>
  inTemporaryFolder(async (parent) => {
    const dir = `${parent}/m`;
    await saveModel(dir, full);
    const rejects = async (change: () => Promise<unknown>, name: string, message: RegExp) => {
      const kept = new Map<string, Uint8Array>();
      for await (const { name } of Deno.readDir(dir)) {
        kept.set(name, await Deno.readFile(`${dir}/${name}`));
      }
      await change();
      await assert.rejects(loadModel(dir), { name, message });
      for await (const { name } of Deno.readDir(dir)) await Deno.remove(`${dir}/${name}`);
      for (const [name, bytes] of kept) await Deno.writeFile(`${dir}/${name}`, bytes);
    };
    const put = (name: string, value: unknown) =>
      Deno.writeTextFile(
        `${dir}/${name}`,
        typeof value === "string" ? value : JSON.stringify(value),
      );
    const remove = (name: string) => Deno.remove(`${dir}/${name}`);

    await assert.rejects(loadModel(`${dir}/none`), { name: "NotFound", message: /no folder at / });
    await assert.rejects(loadModel(`${dir}/config.json`), {
      name: "TypeError",
      message: /is a file/,
    });
    await rejects(() => remove("config.json"), "NotFound", /holds no config\.json/);
    await rejects(
      () => put("config.json", '{"model_type"'),
      "TypeError",
      /config\.json is not JSON/,
    );
    await rejects(
      () => put("config.json", { model_type: "llama" }),
      "TypeError",
      /m\/config\.json .*llama/,
    );
    await rejects(() => remove("model.safetensors"), "NotFound", /neither model\.safetensors nor/);
    await rejects(
      () => Deno.rename(`${dir}/model.safetensors`, `${dir}/pytorch_model.bin`),
      "NotFound",
      /pytorch_model\.bin only[^]*safe_serialization=True/,
    );
    await rejects(
      () => Deno.truncate(`${dir}/model.safetensors`, 5000),
      "RangeError",
      /m\/model\.safetensors: .*cut short/,
    );
    await rejects(
      () => put("config.json", { ...config.raw, n_layer: 3 }).then(() => remove("pollard.json")),
      "TypeError",
      /lacks 12 of 40 parameters: h\.2\.ln_1\.weight/,
    );
    await rejects(() => put("tokenizer.json", {}), "TypeError", /m\/tokenizer\.json must hold/);
    await rejects(() => put("pollard.json", { format: 2 }), "TypeError", /format 2: only format 1/);
    await rejects(
      () => put("pollard.json", { format: 1, live_heads: [[0], [2]] }),
      "RangeError",
      /live_heads of layer 1 .*: \[2\]/,
    );
    await rejects(
      () => put("pollard.json", { format: 1, live_heads: [[0], [0, 1]] }),
      "RangeError",
      /disagree: "h\.0\.attn\.c_attn\.weight" holds values/,
    );
    assertSameWeights((await loadModel(dir)).weights, full.weights); // and nothing was broken
  }));

Deno.test("model files: rows without tokens, and tokens without rows", () =>
  inTemporaryFolder(async (dir) => {
    for (const [V, holes] of [[384, 0], [1000, 0], [261, 0], [255, 0]]) {
      const sizes = makeConfig({ L: 1, NH: 1, C: 8, V, T: 4 });
      const model = { config: sizes, live: [[0]], weights: initWeights(sizes, 3), tokenizerJson };
      await saveModel(`${dir}/${V}`, model);
      const { tokenizer } = await loadModel(`${dir}/${V}`);
      assert.equal(tokenizer!.vocabSize, 260);
      const drawn = drawable(tokenizer!, sizes);
      assert.deepEqual([drawn.vocabSize, drawn.holes.length], [Math.min(V, 260), holes]);
      // kept tokens of a text were checked for the rows that there were
      const { fingerprint } = await Tokenizer.fromJson(tokenizerJson);
      assert.equal(tokenizer!.fingerprint === fingerprint, V >= 260);
      if (V >= 260) await tokenizer!.encode("the cat<|endoftext|>");
      else {
        await tokenizer!.encode("a"); // what the text does not hold needs no row
        await assert.rejects(tokenizer!.encode("<|endoftext|>"), {
          name: "RangeError",
          message: /holds the token "<\|endoftext\|>", number 259, .*vocab_size 255/,
        });
      }
    }
  }));

Deno.test("model files: a folder that is not ours is left alone", () =>
  inTemporaryFolder(async (dir) => {
    await Deno.mkdir(`${dir}/notes`);
    await Deno.writeTextFile(`${dir}/notes/diary.txt`, "dear diary");
    await Deno.mkdir(`${dir}/theirs`);
    await Deno.writeTextFile(`${dir}/theirs/config.json`, JSON.stringify(config.raw));
    await Deno.writeTextFile(`${dir}/file`, "a file");
    await saveModel(`${dir}/mixed`, full);
    await Deno.writeTextFile(`${dir}/mixed/README.md`, "mine");
    await saveModel(`${dir}/ours`, full);
    const before = await snapshot(dir);

    const refused = (name: string, message: RegExp) =>
      assert.rejects(saveModel(`${dir}/${name}`, full), { name: "AlreadyExists", message });
    await refused("notes", /holds diary\.txt, .*give another folder/);
    await refused("theirs", /without pollard\.json/);
    await refused("file", /is not a folder/);
    await refused("mixed", /holds README\.md/);

    // A model that does not fit together, and a place that cannot be written.
    const weights = new Map(full.weights).set("ln_f.bias", new Float32Array(9));
    await assert.rejects(saveModel(`${dir}/ours`, { ...full, weights }), /9 elements/);
    await assert.rejects(saveModel(`${dir}/new`, { ...full, live: [[0]] }), /live_heads/);
    await assert.rejects(saveModel(`${dir}/none/m`, full), { name: "NotFound" });
    assert.deepEqual(await snapshot(dir), before);

    // Ours, and an empty folder, are replaced.
    await Deno.mkdir(`${dir}/empty`);
    const model = pruned(config, [[1], [1]]);
    for (const name of ["ours", "empty"]) {
      await saveModel(`${dir}/${name}`, model);
      assert.deepEqual((await loadModel(`${dir}/${name}`)).live, [[1], [1]]);
    }
  }));

Deno.test("model files: over http", () =>
  inTemporaryFolder(async (dir) => {
    await saveModel(`${dir}/m`, full);
    await using server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen() {} },
      async (request) => {
        const path = new URL(request.url).pathname;
        try {
          return new Response(await Deno.readFile(dir + path));
        } catch {
          return new Response("no", { status: path.includes("broken") ? 500 : 404 });
        }
      },
    );
    const url = `http://127.0.0.1:${server.addr.port}`;
    const loaded = await loadModel(new URL(`${url}/m`));
    assertSameWeights(loaded.weights, full.weights);
    assert.equal(loaded.tokenizer!.vocabSize, 260);
    await assert.rejects(loadModel(new URL(`${url}/none/`)), {
      name: "NotFound",
      message: /none\/ holds no config\.json/,
    });
    await assert.rejects(loadModel(new URL(`${url}/broken/`)), /server answered 500/);
    await assert.rejects(loadModel(new URL("ftp://127.0.0.1/m")), TypeError);
    assertSameWeights((await loadModel(new URL(`file://${dir}/m`))).weights, full.weights);
  }));

Deno.test("files: written whole or not at all", () =>
  inTemporaryFolder(async (dir) => {
    await writeWhole(`${dir}/a.json`, '{"n":1}');
    assert.deepEqual(await readJson(`${dir}/a.json`), { n: 1 });
    await writeWhole(`${dir}/a.json`, new TextEncoder().encode('{"n":2}'));
    const before = await snapshot(dir);
    function* broken() {
      yield new Uint8Array(100_000);
      throw new Error("half-way");
    }
    await assert.rejects(writeWhole(`${dir}/a.json`, broken()), /half-way/);
    await assert.rejects(writeWhole(`${dir}/none/a`, "x"), { name: "NotFound" });
    assert.deepEqual(await snapshot(dir), before);
    assert.deepEqual(await readJson(`${dir}/a.json`), { n: 2 });

    await assert.rejects(readJson(`${dir}/b.json`), {
      name: "NotFound",
      message: /no file at .*b\.json/,
    });
    await Deno.writeTextFile(`${dir}/c.json`, '{"n":');
    await assert.rejects(readJson(`${dir}/c.json`), {
      name: "TypeError",
      message: /c\.json is not JSON, or only a part of it/,
    });
  }));
