/** Text of tokens that come one by one, and continuations of prompts with stop strings. */
import assert from "node:assert/strict";
import { type Decodes, TextStream } from "../src/data/text_stream.ts";
import { continueTexts } from "../src/experiment/continue_text.ts";
import { openModel } from "../src/experiment/setup.ts";
import { randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";

const model = await openModel("embedded");
const tokenizer = model.tokenizer!;
const TEXT = "Call me Ishmael \u{1f40b}\u{1f40b}, née 白鯨. \ufffd\n\n  Some  years—";

/** All pieces that a stream gives out, the last being what `end` adds. */
async function pieces(
  ids: Iterable<number>,
  stops: string[] = [],
  decodes: Decodes = tokenizer,
): Promise<string[]> {
  const stream = new TextStream(decodes, stops);
  const given: string[] = [];
  for (const id of ids) {
    await stream.add(id);
    given.push(stream.take());
    if (stream.stopped) break;
  }
  given.push(await stream.end());
  assert.equal(given.join(""), stream.text);
  return given;
}

Deno.test("the pieces of a text are the text, and no character comes in parts", async () => {
  const ids = await tokenizer.encode(TEXT);
  const alone = await Promise.all([...ids].map((id) => tokenizer.decode([id])));
  assert.ok(alone.includes("\ufffd"), "characters are cut");
  const given = await pieces(ids);
  assert.equal(given.join(""), TEXT);
  // the one that is in the text waits for the next character
  assert.deepEqual(given.filter((piece) => piece.includes("\ufffd")), ["\ufffd\n"]);
  for (let length = 0; length < ids.length; length++) {
    const cut = ids.subarray(0, length);
    assert.equal(
      (await pieces(cut)).join(""),
      await tokenizer.decode(cut),
      "nothing is lost at the end",
    );
  }
});

Deno.test("any tokens in any order, as if they were decoded together", async () => {
  for (let seed = 0; seed < 20; seed++) {
    const ids = randomIntegers(40, seed, tokenizer.vocabSize);
    assert.equal((await pieces(ids)).join(""), await tokenizer.decode(ids));
  }
});

Deno.test("a tokenizer that treats the first token otherwise changes nothing", async () => {
  const words = ["▁the", "▁whale", "s", "▁swim"];
  const decode = (ids: Iterable<number>) =>
    [...ids].map((id) => words[id]).join("").replaceAll("▁", " ").replace(/^ /, "");
  assert.equal((await pieces([0, 1, 2, 3], [], { decode })).join(""), "the whales swim");
});

Deno.test("a stop string ends the text before it, wherever it lies in tokens", async () => {
  const ids = await tokenizer.encode(TEXT);
  for (const stop of ["C", "Ish", "el 🐋", "🐋", "🐋🐋", "née 白", "鯨", "\n\n ", "—", TEXT]) {
    const given = await pieces(ids, ["never in it", stop]);
    assert.equal(given.join(""), TEXT.slice(0, TEXT.indexOf(stop)), stop);
  }
  assert.equal((await pieces(ids, ["me", "all"])).join(""), "C", "the first that comes");
  // "hma" begins like "hmm": it waits, and is given out when it cannot become one
  const given = await pieces(ids, ["hmm", "years?"]);
  assert.equal(given.join(""), TEXT);
  assert.ok(
    (await pieces(await tokenizer.encode("some year"), ["years?"])).at(-1)!.endsWith("year"),
  );
});

Deno.test("prompts side by side: stop strings, streaming, and why each text ends", async () => {
  const prompts = ["Call me Ishmael.", "The whale", "It was"];
  const options = { max_new_tokens: 24, temperature: 0.8, top_k: 40, top_p: 0.95, seed: 3 };
  const streamed = prompts.map(() => "");
  let calls = 0;
  const onText = (given: string[]) => {
    calls++;
    given.forEach((piece, i) => streamed[i] += piece);
  };
  const counts: number[] = [];
  const onProgress = (tokens: number) => counts.push(tokens);
  const texts = await continueTexts(gpu, model, { ...options, prompts }, { onText, onProgress });
  assert.deepEqual([counts[0], counts.at(-1)], [1, 24]);
  assert.deepEqual(counts, counts.toSorted((a, b) => a - b));
  assert.deepEqual(streamed, texts.map(({ text }) => text));
  assert.ok(calls >= 2, "text is told while it is written");
  assert.deepEqual(
    texts.map(({ tokens, finish }) => [tokens, finish]),
    Array(3).fill([24, "length"]),
  );
  for (const [i, prompt] of prompts.entries()) {
    const [alone] = await continueTexts(gpu, model, { ...options, prompts: [prompt] });
    assert.deepEqual(alone, texts[i], "alone it is the same");
  }

  // the end of a text that may become a stop string is told when nothing more can come
  streamed.fill("");
  const never = texts.map(({ text }) => text.slice(-2) + "\0");
  const held = await continueTexts(gpu, model, { ...options, prompts, stop: never }, { onText });
  assert.deepEqual([held, streamed], [texts, texts.map(({ text }) => text)]);

  const stop = texts[1].text.slice(12, 15);
  const ended = await continueTexts(gpu, model, { ...options, prompts, stop: [stop] });
  ended.forEach(({ text, finish, tokens }, i) => {
    const at = texts[i].text.indexOf(stop);
    assert.equal(text, at < 0 ? texts[i].text : texts[i].text.slice(0, at));
    assert.deepEqual([finish, tokens === 24], at < 0 ? ["length", true] : ["stop", false]);
  });
  assert.equal(ended[1].finish, "stop");

  // the end-of-text token ends a text, which does not hold it
  const [eos] = await tokenizer.encode(texts[0].text);
  const [short] = await continueTexts(
    gpu,
    { ...model, endsOfText: [1000, eos] },
    { ...options, prompts: prompts.slice(0, 1) },
  );
  assert.deepEqual(short, { text: "", tokens: 1, finish: "end_of_text" });
});

Deno.test("what cannot be continued is refused by name", async () => {
  const options = {
    prompts: ["The"],
    max_new_tokens: 5,
    temperature: 0,
    top_k: 0,
    top_p: 1,
    seed: 1,
  };
  const bad = [
    [{ prompts: ["The", ""] }, /prompt must not be empty/],
    [{ stop: ["a", ""] }, /stop string must not be empty/],
    [
      { prompts: ["The", "whale ".repeat(600)] },
      /^prompt 2 has \d+ tokens, and the model's context is 128: shorten it$/,
    ],
    [{ max_new_tokens: 500 }, /max_new_tokens must be at most \d+ after a prompt of 1 tokens/],
    [{ repetition_penalty: -1 }, /repetition_penalty must be above 0: -1/],
  ] as const;
  for (const [change, message] of bad) {
    await assert.rejects(continueTexts(gpu, model, { ...options, ...change }), { message });
  }
});
