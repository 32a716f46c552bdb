/** A sweep as a plan: workers that share its lines, killed and interrupted, and what they leave. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readSweep } from "../src/report/sweep_folder.ts";
import { runScript } from "./script.ts";
import { until } from "./processes.ts";
import { outcome, outcomeOf, states, tinyGrid } from "./sweep_outcome.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny();
const ground = join(dir, "it's a $HOME");
await Deno.mkdir(ground);

const GRID = tinyGrid({ modelDir, textFile, output: ground, seeds: "1,2", steps: 12 });

/** Makes a plan of four runs. @returns Its file, and the sweep's folder. */
async function makePlan(name: string): Promise<{ plan: string; sweep: string }> {
  const plan = join(ground, name);
  const options = ["--run_name", "many", "--plan", plan, "--json"];
  const { code, stdout, stderr } = await runScript("sweep", ...GRID, ...options);
  assert.equal(code, 0, stderr);
  const { sweep } = JSON.parse(stdout);
  assert.match(sweep, /-many(-\d+)?$/);
  return { plan, sweep };
}

/** A worker that carries out a file of commands, in another folder. */
function shell(...args: string[]) {
  const options = { cwd: "/", stdout: "null", stderr: "piped", env: { NO_COLOR: "1" } } as const;
  return new Deno.Command("sh", { args, ...options });
}

const posix = { ignore: Deno.build.os === "windows" };

/** One worker, never stopped; shared by the tests below. */
const whole = posix.ignore ? undefined : await (async () => {
  const made = await makePlan("whole.txt");
  const { code, stderr } = await shell(made.plan).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return made;
})();

Deno.test({
  name: "a plan's lines run from any folder, whatever its path holds; done twice, nothing changes",
  ...posix,
  async fn() {
    const { plan, sweep } = whole!;
    assert.deepEqual(await states(sweep), Array(4).fill("finished"));
    assert.equal((await Deno.readTextFile(plan)).trimEnd().split("\n").length, 4);
    const before = await outcome(sweep);
    const again = await shell(plan).output();
    assert.equal(again.code, 0);
    assert.match(new TextDecoder().decode(again.stderr), /nothing is left to do/);
    assert.deepEqual(await outcome(sweep), before);

    const refused = await runScript("sweep", ...GRID, "--plan", plan);
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /whole\.txt is there already: name another file/);
    const anew = await runScript("sweep", "--resume", sweep, "--plan", "-");
    assert.equal(anew.stdout, await Deno.readTextFile(plan));
  },
});

Deno.test({
  name: "two workers on one plan, one of them killed: each run is run once, with the same bits",
  ...posix,
  async fn() {
    const { plan, sweep } = await makePlan("shared.txt");
    const [first] = (await readSweep(sweep)).runs;
    const killed = shell(plan).spawn(), drained = killed.stderr.cancel();
    const lock = join(sweep, first.folder, "pollard.lock");
    const metrics = join(sweep, first.folder, "metrics.jsonl");
    await until("training", async () => (await Deno.stat(metrics).catch(() => null))?.size! > 0);
    const other = shell(plan).output();
    await until("the second run", async () => (await states(sweep))[1] === "running");
    const { pid } = JSON.parse(await Deno.readTextFile(lock));
    killed.kill("SIGKILL");
    Deno.kill(pid, "SIGKILL");
    await Promise.all([killed.status, drained]);
    const { stderr } = await other;
    assert.match(new TextDecoder().decode(stderr), new RegExp(`in use by process ${pid} on`));
    assert.deepEqual((await states(sweep)).slice(1), Array(3).fill("finished"));

    const collected = await runScript("sweep", "--collect", sweep);
    assert.equal(collected.code, 0, collected.stderr);
    assert.match(collected.stderr, /1 run of 4 left out:\n {2}importance-0\.25-seed1: unfinished/);
    const last = await shell(plan).output();
    assert.equal(last.code, 0, new TextDecoder().decode(last.stderr));
    assert.deepEqual(await outcome(sweep), await outcome(whole!.sweep));
  },
});

Deno.test({
  name:
    "a run that was killed before it had begun, begins; a line's own folder is never taken over",
  ...posix,
  async fn() {
    const { plan, sweep } = await makePlan("begun.txt");
    const [first, second] = (await readSweep(sweep)).runs;
    const [line, next] = (await Deno.readTextFile(plan)).split("\n");
    const half = join(sweep, first.folder), foreign = join(sweep, second.folder);
    await Deno.mkdir(half);
    for (const name of ["pollard-run.json", "metrics.jsonl"]) {
      await Deno.copyFile(join(whole!.sweep, first.folder, name), join(half, name));
    }
    await Deno.writeTextFile(join(half, "config.json.tmp-1"), "{");
    const { code, stderr } = await shell("-c", line).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.deepEqual(await outcomeOf(half), await outcomeOf(join(whole!.sweep, first.folder)));
    await Deno.mkdir(foreign);
    await Deno.writeTextFile(join(foreign, "notes.txt"), "mine");
    const refused = await shell("-c", next).output();
    assert.equal(refused.code, 2);
    assert.match(new TextDecoder().decode(refused.stderr), /it holds notes\.txt already/);
  },
});
