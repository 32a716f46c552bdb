/** Runs as commands: what a plan's lines say is what the experiment's command line reads. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { parseExperiment } from "../scripts/experiment_options.ts";
import { experimentArgs } from "../scripts/plan.ts";
import { checkOptions, DEFAULTS, type ExperimentOptions } from "../src/experiment/options.ts";
import { makeTiny } from "./tiny.ts";
import { runScript } from "./script.ts";

Deno.test("an experiment's options survive the way through its command line", () => {
  const cases: Partial<ExperimentOptions>[] = [
    {},
    { learning_rate: 1e-7, seed: 4294967295, controls: false, recompute: true },
    { text: "/a b/it's $HOME.txt", model_name: "/mödel", dataset_config: "--json" },
    { device: "cpu", fold_means: true, pruning_level: 0.1 + 0.2, strategy: "oracle" },
  ];
  for (const given of cases) {
    const options = checkOptions(given);
    assert.deepEqual(parseExperiment(experimentArgs(options)).options, options);
  }
  assert.deepEqual(experimentArgs(DEFAULTS), []);
});

Deno.test("--run_dir begins a run, and leaves a finished one alone", async () => {
  const { dir, textFile, modelDir } = await makeTiny();
  const runDir = join(dir, "my runs", "first");
  const args = [
    ...["--run_dir", runDir, "--model_name", modelDir, "--text", textFile, "--no_controls"],
    ...["--warmup_steps", "2", "--finetuning_steps", "2", "--cycles", "1", "--max_length", "16"],
    ...["--batch_size", "2", "--eval_tokens", "64", "--test_tokens", "64"],
  ];
  const experiment = (...more: string[]) =>
    runScript("neural_plasticity_controller_experiment", ...args, ...more);
  const first = await experiment("--json");
  assert.equal(first.code, 0, first.stderr);
  const events = await Deno.readTextFile(join(runDir, "events.jsonl"));
  await Deno.remove(join(runDir, "report.html"));
  const second = await experiment("--json");
  assert.equal(second.code, 0, second.stderr);
  assert.match(second.stderr, /has finished before: nothing is left to do/);
  assert.doesNotMatch(second.stderr, /adapter/);
  assert.equal(second.stdout, first.stdout);
  assert.equal(await Deno.readTextFile(join(runDir, "events.jsonl")), events);
  await Deno.stat(join(runDir, "report.html"));

  const other = await experiment("--seed", "7");
  assert.equal(other.code, 2, other.stderr);
  assert.match(other.stderr, /other options: seed is 42 there and 7 here/);
  const both = await experiment("--output_dir", dir);
  assert.equal(both.code, 2);
  assert.match(both.stderr, /--run_dir is the run's own folder, and --output_dir holds/);
});
