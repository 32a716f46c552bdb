import assert from "node:assert/strict";
import { join } from "node:path";
import { hubFile, hubSnapshot, withHub } from "../src/data/hub.ts";
import {
  answers,
  BIG,
  bigHash,
  blobs,
  files,
  patience,
  place,
  ranges,
  README,
  refuses,
  repo,
  sameBytes,
  withHubServer,
} from "./hub_ground.ts";
import { error, send } from "./hub_server.ts";

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
    await refuses(
      hubFile({ ...place, repo: "some/portal" }),
      /does not answer as the hub does: .*; check HF_ENDPOINT/,
    );
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
      /tiny@v2 is not in the cache .*HF_HUB_OFFLINE is set, .*; unset it to download$/,
    );
    await refuses(
      hubFile({ ...place, revision: "0".repeat(40) }),
      /is not in the cache .*HF_HUB_OFFLINE/,
    );
    await refuses(hubFile({ ...place, repo: "some/other" }), /HF_HUB_OFFLINE/);
    assert.deepEqual(server.log, [], "offline nothing is asked");
    Deno.env.delete("HF_HUB_OFFLINE");
    Deno.env.set("TRANSFORMERS_OFFLINE", "1");
    await refuses(hubFile({ ...place, repo: "some/other" }), /and TRANSFORMERS_OFFLINE is set/);
    Deno.env.delete("TRANSFORMERS_OFFLINE");

    await server[Symbol.asyncDispose](); // nobody is there any more
    assert.equal(await hubFile({ ...place, revision: first }), path);
    await refuses(
      hubFile({ ...place, repo: "some/other" }),
      /127\.0\.0\.1:\d+ cannot be reached: client error \(Connect\).*; check the network connection$/,
    );
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
      /the cache .*file cannot be used: .*set HF_HOME or HF_HUB_CACHE to a folder/,
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
      /tiny needs 4503599\.63 GB more, and the disk of .*--tiny has [\d.]+ [kMG]B left: make room, or set HF_HOME/,
    );
    assert.ok(server.log.every(({ large }) => !large));
    await assert.rejects(blobs(home), Deno.errors.NotFound);
  }),
);

Deno.test(
  "room is counted for what is yet to come, with a margin, and for copies as well",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, { ...files, "sub/again.safetensors": BIG });
    const margin = 1 << 20, [small, large] = ["README.md", "sub/model.safetensors"];
    const fetchWith = (free: number | undefined) =>
      withHub({ patience, freeSpace: () => Promise.resolve(free) }, () => hubSnapshot({ repo }));
    const most = BIG.length + README.length + margin;
    await refuses(fetchWith(most - 1), /tiny needs 1\.3 MB more, and .* has 1\.3 MB left/);
    Deno.env.set("HF_HUB_DISABLE_SYMLINKS", "1");
    await refuses(fetchWith(most), /tiny needs 1\.9 MB more/); // three files, and two blobs
    Deno.env.delete("HF_HUB_DISABLE_SYMLINKS");
    assert.ok(server.log.every(({ path }) => !path.includes("resolve")), "nothing is begun");

    answers(server, (range) => send(BIG, range, 100_000), () => error(418, "Teapot"));
    await refuses(fetchWith(most), /answers 418/);
    const kept = await Deno.stat(
      join(home, "hub/models--someone--tiny/blobs", `${bigHash}.incomplete`),
    );
    assert.equal(kept.size, 100_000);
    answers(server, () => undefined);
    await refuses(fetchWith(BIG.length - 100_000 + margin - 1), /tiny needs 1\.2 MB more/);
    const { dir } = await fetchWith(BIG.length - 100_000 + margin);
    await sameBytes(join(dir, large), BIG);
    assert.equal(await Deno.readTextFile(join(dir, small)), README);
    await fetchWith(0); // all is there
  }),
);

Deno.test(
  "a disk that fills up on the way: what came is kept, no lock is held, and the next try goes on",
  withHubServer(async ({ server, home }) => {
    server.commit(repo, files);
    const { write } = Deno.FsFile.prototype;
    let room = 123_456;
    Deno.FsFile.prototype.write = async function (bytes) {
      if (room === 0) throw Object.assign(new Error("No space left on device"), { code: "ENOSPC" });
      const written = await write.call(this, bytes.subarray(0, room));
      room -= written;
      return written;
    };
    try {
      await refuses(
        hubFile(place),
        /the cache .*hub cannot be used: No space left on device; set HF_HOME or HF_HUB_CACHE/,
      );
    } finally {
      Deno.FsFile.prototype.write = write;
    }
    assert.deepEqual(await blobs(home), [`${bigHash}.incomplete`]);
    const snapshots = join(home, "hub/models--someone--tiny/snapshots");
    await assert.rejects(Deno.stat(snapshots), Deno.errors.NotFound);
    ranges(server);
    await sameBytes(await hubFile(place), BIG);
    const [range] = ranges(server);
    assert.match(range!, /^bytes=[1-9]\d*-$/);
    assert.deepEqual(await blobs(home), [bigHash]);
  }),
);
