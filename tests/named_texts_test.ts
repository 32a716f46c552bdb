/** Texts by name, from a server on localhost: fetched once, checked, and never half kept. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { sha256 } from "../src/data/files.ts";
import { loadText } from "../src/data/corpora.ts";
import { NAMED_TEXTS, namedText } from "../src/data/named_texts.ts";

const TEXT = new TextEncoder().encode(
  "First Citizen: before we proceed any further, hear me speak.",
);

Deno.test("a named text is fetched once, checked by its hash, and kept", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pollard-named-" });
  let asked = 0, answer = () => new Response(TEXT);
  const server = Deno.serve({ port: 0, onListen: () => {} }, () => (asked++, answer()));
  try {
    const url = `http://127.0.0.1:${server.addr.port}/input.txt`;
    const named = { name: "play", url, size: TEXT.length, sha256: await sha256(TEXT) };
    const kept = async () => (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);

    answer = () => new Response("gone", { status: 404 });
    await assert.rejects(() => namedText(named, { folder }), {
      name: "TypeError",
      message: /play cannot be fetched from .*: the server answered 404; fetch it on a machine/,
    });
    answer = () => new Response(TEXT.subarray(0, 20));
    await assert.rejects(
      () => namedText(named, { folder }),
      /is not the text that play stands for/,
    );
    assert.deepEqual(await kept(), [], "nothing half fetched is kept");

    answer = () => new Response(TEXT);
    assert.deepEqual(await namedText(named, { folder }), TEXT);
    assert.deepEqual(await namedText(named, { folder }), TEXT);
    assert.equal(asked, 3, "the last time it came from the cache");
    const [file] = await kept();
    await Deno.writeFile(join(folder, file), TEXT.subarray(1));
    assert.deepEqual(await namedText(named, { folder }), TEXT, "a damaged copy is fetched again");
    assert.equal(asked, 4);
  } finally {
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("without a network, a name says what to do instead", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pollard-named-" });
  const named = { ...NAMED_TEXTS.tiny_shakespeare, url: "http://127.0.0.1:1/input.txt" };
  await assert.rejects(
    () => namedText(named, { folder }),
    /tiny_shakespeare cannot be fetched: .* blocked; .*give its path instead of tiny_shakespeare/,
  );
  await Deno.remove(folder, { recursive: true });
  await assert.rejects(() => loadText("no_such_text"), /or one of moby_dick, tiny_shakespeare/);
});

Deno.test("a server that is mute is given up, and Ctrl-C does not wait for it", async () => {
  const folder = await Deno.makeTempDir({ prefix: "pollard-named-" });
  const answers: ((response: Response) => void)[] = [];
  const server = Deno.serve(
    { port: 0, onListen: () => {} },
    () => new Promise<Response>((answer) => answers.push(answer)),
  );
  try {
    const url = `http://127.0.0.1:${server.addr.port}/input.txt`;
    const named = { name: "play", url, size: TEXT.length, sha256: await sha256(TEXT) };
    await assert.rejects(() => namedText(named, { folder, stallMs: 50 }), {
      name: "TypeError",
      message: /play cannot be fetched: .* it does not answer; fetch it on a machine/,
    });
    const stop = new AbortController();
    const stopped = namedText(named, { folder, signal: stop.signal });
    setTimeout(() => stop.abort(new DOMException("Stopped.", "AbortError")), 20);
    await assert.rejects(stopped, { name: "AbortError" });
  } finally {
    answers.forEach((answer) => answer(new Response()));
    await server.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a cache that has no room, or takes nothing, is refused before anything is asked", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-named-" });
  let asked = 0;
  const server = Deno.serve({ port: 0, onListen: () => {} }, () => (asked++, new Response(TEXT)));
  try {
    const url = `http://127.0.0.1:${server.addr.port}/input.txt`;
    const named = { name: "play", url, size: TEXT.length, sha256: await sha256(TEXT) };
    const folder = join(dir, "new");
    await assert.rejects(
      () => namedText(named, { folder, freeSpace: () => Promise.resolve(1e6) }),
      {
        name: "TypeError",
        message: `play needs 1.0 MB more, and the disk of ${folder} has 1.0 MB left: ` +
          "make room there, or name another folder by POLLARD_CACHE",
      },
    );
    await assert.rejects(Deno.stat(folder), Deno.errors.NotFound);
    const file = join(dir, "file");
    await Deno.writeTextFile(file, "in the way");
    await assert.rejects(() => namedText(named, { folder: join(file, "below") }), {
      name: "TypeError",
      message: /play cannot be kept in .*below: .*Not a directory.*; make room .* POLLARD_CACHE/,
    });
    assert.equal(asked, 0);
    const { write } = Deno.FsFile.prototype;
    Deno.FsFile.prototype.write = () => Promise.reject(new Error("No space left on device"));
    try {
      await assert.rejects(
        () => namedText(named, { folder }),
        /play cannot be kept in .*new: No space left on device; make room there/,
      );
    } finally {
      Deno.FsFile.prototype.write = write;
    }
    assert.deepEqual([...Deno.readDirSync(folder)], [], "nothing unfinished is left");
    assert.deepEqual(await namedText(named, { folder }), TEXT);
  } finally {
    await server.shutdown();
    await Deno.remove(dir, { recursive: true });
  }
});
