/** Runs on data sets with splits of their own. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadText } from "../src/data/corpora.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";
import { resumeExperiment, startExperiment } from "../src/experiment/run.ts";
import { loadMaterials } from "../src/experiment/setup.ts";
import { checkOptions } from "../src/experiment/options.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, modelDir, model } = await makeTiny();
const { text } = await loadText("moby_dick");
const rows = text.slice(0, 40_000).split("\n\n");
const folder = join(dir, "set");
await Deno.mkdir(folder);
const write = (name: string, of: readonly string[]) =>
  Deno.writeTextFile(join(folder, name), of.map((body) => JSON.stringify({ body })).join("\n"));
await write("train.jsonl", rows.slice(20));
await write("test.jsonl", rows.slice(0, 20));

const given = {
  ...{ model_name: modelDir, text: folder, text_column: "body", output_dir: join(dir, "runs") },
  ...{ max_length: 16, batch_size: 2, eval_tokens: 64, test_tokens: 64, controls: false },
  ...{ warmup_steps: 2, finetuning_steps: 2, cycles: 1, pruning_level: 0.2 },
};

Deno.test("a run keeps a data set's splits, says what it cut, and goes on with the same text only", async () => {
  const said: string[] = [];
  const onMessage = (line: string) => said.push(line);
  const run = await startExperiment(gpu, given, { onMessage });
  const path = run.folder.dir;
  run.dispose();
  assert.ok(said.includes(`${folder} has no split validation: it is cut from train`), said.join());
  const data = JSON.parse(await Deno.readTextFile(join(path, "data.json")));
  assert.deepEqual([data.text, data.text_column, data.dataset_config], [folder, "body", undefined]);
  assert.deepEqual(data.files.map(({ split }: { split: string }) => split), ["train", "test"]);
  const splits = Object.values<{ split: string }>(data.parts).map(({ split }) => split);
  assert.deepEqual(splits, ["train", "train", "train", "test"]);
  assert.deepEqual([data.parts.test.start, data.parts.validation.start], [
    0,
    data.parts.calibration.end,
  ]);

  const { parts } = await loadMaterials(checkOptions(given));
  const tokenizer = await Tokenizer.fromJson(model.tokenizerJson);
  const expected = await tokenizer.encode(rows.slice(0, 20).join("\n\n"));
  assert.deepEqual(parts.test.subarray(0), expected, "the test split is the test part");

  using again = await resumeExperiment(gpu, path);
  assert.equal((await again.run()).total_heads, 8);
  const other = await startExperiment(gpu, given);
  other.dispose();
  await write("test.jsonl", rows.slice(1, 20));
  await assert.rejects(resumeExperiment(gpu, other.folder.dir), /its hash has changed/);
});

Deno.test("what stops the loading, or is wrong with the text, leaves no folder", async () => {
  const output_dir = join(dir, "none");
  const start = (options: object, signal?: AbortSignal) =>
    startExperiment(gpu, { ...given, ...options, output_dir }, { signal });
  await assert.rejects(start({ text_column: "text" }), /line 1 has no column text: it has body/);
  await assert.rejects(start({ dataset_config: "raw" }), /set has no folder raw$/);
  await assert.rejects(start({}, AbortSignal.abort(new Error("enough"))), /enough/);
  await assert.rejects(Deno.stat(output_dir), { name: "NotFound" });
});
