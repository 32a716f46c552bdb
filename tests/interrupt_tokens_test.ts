/** A text whose tokens take long: Ctrl-C is heard while they are computed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { encodePieces } from "../src/data/tokenise.ts";
import { saveModel } from "../src/data/save_model.ts";
import { Tokenizer } from "../src/data/tokenizer.ts";
import { startScript } from "./processes.ts";
import { makeTiny } from "./tiny.ts";

const { dir, model } = await makeTiny();
const { kinds } = JSON.parse(
  await Deno.readTextFile(new URL("fixtures/tokenizers.json", import.meta.url)),
);
const unsplit = kinds.find(({ name }: { name: string }) => name === "Unigram, not split").json;
const WORD = "thecatsatonthematandthedogbarkedatthecat";

Deno.test({
  name: "evaluate: Ctrl-C ends it within seconds while a tokenizer takes a long text whole",
  ignore: Deno.build.os === "windows",
  async fn() {
    const folder = join(dir, "unsplit"), text_file = join(dir, "word.txt");
    await saveModel(folder, { ...model, tokenizerJson: unsplit });
    await Deno.writeTextFile(text_file, WORD.repeat(1_000_000));
    const child = startScript("evaluate", ["--model_name", folder, "--text_file", text_file], dir);
    const output = child.output();
    await new Promise((resolve) => setTimeout(resolve, 5000));
    const start = performance.now();
    child.kill("SIGINT");
    const { code, stderr } = await output;
    const said = new TextDecoder().decode(stderr);
    assert.equal(code, 130, said);
    assert.match(said, /Stopped\.\n$/);
    assert.ok(performance.now() - start < 10_000, "it waited for all tokens");
  },
});

Deno.test({
  name: "encodePieces() ends at its signal while a piece is encoded",
  async fn() {
    const tokenizer = await Tokenizer.fromJson(unsplit);
    const stop = new AbortController();
    const pieces = encodePieces(tokenizer, [WORD.repeat(50_000)], undefined, stop.signal);
    setTimeout(() => stop.abort(new DOMException("Stopped.", "AbortError")), 20);
    await assert.rejects(pieces.next(), { name: "AbortError" });
  },
  sanitizeOps: false, // what was given up is still computed
  sanitizeResources: false,
});

Deno.test("GPT-2's kind: a word of many letters is encoded elsewhere, to the same numbers", async () => {
  const tokenizer = await Tokenizer.fromJson(model.tokenizerJson);
  const word = WORD.repeat(8_000);
  const done = tokenizer.encode(word).then(() => "encoded");
  const heard = new Promise((resolve) => setTimeout(() => resolve("a signal is heard"), 0));
  assert.equal(await Promise.race([done, heard]), "a signal is heard");
  await done;
  // a word that is short enough for one thread
  const short = WORD.repeat(6_000), whole = await tokenizer.encode(word);
  const begun = await tokenizer.encode(short);
  assert.deepEqual(whole.subarray(0, begun.length - 20), begun.subarray(0, begun.length - 20));
});
