/** Texts in tables: JSON, CSV and TSV files, and what is no text at all. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadText } from "../src/data/corpora.ts";
import { openText } from "../src/data/text_source.ts";
import { checkUnchanged } from "../src/experiment/resume.ts";
import type { DataRecord } from "../src/record.ts";

const dir = await Deno.makeTempDir({ prefix: "pollard-tables-" });
addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(dir, name);
  await Deno.writeFile(
    path,
    typeof content === "string" ? new TextEncoder().encode(content) : content,
  );
  return path;
}

const ROWS = ["the cat sat on the mat", 'a "dog", barked\nand ran', "", "鯨 — 🐋"];
const TEXT = ROWS.join("\n\n");
const objects = ROWS.map((text, id) => ({ id, text, more: { text: "no" } }));
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

Deno.test("tables: every format and layout of the same rows is the same text", async () => {
  const lines = objects.map((row) => JSON.stringify(row));
  const csv = (separator: string, end: string) =>
    [`id${separator}text`, ...ROWS.map((text, id) => `${id}${separator}${quoted(text)}`)].join(end);
  const cases: Record<string, string> = {
    "lines.json": lines.join("\n"),
    "spaced.json": "\ufeff\n \n" + lines.join("\r\n\n") + "\n",
    "array.json": JSON.stringify(objects),
    "pretty.JSON": " \n" + JSON.stringify(objects, null, 2) + "\n",
    "rows.csv": csv(",", "\n"),
    "windows.csv": "\ufeff" + csv(",", "\r\n") + "\r\n",
    "rows.tsv": csv("\t", "\n"),
  };
  for (const [name, content] of Object.entries(cases)) {
    assert.equal((await loadText(await file(name, content))).text, TEXT, name);
  }
});

Deno.test("tables: another column is read where it is named", async () => {
  const path = await file("body.csv", "text,body\na,b\nc,d\n");
  assert.equal((await loadText(path, { column: "body" })).text, "b\n\nd");
  const json = await file("body.json", `[{"text": 1, "body": "b"}]`);
  assert.equal((await loadText(json, { column: "body" })).text, "b");
});

Deno.test("tables: long files are read across the ends of blocks", async () => {
  const rows = Array.from({ length: 900 }, (_, i) => `${"鯨,\n".repeat(700)}${i}`);
  const json = await file("long.json", JSON.stringify(rows.map((text) => ({ text }))));
  const csv = await file("long.csv", ["text", ...rows.map(quoted)].join("\n"));
  assert.ok((await Deno.stat(csv)).size > 2 << 20);
  for (const path of [json, csv]) assert.ok((await loadText(path)).text === rows.join("\n\n"));
});

Deno.test("tables: marks inside unquoted fields are characters", async () => {
  assert.equal(
    (await loadText(await file("mark.tsv", 'text\nsay "hi"\n5" disk'))).text,
    'say "hi"\n\n5" disk',
  );
});

Deno.test("tables: what is wrong is named with its place", async () => {
  const cases: [string, string, RegExp][] = [
    ["a.json", "[1, 2]", /a\.json, object 1 holds no object: write one object a line/],
    ["a.json", `{"title": "x"}`, /line 1 has no column text: it has title; name one of them/],
    ["a.json", `[{"text": "x"}, {"body": "y"}]`, /object 2 has no column text: it has body/],
    ["a.json", `[{"text": "x"}, {"text": ["y"]}]`, /object 2 has no text in its .*, but a list/],
    ["a.json", `[{"text": "x"}, {"text": "y"`, /a\.json ends after object 1, in the middle of its/],
    ["a.json", `[{"text": "x"}, {"text": NaN}]`, /a\.json is not JSON after object 1: Unexpected/],
    ["a.json", `[{"text": "x"}] {}`, /a\.json is not JSON after object 1: Unexpected/],
    ["a.json", `[{"text": "\\ud83d"}]`, /object 1 is not text in its column text: half of a/],
    ["a.json", `{\n  "text": "x"\n}`, /line 1 is not JSON: .*or a \.json file one array of such/],
    ["a.json", `"the cat"`, /line 1 holds no object: write one object a line/],
    ["a.json", "the cat", /line 1 is not JSON/],
    ["a.json", "[]", /a\.json is empty: give a file with text in it/],
    [
      "a.jsonl",
      `{"text": "x", "score": NaN}`,
      /line 1 is not JSON \(JSON has no NaN .*\): Unexpect/,
    ],
    ["a.csv", "the cat sat\non the mat\n", /a\.csv has no column text: it has the cat sat; name/],
    ["a.csv", "text,label\na,1\n\nb\n", /a\.csv, line 4 has another number of fields than the f/],
    ["a.csv", "text,label\na, b,1\n", /a\.csv, line 2 has another number of fields than/],
    ["a.csv", 'text\n"a" b\n', /a\.csv, line 2: a field goes on after its closing quotation mark/],
    ["a.csv", 'text\nb\n"a\n', /a\.csv: a quotation mark opens in line 3 and never closes/],
    ["a.csv", "", /a\.csv is empty: give a file with text in it/],
    ["a.csv", "text,label\n", /a\.csv is empty: give a file with text in it/],
    ["a.tsv", "text,label\na,1\n", /a\.tsv has no column text: it has text,label; name one/],
  ];
  for (const [name, content, message] of cases) {
    await assert.rejects(loadText(await file(name, content)), (error: Error) => {
      assert.match(error.message, message, content);
      return true;
    }, content);
  }
  const wide = Array.from({ length: 30 }, (_, i) => `column${i}${"x".repeat(60)}`).join();
  await assert.rejects(loadText(await file("wide.csv", wide)), (error: Error) => {
    assert.match(
      error.message,
      /it has column0x+\.\.\., column1x.*, and 10 more; name one of them/,
    );
    return true;
  });
});

Deno.test("texts: numbers, archives of Python and other encodings get advice that fits", async () => {
  const tokens = new Uint8Array(
    Uint16Array.from({ length: 3000 }, (_, i) => i * 7919 % 50257).buffer,
  );
  const characters = new Uint8Array(Uint16Array.from({ length: 3000 }, (_, i) => i % 65).buffer);
  const utf16 = (text: string, little: boolean) => {
    const bytes = new Uint8Array(2 * text.length), view = new DataView(bytes.buffer);
    for (let i = 0; i < text.length; i++) view.setUint16(2 * i, text.charCodeAt(i), little);
    return bytes;
  };
  const latin1 = Uint8Array.from("caf\u00e9 au lait", (char) => char.charCodeAt(0));
  const cases: [string, Uint8Array, RegExp][] = [
    [
      "train.bin",
      tokens,
      /not UTF-8 text .*but numbers, as nanoGPT .*give the text that it was made/,
    ],
    [
      "train.bin",
      characters,
      /but numbers, as nanoGPT and llm\.c keep tokens in \.bin files: give/,
    ],
    [
      "train.npy",
      Uint8Array.of(0x93, ...utf16("NUMPY", false).filter(Boolean), 1, 0),
      /NumPy array/,
    ],
    ["meta.pkl", Uint8Array.of(0x80, 4, 0x95, 0xb3), /but a Python pickle: give the text/],
    ["data", Uint8Array.of(0x80, 4, 0x95, 0xb3), /but a Python pickle: give the text/],
    ["data", characters, /but binary data: give the text that it was made from/],
    ["data", utf16("the cat sat", true), /but UTF-16 text: .* iconv -f utf-16le -t utf-8/],
    ["data", utf16("the cat sat", false), /but UTF-16 text: .* iconv -f utf-16be -t utf-8/],
    [
      "data",
      latin1,
      /at byte 4 of 12\).*but text in another encoding: .* iconv -f latin1 -t utf-8/,
    ],
  ];
  for (const [name, bytes, message] of cases) {
    await assert.rejects(loadText(await file(name, bytes)), (error: Error) => {
      assert.match(error.message, message, name);
      return true;
    });
  }
});

Deno.test("texts: a split in several formats is refused, for one may repeat another", async () => {
  const folder = join(dir, "several");
  await Deno.mkdir(folder);
  await Deno.writeTextFile(join(folder, "train.jsonl"), `{"text": "a"}`);
  await Deno.writeTextFile(join(folder, "train.csv"), "text\na");
  await assert.rejects(
    openText(folder),
    /split train in several formats \(train\.csv, train\.jsonl\)/,
  );
  await Deno.remove(join(folder, "train.jsonl"));
  assert.equal((await loadText(folder, { split: "train" })).text, "a");
});

Deno.test("resume: a text that was read as prose is not continued as a table", () => {
  const record = { text: "a.csv", sha256: "x" } as DataRecord;
  const table = { ...record, text_column: "text" };
  checkUnchanged(table, table, "m");
  assert.throws(
    () => checkUnchanged(record, table, "m"),
    /a\.csv was read as plain text when the run began, and is read as a table with its text in the/,
  );
});
