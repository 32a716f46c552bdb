import assert from "node:assert/strict";
import {
  grownHeadFactor,
  HeadLearningRates,
  type HeadRateConfig,
  type HeadRatesState,
} from "../src/plasticity/head_learning_rates.ts";
import { assertClose } from "./close.ts";

const close = { atol: 1e-12 };
const f32 = (...values: number[]) => Float32Array.from(values);
// Of a boost of 4: 2.5 and 4 in warm-up, then 4^(1/2), then 4^0.
const config: HeadRateConfig = { boost: 4, warmupSteps: 2, cooldownSteps: 4 };
const head = (layer: number, head: number) => ({ layer, head });
// Two layers of two heads, of which layer 0 head 1 and layer 1 head 0 are pruned.
const rates = (change: Partial<HeadRateConfig> = {}) =>
  new HeadLearningRates({ L: 2, NH: 2, live: [[0], [1]] }, { ...config, ...change });

/** The factors of so many steps, each taken before its step. */
function go(which: HeadLearningRates, steps: number): number[][] {
  return Array.from({ length: steps }, () => {
    const factors = [...which.factors()];
    which.step();
    return factors;
  });
}

Deno.test("grownHeadFactor() rises to the boost and is 1 again at the cooldown's end", () => {
  const at = (...steps: number[]) => steps.map((s) => grownHeadFactor(s));
  assertClose(at(1, 100, 199, 200), [1.02, 3, 4.98, 5], close);
  assertClose(at(400, 600, 800), [5 ** 0.75, Math.sqrt(5), 5 ** 0.25], close);
  assert.deepEqual(at(1000, 1001, 5000), [1, 1, 1]);
  assert.ok(at(999)[0] > 1, "the boost lasts over the whole cooldown");
});

Deno.test("grownHeadFactor() falls by a tenth every 52.4 steps, as documented", () => {
  for (const s of [200, 500, 900]) {
    assertClose([grownHeadFactor(s + 52) / grownHeadFactor(s)], [0.9 ** (52 / 52.3725)], {
      atol: 1e-5,
    });
  }
});

Deno.test("grownHeadFactor() takes no warm-up, and a boost of 1", () => {
  // 8^(2/3), 8^(1/3), 8^0
  const without = { boost: 8, warmupSteps: 0, cooldownSteps: 3 };
  assertClose([1, 2, 3].map((s) => grownHeadFactor(s, without)), [4, 2, 1], close);
  const none = { ...config, boost: 1 };
  assert.deepEqual([1, 2, 3, 4].map((s) => grownHeadFactor(s, none)), [1, 1, 1, 1]);
});

Deno.test("ordinary heads and heads that are not there have factor 1", () => {
  const all = new HeadLearningRates({ L: 2, NH: 3 });
  assert.deepEqual(all.factors(), f32(1, 1, 1, 1, 1, 1));
  const some = rates();
  assert.equal(some.boosted, false);
  assert.deepEqual(go(some, 3), [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]);
});

Deno.test("a grown head is boosted step by step, and then ordinary", () => {
  const one = rates();
  one.grow([head(1, 0)]);
  assert.equal(one.boosted, true);
  assert.deepEqual(one.factors(), f32(1, 1, 2.5, 1));
  assert.deepEqual(one.factors(), f32(1, 1, 2.5, 1)); // asking counts nothing
  assert.deepEqual(go(one, 4).map((factors) => factors[2]), [2.5, 4, 2, 1]);
  assert.equal(one.boosted, false);
  assert.deepEqual(one.factors(), f32(1, 1, 1, 1));
});

Deno.test("heads that were grown at different times have their own counts", () => {
  const two = rates();
  two.grow([head(0, 1)]);
  two.step();
  two.grow([head(1, 0)]);
  assert.deepEqual(go(two, 5), [
    [1, 4, 2.5, 1],
    [1, 2, 4, 1],
    [1, 1, 2, 1],
    [1, 1, 1, 1],
    [1, 1, 1, 1],
  ]);
});

Deno.test("a pruned head loses its boost, and gets a whole one when it grows again", () => {
  const one = rates();
  one.grow([head(0, 1), head(1, 0)]);
  one.step();
  one.prune([head(0, 1)]);
  assert.deepEqual(go(one, 2), [[1, 1, 4, 1], [1, 1, 2, 1]]);
  one.grow([head(0, 1)]);
  assert.deepEqual(one.factors(), f32(1, 2.5, 1, 1));
  // An ordinary head can go and come, too.
  one.prune([head(0, 0)]);
  assert.deepEqual(one.factors(), f32(1, 2.5, 1, 1));
  one.grow([head(0, 0)]);
  assert.deepEqual(one.factors(), f32(2.5, 2.5, 1, 1));
});

Deno.test("factors() hands out an array of its own", () => {
  const one = rates();
  one.factors().fill(9);
  assert.deepEqual(one.factors(), f32(1, 1, 1, 1));
});

Deno.test("head rates go on from JSON with the same factors, cut anywhere", () => {
  const script = (which: HeadLearningRates, from: number, to: number) => {
    const seen: number[][] = [];
    for (let i = from; i < to; i++) {
      if (i === 1) which.grow([head(0, 1)]);
      if (i === 4) which.grow([head(1, 0)]);
      if (i === 6) which.prune([head(0, 1), head(1, 1)]);
      if (i === 8) which.grow([head(1, 1)]);
      seen.push(...go(which, 1));
    }
    return seen;
  };
  const longer = { boost: 3, warmupSteps: 3, cooldownSteps: 7 };
  const whole = rates(longer);
  const straight = script(whole, 0, 12);
  for (let cut = 0; cut <= 12; cut++) {
    const first = rates(longer);
    script(first, 0, cut);
    const second = HeadLearningRates.fromJSON(JSON.parse(JSON.stringify(first)));
    assert.deepEqual(script(second, cut, 12), straight.slice(cut));
    assert.deepEqual(second.toJSON(), whole.toJSON());
  }
  assert.deepEqual(whole.toJSON(), {
    L: 2,
    NH: 2,
    config: longer,
    live: [[0], [0, 1]],
    next: [0, 0, 0, 5], // grown before step 8, and 4 steps done; the other is over after 7
  });
});

Deno.test("a boost that was saved anew continues from its own steps, not from the beginning", () => {
  const one = rates();
  one.grow([head(1, 0)]);
  one.step();
  const state = one.toJSON();
  assert.deepEqual(state.next, [0, 0, 2, 0]);
  state.next[2] = 3;
  state.live[0].push(1);
  assert.deepEqual(one.factors(), f32(1, 1, 4, 1)); // the state is a copy
  assert.deepEqual(HeadLearningRates.fromJSON(state).factors(), f32(1, 1, 2, 1));
});

Deno.test("grow() and prune() refuse heads by name, and change nothing then", () => {
  const one = rates();
  const before = one.toJSON();
  const refuses = (verb: "grow" | "prune", heads: [number, number][], message: string) =>
    assert.throws(
      () => one[verb](heads.map(([layer, h]) => head(layer, h))),
      new RangeError(message),
    );
  refuses("grow", [[0, 1], [0, 0]], "Cannot grow layer 0 head 0: it is live already");
  refuses("grow", [[0, 1], [0, 1]], "Cannot grow layer 0 head 1: it is named twice");
  refuses("prune", [[0, 0], [1, 0]], "Cannot prune layer 1 head 0: it is not live");
  refuses("prune", [[0, 0], [0, 0]], "Cannot prune layer 0 head 0: it is named twice");
  // Layer 0 head 3 must not be taken for layer 1 head 1.
  refuses("prune", [[0, 3]], "Cannot prune layer 0 head 3: the model has 2 layers of 2 heads");
  refuses("grow", [[2, 0]], "Cannot grow layer 2 head 0: the model has 2 layers of 2 heads");
  refuses("grow", [[0, -1]], "Cannot grow layer 0 head -1: the model has 2 layers of 2 heads");
  assert.deepEqual(one.toJSON(), before);
});

Deno.test("head rates refuse settings and states out of range", () => {
  const refuses = (change: object, message: RegExp) => assert.throws(() => rates(change), message);
  refuses({ boost: 0.5 }, /^RangeError: boost must be 1 or more: 0\.5$/);
  refuses({ warmupSteps: -1 }, /^RangeError: warmupSteps must be .* 0 or more: -1$/);
  refuses({ cooldownSteps: 2 }, /^RangeError: cooldownSteps must be .* above 2: 2$/);
  assert.throws(() => new HeadLearningRates({ L: 0, NH: 2 }), /^RangeError: L .*: 0$/);
  assert.throws(
    () => new HeadLearningRates({ L: 2, NH: 2, live: [[0]] }),
    /^RangeError: live heads/,
  );
  assert.throws(() => grownHeadFactor(0), /^RangeError: s must be .* 1 or more: 0$/);
  assert.throws(() => grownHeadFactor(1, { ...config, boost: NaN }), /^RangeError: boost .*: NaN$/);

  const one = rates();
  one.grow([head(1, 0)]);
  const state = one.toJSON();
  const broken = (change: object, message: RegExp) =>
    assert.throws(() => HeadLearningRates.fromJSON({ ...state, ...change }), message);
  broken({ next: [0, 0, 1] }, /^RangeError: next must hold 4 numbers: 3$/);
  broken({ next: [0, 0, 5, 0] }, /^RangeError: next of layer 1 head 0 .* from 0 to 4: 5$/);
  broken({ next: [0, 1, 0, 0] }, /^RangeError: next of layer 0 head 1 .* from 0 to 0: 1$/);
  broken({ next: [null, 0, 0, 0] }, /^RangeError: next of layer 0 head 0 .*: null$/);
  broken({ next: undefined }, /^TypeError: next must be a list: undefined$/);
  broken({ live: [0, 1] }, /^TypeError: live must be a list of heads for every layer: \[0,1\]$/);
  broken({ live: [[0, 2], [1]] }, /^RangeError: live heads of layer 0 .*: \[0,2\]$/);
  broken({ NH: 1.5 }, /^RangeError: NH .*: 1\.5$/);
  broken({ config: { ...config, boost: null } }, /^RangeError: boost .*: null$/);
  assert.throws(
    () => HeadLearningRates.fromJSON(null as unknown as HeadRatesState),
    /^TypeError: live/,
  );
});
