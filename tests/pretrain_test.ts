/** The embedded model is what its record says, and pretraining refuses what it cannot do. */
import assert from "node:assert/strict";
import { evalWindows } from "../src/data/batches.ts";
import { splitTokens } from "../src/data/parts.ts";
import { loadText } from "../src/data/corpora.ts";
import { sha256 } from "../src/data/files.ts";
import { loadModel } from "../src/data/load_model.ts";
import { ngramLosses } from "../src/data/ngram.ts";
import { preparePretraining } from "../src/experiment/pretrain.ts";
import { pageHtml } from "../src/report/document.ts";
import { type Pretraining, renderPretraining } from "../src/report/pretraining.ts";
import { embeddedModel } from "../src/experiment/setup.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { Evaluator } from "../src/gpt2/evaluate.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";

const record = JSON.parse(
  await Deno.readTextFile(new URL("../assets/pollard-1m.training.json", import.meta.url)),
);
const corpus = await loadText("moby_dick");

Deno.test("the embedded model beats n-gram models on text that none of them has seen", async () => {
  const { config, weights, live, tokenizer, tokenizerJson } = await loadModel(embeddedModel());
  assert.equal(corpus.sha256, record.text_sha256);
  assert.equal(await sha256(JSON.stringify(tokenizerJson)), record.tokenizer_sha256);
  const { max_length: T, batch_size: B } = record;
  const parts = splitTokens(await tokenizer!.encode(corpus.text), { T, B });
  const held = parts.test.subarray(0, 64 * T + 1);
  const ngrams = ngramLosses({ train: parts.train, tuning: parts.validation, held }, config.V);
  using model = new Gpt2(gpu, config, weights, live);
  using acts = new Activations(model, { B: 8, T, training: false });
  using evaluator = new Evaluator(model, acts);
  const { loss, predicted } = await evaluator.evaluate(evalWindows(held, T));
  assert.equal(predicted, 64 * (T - 1));
  assert.ok(loss < ngrams.trigram - 0.05, `${loss} against the trigram's ${ngrams.trigram}`);
  assert.ok(ngrams.trigram < ngrams.bigram && ngrams.bigram < ngrams.unigram);
  // a part of the text is not the whole of it, but not far from it either
  assertClose([loss], [record.test_loss], { atol: 0.2, what: "test loss" });
});

Deno.test("n-gram losses of a text whose answer is known", () => {
  // after 0 comes 1 or 2, evenly; after 1 or 2 comes 0
  const tokens = Uint32Array.from(
    { length: 40_000 },
    (_, i) => i % 2 === 0 ? 0 : (Math.imul(i, 2654435761) >>> 31) + 1,
  );
  const part = { train: tokens, tuning: tokens, held: tokens };
  const { unigram, bigram, trigram } = ngramLosses(part, 3);
  assertClose([unigram], [Math.log(2) * 1.5], { atol: 0.01, what: "unigram" });
  assertClose([bigram], [Math.log(2) / 2], { atol: 0.01, what: "bigram" });
  assert.ok(trigram <= bigram + 0.01);
});

Deno.test("a text too poor for the vocabulary is refused before training", async () => {
  const dir = await Deno.makeTempDir();
  const text = `${dir}/poor.txt`;
  await Deno.writeTextFile(text, corpus.text.slice(0, 6000));
  const options = {
    ...{ text, dataset_config: "", text_column: "text" },
    sizes: { L: 1, NH: 2, C: 8, V: 1024, T: 16 },
    ...{ batchSize: 2, maxLength: 16, steps: 1, learningRate: 1e-3, weightDecay: 0, inputNoise: 0 },
    ...{ beta2: 0.99, initializerRange: 0.02, evalFreq: 1, seed: 1 },
  };
  await assert.rejects(
    preparePretraining(options),
    /a vocabulary of \d+ tokens, not of vocab_size 1024/,
  );
  await Deno.remove(dir, { recursive: true });
});

Deno.test("the page of a pretraining says what is known so far, and no more", () => {
  const record: Pretraining = {
    options: { steps: 40, n_layer: 2 },
    environment: { adapter: "llvmpipe" },
    steps: 40,
    training: [],
    validation: [],
  };
  const page = () => pageHtml(renderPretraining(record));
  assert.match(page(), /Step 0 of 40 was read last\. The validation loss is not known yet\./);
  assert.doesNotMatch(page(), /<svg|Key numbers/);
  record.training.push([10, 5.5], [20, 4.5]);
  assert.match(page(), /Training loss 4\.5000 at step 20 of 40\./);
  record.validation.push([20, 4.25], [40, 4.5]);
  record.training.push([40, 4]);
  assert.match(page(), /best validation loss so far is 4\.2500 nats per token, at step 20\./);
  record.result = { test_loss: 4, ngram_test_losses: { bigram: 5, trigram: 4.125 } };
  const last = page();
  assert.match(last, /<h1>The model’s test loss is 4\.0000 nats per token, −0\.1250 from/);
  assert.match(last, /Test loss of the bigram model<\/th><td>5\.0000/);
  assert.doesNotMatch(last, /NaN|undefined|so far/);
});
