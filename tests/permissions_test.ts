/** Tasks run with the permissions that they name, and with fewer where a user grants fewer. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { saveModel } from "../src/data/save_model.ts";
import { initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const { tasks } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json"))) as {
  tasks: Record<string, string | { command?: string }>;
};

/** What a task gives its script, and the script. */
function flagsOf(name: string): { flags: string[]; script: string } {
  const task = tasks[name];
  const command = typeof task === "string" ? task : task.command!;
  const words = command.split(" ");
  assert.deepEqual(words.slice(0, 2), ["deno", "run"]);
  return { flags: words.slice(2, -1), script: words.at(-1)! };
}

async function run(flags: string[], script: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", ...flags, script, ...args],
    cwd: ROOT,
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

const TINY = [
  ...["--warmup_steps", "2", "--finetuning_steps", "2", "--cycles", "1", "--eval_freq", "2"],
  ...["--batch_size", "2", "--max_length", "16", "--eval_tokens", "64", "--test_tokens", "64"],
  "--no_controls",
];

async function inFolder(action: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "pollard-permissions-" });
  try {
    await action(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("no task of a user but doctor may start programs, and only those that open models may load native libraries", () => {
  const names = Object.keys(tasks).filter((name) => {
    const task = tasks[name];
    return / scripts\/\w+\.ts$/.test(typeof task === "string" ? task : task.command ?? "");
  });
  assert.ok(names.length >= 12, `${names}`);
  for (const name of names) {
    const { flags } = flagsOf(name);
    assert.ok(flags.length > 0 && flags.every((flag) => flag.startsWith("--allow-")), name);
    assert.doesNotMatch(flags.join(" "), /--allow-all/, name);
    assert.equal(flags.includes("--allow-run"), name === "doctor", name);
  }
  for (const name of ["report", "doctor"]) {
    assert.doesNotMatch(flagsOf(name).flags.join(" "), /--allow-(net|ffi)/, name);
  }
});

Deno.test("doctor lists every adapter with the permissions of its task", async () => {
  const { flags, script } = flagsOf("doctor");
  const { code, stdout, stderr } = await run(flags, script, "--all", "--json");
  assert.equal(code, 0, stderr);
  assert.ok(JSON.parse(stdout).adapters.length > 0, stdout);
});

Deno.test("the main job runs, writing to its folder alone and without the network", () =>
  inFolder(async (dir) => {
    const { flags, script } = flagsOf("experiment");
    const least = flags.filter((flag) => !["--allow-net", "--allow-ffi"].includes(flag))
      .map((flag) => flag === "--allow-write" ? `--allow-write=${dir}` : flag);
    const docs = await Deno.readTextFile(join(ROOT, "docs/run-folder.md"));
    const told = least.map((flag) => flag.replace(dir, "runs")).join(" ");
    assert.ok(docs.includes(`deno run ${told} ${script}`), `the page names ${told}`);

    const own = join(dir, "run");
    const done = await run(least, script, ...TINY, "--run_dir", own);
    assert.equal(done.code, 0, done.stderr);
    const report = flagsOf("report");
    const drawn = await run(report.flags, report.script, own);
    assert.equal(drawn.code, 0, drawn.stderr);

    const elsewhere = await Deno.makeTempDir({ prefix: "pollard-denied-" });
    try {
      const args = [...TINY, "--output_dir", elsewhere];
      const denied = await run(least, script, ...args);
      assert.notEqual(denied.code, 0);
      assert.match(denied.stderr, /Requires write access/);
      assert.doesNotMatch(denied.stderr, /mistake in Pollard/);
      assert.deepEqual([...Deno.readDirSync(elsewhere)], []);
      const named = [...TINY, "--run_dir", join(dir, "hub"), "--model_name", "nobody/nothing"];
      const offline = await run([...least, "--allow-write"], script, ...named);
      assert.notEqual(offline.code, 0);
      assert.match(offline.stderr, /net access/);
    } finally {
      await Deno.remove(elsewhere, { recursive: true });
    }
  }));

Deno.test("evaluate computes a tokenizer of another kind, and says what it lacks without --allow-ffi", () =>
  inFolder(async (dir) => {
    const config = makeConfig({ L: 1, NH: 1, C: 4, V: 3, T: 8 });
    const model = { type: "WordLevel", vocab: { the: 0, cat: 1, "[UNK]": 2 }, unk_token: "[UNK]" };
    const tokenizerJson = { model, pre_tokenizer: { type: "WhitespaceSplit" } };
    const live = [[0]], weights = initWeights(config, 1);
    await saveModel(join(dir, "words"), { config, live, weights, tokenizerJson });
    await Deno.writeTextFile(join(dir, "text.txt"), "the cat the zebra ".repeat(20));
    const { flags, script } = flagsOf("evaluate");
    const args = [
      "--model_name",
      join(dir, "words"),
      "--text_file",
      join(dir, "text.txt"),
      "--json",
    ];
    const done = await run(flags, script, ...args);
    assert.equal(done.code, 0, done.stderr);
    assert.equal(JSON.parse(done.stdout).tokens, 80);
    const denied = await run(flags.filter((flag) => flag !== "--allow-ffi"), script, ...args);
    assert.equal(denied.code, 2, denied.stderr);
    assert.match(denied.stderr, /tokenizer.json is not of GPT-2's kind, .*--allow-ffi/);
  }));

Deno.test("what tasks write by default is ignored by Git, and is no part of the package", async () => {
  const ignored = (await Deno.readTextFile(join(ROOT, ".gitignore"))).split("\n");
  const sources = ["src/experiment/options.ts", "src/experiment/integration_options.ts"]
    .concat(["src/experiment/sweep_options.ts", "src/experiment/upgrade_options.ts"])
    .concat(["scripts/bakeoff.ts", "scripts/pretrain_command.ts"]);
  const { exclude } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  const folders = new Set<string>();
  for (const source of sources) {
    const text = await Deno.readTextFile(join(ROOT, source));
    const [, folder] = /^ {2}output_dir: "(\w+)",$/m.exec(text) ??
      /--output_dir <dir>"[^;]*?\.default\("(\w+)"\)/.exec(text) ?? [];
    assert.ok(folder, `${source} has no default folder`);
    folders.add(folder);
  }
  assert.ok(folders.size >= 4, `${[...folders]}`);
  for (const folder of folders) {
    assert.ok(ignored.includes(`${folder}/`), `${folder}/ is not in .gitignore`);
    assert.ok(exclude.includes(folder), `${folder} is not excluded in deno.json`);
  }
  assert.ok(ignored.includes("/*-compact/"));
});
