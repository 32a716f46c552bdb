/** What a run continues from is checked: one changed bit is found and named, and an older checkpoint is tried. */
import assert from "node:assert/strict";
import { basename, join, relative } from "node:path";
import { resumeIntegration, startIntegration } from "../src/experiment/integration.ts";
import { RunFolder } from "../src/experiment/run_folder.ts";
import { resumeExperiment, startExperiment } from "../src/experiment/run.ts";
import { DamagedError } from "../src/run/sealed.ts";
import { seal, unseal } from "../src/run/sealed.ts";
import { randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";
import { filesBelow } from "./processes.ts";
import { makeTiny } from "./tiny.ts";

/** What a run is continued from; of the older checkpoints only the newest is read. */
const NEEDED = /^(config|data|environment|pollard-run)\.json$|^baseline|\.jsonl$|\.csv$/;

const { dir, textFile, modelDir } = await makeTiny();

const options = {
  ...{ model_name: modelDir, text: textFile, max_length: 16, batch_size: 2, controls: false },
  ...{ warmup_steps: 4, finetuning_steps: 4, cycles: 2, eval_tokens: 64, test_tokens: 64 },
  ...{ eval_freq: 2, controller_update_freq: 2, learning_rate: 3e-3 },
  output_dir: join(dir, "runs"),
};

const whole = await (async () => {
  using run = await startExperiment(gpu, options);
  await run.run();
  return run.folder.dir;
})();

/** The folder of a run that was stopped after its first cycle. */
const stopped = await (async () => {
  const stop = new AbortController();
  using run = await startExperiment(gpu, options, {
    onMessage: (line) => line.startsWith("cycle 1: fine-tuned") && stop.abort(),
  });
  await assert.rejects(run.run(stop.signal), { name: "AbortError" });
  return run.folder.dir;
})();

async function copy(from: string, to = join(dir, crypto.randomUUID())): Promise<string> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copy(join(from, name), join(to, name));
    else await Deno.copyFile(join(from, name), join(to, name));
  }
  return to;
}

async function metrics(run: string): Promise<string> {
  return await Deno.readTextFile(join(run, "metrics.jsonl"));
}

async function flip(file: string, bit: number): Promise<void> {
  const bytes = await Deno.readFile(file);
  bytes[bit >> 3] ^= 1 << (bit & 7);
  await Deno.writeFile(file, bytes);
}

Deno.test("a sealed file is read as it was, and refused with any one bit changed", () => {
  const value = {
    format: 2,
    text: "ünï",
    numbers: [1.5, null, -0],
    inner: { "2": 1, a: "sha256" },
  };
  const bytes = new TextEncoder().encode(seal(value));
  assert.deepEqual(unseal(bytes, "file"), JSON.parse(JSON.stringify(value)));
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const changed = bytes.slice();
    changed[bit >> 3] ^= 1 << (bit & 7);
    assert.throws(() => unseal(changed, "file"), DamagedError, `bit ${bit}`);
  }
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(() => unseal(bytes.subarray(0, length), "file"), DamagedError, `${length} bytes`);
  }
});

Deno.test("one changed bit in a file of a checkpoint is refused by that file's name", async () => {
  const run = await copy(stopped);
  using folder = await RunFolder.open(run);
  const label = (await folder.checkpoints()).at(-1)!;
  const files = await filesBelow(folder.path("checkpoints", label));
  assert.equal(files.size, 2);
  let i = 0;
  for (const [file, bytes] of files) {
    const drawn = [...randomIntegers(60, i++, 8 * bytes.length)];
    for (const bit of [0, 7, 8 * bytes.length - 1, ...drawn]) {
      await flip(file, bit);
      await assert.rejects(folder.readCheckpoint(label), (error) => {
        assert.ok(error instanceof DamagedError);
        assert.ok(error.message.includes(basename(file)), error.message);
        return true;
      }, `bit ${bit} of ${file}`);
      await flip(file, bit);
    }
    await Deno.truncate(file, bytes.length - 1);
    await assert.rejects(folder.readCheckpoint(label), DamagedError);
    await Deno.remove(file);
    await assert.rejects(folder.readCheckpoint(label), DamagedError);
    await Deno.writeFile(file, bytes);
  }
  await folder.readCheckpoint(label);
});

Deno.test("where the newest checkpoint is damaged, the run continues from the one before it, and says so", async () => {
  for (const name of ["state.json", "tensors.safetensors"]) {
    const run = await copy(stopped);
    const labels = [...Deno.readDirSync(join(run, "checkpoints"))].map(({ name }) => name).sort();
    assert.ok(labels.length >= 2, labels.join());
    await flip(join(run, "checkpoints", labels.at(-1)!, name), 1001);
    const said: string[] = [];
    using resumed = await resumeExperiment(gpu, run, { onMessage: (line) => said.push(line) });
    assert.match(said.join("\n"), new RegExp(`${labels.at(-1)} cannot be used: .*${name}`));
    assert.match(said.join("\n"), new RegExp(`from the older checkpoint .*${labels.at(-2)}`));
    await resumed.run();
    assert.equal(await metrics(run), await metrics(whole));
  }
});

Deno.test("the model after warm-up, which is measured at the end, is checked before anything is cut", async () => {
  for (const { name } of [...Deno.readDirSync(join(stopped, "baseline"))]) {
    const run = await copy(stopped), file = join(run, "baseline", name);
    await flip(file, 8 * (await Deno.stat(file)).size - 3);
    const before = await filesBelow(run);
    await assert.rejects(resumeExperiment(gpu, run), (error) => {
      assert.ok(error instanceof DamagedError, String(error));
      assert.ok(error.message.startsWith(`${file} is not as it was written`), error.message);
      return true;
    });
    assert.deepEqual(await filesBelow(run), before);
    await Deno.remove(file);
    await assert.rejects(resumeExperiment(gpu, run), { name: "DamagedError" });
  }
});

Deno.test({
  name:
    "a pipe or a device in the place of any file of a run ends in its name, not in endless reading",
  ignore: Deno.build.os === "windows",
  async fn() {
    const files = [...(await filesBelow(stopped)).keys()].map((file) => relative(stopped, file));
    assert.ok(files.length > 10);
    for (const name of files) {
      const run = await copy(stopped), file = join(run, name);
      await Deno.remove(file);
      if (name.endsWith("heads.csv")) await new Deno.Command("mkfifo", { args: [file] }).output();
      else await Deno.symlink("/dev/zero", file);
      const said: string[] = [];
      try {
        using _ = await resumeExperiment(gpu, run, { onMessage: (line) => said.push(line) });
      } catch (error) {
        said.push((error as Error).message);
      }
      assert.ok(said.join("\n").includes(basename(name)) || !NEEDED.test(name), `${name}: ${said}`);
    }
  },
});

Deno.test("where no checkpoint is whole, the run is refused and nothing is changed", async () => {
  const run = await copy(stopped);
  for (const { name } of Deno.readDirSync(join(run, "checkpoints"))) {
    await flip(join(run, "checkpoints", name, "tensors.safetensors"), 5000);
  }
  await Deno.writeTextFile(join(run, "metrics.jsonl"), '{"half', { append: true });
  const before = await filesBelow(run);
  await assert.rejects(
    resumeExperiment(gpu, run),
    /tensors\.safetensors is not as .* begin another/,
  );
  assert.deepEqual(await filesBelow(run), before);
});

Deno.test("what a run began with must not change: options, data, the folder's mark", async () => {
  for (const name of ["config.json", "data.json", "environment.json", "pollard-run.json"]) {
    const run = await copy(stopped), file = join(run, name);
    const text = await Deno.readTextFile(file);
    const edited = text.replace("3e-3", "2e-3").replace("0.003", "0.002")
      .replace(/"sha256": "\w/, '"sha256": "x').replace("llvmpipe", "other")
      .replace("created", "Created");
    assert.notEqual(edited, text, name);
    await Deno.writeTextFile(file, edited);
    await assert.rejects(resumeExperiment(gpu, run), new RegExp(`${name} is not what it was`));
    await Deno.writeTextFile(file, text + " ");
    await assert.rejects(resumeExperiment(gpu, run), new RegExp(`${name} is not what it was`));
  }
});

Deno.test("zeros or half a line at the end of a log lose only what lies after the checkpoint", async () => {
  const run = await copy(stopped);
  await Deno.writeTextFile(join(run, "metrics.jsonl"), "\0".repeat(4096), { append: true });
  await Deno.writeTextFile(join(run, "events.jsonl"), '{"step":9,', { append: true });
  await Deno.writeTextFile(join(run, "heads.csv"), "9,1,", { append: true });
  using resumed = await resumeExperiment(gpu, run);
  await resumed.run();
  assert.equal(await metrics(run), await metrics(whole));
});

Deno.test("a log that has lost what a checkpoint saw sends the run back to an older one", async () => {
  for (const spoil of ["cut", "zeros"] as const) {
    const run = await copy(stopped), log = join(run, "metrics.jsonl");
    const { size } = await Deno.stat(log);
    await Deno.truncate(log, size - 10);
    if (spoil === "zeros") await Deno.writeTextFile(log, "\0".repeat(10), { append: true });
    const said: string[] = [];
    using resumed = await resumeExperiment(gpu, run, { onMessage: (line) => said.push(line) });
    assert.match(said.join("\n"), /metrics\.jsonl is (shorter|not as it was)/);
    await resumed.run();
    assert.equal(await metrics(run), await metrics(whole));
  }
});

Deno.test("folders of older versions, without hashes, are continued with the same bits", async () => {
  const run = await copy(stopped);
  const mark = JSON.parse(await Deno.readTextFile(join(run, "pollard-run.json")));
  const { format, kind, created } = mark;
  await Deno.writeTextFile(
    join(run, "pollard-run.json"),
    JSON.stringify({ format, kind, created }),
  );
  for (const { name } of Deno.readDirSync(join(run, "checkpoints"))) {
    const file = join(run, "checkpoints", name, "state.json");
    const { state, logs } = JSON.parse(await Deno.readTextFile(file));
    delete state.inside;
    const lengths = Object.entries(logs as Record<string, { bytes: number }>)
      .map(([log, { bytes }]) => [log, bytes]);
    await Deno.writeTextFile(file, JSON.stringify({ logs: Object.fromEntries(lengths), state }));
  }
  using resumed = await resumeExperiment(gpu, run);
  await resumed.run();
  assert.equal(await metrics(run), await metrics(whole));
});

Deno.test("a checkpoint of a later format is refused with both versions' names", async () => {
  const run = await copy(stopped);
  for (const { name } of Deno.readDirSync(join(run, "checkpoints"))) {
    const file = join(run, "checkpoints", name, "state.json");
    const state = unseal(await Deno.readFile(file), file)!;
    await Deno.writeTextFile(file, seal({ ...state, format: 3, pollard: "9.8.7" }));
  }
  await assert.rejects(
    resumeExperiment(gpu, run),
    /format 3, of Pollard 9\.8\.7; this is Pollard \d/,
  );
});

Deno.test("an integrated run goes back where its newest checkpoint, or the best models', are damaged", async () => {
  const given = {
    ...{ model_name: modelDir, dataset: textFile, sequence_length: 16, batch_size: 2, seed: 3 },
    ...{ max_cycles: 3, training_steps: 4, eval_tokens: 64, test_tokens: 64, controls: false },
    output_dir: join(dir, "integrations"),
  };
  using straight = await startIntegration(gpu, given);
  await straight.run();
  const stop = new AbortController();
  using first = await startIntegration(gpu, given, {
    onEvent: ({ event, cycle }) => event === "prune" && cycle === 3 && stop.abort(),
  });
  await assert.rejects(first.run(stop.signal), { name: "AbortError" });
  const labels = [...Deno.readDirSync(first.folder.path("checkpoints"))].map(({ name }) => name);
  assert.ok(labels.includes("cycle-0000001") && labels.includes("cycle-0000002"), labels.join());
  const run = await copy(first.folder.dir);
  await flip(join(run, "checkpoints", "cycle-0000002", "state.json"), 300);
  const said: string[] = [];
  using resumed = await resumeIntegration(gpu, run, { onMessage: (line) => said.push(line) });
  assert.match(said.join("\n"), /cycle-0000002 cannot be used/);
  await resumed.run();
  assert.equal(await metrics(run), await metrics(straight.folder.dir));
  for (const label of labels.filter((label) => label.startsWith("best"))) {
    const file = first.folder.path("checkpoints", label, "tensors.safetensors");
    await flip(file, 4000);
  }
  first.dispose();
  await assert.rejects(
    resumeIntegration(gpu, first.folder.dir),
    /best-.*tensors\.safetensors is not/,
  );
});
