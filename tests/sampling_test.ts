/**
 * The sampler against its rule, written down once more in f64 and with a sort. The two can only
 * differ where a sum falls on a boundary within fp32's rounding: there the rule is asked a little to
 * either side, and such rows must be rare. Ties and limits leave no doubt and must agree exactly.
 */
import assert from "node:assert/strict";
import {
  CURSOR,
  SAMPLING_SCRATCH,
  samplingGather,
  samplingNext,
  type SamplingOptions,
  samplingRule,
} from "../src/kernels/sampling.ts";
import { assertClose, randomArray, randomIntegers } from "./close.ts";
import { garbage, withTensors } from "./gpu.ts";

/** Number on (0, 1] for a token: pcg4d of Jarzynski and Olano 2020, the upper 24 bits of x. */
function uniform(seed: number, sequence: number, place: number): number {
  const words = [seed >>> 0, Math.floor(seed / 2 ** 32), sequence, place];
  let [x, y, z, w] = words.map((word) => Math.imul(word, 1664525) + 1013904223 | 0);
  const mix = () => {
    x = x + Math.imul(y, w) | 0;
    y = y + Math.imul(z, x) | 0;
    z = z + Math.imul(x, y) | 0;
    w = w + Math.imul(y, z) | 0;
  };
  mix();
  [x, y, z, w] = [x, y, z, w].map((word) => word ^ (word >>> 16));
  mix();
  return ((x >>> 8) + 1) / 2 ** 24;
}

/** Tokens in the sampler's order, likeliest first, with the sums of their weights. */
function ranking(logits: Float32Array, temperature: number) {
  const order = Array.from(logits.keys()).sort((a, b) => logits[b] - logits[a] || a - b);
  const sums: number[] = [];
  let sum = 0;
  for (const v of order) sums.push(sum += Math.exp((logits[v] - logits[order[0]]) / temperature));
  return { order, sums };
}

/**
 * The rule.
 *
 * @param nudge Moves every boundary by this share of all weight, to learn whether it matters.
 */
function sampleReference(
  { order, sums }: { order: number[]; sums: number[] },
  { topK = 0, topP = 1 }: SamplingOptions,
  u: number,
  nudge = 0,
): number {
  /** How many tokens weigh at least `wanted`. */
  const reach = (wanted: number, most: number) => {
    const n = sums.slice(0, most).findIndex((sum) => sum >= wanted) + 1;
    return n === 0 ? most : n;
  };
  let kept = topK === 0 ? order.length : Math.min(topK, order.length);
  const slack = nudge * sums[order.length - 1];
  if (topP < 1) kept = reach(Math.fround(topP) * sums[kept - 1] + slack, kept);
  return order[reach(u * sums[kept - 1] + slack, kept) - 1];
}

/** What the kernel needs to sample from logits (B, stride), cursors and tokens (B, T). */
interface Batch {
  logits: Float32Array;
  cursors: Uint32Array;
  tokens: Uint32Array;
  B: number;
  T: number;
  V: number;
  stride: number;
}

/** Chooses a token for every sequence, with scratch that another choice, among NaNs, has left. */
async function next({ logits, cursors, tokens, ...shape }: Batch, options: SamplingOptions) {
  const { settings, searches, penalises, holes } = samplingRule(options, shape.V);
  const scratch = Object.fromEntries(
    Object.entries(SAMPLING_SCRATCH).map(([name, size]) => [name, new Uint32Array(shape.B * size)]),
  );
  scratch.searches.fill(12345);
  const before = { nans: logits.map(() => NaN), tokensBefore: tokens, cursorsBefore: cursors };
  const got = await withTensors(
    {
      logits,
      settings,
      cursors,
      tokens,
      ...scratch,
      ...before,
      ...(holes.length > 0 && { holes }),
    },
    (plan, { nans, tokensBefore, cursorsBefore, ...t }) => {
      const other = { ...t, logits: nans, tokens: tokensBefore, cursors: cursorsBefore };
      return [other, t].flatMap((tensors) =>
        samplingNext(plan, tensors as never, { ...shape, searches, penalises })
      );
    },
    ["tokens", "cursors"],
  );
  const words = (values: Float32Array) =>
    new Uint32Array(values.buffer, values.byteOffset, values.length);
  return { tokens: words(got.tokens), cursors: words(got.cursors) };
}

/** Samples one token for each row of logits, every cursor at a place of its own. */
async function sampleAll(
  logits: Float32Array,
  { rows, V, ...sampling }: SamplingOptions & { rows: number; V: number },
) {
  const T = 9, stride = Math.ceil(V / 4) * 4;
  const padded = new Float32Array(rows * stride).fill(1e9); // padding is never chosen
  for (let b = 0; b < rows; b++) padded.set(logits.subarray(b * V, (b + 1) * V), b * stride);
  const places = randomIntegers(rows, 17, T - 1);
  const cursors = new Uint32Array(rows * CURSOR);
  places.forEach((place, b) => cursors.set([place, T - 1, 0, b], b * CURSOR));
  const before = randomIntegers(rows * T, 18, 1000);
  const batch = { logits: padded, cursors, tokens: before, B: rows, T, V, stride };
  const { tokens, cursors: after } = await next(batch, sampling);
  const sampled = Array.from(places, (place, b) => tokens[b * T + place + 1]);
  places.forEach((place, b) => {
    before[b * T + place + 1] = sampled[b];
    const end = sampled[b] === sampling.stop ? place + 1 : T - 1;
    assert.deepEqual([...after.subarray(b * CURSOR, (b + 1) * CURSOR)], [place + 1, end, 0, b]);
  });
  assert.deepEqual(tokens, before, "only the next place of each sequence is written");
  return { sampled, places };
}

/** Samples and compares with the rule; returns how many rows were too close to call. */
async function compare(
  logits: Float32Array,
  options: SamplingOptions & { rows: number; V: number },
): Promise<number> {
  const { rows, V, temperature = 1, seed = 0 } = options;
  const { sampled, places } = await sampleAll(logits, options);
  let doubtful = 0;
  for (let b = 0; b < rows; b++) {
    const ranked = ranking(logits.subarray(b * V, (b + 1) * V), temperature || 1);
    const rule = temperature === 0 ? { topK: 1 } : options;
    const u = uniform(seed, b, places[b] + 1);
    const allowed = [0, 1e-5, -1e-5].map((nudge) => sampleReference(ranked, rule, u, nudge));
    if (allowed.some((token) => token !== allowed[0])) doubtful++;
    assert.ok(
      allowed.includes(sampled[b]),
      `row ${b}, ${JSON.stringify(options)}: ${sampled[b]}, and the rule says ${allowed}`,
    );
  }
  return doubtful;
}

const RULES: SamplingOptions[] = [
  {},
  { seed: 2 ** 53 - 1 },
  { temperature: 0 },
  { temperature: 0, topK: 7, topP: 0.3 },
  { temperature: 0.25, seed: 5 },
  { temperature: 3, seed: 6, topK: 17 },
  { topK: 1 },
  { topK: 2, seed: 1 },
  { topK: 211, seed: 2 },
  { topK: 1e9, seed: 3 },
  { topP: 0, seed: 4 },
  { topP: 1e-6, seed: 4 },
  { topP: 0.5, seed: 7 },
  { topP: 0.95, seed: 8, temperature: 1.7 },
  { topK: 40, topP: 0.87, temperature: 0.8, seed: 9 },
  { topK: 3, topP: 0.999, seed: 10 },
];

const ROWS = 150, V = 211;
const LOGITS: Record<string, Float32Array> = {
  "random": randomArray(ROWS * V, 1, 6),
  "many ties": randomArray(ROWS * V, 2, 4).map(Math.round),
  "all equal, and both zeros": randomArray(ROWS * V, 3).map((x) => x < 0 ? -0 : 0),
  "very large": randomArray(ROWS * V, 4, 1e30),
  "large, and close together": randomArray(ROWS * V, 5).map((x) => 1e6 + Math.fround(x * 2)),
  "very small": randomArray(ROWS * V, 6, 1e-30),
  "one that stands out": randomArray(ROWS * V, 7).map((x, i) => i % V === i * 7 % V ? 100 : x),
};

for (const [what, logits] of Object.entries(LOGITS)) {
  Deno.test(`sampling follows its rule: logits ${what}`, async () => {
    let doubtful = 0;
    for (const rule of RULES) doubtful += await compare(logits, { ...rule, rows: ROWS, V });
    // a boundary is within 1e-5 of u, or of top-p's, in a few rows of 10,000
    assert.ok(doubtful <= 0.005 * ROWS * RULES.length, `${doubtful} rows too close to call`);
  });
}

Deno.test("sampling from 50,257 tokens, 1,000, one, and only those the tokenizer knows", async () => {
  const wide = randomArray(3 * 50257, 1, 8);
  for (const rule of [{ seed: 2 }, { topK: 50, topP: 0.9 }, { temperature: 0 }]) {
    await compare(wide, { ...rule, rows: 3, V: 50257 });
  }
  const ties = randomArray(50 * 1000, 3, 3).map(Math.round);
  await compare(ties, { rows: 50, V: 1000, topK: 900, topP: 0.7 });
  await compare(randomArray(5, 2), { rows: 5, V: 1 });
  const { sampled } = await sampleAll(LOGITS.random, { rows: ROWS, V, vocabSize: 3 });
  assert.deepEqual([...new Set(sampled)].sort(), [0, 1, 2]);
});

Deno.test("a stop token ends its sequence, and one that ended stays as it is", async () => {
  const { sampled } = await sampleAll(LOGITS["many ties"], { rows: ROWS, V, topK: 4, stop: 60 });
  assert.ok(sampled.includes(60)); // sampleAll has checked the cursors

  const batch = {
    logits: Float32Array.of(0, 1, 0, 1),
    cursors: Uint32Array.of(1, 1, 0, 0, 1, 2, 0, 0),
    tokens: Uint32Array.of(1, 2, 3, 4, 5, 6),
  };
  const { tokens, cursors } = await next({ ...batch, B: 2, T: 3, V: 2, stride: 2 }, {});
  assert.deepEqual([...cursors], [1, 1, 0, 0, 2, 2, 0, 0]);
  assert.deepEqual([...tokens.subarray(0, 5)], [1, 2, 3, 4, 5]);
  assert.ok(tokens[5] < 2);
});

Deno.test("logits that are not finite are marked, and nothing is written", async () => {
  const B = 5, V = 7, T = 3, stride = 8;
  const logits = randomArray(B * stride, 1);
  logits[0 * stride + 3] = NaN;
  logits[1 * stride + 6] = Infinity;
  logits.fill(-Infinity, 2 * stride, 2 * stride + V);
  logits[3 * stride + 2] = -Infinity; // one that cannot come is no fault
  const cursors = new Uint32Array(B * CURSOR).map((_, i) => i % CURSOR === 1 ? 2 : 0);
  const tokens = new Uint32Array(B * T).fill(99);
  for (const temperature of [0, 1]) {
    const after = await next({ logits, cursors, tokens, B, T, V, stride }, { temperature });
    for (let b = 0; b < B; b++) {
      const fine = b >= 3;
      const cursor = [...after.cursors.subarray(b * CURSOR, b * CURSOR + 3)];
      assert.deepEqual(cursor, fine ? [1, 2, 0] : [0, 0, 1], `row ${b}`);
      assert.equal(after.tokens[b * T + 1] === 99, !fine, `row ${b}`);
    }
  }
});

/** Pearson's statistic of counts against the probabilities exp(logits). */
function chiSquare(counts: ArrayLike<number>, logits: Float32Array, draws: number): number {
  const weights = Array.from(logits, Math.exp);
  const total = weights.reduce((a, b) => a + b);
  return weights.reduce((sum, weight, v) => {
    const expected = draws * weight / total;
    return sum + (counts[v] - expected) ** 2 / expected;
  }, 0);
}

Deno.test("tokens come as often as they should, over sequences, places and seeds", async () => {
  // 20 tokens: 19 degrees of freedom, of which chance exceeds 60 once in 250,000
  const V = 20, rows = 1000, rounds = 10;
  const one = randomArray(V, 3, 1.5);
  const many = new Float32Array(rows * V).map((_, i) => one[i % V]);
  const counts = new Uint32Array(V);
  for (let seed = 0; seed < rounds; seed++) {
    const { sampled } = await sampleAll(many, { rows, V, seed });
    for (const token of sampled) counts[token]++;
  }
  const seen = chiSquare(counts, one, rows * rounds);
  assert.ok(seen < 60, `over sequences: ${seen}`);
  assert.ok(seen > 4, `more even than chance allows: ${seen}`);

  // the numbers themselves, along each of what they are made from: 63 degrees, 1 in 250,000 at 129
  for (const vary of [0, 1, 2]) {
    const bins = new Uint32Array(64);
    for (let i = 0; i < 20000; i++) {
      const [seed, sequence, place] = [0, 1, 2].map((axis) => axis === vary ? i : 5);
      bins[Math.min(63, Math.floor(uniform(seed, sequence, place) * 64))]++;
    }
    const statistic = chiSquare(bins, new Float32Array(64), 20000);
    assert.ok(statistic < 129 && statistic > 25, `numbers along axis ${vary}: ${statistic}`);
  }
});

Deno.test("tokens that a sequence holds are penalised once, and no other", async () => {
  const B = 3, V = 30, T = 200, stride = 32, penalty = 1.7;
  const logits = randomArray(B * stride, 1, 5), tokens = randomIntegers(B * T, 2, V - 3);
  // twice, far apart
  for (let b = 0; b < B; b++) tokens[b * T] = tokens[b * T + 150] = V - 2;
  logits[4] = 0;
  const lasts = [0, 12, T - 2], cursors = new Uint32Array(B * CURSOR);
  lasts.forEach((last, b) => cursors.set([last, T - 1], b * CURSOR));
  const { settings, ...rule } = samplingRule({ repetitionPenalty: penalty, temperature: 0 }, V);
  const scratch = Object.fromEntries(
    Object.entries(SAMPLING_SCRATCH).map(([name, size]) => [name, new Uint32Array(B * size)]),
  );
  const got = await withTensors(
    { logits, settings, cursors, tokens, ...scratch },
    (plan, t) => samplingNext(plan, t as never, { B, T, V, stride, ...rule }),
    ["logits", "tokens"],
  );
  const chosen = new Uint32Array(got.tokens.buffer, got.tokens.byteOffset, B * T);
  lasts.forEach((last, b) => {
    const held = new Set(tokens.subarray(b * T, b * T + last + 1));
    assert.ok(held.size < V, "one at least is not held");
    const expected = [...logits.subarray(b * stride, (b + 1) * stride)].map((x, v) =>
      !held.has(v) ? x : x < 0 ? x * penalty : x / penalty
    );
    const row = got.logits.subarray(b * stride, (b + 1) * stride);
    assertClose(row, expected, { atol: 0, rtol: 1e-6, what: `row ${b}` });
    const likeliest = expected.indexOf(Math.max(...expected.slice(0, V)));
    assert.equal(chosen[b * T + last + 1], likeliest);
  });
});

Deno.test("numbers without a token are drawn as if they were not there", async () => {
  const rows = 400, V = 131, kept = Array.from({ length: V }, (_, v) => v).filter((v) => v % 3);
  const holes = Uint32Array.from({ length: V }, (_, v) => v).filter((v) => v % 3 === 0);
  const logits = randomArray(rows * V, 5, 4);
  for (let b = 0; b < rows; b++) logits[b * V + 3] = 50; // the likeliest by far
  const others = Float32Array.from(
    { length: rows * kept.length },
    (_, i) => logits[Math.floor(i / kept.length) * V + kept[i % kept.length]],
  );
  for (
    const options of [{ temperature: 0 }, { temperature: 0.7, topK: 9 }, { topP: 0.8 }, { seed: 3 }]
  ) {
    const among = await sampleAll(logits, { rows, V, holes, ...options });
    const alone = await sampleAll(others, { rows, V: kept.length, ...options });
    assert.deepEqual(among.sampled, alone.sampled.map((v) => kept[v]), JSON.stringify(options));
  }
});

Deno.test("gather picks the row of each sequence's last token", async () => {
  const [B, T, C] = [5, 7, 51], inp = randomArray(B * T * C, 1);
  const last = randomIntegers(B, 2, T), cursors = new Uint32Array(B * CURSOR);
  last.forEach((t, b) => cursors[b * CURSOR] = t);
  const { out } = await withTensors(
    { inp, cursors, out: garbage(B * C) },
    (plan, t) => samplingGather(plan, t as never, { B, T, C }),
    ["out"],
  );
  const expected = Array.from(
    last,
    (t, b) => [...inp.subarray((b * T + t) * C, (b * T + t + 1) * C)],
  );
  assertClose(out, expected.flat(), { atol: 0, what: "rows" });
});

Deno.test("sampling options out of range are named", () => {
  const bad: [SamplingOptions, RegExp][] = [
    [{ temperature: -1 }, /temperature must be 0 or more: -1/],
    [{ temperature: NaN }, /temperature/],
    [{ topP: 1.3 }, /top_p must be between 0 and 1: 1.3/],
    [{ repetitionPenalty: 0 }, /repetition_penalty must be above 0: 0/],
    [{ repetitionPenalty: Infinity }, /repetition_penalty/],
    [{ topK: 2.5 }, /top_k must be a whole number/],
    [{ seed: -1 }, /seed must be a whole number/],
    [{ stop: 211 }, /stop token must be a whole number from 0 to 210: 211/],
    [{ holes: Uint32Array.of(211) }, /a number without a token must be .* from 0 to 210: 211/],
    [{ vocabSize: 2, holes: Uint32Array.of(0, 1) }, /no token that could be chosen/],
    [{ vocabSize: 0 }, /vocabulary size must be a whole number from 1 to 211: 0/],
  ];
  for (const [options, message] of bad) {
    assert.throws(() => samplingRule(options, 211), { name: "RangeError", message });
  }
});
