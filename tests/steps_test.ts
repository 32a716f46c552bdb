/** The experiment step by step: results by their names, going on in another process, and nothing left behind. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadModel } from "../src/data/load_model.ts";
import {
  type ExperimentConfig,
  PruningMode,
  PruningStrategy,
} from "../src/experiment/experiment_config.ts";
import { NeuralPlasticityExperiment } from "../src/experiment/neural_plasticity.ts";
import { STRATEGY_NAMES } from "../src/plasticity/scores.ts";
import { cyclesOf } from "../src/report/cycle_results.ts";
import type { Dashboard, JUPYTER_DISPLAY } from "../src/report/dashboard.ts";
import { readRun } from "../src/report/read.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny();
const sharp = await makeTiny({ initializerRange: 0.7 });
const config: ExperimentConfig = {
  modelName: modelDir,
  dataset: textFile,
  outputDir: join(dir, "runs"),
  batchSize: 2,
  maxLength: 16,
  pruningLevel: 0.25,
  pruningStrategy: PruningStrategy.COMBINED,
  learningRate: 3e-3,
  options: { eval_tokens: 128, test_tokens: 128, eval_freq: 5, controller_update_freq: 4 },
  gpu,
};
const warmup = { maxSteps: 12, minSteps: 5, patience: 3 };

Deno.test("the demo's steps, one call each", async () => {
  const bytes = gpu.bytes, said: string[] = [];
  const experiment = new NeuralPlasticityExperiment({ ...config, onMessage: (l) => said.push(l) });
  await assert.rejects(experiment.runWarmup(warmup), /Call setup\(\) first/);
  assert.equal(await experiment.setup(), experiment);
  await assert.rejects(experiment.runPruningCycle(), /Warm up first/);
  assert.equal(experiment.device, gpu.info.name);
  assert.equal(experiment.getEnvironmentInfo().adapter, gpu.info.name);
  assert.deepEqual(
    await NeuralPlasticityExperiment.getEnvironmentInfo(),
    experiment.getEnvironmentInfo(),
  );

  const warm = await experiment.runWarmup(warmup);
  assert.equal(warm.losses.length, warm.total_steps);
  assert.ok(warm.total_steps >= 5 && warm.total_steps <= 12);
  assert.equal(warm.smoothed_losses.length, Math.ceil(warm.total_steps / 5));
  assert.equal(warm.epochs, 1);
  assert.equal(warm.baseline_metrics.loss, experiment.baselineLoss);
  assert.equal(experiment.baselinePerplexity, Math.exp(experiment.baselineLoss));
  assertClose(
    [warm.improvement_percent],
    [100 * (warm.initial_loss - warm.final_loss) / warm.initial_loss],
    { atol: 1e-9 },
  );
  assert.deepEqual(await experiment.runWarmup(warmup), warm, "once is enough");

  const analysis = await experiment.analyzeAttention();
  assert.deepEqual(analysis.model_structure, [2, 4]);
  assert.equal(experiment.entropyValues, analysis.entropy_values);
  assert.equal(experiment.gradNormValues, analysis.grad_norm_values);
  assert.equal(experiment.modelName, modelDir);
  assert.ok(experiment.trainingExamples > 1 && experiment.validationExamples === 8);
  for (const values of [analysis.entropy_values, analysis.grad_norm_values]) {
    assert.deepEqual(values.map((row) => row.length), [4, 4]);
    assert.ok(values.flat().every((value) => value! > 0));
  }

  const signal = AbortSignal.abort(new DOMException("enough", "AbortError"));
  await assert.rejects(experiment.analyzeAttention({ signal }), /enough/);
  await assert.rejects(experiment.evaluate({ signal }), /enough/);
  await assert.rejects(experiment.generateExamples({ signal }), /enough/);

  const cycles = [];
  for (let i = 0; i < 2; i++) cycles.push(await experiment.runPruningCycle({ trainingSteps: 6 }));
  const [first, second] = cycles;
  assert.deepEqual(cycles.map(({ cycle }) => cycle), [1, 2]);
  assert.deepEqual(first.entropy_values, analysis.entropy_values, "the same text, the same model");
  assert.equal(first.pruned_heads.length, 2, "a quarter of 8 heads");
  assert.equal(first.pruning_mask.flat().filter(Boolean).length, 2);
  assert.equal(second.pruning_mask.flat().filter(Boolean).length, 4);
  for (const [layer, head] of first.pruned_heads) {
    assert.ok(second.pruning_mask[layer][head]);
    assert.equal(second.entropy_values[layer][head], null, "a head that is gone is not measured");
  }
  assert.equal(second.baseline_metrics.loss, first.final_metrics.loss, "before THIS cycle");
  assert.notEqual(second.baseline_metrics.loss, experiment.baselineLoss);
  assert.notEqual(first.pruned_metrics.loss, first.baseline_metrics.loss);
  assert.equal(first.training_metrics.step, 6);
  assert.ok(first.training_metrics.train_loss! > 0);
  assert.notEqual(first.unpruned_twin_metrics!.loss, first.final_metrics.loss);
  assert.ok(said.some((line) => line.startsWith("cycle 2: pruned 2 of 6 heads")));

  assert.throws(() => experiment.finalPerplexity, /Call evaluate\(\) first/);
  const evaluation = await experiment.evaluate();
  assert.equal(evaluation.loss, second.final_metrics.loss);
  assert.equal(experiment.finalPerplexity, evaluation.perplexity);
  assert.equal(evaluation.difference_from_twin, evaluation.loss - evaluation.unpruned_twin_loss!);
  assert.deepEqual(evaluation.pruned_heads, [...first.pruned_heads, ...second.pruned_heads]);
  assert.equal(evaluation.num_pruned_heads, 4);

  const prompts = { story: "Once upon a time", sea: "The whale" };
  const texts = await experiment.generateExamples({ prompts, maxLength: 30 });
  assert.deepEqual(Object.keys(texts), ["story", "sea"]);
  assert.ok(texts.story.startsWith("Once upon a time") && texts.story.length > 20);
  assert.deepEqual(await experiment.generateExamples({ prompts, maxLength: 30 }), texts);
  await assert.rejects(
    experiment.generateExamples({ prompts: { long: "whale ".repeat(40) } }),
    /leaves no room in 32/,
  );

  const paths = await experiment.saveModel();
  for (const path of Object.values(paths)) await Deno.stat(path);
  const saved = await loadModel(paths.model_dir);
  assert.equal(saved.live.flat().length, 4);
  const { model_dir: small } = await experiment.saveModel({ dir: `${dir}/c`, form: "compact" });
  const { form, weights } = await loadModel(small);
  assert.deepEqual([form, weights], ["compact", saved.weights]);
  experiment.dispose();
  assert.equal(gpu.bytes, bytes, "nothing is left on the device");
});

Deno.test("stopped in a step, an experiment goes on where it was, and returns what was done", async () => {
  const steps = async (experiment: NeuralPlasticityExperiment) => {
    const { duration: _, ...warm } = await experiment.runWarmup(warmup);
    const cycles = [];
    for (let i = 0; i < 2; i++) {
      cycles.push(await experiment.runPruningCycle({ trainingSteps: 6 }));
    }
    return { warm, cycles, evaluation: await experiment.evaluate() };
  };
  using whole = await new NeuralPlasticityExperiment(config).setup();
  const expected = await steps(whole);

  const stop = new AbortController();
  using stopped = new NeuralPlasticityExperiment({
    ...config,
    onProgress: ({ cycle, step }) => {
      if (cycle === 2 && step > 12 + 6) stop.abort(new Error("enough"));
    },
  });
  await stopped.setup();
  await stopped.runWarmup(warmup);
  await stopped.runPruningCycle({ trainingSteps: 6 });
  await assert.rejects(
    stopped.runPruningCycle({ trainingSteps: 6, signal: stop.signal }),
    /enough/,
  );
  using again = await NeuralPlasticityExperiment.resume(stopped.outputDir, { gpu });
  await again.setup();
  assert.deepEqual(await steps(again), expected);
  // a third cycle goes beyond what was planned
  const { pruned_heads } = await again.runPruningCycle({ trainingSteps: 1 });
  assert.equal(pruned_heads.length, 2);
  await assert.rejects(again.runPruningCycle({ trainingSteps: 1 }), {
    name: "RangeError",
    message: /Cannot prune 2 heads/,
  });
});

Deno.test("a folder that is named goes on where its experiment was, with the same bits", async () => {
  const { outputDir: _, ...rest } = config;
  const steps = async (experiment: NeuralPlasticityExperiment, stop?: AbortSignal) => {
    await experiment.setup();
    const { duration: _, ...warm } = await experiment.runWarmup(warmup);
    const analyses = [await experiment.analyzeAttention()], cycles = [];
    for (let i = 0; i < 2; i++) {
      const signal = i === 1 && stop ? { signal: stop } : {};
      cycles.push(await experiment.runPruningCycle({ trainingSteps: 6, ...signal }));
      analyses.push(await experiment.analyzeAttention());
    }
    const weights = await experiment.run.arms[0].model.weights();
    return { warm, analyses, cycles, evaluation: await experiment.evaluate(), weights };
  };
  using whole = new NeuralPlasticityExperiment({ ...rest, runDir: join(dir, "named", "whole") });
  const expected = await steps(whole);
  assert.equal(whole.outputDir, join(dir, "named", "whole"), "and the folder above it is made");

  const stop = new AbortController(), runDir = join(dir, "named", "stopped");
  using stopped = new NeuralPlasticityExperiment({
    ...rest,
    runDir,
    onProgress: ({ cycle, step }) => {
      if (cycle === 2 && step > 12 + 6) stop.abort(new Error("enough"));
    },
  });
  await assert.rejects(steps(stopped, stop.signal), /enough/);
  using again = new NeuralPlasticityExperiment({ ...rest, runDir });
  assert.deepEqual(await steps(again), expected);
  // the analysis before a cycle that has pruned is what the pruning was decided on
  using thrice = new NeuralPlasticityExperiment({ ...rest, runDir });
  assert.deepEqual(await steps(thrice), expected, "as often as it is opened");
  // what was done is not done otherwise, and that is said
  const said: string[] = [];
  using other = new NeuralPlasticityExperiment({ ...rest, runDir, onMessage: (l) => said.push(l) });
  await other.setup();
  await other.runPruningCycle({ trainingSteps: 50 });
  assert.match(said.join(), /cycle 1 was done before, with 6 training steps instead of 50/);
});

Deno.test("a named folder refuses another experiment, and what is not one, and stays as it was", async () => {
  const { outputDir: _, ...rest } = config;
  const runDir = join(dir, "named", "kept");
  {
    using first = await new NeuralPlasticityExperiment({ ...rest, runDir }).setup();
    await first.runWarmup(warmup);
  }
  const before = await Deno.readTextFile(join(runDir, "events.jsonl"));
  using other = new NeuralPlasticityExperiment({ ...rest, runDir, pruningLevel: 0.5 });
  await assert.rejects(other.setup(), {
    name: "TypeError",
    message: `${runDir} holds an experiment with other options: pruning_level is 0.25 there and ` +
      "0.5 here; name another folder, or give the options that it began with",
  });
  assert.equal(await Deno.readTextFile(join(runDir, "events.jsonl")), before);
  using filled = new NeuralPlasticityExperiment({ ...rest, runDir: dir });
  await assert.rejects(filled.setup(), /cannot become a run's folder: it holds .* name another/);
  await assert.rejects(Deno.stat(join(dir, "pollard-run.json")), Deno.errors.NotFound);
  using file = new NeuralPlasticityExperiment({ ...rest, runDir: textFile });
  await assert.rejects(file.setup(), /text\.txt cannot become a run's folder/);
  assert.throws(
    () => new NeuralPlasticityExperiment({ ...config, runDir }),
    /runDir is the run's own folder; outputDir and runName are for one that is made/,
  );
});

Deno.test("a finished experiment opens again as it ended, and reads the test text no more", async () => {
  const { outputDir: _, ...rest } = config;
  const runDir = join(dir, "named", "finished");
  const go = { pruningCycles: 1, trainingSteps: 4 };
  using first = new NeuralPlasticityExperiment({ ...rest, runDir });
  const results = await first.runFullExperiment(go);
  const prompts = { sea: "The whale" };
  const texts = await first.generateExamples({ prompts, maxLength: 30 });
  const events = await Deno.readTextFile(join(runDir, "events.jsonl"));

  using again = new NeuralPlasticityExperiment({ ...rest, runDir });
  assert.deepEqual(await again.runFullExperiment(go), results);
  assert.deepEqual(await again.generateExamples({ prompts, maxLength: 30 }), texts);
  assert.equal(await Deno.readTextFile(join(runDir, "events.jsonl")), events);
  await assert.rejects(again.runPruningCycle({ trainingSteps: 1 }), /is a finished run/);
  await Deno.remove(join(runDir, "checkpoints"), { recursive: true });
  using late = new NeuralPlasticityExperiment({ ...rest, runDir });
  await assert.rejects(late.setup(), /is a finished run without checkpoints/);
  assert.equal(await Deno.readTextFile(join(runDir, "events.jsonl")), events);
});

Deno.test("the dashboard is the report so far: its cycles, before results.json lists them", async () => {
  using experiment = await new NeuralPlasticityExperiment(config).setup();
  const { outputDir } = experiment;
  await assert.rejects(experiment.visualizeMetricsDashboard({ savePath: "dashboard.png" }), {
    name: "TypeError",
    message: 'savePath must end in .html, for the dashboard is a page: "dashboard.png"',
  });
  await experiment.runWarmup(warmup);
  const names = (dashboard: Dashboard) => dashboard.figures.map(({ name }) => name);
  const early = await experiment.visualizeMetricsDashboard();
  assert.deepEqual(names(early), ["timeline", "validation", "sparsity"]);
  assert.equal(early.path, join(outputDir, "report.html"));
  await Deno.stat(join(outputDir, "figures", "timeline.svg"));

  const ended = [];
  for (let i = 0; i < 2; i++) ended.push(await experiment.runPruningCycle({ trainingSteps: 6 }));
  const savePath = join(dir, "dashboards", "cycle2.html");
  const late = await experiment.visualizeMetricsDashboard({ savePath });
  assert.deepEqual(names(late), ["timeline", "validation", "sparsity", "life", "cycles"]);
  assert.match(late.verdict, /This run is unfinished/);
  assert.match(await Deno.readTextFile(savePath), /<section id="cycles">/);
  const { "text/html": html } = late[Symbol.for("Jupyter.display") as typeof JUPYTER_DISPLAY]();
  assert.equal(html.match(/src="data:image\/svg\+xml;base64,/g)?.length, 5);
  assert.match(html, /alt="Cycle 1: before pruning \d\.\d{4}, /);

  const derived = cyclesOf(await readRun(outputDir));
  assert.deepEqual(
    derived.map(({ pruned_heads }) => pruned_heads),
    ended.map((c) => c.pruned_heads),
  );
  const { cycles } = await experiment.finish();
  assert.deepEqual(derived, cycles, "the logs say what results.json will");
  const { results: _, ...unfinished } = await readRun(outputDir);
  assert.deepEqual(cyclesOf(unfinished), cycles);
});

Deno.test("two experiments share a process, and one goes on when the other is disposed", async () => {
  const bytes = gpu.bytes;
  {
    using one = await new NeuralPlasticityExperiment(config).setup();
    const other = await new NeuralPlasticityExperiment({
      ...config,
      options: { ...config.options, seed: 7 },
    }).setup();
    assert.notEqual(one.outputDir, other.outputDir);
    await one.runWarmup(warmup);
    await other.runWarmup(warmup);
    assert.notEqual(one.baselineLoss, other.baselineLoss);
    other.dispose();
    assert.equal((await one.runPruningCycle({ trainingSteps: 2 })).pruned_heads.length, 2);
  }
  assert.equal(gpu.bytes, bytes);
});

Deno.test("the whole experiment in one call reads the test text once", async () => {
  using experiment = new NeuralPlasticityExperiment(config);
  const results = await experiment.runFullExperiment({ pruningCycles: 1, trainingSteps: 4 });
  assert.equal(results.cycle_results.length, 1);
  assert.equal(results.pruned_heads.length, 2);
  const written = JSON.parse(await Deno.readTextFile(join(results.output_dir, "results.json")));
  assert.equal(results.final_metrics.loss, written.final_loss);
  assert.equal(results.baseline_metrics.loss, written.baseline_loss);
  assert.equal(results.unpruned_twin_metrics!.loss, written.unpruned_twin_loss);
  assert.equal(written.cycles.length, 1);
  assert.equal(written.cycles[0].analysis, undefined, "results.json holds what it documents");
  assert.equal(written.cycles[0].training_steps, 4);
  assert.equal(written.planned, false);
  // The baseline is of validation text: the test text's perplexity must not stand beside it.
  assert.throws(() => experiment.finalPerplexity, /Call evaluate\(\) first/);
});

Deno.test("everything that is recorded is told, by iterator and callback alike", async () => {
  const rows: number[] = [];
  const experiment = await new NeuralPlasticityExperiment({
    ...config,
    onMetric: ({ arm, loss, step }) => arm === "pruned" && loss !== undefined && rows.push(step),
  }).setup();
  const told: string[] = [], steps: number[] = [];
  const events = experiment.events(), early = experiment.events();
  const reading = (async () => {
    for await (const event of events) {
      if (event.kind === "event") told.push(event.row.event);
      if (event.kind === "metric" && event.row.arm === "pruned" && event.row.loss !== undefined) {
        steps.push(event.row.step);
      }
    }
  })();
  await experiment.runWarmup({ maxSteps: 7, minSteps: 7 });
  for await (const { kind } of early) {
    assert.equal(kind, "event"); // the phase
    break; // a reader may leave
  }
  experiment.dispose();
  await reading;
  assert.deepEqual(steps, [1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(rows, steps);
  assert.deepEqual(told, ["phase", "checkpoint"]);
});

Deno.test("in adaptive mode heads come back where that would lower the loss", async () => {
  using experiment = await new NeuralPlasticityExperiment({
    ...config,
    modelName: sharp.modelDir, // attention of new models is nearly uniform: see REVIVE_ENTROPY
    pruningMode: PruningMode.ADAPTIVE,
    pruningStrategy: PruningStrategy.RANDOM,
    pruningLevel: 0.25,
    learningRate: 1e-2,
  }).setup();
  await experiment.runWarmup({ maxSteps: 30, minSteps: 30 });
  const results = [];
  for (let i = 0; i < 3; i++) {
    results.push(await experiment.runPruningCycle({ trainingSteps: 12 }));
  }
  assert.deepEqual(results[0].revived_heads, [], "nothing is there to come back");
  const revived = results.flatMap(({ revived_heads }) => revived_heads!);
  assert.ok(revived.length > 0);
  for (const [i, { pruned_heads, revived_heads, pruning_mask }] of results.entries()) {
    assert.equal(pruning_mask.flat().filter(Boolean).length, 2 * (i + 1), "the level holds");
    assert.equal(pruned_heads.length, 2 + revived_heads!.length);
    for (const [layer, head] of revived_heads!) {
      assert.ok(results[i - 1].pruning_mask[layer][head] && !pruning_mask[layer][head]);
    }
  }
  const { live } = experiment.run.arms[0].model;
  assert.ok(experiment.prunedHeads.every(([layer, head]) => !live[layer].includes(head)));
  const derived = cyclesOf(await readRun(experiment.outputDir));
  assert.deepEqual(
    derived.map(({ pruned_heads, revived_heads }) => ({ pruned_heads, revived_heads })),
    results.map(({ pruned_heads, revived_heads }) => ({ pruned_heads, revived_heads })),
  );
  assert.equal(experiment.prunedHeads.length, 6);
  const random = experiment.run.arms[2];
  assert.equal(random.model.heads, 2, "the control loses and regains as many");
  const { final_loss, masked_loss } = await experiment.finish();
  assertClose([masked_loss], [final_loss], { atol: 0, rtol: 1e-5 });
});

Deno.test("a stage beyond the learning rate's end says so", async () => {
  const said: string[] = [];
  using experiment = await new NeuralPlasticityExperiment({
    ...config,
    options: { ...config.options, training_steps: 10 },
    onMessage: (line) => said.push(line),
  }).setup();
  const told = () =>
    said.filter((line) => /fallen to a tenth at step 10, and .* step \d+: /.test(line));
  await experiment.runWarmup({ maxSteps: 8, minSteps: 8 });
  assert.deepEqual(told(), []);
  await experiment.runPruningCycle({ trainingSteps: 2 });
  assert.deepEqual(told(), []);
  await experiment.runPruningCycle({ trainingSteps: 1 });
  assert.match(told()[0], /to step 11: training_steps is for the steps of all stages together/);
});

Deno.test("step by step the learning rate stays, unless its end is given", async () => {
  const rates = async (training_steps: number) => {
    const seen: number[] = [];
    using experiment = await new NeuralPlasticityExperiment({
      ...config,
      options: { ...config.options, training_steps, controls: false },
      onMetric: ({ learning_rate }) => learning_rate !== undefined && seen.push(learning_rate),
    }).setup();
    await experiment.runWarmup({ maxSteps: 12, minSteps: 12 });
    await experiment.runPruningCycle({ trainingSteps: 8 });
    return seen;
  };
  const held = await rates(0);
  assert.deepEqual(held.slice(9), Array(11).fill(3e-3)); // ten steps of warm-up before
  const falling = await rates(20);
  assertClose([falling.at(-1)!], [3e-3 - 2.7e-3 * 0.9], { atol: 1e-12 });
});

Deno.test("bad steps are refused by name", async () => {
  assert.throws(() => new NeuralPlasticityExperiment({ pruningLevel: 2 }), /pruning_level/);
  assert.throws(() => new NeuralPlasticityExperiment({ options: { speed: 1 } as never }), /speed/);
  assert.throws(
    () => new NeuralPlasticityExperiment({ prunningLevel: 0.3 } as never),
    /unknown key prunningLevel: give one of modelName, .*pruningLevel/,
  );
  using experiment = await new NeuralPlasticityExperiment(config).setup();
  await assert.rejects(experiment.runWarmup({ maxSteps: 0 }), /maxSteps/);
  await assert.rejects(experiment.runWarmup({ minSteps: 500 }), /minSteps/);
  await assert.rejects(experiment.analyzeAttention(), /Warm up first/);
  await assert.rejects(experiment.saveModel(), /Warm up first/);
  await assert.rejects(NeuralPlasticityExperiment.resume(dir), /is not a folder that a run/);
});

Deno.test("every strategy has its name in PruningStrategy, but for synonyms", () => {
  assert.deepEqual(
    Object.values(PruningStrategy).sort(),
    STRATEGY_NAMES.filter((n) => n !== "taylor").sort(),
  );
});
