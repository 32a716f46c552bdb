/**
 * Pollard from other folders: a program in an empty one, with no configuration and no import map,
 * imports `mod.ts` over http; and one beside a `package.json` imports it by path and over http.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

type Types = Readonly<Record<string, string>>;

/** What a web server says of our files; Deno takes a script's language from it. */
const TYPES: Types = {
  ts: "application/typescript",
  js: "text/javascript; charset=utf-8",
  json: "application/json",
  wgsl: "text/plain; charset=utf-8",
  safetensors: "application/octet-stream",
  gz: "application/gzip",
};

/** What npm's http-server says of them: it takes .ts for video, and Deno knows that. */
const HTTP_SERVER: Types = {
  ...TYPES,
  ts: "video/mp2t",
  js: "application/javascript; charset=UTF-8",
  wgsl: "text/plain; charset=UTF-8",
};

/** Files that a user's program may ask for: sources, the embedded model and text. */
const SERVED = /^(mod\.ts|deno\.json|(src|shaders|assets)(\/[\w-][\w.-]*)+)$/;

/** Serves the tree, read-only; `asked` fills with the paths that were found. */
function serveTree(asked: Set<string>, types: Types): Deno.HttpServer<Deno.NetAddr> {
  const options = { hostname: "127.0.0.1", port: 0, onListen() {} };
  return Deno.serve(options, async (request) => {
    const path = new URL(request.url).pathname.slice(1);
    const type = types[path.slice(path.lastIndexOf(".") + 1)];
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response(null, { status: 405 });
    }
    const missing = new Response(null, { status: 404 });
    if (type === undefined || !SERVED.test(path)) return missing;
    try {
      const bytes = await Deno.readFile(join(ROOT, path));
      asked.add(path);
      const headers = { "content-type": type, "content-length": String(bytes.length) };
      return new Response(request.method === "HEAD" ? null : bytes, { headers });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return missing;
      throw error;
    }
  });
}

/** The user's program. */
const program = (base: string) => `
import {
  embeddedModel, evaluateText, Generator, Gpt2, Gpu, loadModel, loadText,
} from "${base}/mod.ts";

using gpu = await Gpu.open();
const loaded = await loadModel(embeddedModel());
const { config, weights, live, tokenizer } = loaded;
const { text } = await loadText("moby_dick");
const { loss, predicted } = await evaluateText(gpu, loaded, text.slice(-2000));

using model = new Gpt2(gpu, config, weights, live);
using generator = new Generator(model);
const prompt = await tokenizer.encode("Call me Ishmael.");
const [tokens] = await generator.generate({ prompts: [prompt], maxNewTokens: 12, seed: 1 });
console.log(JSON.stringify({
  loss, predicted, vocabulary: config.V, written: await tokenizer.decode(tokens.subarray(prompt.length)),
}));
`;

/** Where Deno keeps what it downloads. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

/**
 * A cache that holds npm packages and nothing else: modules of an earlier server on the same port
 * must not be found in it, and those of this one must not stay in the user's.
 */
async function freshCache(dir: string): Promise<string> {
  const cache = join(dir, "cache");
  const packages = join(await denoDir(), "npm");
  await Deno.mkdir(packages, { recursive: true });
  await Deno.mkdir(cache);
  await Deno.symlink(packages, join(cache, "npm"), { type: "junction" });
  return cache;
}

/** Runs a program beside a `package.json`, as the README says. */
async function besidePackage(base: string, cache?: string): Promise<void> {
  const cwd = await Deno.makeTempDir({ prefix: "pollard-package-" });
  try {
    await Deno.writeTextFile(
      join(cwd, "package.json"),
      `{ "dependencies": { "left-pad": "1.3.0" } }`,
    );
    await Deno.writeTextFile(
      join(cwd, "program.ts"),
      `import { embeddedModel, loadModel, loadText } from ${JSON.stringify(`${base}/mod.ts`)};
const { config, tokenizer } = await loadModel(embeddedModel());
console.log(config.V, (await tokenizer.encode((await loadText("moby_dick")).text.slice(0, 4))).length > 0);`,
    );
    const run = async (...flags: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-lock", ...flags, "program.ts"],
        cwd,
        env: { ...(cache && { DENO_DIR: cache }), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
        stdin: "null",
        signal: AbortSignal.timeout(60_000),
      }).output();
      const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
      return { code, stdout: text(stdout), stderr: text(stderr) };
    };
    const without = await run();
    assert.equal(without.code, 1);
    assert.match(without.stderr, /"nodeModulesDir"/, "the flag is for what Deno says here");
    const { code, stdout, stderr } = await run("--node-modules-dir=none");
    assert.equal(code, 0, stderr);
    assert.equal(stdout, "1024 true\n");
    assert.deepEqual(
      [...Deno.readDirSync(cwd)].map(({ name }) => name).sort(),
      ["package.json", "program.ts"],
    );
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

Deno.test("a program beside a package.json imports the library by its path", async () => {
  const readme = await Deno.readTextFile(join(ROOT, "README.md"));
  assert.match(readme, /`deno run -A --node-modules-dir=none program\.ts`/);
  await besidePackage(ROOT.replace(/\/$/, ""));
});

Deno.test("and from the server that the README names", async () => {
  const readme = await Deno.readTextFile(join(ROOT, "README.md"));
  assert.match(readme, /`npx -y http-server@14\.1\.1 -a 127\.0\.0\.1 -p \d+`/);
  const server = serveTree(new Set(), HTTP_SERVER);
  const dir = await Deno.makeTempDir({ prefix: "pollard-cache-" });
  try {
    await besidePackage(`http://127.0.0.1:${server.addr.port}`, await freshCache(dir));
  } finally {
    await server.shutdown();
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("a program in an empty folder runs the embedded model over http", async () => {
  const asked = new Set<string>();
  const server = serveTree(asked, TYPES);
  const dir = await Deno.makeTempDir({ prefix: "pollard-remote-" });
  try {
    const cwd = join(dir, "empty");
    await Deno.mkdir(cwd);
    await Deno.writeTextFile(join(cwd, "main.ts"), program(`http://127.0.0.1:${server.addr.port}`));
    const { code, signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "main.ts"],
      cwd,
      env: { DENO_DIR: await freshCache(dir), DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1" },
      stdin: "null",
      signal: AbortSignal.timeout(60_000),
    }).output();
    const said = new TextDecoder().decode(stderr).replaceAll(/^Download .*\n/gm, "");
    assert.equal(signal, null, `it took more than 60 s, or was killed:\n${said}`);
    assert.equal(code, 0, said);
    const result = JSON.parse(new TextDecoder().decode(stdout));
    assert.ok(
      result.loss > 0 && result.loss < 0.75 * Math.log(result.vocabulary),
      `a trained model's loss is clearly below ln(${result.vocabulary}): ${result.loss}`,
    );
    assert.ok(result.predicted > 100, `${result.predicted} tokens were predicted`);
    assert.ok(result.written.trim().length > 0, `it wrote ${JSON.stringify(result.written)}`);
    for (
      const path of [
        "mod.ts",
        "shaders/matmul.wgsl",
        "assets/pollard-1m/model.safetensors",
        "src/report/client/live.js",
      ]
    ) {
      assert.ok(asked.has(path), `${path} did not come over http`);
    }
    assert.deepEqual([...Deno.readDirSync(cwd)].map(({ name }) => name), ["main.ts"]);
  } finally {
    await server.shutdown();
    await Deno.remove(dir, { recursive: true });
  }
});
