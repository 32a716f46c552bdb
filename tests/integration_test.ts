/** The integrated loop on a tiny model: it runs, it records, and its controllers matter. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { trainBpe } from "../src/data/bpe.ts";
import { loadText } from "../src/data/corpora.ts";
import { loadModel, saveModel } from "../src/data/model_files.ts";
import { ControllerPlasticityIntegration } from "../src/experiment/integration.ts";
import {
  CONTROLLER_TYPES,
  type IntegrationOptions,
} from "../src/experiment/integration_options.ts";
import { initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { allHeads } from "../src/gpt2/layout.ts";
import type { PlasticityCycle } from "../src/record.ts";
import { integrationVerdict } from "../src/report/integration.ts";
import { gpu } from "./gpu.ts";

const dir = await Deno.makeTempDir({ prefix: "pollard-integration-" });
addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
const { text } = await loadText("moby_dick");
const textFile = join(dir, "text.txt");
await Deno.writeTextFile(textFile, text.slice(0, 60_000));
const config = makeConfig({ L: 2, NH: 4, C: 32, V: 300, T: 64 });
await saveModel(join(dir, "tiny"), {
  config,
  live: allHeads(config),
  weights: initWeights(config, 3),
  tokenizerJson: trainBpe(text.slice(0, 30_000), 300),
});
const options: Partial<IntegrationOptions> = {
  model_name: join(dir, "tiny"),
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
  using own = await ControllerPlasticityIntegration.start(gpu, { ...options, ...given }, {
    onMessage: (line) => messages.push(line),
  });
  const results = await own.runIntegratedOptimization();
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
    const cycles = lines.map((line) => JSON.parse(line) as PlasticityCycle & { advice: object });
    assert.deepEqual(cycles.map(({ cycle }) => cycle), [1, 2]);
    assert.equal(cycles[0].pruning_level, 0.1);
    assert.deepEqual(cycles[0].advice, {
      pruned_percent: 0,
      pruning_level: 0.1,
      ...(controller_type !== "static" && { preferences: {} }),
    });
    assert.match(messages[0], /^cycle 1: \w+ pruned 1, \w+ grew 1; perplexity/);
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

Deno.test("the same seed gives the same run, another another", async () => {
  const strip = ({ results }: Awaited<ReturnType<typeof run>>) => {
    const { total_duration: _, cycle_metrics, ...rest } = results;
    return { ...rest, cycles: cycle_metrics.map(({ cycle_time_s: _, ...cycle }) => cycle) };
  };
  const first = strip(await run());
  assert.deepEqual(strip(await run()), first);
  assert.notDeepEqual(strip(await run({ seed: 7 })), first);
});

Deno.test("cycles that fail are undone, and the run ends with the model it began with", async () => {
  const { results } = await run({ max_perplexity_increase: 0, learning_rate: 1, max_cycles: 5 });
  assert.ok(results.cycle_metrics.every(({ success }) => !success));
  assert.equal(results.best_cycle, 0);
  assert.equal(results.active_heads, 8);
  assert.equal(results.improvement, 0);
  assert.equal(results.cycles_completed, 3);
  assert.match(results.stopped, /no better model in 3 cycles/);
  const verdict = integrationVerdict(results);
  assert.match(
    verdict,
    /^With 8 of 8 heads the best model’s test loss is .*from its unpruned twin/,
  );
  const { unpruned_twin_loss: _, ...alone } = results;
  assert.match(integrationVerdict(alone), /No unpruned twin was trained/);
  assert.match(verdict, /It is of the start: no cycle made a better one; 0 of 3 cycles kept/);
});
