/** Killed at any point and continued, every kind of work ends with the same bits as if it had not been. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { bakeoff, type BakeoffState, prepareBakeoff } from "../src/experiment/bakeoff.ts";
import { resumeIntegration, startIntegration } from "../src/experiment/integration.ts";
import { preparePretraining, pretrain } from "../src/experiment/pretrain.ts";
import type { PretrainState } from "../src/experiment/pretrain_state.ts";
import { RunFolder } from "../src/experiment/run_folder.ts";
import {
  prepareUpgrade,
  resumeUpgrade,
  startUpgrade,
  UPGRADED_MODEL,
} from "../src/experiment/upgrade.ts";
import {
  beginWork,
  continueWork,
  type Work,
  type WorkKind,
} from "../src/experiment/work_folder.ts";
import { gpu } from "./gpu.ts";
import { startScript, untilSaid } from "./processes.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny({ T: 64 });

/** As a process that is killed: nothing is saved any more. */
class Killed extends Error {}

const integration = {
  ...{ model_name: modelDir, dataset: textFile, sequence_length: 16, batch_size: 2, seed: 3 },
  ...{ max_cycles: 2, training_steps: 4, eval_tokens: 64, test_tokens: 64, controls: false },
  output_dir: join(dir, "integrations"),
};

/** Everything of an integrated run that must not depend on how often it was killed. */
async function outcome(run: string) {
  const results = JSON.parse(await Deno.readTextFile(join(run, "results.json")));
  delete results.total_duration;
  for (const cycle of results.cycle_metrics) delete cycle.cycle_time_s;
  return {
    results,
    metrics: await Deno.readTextFile(join(run, "metrics.jsonl")),
    heads: await Deno.readTextFile(join(run, "heads.csv")),
    weights: await Deno.readFile(join(run, "models", "best", "model.safetensors")),
  };
}

Deno.test("an integrated run", async () => {
  using straight = await startIntegration(gpu, integration);
  await straight.run();
  const expected = await outcome(straight.folder.dir);
  const points = [
    ["before its first checkpoint", { event: "phase", cycle: 0 }],
    ["within its first cycle", { event: "prune", cycle: 1 }],
    ["while it saves", { event: "checkpoint", cycle: 1 }],
    ["within its second cycle", { event: "grow", cycle: 2 }],
    ["at its end", "reading the test text"],
  ] as const;
  for (const [where, point] of points) {
    let killed = false;
    const kill = () => {
      if (killed) return;
      killed = true;
      throw new Killed();
    };
    using first = await startIntegration(gpu, integration, {
      onEvent: ({ event, cycle }) => {
        if (typeof point === "object" && event === point.event && cycle === point.cycle) kill();
      },
      onMessage: (line) => typeof point === "string" && line.includes(point) && kill(),
    });
    await first.run().catch((error) => assert.ok(error instanceof Killed, String(error)));
    if (where !== "before its first checkpoint") assert.ok(killed, where);
    if (!killed) continue;
    using second = await resumeIntegration(gpu, first.folder.dir);
    await second.run();
    assert.deepEqual(await outcome(first.folder.dir), expected, where);
  }
});

Deno.test("an upgrade", async () => {
  const options = {
    ...{ model: modelDir, data_path: textFile, sequence_length: 16, batch_size: 2 },
    ...{ cycles: 1, train_steps: 4, controls: false },
    ...{ run_inference: true, prompt: "the", output_dir: join(dir, "upgraded"), seed: 3 },
  };
  const weights = (run: string) => Deno.readFile(join(run, UPGRADED_MODEL, "model.safetensors"));
  using straight = await startUpgrade(gpu, await prepareUpgrade(options));
  const { inference } = await straight.run();
  const expected = await weights(straight.folder.dir);
  for (const point of ["prune", "checkpoint"]) {
    using first = await startUpgrade(gpu, await prepareUpgrade(options), {
      onEvent: ({ event, cycle }) => {
        if (event === point && cycle === 1) throw new Killed();
      },
    });
    await assert.rejects(first.run(), Killed);
    using second = await resumeUpgrade(gpu, first.folder.dir);
    assert.deepEqual((await second.run()).inference, inference);
    assert.deepEqual(await weights(first.folder.dir), expected);
  }
  // killed after the results, before the model; and after the model, before the texts
  const { dir: run } = straight.folder;
  for (const lost of [[UPGRADED_MODEL, "inference.json"], ["inference.json"]]) {
    for (const name of lost) await Deno.remove(join(run, name), { recursive: true });
    using again = await resumeUpgrade(gpu, run);
    assert.deepEqual((await again.run()).inference, inference);
    assert.deepEqual(await weights(run), expected);
  }
  await assert.rejects(resumeUpgrade(gpu, run), /is finished: its model is/);
});

/** Does work over and over, each time from what the last one saved, until it is not killed any more. */
async function often<State, Result>(
  kind: WorkKind,
  action: (work: Work<State>, attempt: number) => Promise<Result>,
): Promise<{ result: Result; attempts: number }> {
  const folder = await RunFolder.create(join(dir, "work"), kind, { kind });
  const path = folder.dir;
  for (let attempts = 0;; attempts++) {
    const { folder: own, continuing } = attempts === 0
      ? beginWork<State>(folder)
      : await continueWork<State>(path, kind, () => {});
    using _own = own;
    try {
      const work = { folder: own, continuing: { ...continuing, every: 0 } };
      return { result: await action(work, attempts), attempts };
    } catch (error) {
      if (!(error instanceof Killed) && (error as Error).name !== "AbortError") throw error;
    }
  }
}

Deno.test("a pretraining, killed and stopped at steps, validations and at the end", async () => {
  const options = {
    ...{ text: textFile, dataset_config: "", text_column: "text" },
    sizes: { L: 1, NH: 2, C: 8, V: 270, T: 16 },
    ...{ batchSize: 2, maxLength: 16, steps: 45, learningRate: 1e-2, weightDecay: 0.1 },
    ...{ inputNoise: 0.1, beta2: 0.99, initializerRange: 0.02, evalFreq: 15, seed: 1 },
  };
  const materials = await preparePretraining(options);
  const { model: expected, record } = await pretrain(gpu, options, materials);
  for (const how of ["killed", "stopped"] as const) {
    let last = 0;
    const { result, attempts } = await often<PretrainState, Awaited<ReturnType<typeof pretrain>>>(
      "pretraining",
      (work, attempt) => {
        const stop = new AbortController();
        if (how === "stopped" && attempt === 5) stop.abort(); // within the last evaluation
        return pretrain(
          gpu,
          options,
          materials,
          ({ step }) => {
            if (step <= last) return;
            last = step;
            if (how === "stopped") return stop.abort();
            throw new Killed();
          },
          stop.signal,
          work.continuing,
        );
      },
    );
    assert.ok(attempts >= 3, `${how} ${attempts} times`);
    assert.deepEqual(result.model.weights, expected.weights);
    const { seconds: _, ...own } = result.record, { seconds: __, ...other } = record;
    assert.deepEqual(own, other);
  }
});

Deno.test("a bake-off, killed and stopped at every head and strategy", async () => {
  const { options, materials } = await prepareBakeoff({
    ...{ model_name: modelDir, text: textFile, max_length: 16, batch_size: 2, eval_tokens: 64 },
  });
  const { execution_time_s: _, ...expected } = await bakeoff(gpu, options, materials);
  let furthest = -1;
  const { result, attempts } = await often<BakeoffState, Awaited<ReturnType<typeof bakeoff>>>(
    "bakeoff",
    (work, attempt) => {
      const stop = new AbortController();
      let told = -1;
      return bakeoff(
        gpu,
        options,
        materials,
        ({ what, done }) => {
          if (what === "head metrics") return;
          if (++told <= furthest) return;
          furthest = told + (done === 0 ? 0 : 1);
          if (attempt % 2) stop.abort();
          else throw new Killed();
        },
        stop.signal,
        work.continuing,
      );
    },
  );
  assert.ok(attempts >= 6, `${attempts} times`);
  const { execution_time_s: __, ...own } = result;
  assert.deepEqual(own, expected);
});

const PRETRAIN = [
  ...["--n_layer", "1", "--n_head", "2", "--n_embd", "8", "--vocab_size", "270"],
  ...["--n_positions", "16", "--max_length", "16", "--batch_size", "2", "--eval_freq", "10"],
];

for (
  const { script, args, said, task, result } of [
    {
      script: "pretrain",
      args: ["--text", textFile, ...PRETRAIN, "--steps", "400", "--output_dir", "my model"],
      said: "step 40:",
      task: "deno task pretrain --resume 'my model'",
      result: "my model/model.safetensors",
    },
    {
      script: "bakeoff",
      args: [
        ...["--model_name", modelDir, "--text", textFile, "--max_length", "16"],
        ...["--batch_size", "2", "--eval_tokens", "64", "--output_dir", "my bakes"],
      ],
      said: "leaving out",
      task: "deno task bakeoff --resume 'my bakes",
      result: "bakeoff.json",
    },
  ]
) {
  Deno.test({
    name: `${script} is stopped by SIGTERM, told how to continue, and continues`,
    ignore: Deno.build.os === "windows",
    async fn() {
      const whole = await Deno.makeTempDir({ prefix: "pollard-continue-" });
      const cwd = await Deno.makeTempDir({ prefix: "pollard-continue-" });
      const found = async (root: string) => {
        const inside = script === "pretrain"
          ? root
          : join(root, "my bakes", [...Deno.readDirSync(join(root, "my bakes"))][0].name);
        const bytes = await Deno.readFile(join(inside, result));
        if (script === "pretrain") return bytes;
        const { execution_time_s: _, ...record } = JSON.parse(new TextDecoder().decode(bytes));
        return record;
      };
      try {
        const straight = await startScript(script, args, whole).output();
        assert.equal(straight.code, 0, new TextDecoder().decode(straight.stderr));
        const child = startScript(script, args, cwd);
        await untilSaid(child, said);
        child.kill("SIGTERM");
        const { code, stderr } = await child.output();
        const words = new TextDecoder().decode(stderr);
        assert.equal(code, 143, words);
        assert.ok(words.includes(`Continue with: ${task}`), words);
        if (script === "pretrain") {
          const again = await startScript(script, args, cwd).output();
          assert.equal(again.code, 2);
          assert.match(new TextDecoder().decode(again.stderr), /that was not finished: continue/);
        }
        const [, quoted] = /Continue with: deno task \w+ (.*)/.exec(words)!;
        const resume = ["--resume", quoted.replace(/^--resume '?(.*?)'?$/, "$1")];
        const rest = await startScript(script, resume, cwd).output();
        assert.equal(rest.code, 0, new TextDecoder().decode(rest.stderr));
        assert.deepEqual(await found(cwd), await found(whole));
        const left = [...Deno.readDirSync(cwd)].map(({ name }) => name);
        assert.ok(!left.some((name) => name.includes("unfinished")), left.join());
        const twice = await startScript(script, resume, cwd).output();
        assert.equal(twice.code, 2, new TextDecoder().decode(twice.stderr));
      } finally {
        for (const root of [whole, cwd]) await Deno.remove(root, { recursive: true });
      }
    },
  });
}
