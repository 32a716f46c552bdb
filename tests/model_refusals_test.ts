import assert from "node:assert/strict";
import { join } from "node:path";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { openText } from "../src/data/text_source.ts";
import { tokenise } from "../src/data/tokenise.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";
import { withHubServer } from "./hub_ground.ts";
import { runScript } from "./script.ts";
import { makeTiny } from "./tiny.ts";

const tiny = await makeTiny();

/** What Git checks out in place of a large file that was not fetched. */
const POINTER = `version https://git-lfs.github.com/spec/v1\noid sha256:${
  "a".repeat(64)
}\nsize 548105171\n`;

/** A copy of the tiny model in a folder of its own. */
async function copyOfTiny(name: string): Promise<string> {
  const dir = join(tiny.dir, name);
  await Deno.mkdir(dir);
  for await (const file of Deno.readDir(tiny.modelDir)) {
    await Deno.copyFile(join(tiny.modelDir, file.name), join(dir, file.name));
  }
  return dir;
}

Deno.test("a Git LFS pointer in a file's place is named, and how to get the file", async () => {
  const dir = await copyOfTiny("pointers");
  for (const name of ["model.safetensors", "config.json", "tokenizer.json"]) {
    const path = join(dir, name), whole = await Deno.readFile(path);
    await Deno.writeTextFile(path, POINTER);
    await assert.rejects(loadModel(dir), {
      name: "TypeError",
      message:
        `${path} is a Git LFS pointer that stands for the file: in its folder, run git lfs pull`,
    });
    await Deno.writeFile(path, whole);
  }
  await Deno.remove(join(dir, "tokenizer.json"));
  await Deno.writeTextFile(join(dir, "vocab.json"), '{"<|endoftext|>":0}');
  await Deno.writeTextFile(join(dir, "merges.txt"), POINTER);
  await assert.rejects(loadModel(dir), /merges\.txt is a Git LFS pointer .*git lfs pull/);

  const tokenizer = await Tokenizer.fromJson(tiny.model.tokenizerJson);
  for (const name of ["text.txt", "text.jsonl", "text.parquet"]) {
    const path = join(dir, name);
    await Deno.writeTextFile(path, POINTER);
    const reading = openText(path).then((text) => tokenise(text, tokenizer));
    await assert.rejects(reading, { name: "TypeError", message: /Git LFS pointer .*git lfs pull/ });
  }
});

Deno.test("a link in a model's folder to what is gone is named", async () => {
  const dir = await copyOfTiny("links");
  for (const name of ["model.safetensors", "config.json", "tokenizer.json"]) {
    const path = join(dir, name), whole = await Deno.readFile(path);
    await Deno.remove(path);
    await Deno.symlink("../../blobs/0123abcd", path);
    await assert.rejects(loadModel(dir), {
      name: "TypeError",
      message: `${path} is a link to ../../blobs/0123abcd, which is not there: ` +
        "download the file again",
    });
    await Deno.remove(path);
    await Deno.writeFile(path, whole);
  }
  assert.ok((await loadModel(dir)).tokenizer);
});

Deno.test(
  "a cache whose weights are gone is fetched again or, offline, named",
  withHubServer(async ({ server, home }) => {
    const files: Record<string, Uint8Array> = {};
    for await (const { name } of Deno.readDir(tiny.modelDir)) {
      files[name] = await Deno.readFile(join(tiny.modelDir, name));
    }
    const commit = server.commit("someone/tiny", files);
    const repo = join(home, "hub/models--someone--tiny");
    const pointer = join(repo, "snapshots", commit, "model.safetensors");
    const forget = async () => await Deno.remove(await Deno.realPath(pointer));
    await loadModel("someone/tiny");
    await forget();
    await loadModel("someone/tiny");
    await forget();
    Deno.env.set("HF_HUB_OFFLINE", "1");
    const message = /model\.safetensors of someone\/tiny is not in the cache, and HF_HUB_OFFLINE/;
    await assert.rejects(loadModel("someone/tiny"), { name: "TypeError", message });
    await Deno.remove(join(repo, "trees"), { recursive: true });
    await assert.rejects(loadModel("someone/tiny"), { name: "TypeError", message });
  }),
);

Deno.test("weights that are not finite are refused before a folder is made", async () => {
  const dir = await copyOfTiny("not-finite");
  const weights = new Map(tiny.model.weights);
  const values = weights.get("h.1.ln_2.bias")!.slice();
  values[5] = NaN;
  await saveModel(dir, { ...tiny.model, weights: weights.set("h.1.ln_2.bias", values) });
  const out = join(tiny.dir, "out");
  await Deno.mkdir(out);
  const text = ["--max_length", "16", "--batch_size", "2", "--output_dir", out];
  const commands = [
    ["experiment", "--model_name", dir, "--text", tiny.textFile, ...text],
    ["sweep", "--model_name", dir, "--text", tiny.textFile, ...text],
    ["controller_plasticity_integration", ...["--model_name", dir, "--dataset", tiny.textFile], ...[
      "--sequence_length",
      "16",
      "--batch_size",
      "2",
      "--output_dir",
      out,
    ]],
    ["upgrayedd", "--model", dir, "--dataset", tiny.textFile, "--output-dir", out],
    ["export", dir, "--output", join(out, "exported")],
  ];
  for (const [command, ...args] of commands) {
    const name = command === "experiment" ? "neural_plasticity_controller_experiment" : command;
    const { code, stderr } = await runScript(name, ...args);
    assert.match(
      stderr,
      /^.*tensor "transformer\.h\.1\.ln_2\.bias" is not finite: element 5 is NaN/m,
      command,
    );
    assert.equal(code, 2, command);
    assert.deepEqual(await Array.fromAsync(Deno.readDir(out)), [], command);
  }
});
