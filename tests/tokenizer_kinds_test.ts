/** Tokenizers of every kind: the numbers of Python's tokenizers, or a refusal that names the component. */
import assert from "node:assert/strict";
import { alphabet } from "../src/data/bpe.ts";
import { withAddedTokens } from "../src/data/added_tokens.ts";
import { endTokenNumber, Tokenizer } from "../src/data/tokenizer.ts";
import { isGpt2Kind } from "../src/data/gpt2_kind.ts";
import { COMPONENTS, mayRunForever } from "../src/data/tokenizer_kinds.ts";

interface Kind {
  name: string;
  json: Record<string, unknown>;
  /** Of each text. */
  ids: number[][];
  decoded: string[];
  /** Every third number, and two that no token has. */
  every: number[];
  all: string;
}

// made by make_tokenizer_kinds_fixture.py
const { texts, kinds }: { texts: string[]; kinds: Kind[] } = JSON.parse(
  await Deno.readTextFile(new URL("fixtures/tokenizers.json", import.meta.url)),
);
const json = kinds[0].json;

for (const { name, json, ids, decoded, every, all } of kinds) {
  Deno.test(`Tokenizer computes what Python's tokenizers does: ${name}`, async () => {
    const tokenizer = await Tokenizer.fromJson(json);
    for (const [i, text] of texts.entries()) {
      assert.deepEqual([...await tokenizer.encode(text)], ids[i], JSON.stringify(text));
      assert.equal(await tokenizer.decode(ids[i]), decoded[i], JSON.stringify(text));
    }
    assert.equal(await tokenizer.decode(every), all);
    // however a text is cut
    const long = texts.join(" ").repeat(2);
    const whole = await tokenizer.encode(long, Infinity);
    for (const chunk of [1, 2, 3, 5, 17]) {
      assert.deepEqual(await tokenizer.encode(long, chunk), whole, `chunks of ${chunk}`);
    }
  });
}

Deno.test("GPT-2's kind needs no native code, and every kind is tried", () => {
  const own = kinds.filter(({ json }) => isGpt2Kind({ ...json })).map(({ name }) => name);
  assert.deepEqual(own.slice(0, 3), kinds.slice(0, 3).map(({ name }) => name));
  const used = JSON.stringify(kinds.map(({ json }) => ({ ...json, added_tokens: 0 })));
  for (const [place, types] of Object.entries(COMPONENTS)) {
    // what is applied to a text when special tokens are added is applied to none here
    if (place === "post_processor") continue;
    for (const type of types) {
      const untried = ["Precompiled", "BertNormalizer", "FixedLength"].includes(type);
      if (!untried) assert.ok(used.includes(`"type":"${type}"`), `${place} ${type}`);
    }
  }
});

Deno.test("fromJson() refuses a component that is not computed, by its name", async () => {
  const model = json.model as Record<string, unknown>;
  const split = (Regex: string) => ({
    ...{ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false },
  });
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ normalizer: { type: "Magic" } }, /^t.json: the normalizer "Magic" is not computed/],
    [
      { pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Magic" }] } },
      /^t.json: the pre_tokenizer "Magic" is not computed; computed are .*ByteLevel/,
    ],
    [{ model: { ...model, type: "Magic" } }, /^t.json: the model "Magic" is not computed/],
    [{ decoder: { type: "Magic" } }, /^t.json: the decoder "Magic" is not computed/],
    [{ post_processor: { type: "Magic" } }, /^t.json: the post_processor "Magic"/],
    [{ normalizer: "NFC" }, /^t.json: normalizer must hold objects/],
    [{ model: { ...model, dropout: 0.1 } }, /^t.json: the model BPE has dropout 0.1/],
    [
      { pre_tokenizer: split("(a+)+$") },
      /^t.json: the regular expression of the pre_tokenizer Split/,
    ],
    [{ pre_tokenizer: split("(") }, /^t.json is not a usable tokenizer: /],
    [
      { added_tokens: [{ id: 0, content: "a" }] },
      /^t.json is not a usable tokenizer: missing field/,
    ],
    [
      { model: { type: "WordLevel", vocab: { a: 0 }, unk_token: 5 } },
      /^t.json is not a usable tokenizer: /,
    ],
  ];
  for (const [change, message] of cases) {
    await assert.rejects(Tokenizer.fromJson({ ...json, ...change }, {}, "t.json"), {
      name: "TypeError",
      message,
    });
  }
});

Deno.test("encode() refuses a word that has no number and no token for the unknown", async () => {
  const model = { type: "WordLevel", vocab: { the: 0, cat: 1 }, unk_token: "[UNK]" };
  const pre_tokenizer = { type: "WhitespaceSplit" };
  const tokenizer = await Tokenizer.fromJson({ model, pre_tokenizer }, {}, "t.json");
  assert.deepEqual([...await tokenizer.encode("the cat")], [0, 1]);
  await assert.rejects(tokenizer.encode("the zebra"), {
    name: "TypeError",
    message: /^t.json has no token for a part of the text: .*\[UNK\]/,
  });
});

Deno.test("encode() takes a long text in one piece, whatever the kind", async () => {
  const text = "the cat sat on the mat and the dog barked at the cat. ".repeat(12_000);
  for (
    const name of ["GPT-2", "Unigram", "Unigram, not split", "byte_fallback, as Llama", "Strip"]
  ) {
    const { json } = kinds.find((kind) => kind.name === name)!;
    const tokenizer = await Tokenizer.fromJson(json);
    const ids = await tokenizer.encode(text, Infinity);
    assert.ok(ids.length > 130_000 || name === "GPT-2", `${name}: ${ids.length} tokens`);
    const word = await tokenizer.encode("t".repeat(300_000));
    assert.ok(word.length > 1000, `${name}: ${word.length} tokens`);
  }
});

Deno.test("mayRunForever() finds repetitions of what repeats", () => {
  for (
    const pattern of [
      "(a+)+$",
      "(?:a*)*",
      "((ab)+c)+",
      "(a|aa)+",
      "(\\w+\\s?)*$",
      "(a{2,})+",
      "(x+x+){3,}y",
      "(?:a|a){2,40}b",
      "(?:a{1,30}){1,30}b",
      "(a+){20}b",
    ]
  ) {
    assert.ok(mayRunForever(pattern), pattern);
  }
  const gpt4 =
    "(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s+(?!\\S)";
  for (
    const pattern of [
      gpt4,
      "(ab)+",
      "[(a+)+]",
      "\\(a+\\)+",
      "(a+)?b{2,5}",
      "(a|b)c+",
      "[[a+]+]b+",
      "(?:\\d{3})+",
      "(a|b){1}",
    ]
  ) {
    assert.ok(!mayRunForever(pattern), pattern);
  }
});

/** GPT-2's kind with tokens of its own; without merges, so that numbers are those of bytes. */
function bytesAnd(contents: [content: string, normalized: boolean][], more: string[] = []) {
  const { symbols } = alphabet();
  const vocab = Object.fromEntries([...symbols, ...more].map((symbol, id) => [symbol, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, special: false };
  const added_tokens = contents.map(([content, normalized], i) => ({
    ...{ id: 256 + more.length + i, content, normalized, ...flags },
  }));
  return {
    ...{ normalizer: null, post_processor: null, truncation: null, padding: null },
    ...{ version: "1.0", added_tokens, model: { type: "BPE", vocab, merges: [] } },
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true },
  };
}

// the numbers and texts are those of Python's tokenizers 0.23.2
Deno.test("added tokens that overlap: those without normalized come first", async () => {
  const both = await Tokenizer.fromJson(bytesAnd([["<zap>", false], ["<<za", true]]));
  assert.deepEqual([...await both.encode("<<zap>")], [27, 256]);
  assert.deepEqual([...await both.encode("a<<za")], [64, 257]);
  assert.ok(isGpt2Kind(bytesAnd([["<zap>", false], ["<pad>", true]])), "these do not overlap");
});

Deno.test("tokens are decoded as bytes if they can be, and as themselves otherwise", async () => {
  const added = await Tokenizer.fromJson(bytesAnd([["\u00e9a", false], ["<zap>", false]]));
  assert.equal(await added.decode([256]), "\ufffda");
  assert.equal(await added.decode([257]), "<zap>");
  const odd = await Tokenizer.fromJson(bytesAnd([], ["\u9be8", "\u00e9\u9be8"]));
  assert.equal(await odd.decode([64, 256, 257]), "a\u9be8\u00e9\u9be8");
});

Deno.test("a text is not cut before white space that a normaliser drops", async () => {
  const vocab = { a: 0, b: 1, ab: 2, "[UNK]": 3 };
  const model = { type: "WordLevel", vocab, unk_token: "[UNK]" };
  const bert = {
    ...{ type: "BertNormalizer", clean_text: true, handle_chinese_chars: true },
    ...{ strip_accents: null, lowercase: true },
  };
  for (const [normalizer, pre] of [[bert, "BertPreTokenizer"], [{ type: "Nmt" }, "Whitespace"]]) {
    const json = { model, normalizer, pre_tokenizer: { type: pre } };
    const tokenizer = await Tokenizer.fromJson(json);
    for (const chunk of [1, Infinity]) {
      assert.deepEqual([...await tokenizer.encode("a\vb", chunk)], [2]);
      assert.deepEqual([...await tokenizer.encode("a\tb a", chunk)], [0, 1, 0]);
    }
  }
});

// the numbers and texts are those of Python's tokenizers 0.23.2
Deno.test("what only looks like GPT-2's kind is computed as in Python", async () => {
  const whole = bytesAnd([["<b>", false], ["<a>", false]]);
  const { type: _, ...untyped } = whole.model;
  const vocab = { ...untyped.vocab, he: 256, hehe: 257 };
  const merged = { ...untyped, vocab, merges: ["h e", "he he"] };
  const moved = whole.added_tokens.toReversed();
  for (
    const [change, numbers] of [
      [{ model: untyped }, [71, 68, 68, 220, 71, 68, 71, 68, 256, 257]], // an older file names no type
      [{ model: { ...untyped, unk_token: "e", fuse_unk: true } }, [
        71,
        68,
        68,
        220,
        71,
        68,
        71,
        68,
      ]],
      [{ model: merged, added_tokens: [] }, [256, 68, 220, 257]],
      [{ added_tokens: moved }, [71, 68, 68, 220, 71, 68, 71, 68, 257, 256]], // numbered as they come
    ] as [Record<string, unknown>, number[]][]
  ) {
    const tokenizer = await Tokenizer.fromJson({ ...whole, ...change });
    const text = numbers.length > 8 ? "hee hehe<b><a>" : "hee hehe";
    assert.deepEqual([...await tokenizer.encode(text)], numbers, JSON.stringify(change));
  }
});

Deno.test("what Python refuses is refused, whatever the kind", async () => {
  const { trim_offsets: _, ...short } = bytesAnd([]).pre_tokenizer;
  const vocab = { ...bytesAnd([]).model.vocab, he: 256 };
  const bpe = (change: Record<string, unknown>) => ({ model: { type: "BPE", vocab, ...change } });
  const [token] = bytesAnd([["<zap>", false]]).added_tokens;
  const changes: Record<string, unknown>[] = [
    { pre_tokenizer: short },
    { version: "2.0" },
    { extra: 1 },
    { added_tokens: [{ ...token, special: undefined }] },
    { added_tokens: [{ ...token, content: "\ud800" }] },
    bpe({ merges: ["h e x"] }),
    bpe({ merges: ["zz e"] }),
    bpe({ merges: ["h e", ["h", "e"]] }),
    bpe({ merges: [], vocab: { ...vocab, x: "7" } }),
    bpe({ merges: [], byte_fallback: "" }),
  ];
  for (const change of changes) {
    const json = { ...bytesAnd([]), ...change };
    await assert.rejects(Tokenizer.fromJson(json, {}, "t.json"), {
      name: "TypeError",
      message: /^t.json is not a usable tokenizer: /,
    }, JSON.stringify(change).slice(0, 200));
  }
});

// Python's library panics on these, or leaves them to chance; here it would end the process
Deno.test("what the library cannot compute is refused by name", async () => {
  const vocab = { a: 0, b: 1, ab: 2, "[UNK]": 3 };
  const words = { type: "WordLevel", vocab, unk_token: "[UNK]" };
  const strip = { type: "Strip", strip_left: true, strip_right: true };
  const flags = { single_word: false, lstrip: false, rstrip: false, special: false };
  const token = (content: string, id: number, more: Record<string, boolean> = {}) => ({
    ...{ id, content, normalized: true, ...flags, ...more },
  });
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ model: { ...words, vocab: { ...vocab, c: 1 } } }, /gives "b" and "c" the same number 1/],
    [{ normalizer: { type: "Prepend", prepend: "" } }, /normalizer Prepend prepends nothing/],
    [
      {
        model: { type: "BPE", vocab, merges: ["a b"], continuing_subword_prefix: "##" },
      },
      /continuing_subword_prefix "##", and the merge "a b"/,
    ],
    [
      { added_tokens: [token("<x>", 4, { rstrip: true }), token(" y", 5)] },
      /added token "<x>" takes the white space after it \(rstrip\), and " y" begins with some/,
    ],
    [{ normalizer: strip, added_tokens: [token("  ", 4)] }, /leaves nothing of .* " {2}"/],
  ];
  for (const [change, message] of cases) {
    const json = { model: words, pre_tokenizer: { type: "WhitespaceSplit" }, ...change };
    await assert.rejects(Tokenizer.fromJson(json, {}, "t.json"), { name: "TypeError", message });
  }
});

Deno.test("every number that a token has is decoded", async () => {
  const vocab = JSON.parse('{"a":0,"__proto__":1,"constructor":4000000000,"[UNK]":3}');
  const pre_tokenizer = { type: "WhitespaceSplit" };
  const words = await Tokenizer.fromJson({
    ...{ model: { type: "WordLevel", vocab, unk_token: "[UNK]" }, pre_tokenizer },
  });
  const numbers = [0, 1, 4000000000, 3];
  assert.deepEqual([...await words.encode("a __proto__ constructor x")], numbers);
  assert.equal(await words.decode([...numbers, 2]), "a __proto__ constructor [UNK]");
  const list = [["<unk>", 0], ["a", -1], ["b", -2], ["a", -1.5]];
  const unigram = await Tokenizer.fromJson({
    ...{ model: { type: "Unigram", unk_id: 0, vocab: list }, pre_tokenizer },
  });
  assert.equal(await unigram.decode([0, 1, 2, 3]), "<unk> a b a");
});

// the numbers are those of Python's tokenizers 0.23.2
Deno.test("tokens of other files come after listed ones, which are numbered as they come", async () => {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const json = {
    model: { type: "WordLevel", vocab: { a: 0, b: 1, "[UNK]": 2 }, unk_token: "[UNK]" },
    pre_tokenizer: { type: "WhitespaceSplit" },
    added_tokens: [
      { id: 4, content: "<y>", special: false, ...flags },
      { id: 3, content: "<x>", special: false, ...flags },
    ],
  };
  const config = { pad_token: "<p>", eos_token: "<x>" };
  const whole = withAddedTokens(json, { config }, { older: false, where: "m" });
  const tokenizer = await Tokenizer.fromJson(whole.json, whole.config);
  assert.deepEqual([...await tokenizer.encode("a<y><x><p>")], [0, 3, 4, 5]);
  assert.equal(tokenizer.eos, 4);
  assert.equal(endTokenNumber(whole.json, whole.config), 4);
  assert.equal(endTokenNumber(whole.json, { eos_token: "toString" }), undefined);
});
