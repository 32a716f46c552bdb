/** GPT-2 and DistilGPT-2 as their repositories on the hub have them, in small. */
import assert from "node:assert/strict";
import { loadModel } from "../src/data/load_model.ts";
import { type Weights } from "../src/gpt2/checkpoint.ts";
import { parameterLayout } from "../src/gpt2/layout.ts";
import { withHubServer } from "./hub_ground.ts";
import { makeTiny } from "./tiny.ts";

const { model } = await makeTiny();
const { L, NH, C, V, T } = model.config;

/** A tensor of any element type. */
type Raw = [name: string, dtype: string, shape: number[], bytes: Uint8Array];

function safetensors(tensors: Raw[]): Uint8Array {
  let end = 0;
  const entries = tensors.map(([name, dtype, shape, { length }]) => {
    const data_offsets = [end, end += length];
    return [name, { dtype, shape, data_offsets }];
  });
  const header = { __metadata__: { format: "pt" }, ...Object.fromEntries(entries) };
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  return new Uint8Array(
    [length, json, ...tensors.map(([, , , bytes]) => bytes)].flatMap((b) => [...b]),
  );
}

const bytesOf = (values: Float32Array) =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

function parameters(weights: Weights, prefix: string): Raw[] {
  return parameterLayout(model.config).map(({ name, shape }) => [
    prefix + name,
    "F32",
    [...shape],
    bytesOf(weights.get(name)!),
  ]);
}

/** What both configurations say besides the sizes. */
const CONFIG = {
  ...{ activation_function: "gelu_new", architectures: ["GPT2LMHeadModel"], model_type: "gpt2" },
  ...{ attn_pdrop: 0.1, embd_pdrop: 0.1, resid_pdrop: 0.1, initializer_range: 0.02 },
  ...{ layer_norm_epsilon: 1e-5, n_ctx: T, n_positions: T, n_embd: C, n_head: NH, n_layer: L },
  ...{ summary_activation: null, summary_first_dropout: 0.1, summary_proj_to_labels: true },
  ...{ summary_type: "cls_index", summary_use_proj: true, vocab_size: V },
  ...{ bos_token_id: V - 1, eos_token_id: V - 1 },
  task_specific_params: { "text-generation": { do_sample: true, max_length: 50 } },
};

/** The tokenizer's file: that of 2020 lacks keys that later ones have. */
function tokenizerFile(): string {
  const { added_tokens, model: { type: _, ...bpe } } = model.tokenizerJson as unknown as {
    added_tokens: object[];
    model: Record<string, unknown>;
  };
  const level = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true };
  return JSON.stringify({
    ...{ version: "1.0", truncation: null, padding: null, normalizer: null },
    added_tokens: added_tokens.map((token) => ({ ...token, normalized: true })),
    pre_tokenizer: level,
    post_processor: { ...level, add_prefix_space: true, trim_offsets: false },
    decoder: { ...level, add_prefix_space: true },
    model: bpe,
  });
}

const square = [1, 1, T, T];
const layers = Array.from({ length: L }, (_, layer) => layer);
const LAYOUTS: Record<string, { config: object; tensors: Raw[] }> = {
  // names as they were saved from the inner model, with masks as numbers
  "openai-community/gpt2": {
    config: CONFIG,
    tensors: [
      ...layers.map((l): Raw => [`h.${l}.attn.bias`, "F32", square, new Uint8Array(4 * T * T)]),
      ...parameters(model.weights, ""),
    ],
  },
  // names of the whole model, with masks as bits and the head that is the token table again
  "distilbert/distilgpt2": {
    config: { ...CONFIG, _num_labels: 1, id2label: { 0: "LABEL_0" }, label2id: { LABEL_0: 0 } },
    tensors: [
      ["lm_head.weight", "F32", [V, C], bytesOf(model.weights.get("wte.weight")!)],
      ...layers.flatMap((l): Raw[] => [
        [`transformer.h.${l}.attn.bias`, "BOOL", square, new Uint8Array(T * T)],
        [`transformer.h.${l}.attn.masked_bias`, "F32", [], new Uint8Array(4)],
      ]),
      ...parameters(model.weights, "transformer."),
    ],
  },
};

for (const [repo, { config, tensors }] of Object.entries(LAYOUTS)) {
  Deno.test(
    `${repo} is loaded as it lies on the hub`,
    withHubServer(async ({ server }) => {
      server.commit(repo, {
        ".gitattributes": "*.bin filter=lfs",
        "README.md": "# A card",
        "config.json": JSON.stringify(config),
        "generation_config.json": "{}",
        "merges.txt": "not looked at where there is a tokenizer.json",
        "vocab.json": "{}",
        "model.safetensors": safetensors(tensors),
        "onnx/decoder_model.onnx": "other programs' files",
        "pytorch_model.bin": "the same once more",
        "tokenizer.json": tokenizerFile(),
        "tokenizer_config.json": JSON.stringify({ model_max_length: T }),
      });
      const loaded = await loadModel(repo.split("/")[1]);
      assert.deepEqual(loaded.weights, model.weights);
      assert.deepEqual(loaded.config.raw, JSON.parse(JSON.stringify(config)));
      assert.equal(loaded.tokenizer!.eos, V - 1);
      const text = "Call me Ishmael.<|endoftext|> Some years ago\n\nnever mind précisely";
      assert.equal(await loaded.tokenizer!.decode(await loaded.tokenizer!.encode(text)), text);
      const asked = server.log.filter(({ path, large }) => !large && path.includes("/resolve/"));
      assert.deepEqual(asked.map(({ path }) => path.split("/").at(-1)).sort(), [
        ...["config.json", "generation_config.json", "model.safetensors", "tokenizer.json"],
        "tokenizer_config.json",
      ]);
    }),
  );
}
