/** The two forms of a saved model: what lies on the disk, the way back, and what is refused. */
import assert from "node:assert/strict";
import { initWeights, type Weights } from "../src/gpt2/checkpoint.ts";
import { type Gpt2Config, makeConfig, parseConfig } from "../src/gpt2/config.ts";
import { allHeads, type LiveHeads, parameterLayout } from "../src/gpt2/layout.ts";
import { SafetensorsFile } from "../src/gpt2/safetensors.ts";
import { memorySource, readJson } from "../src/data/files.ts";
import type { Model } from "../src/data/model_files.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { COMPACT_WORDS } from "../src/data/model_form.ts";

const config = makeConfig({ L: 2, NH: 3, C: 12, V: 20, T: 8 });
const untied = makeConfig({ L: 2, NH: 3, C: 12, V: 20, T: 8, F: 10, tied: false });

/** A value of its own for every element. */
function pruned(config: Gpt2Config, live: LiveHeads): Model {
  let next = 1;
  const weights: Weights = new Map(
    parameterLayout(config, live).map((
      { name, size },
    ) => [name, Float32Array.from({ length: size }, () => next++)]),
  );
  return { config, live, weights };
}

const MODEL = pruned(config, [[1], [0, 2]]);

async function inTemporaryFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const bytes = (dir: string, name = "model.safetensors") => Deno.readFile(`${dir}/${name}`);

Deno.test("forms: from padded to compact and back, nothing is lost, to the last byte", () =>
  inTemporaryFolder(async (dir) => {
    const models = [
      MODEL,
      pruned(untied, [[0, 1, 2], [2]]),
      pruned(config, allHeads(config)),
      pruned(config, [[1], [0, 2]]),
    ];
    for (const [i, model] of models.entries()) {
      const [padded, compact, back] = ["padded", "compact", "back"].map((f) => `${dir}/${f}${i}`);
      await saveModel(padded, model);
      await saveModel(compact, await loadModel(padded), { form: "compact" });
      const loaded = await loadModel(compact);
      assert.equal(loaded.form, "compact");
      assert.deepEqual(loaded.config, model.config);
      assert.deepEqual(Object.keys(loaded.config.raw), Object.keys(model.config.raw)); // in order
      assert.deepEqual(loaded.live, model.live);
      assert.deepEqual(loaded.weights, model.weights);
      await saveModel(back, loaded, { form: "padded" });
      assert.equal((await loadModel(back)).form, "padded");
      for (const name of ["config.json", "pollard.json", "model.safetensors"]) {
        assert.deepEqual(await bytes(back, name), await bytes(padded, name), name);
      }
    }
    await assert.rejects(saveModel(`${dir}/x`, MODEL, { form: "dense" as "padded" }), {
      name: "TypeError",
      message: "form must be one of padded, compact: dense",
    });
  }));

Deno.test("forms: compact is as small as its heads, and says to others what it is", () =>
  inTemporaryFolder(async (dir) => {
    await saveModel(`${dir}/c`, MODEL, { form: "compact" });
    const file = await SafetensorsFile.open(memorySource(await bytes(`${dir}/c`)));
    const shape = (name: string) => file.tensors.get(`transformer.h.0.attn.${name}`)!.shape;
    assert.deepEqual(shape("c_attn.weight"), [12, 12]); // 3 x 1 head x 4 channels
    assert.deepEqual(shape("c_attn.bias"), [12]);
    assert.deepEqual(shape("c_proj.weight"), [4, 12]);
    assert.deepEqual(file.metadata, { format: "pt", pollard_live_heads: "[[1],[0,2]]" });
    assert.deepEqual(await readJson(`${dir}/c/pollard.json`), {
      format: 1,
      form: "compact",
      live_heads: [[1], [0, 2]],
    });

    const said = await readJson(`${dir}/c/config.json`) as Record<string, unknown>;
    assert.deepEqual(Object.keys(said), [
      "model_type",
      "architectures",
      "activation_function",
      "padded_config",
    ]);
    assert.deepEqual(
      [said.model_type, said.architectures, said.activation_function],
      [COMPACT_WORDS, [COMPACT_WORDS], COMPACT_WORDS],
    );
    assert.match(COMPACT_WORDS, /deno task export \S+ --form padded --output \S+$/);
    // transformers takes a nested configuration of type gpt2 for the model's own
    assert.deepEqual(said.padded_config, { ...config.raw, model_type: null });
    // and so does a version of Pollard that does not know the form
    assert.throws(() => parseConfig(said), { name: "TypeError", message: /compact form/ });
  }));

Deno.test("forms: files that do not belong together are refused by name", () =>
  inTemporaryFolder(async (dir) => {
    const compact = `${dir}/compact`, padded = `${dir}/padded`, other = `${dir}/other`;
    await saveModel(padded, MODEL);
    await saveModel(compact, MODEL, { form: "compact" });
    await saveModel(other, pruned(config, [[0], [0, 2]]), { form: "compact" }); // the same shapes
    const mixed = async (
      files: Record<string, string | undefined>,
      name: string,
      message: RegExp,
    ) => {
      const at = `${dir}/mixed`;
      await Deno.mkdir(at);
      for (const file of ["config.json", "pollard.json", "model.safetensors"]) {
        const from = file in files ? files[file] : compact;
        if (from !== undefined) await Deno.copyFile(`${from}/${file}`, `${at}/${file}`);
      }
      await assert.rejects(loadModel(at), { name, message });
      await Deno.remove(at, { recursive: true });
    };
    await mixed(
      { "pollard.json": undefined },
      "TypeError",
      /config\.json is of the compact form, and .*pollard\.json is missing/,
    );
    await mixed(
      { "pollard.json": padded },
      "TypeError",
      /config\.json is of the compact form and .*pollard\.json of the padded/,
    );
    await mixed(
      { "config.json": padded },
      "TypeError",
      /config\.json is of the padded form and .*pollard\.json of the compact/,
    );
    await mixed(
      { "pollard.json": other },
      "TypeError",
      /model\.safetensors holds the heads \[\[1\],\[0,2\]\], and .*pollard\.json lists \[\[0\],/,
    );
    await mixed(
      { "model.safetensors": padded },
      "TypeError",
      /model\.safetensors does not say which heads it holds.*pollard\.json/,
    );
    // compact weights under a padded model's files: shapes
    await mixed(
      { "config.json": padded, "pollard.json": padded },
      "RangeError",
      /c_attn\.weight" has shape \[12,12\]: config\.json asks for \[12,36\]/,
    );
    await mixed(
      { "config.json": padded, "pollard.json": undefined },
      "RangeError",
      /has shape \[12,12\]: config\.json asks for/,
    );

    const broken = async (file: string, text: string, name: string, message: RegExp) => {
      const whole = await bytes(compact, file);
      await Deno.writeTextFile(`${compact}/${file}`, text);
      await assert.rejects(loadModel(compact), { name, message });
      await Deno.writeFile(`${compact}/${file}`, whole);
    };
    const mark = (value: object) => JSON.stringify({ format: 1, form: "compact", ...value });
    await broken("pollard.json", mark({}), "RangeError", /pollard\.json: live_heads must have/);
    await broken(
      "pollard.json",
      mark({ live_heads: [[1], [0, 3]] }),
      "RangeError",
      /live_heads of layer 1 must be ascending head numbers below 3, one at least: \[0,3\]/,
    );
    await broken("pollard.json", mark({ form: "sparse" }), "TypeError", /has form "sparse"/);
    await broken("pollard.json", "{", "TypeError", /pollard\.json is not JSON/);
    await broken(
      "config.json",
      JSON.stringify({ model_type: COMPACT_WORDS }),
      "TypeError",
      /config\.json describes model_type "GPT-2 with heads removed/,
    );
    await broken(
      "config.json",
      JSON.stringify({ model_type: COMPACT_WORDS, padded_config: { ...config.raw, n_inner: 7 } }),
      "RangeError",
      /c_fc\.weight" has shape \[12,48\]: config\.json and pollard\.json ask for \[12,7\]/,
    );
    await Deno.truncate(`${compact}/model.safetensors`, 4000);
    await assert.rejects(loadModel(compact), { name: "RangeError", message: /cut short/ });
  }));

Deno.test("forms: one replaces the other in place, and a fresh model has both", () =>
  inTemporaryFolder(async (dir) => {
    const fresh = { config, live: allHeads(config), weights: initWeights(config, 4) };
    for (const form of ["padded", "compact", "padded"] as const) {
      await saveModel(`${dir}/m`, fresh, { form });
      const loaded = await loadModel(`${dir}/m`);
      assert.equal(loaded.form, form);
      assert.deepEqual(loaded.weights, fresh.weights);
    }
  }));
