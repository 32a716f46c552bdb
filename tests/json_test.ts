/** JSON never holds null where a number belongs. */
import assert from "node:assert/strict";
import { toJson } from "../src/json.ts";
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
