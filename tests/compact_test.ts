/** Compact models: what a pass cannot do without, how fast it is, and the command. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { type Compacted, compactModel, prepareCompact } from "../src/experiment/compact.ts";
import { checkSpeedOptions, measureSpeed } from "../src/experiment/speed.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { compactWeights, padWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { Gpu } from "../src/gpu/device.ts";
import { Generator } from "../src/gpt2/generate.ts";
import { allHeads, type LiveHeads, parameterLayout } from "../src/gpt2/layout.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import {
  decodingSize,
  passBytes,
  passOperations,
  type PassSize,
  prefillSize,
  type Work,
} from "../src/gpt2/work.ts";
import type { SpeedRecord } from "../src/record.ts";
import { cardInForm, cardWithSpeed } from "../src/report/model_card.ts";
import { speedRows, speedVerdict, speedWords } from "../src/report/speed.ts";
import { spread } from "../src/spread.ts";
import { assertClose, randomIntegers } from "./close.ts";
import { gpu } from "./gpu.ts";
import { logitsOf } from "./logits.ts";
import { makeTiny } from "./tiny.ts";
import { runScript } from "./script.ts";

const { dir, model, modelDir } = await makeTiny({ initializerRange: 0.1 });
const { config } = model;
const live = [[0, 3], [1, 2]];
const pruned = { ...model, live, weights: compactWeights(config, live, model.weights) };
const CARD = cardInForm(
  "<!-- written by Pollard -->\n<!-- form --><!-- end of form -->\n\n# tiny\n",
  "padded",
)!;
const prunedDir = join(dir, "pruned");
await saveModel(prunedDir, { ...pruned, card: CARD });

const total = ({ attention, other }: Work) => attention + other;

// ---- what a pass cannot do without ------------------------------------------------------------

Deno.test("operations and bytes of two small passes, counted by hand", () => {
  const sizes = makeConfig({ L: 2, NH: 2, C: 4, F: 8, V: 10, T: 8 });
  const heads = [[0, 1], [1]];
  const prefill = prefillSize({ B: 2, P: 3 });
  assert.deepEqual(prefill, { passes: 1, rows: 6, pairs: 12, sampled: 2 });
  assert.deepEqual(passOperations(sizes, heads, prefill), {
    // c_attn 6 x 4 x 12, q k 2 heads x 12 pairs x 2, p v as many, c_proj 6 x 4 x 4; then one head's
    attention: (288 + 48 + 48 + 96) + (144 + 24 + 24 + 48),
    // 6 x 4 x 8 up and down in two layers; two rows of logits
    other: 2 * (192 + 192) + 2 * 4 * 10,
  });
  const decoding = decodingSize({ B: 2, P: 3, N: 2 });
  assert.deepEqual(decoding, { passes: 2, rows: 4, pairs: 2 * (3 + 4), sampled: 4 });
  assert.deepEqual(passBytes(sizes, heads, decoding), {
    // twice c_attn with biases and c_proj of 2 and of 1 heads; 14 pairs' keys and values of 6 channels
    attention: 4 * (2 * (48 + 12 + 16 + 24 + 6 + 8) + 14 * 2 * 6),
    // twice the norms, c_proj's bias and the MLP of two layers, the last norm and the table; 4 rows
    other: 4 * (2 * (2 * (16 + 4 + 32 + 8 + 32 + 4) + 8 + 40) + 4 * 8),
  });
  const untied = makeConfig({ L: 2, NH: 2, C: 4, F: 8, V: 10, T: 8, tied: false });
  assert.deepEqual(passBytes(untied, heads, decoding), passBytes(sizes, heads, decoding));
});

Deno.test("operations equal a count of weights used and of keys seen, token by token", () => {
  const sizes = makeConfig({ L: 3, NH: 4, C: 24, V: 50, T: 64 });
  const heads: LiveHeads = [[0, 1, 2, 3], [2], [0, 3]];
  const count = (B: number, from: number, to: number, logits: (place: number) => boolean) => {
    let attention = 0, other = 0;
    for (let place = from; place < to; place++) {
      for (const { size, shape, layer, heads: owned } of parameterLayout(sizes, heads)) {
        if (layer === undefined || shape.length < 2) continue;
        if (owned) attention += B * size;
        else other += B * size;
      }
      for (let key = 0; key <= place; key++) attention += B * heads.flat().length * 2 * sizes.HS;
      if (logits(place)) other += B * sizes.V * sizes.C;
    }
    return { attention, other };
  };
  assert.deepEqual(
    passOperations(sizes, heads, prefillSize({ B: 3, P: 17 })),
    count(3, 0, 17, (place) => place === 16),
  );
  assert.deepEqual(
    passOperations(sizes, heads, decodingSize({ B: 3, P: 17, N: 5 })),
    count(3, 16, 21, () => true), // the token at 16, the prompt's last, gives the first new one
  );
});

Deno.test("the bound is 1 with every head, and 1 / (1 - attention's share x share gone) without some", () => {
  const sizes = makeConfig({ L: 4, NH: 12, C: 96, V: 500, T: 2_000_000 });
  const every = allHeads(sizes);
  const half = every.map((heads, l) => heads.slice(0, [0, 12, 5, 7][l]));
  const bound = (heads: LiveHeads, size: PassSize, work: typeof passBytes) =>
    total(work(sizes, every, size)) / total(work(sizes, heads, size));
  const decoding = decodingSize({ B: 3, P: 40, N: 9 });
  for (
    const [size, work] of [
      [prefillSize({ B: 3, P: 40 }), passOperations],
      [decoding, passOperations],
      [decoding, passBytes],
    ] as const
  ) {
    assert.equal(bound(every, size, work), 1);
    const whole = work(sizes, every, size);
    const share = whole.attention / total(whole);
    assert.ok(share > 0.1 && share < 0.9, `${share}`);
    const expected = 1 / (1 - share * 0.5);
    assertClose([bound(half, size, work)], [expected], { atol: 0, rtol: 1e-12, what: "bound" });
  }
  // where attention is nearly all there is, half of the heads are half of the work
  const long = prefillSize({ B: 1, P: 2_000_000 });
  assertClose([bound(half, long, passOperations)], [2], { atol: 0, rtol: 1e-3, what: "long" });
});

// ---- what is measured -------------------------------------------------------------------------

const quick = { prompt_length: 12, new_tokens: 4, rounds: 1 };

Deno.test("both forms are timed, and write the same tokens; nothing stays on the device", async () => {
  const { bytes } = gpu;
  const phases: string[] = [];
  const speed = await measureSpeed(gpu, pruned, { ...quick, batch_size: 3, rounds: 2 }, {
    onProgress: ({ phase, step, total }) => phases.push(`${phase} ${step} ${total}`),
  });
  assert.equal(gpu.bytes, bytes);
  assert.deepEqual([phases.length, phases.at(-1)], [12, "decoding 11 12"]);
  assert.deepEqual([speed.active_heads, speed.total_heads, speed.same_continuations], [4, 8, 3]);
  for (const [pass, tokens] of [["prefill", 3 * 12], ["decoding", 3 * 4]] as const) {
    const { full, compact, speedup, operations } = speed[pass];
    for (const { tokens_per_s, milliseconds } of [full, compact]) {
      assert.ok(milliseconds.min > 0 && milliseconds.n === 2);
      assertClose([tokens_per_s], [1000 * tokens / milliseconds.median], { atol: 0, rtol: 1e-12 });
    }
    const most = full.milliseconds.max / compact.milliseconds.min;
    assert.ok(speedup.max <= most && speedup.min > 0.05, `${speedup.min} to ${speedup.max}`);
    const expected = 1 / (1 - operations.attention_share / 2);
    assertClose([operations.most_speedup], [expected], { atol: 0, rtol: 1e-12 });
  }
  assert.ok(speed.decoding.bytes.most_speedup > 1);
});

Deno.test("a measurement stops at a signal, and refuses what it cannot measure", async () => {
  const { bytes } = gpu;
  const stop = new AbortController();
  const onProgress = ({ step }: { step: number }) => step === 1 && stop.abort(new Error("enough"));
  await assert.rejects(
    measureSpeed(gpu, pruned, quick, { signal: stop.signal, onProgress }),
    /^Error: enough$/,
  );
  const weights = new Map(pruned.weights).set("ln_f.bias", new Float32Array(config.C).fill(NaN));
  await assert.rejects(measureSpeed(gpu, { ...pruned, weights }, quick), {
    name: "RangeError",
    message: /not finite/,
  });
  assert.equal(gpu.bytes, bytes);
});

Deno.test("a model that memory does not hold twice is refused before it is tried", {
  ignore: !gpu.info.software,
}, async () => {
  const { systemMemoryInfo } = Deno;
  Deno.systemMemoryInfo = () => ({ ...systemMemoryInfo(), available: 50_000 });
  try {
    await assert.rejects(measureSpeed(gpu, pruned, quick), {
      name: "RangeError",
      message: /2 models would take [\d.]+ MB, and 50\.0 kB are free/,
    });
  } finally {
    Deno.systemMemoryInfo = systemMemoryInfo;
  }
});

Deno.test("options are filled in from the model's context, and checked", () => {
  const options = { batch_size: 1, prompt_length: 16, new_tokens: 16, rounds: 5 };
  assert.deepEqual(checkSpeedOptions(config), options); // its context has 32 tokens
  assert.deepEqual(checkSpeedOptions(config, { prompt_length: 31 }), {
    ...{ ...options, prompt_length: 31, new_tokens: 1 },
  });
  const large = makeConfig({ L: 1, NH: 1, C: 8, V: 300, T: 1024 });
  assert.equal(checkSpeedOptions(large).prompt_length, 128);
  const refused: [object, RegExp][] = [
    [{ prompt_length: 32 }, /prompt_length must be a whole number from 1 to 31: 32/],
    [{ prompt_length: 20, new_tokens: 13 }, /20 and new_tokens 13 make 33: more than .* 32 pos/],
    [{ rounds: 0 }, /rounds must be/],
    [{ batch_size: 1.5 }, /batch_size must be/],
  ];
  for (const [given, message] of refused) {
    assert.throws(() => checkSpeedOptions(config, given), { name: "RangeError", message });
  }
});

// ---- what is said of it -----------------------------------------------------------------------

const pass = (full: number, compact: number, speedups: number[], most: number) => ({
  full: { tokens_per_s: full, milliseconds: spread([1]) },
  compact: { tokens_per_s: compact, milliseconds: spread([1]) },
  speedup: spread(speedups),
  operations: { full: 4 * most, compact: 4, attention_share: 0.4, most_speedup: most },
});
const record = {
  environment: { adapter: "an | adapter" },
  ...{ active_heads: 4, total_heads: 8, batch_size: 2, prompt_length: 12, new_tokens: 4 },
  ...{ rounds: 3, same_continuations: 1 },
  prefill: pass(12_345.6, 14_999.7, [1.3, 1.1, 1.2], 1.25),
  decoding: {
    ...pass(45.678, 50, [1.05, 1.1, 1], 1.5),
    bytes: { full: 30, compact: 20, attention_share: 0.625, most_speedup: 1.5 },
  },
} as SpeedRecord;

Deno.test("the table has speeds, their range and the bounds, and the card has it once", () => {
  const { head, rows } = speedRows(record);
  assert.deepEqual(rows, [
    ["prefill of 2 x 12", "12,346", "15,000", "1.20 x", "1.10 to 1.30", "1.25 x", ""],
    ["decoding 2 x 4 more", "45.7", "50.0", "1.05 x", "1.00 to 1.10", "1.50 x", "1.50 x"],
  ]);
  assert.equal(head.length, rows[0].length);
  assert.match(
    speedVerdict(record),
    /^With 4 heads of 8 left, .* go through 1\.20 times as fast, .* come as fast, as far as 3 rounds/,
  );
  assert.match(speedWords(record)[0], /^50 % .* 40 % of prefill's .*40 % of dec.* 62\.5 % of/);
  assert.match(speedWords(record)[2], /to 1 of 2 sequences/);
  assert.equal(speedWords(record).length, 3, "within their bounds");
  const beyond = speedWords({
    ...record,
    prefill: pass(1, 2, [1.3, 1.26, 1.2], 1.25),
    decoding: { ...record.decoding, speedup: spread([1.6]) },
  });
  assert.match(beyond[3], /^Prefill's speed-up of 1\.26 x is beyond its bound of 1\.25 x: .* busy/);
  assert.match(beyond[4], /^Decoding's speed-up of 1\.60 x .* 1\.50 x: .* Measure again/);
  const card = cardWithSpeed(CARD, record);
  assert.ok(card.startsWith(CARD.trimEnd()));
  assert.ok(card.includes(`| ${rows[1].join(" | ")} |`));
  assert.match(card, /Measured on: an {2}adapter\.\n<!-- end of speed -->\n$/);
  const faster = { ...record, prefill: pass(1, 2, [2], 2.5) };
  const again = cardWithSpeed(card + "\nMore.\n", faster);
  assert.ok(again.includes("| 2.50 x |") && !again.includes("12,346") && again.endsWith("More.\n"));
  assert.equal(again.split("## Speed").length, 2);
});

// ---- the command ------------------------------------------------------------------------------

/** Runs `deno task compact`. */
const command = (...args: string[]) => runScript("compact", ...args);

/** A model's logits for one batch, and its likeliest continuation of a prompt. */
async function outputs(of: Gpt2): Promise<[Float32Array, number[]]> {
  using acts = new Activations(of, { B: 2, T: 16, training: false });
  const tokens = randomIntegers(32, 9, config.V);
  acts.upload(tokens, tokens);
  using generator = new Generator(of);
  const prompts = [tokens.slice(0, 8)];
  const [text] = await generator.generate({ prompts, maxNewTokens: 20, temperature: 0 });
  return [await logitsOf(of, acts), [...text]];
}

Deno.test("the command writes a model that computes what the full shape does, and its speed", async () => {
  const made = await command(
    ...["--model_name", prunedDir, "--rounds", "1", "--prompt-length=12", "--json"],
  );
  assert.equal(made.code, 0, made.stderr);
  const { speed, ...exported }: Compacted = JSON.parse(made.stdout);
  const output = `${prunedDir}-compact`;
  assert.deepEqual([exported.to.path, exported.to.form, exported.card], [output, "compact", true]);
  assert.deepEqual([speed!.prompt_length, speed!.new_tokens, speed!.rounds], [12, 16, 1]);
  assert.deepEqual(JSON.parse(await Deno.readTextFile(join(output, "speed.json"))), speed);
  const card = await Deno.readTextFile(join(output, "README.md"));
  assert.ok(card.includes(speedVerdict(speed!)) && card.includes("in Pollard's compact form"));

  const loaded = await loadModel(output);
  assert.deepEqual([loaded.form, loaded.live], ["compact", live]);
  using small = new Gpt2(gpu, config, loaded.weights, loaded.live);
  using full = new Gpt2(gpu, config, padWeights(config, live, pruned.weights));
  const [logits, text] = await outputs(small), [expected, fullText] = await outputs(full);
  assertClose(logits, expected, { atol: 1e-5, what: "logits" });
  assert.deepEqual(text, fullText);

  // once more, from what it wrote; what was measured before does not stay
  const refused = await command("--model_name", prunedDir, "--no_measure");
  assert.equal(refused.code, 2);
  assert.match(
    refused.stderr,
    /^--overwrite is needed to replace the model that .* holds; or give another/m,
  );
  assert.ok(await Deno.stat(join(output, "speed.json")));
  const again = await command("--model_name", prunedDir, "--no_measure", "--overwrite");
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /^4 of 8 heads are left\n {2}read +padded .*\n {2}wrote +compact /);
  assert.doesNotMatch(again.stdout + again.stderr, /adapter|tokens per second/);
  await assert.rejects(Deno.stat(join(output, "speed.json")), { name: "NotFound" });
  assert.deepEqual((await loadModel(output)).weights, loaded.weights);
});

Deno.test("where it goes unless told: beside the model, whatever its path ends in", async () => {
  const of = async (path: string) => (await prepareCompact(path, { overwrite: true })).output;
  assert.equal(await of(`${prunedDir}/`), `${prunedDir}-compact`);
  assert.equal(await of(`${prunedDir}/../pruned`), `${prunedDir}-compact`);
  assert.equal(await of(new URL(`file://${prunedDir}/`).href), "pruned-compact");
});

Deno.test("the command refuses what it cannot do, and leaves everything as it was", async () => {
  const foreign = join(dir, "foreign");
  await Deno.mkdir(foreign);
  await Deno.writeTextFile(join(foreign, "notes.txt"), "mine");
  const before = [...Deno.readDirSync(dir)].map(({ name }) => name).sort();
  const refused: [string[], RegExp][] = [
    [[], /model_name is needed/],
    [["--model_name", "x", "--no_measure", "--rounds", "3"], /rounds says what to measure/],
    [["--model_name", modelDir], /has all of its 8 heads: there is nothing to compact/],
    [["--model_name", join(dir, "none")], /no folder at/],
    [["--model_name", prunedDir, "--output_dir", foreign], /holds notes\.txt.* left alone/],
    [["--model_name", prunedDir, "--output_dir", join(dir, "no", "x")], /cannot be written to/],
    [["--model_name", prunedDir, "--new_tokens", "17"], /make 33: more than the model's 32 posit/],
    [["--model_name", prunedDir, "--rounds", "0"], /rounds must be a whole number from 1 to 1000/],
  ];
  const results = await Promise.all(refused.map(([args]) => command(...args)));
  for (const [i, { code, stdout, stderr }] of results.entries()) {
    assert.match(stderr, refused[i][1]);
    assert.deepEqual([code, stdout], [2, ""], stderr);
  }
  assert.deepEqual([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), before);
  assert.deepEqual([...Deno.readDirSync(foreign)].map(({ name }) => name), ["notes.txt"]);
});

Deno.test("a batch that the adapter cannot hold is refused, and nothing is written", async () => {
  const output = join(dir, "too-large");
  const prepared = await prepareCompact(prunedDir, { output, options: quick });
  using least = await Gpu.open({ maxBinding: 1 << 20 });
  const options = { ...prepared.options, batch_size: 1000 };
  await assert.rejects(compactModel({ ...prepared, options }, least), {
    name: "RangeError",
    message: /batch_size 1000 x 12 tokens does not fit: .* what fits: batch_size \d+/,
  });
  await assert.rejects(Deno.stat(output), { name: "NotFound" });
});
