/** A hub, and caches, that say what is not so: whatever they say, nothing wrong is used. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { hubFile, hubSnapshot } from "../src/data/hub.ts";
import {
  answers,
  BIG,
  bigHash,
  blobs,
  files,
  place,
  ranges,
  refuses,
  repo,
  sameBytes,
  withHubServer,
} from "./hub_ground.ts";
import { error, send } from "./hub_server.ts";

Deno.test(
  "what was left of an earlier try is wrong, and what is sent in its place as well",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const dir = join(home, "hub/models--someone--tiny/blobs");
    await Deno.mkdir(dir, { recursive: true });
    await Deno.writeFile(join(dir, `${bigHash}.incomplete`), new Uint8Array(5000));
    const wrong = BIG.with(200_000, BIG[200_000] ^ 1);
    answers(server, (range) => send(wrong, range));
    await refuses(hubFile(place), /came with another SHA-256 than the hub lists/);
    assert.deepEqual(ranges(server), ["bytes=5000-", null], "it is tried from the beginning, once");
    assert.deepEqual(await blobs(home), []);
  }),
);

Deno.test(
  "bytes of another place, or of another file, are not appended",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const part = (start: number, bytes: Uint8Array, total = bytes.length) =>
      new Response(bytes.slice(start), {
        status: 206,
        headers: { "content-range": `bytes ${start}-${bytes.length - 1}/${total}` },
      });
    answers(
      server,
      (range) => send(BIG, range, 100_000),
      () => part(50_000, BIG),
      () => new Response(BIG.slice(100_000), { status: 206 }), // of which place it does not say
      () => undefined,
    );
    await sameBytes(await hubFile(place), BIG);
    const again = "bytes=100000-";
    assert.deepEqual(ranges(server), [null, again, again, again]);

    await Deno.remove(join(home, "hub"), { recursive: true });
    answers(
      server,
      (range) => send(BIG, range, 100_000),
      () => part(100_000, BIG, BIG.length + 1),
    );
    await refuses(hubFile(place), /has 300000 bytes in the hub's list, but 300001 are sent/);
    assert.deepEqual(await blobs(home), []);
  }),
);

Deno.test(
  "an answer of unknown length that ends too soon is gone on with",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    answers(
      server,
      () => new Response(ReadableStream.from([BIG.slice(0, 80_000)])),
      () => undefined,
    );
    await sameBytes(await hubFile(place), BIG);
    assert.deepEqual(ranges(server), [null, "bytes=80000-"]);
  }),
);

Deno.test(
  "files are asked for as they are: of compressed ones no range would be known",
  withHubServer(async ({ server }) => {
    server.commit(repo, files);
    await hubSnapshot({ repo });
    const asked = server.log.filter(({ path, large }) => large || path.includes("/resolve/"));
    assert.equal(asked.length, 3); // a small one, and the large one by way of the hub
    for (const { encoding } of asked) assert.equal(encoding, "identity");
  }),
);

Deno.test(
  "a list that goes on elsewhere is followed there without the token",
  withHubServer(async ({ server }) => {
    server.commit(repo, { "a.txt": "one" });
    server.fault = ({ path, large }) => {
      if (!path.includes("/tree/")) return undefined;
      if (large) return Response.json([]);
      const link = `<${server.largeUrl}${path}?cursor=1>; rel="next"`;
      return Response.json([], { headers: { link } });
    };
    Deno.env.set("HF_TOKEN", "hf_secret");
    await refuses(hubFile({ repo, path: "a.txt" }), /has no file a\.txt/);
    const lists = server.log.filter(({ path }) => path.includes("/tree/"));
    assert.deepEqual(lists.map(({ authorization }) => authorization), ["Bearer hf_secret", null]);
  }),
);

Deno.test(
  "a branch that the hub no longer has is refused, though the cache has it",
  withHubServer(async ({ server, said }) => {
    server.commit(repo, files, "old");
    const path = await hubFile({ ...place, revision: "old" });
    server.fault = ({ path }) =>
      path.includes("/revision/") ? error(404, "RevisionNotFound") : undefined;
    await refuses(hubFile({ ...place, revision: "old" }), /someone\/tiny has no revision old/);
    assert.deepEqual(said, []);
    Deno.env.set("HF_HUB_OFFLINE", "1");
    assert.equal(await hubFile({ ...place, revision: "old" }), path);
  }),
);

Deno.test(
  "a list in the cache that cannot be read is asked for anew",
  withHubServer(async ({ server, home }) => {
    const commit = server.commit(repo, { "a.txt": "one" });
    const dir = join(home, "hub/models--someone--tiny"), list = join(dir, `trees/${commit}.json`);
    const read = () => hubFile({ repo, path: "a.txt", revision: commit });
    const path = await read();
    const whole = await Deno.readTextFile(list), { files } = JSON.parse(whole);
    const entry = files["a.txt"];
    for (
      const [what, broken] of Object.entries({
        "another format": JSON.stringify({ format_version: 2, files: {} }),
        "half of it": whole.slice(0, 40),
        "no hash": JSON.stringify({ format_version: 1, files: { "a.txt": { size: 3 } } }),
        "a way out": JSON.stringify({ format_version: 1, files: { "../a.txt": entry } }),
      })
    ) {
      await Deno.writeTextFile(list, broken);
      server.log.length = 0;
      assert.equal(await read(), path, what);
      assert.deepEqual(server.asked(), [`/api/models/${repo}/tree/${commit}`], what);
      assert.equal(await Deno.readTextFile(list), whole, what);
    }
  }),
);

Deno.test(
  "where files cannot be locked, two downloads do not write to one file",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const { lock } = Deno.FsFile.prototype;
    Deno.FsFile.prototype.lock = () => Promise.reject(new Error("Not supported"));
    try {
      const paths = await Promise.all([hubFile(place), hubFile(place)]);
      for (const path of paths) await sameBytes(path, BIG);
    } finally {
      Deno.FsFile.prototype.lock = lock;
    }
    assert.deepEqual(ranges(server), [null, null], "each from its beginning");
    assert.deepEqual(await blobs(home), [bigHash]);
  }),
);

Deno.test(
  "a server that is gone in the middle of a file leaves its beginning, and nothing that is used",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    let gone: Promise<void> | undefined;
    answers(server, (range) => {
      gone ??= server[Symbol.asyncDispose](); // it takes no more connections
      return send(BIG, range, 100_000);
    });
    await refuses(hubFile(place), /127\.0\.0\.1:\d+ cannot be reached: .*network connection$/);
    await gone;
    assert.deepEqual(await blobs(home), [`${bigHash}.incomplete`]);
    const kept = join(home, "hub/models--someone--tiny/blobs", `${bigHash}.incomplete`);
    assert.deepEqual(await Deno.readFile(kept), BIG.slice(0, 100_000));
    Deno.env.set("HF_HUB_OFFLINE", "1");
    await refuses(hubFile(place), /sub\/model\.safetensors of .* is not in the cache/);
  }),
);
