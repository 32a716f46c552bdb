/** Folders as older versions of transformers wrote them; made by make_older_fixtures.py. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { readJson } from "../src/data/files.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { evaluateText } from "../src/experiment/evaluate_text.ts";
import { gpu } from "./gpu.ts";

const older = (path: string) => fileURLToPath(new URL(`older/${path}`, import.meta.url));

Deno.test("heads pruned by transformers 4 are read as a compact form, and saved in ours", async () => {
  const folder = older("pruned_heads"), dir = await Deno.makeTempDir();
  try {
    const expected = await readJson(join(folder, "expected.json")) as {
      tokens: number[];
      loss: number;
    };
    const tokens = Uint32Array.from(expected.tokens);
    const model = await loadModel(folder);
    assert.equal(model.form, "compact");
    assert.deepEqual(model.live, [[1], [0, 1, 2], [0, 2]]);
    const { loss } = await evaluateText(gpu, model, tokens);
    assert.ok(Math.abs(loss - expected.loss) < 1e-5 * expected.loss, `${loss}, ${expected.loss}`);
    for (const form of ["padded", "compact"] as const) {
      await saveModel(join(dir, form), model, { form });
      const again = await loadModel(join(dir, form));
      assert.deepEqual(again.live, model.live);
      assert.deepEqual(again.weights, model.weights);
      assert.ok(!("pruned_heads" in again.config.raw), "transformers 4 would prune again");
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("pruned_heads: empty lists mean nothing, and what cannot be is refused", async () => {
  const folder = older("pruned_heads"), dir = await Deno.makeTempDir();
  const config = await readJson(join(folder, "config.json")) as Record<string, unknown>;
  const put = (name: string, value: unknown) =>
    Deno.writeTextFile(join(dir, name), JSON.stringify(value));
  try {
    await saveModel(join(dir, "whole"), await loadModel(folder));
    await Deno.copyFile(join(dir, "whole/model.safetensors"), join(dir, "model.safetensors"));
    for (const pruned_heads of [{}, { "0": [], "1": [] }, null]) {
      await put("config.json", { ...config, pruned_heads });
      assert.deepEqual((await loadModel(dir)).live, Array(3).fill([0, 1, 2]));
    }
    const refuses = async (pruned_heads: unknown, message: RegExp) => {
      await put("config.json", { ...config, pruned_heads });
      await assert.rejects(loadModel(dir), { message });
    };
    for (
      const wrong of [{ "3": [0] }, { "0": [3] }, { "0": [-1] }, { "0": [0, 1, 2] }, { "0": "1" }]
    ) {
      await refuses(
        wrong,
        /config\.json: pruned_heads must list, for layers below 3, heads below 3/,
      );
    }
    // the weights are whole
    await refuses(
      config.pruned_heads,
      /c_attn\.weight" has shape \[12,36\]: config\.json and its pruned_heads ask for \[12,12\]/,
    );
    await put("pollard.json", { format: 1, live_heads: [[1], [0, 1, 2], [0, 2]] });
    await refuses(config.pruned_heads, /lists pruned_heads and .*pollard\.json lists heads too/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
