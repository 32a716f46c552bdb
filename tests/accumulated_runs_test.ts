/** Whole runs whose batches are computed in parts, with activations computed again: the same runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { startIntegration } from "../src/experiment/integration.ts";
import { startExperiment } from "../src/experiment/run.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny({ T: 64 });
const PARTS = { batch_size: 2, gradient_accumulation_steps: 2, recompute: true };
const shared = {
  model_name: modelDir,
  output_dir: join(dir, "runs"),
  learning_rate: 3e-3,
  controls: false,
};
const scored = { eval_tokens: 128, test_tokens: 128 };

Deno.test("an experiment in parts prunes the same heads, to the same losses", async () => {
  const runs = [];
  for (const batch of [{ batch_size: 4 }, PARTS]) {
    const lines: string[] = [];
    using run = await startExperiment(gpu, {
      ...{ ...shared, ...scored, ...batch, text: textFile, max_length: 16 },
      ...{ warmup_steps: 6, finetuning_steps: 6, cycles: 2, pruning_level: 0.5 },
      ...{ pruning_mode: "adaptive", strategy: "importance" },
    }, { onMessage: (line) => lines.push(line) });
    runs.push({ lines, results: await run.run() });
  }
  const [{ results: whole }, { lines, results: parts }] = runs;
  assert.deepEqual(parts.pruned_heads, whole.pruned_heads);
  assert.equal(parts.tokens_seen, whole.tokens_seen);
  assertClose([parts.final_loss], [whole.final_loss], { atol: 0, rtol: 1e-4, what: "test loss" });
  assert.match(lines[0], /^memory: [\d.]+ MB for 2 models .* with 2 x 16 tokens;/);
});

Deno.test("so does an integrated run, which measures pruned heads too", async () => {
  const runs = [];
  for (const batch of [{ batch_size: 4 }, PARTS]) {
    using run = await startIntegration(gpu, {
      ...{ ...shared, ...scored, ...batch, dataset: textFile, sequence_length: 16 },
      ...{ max_cycles: 2, training_steps: 6, pruning_level: 0.5, cycle_models: false },
    });
    runs.push(await run.run());
  }
  const [whole, parts] = runs;
  const changes = (run: typeof whole) =>
    run.cycle_metrics.map(({ pruned_heads, grown_heads }) => ({ pruned_heads, grown_heads }));
  assert.deepEqual(changes(parts), changes(whole));
  assert.ok(changes(whole).every(({ pruned_heads }) => pruned_heads.length > 0));
  assertClose([parts.test_loss], [whole.test_loss], { atol: 0, rtol: 1e-4, what: "test loss" });
});
