import assert from "node:assert/strict";
import { trainBpe } from "../src/data/bpe.ts";
import { loadText } from "../src/data/corpora.ts";
import { sha256 } from "../src/data/files.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";

const moby = await loadText("moby_dick");
const json = trainBpe(moby.text, 1024);
const tokenizer = await Tokenizer.fromJson(json);

// Made with Python's tokenizers 0.23.2: BpeTrainer(vocab_size=1024, initial_alphabet=
// ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]) on the same text, and the numbers that
// Tokenizer.from_file gives for our tokenizer.json.
const MOBY_SHA = "ba355a71d3eb8ae25ecd8abd682bc347ac90ec3effbc715b04b46a31fa6378d4";
const MERGES_SHA = "a98c8a5de9d785d6cfdf76bd4bbd767a9748013b99d69134b1c18ac3d1e0748f";
const IDS_SHA = "4824bffafde60fe013064ddc590e52be6cb4f5696f2a2f40bf7fb2dbf25c17d1";
const SENTENCE = "Call me Ishmael.  It's\n\n 1851, naïve — 鯨 🐋<|endoftext|> don't \t end ";
// deno-fmt-ignore
const SENTENCE_IDS = [
  34, 389, 397, 314, 849, 76, 64, 440, 13, 220, 748, 336, 198, 198, 220, 16, 23, 20, 16, 11, 295,
  64, 127, 107, 326, 220, 344, 220, 165, 107, 101, 220, 172, 253, 238, 233, 1023, 290, 279, 673,
  220, 197, 861, 220,
];

Deno.test("bpe: the embedded text and its merges are those that Python learns", async () => {
  assert.equal(moby.sha256, MOBY_SHA);
  assert.equal(json.model.merges.length, 767);
  assert.equal(await sha256(json.model.merges.join("\n")), MERGES_SHA);
});

Deno.test("tokenizer: the embedded text's numbers are Python's, and decode to it", async () => {
  const ids = await tokenizer.encode(moby.text);
  assert.equal(await sha256(new Uint8Array(ids.buffer)), IDS_SHA);
  assert.equal(await tokenizer.decode(ids), moby.text);
});

Deno.test("tokenizer: special tokens, spaces and characters of several bytes", async () => {
  assert.equal(tokenizer.vocabSize, 1024);
  assert.equal(tokenizer.eos, 1023);
  assert.deepEqual([...await tokenizer.encode(SENTENCE)], SENTENCE_IDS);
  assert.equal(await tokenizer.decode(SENTENCE_IDS), SENTENCE);
  // The package would tidy these spaces away if it were let.
  const spaced = "a , b . c ! d 's n't";
  assert.equal(await tokenizer.decode(await tokenizer.encode(spaced)), spaced);
  assert.equal(await tokenizer.decode([]), "");
  assert.deepEqual(await tokenizer.encode(""), new Uint32Array(0));
  // what no token has is left out
  assert.equal(await tokenizer.decode([1024, ...SENTENCE_IDS, 50000]), SENTENCE);
  assert.equal(await tokenizer.decode([1024]), "");
  assert.ok(tokenizer.has(1023) && !tokenizer.has(1024));
});

/** GPT-2's pre-tokenizer. */
const BYTES = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };

/** An added token. */
const added = (content: string, flags: Record<string, boolean> = {}) => ({
  ...{ id: 1023, content, single_word: false, lstrip: false, rstrip: false },
  ...{ normalized: false, special: true, ...flags },
});

/** The same tokenizer with its pre-tokenizer or tokens changed. */
async function variant(change: Record<string, unknown>): Promise<Tokenizer> {
  return await Tokenizer.fromJson({ ...json, ...change });
}

Deno.test("tokenizer: encoding by chunks gives the whole text's numbers", async () => {
  // Cut at every place that the splitter may choose, in a text full of hard places.
  const hard = "it's  a\n b \n\n c\t\td   e 's 12 ½x — ,\u3000f \ufeff g\u0085 h<|endoftext|> i " +
    "<|endoftext|>  j don't   ' k's 🐋 鯨\r\n l  ";
  const prefixed = { ...BYTES, add_prefix_space: true };
  for (const t of [tokenizer, await variant({ pre_tokenizer: prefixed })]) {
    assert.ok(t.splits);
    const whole = await t.encode(hard, Infinity);
    for (let chunk = 1; chunk < hard.length; chunk++) {
      assert.deepEqual(await t.encode(hard, chunk), whole, `chunks of ${chunk}`);
    }
  }
  await assert.rejects(tokenizer.encode("a b", 0), {
    name: "RangeError",
    message: /chunk .*: 0/,
  });
  // The long way: a text of several chunks against one that may not be cut (an added token with a
  // space in it forbids that), with and without places to cut.
  const spaced = [added("<|endoftext|>"), { ...added("<|end of text|>"), id: 1024 }];
  const whole = await variant({ added_tokens: spaced });
  assert.equal(whole.splits, false);
  const long = moby.text.slice(0, 200_000);
  assert.deepEqual(await tokenizer.encode(long), await whole.encode(long));
  assert.deepEqual(
    await tokenizer.encode(long.slice(0, 20_000), 1),
    await whole.encode(long.slice(0, 20_000)),
  );
  const dense = long.replaceAll(" ", "\n").slice(0, 150_000);
  assert.deepEqual(await tokenizer.encode(dense), await whole.encode(dense));
});

Deno.test("tokenizer: is not cut where that could change the result", async () => {
  assert.equal((await variant({ normalizer: { type: "NFC" } })).splits, false);
  assert.equal(
    (await variant({ added_tokens: [added("<|endoftext|>", { rstrip: true })] })).splits,
    false,
  );
  const raw = { ...BYTES, use_regex: false };
  assert.equal((await variant({ pre_tokenizer: raw })).splits, false);
});

Deno.test("tokenizer: add_prefix_space as in Python", async () => {
  const prefixed = { ...BYTES, add_prefix_space: true };
  const ids = await (await variant({ pre_tokenizer: prefixed })).encode(
    "Call me<|endoftext|>Ishmael",
  );
  assert.deepEqual([...ids], [437, 389, 397, 1023, 314, 849, 76, 64, 440]);
});

Deno.test("tokenizer: the end token may be named by the configuration", async () => {
  assert.equal((await Tokenizer.fromJson(json, { eos_token: "!" })).eos, 0);
  assert.equal((await Tokenizer.fromJson(json, { eos_token: { content: '"' } })).eos, 1);
  assert.equal((await Tokenizer.fromJson(json, { eos_token: "no such token" })).eos, undefined);
});

Deno.test("tokenizer: files that are no tokenizer are refused by name", async () => {
  for (const bad of [null, [], {}, { model: {} }, { model: { type: "Nonsense" } }]) {
    await assert.rejects(Tokenizer.fromJson(bad, {}, "a/tokenizer.json"), {
      name: "TypeError",
      message: /^a\/tokenizer\.json(:| is| must) /,
    });
  }
});

Deno.test("bpe: merges, their order and its ties, by hand", () => {
  // Words: "ab" 3 times, "cd" 3 times, "abc" 2: ab occurs 5 times, cd 3, (ab)c 2.
  const { model } = trainBpe("ab\nab\nab\ncd\ncd\ncd\nabc\nabc", 300);
  assert.deepEqual(model.merges, ["a b", "c d", "ab c"]);
  assert.equal(model.vocab["ab"], 256);
  assert.equal(model.vocab["<|endoftext|>"], 259);
  // Equally common: the lower left number wins, and byte numbers follow GPT-2's order ("!" is 0).
  assert.deepEqual(trainBpe("zz\nzz\n!?\n!?", 300).model.merges, ["! ?", "z z"]);
  // Nothing occurs twice.
  assert.deepEqual(trainBpe("abc", 300).model.merges, []);
  // Overlaps merge from the left, and are counted anew: aaaa -> (aa)(aa).
  assert.deepEqual(trainBpe("aaaa\naaaa", 300).model.merges, ["a a", "aa aa"]);
  // Documents are separate, and their separator is no word.
  assert.deepEqual(trainBpe("ab<|endoftext|>ab", 300).model.merges, ["a b"]);
});

Deno.test("bpe: the vocabulary is full, unique and the same every time", () => {
  const { vocab } = json.model;
  assert.deepEqual(
    Object.values(vocab).sort((a, b) => a - b),
    Array.from({ length: 1024 }, (_, i) => i),
  );
  assert.equal(vocab["Ġ"], 220); // the space, as in GPT-2's own vocabulary
  const text = moby.text.slice(0, 50_000);
  assert.deepEqual(trainBpe(text, 400), trainBpe(text, 400));
  assert.throws(() => trainBpe("abc", 256), { name: "RangeError", message: /65536: 256/ });
  assert.throws(() => trainBpe("", 300), { name: "RangeError", message: /empty/ });
});

Deno.test("corpora: files, and what is wrong with them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const write = (name: string, bytes: number[] | string) =>
      Deno.writeFile(
        `${dir}/${name}`,
        typeof bytes === "string" ? new TextEncoder().encode(bytes) : Uint8Array.from(bytes),
      );
    await write("good", "\ufeffnaïve\r\n");
    const good = await loadText(`${dir}/good`);
    assert.equal(good.text, "naïve\r\n");
    assert.equal(good.sha256, await sha256("\ufeffnaïve\r\n"));
    assert.equal(
      await sha256("abc"),
      "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );

    await write("latin1", [0x6e, 0x61, 0xef, 0x76, 0x65]);
    await assert.rejects(loadText(`${dir}/latin1`), {
      name: "TypeError",
      message: /latin1 is not UTF-8 text \(it stops being so at byte 3 of 5\)/,
    });
    await write("late", "é".repeat(50_000) + "x");
    const late = await Deno.readFile(`${dir}/late`);
    late[70_001] = 0xff;
    await Deno.writeFile(`${dir}/late`, late);
    await assert.rejects(loadText(`${dir}/late`), { message: /at byte 70001 of 100001/ });
    await write("cut", [0x61, 0xc3]);
    await assert.rejects(loadText(`${dir}/cut`), { message: /at byte 2 of 2/ });
    await write("empty", "");
    await assert.rejects(loadText(`${dir}/empty`), { name: "RangeError", message: /is empty/ });
    await assert.rejects(loadText(`${dir}/none`), { name: "NotFound", message: /moby_dick/ });
    await assert.rejects(loadText(dir), { message: /cannot read the text/ });
    await assert.rejects(loadText("toString"), { name: "NotFound" });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
