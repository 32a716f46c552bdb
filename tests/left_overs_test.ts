/** What killed processes and full disks leave: cleared, named, and continued from. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { removeStale } from "../src/data/cache_folder.ts";
import { writeWhole } from "../src/data/files.ts";
import { Generator } from "../src/gpt2/generate.ts";
import { resumeExperiment, startExperiment } from "../src/experiment/run.ts";
import { readRun } from "../src/report/read.ts";
import { gpu } from "./gpu.ts";
import { filesBelow, startScript, untilSaid } from "./processes.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny();

const options = {
  ...{ model_name: modelDir, text: textFile, max_length: 16, batch_size: 2, controls: false },
  ...{ warmup_steps: 4, finetuning_steps: 4, cycles: 1, eval_tokens: 64, test_tokens: 64 },
  output_dir: join(dir, "runs"),
};

const ID = crypto.randomUUID();

Deno.test("the next process in a run's folder clears what a killed one left, and nothing else", async () => {
  const stop = new AbortController();
  using first = await startExperiment(gpu, options, {
    onMessage: (line) => line.startsWith("cycle 1: pruned") && stop.abort(),
  });
  await assert.rejects(first.run(stop.signal), { name: "AbortError" });
  const run = first.folder.dir, checkpoints = join(run, "checkpoints");
  const labels = (await first.folder.checkpoints()).sort();
  first.dispose();
  const before = await filesBelow(run);
  const files = [`results.json.tmp-${ID}`, `memory/transformations.json.tmp-${ID}`];
  const folders = [
    ...[`.model.tmp-${ID}`, `.baseline.old-${ID}`, `models/.best.tmp-${ID}`],
    ...["checkpoints/step-0000030.partial", `checkpoints/${labels[0]}.old`],
  ];
  for (const name of folders) {
    await Deno.mkdir(join(run, name), { recursive: true });
    await Deno.writeTextFile(join(run, name, "half"), "{");
  }
  await Deno.mkdir(join(run, "memory"));
  for (const name of files) await Deno.writeTextFile(join(run, name), "{");
  const others = [".model-compact.tmp-" + ID, "notes.partial", "my.old"];
  for (const name of others) await Deno.mkdir(join(run, name));
  // killed between the two renames that put a checkpoint in place of one of the same name
  await Deno.rename(join(checkpoints, labels[1]), join(checkpoints, `${labels[1]}.old`));
  {
    using again = await resumeExperiment(gpu, run);
    assert.ok(again.lastCheckpoint?.endsWith(labels[1]));
    const events = join(run, "events.jsonl"), lock = join(run, "pollard.lock");
    const now = await filesBelow(run);
    for (const files of [now, before]) for (const name of [events, lock]) files.delete(name);
    assert.deepEqual([...now.keys()].sort(), [...before.keys()].sort());
    assert.deepEqual(now, before);
    for (const name of others) await Deno.stat(join(run, name));
    await again.run();
  }
});

Deno.test("samples that cannot be drawn cost no results", async () => {
  const { generate } = Generator.prototype;
  const said: string[] = [];
  using run = await startExperiment(gpu, options, { onMessage: (line) => said.push(line) });
  Generator.prototype.generate = () => Promise.reject(new Error("the device had enough"));
  try {
    const results = await run.run();
    assert.ok(Number.isFinite(results.final_loss));
  } finally {
    Generator.prototype.generate = generate;
  }
  assert.match(said.join("\n"), /no samples were written, and the results stand: the device had/);
  const read = await readRun(run.folder.dir);
  assert.ok(read.results && !read.samples);
});

Deno.test("old temporary files in the cache are removed, those of the last hour are not", async () => {
  const cache = await Deno.makeTempDir({ prefix: "pollard-cache-" });
  try {
    const old = join(cache, `a.tmp-${ID}`), recent = join(cache, `b.tmp-${ID}`);
    const kept = join(cache, "c.tokens");
    for (const path of [old, recent, kept]) await Deno.writeTextFile(path, "");
    const before = new Date(Date.now() - 2 * 60 * 60_000);
    for (const path of [old, kept]) await Deno.utime(path, before, before);
    await removeStale(cache);
    const names = [...Deno.readDirSync(cache)].map(({ name }) => name).sort();
    assert.deepEqual(names, [`b.tmp-${ID}`, "c.tokens"]);
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
});

Deno.test({
  name: "a full disk is named with the file, and the run continues once there is room",
  ignore: Deno.build.os !== "linux",
  async fn() {
    using straight = await startExperiment(gpu, options);
    await straight.run();
    using first = await startExperiment(gpu, options);
    const { dir: run } = first.folder, log = join(run, "metrics.jsonl");
    await Deno.remove(log);
    await Deno.symlink("/dev/full", log);
    await assert.rejects(first.run(), /No space left on device.*metrics\.jsonl/);
    await Deno.remove(log);
    await Deno.writeTextFile(log, "");
    using again = await resumeExperiment(gpu, run);
    await again.run();
    const there = await Deno.readTextFile(straight.folder.path("metrics.jsonl"));
    assert.equal(await Deno.readTextFile(log), there);
  },
});

Deno.test({
  name: "the command that continues a run is quoted for the shell",
  ignore: Deno.build.os === "windows",
  async fn() {
    const cwd = await Deno.makeTempDir({ prefix: "pollard it's $HOME-" });
    const script = "neural_plasticity_controller_experiment";
    const child = startScript(script, [
      ...["--model_name", modelDir, "--text", textFile, "--max_length", "16", "--batch_size", "2"],
      ...["--warmup_steps", "4", "--finetuning_steps", "30", "--cycles", "1", "--no_controls"],
      ...["--eval_tokens", "64", "--test_tokens", "64", "--output_dir", join(cwd, "my runs")],
    ], cwd);
    try {
      const said = await untilSaid(child, "cycle 1: pruned");
      child.kill("SIGTERM");
      const { code, stderr } = await child.output();
      assert.equal(code, 143, said);
      const [, quoted] = /Continue with: deno task experiment (.*)/.exec(
        new TextDecoder().decode(stderr),
      )!;
      const path = new URL(`../scripts/${script}.ts`, import.meta.url).pathname;
      const again = await new Deno.Command("bash", {
        args: ["-c", `"$@" ${quoted}`, "bash", Deno.execPath(), "run", "-A", path],
        env: { NO_COLOR: "1" },
      }).output();
      assert.equal(again.code, 0, new TextDecoder().decode(again.stderr));
    } finally {
      await Deno.remove(cwd, { recursive: true });
    }
  },
});

Deno.test("writing into what cannot be written to names it", async () => {
  const file = join(dir, "file");
  await Deno.writeTextFile(file, "");
  const folder = join(dir, "folder");
  await Deno.mkdir(join(folder, "inner"), { recursive: true });
  for (const path of [join(file, "below"), folder, join(dir, "missing", "file")]) {
    await assert.rejects(writeWhole(path, "text"), (error) => {
      assert.ok((error as Error).message.includes(path), (error as Error).message);
      return true;
    });
  }
});
