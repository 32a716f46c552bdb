/** A clone whose text files have CRLF at their line ends, as Git may make them on Windows. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { pageHtml } from "../src/report/document.ts";
import { markup } from "../src/report/html.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const TEXTS = /\.(ts|js|wgsl|json)$/;

/** Copies files, text with CRLF. */
async function copyTree(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isDirectory) {
    for await (const { name } of Deno.readDir(from)) {
      await copyTree(join(from, name), join(to, name));
    }
    return;
  }
  await Deno.mkdir(dirname(to), { recursive: true });
  if (!TEXTS.test(from)) return await Deno.copyFile(from, to);
  const text = await Deno.readTextFile(from);
  await Deno.writeTextFile(to, text.replaceAll("\r\n", "\n").replaceAll("\n", "\r\n"));
}

/** Uses shaders, the embedded model and the page's script. */
const PROGRAM = `
import { embeddedModel, Generator, Gpt2, Gpu, loadModel } from "./mod.ts";
import { pageHtml } from "./src/report/document.ts";
import { renderPage } from "./src/report/page.ts";
import { syntheticRun } from "./tests/report_fixture.ts";

using gpu = await Gpu.open();
const { config, weights, live, tokenizer } = await loadModel(embeddedModel());
using model = new Gpt2(gpu, config, weights, live);
using generator = new Generator(model);
const prompt = await tokenizer!.encode("Call me Ishmael.");
const [tokens] = await generator.generate({ prompts: [prompt], maxNewTokens: 8, temperature: 0 });
const shape = { L: 2, NH: 3, cycles: 1, warmup: 9, finetuning: 9, every: 3 };
console.log(JSON.stringify({ tokens: [...tokens], html: pageHtml(renderPage(syntheticRun(shape))) }));
`;

async function outcome(dir: string): Promise<{ tokens: number[]; html: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-config", "--no-lock", "-"],
    cwd: dir,
    env: { DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(PROGRAM));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** Holds every script of a page against the page's policy, as a browser reads both. */
function assertScriptsRun(html: string): void {
  const read = html.replaceAll(/\r\n?/g, "\n");
  const scripts = [...read.matchAll(/<script>(.*?)<\/script>/gs)].map(([, script]) => script);
  assert.ok(scripts.length > 0);
  for (const script of scripts) {
    const hash = createHash("sha256").update(script).digest("base64");
    assert.ok(read.includes(`'sha256-${hash}'`), `not allowed: ${script.slice(0, 60)}`);
  }
}

Deno.test("a script with CRLF is allowed by the policy of its page", () => {
  const page = { title: "", verdict: "", standing: "", figures: [], names: [], body: undefined };
  const script = "let a = 1;\r\nlet b = `\r\n`;\ra = b;\n";
  assertScriptsRun(pageHtml({ ...page, scripts: [script] }));
  assertScriptsRun(pageHtml({ ...page, scripts: [] }, { top: markup`<p></p>`, script }));
});

Deno.test("a whole tree with CRLF computes the same and draws the same page", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-crlf-" });
  try {
    const parts = ["mod.ts", "deno.json", "src", "shaders", "assets", "tests/report_fixture.ts"];
    for (const part of parts) await copyTree(join(ROOT, part), join(dir, part));
    assert.match(await Deno.readTextFile(join(dir, "src/report/client/heads.js")), /\r\n/);
    const [here, there] = await Promise.all([ROOT, dir].map(outcome));
    assert.deepEqual(there.tokens, here.tokens);
    assertScriptsRun(there.html);
    assert.equal(there.html, here.html);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("Git is told to keep LF, so that the formatter has nothing to say on Windows", async () => {
  const attributes = await Deno.readTextFile(join(ROOT, ".gitattributes"));
  assert.match(attributes, /^\* text=auto eol=lf$/m);
});
