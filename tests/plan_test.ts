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

Deno.test("--seeds repeats an experiment, and compares by seed; it continues as a sweep", async () => {
  const { dir, textFile, modelDir } = await makeTiny();
  const args = [
    ...["--model_name", modelDir, "--text", textFile, "--output_dir", join(dir, "runs")],
    ...["--warmup_steps", "2", "--finetuning_steps", "2", "--cycles", "1", "--max_length", "16"],
    ...["--batch_size", "2", "--eval_tokens", "64", "--test_tokens", "64", "--seed", "7"],
  ];
  const experiment = (...more: string[]) =>
    runScript("neural_plasticity_controller_experiment", ...args, ...more);
  const { code, stdout, stderr } = await experiment(
    "--seeds",
    "3",
    "--run_name",
    "my three",
    "--json",
  );
  assert.equal(code, 0, stderr);
  const { sweep, runs, groups: [group] } = JSON.parse(stdout);
  assert.deepEqual(runs.map(({ seed }: { seed: number }) => seed), [7, 8, 9]);
  assert.deepEqual(group.seeds, [7, 8, 9]);
  assert.match(sweep, /-my_three$/);
  const losses: number[][] = await Promise.all(runs.map(async (run: { folder: string }) => {
    const results = JSON.parse(await Deno.readTextFile(join(sweep, run.folder, "results.json")));
    return [results.final_loss, results.unpruned_twin_loss, results.random_pruning_loss];
  }));
  const mean = (of: (row: number[]) => number) => losses.reduce((sum, row) => sum + of(row), 0) / 3;
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);
  near(group.pruned.mean, mean(([own]) => own));
  near(group.pruned_minus_twin.mean, mean(([own, twin]) => own - twin));
  near(group.pruned_minus_random.mean, mean(([own, , random]) => own - random));
  assert.deepEqual(
    JSON.parse(await Deno.readTextFile(join(sweep, "comparison.json"))).groups,
    [group],
  );

  await Deno.remove(join(sweep, runs[1].folder), { recursive: true });
  const again = await runScript("sweep", "--resume", sweep);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^ {2}pruned minus twin +.*95 % confidence interval .*\(n = 3\)/m);
  assert.deepEqual(
    JSON.parse(await Deno.readTextFile(join(sweep, "comparison.json"))).groups,
    [group],
    "the deleted run gives the same bits again",
  );
  for (
    const [more, said] of [
      [["--seeds", "1"], /seeds must be a whole number from 2 to 1000: 1/],
      [["--seeds", "3", "--seed", "9007199254740990"], /seeds must be /],
      [["--seeds", "2", "--run_dir", "x"], /--run_dir is for one run/],
    ] as [string[], RegExp][]
  ) {
    const refused = await runScript("neural_plasticity_controller_experiment", ...more);
    assert.equal(refused.code, 2, refused.stderr);
    assert.match(refused.stderr, said);
  }
});
