/**
 * What tests/load_elsewhere.py looks at: a tiny run whose pruned heads left their means, its model in
 * both forms, and the logits that we compute with it.
 *
 *     deno run -A tests/load_elsewhere.ts DIR
 *
 * DIR, an empty folder, gets `padded/`, `compact/`, `tokens.json` (B lists of T),
 * `logits.safetensors` ([B, T, V]), and a text with its tokens in `text.json`.
 */
import { join } from "node:path";
import { loadModel } from "../src/data/load_model.ts";
import { writeWhole } from "../src/data/files.ts";
import { exportModel } from "../src/experiment/export_model.ts";
import { startExperiment } from "../src/experiment/run.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { safetensorsChunks } from "../src/gpt2/safetensors.ts";
import { randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";
import { logitsOf } from "./logits.ts";
import { makeTiny } from "./tiny.ts";

const [dir] = Deno.args;
if (!dir) throw new TypeError("name an empty folder");
const { textFile, modelDir } = await makeTiny({ initializerRange: 0.1 });
using run = await startExperiment(gpu, {
  ...{ model_name: modelDir, text: textFile, output_dir: join(dir, "runs") },
  ...{ max_length: 16, batch_size: 2, warmup_steps: 10, finetuning_steps: 10, cycles: 2 },
  ...{ pruning_level: 0.5, learning_rate: 3e-3, eval_tokens: 64, test_tokens: 64 },
  ...{ controls: false, fold_means: true },
});
await run.run();
for (const form of ["padded", "compact"] as const) {
  await exportModel(run.folder.dir, { form, output: join(dir, form) });
}

const { config, live, weights, tokenizer } = await loadModel(join(dir, "compact"));
const B = 3, T = config.T, { V } = config;
const tokens = randomIntegers(B * T, 5, V);
using model = new Gpt2(gpu, config, weights, live);
using acts = new Activations(model, { B, T, training: false });
acts.upload(tokens, tokens);
const logits = { name: "logits", shape: [B, T, V], data: await logitsOf(model, acts) };
await writeWhole(join(dir, "logits.safetensors"), safetensorsChunks([logits]));
const rows = Array.from({ length: B }, (_, b) => [...tokens.subarray(b * T, (b + 1) * T)]);
await writeWhole(join(dir, "tokens.json"), JSON.stringify(rows));
const text = "Call me Ishmael. <|endoftext|>  Some years ago\n\n- never mind précisely; don't!";
const ids = [...await tokenizer!.encode(text)];
await writeWhole(join(dir, "text.json"), JSON.stringify({ text, ids, end: tokenizer!.eos }));
console.log(`${live.flat().length} of ${config.L * config.NH} heads are left`);
Deno.exit(); // not by itself: a poll of the GPU may still be under way
