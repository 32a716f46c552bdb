/** A real run whose pruned heads leave their means, its card, and its model in both forms. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { type Exported, exportModel } from "../src/experiment/export_model.ts";
import { startExperiment } from "../src/experiment/run.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { parameterLayout } from "../src/gpt2/layout.ts";
import type { Results } from "../src/record.ts";
import { cardInForm, cardRows, modelCard } from "../src/report/model_card.ts";
import { assertClose, randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";
import { logitsOf } from "./logits.ts";
import { makeTiny } from "./tiny.ts";
import { runScript } from "./script.ts";

const { dir, textFile, modelDir } = await makeTiny({ initializerRange: 0.1 });
const shared = {
  ...{ model_name: modelDir, text: textFile, max_length: 16, batch_size: 2 },
  ...{ warmup_steps: 6, finetuning_steps: 4, cycles: 2, pruning_level: 0.5, eval_freq: 4 },
  ...{ eval_tokens: 128, test_tokens: 256, controller_update_freq: 2, learning_rate: 3e-3 },
};

/** Runs an experiment, and looks at what was in the model when it pruned. */
async function runIt(name: string, fold_means: boolean) {
  using run = await startExperiment(gpu, { ...shared, fold_means, output_dir: join(dir, name) });
  await run.run();
  return run.folder;
}

const run = await runIt("folding", true);
const plain = await runIt("plain", false);
const resultsOf = async (path: string): Promise<Results> =>
  JSON.parse(await Deno.readTextFile(path));
const results = await resultsOf(run.path("results.json"));

/** The logits of a saved model for one batch. */
async function logits(path: string): Promise<Float32Array> {
  const { config, weights, live } = await loadModel(path);
  using model = new Gpt2(gpu, config, weights, live);
  using acts = new Activations(model, { B: 2, T: 16, training: false });
  const tokens = randomIntegers(32, 9, config.V);
  acts.upload(tokens, tokens);
  return await logitsOf(model, acts);
}

Deno.test("a run that folds means: its three forms agree, and folding did something", async () => {
  for (const key of ["masked_loss", "reloaded_loss"] as const) {
    assertClose([results[key]], [results.compacted_loss], { atol: 0, rtol: 1e-5, what: key });
  }
  const other = await resultsOf(plain.path("results.json"));
  const [cycle] = results.cycles, [without] = other.cycles;
  assert.equal(cycle.loss_before, without.loss_before); // to here they are the same run
  assert.deepEqual(cycle.pruned_heads, without.pruned_heads);
  assert.notEqual(cycle.loss_after_pruning, without.loss_after_pruning);
  assert.notEqual(cycle.random_pruning_loss, without.random_pruning_loss); // the control folds too
  assert.equal(cycle.unpruned_twin_loss, without.unpruned_twin_loss);
});

Deno.test("a run's model has a card, made of results.json as it lies there", async () => {
  const card = await Deno.readTextFile(run.path("model", "README.md"));
  const rows = cardRows(results);
  assert.deepEqual(rows.map(([what]) => what), [
    "attention heads computed",
    "test loss, nats per token",
    "test perplexity",
    "test loss of the unpruned twin, same training",
    "difference from the twin",
    "test loss of random pruning, as many heads, same training",
    "difference from random",
    "test loss before any pruning, after less training",
    "cycles of pruning and training",
    "tokens trained on",
    "seed",
  ]);
  for (const [what, value] of rows) assert.ok(card.includes(`| ${what} | ${value} |`), what);
  assert.match(card, /^# tiny, heads pruned$/m);
  assert.match(card, /strategy `importance` and a controller\.\nEach left its mean output/);
  assert.match(card, /library_name: transformers/);
  const body = card.slice(card.indexOf("# tiny"), card.indexOf(" Measured on:"));
  const known = [...rows.map(([, value]) => value), "50 %"].join(" ");
  for (const number of body.replaceAll("GPT-2", "").match(/\d[\d.,]*\d|\d/g)!) {
    assert.ok(known.includes(number), `${number} is not one of the results`);
  }
  assert.doesNotMatch(await Deno.readTextFile(plain.path("model", "README.md")), /mean output/);
  const { unpruned_twin_loss: _, random_pruning_loss: __, ...alone } = results;
  const names = { base: "b", text: "t", chosenBy: "random", adapter: "a" };
  assert.match(modelCard(alone, names), /No unpruned twin was\s+trained/);
});

/** Runs `deno task export`. */
const command = (...args: string[]) => runScript("export", ...args);

Deno.test("a run's model in both forms: the same logits, to the last bit", async () => {
  const compact = join(dir, "compact"), padded = join(dir, "padded");
  const first = await command(run.dir, "--form", "compact", "--output", compact, "--json");
  assert.equal(first.code, 0, first.stderr);
  const done: Exported = JSON.parse(first.stdout);
  const { config, live, form } = await loadModel(compact);
  assert.equal(form, "compact");
  assert.deepEqual([done.active_heads, done.total_heads, done.card], [4, 8, true]);
  assert.deepEqual([done.from.path, done.from.form], [run.path("model"), "padded"]);
  const count = (layout: { size: number }[]) => layout.reduce((sum, { size }) => sum + size, 0);
  assert.equal(done.from.parameters, count(parameterLayout(config)));
  assert.equal(done.to.parameters, count(parameterLayout(config, live)));
  // q, k, v with their biases, and the rows of the output projection: 4 heads of 8 channels are gone
  assert.equal(done.from.parameters - done.to.parameters, 4 * 8 * (3 * (32 + 1) + 32));
  for (const { path, bytes } of [done.from, done.to]) {
    const { size } = await Deno.stat(join(path, "model.safetensors"));
    assert.ok(size > bytes && size < bytes + 5000, `${size} bytes, with the header`);
  }

  const back = await command(compact, "--output", padded);
  assert.equal(back.code, 0, back.stderr);
  assert.match(back.stdout, /^4 of 8 heads are left\n {2}read +compact +[\d,]+ parameters +0\./);
  const before = await logits(run.path("model"));
  assert.ok(before.every(Number.isFinite) && new Set(before).size > 1000);
  assert.deepEqual(await logits(compact), before);
  assert.deepEqual(await logits(padded), before);
  // what came back is what there was, file for file, the card too
  for await (const { name } of Deno.readDir(run.path("model"))) {
    assert.deepEqual(
      await Deno.readFile(join(padded, name)),
      await Deno.readFile(run.path("model", name)),
      name,
    );
  }
  const card = await Deno.readTextFile(join(compact, "README.md"));
  assert.match(card, /^library_name: pollard$/m);
  assert.match(card, /deno task export \S+ --form padded/);
  assert.doesNotMatch(card, /AutoModelForCausalLM/);
});

Deno.test("export refuses what it cannot do, and leaves everything as it was", async () => {
  const refused: [string[], RegExp][] = [
    [[modelDir], /output is needed/],
    [[modelDir, "--output", join(dir, "x"), "--form", "dense"], /form must be one of padded, comp/],
    [[join(dir, "none"), "--output", join(dir, "x")], /no folder at/],
    [
      [modelDir, "--output", join(dir, "no", "x")],
      /a model cannot be written to .*name another folder/,
    ],
    [[modelDir, "--output", run.dir], /left alone/],
    [
      [modelDir, "--output", modelDir],
      /^--overwrite is needed to replace the model that .* holds; or give another folder$/m,
    ],
  ];
  for (const [args, message] of refused) {
    const { code, stderr, stdout } = await command(...args);
    assert.deepEqual([code, stdout], [2, ""], stderr);
    assert.match(stderr, message);
  }
  const empty = join(dir, "unfinished");
  await Deno.mkdir(empty);
  await Deno.copyFile(run.path("pollard-run.json"), join(empty, "pollard-run.json"));
  await assert.rejects(exportModel(empty, { form: "padded", output: join(dir, "x") }), {
    name: "NotFound",
    message: /whose model is not there yet/,
  });
  const full = { output: join(dir, "x"), freeSpace: () => Promise.resolve(1e6) };
  await assert.rejects(exportModel(modelDir, { form: "padded", ...full }), {
    name: "TypeError",
    message:
      /the model needs 1\.2 MB more, and the disk of .*x has 1\.0 MB left: make room, or name/,
  });
  await assert.rejects(Deno.stat(join(dir, "x")), { name: "NotFound" });
});

Deno.test("a card that is not ours stays behind, and an older one of ours too", async () => {
  const from = join(dir, "carded"), to = join(dir, "moved");
  const model = await loadModel(modelDir);
  await saveModel(from, { ...model, card: "<!-- written by Pollard -->\n# an older one" });
  assert.equal((await exportModel(from, { form: "compact", output: to })).card, false);
  await assert.rejects(Deno.stat(join(to, "README.md")), { name: "NotFound" });
  assert.equal(cardInForm("# mine <!-- form --><!-- end of form -->", "compact"), undefined);
});
