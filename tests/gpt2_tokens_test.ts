/** GPT-2's own vocabulary on a text with every kind of character (see make_tokens_fixture.py). */
import assert from "node:assert/strict";
import { sha256 } from "../src/data/files.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";
import fixture from "./gpt2_tokens.json" with { type: "json" };
import { gpt2Json, gpt2Tokens } from "./gpt2_vocabulary.ts";
import { hardText } from "./hard_text.ts";

const tokenizer = await Tokenizer.fromJson(gpt2Json());

/** All tokens that are whole characters, in a mixed order: so that every merge is needed. */
function everyToken(): string {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  return gpt2Tokens.map((_, i) => {
    try {
      return decoder.decode(gpt2Tokens[i * 7919 % gpt2Tokens.length]);
    } catch {
      return ""; // a part of a character
    }
  }).join("");
}

Deno.test("GPT-2's tokens are tiktoken's and Python's, whatever the characters", async () => {
  const text = hardText() + everyToken();
  assert.equal(await sha256(text), fixture.text_sha256);
  const ids = await tokenizer.encode(text);
  const parts = fixture.tokens_sha256.length;
  let at = 0;
  for (let i = 0; i < parts; i++) {
    const size = Math.floor(fixture.tokens / parts) + (i < fixture.tokens % parts ? 1 : 0);
    const part = ids.slice(at, at + size);
    assert.equal(
      await sha256(new Uint8Array(part.buffer)),
      fixture.tokens_sha256[i],
      `tokens from ${at} on: ${JSON.stringify(await tokenizer.decode(part.subarray(0, 40)))}`,
    );
    at += size;
  }
  assert.equal(ids.length, fixture.tokens);
  assert.equal(await tokenizer.decode(ids), text);
  const some = text.slice(0, 50_000);
  assert.deepEqual(
    await tokenizer.encode(some, 500),
    await tokenizer.encode(some),
    "however it is cut",
  );
});

Deno.test("half of a surrogate pair is read as U+FFFD, as UTF-8 has it", async () => {
  for (const lone of ["a\ud83d b", "\udc4d", "x\ud83d\ud83d\udc4d"]) {
    assert.deepEqual(await tokenizer.encode(lone), await tokenizer.encode(lone.toWellFormed()));
  }
  assert.equal(await tokenizer.decode(await tokenizer.encode("\ud83d")), "\ufffd");
});

Deno.test("the end of a text is one token, and known sentences are those of GPT-2", async () => {
  assert.equal(tokenizer.vocabSize, 50257);
  assert.equal(tokenizer.eos, 50256);
  assert.deepEqual([...await tokenizer.encode("<|endoftext|>")], [50256]);
  assert.deepEqual([...await tokenizer.encode("Hello, world!")], [15496, 11, 995, 0]);
});
