import assert from "node:assert/strict";
import { evalWindows, TrainBatches } from "../src/data/batches.ts";
import { splitTokens } from "../src/data/parts.ts";
import { Random } from "../src/random.ts";

/** Tokens that are their own places. */
const places = (length: number) => Uint32Array.from({ length }, (_, i) => i);
const list = (values: Iterable<number>) => [...values];

Deno.test("random: the reference implementation's numbers", () => {
  // From xoshiro128starstar.c, compiled, with s = {1, 2, 3, 4}.
  const random = Random.restore({ kind: "xoshiro128**", words: [1, 2, 3, 4], spare: null });
  assert.deepEqual(
    Array.from({ length: 10 }, () => random.uint32()),
    // deno-fmt-ignore
    [11520, 0, 5927040, 70819200, 2031721883, 1637235492, 1287239034, 3734860849, 3729100597,
      4258142804],
  );
});

Deno.test("random: streams, ranges and moments", () => {
  const draw = (random: Random) => Array.from({ length: 4 }, () => random.uint32()).join();
  const seeds = [[0, 0], [1, 0], [0, 1], [2 ** 32, 0], [0, 2 ** 32], [2 ** 53 - 1, 0]];
  assert.equal(new Set(seeds.map(([seed, stream]) => draw(new Random(seed, stream)))).size, 6);
  assert.equal(draw(new Random(9, 3)), draw(new Random(9, 3)));

  const random = new Random(1), n = 50_000;
  const uniform = Array.from({ length: n }, () => random.next());
  assert.ok(uniform.every((u) => u >= 0 && u < 1));
  assert.ok(Math.abs(uniform.reduce((a, b) => a + b) / n - 0.5) < 0.006); // four standard errors
  const normal = Array.from({ length: n }, () => random.normal());
  const moment = (k: number) => normal.reduce((a, x) => a + x ** k, 0) / n;
  const errors = [1, 2, 3, 4].map((k) => Math.abs(moment(k) - [0, 1, 0, 3][k - 1]));
  const allowed = [1, 2, 15, 96].map((variance) => 4 * Math.sqrt(variance / n));
  assert.ok(errors.every((e, i) => e < allowed[i]), `${errors} against ${allowed}`);

  const counts = new Array(7).fill(0);
  for (let i = 0; i < 7000; i++) counts[random.int(7)]++;
  assert.ok(counts.every((c) => Math.abs(c - 1000) < 120), String(counts));
  assert.equal(random.int(1), 0);
  // 3 * 2^30 does not divide 2^32: without rejection a third of the draws would be doubled.
  const big = Array.from({ length: 4000 }, () => random.int(3 * 2 ** 30));
  assert.ok(Math.abs(big.filter((x) => x < 2 ** 30).length - 4000 / 3) < 120);
  for (const bad of [0, -1, 1.5, NaN, 2 ** 32 + 1]) {
    assert.throws(() => random.int(bad), RangeError);
  }
  for (const bad of [-1, 0.5, NaN, 2 ** 53]) assert.throws(() => new Random(bad), RangeError);
});

Deno.test("random: shuffling, and resuming in the middle of a normal pair", () => {
  const random = new Random(4);
  const shuffled = random.shuffle(places(50));
  assert.notDeepEqual(shuffled, places(50));
  assert.deepEqual(shuffled.slice().sort(), places(50));
  const orders = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const key = random.shuffle(["a", "b", "c"]).join("");
    orders.set(key, (orders.get(key) ?? 0) + 1);
  }
  assert.equal(orders.size, 6);
  assert.ok([...orders.values()].every((c) => Math.abs(c - 1000) < 120), String([...orders]));

  random.normal();
  const saved = JSON.parse(JSON.stringify(random.state));
  assert.notEqual(saved.spare, null);
  const next = (r: Random) => [r.normal(), r.normal(), r.next(), r.int(1000)];
  assert.deepEqual(next(Random.restore(saved)), next(random));
  for (
    const bad of [
      null,
      {},
      { ...saved, kind: "pcg" },
      { ...saved, words: [0, 0, 0, 0] },
      { ...saved, words: [1, 2, 3] },
      { ...saved, words: [1, 2, 3, -4] },
      { ...saved, spare: undefined },
    ]
  ) assert.throws(() => Random.restore(bad), { name: "TypeError", message: /not the saved state/ });
});

Deno.test("split: four disjoint parts in order, in the stated shares", () => {
  for (const length of [1300, 1301, 1319, 447_632]) {
    const { train, calibration, validation, test } = splitTokens(places(length), { T: 64, B: 4 });
    const joined = [train, calibration, validation, test].flatMap(list);
    assert.deepEqual(Uint32Array.from(joined), places(length));
    assert.equal(train.length, Math.floor(length * 0.8));
    assert.equal(calibration.length, Math.floor(length / 20));
    assert.equal(validation.length, Math.floor(length / 20));
  }
});

Deno.test("split: says how many tokens it takes, and that many do", () => {
  for (const [T, B] of [[64, 1], [64, 40], [3, 1], [1, 1], [7, 13], [100, 15], [100, 16]]) {
    let needed = 0;
    assert.throws(() => splitTokens(places(1), { T, B }), (error: Error) => {
      assert.equal(error.name, "RangeError");
      assert.match(error.message, /^the text has 1 tokens: .*batches of \d+ x \d+ tokens/);
      needed = Number(/at least (\d+)/.exec(error.message)![1]);
      return true;
    });
    for (const length of [needed, needed + 1, needed + 19, needed + 20]) {
      const parts = splitTokens(places(length), { T, B });
      assert.ok(parts.train.length >= B * T + 1, `train of ${length}`);
      for (const part of [parts.calibration, parts.validation, parts.test]) {
        assert.ok(part.length >= T + 1, `${part.length} of ${length} for T ${T}`);
      }
    }
    assert.throws(() => splitTokens(places(needed - 1), { T, B }), RangeError);
    // One token less would leave a part short: the number is not merely sufficient.
    const less = needed - 1;
    assert.ok(Math.floor(less * 0.8) < B * T + 1 || Math.floor(less / 20) < T + 1);
  }
  assert.throws(() => splitTokens(places(99), { T: 0 }), { message: /max_length .*: 0$/ });
  assert.throws(() => splitTokens(places(99), { T: 2, B: 1.5 }), {
    message: /batch_size .*: 1.5$/,
  });
});

Deno.test("train batches: targets follow inputs, every place is reached", () => {
  const tokens = places(20).map((i) => i + 100);
  const batches = new TrainBatches(tokens, { B: 3, T: 16, seed: 2 });
  const starts = new Set<number>();
  for (let i = 0; i < 60; i++) {
    const { inputs, targets } = batches.next();
    assert.equal(inputs.length, 48);
    assert.deepEqual(targets, inputs.map((token) => token + 1));
    for (let b = 0; b < 3; b++) {
      const row = inputs.subarray(b * 16, (b + 1) * 16);
      assert.deepEqual(row, places(16).map((i) => row[0] + i));
      starts.add(row[0]);
    }
  }
  assert.deepEqual(list(starts).sort(), [100, 101, 102, 103]);
  // Exactly one window fits.
  const only = new TrainBatches(places(5), { B: 1, T: 4, seed: 0 }).next();
  assert.deepEqual([list(only.inputs), list(only.targets)], [[0, 1, 2, 3], [1, 2, 3, 4]]);
  assert.throws(() => new TrainBatches(places(4), { B: 1, T: 4, seed: 0 }), {
    name: "RangeError",
    message: "4 tokens hold no window of max_length 4, which takes 5",
  });
});

Deno.test("train batches: the seed decides, and a saved state goes on bit for bit", () => {
  const tokens = places(5000), options = { B: 4, T: 8, seed: 77 };
  const a = new TrainBatches(tokens, options), b = new TrainBatches(tokens, options);
  for (let i = 0; i < 5; i++) assert.deepEqual(a.next(), b.next());
  const other = new TrainBatches(tokens, { ...options, seed: 78 });
  for (let i = 0; i < 5; i++) other.next();
  assert.notDeepEqual(other.next(), b.next());

  const saved = JSON.parse(JSON.stringify(a.state));
  assert.equal(saved.drawn, 5);
  const expected = Array.from({ length: 5 }, () => a.next());
  other.restore(saved);
  assert.deepEqual(Array.from({ length: 5 }, () => other.next()), expected);
  assert.deepEqual(other.state, a.state);

  const shorter = new TrainBatches(tokens.subarray(1), options);
  assert.throws(() => shorter.restore(saved), {
    name: "RangeError",
    message: /tokens 5000, this one 4999/,
  });
  const wider = new TrainBatches(tokens, { ...options, T: 9 });
  assert.throws(() => wider.restore(saved), { name: "RangeError", message: /T 8, this one 9/ });
});

/**
 * The loop of Hugging Face's page, with its masked labels and the shift inside the model: all pairs
 * (first token in sight, target) that it scores. Tokens are their own places.
 */
function scoredByThePage(length: number, maxLength: number, stride: number): string[] {
  const scored: string[] = [];
  let previousEnd = 0;
  for (let begin = 0; begin < length; begin += stride) {
    const end = Math.min(begin + maxLength, length);
    const trgLen = end - previousEnd;
    const inputIds = list(places(length)).slice(begin, end);
    const targetIds = inputIds.map((id, i) => i < inputIds.length - trgLen ? -100 : id);
    targetIds.slice(1).forEach((id) => { // logits[:-1] against labels[1:]
      if (id !== -100) scored.push(`${begin} sees ${id}`);
    });
    previousEnd = end;
    if (end === length) break;
  }
  return scored;
}

Deno.test("windows: score what Hugging Face's loop scores, with the same context", () => {
  for (const T of [2, 3, 4, 5, 8, 13]) {
    for (let stride = 1; stride <= T; stride++) {
      for (const length of [2, 3, 4, 7, 8, 9, 16, 17, 40]) {
        const scored: string[] = [];
        for (const { inputs, targets, from } of evalWindows(places(length), T, stride)) {
          assert.equal(inputs.length, targets.length);
          assert.ok(inputs.length < T && from < targets.length);
          assert.deepEqual(inputs, places(inputs.length).map((i) => inputs[0] + i));
          assert.deepEqual(targets, inputs.map((token) => token + 1));
          targets.subarray(from).forEach((token) => scored.push(`${inputs[0]} sees ${token}`));
        }
        const what = `T ${T}, stride ${stride}, ${length} tokens`;
        assert.deepEqual(scored, scoredByThePage(length, T, stride), what);
        // Each token at most once; all but the first where windows overlap.
        const tokens = scored.map((pair) => Number(pair.split(" ")[2]));
        assert.equal(new Set(tokens).size, tokens.length, what);
        if (stride < T) assert.deepEqual(tokens, list(places(length)).slice(1), what);
      }
    }
  }
});

Deno.test("windows: an example by hand, and what is refused", () => {
  const plain = [...evalWindows(places(9), 4)].map(({ inputs, targets, from }) => [
    list(inputs),
    list(targets),
    from,
  ]);
  // The ninth token stands alone in a third window: nothing in sight to predict it from.
  assert.deepEqual(plain, [[[0, 1, 2], [1, 2, 3], 0], [[4, 5, 6], [5, 6, 7], 0]]);
  const half = [...evalWindows(places(7), 4, 2)].map(({ targets, from }) => [list(targets), from]);
  assert.deepEqual(half, [[[1, 2, 3], 0], [[3, 4, 5], 1], [[5, 6], 1]]);

  assert.throws(() => evalWindows(places(9), 1), {
    name: "RangeError",
    message: /max_length .*: 1/,
  });
  assert.throws(() => evalWindows(places(9), 4, 5), { message: /stride .* max_length 4: 5/ });
  assert.throws(() => evalWindows(places(9), 4, 0), { message: /stride .*: 0/ });
  assert.throws(() => evalWindows(places(1), 4), { message: /1 tokens leave nothing to predict/ });
});
