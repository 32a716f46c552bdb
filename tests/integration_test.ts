/** The integrated loop on a tiny model: it runs, it records, and its controllers matter. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { makeGuide } from "../src/controller/guides.ts";
import { loadModel } from "../src/data/load_model.ts";
import {
  ControllerPlasticityIntegration,
  prepareIntegration,
  resumeIntegration,
  startIntegration,
} from "../src/experiment/integration.ts";
import {
  CONTROLLER_TYPES,
  type IntegrationOptions,
} from "../src/experiment/integration_options.ts";
import type { IntegrationCycle } from "../src/record.ts";
import { integrationVerdict } from "../src/report/integration.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { Evaluator } from "../src/gpt2/evaluate.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny({ T: 64 });
const options: Partial<IntegrationOptions> = {
  model_name: modelDir,
  dataset: textFile,
  output_dir: join(dir, "runs"),
  sequence_length: 16,
  batch_size: 2,
  max_cycles: 2,
  training_steps: 6,
  learning_rate: 3e-3,
  eval_tokens: 128,
  test_tokens: 128,
};

async function run(given: Partial<IntegrationOptions> = {}) {
  const messages: string[] = [];
  using own = await startIntegration(gpu, { ...options, ...given }, {
    onMessage: (line) => messages.push(line),
  });
  const results = await own.run();
  return { results, messages, folder: own.folder };
}

for (const controller_type of CONTROLLER_TYPES) {
  Deno.test(`two cycles guided by ${controller_type}`, async () => {
    const bytes = gpu.bytes;
    const { results, messages, folder } = await run({ controller_type });
    assert.equal(gpu.bytes, bytes);
    assert.equal(results.cycles_completed, 2);
    assert.equal(results.total_heads, 8);
    assert.ok(results.unpruned_twin_loss! > 0 && results.random_pruning_loss! > 0);
    assert.deepEqual(JSON.parse(await Deno.readTextFile(folder.path("results.json"))), results);
    const lines = (await Deno.readTextFile(folder.path("cycles.jsonl"))).trim().split("\n");
    const cycles = lines.map((line) => JSON.parse(line) as IntegrationCycle);
    assert.deepEqual(cycles, results.cycle_metrics);
    assert.deepEqual(cycles.map(({ cycle }) => cycle), [1, 2]);
    assert.equal(cycles[0].pruning_level, 0.1);
    assert.deepEqual(cycles[0].heads_before, [[0, 1, 2, 3], [0, 1, 2, 3]]);
    const { pruned_percent, preferences, controller_lr, rounds } = cycles[0].advice;
    assert.deepEqual([pruned_percent, preferences], [0, {}]);
    assert.equal(controller_lr, controller_type === "static" ? 0 : 0.01);
    assert.equal((rounds?.length ?? 0) > 0, controller_type === "mlp");
    for (const { gates, final: { heads } } of cycles) {
      if (controller_type === "static") assert.ok(gates.flat().every((gate) => gate % 1 === 0));
      assert.equal(gates.flat().filter((gate) => gate > 0).length, heads);
    }
    assert.match(messages[0], /^memory: .* for 4 models/);
    assert.match(messages[1], /^cycle 1: \w+ pruned 1, \w+ grew 1; perplexity/);
    // the best model is saved, and is what was measured
    const best = await loadModel(folder.path("models", "best"));
    assert.equal(best.live.flat().length, results.active_heads);
    for (const name of ["cycle_1", "cycle_2"]) await loadModel(folder.path("models", name));
    const { best_cycle, best_perplexity, baseline_perplexity } = results;
    assert.equal(
      best_perplexity,
      best_cycle === 0 ? baseline_perplexity : cycles[best_cycle - 1].final.perplexity,
    );
  });
}

Deno.test("cycles that fail are undone, and the run ends with the model it began with", async () => {
  const { results } = await run({ max_perplexity_increase: 0, learning_rate: 1, max_cycles: 5 });
  assert.ok(results.cycle_metrics.every(({ success }) => !success));
  const [first, second] = results.cycle_metrics;
  assert.deepEqual([first, second].map(({ growth_ratio }) => growth_ratio), [0.5, 0.7]);
  assert.deepEqual([first, second].map(({ training_steps }) => training_steps), [6, 7]);
  assertClose([second.advice.controller_lr], [0.01 * 0.9 / 2], { atol: 1e-12 });
  assert.deepEqual(second.advice.preferences, { [first.pruning_strategy]: 0.5 });
  assert.equal(results.best_cycle, 0);
  assert.equal(results.active_heads, 8);
  assert.equal(results.improvement, 0);
  assert.equal(results.cycles_completed, 3);
  assert.match(results.stopped, /no better model in 3 cycles/);
  const verdict = integrationVerdict(results);
  assert.match(
    verdict,
    /^No cycle made a better model: .* with 8 of 8 heads and a test loss of .*its unpruned twin/,
  );
  const { unpruned_twin_loss: _, ...alone } = results;
  assert.match(integrationVerdict({ ...alone, best_cycle: 1 }), /No unpruned twin was trained/);
  assert.match(verdict, /Of 3 cycles none was kept. It ended: no better model in 3 cycles/);
});

/** The loss of a model on the run's validation text, computed apart from the run. */
async function validationLoss(path: string): Promise<number> {
  const { options: own, materials } = await prepareIntegration(options);
  const { config, weights, live } = await loadModel(path);
  using model = new Gpt2(gpu, config, weights, live);
  const { batch_size: B, sequence_length: T } = own;
  using acts = new Activations(model, { B, T, training: false });
  using evaluator = new Evaluator(model, acts);
  return (await evaluator.evaluate(materials.validation)).loss;
}

Deno.test("each cycle is asked what the last one taught, and runs end where they no longer pay", async () => {
  // next to nothing is learned: every cycle is kept, and none improves the perplexity by 1 %
  const { results, folder } = await run({
    ...{ learning_rate: 1e-9, max_perplexity_increase: 5, max_degeneration_score: 5 },
    ...{ max_cycles: 5, controls: false, pruning_level: 0.3, training_steps: 5 },
  });
  assert.equal(results.cycles_completed, 3);
  assert.match(
    results.stopped,
    /the last three cycles improved the perplexity by less than 1 % in the mean/,
  );
  const cycles = results.cycle_metrics;
  assert.ok(cycles.every(({ success }) => success));
  assert.deepEqual(cycles.map(({ growth_ratio }) => growth_ratio), [0.5, 0.3, 0.3]);
  cycles.forEach(({ pruning_level, advice, training_steps }, i) => {
    assert.equal(pruning_level, Math.min(0.8, advice.pruned_percent / 100 + 0.3));
    assertClose([advice.controller_lr], [0.01 * 0.9 ** i], { atol: 1e-12 });
    assert.equal(training_steps, 5);
  });
  assert.ok(cycles[2].advice.pruned_percent > 0, "pruned heads are not active");
  const taught: Record<string, number> = {};
  for (const { advice, pruning_strategy: strategy, head_reduction } of cycles) {
    assert.deepEqual(advice.preferences, taught);
    taught[strategy] = (taught[strategy] ?? 1) * (1 + Math.max(0, head_reduction));
  }
  // what was measured is what was saved, gates and all
  const own = await validationLoss(options.model_name!);
  assertClose([Math.log(results.baseline_perplexity)], [own], { atol: 0, rtol: 1e-5 });
  for (const { cycle, final } of cycles) {
    const saved = await validationLoss(folder.path("models", `cycle_${cycle}`));
    assertClose([saved], [final.loss], { atol: 0, rtol: 1e-5, what: `cycle ${cycle}` });
  }
  const best = await validationLoss(folder.path("models", "best"));
  assertClose([Math.exp(best)], [results.best_perplexity], { atol: 0, rtol: 1e-5 });
  assertClose([results.reloaded_loss], [results.test_loss], { atol: 0, rtol: 1e-5 });
});

Deno.test("a run that was stopped goes on with the same bits", async () => {
  const given = { ...options, controller_type: "mlp", max_cycles: 2 } as const;
  const strip = (cycles: readonly IntegrationCycle[]) =>
    cycles.map(({ cycle_time_s: _, ...cycle }) => cycle);
  const { results: whole } = await run(given);

  const stop = new AbortController();
  using stopped = await startIntegration(gpu, given, {
    onStep: ({ cycle }) => cycle === 2 && stop.abort(new Error("enough")),
  });
  const { dir } = stopped.folder;
  await assert.rejects(stopped.run(stop.signal), /enough/);
  assert.deepEqual(await stopped.folder.checkpoints(), ["cycle-0000000", "cycle-0000001"]);
  using again = await resumeIntegration(gpu, dir);
  const results = await again.run();
  assert.deepEqual(strip(results.cycle_metrics), strip(whole.cycle_metrics));
  assert.equal(results.test_loss, whole.test_loss);
  assert.equal(results.random_pruning_loss, whole.random_pruning_loss);
  const metrics = (await Deno.readTextFile(join(dir, "metrics.jsonl"))).trim().split("\n");
  const steps = metrics.map((line) => JSON.parse(line))
    .filter((row) => row.arm === "pruned" && row.loss !== undefined).map((row) => row.step);
  assert.equal(new Set(steps).size, steps.length, "no step is told twice");
  await assert.rejects(resumeIntegration(gpu, dir), /is a finished run/);
  const other = await run({ ...given, seed: 7, max_cycles: 1, controls: false });
  const [first] = whole.cycle_metrics, [drawn] = other.results.cycle_metrics;
  assert.notDeepEqual([drawn.final, drawn.advice], [first.final, first.advice]);
});

Deno.test("a later run remembers what an earlier one found", async () => {
  const { folder, results } = await run({
    ...{ max_perplexity_increase: 5, max_cycles: 2, controls: false },
  });
  assert.ok(results.cycle_metrics[0].success);
  const file = folder.path("memory", "transformations.json");
  const kept = JSON.parse(await Deno.readTextFile(file));
  assert.equal(kept.capacity, 5);
  assert.ok(kept.transformations.length >= 1);
  // with nothing else to draw from, and every draw a replay, the first cycle does it again
  await Deno.writeTextFile(file, JSON.stringify({ ...kept, replay_probability: 1 }));
  const later = await run({
    ...{ max_perplexity_increase: 5, max_cycles: 1, memory: folder.dir, controls: false },
  });
  const [cycle] = later.results.cycle_metrics;
  assert.ok(cycle.replayed);
  assert.ok(
    kept.transformations.some((one: { pruning_strategy: string; growth_strategy: string }) =>
      one.pruning_strategy === cycle.pruning_strategy &&
      one.growth_strategy === cycle.growth_strategy
    ),
  );
  kept.transformations[0].growth_strategy = "wishful";
  await Deno.writeTextFile(file, JSON.stringify(kept));
  await assert.rejects(startIntegration(gpu, { ...options, memory: file }), {
    name: "TypeError",
    message: /growth_strategy must be one of .*: wishful/,
  });
  await assert.rejects(startIntegration(gpu, { ...options, memory: dir }), {
    name: "TypeError",
    message: /has no memory\/transformations\.json/,
  });
});

Deno.test("a later run begins with an earlier one's controller, and refuses what is none", async () => {
  const given = { ...options, controller_type: "mlp" } as const;
  const state = makeGuide("mlp", { L: 2, NH: 4, live: [[0, 1, 2, 3], [0, 1, 2, 3]] }, {
    rate: 0.01,
    seed: 5,
  })!.toJSON();
  const file = join(dir, "controller.json");
  const write = (value: unknown) => Deno.writeTextFile(file, JSON.stringify(value));
  const prepare = () => prepareIntegration({ ...given, controller_weights: file });
  await write({ ...state, preferences: { fisher: 2 } });
  const { guide } = await prepare();
  assert.deepEqual(guide!.preferences, { fisher: 2 });
  for (
    const [value, message] of [
      [{ type: "mlp" }, /controller_weights: this is not a controller's state/],
      [null, /this is not a controller's state/],
      [{ ...state, preferences: { wishful: 2 } }, /a preference must be one of .*: wishful/],
      [{ ...state, type: "ann" }, /are of type ann, the run's is mlp/],
    ] as const
  ) {
    await write(value);
    await assert.rejects(prepare(), { name: "TypeError", message });
  }
});

Deno.test("the class takes the options of its documents, and refuses others by name", async () => {
  const { model_name: model, dataset, max_cycles: _, ...rest } = options;
  const integration = new ControllerPlasticityIntegration({
    model,
    dataset,
    maxCycles: 1,
    controllerConfig: { controller_type: "rule", controller_lr: 0.02, update_frequency: 3 },
    plasticityConfig: { ...rest, max_degeneration_score: 5, memory_capacity: 2 },
    gpu,
  });
  const { controller_type, memory_capacity, max_cycles, seed } = integration.options;
  assert.deepEqual([controller_type, memory_capacity, max_cycles, seed], ["rule", 2, 1, 42]);
  assert.equal(integration.folder, undefined);
  const results = await integration.runIntegratedOptimization();
  assert.equal(results.cycle_metrics.length, 1);
  assert.equal(results.cycle_metrics[0].advice.controller_lr, 0.02);
  const written = await Deno.readTextFile(integration.folder!.path("results.json"));
  assert.deepEqual(JSON.parse(written), results);
  const wrong = (config: object, message: RegExp) =>
    assert.throws(() => new ControllerPlasticityIntegration(config), { message });
  wrong({ controllerConfig: { learning: 1 } }, /Unknown option of controllerConfig: learning/);
  wrong({ plasticityConfig: { speed: 1 } }, /Unknown option: speed/);
  wrong({ maxCycles: 0 }, /max_cycles must be/);
  wrong({ cycles: 3 }, /Unknown option: cycles; there are model, dataset, maxCycles/);
  wrong({ maxCycles: "5" }, /max_cycles must be .*: "5"$/);
});

Deno.test("gates move within a cycle as often as asked, and a failed cycle forgets it", async () => {
  const gatesOf = async (update_frequency: number, given: Partial<IntegrationOptions> = {}) => {
    const { results } = await run({
      ...{ controller_type: "rule", max_cycles: 1, update_frequency, max_perplexity_increase: 5 },
      controls: false,
      ...given,
    });
    return results.cycle_metrics[0];
  };
  const still = await gatesOf(0), moving = await gatesOf(2);
  assert.notDeepEqual(moving.gates, still.gates);
  const fail = { max_perplexity_increase: 0, learning_rate: 1 };
  const failed = await gatesOf(2, fail), calm = await gatesOf(0, fail);
  assert.ok(!failed.success && !calm.success);
  assert.deepEqual(failed.gates, calm.gates);
});
