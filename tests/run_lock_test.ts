/** Run folders and sweeps are one process's at a time; a process that is killed holds nothing. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { resumeExperiment, startExperiment } from "../src/experiment/run.ts";
import { LockedError } from "../src/run/lock.ts";
import { gpu } from "./gpu.ts";
import { filesBelow, killNow, startScript, untilSaid } from "./processes.ts";
import { makeTiny } from "./tiny.ts";

const SIZES = [
  ...["--batch_size", "2", "--eval_tokens", "64", "--test_tokens", "64", "--no_controls"],
  ...["--seed", "3"],
];
const EXPERIMENT = [
  ...["--warmup_steps", "4", "--finetuning_steps", "8", "--cycles", "2", "--max_length", "16"],
  ...["--eval_freq", "4"],
];
const INTEGRATION = ["--max_cycles", "3", "--training_steps", "4", "--sequence_length", "16"];

for (
  const { script, folder, args, said, resume = "--resume" } of [
    {
      script: "neural_plasticity_controller_experiment",
      folder: "runs",
      args: [...SIZES, ...EXPERIMENT],
      said: "cycle 1: pruned",
    },
    {
      script: "controller_plasticity_integration",
      folder: "runs",
      args: [...SIZES, ...INTEGRATION],
      said: "cycle 1",
    },
    {
      script: "sweep",
      folder: "sweeps",
      args: [
        ...SIZES.slice(0, -2),
        ...EXPERIMENT,
        ...["--strategies", "importance,random", "--levels", "0.3", "--seeds", "3"],
      ],
      said: "1 run left",
    },
  ]
) {
  Deno.test({
    name:
      `${script}: a second process is refused with the first one's number, until that is killed`,
    ignore: Deno.build.os === "windows",
    async fn() {
      const cwd = await Deno.makeTempDir({ prefix: "pollard-run-lock-" });
      const first = startScript(script, args, cwd);
      try {
        await untilSaid(first, said);
        first.kill("SIGSTOP"); // so that nothing changes but by the second
        const [{ name }] = [...Deno.readDirSync(join(cwd, folder))];
        const dir = join(folder, name);
        const before = await filesBelow(join(cwd, dir));
        const second = await startScript(script, [resume, dir], cwd).output();
        const stderr = new TextDecoder().decode(second.stderr);
        assert.equal(second.code, 2, stderr);
        assert.match(stderr, new RegExp(`in use by process ${first.pid} on `));
        assert.doesNotMatch(stderr, /mistake in Pollard/);
        assert.deepEqual(await filesBelow(join(cwd, dir)), before);
        await killNow(first);
        const third = await startScript(script, [resume, dir], cwd).output();
        assert.equal(third.code, 0, new TextDecoder().decode(third.stderr));
        const left = [...(await filesBelow(join(cwd, dir))).keys()];
        assert.ok(!left.some((path) => path.endsWith("pollard.lock")), left.join());
      } finally {
        await killNow(first).catch(() => {}); // where it has not been
        await Deno.remove(cwd, { recursive: true });
      }
    },
  });
}

Deno.test({
  name: "pretrain and bakeoff: a second process is refused in the same way",
  ignore: Deno.build.os === "windows",
  async fn() {
    const { dir, textFile, modelDir } = await makeTiny();
    const sizes = [
      ...["--n_layer", "1", "--n_head", "2", "--n_embd", "8", "--vocab_size", "270"],
      ...["--n_positions", "16", "--max_length", "16", "--batch_size", "2", "--steps", "2000"],
      ...["--text", textFile, "--eval_freq", "10", "--output_dir", "made"],
    ];
    const bake = [
      ...["--model_name", modelDir, "--text", textFile, "--max_length", "16"],
      ...["--batch_size", "2", "--output_dir", "bakes"],
    ];
    for (
      const { script, args, said, others } of [
        {
          ...{ script: "pretrain", args: sizes, said: "step 20:" },
          others: () => [sizes, [...sizes, "--overwrite"], ["--resume", "made"]],
        },
        {
          ...{ script: "bakeoff", args: bake, said: "leaving out" },
          others:
            () => [["--resume", `bakes/${[...Deno.readDirSync(join(dir, "bakes"))][0].name}`]],
        },
      ]
    ) {
      const first = startScript(script, args, dir);
      try {
        await untilSaid(first, said);
        first.kill("SIGSTOP");
        const before = await filesBelow(dir);
        for (const other of others()) {
          const second = await startScript(script, other, dir).output();
          const stderr = new TextDecoder().decode(second.stderr);
          assert.equal(second.code, 2, stderr);
          assert.match(stderr, new RegExp(`in use by process ${first.pid} on `));
        }
        assert.deepEqual(await filesBelow(dir), before);
      } finally {
        await killNow(first);
      }
    }
  },
});

Deno.test("in one process, a folder is taken from an object that is idle, not from one at work", async () => {
  const { dir, textFile, modelDir } = await makeTiny();
  const options = {
    ...{ model_name: modelDir, text: textFile, max_length: 16, batch_size: 2, controls: false },
    ...{ warmup_steps: 4, finetuning_steps: 4, cycles: 1, eval_tokens: 64, test_tokens: 64 },
    output_dir: join(dir, "runs"),
  };
  let meanwhile: unknown;
  using first = await startExperiment(gpu, options, {
    onMetric: ({ step }) => {
      if (step === 2) meanwhile ??= resumeExperiment(gpu, first.folder.dir).catch((error) => error);
    },
  });
  const plan = { steps: 4, every: 4, ended: () => undefined };
  await first.warmup(plan);
  assert.ok(await meanwhile instanceof LockedError, String(await meanwhile));
  using second = await resumeExperiment(gpu, first.folder.dir);
  await assert.rejects(first.cycle({ gone: 2, steps: 4 }), /no longer writes to/);
  await second.run();
  first.dispose(); // which does not unlock what the second has
  await assert.rejects(first.folder.work(() => Promise.resolve()), /no longer writes to/);
});
