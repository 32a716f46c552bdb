/** What of a config.json is read, and what is refused because it would be computed wrongly. */
import assert from "node:assert/strict";
import { parseConfig } from "../src/gpt2/config.ts";

const SIZES = { n_layer: 2, n_head: 3, n_embd: 12, n_positions: 7, vocab_size: 11 };
const BASE = { model_type: "gpt2", ...SIZES };

Deno.test("configs: what transformers takes for granted is so here", () => {
  const { raw, ...sizes } = parseConfig(BASE);
  assert.deepEqual(sizes, {
    ...{ L: 2, NH: 3, HS: 4, C: 12, F: 48, V: 11, T: 7 },
    ...{ eps: 1e-5, tied: true, initializerRange: 0.02 },
  });
  assert.equal(raw, BASE);
  const { n_positions: _, ...old } = BASE;
  assert.equal(parseConfig({ ...old, n_ctx: 5 }).T, 5);
  const given = { n_inner: 10, layer_norm_epsilon: 1e-6, tie_word_embeddings: false };
  const { F, eps, tied } = parseConfig({ ...BASE, ...given });
  assert.deepEqual([F, eps, tied], [10, 1e-6, false]);
  for (const activation_function of ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"]) {
    parseConfig({ ...BASE, activation_function });
  }
});

Deno.test("configs: what is not computed here is refused by name and value", () => {
  const refused: [unknown, RegExp][] = [
    [[], /must hold a JSON object/],
    [{ ...BASE, model_type: "llama" }, /model_type "llama": only "gpt2"/],
    [SIZES, /model_type null/],
    [{ ...BASE, n_layer: undefined }, /lacks n_layer/],
    [{ ...BASE, n_embd: 13 }, /n_embd 13 is not a multiple of n_head 3/],
    [{ ...BASE, vocab_size: 1.5 }, /vocab_size must be a positive whole number: 1.5/],
    [{ ...BASE, n_inner: 0 }, /n_inner must be a positive whole number: 0/],
    [{ ...BASE, layer_norm_epsilon: 0 }, /layer_norm_epsilon must be a positive number: 0/],
    [{ ...BASE, activation_function: "gelu" }, /activation_function "gelu" is not computed here/],
    [{ ...BASE, activation_function: "relu" }, /"relu" is not computed here/],
    [{ ...BASE, scale_attn_weights: false }, /scale_attn_weights false is not computed here/],
    [{ ...BASE, scale_attn_by_inverse_layer_idx: true }, /by_inverse_layer_idx true/],
    [{ ...BASE, add_cross_attention: true }, /add_cross_attention true/],
  ];
  for (const [json, message] of refused) {
    assert.throws(() => parseConfig(json, "some/config.json"), (error: Error) => {
      assert.match(error.message, message);
      assert.match(error.message, /^some\/config\.json/);
      return true;
    });
  }
});
