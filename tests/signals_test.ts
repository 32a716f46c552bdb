/** The experiment as a process that is stopped: by Ctrl-C, and by a kill that it cannot notice. */
import assert from "node:assert/strict";
import { join } from "node:path";

const SCRIPT = new URL("../scripts/neural_plasticity_controller_experiment.ts", import.meta.url);
const OPTIONS = [
  ...["--warmup_steps", "4", "--finetuning_steps", "12", "--cycles", "2", "--eval_freq", "6"],
  ...["--batch_size", "2", "--max_length", "16", "--eval_tokens", "64", "--test_tokens", "64"],
  ...["--controller_update_freq", "5", "--seed", "3", "--no_controls"],
];

/** Starts the experiment in a folder; `args` come after the script's name. */
function start(cwd: string, args: string[], script = SCRIPT) {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script.href, ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits until stderr shows a text, then sends the signal, and returns the rest. */
async function stopAt(
  child: Deno.ChildProcess,
  text: string,
  signal: Deno.Signal,
): Promise<{ code: number; stderr: string }> {
  let stderr = "", sent = false;
  const decoder = new TextDecoder();
  const out = child.stdout.cancel();
  for await (const bytes of child.stderr) {
    stderr += decoder.decode(bytes, { stream: true });
    if (!sent && stderr.includes(text)) {
      child.kill(signal);
      sent = true;
    }
  }
  await out;
  assert.ok(sent, `it ended before it said ${text}: ${stderr}`);
  return { code: (await child.status).code, stderr };
}

async function finish(cwd: string, args: string[]): Promise<void> {
  const { code, stderr } = await start(cwd, args).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

/** The single run in a folder: its path, and what must not depend on how often it was stopped. */
async function result(
  cwd: string,
): Promise<{ run: string; numbers: unknown; weights: Uint8Array }> {
  const runs = [...Deno.readDirSync(join(cwd, "runs"))].map(({ name }) => join(cwd, "runs", name));
  assert.equal(runs.length, 1);
  const [run] = runs;
  const results = JSON.parse(await Deno.readTextFile(join(run, "results.json")));
  const { execution_time_s: _, ...numbers } = results;
  return { run, numbers, weights: await Deno.readFile(join(run, "model", "model.safetensors")) };
}

Deno.test({
  name: "stopped by Ctrl-C or killed, an experiment that goes on ends with the same bits",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folders: string[] = [];
    const folder = async () => {
      folders.push(await Deno.makeTempDir({ prefix: "pollard-signals-" }));
      return folders[folders.length - 1];
    };
    try {
      const whole = await folder();
      await finish(whole, OPTIONS);
      const expected = await result(whole);

      const signals = [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129], [
        "SIGKILL",
        137,
      ]] as const;
      for (const [signal, code] of signals) {
        const cwd = await folder();
        const stopped = await stopAt(start(cwd, OPTIONS), "cycle 1: pruned", signal);
        assert.equal(stopped.code, code, stopped.stderr);
        const [{ name }] = [...Deno.readDirSync(join(cwd, "runs"))];
        if (signal !== "SIGKILL") assert.match(stopped.stderr, /--resume/);
        await finish(cwd, ["--resume", join("runs", name)]);
        const { numbers, weights } = await result(cwd);
        assert.deepEqual(numbers, expected.numbers);
        assert.deepEqual(weights, expected.weights);
      }
    } finally {
      for (const dir of folders) await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "stopped by Ctrl-C, a sweep says how to go on, and keeps what it has",
  ignore: Deno.build.os === "windows",
  async fn() {
    const cwd = await Deno.makeTempDir({ prefix: "pollard-signals-" });
    const script = new URL("../scripts/sweep.ts", import.meta.url);
    const grid = ["--strategies", "importance,random", "--levels", "0.3", "--seeds", "3"];
    const shared = OPTIONS.slice(0, OPTIONS.indexOf("--seed"));
    try {
      const child = start(cwd, [...grid, ...shared, "--no_controls"], script);
      const { code, stderr } = await stopAt(child, "1 run left", "SIGINT");
      assert.equal(code, 130, stderr);
      const [, dir] = /Continue with: deno task sweep --resume (\S+)/.exec(stderr)!;
      const { stdout } = await start(cwd, ["--resume", dir, "--dry_run"], script).output();
      const plan = new TextDecoder().decode(stdout);
      assert.match(plan, /; 1 finished before/);
      assert.match(plan, /importance-0\.3-seed3 +finished\n +random-0\.3-seed3 +(stopped|waiting)/);
    } finally {
      await Deno.remove(cwd, { recursive: true });
    }
  },
});
