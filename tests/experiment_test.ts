/** The experiment on a tiny model: what it writes, and that stopping it changes no bit. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { TokenizerJson } from "../src/data/bpe.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { allHeads } from "../src/gpt2/layout.ts";
import { DeviceLostError, Gpu } from "../src/gpu/device.ts";
import { scoreArm } from "../src/experiment/analysis.ts";
import { Arm } from "../src/experiment/arm.ts";
import { DivergedError } from "../src/experiment/lockstep.ts";
import type { ExperimentOptions } from "../src/experiment/options.ts";
import { resumeExperiment, startExperiment } from "../src/experiment/run.ts";
import { HEAD_COLUMNS, parseHeadCsv, type Results } from "../src/record.ts";
import { Trainer } from "../src/optim/trainer.ts";
import { readRun } from "../src/report/read.ts";
import { writeReport } from "../src/report/write.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";
import { bare } from "./page_checks.ts";
import { assertBeside, makeTiny } from "./tiny.ts";

const { dir, textFile, model, modelDir } = await makeTiny();

const options: Partial<ExperimentOptions> = {
  model_name: modelDir,
  text: textFile,
  max_length: 16,
  batch_size: 2,
  warmup_steps: 12,
  finetuning_steps: 14,
  training_steps: 60,
  cycles: 2,
  pruning_level: 0.5,
  eval_freq: 5,
  eval_tokens: 128,
  test_tokens: 256,
  controller_update_freq: 4,
  strategy: "importance",
  learning_rate: 3e-3,
  output_dir: join(dir, "runs"),
};

/** Everything a run leaves that must not depend on how often it was stopped. */
async function outcome(run: string) {
  const { execution_time_s: _, ...results } = JSON.parse(
    await Deno.readTextFile(join(run, "results.json")),
  ) as Results;
  return {
    results,
    metrics: await Deno.readTextFile(join(run, "metrics.jsonl")),
    heads: await Deno.readTextFile(join(run, "heads.csv")),
    samples: await Deno.readTextFile(join(run, "samples.json")),
    weights: await Deno.readFile(join(run, "model", "model.safetensors")),
  };
}

/** One uninterrupted run, shared by the tests below. */
const whole: { dir: string; results: Results } = await (async () => {
  using experiment = await startExperiment(gpu, options);
  const results = await experiment.run();
  return { dir: experiment.folder.dir, results };
})();

Deno.test("a run whose tokenizer leaves every second number without a token ends as any other", async () => {
  const { tokenizerJson, config } = model;
  const json = structuredClone(tokenizerJson) as TokenizerJson;
  const vocab = Object.fromEntries(Object.entries(json.model.vocab).map(([t, id]) => [t, 2 * id]));
  const added = (json.added_tokens as { id: number }[]).map((one) => ({ ...one, id: 2 * one.id }));
  const sparse = { ...json, model: { ...json.model, vocab }, added_tokens: added };
  const sizes = makeConfig({ L: config.L, NH: config.NH, C: config.C, V: 640, T: config.T });
  const model_name = join(dir, "sparse"), live = allHeads(sizes);
  const weights = initWeights(sizes, 3);
  await saveModel(model_name, { config: sizes, live, weights, tokenizerJson: sparse });
  using experiment = await startExperiment(gpu, { ...options, model_name, cycles: 1 });
  await experiment.run();
  const samples = JSON.parse(await Deno.readTextFile(experiment.folder.path("samples.json")));
  assert.equal(samples.length, 3);
  for (const { baseline, pruned } of samples) assert.ok(baseline.length > 20 && pruned.length > 20);
});

Deno.test("a run measures what it promises", async () => {
  const { results } = whole;
  assert.equal(results.total_heads, 8);
  assert.equal(results.active_heads, 4);
  assert.equal(results.final_sparsity, 0.5);
  for (const model of ["model", "baseline"]) await assertBeside(join(whole.dir, model));
  assert.equal(results.pruned_heads.length, 4);
  assert.equal(new Set(results.pruned_heads.map(String)).size, 4, "no head is pruned twice");
  assert.deepEqual(results.cycles.map(({ active_heads }) => active_heads), [6, 4]);
  assert.deepEqual(
    results.cycles.flatMap(({ pruned_heads }) => pruned_heads),
    results.pruned_heads,
  );
  assert.equal(results.tokens_seen, (12 + 2 * 14) * 32);
  for (const key of ["masked_loss", "reloaded_loss"] as const) {
    assertClose([results[key]], [results.compacted_loss], { atol: 0, rtol: 1e-5, what: key });
  }
  assert.equal(results.final_loss, results.compacted_loss);
  assert.notEqual(results.unpruned_twin_loss, results.final_loss);
  assert.notEqual(results.random_pruning_loss, results.final_loss);
  assert.ok(results.final_loss < Math.log(300), "it learned something");

  const run = await readRun(whole.dir);
  const arms = new Set(run.metrics.map(({ arm }) => arm));
  assert.deepEqual([...arms].sort(), ["pruned", "random_pruning", "unpruned_twin"]);
  const training = run.metrics.filter(({ arm, loss }) => arm === "pruned" && loss !== undefined);
  assert.deepEqual(training.map(({ step }) => step), Array.from({ length: 40 }, (_, i) => i + 1));
  assert.ok(
    run.metrics.every(({ arm, sparsity }) => arm !== "unpruned_twin" || sparsity === 0),
    "the twin keeps its heads",
  );
  const deaths = run.events.filter((event) => event.event === "prune" && event.arm === "pruned");
  assert.deepEqual(
    deaths.map((event) => "layer" in event && [event.layer, event.head]),
    results.pruned_heads,
  );
  const phases = run.events.flatMap((event) => event.event === "phase" ? [event.phase] : []);
  const cycle = ["analysis", "pruning", "finetuning"];
  assert.deepEqual(phases, ["warmup", ...cycle, ...cycle, "evaluation"]);
  assert.equal(run.heads.length % 8, 0);
  const scored = run.heads.filter(({ score }) => score !== undefined);
  assert.deepEqual([...new Set(scored.map(({ cycle }) => cycle))], [1, 2], "re-scored every cycle");
  for (const [i, death] of deaths.entries()) {
    if (!("score" in death)) continue;
    const row = scored.find(({ cycle, layer, head }) =>
      cycle === death.cycle && layer === death.layer && head === death.head
    );
    assertClose([death.score], [row!.score!], { atol: 0, rtol: 1e-6, what: `score of death ${i}` });
  }
});

Deno.test("the saved model has the pruned heads' weights at zero and loads without gates", async () => {
  const model = await loadModel(join(whole.dir, "model"));
  assert.equal(model.live.flat().length, 4);
  for (const [layer, head] of whole.results.pruned_heads) {
    assert.ok(!model.live[layer].includes(head));
  }
  assert.ok(model.tokenizer);
});

Deno.test("the report of a run draws from its records", async () => {
  const page = await Deno.readTextFile(await writeReport(whole.dir));
  assert.match(page, /With 4 of 8 heads removed/);
  assert.doesNotMatch(bare(page), /NaN|undefined/);
});

// in warm-up, at its end, and between two updates of the controller
for (const stopAfter of [5, 12, 17, 31]) {
  Deno.test(`stopped at step ${stopAfter} and resumed, a run ends with the same bits`, async () => {
    const stop = new AbortController();
    using first = await startExperiment(gpu, options, {
      onProgress: ({ step }) => step >= stopAfter && stop.abort(),
    });
    await assert.rejects(() => first.run(stop.signal), { name: "AbortError" });
    const run = first.folder.dir;
    using second = await resumeExperiment(gpu, run);
    await second.run();
    assert.deepEqual(await outcome(run), await outcome(whole.dir));
  });
}

Deno.test("killed, a run goes on from its last checkpoint, and forgets what came after", async () => {
  const stop = new AbortController();
  using first = await startExperiment(gpu, options, {
    onProgress: ({ step }) => step >= 17 && stop.abort(),
  });
  await assert.rejects(() => first.run(stop.signal));
  const run = first.folder.dir;
  // as a kill leaves it: a half-written checkpoint, and logs that ran ahead
  await Deno.mkdir(join(run, "checkpoints", "step-0000030.partial"));
  await Deno.writeTextFile(join(run, "metrics.jsonl"), '{"step":20,"lo', { append: true });
  await Deno.writeTextFile(join(run, "heads.csv"), "20,1,0,", { append: true });
  using second = await resumeExperiment(gpu, run);
  await second.run();
  assert.deepEqual(await outcome(run), await outcome(whole.dir));
});

Deno.test("killed before its first checkpoint, a run begins anew", async () => {
  using first = await startExperiment(gpu, options);
  const run = first.folder.dir;
  await Deno.writeTextFile(join(run, "metrics.jsonl"), '{"step":1,"lo', { append: true });
  using second = await resumeExperiment(gpu, run);
  await second.run();
  assert.deepEqual(await outcome(run), await outcome(whole.dir));
});

for (
  const [what, given, heads] of [
    ["no warm-up and no fine-tuning", { warmup_steps: 0, finetuning_steps: 0 }, 4],
    ["more cycles than heads to prune", { cycles: 6, finetuning_steps: 2 }, 4],
    ["nothing to prune", { pruning_level: 0, finetuning_steps: 3 }, 8],
    ["everything but one head a layer", { pruning_level: 1, finetuning_steps: 3 }, 2],
    [
      "single sequences of all positions",
      { batch_size: 1, max_length: 32, finetuning_steps: 3 },
      4,
    ],
    ["a controller that never acts", { controller_update_freq: 1000 }, 4],
  ] as const
) {
  Deno.test(`edge: ${what}`, async () => {
    using experiment = await startExperiment(gpu, { ...options, ...given });
    const results = await experiment.run();
    assert.equal(results.active_heads, heads);
    assert.equal(results.cycles.length, given.cycles ?? 2);
    assert.equal(new Set(results.pruned_heads.map(String)).size, 8 - heads);
    assert.doesNotMatch(await Deno.readTextFile(await writeReport(experiment.folder.dir)), /NaN/);
  });
}

Deno.test("heads are scored on calibration text alone", async () => {
  using experiment = await startExperiment(gpu, { ...options, controls: false });
  const { model, calibration, parts } = experiment.materials;
  const arm = () => new Arm(gpu, model.config, { name: "pruned", ...model }, { B: 2, T: 16 });
  const score = {
    strategy: "importance",
    gates: new Float32Array(8).fill(1),
    random: () => 0,
  } as const;
  using fresh = arm();
  const { scores } = await scoreArm(fresh, calibration, score);
  using trained = arm();
  const inputs = parts.train.subarray(0, 32), targets = parts.train.subarray(1, 33);
  trained.trainer.step(inputs, targets, { learningRate: 0, metrics: true });
  assert.deepEqual((await scoreArm(trained, calibration, score)).scores, scores);
});

Deno.test("stopped while it evaluates, a run goes on to the same bits", async () => {
  const stop = new AbortController();
  using first = await startExperiment(gpu, options, {
    onMessage: (line) => line.startsWith("cycle 2: fine-tuned") && stop.abort(),
  });
  await assert.rejects(() => first.run(stop.signal), { name: "AbortError" });
  using second = await resumeExperiment(gpu, first.folder.dir);
  await second.run();
  assert.deepEqual(await outcome(first.folder.dir), await outcome(whole.dir));
});

Deno.test("a device that is lost during a run is told", async () => {
  const own = await Gpu.open();
  const experiment = await startExperiment(own, options, {
    onProgress: ({ step }) => step >= 16 && own.device.destroy(),
  });
  await assert.rejects(() => experiment.run(), DeviceLostError);
  assert.ok(experiment.lastCheckpoint?.endsWith("step-0000012"));
  using second = await resumeExperiment(gpu, experiment.folder.dir);
  await second.run();
  assert.deepEqual(await outcome(experiment.folder.dir), await outcome(whole.dir));
});

Deno.test("without controls nothing is told of them, and the pruned model is the same", async () => {
  using experiment = await startExperiment(gpu, { ...options, controls: false });
  const results = await experiment.run();
  assert.ok(!("unpruned_twin_loss" in results) && !("random_pruning_loss" in results));
  assert.equal(results.final_loss, whole.results.final_loss);
});

Deno.test("a loss that is not a number stops the run and names the step", async () => {
  using experiment = await startExperiment(gpu, options);
  experiment.materials.model.weights.get("h.0.ln_1.weight")![0] = NaN;
  await assert.rejects(() => experiment.run(), (error) => {
    assert.ok(error instanceof DivergedError);
    assert.match(error.message, /validation loss became NaN by step 0: try a lower learning_rate/);
    return true;
  });
});

Deno.test("a training loss that is not a number names the step and the last good checkpoint", async () => {
  const { read } = Trainer.prototype;
  using experiment = await startExperiment(gpu, { ...options, eval_freq: 14 }, {
    onMessage: (line) => {
      if (!line.startsWith("cycle 1: pruned")) return;
      Trainer.prototype.read = async function () {
        const results = await read.call(this);
        return this.steps < 20 ? results : results.map((row) => ({ ...row, gradNorm: Infinity }));
      };
    },
  });
  try {
    await assert.rejects(() => experiment.run(), (error) => {
      assert.ok(error instanceof DivergedError);
      const [, step] = /gradient norm Infinity\) at step (\d+): try a lower/.exec(error.message)!;
      assert.ok(Number(step) > 12 && Number(step) <= 26, step);
      assert.match(error.message, /The last good checkpoint is .*step-0000012$/);
      return true;
    });
  } finally {
    Trainer.prototype.read = read;
  }
});

Deno.test("warm-up ends when the loss is stable, and a run that is stopped then goes on", async () => {
  const calm = {
    ...options,
    learning_rate: 1e-6,
    warmup_steps: 40,
    stability_window: 4,
    finetuning_steps: 4,
    cycles: 1,
  };
  using straight = await startExperiment(gpu, calm);
  const results = await straight.run();
  const { events } = await readRun(straight.folder.dir);
  const stable = events.find(({ event }) => event === "stable");
  assert.ok(stable && stable.step >= 20 && stable.step < 40, `stable at ${stable?.step}`);
  assert.equal(results.tokens_seen, (stable.step + 4) * 32);

  const stop = new AbortController();
  using first = await startExperiment(gpu, calm, {
    onMessage: (line) => line.startsWith("warm-up is stable") && stop.abort(),
  });
  await assert.rejects(() => first.run(stop.signal), { name: "AbortError" });
  using second = await resumeExperiment(gpu, first.folder.dir);
  await second.run();
  assert.deepEqual(await outcome(first.folder.dir), await outcome(straight.folder.dir));
});

Deno.test("checkpoints inside a stage replace each other and change no bit", async () => {
  const stop = new AbortController();
  using first = await startExperiment(gpu, options, {
    onProgress: ({ step }) => step >= 20 && stop.abort(),
  });
  first.saveEvery = 0;
  await assert.rejects(() => first.run(stop.signal), { name: "AbortError" });
  const run = first.folder.dir;
  const kept = async () => (await Array.fromAsync(Deno.readDir(join(run, "checkpoints")))).length;
  assert.equal(await kept(), 2, "the end of warm-up, and where it was stopped");
  using second = await resumeExperiment(gpu, run);
  second.saveEvery = 0;
  await second.run();
  assert.deepEqual(await outcome(run), await outcome(whole.dir));
  assert.equal(await kept(), 4, "and the ends of the two cycles");
});

Deno.test("a run does not go on with another model", async () => {
  const stop = new AbortController();
  using first = await startExperiment(gpu, options, { onProgress: () => stop.abort() });
  await assert.rejects(() => first.run(stop.signal), { name: "AbortError" });
  const file = join(modelDir, "config.json"), text = await Deno.readTextFile(file);
  await Deno.writeTextFile(file, text.replace("1e-5", "1e-6").replace("0.00001", "0.000001"));
  assert.notEqual(await Deno.readTextFile(file), text);
  try {
    await assert.rejects(() => resumeExperiment(gpu, first.folder.dir), /is not what it was/);
  } finally {
    await Deno.writeTextFile(file, text);
  }
});

Deno.test("what cannot work is refused before anything is written", async () => {
  const out = join(dir, "nothing");
  const refused = (given: Partial<ExperimentOptions>, message: RegExp) =>
    assert.rejects(() => startExperiment(gpu, { ...options, output_dir: out, ...given }), message);
  await refused({ pruning_level: 1.3 }, /pruning_level must be between 0 and 1: 1\.3/);
  await refused({ max_length: 33 }, /at most the model's 32 positions long: 33 tokens/);
  await refused({ text: join(dir, "none.txt") }, /none\.txt/);
  await refused({ model_name: join(dir, "no-model") }, /no-model/);
  const short = join(dir, "short.txt");
  await Deno.writeTextFile(short, "Call me Ishmael.");
  await refused({ text: short }, /the text has \d+ tokens: four parts .* take at least/);
  await assert.rejects(() => Deno.stat(out), Deno.errors.NotFound);
  // an output folder that is a file
  await refused({ output_dir: textFile }, /output_dir .* cannot be written/);
  await assert.rejects(
    () => resumeExperiment(gpu, modelDir),
    /is not a folder that a run of Pollard made/,
  );
  await assert.rejects(() => resumeExperiment(gpu, whole.dir), /is a finished run/);
});

Deno.test("heads.csv reads back as it was written", async () => {
  const text = await Deno.readTextFile(join(whole.dir, "heads.csv"));
  const rows = parseHeadCsv(text);
  assert.ok(rows.length > 0);
  assert.equal(text.split("\n")[0], HEAD_COLUMNS.join(","));
  assert.throws(() => parseHeadCsv("step,what\n1,2\n"), SyntaxError);
});
