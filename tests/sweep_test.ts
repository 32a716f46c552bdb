/** Sweeps on a tiny model: the grid, stopping and going on, runs that fail. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { prepareSweep, Sweep, type SweepConfig } from "../src/experiment/sweep.ts";
import {
  checkSweepOptions,
  planSweep,
  SWEEP_DEFAULTS,
  SWEEP_RULES,
  type SweepOptions,
} from "../src/experiment/sweep_options.ts";
import { Gpu } from "../src/gpu/device.ts";
import { LockedError, lockFolder } from "../src/run/lock.ts";
import { SWEEP_FILE, type SweepRun } from "../src/record.ts";
import { readSweep, standings } from "../src/report/sweep_folder.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny();

const options: Partial<SweepOptions> = {
  ...{ strategies: ["importance", "random"], levels: [0.25, 0.5], seeds: [1] },
  ...{ model_name: modelDir, text: textFile, max_length: 16, batch_size: 2 },
  ...{ warmup_steps: 3, finetuning_steps: 4, cycles: 2, eval_freq: 5, eval_tokens: 64 },
  ...{ test_tokens: 128, controller_update_freq: 2, learning_rate: 3e-3 },
  output_dir: join(dir, "sweeps"),
};

async function runsOf(sweep: string): Promise<SweepRun[]> {
  return await standings(sweep, (await readSweep(sweep)).runs);
}

/** What a sweep leaves that must not depend on how often it was stopped. */
async function outcome(sweep: string) {
  const runs = await runsOf(sweep);
  return await Promise.all(runs.map(async ({ strategy, pruning_level, seed, state, folder }) => {
    const path = (name: string) => join(sweep, folder, name);
    const { execution_time_s: _, ...results } = JSON.parse(
      await Deno.readTextFile(path("results.json")),
    );
    return {
      ...{ strategy, pruning_level, seed, state, results },
      metrics: await Deno.readTextFile(path("metrics.jsonl")),
      weights: await Deno.readFile(path("model/model.safetensors")),
    };
  }));
}

/** One uninterrupted sweep, shared by the tests below. */
const whole = await (async () => {
  const ends: string[] = [];
  const sweep = await Sweep.start(options, {
    gpu,
    onRunEnd: ({ strategy, pruning_level, state }, index) =>
      ends.push(`${index} ${strategy} ${pruning_level} ${state}`),
  });
  const waiting = await runsOf(sweep.dir);
  return { sweep, ends, waiting, record: await sweep.run() };
})();

Deno.test("the grid runs in order, each a run of its own, with a page that compares them", async () => {
  const { sweep, ends, waiting, record } = whole;
  assert.deepEqual(
    waiting.map(({ state, folder }) => `${folder} ${state}`),
    [
      ...["importance-0.25-seed1 waiting", "random-0.25-seed1 waiting"],
      ...["importance-0.5-seed1 waiting", "random-0.5-seed1 waiting"],
    ],
  );
  assert.deepEqual(ends, [
    "0 importance 0.25 finished",
    "1 random 0.25 finished",
    "2 importance 0.5 finished",
    "3 random 0.5 finished",
  ]);
  assert.deepEqual(await runsOf(sweep.dir), record.runs);
  for (const { strategy, pruning_level, seed, folder } of record.runs) {
    const config = JSON.parse(await Deno.readTextFile(join(sweep.dir, folder, "config.json")));
    assert.deepEqual(
      [config.strategy, config.pruning_level, config.seed, config.warmup_steps],
      [strategy, pruning_level, seed, 3],
    );
    await Deno.stat(join(sweep.dir, folder, "report.html"));
  }
  const page = await Deno.readTextFile(sweep.page);
  assert.match(page, /4 runs: 4 finished\./);
  assert.match(page, /With one seed there is no spread: the order is not settled/);
  await Deno.stat(join(sweep.dir, "figures", "comparison.svg"));
});

Deno.test("random pruning beside two strategies is the same run", async () => {
  const [own, random] = await outcome(whole.sweep.dir);
  assert.equal(own.results.random_pruning_loss, random.results.random_pruning_loss);
  assert.equal(own.results.unpruned_twin_loss, random.results.unpruned_twin_loss);
  assert.notEqual(own.results.final_loss, random.results.final_loss);
});

Deno.test("stopped within a run and gone on with, a sweep ends with the same bits", async () => {
  const stop = new AbortController();
  const bytes = gpu.bytes;
  let at = -1;
  const first = await Sweep.start(options, {
    gpu,
    onRunStart: (_, index) => at = index,
    onProgress: ({ step }) => at === 1 && step >= 5 && stop.abort(),
  });
  await assert.rejects(first.run(stop.signal), { name: "AbortError" });
  assert.equal(gpu.bytes, bytes, "nothing of it is left on the device");
  const states = (await runsOf(first.dir)).map(({ state }) => state);
  assert.deepEqual(states, ["finished", "stopped", "waiting", "waiting"]);

  const begun: number[] = [];
  const second = await Sweep.resume(first.dir, {
    gpu,
    onRunStart: (_, index) => begun.push(index),
  });
  await second.run();
  assert.deepEqual(begun, [1, 2, 3], "what has finished is kept");
  assert.equal([...Deno.readDirSync(first.dir)].filter((entry) => entry.isDirectory).length, 4 + 1);
  assert.deepEqual(await outcome(first.dir), await outcome(whole.sweep.dir));
});

Deno.test("killed before it had drawn a run's report, a sweep does not run it twice", async () => {
  const copy = join(dir, "copy");
  await copyFolder(whole.sweep.dir, copy);
  const [, , third] = await runsOf(copy);
  await Deno.remove(join(copy, third.folder, "report.html"));
  const started = await Deno.readTextFile(join(copy, third.folder, "results.json"));
  const sweep = await Sweep.resume(copy, {
    gpu,
    onProgress: () => assert.fail("nothing is trained"),
  });
  const { runs } = await sweep.run();
  assert.deepEqual(runs.map(({ state }) => state), Array(4).fill("finished"));
  assert.equal(await Deno.readTextFile(join(copy, third.folder, "results.json")), started);
  await Deno.stat(join(copy, third.folder, "report.html"));
});

Deno.test("a run whose folder was deleted is run anew, with the same bits; the page follows each run", async () => {
  const copy = join(dir, "deleted");
  await copyFolder(whole.sweep.dir, copy);
  const [first] = await runsOf(copy);
  await Deno.remove(join(copy, first.folder), { recursive: true });
  await Deno.remove(join(copy, "report.html"));
  const pages: boolean[] = [];
  const sweep = await Sweep.resume(copy, {
    gpu,
    onRunEnd: () => pages.push(existsSync(join(copy, "report.html"))),
  });
  await sweep.run();
  assert.deepEqual(pages, [true], "one run, and its page");
  assert.deepEqual(await outcome(copy), await outcome(whole.sweep.dir));
});

Deno.test("a run that fails is recorded, the next ones run, and it is tried again", async () => {
  const away = `${textFile}.away`;
  const config: SweepConfig = {
    gpu,
    onRunStart: (_, index) => index === 1 && Deno.renameSync(textFile, away),
    onRunEnd: (_, index) => index === 1 && Deno.renameSync(away, textFile),
  };
  const sweep = await Sweep.start({ ...options, levels: [0.25], seeds: [1, 2] }, config);
  const { runs } = await sweep.run();
  assert.deepEqual(runs.map(({ state }) => state), ["finished", "failed", "finished", "finished"]);
  assert.match(runs[1].message!, /text\.txt/);
  assert.ok(!existsSync(join(sweep.dir, runs[1].folder)), "it failed before it had a folder");
  assert.match(await Deno.readTextFile(sweep.page), /4 runs: 3 finished, 1 failed\./);

  const again = await Sweep.resume(sweep.dir, { gpu });
  const after = await again.run();
  assert.deepEqual(after.runs.map(({ state }) => state), Array(4).fill("finished"));
  assert.equal(after.runs[1].message, undefined);
  const [, random] = await outcome(sweep.dir);
  assert.deepEqual(random, (await outcome(whole.sweep.dir))[1]);
});

Deno.test("a device that is lost is replaced, and its run goes on from its checkpoint", async () => {
  const own = await Gpu.open();
  let at = -1, lost = false;
  const sweep = await Sweep.start({ ...options, levels: [0.5] }, {
    gpu: own,
    onRunStart: (_, index) => at = index,
    onProgress({ step }) {
      if (at !== 0 || step < 3 || lost) return;
      lost = true;
      own.device.destroy();
    },
  });
  const { runs } = await sweep.run();
  assert.deepEqual(runs.map(({ state }) => state), ["failed", "finished"]);
  assert.match(runs[0].message!, /device was lost/);
  const [first] = await runsOf(sweep.dir);
  assert.deepEqual([first.state, first.message], ["failed", runs[0].message], "its folder tells");
  const again = await Sweep.resume(sweep.dir, { gpu });
  await again.run();
  const expected = (await outcome(whole.sweep.dir)).slice(2);
  assert.deepEqual(await outcome(sweep.dir), expected);
});

Deno.test("bad options, a bad model and a folder that is no sweep's leave nothing", async () => {
  const output_dir = join(dir, "untouched");
  const start = (given: Partial<SweepOptions>) => Sweep.start({ ...options, output_dir, ...given });
  await assert.rejects(start({ levels: [0.1, 1.3] }), /levels must be between 0 and 1: 1\.3/);
  await assert.rejects(start({ levels: [] }), /levels must be a list of one value or more: \[\]/);
  await assert.rejects(start({ seeds: [1, 2, 1] }), /seeds must not name one twice: 1/);
  await assert.rejects(start({ max_length: 999 }), /at most the model's 32 positions long: 999/);
  await assert.rejects(start({ model_name: join(dir, "none") }), /none/);
  await assert.rejects(Deno.stat(output_dir), Deno.errors.NotFound);
  await assert.rejects(
    Sweep.resume(dir),
    /is not a folder that a sweep made: it has no sweep\.json/,
  );
  await Deno.writeTextFile(join(dir, SWEEP_FILE), "{}");
  await assert.rejects(Sweep.resume(dir), /sweep\.json line 1: format is missing$/);
});

Deno.test("a plan of an older Pollard is read, and its runs continue in their folders", async () => {
  const copy = join(dir, "older");
  await copyFolder(whole.sweep.dir, copy);
  const { options: own, runs } = await readSweep(copy);
  const folders = runs.map(({ folder }) => `2026-01-02-030405-${folder}`);
  for (const [i, { folder }] of runs.entries()) {
    await Deno.rename(join(copy, folder), join(copy, folders[i]));
  }
  await Deno.remove(join(copy, folders[3], "results.json"));
  const older = runs.map(({ folder: _, ...run }, i) => ({
    ...run,
    ...(i === 1 ? { state: "waiting" } : { state: "running", folder: folders[i] }),
  }));
  const write = (runs: unknown[]) =>
    Deno.writeTextFile(join(copy, SWEEP_FILE), JSON.stringify({ format: 1, options: own, runs }));
  await write(older);
  const states = ["finished", "waiting", "finished", "stopped"];
  assert.deepEqual((await runsOf(copy)).map(({ state }) => state), states);
  await (await Sweep.resume(copy, { gpu })).run();
  assert.deepEqual(await outcome(copy), await outcome(whole.sweep.dir));

  for (const folder of ["..", "../older", "/", "a/b", "a\\b", "", 7]) {
    await write([{ ...older[0], folder }]);
    await assert.rejects(
      Sweep.resume(copy),
      /sweep\.json line 1: runs\[0\]\.folder must be (the name of a folder inside|a text)/,
    );
  }
  await write([{ ...older[0], folder: "link" }]);
  await Deno.symlink(whole.sweep.dir, join(copy, "link"));
  await assert.rejects(Sweep.resume(copy), /link is a link that leads out of the sweep's folder/);
});

Deno.test("a second sweep in the same folder is refused; a run in other hands is left to them", async () => {
  const sweep = await Sweep.start({ ...options, levels: [0.5] }, { gpu });
  using _ = await lockFolder(sweep.dir);
  await assert.rejects(sweep.run(), LockedError);
  assert.deepEqual((await runsOf(sweep.dir)).map(({ state }) => state), ["waiting", "waiting"]);
  _.dispose();

  const taken = join(sweep.dir, sweep.runs[0].folder), said: string[] = [];
  await Deno.mkdir(taken);
  const lock = await lockFolder(taken);
  const other = await Sweep.resume(sweep.dir, { gpu, onMessage: (line) => said.push(line) });
  const { runs } = await other.run();
  assert.deepEqual(runs.map(({ state }) => state), ["running", "finished"]);
  assert.match(
    said.join("\n"),
    /importance-0\.5-seed1 is left out: process \d+ on .* is running it/,
  );
  assert.match(await Deno.readTextFile(other.page), /2 runs: 1 unfinished, 1 finished\./);
  lock.dispose();
  const after = await (await Sweep.resume(sweep.dir, { gpu })).run();
  assert.deepEqual(after.runs.map(({ state }) => state), ["finished", "finished"]);
  assert.deepEqual(await outcome(sweep.dir), (await outcome(whole.sweep.dir)).slice(2));
});

Deno.test("options: every option of the experiment is there but what the lists vary", async () => {
  assert.deepEqual(checkSweepOptions(), SWEEP_DEFAULTS);
  assert.deepEqual(Object.keys(SWEEP_DEFAULTS).sort(), Object.keys(SWEEP_RULES).sort());
  assert.equal(planSweep(checkSweepOptions()).length, 12);
  const { runs } = await prepareSweep({ ...options, strategies: ["oracle"], seeds: [7, 3] });
  assert.deepEqual(runs.map(({ seed, pruning_level }) => `${seed} ${pruning_level}`), [
    ...["7 0.25", "7 0.5", "3 0.25", "3 0.5"],
  ]);
});

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(join(from, name), join(to, basename(name)));
    else await Deno.copyFile(join(from, name), join(to, name));
  }
}

Deno.test("a model that does not fit on the adapter is refused once, and nothing is written", async () => {
  using small = await Gpu.open({ maxBinding: 10_000 });
  const output_dir = join(dir, "none");
  await assert.rejects(Sweep.start({ ...options, output_dir }, { gpu: small }), {
    name: "RangeError",
    message: /would bind .* kB at once, and this adapter binds 10\.0 kB/,
  });
  assert.ok(!existsSync(output_dir));
});
