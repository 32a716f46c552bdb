/** Long texts to tokens: piece by piece, into files that are kept, read without filling memory. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { evalWindows, TrainBatches, WindowList } from "../src/data/batches.ts";
import { trainBpe } from "../src/data/bpe.ts";
import { loadText } from "../src/data/corpora.ts";
import { splitTokens } from "../src/data/parts.ts";
import { openText } from "../src/data/text_source.ts";
import { encodePieces, tokenise } from "../src/data/tokenise.ts";
import { placeOf } from "../src/data/token_cache.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";
import { FileTokens, type Tokens, type TokenWidth } from "../src/data/tokens.ts";
import { Random } from "../src/random.ts";

const moby = (await loadText("moby_dick")).text;
const json = trainBpe(moby.slice(0, 300_000), 600);
const tokenizer = await Tokenizer.fromJson(json);

/** A test with a folder of its own. */
function inFolder(name: string, action: (dir: string) => Promise<void>): void {
  Deno.test(name, async () => {
    const dir = await Deno.makeTempDir({ prefix: "pollard-tokens-" });
    try {
      await action(dir);
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

const all = (tokens: Tokens) => [...tokens.subarray(0, tokens.length)];
const keptIn = async (dir: string) =>
  (await Array.fromAsync(Deno.readDir(join(dir, "tokens")))).map(({ name }) =>
    join(dir, "tokens", name)
  );

/** GPT-2's own pattern, from its encoder.py. */
const PATTERN = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** White space of every kind, and what stands around it. */
const KINDS = [
  ..." \n\t\r\v\f",
  ...["  ", "\n\n", "\r\n", " \n", "\u00a0", "\u1680", "\u2003", "\u2028", "\u3000", "\ufeff"],
  ...["\u0085", "\u200b", "a", "don't", "'s", "'", "é", "ß", "鯨", "🐋", "e\u0301", "7", "½", "٣"],
  ...[".", "...", "—", "$", "<|endoftext|>", "<|end", "|>"],
];

function randomText(random: Random, length: number): string {
  return Array.from({ length }, () => KINDS[random.int(KINDS.length)]).join("");
}

Deno.test("a cut before white space changes no word of GPT-2's pattern", () => {
  const random = new Random(11);
  let cuts = 0;
  for (let i = 0; i < 400; i++) {
    const text = randomText(random, 40);
    const whole = text.match(PATTERN)!;
    for (let end = text.length; (end = tokenizer.lastCut(text.slice(0, end))) > 0; cuts++) {
      const words = [text.slice(0, end), text.slice(end)].flatMap((part) => part.match(PATTERN)!);
      assert.deepEqual(words, whole, JSON.stringify([text, end]));
    }
  }
  assert.ok(cuts > 1000, `${cuts} cuts`);
});

Deno.test("the last place to cut is found near the end of a long text, and far from it", () => {
  const dense = "鯨".repeat(5000);
  assert.equal(tokenizer.lastCut(`one two\n${dense}`), 7);
  assert.equal(tokenizer.lastCut(`${dense} two`), 5000);
  assert.equal(tokenizer.lastCut(`${dense}\n\n two`), 5000, "not between white spaces");
  assert.equal(tokenizer.lastCut(dense), 0);
  assert.equal(tokenizer.lastCut(" begins"), 0, "nothing stands before it");
  assert.equal(tokenizer.lastCut(""), 0);
});

Deno.test("a text in pieces has the whole text's numbers", async () => {
  const random = new Random(5);
  const bytes = { type: "ByteLevel", trim_offsets: true, use_regex: true };
  const prefixed = { ...bytes, add_prefix_space: true };
  for (const change of [{}, { pre_tokenizer: prefixed }, { normalizer: { type: "NFC" } }]) {
    const t = await Tokenizer.fromJson({ ...json, ...change });
    const text = randomText(random, 20_000);
    const pieces: string[] = [];
    for (let at = 0, end; at < text.length; at = end) {
      end = at + 1 + random.int(2000);
      pieces.push(text.slice(at, end)); // in the middle of a character too
    }
    assert.ok(pieces.length > 10);
    const parts = await Array.fromAsync(encodePieces(t, pieces, 1500));
    assert.ok(t.splits ? parts.length > 5 : parts.length === 1);
    assert.deepEqual(parts.flatMap((ids) => [...ids]), [...await t.encode(text, Infinity)]);
  }
});

inFolder("tokens in a file are cut, drawn and scored as those in memory", async (dir) => {
  for (const [width, base] of [[2, 0], [4, 70_000]] as [TokenWidth, number][]) {
    const inMemory = Uint32Array.from({ length: 2003 }, (_, i) => base + i * 31 % 60_000);
    const path = join(dir, `${width}.bin`), offset = 12;
    const numbers = width === 2 ? Uint16Array.from(inMemory) : inMemory;
    const file = new Uint8Array(offset + numbers.byteLength);
    file.set(new Uint8Array(numbers.buffer), offset);
    await Deno.writeFile(path, file);
    using inFile = FileTokens.open(path, { offset, length: inMemory.length, width });
    assert.deepEqual(all(inFile), [...inMemory]);
    const sizes = { T: 8, B: 2 };
    const parts = splitTokens(inFile, sizes), expected = splitTokens(inMemory, sizes);
    for (const name of ["train", "calibration", "validation", "test"] as const) {
      assert.equal(parts[name].length, expected[name].length);
      assert.deepEqual(all(parts[name]), [...expected[name]], name);
      assert.deepEqual([...evalWindows(parts[name], 8, 3)], [...evalWindows(expected[name], 8, 3)]);
    }
    const options = { ...sizes, seed: 3 };
    const a = new TrainBatches(parts.train, options), b = new TrainBatches(expected.train, options);
    for (let i = 0; i < 20; i++) assert.deepEqual(a.next(), b.next());
    await Deno.truncate(path, 100);
    assert.throws(() => all(inFile), { message: /became shorter while it was read/ });
  }
});

Deno.test("a list of windows has a length, a limit and slices", () => {
  const tokens = Uint32Array.from({ length: 41 }, (_, i) => i);
  for (const [T, stride] of [[8, 8], [8, 3], [5, 4], [40, 1], [41, 41], [64, 2], [2, 2]]) {
    const every = [...evalWindows(tokens, T, stride)];
    const list = new WindowList(tokens, T, stride);
    assert.equal(list.length, every.length);
    assert.deepEqual(list.slice(1, 3), every.slice(1, 3));
    assert.deepEqual(list.slice(0), every);
    const two = new WindowList(tokens, T, stride, 2);
    assert.deepEqual([...two], every.slice(0, 2));
    assert.equal(two.length, Math.min(2, every.length));
  }
});

inFolder("a long text is tokenised once; a damaged file of tokens is made anew", async (dir) => {
  const path = join(dir, "text.txt"), text = moby.slice(0, 40_000);
  await Deno.writeTextFile(path, text);
  const source = await openText(path);
  let encoded = 0;
  const { encode } = tokenizer;
  tokenizer.encode = (...args) => (encoded++, encode.apply(tokenizer, args));
  try {
    const keep = { folder: dir, keptFrom: 1 };
    const expected = [...await encode.call(tokenizer, text)];
    const tokens = async (): Promise<number[]> => {
      encoded = 0;
      const { splits: { train } } = await tokenise(source, tokenizer, keep);
      assert.ok(train instanceof FileTokens);
      using file = train;
      return all(file);
    };
    assert.deepEqual(await tokens(), expected);
    assert.ok(encoded > 0);
    const [file, ...more] = await keptIn(dir);
    assert.deepEqual(more, [], "nothing unfinished is left");
    const good = await Deno.readFile(file);
    assert.equal(good.length, 96 + 2 * expected.length);
    assert.deepEqual(await tokens(), expected);
    assert.equal(encoded, 0, "read from the file");

    const damaged: [string, Uint8Array][] = [
      ["shorter", good.subarray(0, -2)],
      ["longer", Uint8Array.of(...good.subarray(0, 500), ...good.subarray(0, 500))],
      ["empty", new Uint8Array(0)],
      ["half a header", good.subarray(0, 50)],
      ...[0, 8, 16, 30, 60, 90, 96, 5000, good.length - 1].map((at): [string, Uint8Array] => {
        const bytes = good.slice();
        bytes[at] ^= 1;
        return [`byte ${at}`, bytes];
      }),
    ];
    for (const [what, bytes] of damaged) {
      await Deno.writeFile(file, bytes);
      assert.deepEqual(await tokens(), expected, what);
      assert.ok(encoded > 0, what);
      assert.deepEqual(await Deno.readFile(file), good, what);
    }

    const other = await Tokenizer.fromJson(trainBpe(moby.slice(0, 50_000), 300));
    using smaller = (await tokenise(source, other, keep)).splits.train as FileTokens;
    assert.deepEqual(all(smaller), [...await other.encode(text)]);
    assert.equal((await keptIn(dir)).length, 2, "another tokenizer has a file of its own");
    await Deno.writeTextFile(path, text + "!");
    using longer = (await tokenise(await openText(path), tokenizer, keep)).splits
      .train as FileTokens;
    assert.equal(longer.length, expected.length + 1);
    assert.equal((await keptIn(dir)).length, 3, "so has another text");
  } finally {
    tokenizer.encode = encode;
  }
});

inFolder("what stops in the middle leaves nothing", async (dir) => {
  const path = join(dir, "text.txt"), text = moby.slice(0, 600_000);
  await Deno.writeTextFile(path, text);
  const keep = { folder: dir, keptFrom: 1 };
  const controller = new AbortController();
  const { encode } = tokenizer;
  let begun = 0;
  tokenizer.encode = (...args) => {
    if (++begun === 2) controller.abort(new DOMException("Stopped.", "AbortError"));
    return encode.apply(tokenizer, args);
  };
  try {
    await Deno.writeTextFile(path, text.repeat(3));
    const source = await openText(path);
    await assert.rejects(
      tokenise(source, tokenizer, { ...keep, signal: controller.signal }),
      { name: "AbortError" },
    );
  } finally {
    tokenizer.encode = encode;
  }
  assert.equal(begun, 2);
  assert.deepEqual(await keptIn(dir), []);
  const bytes = new TextEncoder().encode(text);
  bytes[300_000] = 0xff;
  await Deno.writeFile(path, bytes);
  await assert.rejects(tokenise(await openText(path), tokenizer, keep), /byte 300000 of/);
  assert.deepEqual(await keptIn(dir), []);
  await Deno.writeTextFile(path, text);
  const source = await openText(path);
  await Deno.writeTextFile(path, text + " more");
  await assert.rejects(tokenise(source, tokenizer, keep), /was changed while it was read/);
  const folder = join(dir, "file");
  await Deno.writeTextFile(folder, "in the way");
  await assert.rejects(tokenise(await openText(path), tokenizer, { ...keep, folder }), {
    name: "TypeError",
    message:
      /tokens cannot be kept in .*; make room there, or name another folder by POLLARD_CACHE/,
  });
});

inFolder("another column of the same file has tokens of its own", async (dir) => {
  const path = join(dir, "rows.jsonl");
  await Deno.writeTextFile(path, `{"title": "The whale", "body": "the sea"}`);
  for (const [column, text] of [["title", "The whale"], ["body", "the sea"]]) {
    const source = await openText(path, { column });
    const { splits } = await tokenise(source, tokenizer, { folder: dir, keptFrom: 1 });
    assert.equal(await tokenizer.decode(all(splits.train)), text);
    (splits.train as FileTokens).dispose();
  }
});

Deno.test("a number takes two bytes as long as every token's fits", () => {
  const key = { files: ["0"], columns: [undefined], tokenizer: "0" };
  assert.deepEqual([65536, 65537].map((size) => placeOf("", key, size).width), [2, 4]);
});

/** A tokenizer that makes a token of four characters, and is quick. */
const FOURS = {
  ...{ splits: true, vocabSize: 60_000, fingerprint: "fours" },
  lastCut: (text: string) => text.lastIndexOf(" "),
  encode: (text: string) => new Uint32Array(text.length >> 2),
} as unknown as Tokenizer;

inFolder(
  "tokens that the disk has no room for are given up early, and leave nothing",
  async (dir) => {
    const path = join(dir, "text.txt"), size = 40 << 20;
    await Deno.writeTextFile(path, "a whale ".repeat(size / 8));
    const source = await openText(path);
    const asked: string[] = [];
    const free = (bytes: number) => ({
      folder: dir,
      freeSpace: (folder: string) => (asked.push(folder), Promise.resolve(bytes)),
    });
    await assert.rejects(tokenise(source, FOURS, free(8 << 20)), {
      name: "TypeError",
      message:
        /the rest of the tokens of .*text\.txt needs 1\d\.\d MB more, and the disk of .*tokens has 8\.4 MB left: make room there, or name another folder by POLLARD_CACHE/,
    });
    assert.deepEqual(await keptIn(dir), []);
    using tokens = (await tokenise(source, FOURS, free(16 << 20))).splits.train as FileTokens;
    assert.ok(tokens.length > size / 4 - 1000);
    assert.deepEqual(asked, Array(2).fill(join(dir, "tokens")), "once in a text");

    const { write } = Deno.FsFile.prototype;
    let room = 1_000_000;
    Deno.FsFile.prototype.write = function (bytes) {
      if ((room -= bytes.length) < 0) return Promise.reject(new Error("No space left on device"));
      return write.call(this, bytes);
    };
    try {
      const short = { ...free(Infinity), folder: join(dir, "other") };
      await assert.rejects(
        tokenise(source, FOURS, short),
        /tokens cannot be kept in .*\.bin: No space left on device; make room there/,
      );
      assert.deepEqual(await keptIn(short.folder), []);
    } finally {
      Deno.FsFile.prototype.write = write;
    }
  },
);

inFolder("splits and rows become tokens of their own; an empty split is refused", async (dir) => {
  await Deno.writeTextFile(join(dir, "train.jsonl"), `{"text": "The whale"}\n{"text": "and"}`);
  await Deno.writeTextFile(join(dir, "test.txt"), "the sea");
  for (const keptFrom of [1, Infinity]) {
    const source = await openText(dir);
    const { splits, files } = await tokenise(source, tokenizer, { folder: dir, keptFrom });
    assert.equal(await tokenizer.decode(all(splits.train)), "The whale\n\nand");
    assert.equal(await tokenizer.decode(all(splits.test!)), "the sea");
    assert.equal(splits.validation, undefined);
    assert.deepEqual(files.map(({ split, file }) => [split, file]), [
      ["train", join(dir, "train.jsonl")],
      ["test", join(dir, "test.txt")],
    ]);
    for (const tokens of Object.values(splits)) if (tokens instanceof FileTokens) tokens.dispose();
  }
  await Deno.writeTextFile(join(dir, "validation.txt"), "");
  await assert.rejects(tokenise(await openText(dir), tokenizer), {
    name: "RangeError",
    message: /validation\.txt is empty/,
  });
});

/** Tokenises the file it is given; a token is a piece of the text, and its number the piece's length. */
const PROGRAM = `
const [folder, path, whole] = Deno.args;
const { loadText } = await import("SRC/corpora.ts");
if (whole) console.log((await loadText(path)).text.length);
const { openText } = await import("SRC/text_source.ts");
const { tokenise } = await import("SRC/tokenise.ts");
const tokenizer = {
  splits: true,
  vocabSize: 2 ** 31,
  fingerprint: "lengths",
  lastCut: (text) => text.lastIndexOf(" "),
  encode: (text) => Uint32Array.of(text.length),
};
const { splits: { train } } = await tokenise(await openText(path), tokenizer, { folder });
console.log(train.subarray(0).reduce((a, b) => a + b, 0));
`;

inFolder("memory does not grow with the text", async (dir) => {
  const path = join(dir, "long.txt"), program = join(dir, "program.ts");
  const line = new TextEncoder().encode("the white whale of the sea and the men who hunt it\n");
  const block = new Uint8Array(line.length * 20_000);
  for (let at = 0; at < block.length; at += line.length) block.set(line, at);
  {
    using file = await Deno.open(path, { write: true, create: true });
    for (let i = 0; i < 100; i++) await file.write(block);
  }
  const { size } = await Deno.stat(path);
  const src = new URL("../src/data", import.meta.url).href;
  await Deno.writeTextFile(program, PROGRAM.replaceAll("SRC", src));
  // a heap that has room for the modules, and not for a text of 100 MB
  const flags = ["run", "-A", "--no-check", "--v8-flags=--max-old-space-size=64"];
  const run = async (...args: string[]) => {
    const command = new Deno.Command(Deno.execPath(), { args: [...flags, program, dir, ...args] });
    const { success, stdout } = await command.output();
    return success ? new TextDecoder().decode(stdout) : undefined;
  };
  assert.equal(await run(path), `${size}\n`);
  assert.equal(await run(path, "whole"), undefined, "the same heap cannot hold it");
});
