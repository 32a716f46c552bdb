import assert from "node:assert/strict";
import { drawIndex, startRatings, StrategyRatings } from "../src/plasticity/ratings.ts";
import { Random } from "../src/random.ts";
import { assertClose } from "./close.ts";

const fresh = () =>
  new StrategyRatings({
    pruning: startRatings(["entropy", "magnitude", "random"]),
    growth: startRatings(["balanced", "random"]),
  });
const first = { pruning: "entropy", growth: "balanced" };

/** How often each name is drawn by a source that goes through [0, 1) in even steps. */
function counts(ratings: StrategyRatings, steps: number, preferences = {}) {
  const count: Record<string, number> = {};
  for (let i = 0; i < steps; i++) {
    const name = ratings.draw("pruning", () => (i + 0.5) / steps, preferences);
    count[name] = (count[name] ?? 0) + 1;
  }
  return count;
}

Deno.test("startRatings() gives random half of what others get", () => {
  assert.deepEqual(startRatings(["gradient_sensitivity", "random"]), {
    gradient_sensitivity: 1,
    random: 0.5,
  });
});

Deno.test("drawIndex() splits [0, 1) by weight, each share closed below", () => {
  // 1, 0, 2, 1 of 4: [0, 1/4), none, [1/4, 3/4), [3/4, 1)
  const drawn = [0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2 ** -53].map((u) =>
    drawIndex([1, 0, 2, 1], () => u)
  );
  assert.deepEqual(drawn, [0, 0, 2, 2, 3, 3]);
});

Deno.test("drawIndex() never draws a weight of 0, at either end", () => {
  assert.equal(drawIndex([0, 1, 0], () => 0), 1);
  assert.equal(drawIndex([0, 1, 0], () => 1 - 2 ** -53), 1);
  // The least positive number: the product with 1 - 2^-53 rounds up to the sum.
  assert.equal(drawIndex([0, 5e-324, 0], () => 1 - 2 ** -53), 1);
});

Deno.test("drawIndex() refuses bad weights and sources", () => {
  const half = () => 0.5;
  assert.throws(() => drawIndex([], half), /^RangeError: the sum of weights .* above 0: 0$/);
  assert.throws(() => drawIndex([0, 0], half), /the sum of weights .*: 0$/);
  assert.throws(() => drawIndex([1, -1, 2], half), /^RangeError: a weight must be .*: -1$/);
  assert.throws(() => drawIndex([1, NaN], half), /a weight .*: NaN$/);
  assert.throws(() => drawIndex([1e308, 1e308], half), /the sum of weights .*: Infinity$/);
  assert.throws(() => drawIndex([1], () => 1), /^RangeError: random\(\) must be .* below 1: 1$/);
});

Deno.test("strategies are drawn by rating, with one number a draw", () => {
  assert.deepEqual(counts(fresh(), 1000), { entropy: 400, magnitude: 400, random: 200 });
  assert.deepEqual(fresh().probabilities("pruning"), {
    entropy: 0.4,
    magnitude: 0.4,
    random: 0.2,
  });
  let taken = 0;
  const source = () => [0.9, 0.1][taken++];
  assert.equal(fresh().draw("growth", source), "random"); // 1 of 1.5 is balanced
  assert.equal(taken, 1);
  assert.equal(fresh().draw("growth", source), "balanced");
});

Deno.test("preferences weigh one draw, and leave no trace", () => {
  const ratings = fresh();
  // 0 x 1, 1 (not given) x 1, 6 x 0.5: a quarter and three
  const preferences = { entropy: 0, random: 6 };
  assert.deepEqual(counts(ratings, 1000, preferences), { magnitude: 250, random: 750 });
  assert.deepEqual(ratings.probabilities("pruning", preferences), {
    entropy: 0,
    magnitude: 0.25,
    random: 0.75,
  });
  assert.deepEqual(ratings.toJSON(), fresh().toJSON());
});

Deno.test("update() rates both strategies of the cycle, and no other", () => {
  const ratings = fresh();
  ratings.update(first, { success: true, improvement: 0.25 });
  assert.deepEqual(ratings.toJSON(), {
    pruning: { entropy: 1.25, magnitude: 1, random: 0.5 },
    growth: { balanced: 1.25, random: 0.5 },
  });
  // random is two strategies: one that prunes, one that grows
  ratings.update({ pruning: "random", growth: "balanced" }, { success: false });
  assert.deepEqual(ratings.toJSON(), {
    pruning: { entropy: 1.25, magnitude: 1, random: 0.4 },
    growth: { balanced: 1, random: 0.5 },
  });
});

Deno.test("update() clamps the improvement to 0..0.5, and does not look at a failure's", () => {
  const after = (success: boolean, improvement: number) => {
    const ratings = fresh();
    ratings.update(first, { success, improvement });
    return ratings.rating("pruning", "entropy");
  };
  assert.equal(after(true, 0.5), 1.5);
  assert.equal(after(true, 0.9), 1.5);
  assert.equal(after(true, 0), 1);
  assert.equal(after(true, -0.1), 1);
  assert.equal(after(false, 0.5), 0.8);
  assert.equal(after(false, NaN), 0.8);
});

Deno.test("ratings stay within 0.1 and 10", () => {
  const ratings = fresh();
  const pair = { pruning: "entropy", growth: "random" };
  const good = { success: true, improvement: 0.5 } as const;
  for (let i = 0; i < 5; i++) ratings.update(pair, good);
  assert.equal(ratings.rating("pruning", "entropy"), 7.59375); // 1.5^5
  ratings.update(pair, good); // 11.39
  assert.equal(ratings.rating("pruning", "entropy"), 10);
  assert.equal(ratings.rating("growth", "random"), 5.6953125); // 0.5 * 1.5^6
  for (let i = 0; i < 18; i++) ratings.update(pair, { success: false });
  assertClose([ratings.rating("growth", "random")], [5.6953125 * 0.8 ** 18], { atol: 1e-12 });
  ratings.update(pair, { success: false }); // 0.082
  assert.equal(ratings.rating("growth", "random"), 0.1);
});

Deno.test("ratings go on from JSON with the same draws", () => {
  const go = (ratings: StrategyRatings, random: Random, cycles: number) =>
    Array.from({ length: cycles }, (_, i) => {
      const pair = {
        pruning: ratings.draw("pruning", () => random.next()),
        growth: ratings.draw("growth", () => random.next()),
      };
      ratings.update(pair, i % 3 ? { success: true, improvement: i / 30 } : { success: false });
      return pair;
    });
  const whole = fresh(), straight = new Random(3);
  go(whole, straight, 9);
  const restored = StrategyRatings.fromJSON(JSON.parse(JSON.stringify(whole)));
  const random = Random.restore(straight.state);
  const rest = go(restored, random, 20);
  assert.deepEqual(rest, go(whole, straight, 20));
  assert.deepEqual(restored.toJSON(), whole.toJSON());
  assert.notDeepEqual(restored.toJSON(), fresh().toJSON());
  assert.ok(new Set(rest.map((pair) => pair.pruning)).size > 1, "one strategy alone shows little");
});

Deno.test("toJSON() hands out a copy", () => {
  const ratings = fresh();
  ratings.toJSON().pruning.entropy = 9;
  assert.equal(ratings.rating("pruning", "entropy"), 1);
});

Deno.test("ratings refuse what is unknown or out of range, and then keep still", () => {
  const ratings = fresh();
  const good = { success: true, improvement: 0.25 } as const;
  assert.throws(
    () => ratings.update({ pruning: "entropy", growth: "hebbian" }, good),
    /^TypeError: growth strategy must be one of balanced, random: hebbian$/,
  );
  assert.throws(
    () => ratings.update(first, { success: true, improvement: NaN }),
    /^RangeError: improvement must be a number: NaN$/,
  );
  assert.throws(() => ratings.rating("pruning", "toString"), /^TypeError: pruning strategy must/);
  const draw = (preferences: Record<string, number>) => () =>
    ratings.draw("pruning", () => 0, preferences);
  assert.throws(draw({ taylor: 1 }), /^TypeError: pruning strategy must be one of .*: taylor$/);
  assert.throws(
    draw({ entropy: -1 }),
    /^RangeError: preference for pruning strategy entropy must be 0 or more: -1$/,
  );
  assert.throws(
    draw({ entropy: 0, magnitude: 0, random: 0 }),
    /^RangeError: Cannot draw a pruning strategy: each has preference 0$/,
  );
  assert.deepEqual(ratings.toJSON(), fresh().toJSON());
});

Deno.test("ratings refuse a damaged state", () => {
  const refuses = (change: object | null, message: RegExp) =>
    assert.throws(
      () => StrategyRatings.fromJSON((change && { ...fresh().toJSON(), ...change }) as never),
      message,
    );
  const out = /^RangeError: rating of growth strategy random must be between 0\.1 and 10: /;
  refuses({ growth: { random: 0.09 } }, out);
  refuses({ growth: { random: 10.1 } }, out);
  refuses({ growth: { random: null } }, out);
  refuses({ growth: { random: "1" } }, out);
  refuses({ pruning: {} }, /^TypeError: pruning ratings must name at least one strategy$/);
  refuses({ growth: undefined }, /^TypeError: growth ratings must name at least one strategy$/);
  refuses(null, /^TypeError: pruning ratings must name at least one strategy$/);
  assert.deepEqual(
    StrategyRatings.fromJSON({ pruning: { a: 0.1 }, growth: { b: 10 } }).toJSON(),
    { pruning: { a: 0.1 }, growth: { b: 10 } },
  );
});
