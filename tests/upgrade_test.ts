/** Upgrades: options, plan, the model that comes out, its card, and going on. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseUpgrade } from "../scripts/upgrade_command.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { estimateIntegration } from "../src/experiment/estimate.ts";
import {
  prepareUpgrade,
  readUpgradeOptions,
  resumeUpgrade,
  startUpgrade,
  upgradeHistory,
} from "../src/experiment/upgrade.ts";
import {
  checkUpgradeOptions,
  integrationOf,
  UPGRADE_DEFAULTS,
  type UpgradeOptions,
} from "../src/experiment/upgrade_options.ts";
import type { IntegrationResults } from "../src/record.ts";
import { cardRows, modelCard } from "../src/report/model_card.ts";
import { gpu } from "./gpu.ts";
import { assertBeside, makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny({ T: 64 });
const options: Partial<UpgradeOptions> = {
  model: modelDir,
  data_path: textFile,
  output_dir: join(dir, "upgraded"),
  cycles: 2,
  train_steps: 4,
  sequence_length: 16,
  batch_size: 2,
  learning_rate: 3e-3,
};

Deno.test("upgrade: every option of the run it is has its place", () => {
  const all = checkUpgradeOptions({
    ...options,
    pruning_level: 0.2,
    growth_ratio: 0.1,
    controller_type: "mlp",
    controller_weights: "w",
    device: "cpu",
    seed: 3,
    controls: false,
    gradient_accumulation_steps: 2,
    recompute: true,
    save_checkpoints: true,
  });
  assert.deepEqual(integrationOf(all), {
    output_dir: join(dir, "upgraded"),
    pruning_level: 0.2,
    dataset_config: "",
    text_column: "text",
    growth_ratio: 0.1,
    learning_rate: 3e-3,
    controller_type: "mlp",
    controller_weights: "w",
    sequence_length: 16,
    batch_size: 2,
    gradient_accumulation_steps: 2,
    recompute: true,
    device: "cpu",
    seed: 3,
    controls: false,
    model_name: modelDir,
    dataset: textFile,
    max_cycles: 2,
    training_steps: 4,
    cycle_models: true,
  });
  assert.equal(integrationOf({ ...all, data_path: "" }).dataset, UPGRADE_DEFAULTS.dataset);
  assert.throws(() => checkUpgradeOptions({}), {
    name: "TypeError",
    message: /model must be named/,
  });
});

Deno.test("upgrade: the command line wins over the file of options, always", async () => {
  const file = join(dir, "options.json");
  const config = { model: "there", cycles: 3, "train-steps": 7, controls: true, temperature: 0.1 };
  await Deno.writeTextFile(file, JSON.stringify(config));
  // 5 is the default: said on the command line, it wins all the same
  const given = ["--json-config", file, "--cycles", "5", "--no-controls", "--dry-run"];
  const { options, ...rest } = await parseUpgrade(given);
  assert.deepEqual(rest, { json: false, verbose: false, dryRun: true });
  const { model, cycles, train_steps, controls, temperature, prompt } = options!;
  assert.deepEqual([model, cycles, train_steps, controls, temperature], [
    "there",
    5,
    7,
    false,
    0.1,
  ]);
  assert.equal(prompt, UPGRADE_DEFAULTS.prompt);
  // what the file switched on can be switched off, and its data_path does not outdo --dataset
  await Deno.writeTextFile(
    file,
    JSON.stringify({ model: "m", data_path: "f", again: true, run_inference: true }),
  );
  const off = (await parseUpgrade(["--json-config", file, "--no-again", "--dataset", "d"]))
    .options!;
  assert.deepEqual([off.again, off.run_inference], [false, true]);
  assert.equal(integrationOf(off).dataset, "d");
  await assert.rejects(parseUpgrade(["--again", "--no-again"]), /again and no_again cannot both/);
  const fails = async (text: string, message: RegExp) => {
    await Deno.writeTextFile(file, text);
    await assert.rejects(parseUpgrade(["--json_config", file]), { message });
  };
  await fails('{"model": "m", "speed": 2}', /options\.json: unknown option speed; there are model/);
  await fails('{"model": "m", "cycles": "many"}', /cycles must be/);
  await fails("[1]", /must hold a JSON object of options/);
  await fails("{", /options\.json/);
  await assert.rejects(parseUpgrade(["--json_config", join(dir, "none.json")]), /no file at/);
  await assert.rejects(parseUpgrade([]), /model must be named/);
  await assert.rejects(
    parseUpgrade(["--resume_from", "there", "--cycles", "3"]),
    /cycles cannot be changed by --resume_from/,
  );
  assert.equal((await parseUpgrade(["--resume_from", "there", "--verbose"])).resume, "there");
});

Deno.test("upgrade: a plan counts memory, times steps, and gives everything back", async () => {
  const bytes = gpu.bytes;
  const three = await prepareUpgrade(options);
  const alone = await prepareUpgrade({ ...options, controls: false });
  const [many, one] = [
    await estimateIntegration(gpu, three.options, three.materials),
    await estimateIntegration(gpu, alone.options, alone.materials),
  ];
  assert.equal(gpu.bytes, bytes);
  // four models and two, each time one for pruned heads; they share textures
  assert.ok(many.device_bytes > 1.3 * one.device_bytes);
  assert.ok(many.device_bytes <= 2 * one.device_bytes);
  assert.equal(many.host_bytes, 3 * one.host_bytes);
  assert.equal(
    many.parameters,
    [...three.materials.model.weights.values()].reduce((sum, { length }) => sum + length, 0),
  );
  assert.ok(one.device_bytes > 16 * many.parameters, "weights, gradients, two moments");
  for (const [name, value] of Object.entries(many)) {
    assert.ok(Number.isFinite(value), name);
    // on a busy machine the first step may be no slower than the others
    assert.ok(name === "compile_s" ? value >= 0 : value > 0, name);
  }
  const longer = await estimateIntegration(
    gpu,
    { ...three.options, training_steps: 10_000 },
    three.materials,
  );
  assert.ok(longer.total_s > 1000 * longer.step_s);
});

Deno.test("upgrade: a model comes out that says what it is, and is not upgraded twice", async () => {
  using run = await startUpgrade(gpu, await prepareUpgrade({ ...options, run_inference: true }));
  const { results, model, inference } = await run.run();
  assert.equal(model, run.folder.path("hf_model"));
  const upgraded = await loadModel(model);
  assert.equal(upgraded.live.flat().length, results.active_heads);
  const best = await loadModel(run.folder.path("models", "best"));
  assert.deepEqual(upgraded.weights, best.weights);
  for (const name of ["hf_model", "models/best"]) await assertBeside(run.folder.path(name));
  const [note, ...more] = upgradeHistory(upgraded);
  assert.deepEqual(more, []);
  assert.deepEqual(
    [note.active_heads, note.total_heads, note.controller_type],
    [results.active_heads, 8, "ann"],
  );
  assert.deepEqual(upgradeHistory(best), []);
  assert.equal(inference!.prompt, UPGRADE_DEFAULTS.prompt);
  assert.ok(inference!.before.length > 0 && inference!.after !== inference!.before);
  const saved = JSON.parse(await Deno.readTextFile(run.folder.path("inference.json")));
  assert.deepEqual(saved, inference);
  assert.deepEqual(await Array.fromAsync(Deno.readDir(run.folder.path("models")), (e) => e.name), [
    "best",
  ]);

  // its card is made of results.json as it lies there
  const written = JSON.parse(await Deno.readTextFile(run.folder.path("results.json")));
  const card = await Deno.readTextFile(join(model, "README.md"));
  for (const [what, value] of cardRows(written as IntegrationResults)) {
    assert.ok(card.includes(`| ${what} | ${value} |`), what);
  }
  await assert.rejects(prepareUpgrade({ ...options, model }), {
    name: "TypeError",
    message: /was upgraded before, at .* to \d of 8 heads: say --again/,
  });
  const { materials } = await prepareUpgrade({ ...options, model, again: true });
  assert.equal(upgradeHistory(materials.model).length, 1);

  // finished; and where the model alone is missing, it is written again without training
  await assert.rejects(resumeUpgrade(gpu, run.folder.dir), /is finished: its model is/);
  await Deno.remove(model, { recursive: true });
  using again = await resumeUpgrade(gpu, run.folder.dir);
  const second = await again.run();
  assert.deepEqual(second.results, written);
  assert.deepEqual((await loadModel(model)).weights, best.weights);
  assert.deepEqual(second.inference, inference);
});

Deno.test("upgrade: one that was stopped goes on, and other folders are refused", async () => {
  const stop = new AbortController();
  using run = await startUpgrade(
    gpu,
    await prepareUpgrade({ ...options, save_checkpoints: true, controls: false }),
    { onStep: ({ cycle }) => cycle === 2 && stop.abort(new Error("enough")) },
  );
  const { dir: folder } = run.folder;
  await assert.rejects(run.run(stop.signal), /enough/);
  assert.equal((await readUpgradeOptions(folder)).dataset, textFile);
  using again = await resumeUpgrade(gpu, folder);
  const { results, inference } = await again.run();
  assert.equal(results.cycles_completed, 2);
  assert.equal(inference, undefined);
  await assertBeside(again.folder.path("hf_model"));
  for (const name of ["cycle_1", "cycle_2"]) await loadModel(join(folder, "models", name));
  await Deno.remove(join(folder, "upgrade.json"));
  await assert.rejects(resumeUpgrade(gpu, folder), /cannot be read: .*upgrade\.json/);
  await assert.rejects(resumeUpgrade(gpu, dir), /is not a folder that a run of Pollard made/);
});

Deno.test("upgrade: a prompt too long for the model is refused before anything is trained", async () => {
  const prompt = "the whale ".repeat(20);
  await prepareUpgrade({ ...options, prompt });
  await assert.rejects(prepareUpgrade({ ...options, prompt, run_inference: true }), {
    name: "RangeError",
    message: /prompt must be at most 16 tokens/,
  });
});

Deno.test("every number of a card is one of the results, and follows it", () => {
  const results = {
    baseline_perplexity: 61.25,
    best_perplexity: 59.5,
    best_cycle: 3,
    improvement: 0.0286,
    test_loss: 4.125,
    reloaded_loss: 4.125,
    unpruned_twin_loss: 4.0625,
    random_pruning_loss: 4.5,
    active_heads: 21,
    total_heads: 32,
    cycles_completed: 4,
    stopped: "all cycles are done",
    cycle_metrics: [],
    total_duration: 77,
    seed: 1234,
  } satisfies IntegrationResults;
  const names = { base: "a <b>|c", text: "t", chosenBy: "rule", adapter: "x" };
  const card = modelCard(results, names);
  const body = card.slice(card.indexOf("# a")).replaceAll("GPT-2", "");
  const found = body.match(/\d[\d.]*/g)!.map((number) => number.replace(/\.$/, ""));
  const known = [
    ...["34.4", "21", "32", "4.1250", Math.exp(4.125).toFixed(2), "4.0625", "0.0625", "4.5000"],
    ...["0.3750", "61.25", "59.50", "4", "3", "1234", "77"],
  ];
  assert.deepEqual(found.filter((number) => !known.includes(number)), []);
  assert.deepEqual(known.filter((number) => !found.includes(number)), []);
  assert.ok(card.includes("# a bc, heads pruned"));
  const { unpruned_twin_loss: _, random_pruning_loss: __, ...rest } = results;
  assert.ok(!/twin \||random/.test(cardRows(rest).map(([what]) => what).join()));
  assert.doesNotMatch(modelCard(rest, names), /had\s+the same training/);
  assert.match(modelCard(rest, names), /No unpruned twin was\s+trained/);
});

Deno.test("a card is written by saveModel, and someone else's is never overwritten", async () => {
  const model = await loadModel(modelDir), at = join(dir, "carded");
  await assert.rejects(saveModel(at, { ...model, card: "mine" }), /must hold the line/);
  await saveModel(at, { ...model, card: "<!-- written by Pollard -->\none" });
  await saveModel(at, { ...model, card: "<!-- written by Pollard -->\ntwo" });
  assert.match(await Deno.readTextFile(join(at, "README.md")), /two/);
  await Deno.writeTextFile(join(at, "README.md"), "my own notes");
  await assert.rejects(saveModel(at, model), {
    name: "AlreadyExists",
    message: /holds README\.md/,
  });
});
