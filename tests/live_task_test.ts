/** `--live` as a user calls it: what is served while a task runs, and how it ends. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Listener } from "./listener.ts";

const TINY = [
  ...["--warmup_steps", "4", "--finetuning_steps", "8", "--cycles", "1", "--eval_freq", "4"],
  ...["--batch_size", "2", "--max_length", "16", "--eval_tokens", "64", "--test_tokens", "64"],
  ...["--no_controls", "--live", "0"],
];

function start(script: string, args: string[], cwd: string): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", new URL(`../scripts/${script}.ts`, import.meta.url).href, ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Waits for the line that says where the page is; what is said after it is in `said`. */
async function whereIsIt(
  child: Deno.ChildProcess,
): Promise<{ url: string; said: Promise<string> }> {
  const reader = child.stderr.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    assert.ok(!done, `it said nothing of a page: ${text}`);
    text += value;
    const url = /^live: (http\S+)\n/m.exec(text)?.[1];
    if (!url) continue;
    const rest = async () => {
      for (let one = await reader.read(); !one.done; one = await reader.read()) text += one.value;
      return text;
    };
    return { url, said: rest() };
  }
}

async function inFolder(action: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "pollard-live-" });
  try {
    await action(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("an experiment is served while it runs, to its last page", () =>
  inFolder(async (dir) => {
    const child = start("neural_plasticity_controller_experiment", TINY, dir);
    const out = new Response(child.stdout).text();
    const { url, said } = await whereIsIt(child);
    assert.match(await (await fetch(url)).text(), /<main>/, "at once");
    const listener = await Listener.to(url);
    const first = await listener.next("progress");
    assert.equal(typeof first.phase, "string");
    let last = await listener.next("progress");
    while (last.step !== 12) last = await listener.next("progress");
    assert.equal(last.total, 12);
    assert.ok(last.loss > 0);
    const { outcome, words } = await listener.next("end");
    assert.equal(outcome, "done");
    const page = await (await fetch(url)).text();
    await listener.close();
    assert.equal((await child.status).code, 0, await said);
    const [{ name }] = [...Deno.readDirSync(join(dir, "runs"))];
    assert.equal(words, `Its report is runs/${name}/report.html.`);
    const report = await Deno.readTextFile(join(dir, "runs", name, "report.html"));
    const body = (html: string) => /<main>[^]*<\/main>/.exec(html)![0];
    assert.equal(body(page), body(report), "the page that was served last is the one that is kept");
    assert.doesNotMatch(report, /EventSource|id="live"/);
    assert.ok((await out).includes("report.html"));
  }));

Deno.test({
  name: "who looks is told that the experiment was stopped, and how to go on",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (dir) => {
      const child = start("neural_plasticity_controller_experiment", TINY, dir);
      const out = child.stdout.cancel();
      const { url, said } = await whereIsIt(child);
      const listener = await Listener.to(url);
      await listener.next("progress");
      child.kill("SIGINT");
      const { outcome, words } = await listener.next("end");
      await listener.close();
      assert.equal(outcome, "stopped");
      assert.match(words, /^Continue with: deno task experiment --resume runs\//);
      assert.equal((await child.status).code, 130, await said);
      await out;
    }),
});

for (
  const [script, ...args] of [
    ["neural_plasticity_controller_experiment"],
    ["controller_plasticity_integration"],
    ["upgrayedd", "--model", "embedded"],
    ["pretrain"],
    ["bakeoff"],
    ["sweep"],
  ]
) {
  Deno.test(`${script} refuses a port that is taken, before anything is begun`, () =>
    inFolder(async (dir) => {
      using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { port } = taken.addr;
      const child = start(script, [...args, "--live", String(port)], dir);
      const { code, stderr, stdout } = await child.output();
      const said = new TextDecoder().decode(stderr);
      assert.equal(code, 2, said);
      assert.match(said, new RegExp(`port ${port} is in use on 127\\.0\\.0\\.1: name another`));
      assert.doesNotMatch(said, /adapter:|\n\s+at /);
      assert.equal(stdout.length, 0);
      assert.deepEqual([...Deno.readDirSync(dir)], []);
    }));
}
