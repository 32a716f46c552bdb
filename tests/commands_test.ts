/** The commands as a user calls them: what they print, and how they refuse. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { makeRun } from "./comparison_fixture.ts";
import { fixtureUrl } from "./fixtures.ts";

/** Runs a script of the project in an empty folder. */
async function run(script: string, ...args: string[]) {
  const cwd = await Deno.makeTempDir({ prefix: "pollard-commands-" });
  try {
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", new URL(`../scripts/${script}.ts`, import.meta.url).href, ...args],
      cwd,
      env: { NO_COLOR: "1" },
    });
    const { code, stdout, stderr } = await command.output();
    const left = [...Deno.readDirSync(cwd)].map(({ name }) => name);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr), left };
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

Deno.test("evaluate prints one JSON line, and generate the same text for the same seed", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-text-" });
  const file = join(dir, "text.txt");
  await Deno.writeTextFile(
    file,
    "Call me Ishmael. Some years ago, never mind how long precisely. ".repeat(20),
  );
  const { code, stdout } = await run(
    "evaluate",
    "--text_file",
    file,
    "--stride=64",
    "--max-length",
    "96",
    "--json",
  );
  assert.equal(code, 0);
  assert.equal(stdout.trim().split("\n").length, 1);
  const { loss, perplexity, tokens, predicted } = JSON.parse(stdout);
  assert.ok(loss > 0 && loss < Math.log(1024), `a trained model's loss: ${loss}`);
  assert.ok(Math.abs(perplexity - Math.exp(loss)) < 1e-6 * perplexity);
  assert.equal(predicted, tokens - 1);
  await Deno.remove(dir, { recursive: true });

  const args = ["--prompt", "The whale", "--max_new_tokens", "12", "--json"];
  const first = await run("generate", ...args), second = await run("generate", ...args);
  assert.equal(first.stdout, second.stdout);
  const other = await run("generate", ...args, "--seed", "7");
  const { text } = JSON.parse(first.stdout);
  assert.notEqual(text, JSON.parse(other.stdout).text);
  assert.equal((await run("generate", ...args.slice(0, -1))).stdout, `The whale${text}\n`);
  const two = ["--prompt", "It was", "--stop", "\n\n", "--repetition-penalty", "1.1"];
  const several = await run("generate", ...args, ...two);
  const lines = several.stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(lines.map(({ prompt }) => prompt), ["The whale", "It was"]);
  const listed = await run("generate", ...args.slice(0, -1), ...two);
  const shown = lines.map(({ prompt, text }, i) => `[${i + 1}] ${prompt}${text}\n`);
  assert.equal(listed.stdout, shown.join(""));
});

Deno.test("the README's first program runs as it stands there, and the others have its types", async () => {
  const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
  const [program, ...others] = readme.match(/(?<=```ts\n)[^]*?(?=```)/g)!;
  const dir = await Deno.makeTempDir({ prefix: "pollard-readme-" });
  try {
    const module = new URL("../mod.ts", import.meta.url).href;
    await Deno.writeTextFile(join(dir, "program.ts"), program.replace("./mod.ts", module));
    assert.ok(others.length > 0);
    const names = others.map((_, i) => `other${i}.ts`);
    for (const [i, other] of others.entries()) {
      await Deno.writeTextFile(join(dir, names[i]), other.replace("./mod.ts", module));
    }
    const check = new Deno.Command(Deno.execPath(), { args: ["check", ...names], cwd: dir });
    assert.ok((await check.output()).success);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--check", "program.ts"],
      cwd: dir,
      env: { NO_COLOR: "1" },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    assert.equal(code, 0, text(stderr));
    assert.equal(text(stdout).match(/gradNorm/g)?.length, 10, text(stdout));
    assert.equal(text(stdout).match(/rank/g)?.length, 3, text(stdout));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a sweep's dry run prints the plan and writes nothing", async () => {
  const grid = ["--strategies", "importance, random", "--levels=0.1,0.3", "--seeds", "1,2,3"];
  const plain = await run("sweep", ...grid, "--dry_run");
  assert.equal(plain.code, 0, plain.stderr);
  assert.match(
    plain.stdout,
    /^12 runs: importance, random x 2 levels x 3 seeds; each has 30 \+ 2 x 20/,
  );
  assert.match(plain.stdout, /^ {2}random-0\.3-seed3 +waiting$/m);
  assert.match(plain.stdout, /Nothing was written\.\n$/);
  assert.deepEqual(plain.left, []);
  const json = await run("sweep", ...grid, "--dry-run", "--json");
  const { runs, options } = JSON.parse(json.stdout);
  assert.equal(runs.length, 12);
  assert.deepEqual(options.strategies, ["importance", "random"]);
});

Deno.test("a sweep with a failed run ends with exit code 1, a list, and a page", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-sweep-" });
  try {
    await Deno.mkdir(join(dir, "damaged"));
    await Deno.writeTextFile(join(dir, "damaged", "notes.txt"), "mine");
    const failing = { strategy: "importance", pruning_level: 0.3, seed: 1, state: "running" };
    await Deno.writeTextFile(
      join(dir, "sweep.json"),
      JSON.stringify({ format: 1, options: {}, runs: [{ ...failing, folder: "damaged" }] }),
    );
    const { code, stdout, stderr } = await run("sweep", "--resume", dir);
    assert.equal(code, 1, stderr);
    assert.match(
      stderr,
      /1 run of 1 failed:\n {2}importance-0\.3-seed1: .*damaged cannot become a run's folder: it holds/,
    );
    assert.match(stderr, /Try them once more with: deno task sweep --resume /);
    assert.match(stdout, /^None of 1 run can be compared yet/);
    assert.match(await Deno.readTextFile(join(dir, "report.html")), /1 failed/);
    assert.equal(await Deno.readTextFile(join(dir, "damaged", "notes.txt")), "mine");
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("report compares several runs, and draws a sweep's comparison again", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-compare-" });
  try {
    const a = await makeRun(dir, "a", { loss: 4.01, twin: 4, random: 4.1 });
    const b = await makeRun(dir, "b", { strategy: "entropy", loss: 4.02, twin: 4, random: 4.1 });
    const several = await run("report", a, b, "--output", join(dir, "both"));
    assert.equal(several.code, 0, several.stderr);
    assert.equal(several.stdout.trim(), join(dir, "both", "report.html"));
    assert.match(await Deno.readTextFile(several.stdout.trim()), /then comes entropy: \+0\.0200/);
    const into = await run("report", a, b, "--output", a);
    assert.equal(into.code, 2);
    assert.match(into.stderr, /is the folder of a run, whose own report is there/);
    const waiting = { strategy: "entropy", pruning_level: 0.25, seed: 2, state: "waiting" };
    await Deno.writeTextFile(
      join(dir, "sweep.json"),
      JSON.stringify({ format: 1, options: {}, runs: [waiting] }),
    );
    const sweep = await run("report", dir);
    assert.equal(sweep.code, 0, sweep.stderr);
    assert.match(await Deno.readTextFile(join(dir, "report.html")), /1 waiting/);
    const over = await run("report", a, b);
    assert.equal(over.code, 2);
    assert.match(over.stderr, /is the folder of a sweep, whose own report is there/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("report runs/* works twice: what is no run folder is left out with a line", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-all-" });
  try {
    await makeRun(dir, "a", { loss: 4.01, twin: 4 });
    await makeRun(dir, "b", { loss: 4.02, twin: 4, seed: 2 });
    await Deno.mkdir(join(dir, "empty"));
    await Deno.mkdir(join(dir, "grid"));
    await Deno.writeTextFile(join(dir, "grid", "sweep.json"), "{}");
    const all = () => [...Deno.readDirSync(dir)].map(({ name }) => join(dir, name)).sort();
    const first = await run("report", ...all());
    assert.equal(first.code, 0, first.stderr);
    const report = join(dir, "report.html");
    const page = await Deno.readTextFile(report);
    assert.equal(all().length, 7, "report.html, comparison.json and figures/ came on top");

    const second = await run("report", ...all());
    assert.equal(second.code, 0, second.stderr);
    const lines = second.stderr.split("\n");
    for (
      const [name, why] of [
        ["empty", "it is not a run folder: it has no config.json"],
        ["figures", "it is not a run folder: it has no config.json"],
        ["grid", "it is a sweep's folder: name it alone, or name the run folders in it"],
        ["comparison.json", "it is a file"],
        ["report.html", "it is a file"],
      ]
    ) assert.ok(lines.includes(`${join(dir, name)} is left out: ${why}`), second.stderr);
    assert.equal(await Deno.readTextFile(report), page);

    const none = await run("report", join(dir, "empty"), join(dir, "figures"));
    assert.equal(none.code, 2);
    assert.match(none.stderr, /there is no run folder among what was named: /);
    const gone = await run("report", join(dir, "a"), join(dir, "gone"));
    assert.equal(gone.code, 2);
    assert.match(gone.stderr, /no folder at .*gone$/m);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("report names the line of a record of the wrong kind", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-wrong-" });
  try {
    const a = await makeRun(dir, "a", { loss: 4.01, twin: 4 });
    const rows = [`{"step":1e9,"event":"prune","layer":1000000000,"head":0,"arm":"pruned"}`];
    await Deno.writeTextFile(join(a, "events.jsonl"), rows.join("\n") + "\n");
    const { code, stderr } = await run("report", a);
    assert.equal(code, 2);
    assert.match(stderr, /events\.jsonl line 1: .* (is missing|must be .*)/);
    assert.doesNotMatch(stderr, /mistake in Pollard/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

const REFUSED: [string, string[], RegExp][] = [
  ["evaluate", ["--text_file", "none.txt"], /none\.txt/],
  ["evaluate", [], /text_file is needed/],
  ["evaluate", ["--text", "my.txt"], /unknown option '--text'/],
  [
    "evaluate",
    ["--text_file", "moby_dick", "--model_name", "http://127.0.0.1:1/x"],
    /http:\/\/127\.0\.0\.1:1\/x\/.* cannot be reached/,
  ],
  [
    "evaluate",
    ["--text_file", "moby_dick", "--max_length", "129"],
    /between 1 and the model's 128 positions: 129/,
  ],
  ["evaluate", ["--text_file", "moby_dick", "--model_name", "no-such-model"], /no-such-model/],
  ["evaluate", ["--text_file", "moby_dick", "--frobnicate"], /frobnicate/],
  [
    "evaluate",
    ["--text_file", fixtureUrl("texts/rows-snappy.parquet").pathname, "--text_column", "body"],
    /has no column body: it has id, text, same, maybe, words; name one of them as --text_column/,
  ],
  ["generate", ["--max_new_tokens", "500"], /max_new_tokens must be at most \d+/],
  ["generate", ["--temperature", "-1"], /temperature/],
  ["generate", ["--repetition_penalty", "0"], /repetition_penalty must be above 0/],
  ["generate", ["--stop", ""], /stop must not be empty/],
  ["generate", ["--prompts_file", "nowhere.txt"], /nowhere\.txt/],
  [
    "neural_plasticity_controller_experiment",
    ["--pruning_level", "1.3"],
    /pruning_level must be between 0 and 1: 1\.3/,
  ],
  ["neural_plasticity_controller_experiment", ["--strategy", "best"], /strategy must be one of/],
  [
    "neural_plasticity_controller_experiment",
    ["--resume", "nowhere"],
    /no folder at .*nowhere$/m,
  ],
  [
    "neural_plasticity_controller_experiment",
    ["--text", new URL("../LICENSE", import.meta.url).pathname],
    /four parts for batches of 4 x 64 tokens/,
  ],
  ["pretrain", ["--vocab_size", "12"], /vocab_size/],
  [
    "pretrain",
    ["--output_dir", "no/such/folder"],
    /a model cannot be written to .*: there is no folder .*such; make it, or name another folder/,
  ],
  [
    "pretrain",
    ["--output_dir", fixtureUrl("tiny").pathname],
    /holds a model without pollard\.json/,
  ],
  [
    "pretrain",
    ["--batch_size", "600"],
    /600 x 128 tokens at once are too many.*what fits: --batch_size 256/,
  ],
  ["report", ["nowhere"], /no folder at .*nowhere$/m],
  ["report", ["nowhere", "elsewhere"], /no folder at .*nowhere$/m],
  ["report", ["nowhere", "--output", "there"], /output is for the comparison of several runs/],
  ["sweep", ["--levels", "0.1,1.3"], /levels must be between 0 and 1: 1\.3/],
  ["sweep", ["--levels", "0.1,,0.3"], /levels has an empty value: 0\.1,,0\.3/],
  ["sweep", ["--seeds", "1,2,1"], /seeds must not name one twice: 1/],
  ["sweep", ["--strategies", "importance,best"], /strategies must be one of .*: best/],
  ["sweep", ["--seed", "3"], /unknown option '--seed'/],
  ["sweep", ["--text", "none.txt", "--dry_run"], /none\.txt/],
  ["sweep", ["--resume", "nowhere"], /no folder at .*nowhere$/m],
  ["sweep", ["--collect", "nowhere"], /no folder at .*nowhere$/m],
  ["sweep", ["--resume", "x", "--levels", "0.1"], /levels cannot be changed by --resume/],
  ["bakeoff", ["--model_name", "no-such-model"], /no-such-model/],
  ["controller_plasticity_integration", ["--max_cycles", "0"], /max_cycles must be .*: 0/],
  [
    "controller_plasticity_integration",
    ["--controller_type", "llm"],
    /controller_type must be one of ann/,
  ],
  ["controller_plasticity_integration", ["--dataset", "none.txt"], /none\.txt/],
  ["controller_plasticity_integration", ["--resume", "nowhere"], /no folder at .*nowhere$/m],
  ["controller_plasticity_integration", ["--memory", "nowhere"], /memory: there is no file or/],
  [
    "controller_plasticity_integration",
    ["--controller_type", "static", "--controller_weights", "x"],
    /a static controller has none/,
  ],
  ["upgrayedd", [], /model must be named/],
  ["upgrayedd", ["--model", "no-such-model"], /no-such-model/],
  [
    "upgrayedd",
    ["--model", "embedded", "--sequence-length", "999"],
    /at most the model's 128 positions long: 999/,
  ],
  ["upgrayedd", ["--json-config", "none.json"], /no file at .*none\.json/],
  [
    "bakeoff",
    ["--batch_size", "600"],
    /600 x 64 tokens at once are too many.*what fits: --batch_size 512/,
  ],
  ["bakeoff", ["--max_length", "999"], /at most the model's 128 positions long: 999 tokens/],
];

for (const [script, args, message] of REFUSED) {
  Deno.test(`refused with exit code 2, nothing written: ${script} ${args.map((arg) => arg.split("/").at(-1)).join(" ")}`, async () => {
    const { code, stdout, stderr, left } = await run(script, ...args);
    assert.match(stderr, message);
    assert.equal(code, 2, stderr);
    assert.equal(stdout, "");
    assert.doesNotMatch(stderr, /\n\s+at /, "no stack");
    assert.deepEqual(left, []);
  });
}
