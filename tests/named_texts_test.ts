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
    const named = { name: "play", url, sha256: await sha256(TEXT) };
    const kept = async () => (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name);

    answer = () => new Response("gone", { status: 404 });
    await assert.rejects(() => namedText(named, folder), {
      name: "TypeError",
      message: /play cannot be fetched from .*: the server answered 404; fetch it on a machine/,
    });
    answer = () => new Response(TEXT.subarray(0, 20));
    await assert.rejects(() => namedText(named, folder), /is not the text that play stands for/);
    assert.deepEqual(await kept(), [], "nothing half fetched is kept");

    answer = () => new Response(TEXT);
    assert.deepEqual(await namedText(named, folder), TEXT);
    assert.deepEqual(await namedText(named, folder), TEXT);
    assert.equal(asked, 3, "the last time it came from the cache");
    const [file] = await kept();
    await Deno.writeFile(join(folder, file), TEXT.subarray(1));
    assert.deepEqual(await namedText(named, folder), TEXT, "a damaged copy is fetched again");
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
    () => namedText(named, folder),
    /tiny_shakespeare cannot be fetched .*give its path instead of tiny_shakespeare/,
  );
  await Deno.remove(folder, { recursive: true });
  await assert.rejects(() => loadText("no_such_text"), /or one of moby_dick, tiny_shakespeare/);
});
