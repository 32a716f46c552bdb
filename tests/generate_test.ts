/** Text from a model: the tiny fixture against the f64 model, and what must not change the text. */
import assert from "node:assert/strict";
import { type Gpt2Config, parseConfig } from "../src/gpt2/config.ts";
import { type GenerateOptions, Generator } from "../src/gpt2/generate.ts";
import { compactWeights } from "../src/gpt2/checkpoint.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { Gpu } from "../src/gpu/device.ts";
import { randomIntegers } from "./close.ts";
import { loadFixtureJson, loadFixtureWeights } from "./fixtures.ts";
import { gpu } from "./gpu.ts";
import { greedyCases } from "./greedy.ts";
import { gpt2Reference } from "./reference.ts";

const config = parseConfig(loadFixtureJson("tiny/config.json"));
const weights = loadFixtureWeights("tiny");
const model = new Gpt2(gpu, config, weights);

/** Prompts of 1, 5, 17 and 3 tokens. */
const PROMPTS = [1, 5, 17, 3].map((length, i) => randomIntegers(length, i, config.V));

/** 20 tokens on top: through two widenings of the window, up to the model's last position. */
const REQUEST: GenerateOptions = { prompts: PROMPTS, maxNewTokens: 20, seed: 7 };

/** Checks that every token after the prompt is the f64 model's likeliest. */
function assertGreedy(
  { config, weights, what }: {
    config: Gpt2Config;
    weights: ReadonlyMap<string, Float32Array>;
    what: string;
  },
  text: Uint32Array,
  prompt: Uint32Array,
): void {
  assert.deepEqual(text.subarray(0, prompt.length), prompt);
  // attention is causal: one pass over the result shows what each of its tokens was chosen from
  const T = text.length - 1, { V } = config, tokens = text.subarray(0, T);
  const { logits } = gpt2Reference(config, weights, { tokens, targets: tokens, B: 1, T });
  for (let t = prompt.length - 1; t < T; t++) {
    const row = logits.subarray(t * V, (t + 1) * V);
    assert.equal(text[t + 1], row.indexOf(row.reduce((a, b) => Math.max(a, b))), `${what}, ${t}`);
  }
}

Deno.test("greedy text is the f64 model's, token by token, from prompts of different lengths", async () => {
  using generator = new Generator(model);
  const texts = await generator.generate({ ...REQUEST, temperature: 0 });
  assert.deepEqual(texts.map(({ length }) => length), [21, 25, 37, 23]);
  texts.forEach((text, b) =>
    assertGreedy({ config, weights, what: `prompt ${b}` }, text, PROMPTS[b])
  );
  assert.ok(new Set(texts.flatMap((text) => [...text])).size > 8, "more than one token repeated");
});

Deno.test("greedy text of an untied model", async () => {
  const config = parseConfig(loadFixtureJson("untied/config.json"));
  const weights = loadFixtureWeights("untied");
  using model = new Gpt2(gpu, config, weights);
  using generator = new Generator(model);
  const prompts = [Uint32Array.of(3, 1, 4)];
  const [text] = await generator.generate({ prompts, maxNewTokens: 16, temperature: 0 });
  assertGreedy({ config, weights, what: "untied" }, text, prompts[0]);
});

for (const name of ["tiny", "even", "untied"]) {
  Deno.test(`greedy text is transformers', token for token: ${name}`, async () => {
    const config = parseConfig(loadFixtureJson(`${name}/config.json`));
    using model = new Gpt2(gpu, config, loadFixtureWeights(name));
    using generator = new Generator(model);
    const cases = greedyCases(name);
    for (const repetitionPenalty of [1, 1.3, 0.7]) {
      const alike = cases.filter((one) => one.repetition_penalty === repetitionPenalty);
      assert.ok(alike.length > 0);
      for (const { prompt, tokens } of alike) {
        const prompts = [Uint32Array.from(prompt)], maxNewTokens = tokens.length;
        const options = { prompts, maxNewTokens, temperature: 0, repetitionPenalty };
        const [text] = await generator.generate(options);
        assert.deepEqual([...text.subarray(prompt.length)], tokens);
      }
      // and side by side, as far as all of them are known
      const maxNewTokens = Math.min(...alike.map(({ tokens }) => tokens.length));
      const prompts = alike.map(({ prompt }) => Uint32Array.from(prompt));
      const options = { prompts, maxNewTokens, temperature: 0, repetitionPenalty };
      (await generator.generate(options)).forEach((text, b) =>
        assert.deepEqual(
          [...text.subarray(prompts[b].length)],
          alike[b].tokens.slice(0, maxNewTokens),
        )
      );
    }
  });
}

Deno.test("a sequence ends where it is told to, and its neighbours go on", async () => {
  using generator = new Generator(model);
  const texts = await generator.generate(REQUEST);
  for (const chunk of [1, 3, 16, 100]) {
    const asked: number[][] = [[], [], [], []];
    const until = (continuation: readonly number[], place: number) => {
      asked[place].push(continuation.length);
      assert.equal(
        continuation.at(-1),
        texts[place][PROMPTS[place].length + continuation.length - 1],
      );
      return place === 1 && continuation.length === 5;
    };
    const looks: number[][] = [[], [], [], []];
    const onTokens = (fresh: Uint32Array[]) => fresh.forEach((own, b) => looks[b].push(...own));
    const written = await generator.generate({ ...REQUEST, until }, { chunk, onTokens });
    const expected = texts.map((text, b) =>
      b === 1 ? text.subarray(0, PROMPTS[1].length + 5) : text
    );
    assert.deepEqual(written, expected);
    assert.deepEqual(looks, expected.map((text, b) => [...text.subarray(PROMPTS[b].length)]));
    assert.deepEqual(asked[1], [1, 2, 3, 4, 5]);
    assert.equal(asked[0].length, 20);
  }
  let looks = 0;
  const until = () => true;
  const ended = await generator.generate({ ...REQUEST, until }, { onTokens: () => looks++ });
  assert.deepEqual([ended.map(({ length }) => length), looks], [[2, 6, 18, 4], 1]);

  // one by its stop token, the others because they are told to, at the same look: then all is done
  looks = 0;
  const stop = texts[2][PROMPTS[2].length];
  assert.ok([0, 1, 3].every((b) => texts[b][PROMPTS[b].length] !== stop));
  await generator.generate({ ...REQUEST, stop, until: (_, place) => place !== 2 }, {
    ...{ chunk: 1, onTokens: () => looks++ },
  });
  assert.equal(looks, 1);
});

Deno.test("the same stream, seed and tokens draw the same, at any place", async () => {
  using generator = new Generator(model);
  const [, text] = await generator.generate(REQUEST); // stream 1
  const prompts = [PROMPTS[1], PROMPTS[0], PROMPTS[1]];
  const streams = [5, 1, 1];
  const again = await generator.generate({ ...REQUEST, prompts, streams });
  assert.deepEqual(again[2], text);
  assert.notDeepEqual(again[0], text);
  for (const streams of [[1], [0, 0.5, 1], [0, -1, 1], [0, 2 ** 32, 1]]) {
    await assert.rejects(generator.generate({ ...REQUEST, prompts, streams }), {
      name: "RangeError",
      message: /^streams must be a whole number below 2\^32 for each of 3 prompts: /,
    });
  }
});

Deno.test("a generator that has less room than is asked for makes more", async () => {
  const alone = async (options: GenerateOptions) => {
    using generator = new Generator(model);
    return await generator.generate(options);
  };
  const long = { ...REQUEST, prompts: [PROMPTS[2]], maxNewTokens: 4 };
  const more = { ...long, maxNewTokens: 20 };
  const two = { ...REQUEST, prompts: [PROMPTS[1], PROMPTS[3]], maxNewTokens: 3 };
  using generator = new Generator(model);
  for (const options of [long, more, two, long]) {
    assert.deepEqual(await generator.generate(options), await alone(options));
  }
});

Deno.test("the host looks once in many tokens", async () => {
  using generator = new Generator(model);
  const { now } = performance;
  let time = 0;
  const looksAt = async (ms: number) => {
    let looks = 0;
    performance.now = () => time += ms;
    await generator.generate(REQUEST, { onTokens: () => looks++ });
    return looks;
  };
  try {
    // 20 tokens: 1, 4 and 15 where each look takes no time; one by one where each takes a second
    assert.deepEqual([await looksAt(0), await looksAt(1000)], [3, 20]);
  } finally {
    performance.now = now;
  }
});

Deno.test("more prompts than an adapter can hold are refused, with the number it can", async () => {
  using small = await Gpu.open({ maxBinding: 80_000 });
  using model = new Gpt2(small, config, weights);
  using generator = new Generator(model);
  const before = small.bytes;
  // queries, keys and values of a prompt in 32 places are 3 * 51 * 32 numbers: 19,584 bytes
  const message = "5 prompts of up to 32 tokens, in texts of up to 37, are too many for this " +
    "adapter: give at most 4";
  const prompts = [...PROMPTS, PROMPTS[0]];
  await assert.rejects(generator.generate({ ...REQUEST, prompts }), {
    name: "RangeError",
    message,
  });
  assert.equal(small.bytes, before);
  assert.equal((await generator.generate(REQUEST)).length, 4);
});

Deno.test("tokens that were written become less likely where they are penalised", async () => {
  using generator = new Generator(model);
  const distinct = async (repetitionPenalty: number) => {
    const texts = await generator.generate({ ...REQUEST, temperature: 0, repetitionPenalty });
    return texts.reduce((sum, text) => sum + new Set(text).size, 0);
  };
  assert.ok(await distinct(1e6) === 1 + 5 + 17 + 3 + 80, "no token twice");
  assert.ok(await distinct(1.3) > await distinct(1));
});

Deno.test("heads whose gates are closed, and the same heads left out, give the same text", async () => {
  const live = [[2], [0, 1]];
  using all = new Gpt2(gpu, config, weights);
  using own = new Gpt2(gpu, config, compactWeights(config, live, weights), live);
  const gates = new Float32Array(6);
  gates[2] = 0.4;
  gates.fill(1, 3, 5);
  all.setGates(gates);
  own.setGates(gates);
  using first = new Generator(all);
  using second = new Generator(own);
  const options = { ...REQUEST, temperature: 0 };
  assert.deepEqual(await second.generate(options), await first.generate(options));
});

Deno.test("the seed decides the text; read-backs, neighbours, pieces and history do not", async () => {
  using generator = new Generator(model);
  const texts = await generator.generate(REQUEST);
  assert.deepEqual(texts.map(({ length }) => length), [21, 25, 37, 23]);
  assert.deepEqual(await generator.generate(REQUEST), texts, "again");
  assert.notDeepEqual(await generator.generate({ ...REQUEST, seed: 8 }), texts, "another seed");
  for (const chunk of [1, 3, 16, 1000]) {
    const fresh: number[][] = PROMPTS.map((prompt) => [...prompt]);
    let looks = 0;
    const onTokens = (tokens: Uint32Array[]) => {
      looks++;
      tokens.forEach((more, b) => fresh[b].push(...more));
    };
    assert.deepEqual(await generator.generate(REQUEST, { chunk, onTokens }), texts, `${chunk}`);
    assert.deepEqual(fresh, texts.map((text) => [...text]), `onTokens, chunk ${chunk}`);
    assert.equal(looks, Math.ceil(20 / chunk));
  }
  const alone = { ...REQUEST, prompts: PROMPTS.slice(0, 1) };
  assert.deepEqual(await generator.generate(alone), texts.slice(0, 1), "alone");
  const shorter = (await generator.generate({ ...REQUEST, maxNewTokens: 4 }))[1];
  assert.deepEqual(shorter, texts[1].subarray(0, 9), "fewer tokens");
  assert.deepEqual(await generator.generate(REQUEST), texts, "after other requests");
  using pieces = new Generator(model, { pieceBytes: 64 * config.C * 4 });
  assert.deepEqual(await pieces.generate(REQUEST), texts, "the head in four pieces");
});

Deno.test("all options together: a second generator agrees, and greedy is top-k 1", async () => {
  using first = new Generator(model);
  using second = new Generator(model);
  const options = { ...REQUEST, temperature: 0.7, topK: 20, topP: 0.8 };
  assert.deepEqual(await first.generate(options), await second.generate(options, { chunk: 2 }));
  const greedy = await first.generate({ ...REQUEST, temperature: 0 });
  assert.deepEqual(await second.generate({ ...REQUEST, topK: 1 }), greedy);
  assert.deepEqual(await second.generate({ ...REQUEST, topP: 0 }), greedy);
});

Deno.test("a stop token ends its sequence alone, wherever the host looks", async () => {
  using generator = new Generator(model);
  const texts = await generator.generate(REQUEST);
  const stop = texts[2][25]; // within the third text's continuation
  const expected = texts.map((text, b) => {
    const at = text.indexOf(stop, PROMPTS[b].length);
    return at < 0 ? text : text.slice(0, at + 1);
  });
  assert.ok(expected[2].length <= 26);
  for (const chunk of [1, 7, 100]) {
    assert.deepEqual(await generator.generate({ ...REQUEST, stop }, { chunk }), expected);
  }
  // where all have ended, no more is asked of the device
  let looks = 0;
  const prompts = [PROMPTS[2]];
  const first = (await generator.generate({ ...REQUEST, prompts }))[0][17];
  const [text] = await generator.generate({ ...REQUEST, prompts, stop: first }, {
    chunk: 1,
    onTokens: () => looks++,
  });
  assert.deepEqual([text.length, looks], [18, 1]);
});

Deno.test("any of several stop tokens ends a sequence, whichever the device knows", async () => {
  using generator = new Generator(model);
  const texts = await generator.generate(REQUEST);
  const stops = [texts[0][PROMPTS[0].length + 4], texts[2][25], texts[3][PROMPTS[3].length + 2]];
  const expected = texts.map((text, b) => {
    const at = text.findIndex((token, i) => i >= PROMPTS[b].length && stops.includes(token));
    return at < 0 ? text : text.slice(0, at + 1);
  });
  for (const stop of [stops, stops.toReversed(), [...stops, ...stops]]) {
    for (const chunk of [1, 7, 100]) {
      assert.deepEqual(await generator.generate({ ...REQUEST, stop }, { chunk }), expected);
    }
  }
});

Deno.test("numbers without a token are never written, and change nothing else", async () => {
  using generator = new Generator(model);
  for (const change of [{ temperature: 0 }, { temperature: 2 }, { temperature: 1, topK: 0 }]) {
    const request = { ...REQUEST, ...change };
    const texts = await generator.generate(request);
    const written = new Set(texts.flatMap((text, b) => [...text.subarray(PROMPTS[b].length)]));
    const even = Uint32Array.from({ length: 106 }, (_, i) => 2 * i);
    const odd = await generator.generate({ ...request, holes: even });
    odd.forEach((text, b) => assert.ok(text.subarray(PROMPTS[b].length).every((id) => id % 2)));
    if (change.temperature > 0) continue;
    const others = even.filter((id) => !written.has(id));
    assert.ok(others.length > 50);
    assert.deepEqual(await generator.generate({ ...request, holes: others }), texts);
  }
});

Deno.test("only tokens below vocabSize are written", async () => {
  using generator = new Generator(model);
  const texts = await generator.generate({ ...REQUEST, vocabSize: 50, temperature: 2 });
  texts.forEach((text, b) => assert.ok(text.subarray(PROMPTS[b].length).every((id) => id < 50)));
});

Deno.test("generation can be stopped, and the generator used again", async () => {
  using generator = new Generator(model);
  const stop = new AbortController();
  const reason = new Error("enough");
  const running = generator.generate(REQUEST, {
    chunk: 2,
    signal: stop.signal,
    onTokens: () => stop.abort(reason),
  });
  await assert.rejects(generator.generate(REQUEST), /still writing/);
  await assert.rejects(running, reason);
  await assert.rejects(generator.generate(REQUEST, { signal: stop.signal }), reason);
  assert.equal((await generator.generate(REQUEST)).length, 4);
});

Deno.test("requests that cannot be met are refused, with the numbers", async () => {
  using generator = new Generator(model);
  const before = gpu.bytes;
  const bad: [Partial<GenerateOptions>, RegExp][] = [
    [{ prompts: [] }, /no prompts/],
    [{ prompts: [PROMPTS[0], new Uint32Array()] }, /Prompt 1 is empty/],
    [{ prompts: [Uint32Array.of(1, 211)] }, /Prompt 0 holds token 211.*below 211/],
    [{ maxNewTokens: 21 }, /Prompt 2 has 17 tokens.*21 new ones makes 38.*37 positions/],
    [{ maxNewTokens: 0 }, /max_new_tokens must be a whole number of 1 or more: 0/],
    [{ topP: 2 }, /top_p/],
  ];
  for (const [change, message] of bad) {
    const request = generator.generate({ ...REQUEST, ...change });
    await assert.rejects(request, { name: "RangeError", message });
  }
  await assert.rejects(generator.generate(REQUEST, { chunk: 0 }), /chunk/);
  assert.equal(gpu.bytes, before, "nothing was allocated");
});

Deno.test("a model that has diverged is named, and no memory is kept", async () => {
  const before = gpu.bytes;
  {
    const broken = new Map(weights).set("ln_f.bias", new Float32Array(config.C).fill(NaN));
    using model = new Gpt2(gpu, config, broken);
    using generator = new Generator(model);
    const message = /logits after token 0 of sequence 0 are not finite/;
    await assert.rejects(generator.generate(REQUEST), { name: "RangeError", message });
  }
  assert.equal(gpu.bytes, before);
});
