/** Texts from files and data sets of every format, and their splits. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadText } from "../src/data/corpora.ts";
import { sha256 } from "../src/data/files.ts";
import { boundParts } from "../src/data/parts.ts";
import { openText } from "../src/data/text_source.ts";
import { fixtureUrl, loadFixtureJson } from "./fixtures.ts";
import { withEnv } from "./hub_ground.ts";
import { HubServer } from "./hub_server.ts";

const rows: string[] = loadFixtureJson("texts/rows.json");
const parquet = (codec: string) => fileURLToPath(fixtureUrl(`texts/rows-${codec}.parquet`));

/** A test with a folder of its own. */
function inFolder(name: string, action: (dir: string) => Promise<void>): void {
  Deno.test(name, async () => {
    const dir = await Deno.makeTempDir({ prefix: "pollard-texts-" });
    try {
      await action(dir);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

Deno.test("a Parquet file's text is its rows, a blank line between, whatever compresses it", async () => {
  for (const codec of ["snappy", "zstd", "gzip"]) {
    const path = parquet(codec);
    const { text, sha256: hash } = await loadText(path);
    assert.equal(text, rows.join("\n\n"), codec);
    assert.equal(hash, await sha256(await Deno.readFile(path)));
  }
  const { text } = await loadText(parquet("snappy"), { column: "same" });
  assert.equal(text, rows.map(() => "x").join("\n\n"));
});

inFolder("what is wrong with a Parquet file is named", async (dir) => {
  const column = (name: string) => loadText(parquet("snappy"), { column: name });
  await assert.rejects(column("txt"), {
    name: "TypeError",
    message: /has no column txt: it has id, text, same, maybe, words; name one .* text_column/,
  });
  await assert.rejects(column("id"), /the column id does not hold text \(INT64\)/);
  await assert.rejects(column("words"), /the column words does not hold text \(nested\)/);
  await assert.rejects(column("maybe"), /: row 11 has no text in its column maybe: name another/);
  const path = join(dir, "text.parquet"), whole = await Deno.readFile(parquet("zstd"));
  const cases: [Uint8Array | string, RegExp][] = [
    ["", /text\.parquet is not a Parquet file: it is empty/],
    ["not a table", /text\.parquet is not a Parquet file: it does not begin as one/],
    [Uint8Array.of(0x1f, 0x8b, 8, 0), /is not a Parquet file, but a gzip file: unpack it first/],
    [whole.with(100, 7).fill(7, 100, 200), /text\.parquet is a damaged Parquet file: .*; fetch it/],
    ...[4, 11, 100, whole.length - 1].map((size): [Uint8Array, RegExp] => [
      whole.subarray(0, size),
      new RegExp(`only a part of a Parquet file: it ends after ${size} bytes, .*; fetch it anew`),
    ]),
  ];
  for (const [content, message] of cases) {
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    await assert.rejects(loadText(path), { name: "TypeError", message });
  }
  // what stands once is stored as it is: a letter of it becomes a byte that no character has
  const plain = await Deno.readFile(parquet("snappy"));
  const at = new TextDecoder("latin1").decode(plain).indexOf("Whale");
  assert.ok(at > 0);
  await Deno.writeFile(path, plain.with(at, 0xff));
  await assert.rejects(
    loadText(path),
    /the column text is not UTF-8 text in a row from 0 to \d+: name another as text_column/,
  );
});

inFolder("JSON lines: rows, empty lines, and lines over the ends of blocks", async (dir) => {
  for (const ending of ["jsonl", "ndjson", "JSONL"]) {
    const path = join(dir, `rows.${ending}`);
    await Deno.writeTextFile(
      path,
      rows.map((text, id) => JSON.stringify({ id, text })).join("\r\n\n") + "\n",
    );
    assert.equal((await loadText(path)).text, rows.join("\n\n"));
  }
  // two blocks and more, and characters of three bytes that lie across their ends
  const long = Array.from({ length: 900 }, (_, i) => "鯨".repeat(900) + i);
  const path = join(dir, "long.jsonl");
  await Deno.writeTextFile(path, long.map((body) => JSON.stringify({ body })).join("\n"));
  assert.ok((await Deno.stat(path)).size > 2 << 20);
  assert.equal((await loadText(path, { column: "body" })).text, long.join("\n\n"));
  // a row of more than a block, and others that are read together with its end
  const some = ["a".repeat(1_200_000), "b", "c".repeat(1_200_000), "d", "e"];
  await Deno.writeTextFile(path, some.map((body) => JSON.stringify({ body })).join("\n"));
  assert.equal((await loadText(path, { column: "body" })).text, some.join("\n\n"));
});

inFolder("what is wrong with a line of JSON is named", async (dir) => {
  const path = join(dir, "rows.jsonl");
  const cases: [string, RegExp][] = [
    [`{"text": "a"}\n\n{"text": `, /rows\.jsonl, line 3 is not JSON: .*; a line holds \{"text"/],
    [
      `{"text": "a"}\n["b"]`,
      /line 2 holds a JSON array: write one object a line, \{"text": "\.\.\."\}/,
    ],
    [`{"text": "a"}\n"b"`, /line 2 holds no object: write one object a line/],
    [`{"title": "a", "body": "b"}`, /line 1 has no column text: it has title, body; name one/],
    [`{}`, /line 1 has no column text: it has none$/],
    [
      `{"text": 4}`,
      /line 1 has no text in its column text, but a number: name another as text_col/,
    ],
    [`{"text": "\\ud83d"}`, /line 1 is not text in its column text: half of a surrogate pair/],
    [`{"text": null}`, /line 1 has no text in its column text, but null/],
    [`{"text": ["a"]}`, /line 1 has no text in its column text, but a list/],
  ];
  for (const [content, message] of cases) {
    await Deno.writeTextFile(path, content);
    await assert.rejects(loadText(path), { name: "TypeError", message });
  }
  await Deno.writeFile(path, Uint8Array.of(0x7b, 0xff, 0x7d));
  await assert.rejects(loadText(path), /at byte 1 of 3/);
  await Deno.writeTextFile(path, "\n\n");
  await assert.rejects(loadText(path), { name: "RangeError", message: /is empty/ });
});

inFolder("plain text: characters across blocks, and where it stops being text", async (dir) => {
  const path = join(dir, "text.txt"), block = 1 << 20;
  for (const character of ["é", "鯨", "🐋"]) {
    for (let before = 1; before <= 4; before++) {
      const text = "\ufeff" + "a".repeat(block - 3 - before) + character + "b" + "\ufeff";
      await Deno.writeTextFile(path, text);
      assert.ok((await loadText(path)).text === text.slice(1), `${character} ${before}`);
    }
  }
  const bytes = new TextEncoder().encode("é".repeat(block));
  bytes[block + 5] = 0xff;
  await Deno.writeFile(path, bytes);
  await assert.rejects(loadText(path), {
    message: new RegExp(`byte ${block + 5} of ${2 * block}`),
  });
  await Deno.writeFile(path, bytes.subarray(0, block - 1)); // in the middle of a character
  await assert.rejects(loadText(path), {
    message: new RegExp(`byte ${block - 1} of ${block - 1}`),
  });
});

inFolder("what is no text is refused with what it is, and what to do with it", async (dir) => {
  const path = join(dir, "text.txt"), words = "Call me Ishmael. ".repeat(100);
  const wide = new Uint8Array(Uint16Array.from(words, (char) => char.charCodeAt(0)).buffer);
  const gzip = new Blob([words]).stream().pipeThrough(new CompressionStream("gzip"));
  const cases: [Uint8Array<ArrayBuffer>, RegExp][] = [
    [
      new Uint8Array(await new Response(gzip).arrayBuffer()),
      /text\.txt is not UTF-8 text .*, but a gzip file: unpack it first, for example with gunzip$/,
    ],
    [await Deno.readFile(parquet("snappy")), /but a Parquet file: let its name end in \.parquet/],
    [Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0), /but a Zstandard file: unpack it/],
    [Uint8Array.of(0xff, 0xfe, ...wide), /text\.txt is not UTF-8 text .*zeros\), but UTF-16 text/],
    [wide, /text\.txt is not UTF-8 text .*zeros\), but UTF-16 text: .*iconv -f utf-16le -t utf-8/],
    [Uint8Array.of(0xfe, 0xff, 0x4e, 0x2d), /but UTF-16 text: convert it, .* iconv -f utf-16/],
  ];
  for (const [bytes, message] of cases) {
    await Deno.writeFile(path, bytes);
    await assert.rejects(loadText(path), { name: "TypeError", message });
  }
  await Deno.writeTextFile(path, words + "\0" + words);
  assert.equal((await loadText(path)).text.length, 2 * words.length + 1, "a zero is a character");
  for (const blank of ["", "\ufeff", " \n\t \u3000\n"]) {
    await Deno.writeTextFile(path, blank);
    await assert.rejects(loadText(path), {
      name: "RangeError",
      message: /text\.txt is empty: give/,
    });
  }
  await Deno.writeTextFile(join(dir, "rows.jsonl"), `{"text": ""}\n{"text": " "}`);
  await assert.rejects(loadText(join(dir, "rows.jsonl")), /rows\.jsonl is empty/);
  if (Deno.build.os !== "windows") {
    await assert.rejects(openText("/dev/zero"), {
      name: "TypeError",
      message: /\/dev\/zero is a pipe or a device, not a file: give a file that can be read again/,
    });
  }
  await Deno.writeTextFile(path, words);
  for (const name of [path, "moby_dick"]) {
    await assert.rejects(openText(name, { column: "body" }), {
      name: "TypeError",
      message: `${name} is text as a whole and has no columns: leave out text_column body`,
    });
  }
});

inFolder("a folder's files are its splits, shards in order", async (dir) => {
  const write = (name: string, text: string) => Deno.writeTextFile(join(dir, name), text);
  await write("train-00000-of-00002.txt", "first");
  await write("train-00001-of-00002.txt", "second");
  await write("validation.jsonl", `{"text": "third"}`);
  await write("README.md", "train");
  const source = await openText(dir);
  assert.equal(source.hasSplits, true);
  assert.deepEqual(Object.keys(source.splits), ["train", "validation"]);
  assert.equal((await loadText(dir, { split: "train" })).text, "first\n\nsecond");
  assert.equal((await loadText(dir, { split: "validation" })).text, "third");
  const none = /has the splits train, validation: name one of them/;
  await assert.rejects(loadText(dir), { name: "RangeError", message: none });
  await assert.rejects(loadText(dir, { split: "test" }), /name one of them, not test/);
  await assert.rejects(
    loadText(join(dir, "README.md"), { split: "test" }),
    /^RangeError: split must not be given for a text without splits: .*README\.md$/,
  );
  await Deno.mkdir(join(dir, "small"));
  await write("small/train.txt", "fourth");
  assert.equal((await loadText(dir, { config: "small", split: "train" })).text, "fourth");
  await Deno.mkdir(join(dir, "above", "below"), { recursive: true });
  await assert.rejects(
    openText(join(dir, "above")),
    /no file called after the split train .*: give a file, or one of its folders .*: below/,
  );
  await assert.rejects(
    openText(join(dir, "above"), { config: "other" }),
    /above has no folder other$/,
  );
  await assert.rejects(
    openText("moby_dick", { config: "raw" }),
    /moby_dick has no configurations: leave out dataset_config "raw"/,
  );
});

Deno.test("parts: own splits are kept, and what a data set lacks is cut from its train", () => {
  const sizes = { T: 4, B: 2 };
  const part = (split: string, start: number, end: number) => ({ split, start, end });
  assert.deepEqual(boundParts({ train: 8500, validation: 70, test: 60 }, sizes), {
    train: part("train", 0, 8000),
    calibration: part("train", 8000, 8500),
    validation: part("validation", 0, 70),
    test: part("test", 0, 60),
  });
  assert.deepEqual(boundParts({ train: 9001, test: 60 }, sizes), {
    train: part("train", 0, 8000),
    calibration: part("train", 8000, 8500),
    validation: part("train", 8500, 9001),
    test: part("test", 0, 60),
  });
  assert.deepEqual(boundParts({ train: 9500, validation: 70 }, sizes), {
    train: part("train", 0, 8000),
    calibration: part("train", 8000, 8500),
    validation: part("validation", 0, 70),
    test: part("train", 8500, 9500),
  });
  assert.throws(() => boundParts({ train: 9500, validation: 4 }, sizes), {
    name: "RangeError",
    message: /the split validation has 4 tokens: windows of 4 take at least 5/,
  });
  assert.throws(() => boundParts({ train: 30, validation: 9, test: 9 }, sizes), {
    message:
      /the split train has 30 tokens: two parts for batches of 2 x 4 tokens take at least 85/,
  });
  boundParts({ train: 85, validation: 5, test: 5 }, sizes);
});

inFolder("wikitext comes from the hub, once, with its own splits", async (dir) => {
  await using server = new HubServer();
  const file = await Deno.readFile(parquet("snappy"));
  const files = (config: string, train: string[]) =>
    [...train, "validation-00000-of-00001", "test-00000-of-00001"]
      .map((name): [string, Uint8Array] => [`${config}/${name}.parquet`, file]);
  const commit = server.commit(
    "datasets/Salesforce/wikitext",
    Object.fromEntries([
      ...files("wikitext-2-raw-v1", ["train-00000-of-00001"]),
      ...files("wikitext-103-raw-v1", ["train-00000-of-00002", "train-00001-of-00002"]),
    ]),
  );
  await withEnv({ HF_HOME: dir, HF_ENDPOINT: server.url }, async () => {
    const small = await openText("wikitext");
    assert.deepEqual([small.config, small.hasSplits], ["wikitext-2-raw-v1", true]);
    assert.deepEqual(small.hub, { repo: "Salesforce/wikitext", revision: "main", commit });
    assert.deepEqual(Object.keys(small.splits), ["train", "validation", "test"]);
    for (const [split, [{ name }]] of Object.entries(small.splits)) {
      assert.match(name, new RegExp(`wikitext-2-raw-v1.${split}-00000-of-00001\\.parquet$`));
    }
    for (const name of ["wikitext", "wikitext-2-raw-v1"]) {
      assert.equal((await loadText(name, { split: "test" })).text, rows.join("\n\n"));
    }
    const both = [...rows, ...rows].join("\n\n");
    const config = "wikitext-103-raw-v1";
    assert.equal((await loadText("wikitext", { config, split: "train" })).text, both);
    await assert.rejects(
      openText("wikitext", { config: "wikitext-3" }),
      /dataset_config must be one of wikitext-2-raw-v1, wikitext-103-raw-v1: wikitext-3/,
    );
    await assert.rejects(
      openText("wikitext-2-raw-v1", { config }),
      /does not fit the text wikitext-2/,
    );
    Deno.env.set("HF_HUB_OFFLINE", "1");
    server.asked();
    assert.equal((await loadText("wikitext", { split: "test" })).text, rows.join("\n\n"));
    assert.deepEqual(server.asked(), [], "what was fetched is there without the hub");
    Deno.env.set("HF_HOME", join(dir, "empty"));
    await assert.rejects(openText("wikitext"), {
      name: "TypeError",
      message: /Salesforce\/wikitext/,
    });
  });
});
