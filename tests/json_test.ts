/** JSON never holds null where a number belongs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readJson } from "../src/data/files.ts";
import { isInputError, preparing } from "../src/errors.ts";
import { fromJson, toJson } from "../src/json.ts";
import { v } from "../src/report/deps.ts";
import { readLines, readRecord } from "../src/report/record_files.ts";
import { evaluateText } from "../src/experiment/evaluate_text.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

Deno.test("toJson: a number that JSON cannot hold is left out, and refused in a list", () => {
  const row = { loss: 710, perplexity: Math.exp(710), deep: { nan: NaN, zero: 0, none: null } };
  assert.equal(toJson(row), '{"loss":710,"deep":{"zero":0,"none":null}}');
  assert.equal(toJson({ a: 1, b: -Infinity }, 2), '{\n  "a": 1\n}');
  assert.throws(() => toJson({ list: [1, NaN] }), /a list holds NaN at 1: JSON has no such number/);
});

Deno.test("evaluate: a loss above 709 is told, and its perplexity left out", async () => {
  const { model } = await makeTiny();
  const weights = new Map(model.weights);
  const name = [...weights.keys()].find((key) => key.endsWith("ln_f.weight"))!;
  weights.set(name, weights.get(name)!.map((value) => value * 1e5));
  const tokens = Uint32Array.from({ length: 20 }, (_, i) => i);
  const result = await evaluateText(gpu, { ...model, weights, form: "padded" }, tokens);
  assert.ok(result.loss > 709.79, `${result.loss}`);
  assert.deepEqual(Object.keys(result), ["loss", "tokens", "predicted"]);
});

Deno.test("JSON that is nested without end, or longer than a string can be, is refused by its file's name", async () => {
  assert.deepEqual(
    fromJson("[".repeat(500) + "]".repeat(500)),
    JSON.parse("[".repeat(500) + "]".repeat(500)),
  );
  const dir = await Deno.makeTempDir();
  try {
    for (const name of ["config.json", "metrics.jsonl"]) {
      const file = join(dir, name), read = name.endsWith("l") ? readLines : readRecord;
      const fails = async (action: () => Promise<unknown>, what: RegExp) =>
        await assert.rejects(() => preparing(action), (error) => {
          assert.ok(isInputError(error), String(error));
          assert.ok((error as Error).message.includes(file), String(error));
          assert.match(String(error), what);
          return true;
        });
      for (
        const deep of [
          "[".repeat(1e6) + "]".repeat(1e6),
          '{"a":'.repeat(1e6) + "1" + "}".repeat(1e6),
        ]
      ) {
        await Deno.writeTextFile(file, deep + "\n");
        await fails(() => readJson(file), /nested more than 500 levels deep/);
        await fails(() => read(file, v.any()), /nested more than 500 levels deep/);
      }
      await Deno.truncate(file, 2 ** 33);
      await fails(() => readJson(file), /has 8589934592 bytes, and at most/);
      await fails(() => read(file, v.any()), /has 8589934592 bytes, and at most/);
      await Deno.remove(file);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
