import assert from "node:assert/strict";
import { join } from "node:path";
import { hubFile, type HubOptions, hubSnapshot, withHub } from "../src/data/hub.ts";
import { blobHash, error, HubServer, send } from "./hub_server.ts";

const BIG = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7 + (i >> 8));
const README = "# A model\n";

/** Quick, so that tests are; as many tries as in use. */
const patience = { firstMs: 10, mostMs: 2000 };

/** Variables that decide what is asked; those that are not named are unset. */
async function withEnv(values: Record<string, string>, action: () => Promise<void>): Promise<void> {
  const names = [
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_TOKEN_PATH",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_HUB_DISABLE_SYMLINKS",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
  ];
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of names) {
    if (values[name] === undefined) Deno.env.delete(name);
    else Deno.env.set(name, values[name]);
  }
  try {
    await action();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

interface Ground {
  server: HubServer;
  /** `HF_HOME`. */
  home: string;
  /** Lines that the user was told. */
  said: string[];
}

/** Runs a test with a server and an empty cache. */
function withHubServer(
  action: (ground: Ground) => Promise<void>,
  env: Record<string, string> = {},
): () => Promise<void> {
  return async () => {
    await using server = new HubServer();
    const home = await Deno.makeTempDir();
    const said: string[] = [];
    const options: HubOptions = { patience, onMessage: (line) => said.push(line) };
    try {
      await withEnv(
        { HF_HOME: home, HF_ENDPOINT: server.url, ...env },
        () => withHub(options, () => action({ server, home, said })),
      );
    } finally {
      await Deno.chmod(home, 0o700);
      await Deno.remove(home, { recursive: true });
    }
  };
}

/** Every file and link in a folder, with what it holds or points to. */
async function tree(folder: string, prefix = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) Object.assign(found, await tree(path, `${prefix}${name}/`));
    else if (isSymlink) found[prefix + name] = `-> ${await Deno.readLink(path)}`;
    else found[prefix + name] = blobHash(await Deno.readFile(path));
  }
  return found;
}

const repo = "someone/tiny";
const files = { "README.md": README, "sub/model.safetensors": BIG, "empty": "" };
const bigHash = blobHash(BIG);
const place = { repo, path: "sub/model.safetensors" };

async function refuses(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    assert.equal(error.name, "TypeError");
    assert.match(error.message, message);
    return true;
  });
}

Deno.test(
  "a snapshot lies in the cache as Python's library lays it out, and is asked for once",
  withHubServer(async ({ server, home }) => {
    server.pageSize = 2;
    const commit = server.commit(repo, files);
    const snapshot = await hubSnapshot({ repo });
    const dir = join(home, "hub", "models--someone--tiny", "snapshots", commit);
    assert.deepEqual(snapshot, {
      dir,
      repo,
      type: "model",
      revision: "main",
      commit,
      files: ["README.md", "empty", "sub/model.safetensors"],
    });
    const cache = await tree(join(home, "hub"));
    const [small, empty] = [README, ""].map((text) => blobHash(new TextEncoder().encode(text)));
    const here = (path: string) => `models--someone--tiny/${path}`;
    assert.deepEqual(cache, {
      [`.locks/models--someone--tiny/${bigHash}.lock`]: empty,
      [`.locks/models--someone--tiny/${small}.lock`]: empty,
      [`.locks/models--someone--tiny/${empty}.lock`]: empty,
      [here(`blobs/${bigHash}`)]: bigHash,
      [here(`blobs/${small}`)]: small,
      [here(`blobs/${empty}`)]: empty,
      [here("refs/main")]: blobHash(new TextEncoder().encode(commit)),
      [here(`snapshots/${commit}/README.md`)]: `-> ../../blobs/${small}`,
      [here(`snapshots/${commit}/empty`)]: `-> ../../blobs/${empty}`,
      [here(`snapshots/${commit}/sub/model.safetensors`)]: `-> ../../../blobs/${bigHash}`,
      [here(`trees/${commit}.json`)]: cache[here(`trees/${commit}.json`)],
    });
    assert.deepEqual(
      JSON.parse(await Deno.readTextFile(join(dir, "../../trees", `${commit}.json`)))
        .files["README.md"],
      { size: README.length, blob_id: small },
    );
    server.log.length = 0;
    assert.deepEqual(await hubSnapshot({ repo }), snapshot);
    assert.deepEqual(server.asked(), [`/api/models/${repo}/revision/main`]);
    assert.deepEqual(await hubSnapshot({ repo, revision: commit }), {
      ...snapshot,
      revision: commit,
    });
    assert.deepEqual(server.asked(), [], "an exact commit that is here is not asked for");
  }),
);

/** Lets requests for a large file be answered one by one; the last answer is for all further ones. */
function answers(server: HubServer, ...faults: ((range: string | null) => Response | undefined)[]) {
  server.fault = ({ large, range }) =>
    large ? (faults.length > 1 ? faults.shift()! : faults[0])(range) : undefined;
}

/** What ranges of large files were asked for since the log was looked at last. */
function ranges(server: HubServer): (string | null)[] {
  return server.log.splice(0).filter(({ large }) => large).map(({ range }) => range);
}

/** The paths in `blobs` of the one repository. */
async function blobs(home: string): Promise<string[]> {
  const dir = join(home, "hub/models--someone--tiny/blobs");
  return Array.from(await Array.fromAsync(Deno.readDir(dir)), ({ name }) => name).sort();
}

async function sameBytes(path: string, bytes: Uint8Array): Promise<void> {
  assert.equal(blobHash(await Deno.readFile(path)), blobHash(bytes));
}

Deno.test(
  "a download goes on where its connection was cut",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    answers(
      server,
      (range) => send(BIG, range, 100_000),
      (range) => send(BIG, range, 50_000),
      () => undefined,
    );
    await sameBytes(await hubFile(place), BIG);
    assert.deepEqual(ranges(server), [null, "bytes=100000-", "bytes=150000-"]);
    assert.deepEqual(await blobs(home), [bigHash]);
  }),
);

Deno.test(
  "what an earlier process left is gone on with, and what is not its beginning is not used",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const dir = join(home, "hub/models--someone--tiny/blobs");
    const incomplete = join(dir, `${bigHash}.incomplete`);
    await Deno.mkdir(dir, { recursive: true });

    await Deno.writeFile(incomplete, BIG.subarray(0, 123_456));
    const path = await hubFile(place);
    await sameBytes(path, BIG);
    assert.deepEqual(ranges(server), ["bytes=123456-"]);

    for (
      const left of [new Uint8Array(5000), new Uint8Array(BIG.length), new Uint8Array(400_000)]
    ) {
      await Deno.remove(join(home, "hub"), { recursive: true });
      await Deno.mkdir(dir, { recursive: true });
      await Deno.writeFile(incomplete, left);
      await sameBytes(await hubFile(place), BIG);
      assert.deepEqual(await blobs(home), [bigHash]);
      assert.equal(ranges(server).at(-1), null, "from its beginning");
    }
  }),
);

Deno.test(
  "a server that knows no ranges is asked for the whole file",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    answers(server, () => send(BIG, null, 100_000), () => send(BIG, null));
    await sameBytes(await hubFile(place), BIG);
    assert.deepEqual(ranges(server), [null, "bytes=100000-"]);
  }),
);

Deno.test(
  "a server that vanishes leaves what had come, and a later run goes on from there",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    answers(server, (range) => send(BIG, range, 70_000), () => error(503, "Gone"));
    await refuses(hubFile(place), /cannot be reached: it answers 503/);
    assert.equal(ranges(server).length, 1 + 4, "tries without progress are bounded");
    assert.deepEqual(await blobs(home), [`${bigHash}.incomplete`]);
    const snapshots = join(home, "hub/models--someone--tiny/snapshots");
    await assert.rejects(Deno.stat(snapshots), Deno.errors.NotFound);
    server.fault = undefined;
    await sameBytes(await hubFile(place), BIG);
    assert.deepEqual(ranges(server), ["bytes=70000-"]);
  }),
);

Deno.test(
  "bytes that stop coming are asked for again",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    const stalled = () => new Response(new ReadableStream({ pull: () => new Promise(() => {}) }));
    answers(server, stalled, () => undefined);
    await sameBytes(await hubFile(place), BIG);
    assert.deepEqual(ranges(server), [null, null]);
  }, { HF_HUB_DOWNLOAD_TIMEOUT: "1" }),
);

Deno.test(
  "what has not the hub's hash or size is not kept",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const wrong = BIG.with(1000, BIG[1000] ^ 1);
    answers(server, (range) => send(wrong, range));
    await refuses(hubFile(place), /came with another SHA-256 than the hub lists/);
    assert.deepEqual(await blobs(home), []);
    answers(server, (range) => send(BIG.subarray(0, 200_000), range));
    await refuses(hubFile(place), /has 300000 bytes in the hub's list, but 200000 are sent/);
    const longer = new Uint8Array([...BIG, 1]);
    answers(server, (range) => send(longer, range));
    await refuses(hubFile(place), /but 300001 are sent/);
    answers(server, () => new Response(ReadableStream.from([BIG, Uint8Array.of(1)])));
    await refuses(hubFile(place), /but more are sent/);
    assert.deepEqual(await blobs(home), []);
    server.fault = ({ path }) =>
      path.endsWith("README.md") ? new Response("# B model\n") : undefined;
    await refuses(hubFile({ repo, path: "README.md" }), /another git hash than the hub lists/);
    assert.deepEqual(await blobs(home), []);
  }),
);

Deno.test(
  "a file of the cache that was cut short is downloaded again",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    const path = await hubFile(place);
    await Deno.truncate(await Deno.realPath(path), 100);
    await sameBytes(await hubFile(place), BIG);
  }),
);

Deno.test(
  "after too many requests it waits as long as it is told, and gives up where that is too long",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    const faults = [error(429, "Slow", { "retry-after": "1" })];
    server.fault = () => faults.pop();
    const start = performance.now();
    await sameBytes(await hubFile(place), BIG);
    assert.ok(performance.now() - start >= 990);
    for (
      const [headers, message] of [
        [
          { "retry-after": "3600" },
          /too many requests \(429\): try again in 3600 seconds; with HF_TOKEN/,
        ],
        [{ "ratelimit": '"api";r=0;t=250' }, /try again in 250 seconds/],
        [{}, /try again later/],
      ] as [Record<string, string>, RegExp][]
    ) {
      server.fault = () => error(429, "Slow", headers);
      await refuses(hubFile({ ...place, repo: "some/other" }), message);
    }
  }),
);

Deno.test(
  "what cannot be had is refused with what to do about it",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    await refuses(
      hubFile({ ...place, repo: "some/none" }),
      /knows no model some\/none, or it is private: .*HF_TOKEN/,
    );
    await refuses(hubFile({ ...place, revision: "v9" }), /someone\/tiny has no revision v9/);
    await refuses(
      hubFile({ repo, path: "none.txt" }),
      /someone\/tiny has no file none.txt at main/,
    );
    for (
      const [status, code, message] of [
        [401, "GatedRepo", /is gated: accept its conditions at .*some\/gated, and set HF_TOKEN/],
        [403, "GatedRepo", /is gated/],
        [403, "Other", /does not let you read the model .*HF_TOKEN/],
        [404, "RepoNotFound", /knows no model/],
        [418, "Teapot", /answers 418/],
      ] as [number, string, RegExp][]
    ) {
      server.log.length = 0;
      server.fault = () => error(status, code);
      await refuses(hubFile({ ...place, repo: "some/gated" }), message);
      assert.equal(server.log.length, 1, "what does not pass is not tried again");
    }
    server.fault = () => new Response("<html>Please log in to the network", { status: 200 });
    await refuses(hubFile({ ...place, repo: "some/portal" }), /does not answer as the hub does/);
    for (const name of ["../x", "a/b/c", "a--b/c", "", "a b/c", "x.git", "-a/b"]) {
      await refuses(hubFile({ ...place, repo: name }), /called owner\/name/);
    }
    for (const revision of ["", "../x", "a b", "/x", "x/", "a..b"]) {
      await refuses(hubFile({ ...place, revision }), /a revision is a branch/);
    }
    for (const path of ["../x", "/x", "a//b", "C:x", "a\\..\\b", ""]) {
      await refuses(hubFile({ repo, path }), /a path in a repository cannot be/);
    }
    const kept = await Array.fromAsync(Deno.readDir(join(home, "hub")), ({ name }) => name);
    assert.deepEqual(kept, ["models--someone--tiny"]);
  }),
);

Deno.test(
  "a list with paths that would leave the cache is refused",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, { "../../../escaped": BIG });
    await refuses(hubSnapshot({ repo }), /a path in a repository cannot be/);
    await assert.rejects(Deno.stat(join(home, "hub/escaped")), Deno.errors.NotFound);
  }),
);

Deno.test(
  "the token goes to the hub and to nobody else",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    Deno.env.set("HF_TOKEN", " hf_secret\n");
    await hubFile(place);
    const seen = server.log.splice(0);
    assert.ok(seen.some(({ large }) => large));
    for (const { large, authorization } of seen) {
      assert.equal(authorization, large ? null : "Bearer hf_secret");
    }
    Deno.env.delete("HF_TOKEN");
    await Deno.writeTextFile(join(home, "token"), "hf_of_the_file\n");
    await hubFile({ ...place, revision: "main" });
    assert.equal(server.log.splice(0)[0].authorization, "Bearer hf_of_the_file");
    server.fault = () =>
      error(401, "Bad", { "x-error-message": "Invalid credentials in Authorization header" });
    await refuses(hubFile({ ...place, repo: "some/other" }), /does not know the token/);
    Deno.env.set("HF_TOKEN", "hf_a b");
    await refuses(hubFile(place), /HF_TOKEN is not a token/);
  }),
);

Deno.test(
  "where the hub is away, the cache is used if it suffices, and the user is told",
  withHubServer(async ({ server, said }) => {
    const first = server.commit(repo, files);
    const path = await hubFile(place);
    server.commit(repo, { ...files, "README.md": "# Another\n" });
    server.fault = () => error(503, "Down");
    server.log.length = 0;
    assert.equal(await hubFile(place), path);
    assert.equal(server.log.length, 1, "one try must do where there is a cache");
    assert.equal(said.length, 1);
    assert.match(
      said[0],
      new RegExp(`answers 503; going on with ${repo} as it is in the cache \\(commit ${first}\\)`),
    );
    await refuses(
      hubFile({ repo, path: "README.md" }),
      /README.md of .* is not in the cache, and .* 503/,
    );
    server.fault = undefined;
    assert.equal(
      await Deno.readTextFile(await hubFile({ repo, path: "README.md" })),
      "# Another\n",
    );

    server.log.length = 0;
    Deno.env.set("HF_HUB_OFFLINE", "1");
    assert.equal(await hubFile({ ...place, revision: first }), path);
    await refuses(
      hubFile({ ...place, revision: "v2" }),
      /tiny@v2 is not in the cache .*HF_HUB_OFFLINE/,
    );
    await refuses(
      hubFile({ ...place, revision: "0".repeat(40) }),
      /is not in the cache .*HF_HUB_OFFLINE/,
    );
    await refuses(hubFile({ ...place, repo: "some/other" }), /HF_HUB_OFFLINE/);
    assert.deepEqual(server.log, [], "offline nothing is asked");
    Deno.env.delete("HF_HUB_OFFLINE");

    Deno.env.set("HF_ENDPOINT", "http://127.0.0.1:9"); // nobody is there
    assert.equal(await hubFile({ ...place, revision: first }), path);
    await refuses(hubFile({ ...place, repo: "some/other" }), /127.0.0.1:9 cannot be reached/);
    Deno.env.set("HF_ENDPOINT", "huggingface.co");
    await refuses(hubFile(place), /HF_ENDPOINT must be an address/);
  }),
);

Deno.test(
  "a cache that Python's library filled without a list serves offline",
  withHubServer(async ({ home }) => {
    const commit = "a".repeat(40), dir = join(home, "hub/models--someone--tiny");
    for (const name of ["blobs", "refs", `snapshots/${commit}`]) {
      await Deno.mkdir(join(dir, name), { recursive: true });
    }
    await Deno.writeTextFile(join(dir, "blobs/b"), README);
    await Deno.writeTextFile(join(dir, "refs/main"), commit);
    await Deno.symlink("../../blobs/b", join(dir, `snapshots/${commit}/README.md`));
    await Deno.symlink("../../blobs/none", join(dir, `snapshots/${commit}/gone`));
    Deno.env.set("HF_HUB_OFFLINE", "1");
    assert.equal(await Deno.readTextFile(await hubFile({ repo, path: "README.md" })), README);
    assert.deepEqual((await hubSnapshot({ repo })).files, ["README.md"]);
    await refuses(hubFile({ repo, path: "gone" }), /gone of someone\/tiny is not in the cache/);
  }),
);

Deno.test(
  "branches, tags, commits, former names and datasets are told apart",
  withHubServer(async ({ server, home }) => {
    const main = server.commit(repo, { "a.txt": "one" });
    const tag = server.commit(repo, { "a.txt": "two" }, "v1.0");
    server.commit(repo, { "a.txt": "three" }, "refs/pr/1");
    server.commit("datasets/someone/tiny", { "a.txt": "four" });
    server.renamed.set("tiny", repo);
    const read = async (revision: string) =>
      await Deno.readTextFile(await hubFile({ repo, path: "a.txt", revision }));
    assert.equal(await read("main"), "one");
    assert.equal(await read("v1.0"), "two");
    assert.equal(await read(tag), "two");
    assert.equal(await read(main), "one");
    const data = await hubSnapshot({ repo, type: "dataset", choose: () => ["a.txt"] });
    assert.equal(await Deno.readTextFile(join(data.dir, "a.txt")), "four");
    assert.equal(data.dir, join(home, "hub/datasets--someone--tiny/snapshots", data.commit));
    assert.equal(await Deno.readTextFile(await hubFile({ repo: "tiny", path: "a.txt" })), "one");
    const refs = join(home, "hub/models--someone--tiny/refs");
    assert.equal(await Deno.readTextFile(join(refs, "v1.0")), tag);
    assert.equal(await Deno.readTextFile(join(refs, "main")), main);
  }),
);

Deno.test(
  "two at once download a file once, in one process and in two",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    answers(server, (range) => send(BIG, range, 100_000), () => undefined);
    const paths = await Promise.all([hubFile(place), hubFile(place), hubFile(place)]);
    assert.equal(new Set(paths).size, 1);
    await sameBytes(paths[0], BIG);
    assert.deepEqual(ranges(server), [null, "bytes=100000-"]);

    await Deno.remove(join(home, "hub"), { recursive: true });
    answers(server, (range) => send(BIG, range, 100_000), () => undefined);
    const module = new URL("../src/data/hub.ts", import.meta.url).href;
    const code = `import { hubFile } from ${JSON.stringify(module)};
      console.log(await hubFile(${JSON.stringify({ ...place, patience })}));`;
    const run = async () => {
      const command = new Deno.Command(Deno.execPath(), { args: ["eval", code] });
      const { stdout, stderr } = await command.output();
      assert.equal(new TextDecoder().decode(stderr), "");
      return new TextDecoder().decode(stdout).trim();
    };
    assert.deepEqual(new Set(await Promise.all([run(), run()])), new Set(paths));
    await sameBytes(paths[0], BIG);
    assert.deepEqual(ranges(server), [null, "bytes=100000-"]);
    assert.deepEqual(await blobs(home), [bigHash]);
  }),
);

Deno.test(
  "who waits for another process is told so, and can be stopped",
  withHubServer(async ({ server, home, said }) => {
    server.commit(repo, files);
    const locks = join(home, "hub/.locks/models--someone--tiny");
    await Deno.mkdir(locks, { recursive: true });
    const lock = await Deno.open(join(locks, `${bigHash}.lock`), { create: true, write: true });
    await lock.lock(true);
    const controller = new AbortController();
    const reason = new DOMException("Stopped.", "AbortError");
    const waiting = hubFile({
      ...place,
      signal: controller.signal,
      onMessage: (line) => {
        said.push(line);
        controller.abort(reason);
      },
    });
    await assert.rejects(waiting, (error) => error === reason);
    assert.deepEqual(said, ["waiting for another process, which downloads sub/model.safetensors"]);
    lock.close();
  }),
);

Deno.test(
  "progress is told up to the last byte, and a signal stops a download that can go on",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const told: { path: string; done: number; total: number }[] = [];
    const total = BIG.length + README.length;
    const controller = new AbortController();
    const reason = new DOMException("Stopped.", "AbortError");
    answers(server, (range) => send(BIG, range, 100_000), () => {
      controller.abort(reason);
      return send(BIG, "bytes=100000-");
    });
    await assert.rejects(
      hubFile({ ...place, signal: controller.signal }),
      (error) => error === reason,
    );
    assert.deepEqual(await blobs(home), [`${bigHash}.incomplete`]);
    server.fault = undefined;
    await hubSnapshot({
      repo,
      onProgress: ({ path, done, total }) => told.push({ path, done, total }),
    });
    assert.ok(
      told.every((state, i) =>
        state.total === total && (i === 0 || state.done >= told[i - 1].done)
      ),
    );
    assert.deepEqual(told.at(-1), { path: "sub/model.safetensors", done: total, total });
    assert.ok(told.some(({ done }) => done === README.length + 100_000), "what was here counts");
  }),
);

Deno.test(
  "where links cannot be made, files are copied",
  withHubServer(async ({ server, home }) => {
    const commit = server.commit(repo, files);
    await hubSnapshot({ repo });
    const snapshot = join(home, "hub/models--someone--tiny/snapshots", commit);
    assert.deepEqual(await tree(snapshot), {
      "README.md": blobHash(new TextEncoder().encode(README)),
      "empty": blobHash(new Uint8Array()),
      "sub/model.safetensors": bigHash,
    });
  }, { HF_HUB_DISABLE_SYMLINKS: "1" }),
);

Deno.test(
  "the cache is where Python's variables say, and one that cannot be used is refused",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    Deno.env.set("POLLARD_TEST_HOME", home);
    Deno.env.set("HF_HUB_CACHE", "${POLLARD_TEST_HOME}/own");
    const path = await hubFile(place);
    assert.ok(path.startsWith(join(home, "own", "models--someone--tiny")), path);
    Deno.env.delete("POLLARD_TEST_HOME");

    Deno.env.set("HF_HUB_CACHE", join(home, "file"));
    await Deno.writeTextFile(join(home, "file"), "");
    await refuses(
      hubFile(place),
      /the cache .*file cannot be used: .*set HF_HUB_CACHE to a folder/,
    );
    assert.equal(await Deno.readTextFile(join(home, "file")), "");

    // what only saves a later request may fail: a cache may be complete and read-only
    Deno.env.set("HF_HUB_CACHE", join(home, "own"));
    await Deno.remove(join(home, "own/models--someone--tiny/refs"), { recursive: true });
    await Deno.writeTextFile(join(home, "own/models--someone--tiny/refs"), "in the way");
    assert.equal(await hubFile(place), path);
  }),
);

Deno.test(
  "a download that the disk has no room for is not begun",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    server.lies.set("sub/model.safetensors", { size: 2 ** 52 });
    await refuses(
      hubFile(place),
      /tiny needs 4503599627 MB more, and the disk of .* MB left: make room/,
    );
    assert.ok(server.log.every(({ large }) => !large));
    await assert.rejects(blobs(home), Deno.errors.NotFound);
  }),
);
