import assert from "node:assert/strict";
import { join } from "node:path";
import { hubFile, hubSnapshot, withHub } from "../src/data/hub.ts";
import {
  answers,
  BIG,
  bigHash,
  blobs,
  envNow,
  files,
  patience,
  place,
  ranges,
  README,
  refuses,
  repo,
  sameBytes,
  tree,
  withHubServer,
} from "./hub_ground.ts";
import { blobHash, error, send } from "./hub_server.ts";

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
  "a file of the cache that was cut short is downloaded again",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    const path = await hubFile(place);
    await Deno.truncate(await Deno.realPath(path), 100);
    await sameBytes(await hubFile(place), BIG);
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
      const command = new Deno.Command(Deno.execPath(), { args: ["eval", code], env: envNow() });
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
    const { signal } = controller; // said once for all, it holds where nothing else is said
    await assert.rejects(
      withHub({ signal }, () => hubFile({ ...place, signal: undefined as never })),
      (error) => error === reason,
    );
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
  "a file that lies in two places is downloaded once, and what is told adds up",
  withHubServer(async ({ server }) => {
    server.commit(repo, { "a": BIG, "b/c": BIG });
    let last: { done: number; total: number } | undefined;
    const { dir } = await hubSnapshot({ repo, onProgress: (state) => last = state });
    for (const path of ["a", "b/c"]) await sameBytes(join(dir, path), BIG);
    assert.equal(ranges(server).length, 1);
    assert.deepEqual([last!.done, last!.total], [2 * BIG.length, 2 * BIG.length]);
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
