/** Paths begin where the user typed the command, wherever deno task runs it. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

/** Runs a task from a folder, as `deno task --config` does. */
async function task(cwd: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "--config", join(ROOT, "deno.json"), ...args],
    cwd,
    env: { NO_COLOR: "1", INIT_CWD: cwd },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("deno task: inputs, outputs and messages begin at the folder of the user", async () => {
  const dir = await Deno.realPath(await Deno.makeTempDir({ prefix: "pollard-user-" }));
  try {
    await Deno.writeTextFile(join(dir, "mine.txt"), "the cat sat on the mat. ".repeat(50));
    const found = await task(dir, "evaluate", "--text_file", "mine.txt", "--json");
    assert.equal(found.code, 0, found.stderr);
    assert.ok(JSON.parse(found.stdout).tokens > 50);
    const lost = await task(dir, "evaluate", "--text_file", "mine.tx");
    assert.equal(lost.code, 2);
    assert.ok(lost.stderr.includes(`no file at ${join(dir, "mine.tx")}`), lost.stderr);
    assert.match(lost.stderr, /did you mean mine\.txt\?/);
    const project = await task(dir, "export", "assets/pollard-1m", "--output", "small");
    assert.equal(project.code, 0, project.stderr);
    assert.ok((await Deno.stat(join(dir, "small", "config.json"))).isFile);
    await assert.rejects(Deno.stat(join(ROOT, "small")), Deno.errors.NotFound);

    const whole = await task(dir, "compact", "--model_name", "embedded");
    assert.equal(whole.code, 2);
    const [, config] = /with deno task --config (\S+) experiment --model/.exec(whole.stderr) ?? [];
    assert.equal(config, join(ROOT, "deno.json"), "a command that works where the user is");
    const inside = await task(join(ROOT, "docs"), "compact", "--model_name", "embedded");
    assert.match(inside.stderr, /with deno task experiment --model_name embedded/);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
