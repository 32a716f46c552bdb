import assert from "node:assert/strict";
import type { HeadMetrics } from "../src/controller/metrics.ts";
import { chooseHeads, cycleTargets } from "../src/plasticity/prune.ts";
import {
  projectionNorms,
  scoreHeads,
  type ScoreInputs,
  STRATEGIES,
  STRATEGY_NAMES,
} from "../src/plasticity/scores.ts";
import { detectStability } from "../src/plasticity/stability.ts";

const f32 = (...values: number[]) => Float32Array.from(values);
const picked = (heads: { layer: number; head: number }[]) => heads.map((h) => [h.layer, h.head]);

// Two layers of three heads; layer 0 head 1 is pruned, and what it holds would win every ranking.
const metrics: HeadMetrics = {
  L: 2,
  NH: 3,
  live: [[0, 2], [0, 1, 2]],
  entropy: f32(0.5, NaN, 0.75, 0.25, 0.5, 0.5),
  gradNorm: f32(4, NaN, 2, 1, 5, 3),
  gateGradAbs: f32(2, NaN, 1, 4, 8, 3),
  gateGradSq: f32(4, NaN, 2, 16, 64, 8),
  outputNorm: f32(3, NaN, 4, 5, 6, 7),
};

Deno.test("scores put the head to prune lowest, and NaN where there is no head", () => {
  assert.deepEqual(
    scoreHeads("entropy", { metrics }),
    f32(-0.5, NaN, -0.75, -0.25, -0.5, -0.5),
  );
  assert.deepEqual(scoreHeads("gradient", { metrics }), f32(4, NaN, 2, 1, 5, 3));
  const gates = f32(0.5, 0, 1, 0.25, 0.125, 1);
  assert.deepEqual(scoreHeads("importance", { metrics, gates }), f32(1, NaN, 1, 1, 1, 3));
  assert.deepEqual(scoreHeads("importance", { metrics }), metrics.gateGradAbs);
  assert.deepEqual(scoreHeads("taylor", { metrics, gates }), f32(1, NaN, 1, 1, 1, 3));
  assert.deepEqual(scoreHeads("fisher", { metrics, gates }), f32(1, NaN, 2, 1, 1, 8));
  assert.deepEqual(scoreHeads("output_norm", { metrics, gates }), f32(1.5, NaN, 4, 1.25, 0.75, 7));
  const lossWithout = f32(3, 0, 4, 5, 6, 7);
  assert.deepEqual(scoreHeads("oracle", { metrics, lossWithout }), f32(3, NaN, 4, 5, 6, 7));
  const weightNorms = f32(6, -1, 5, 4, 3, 2);
  assert.deepEqual(scoreHeads("magnitude", { metrics, weightNorms }), f32(6, NaN, 5, 4, 3, 2));
});

Deno.test("the combined score scales entropy and gradient over live heads alone", () => {
  // entropy 0.25..0.75 -> 0.5, 1, 0, 0.5, 0.5; gradient 1..5 -> 0.75, 0.25, 0, 1, 0.5
  const expected = f32(
    -(0.6 * 0.5 + 0.4 * 0.25),
    NaN,
    -(0.6 * 1 + 0.4 * 0.75),
    -(0.6 * 0 + 0.4 * 1),
    -(0.6 * 0.5 + 0.4 * 0),
    -(0.6 * 0.5 + 0.4 * 0.5),
  );
  assert.deepEqual(scoreHeads("combined", { metrics }), expected);
  const loud = {
    ...metrics,
    entropy: metrics.entropy!.slice(),
    gradNorm: metrics.gradNorm!.slice(),
  };
  loud.entropy[1] = 100; // a dead head's leftovers must not stretch the scale
  loud.gradNorm[1] = -100;
  assert.deepEqual(scoreHeads("combined", { metrics: loud }), expected);
});

Deno.test("the combined score of equal heads is equal, not NaN", () => {
  const flat = { L: 1, NH: 2, live: [[0, 1]], entropy: f32(0.5, 0.5), gradNorm: f32(2, 2) };
  assert.deepEqual(scoreHeads("combined", { metrics: flat }), f32(-0.4, -0.4));
});

Deno.test("random scores come from the source alone, whichever heads are live", () => {
  const source = () => {
    let n = 0;
    return () => n++ / 8;
  };
  assert.deepEqual(
    scoreHeads("random", { metrics, random: source() }),
    f32(0, NaN, 0.25, 0.375, 0.5, 0.625),
  );
  const fewer = { ...metrics, live: [[2], [0, 2]] };
  assert.deepEqual(
    scoreHeads("random", { metrics: fewer, random: source() }),
    f32(NaN, NaN, 0.25, 0.375, NaN, 0.625),
  );
});

Deno.test("a strategy says what it needs, and refuses to go without", () => {
  const ones = f32(1, 1, 1, 1, 1, 1);
  const all: ScoreInputs = { metrics, weightNorms: ones, lossWithout: ones, random: () => 0 };
  for (const name of STRATEGY_NAMES) {
    const info = STRATEGIES[name];
    assert.equal(info.name, name);
    scoreHeads(name, all);
    for (const key of info.needs) {
      const without = { ...all, metrics: { ...metrics, [key]: undefined } };
      assert.throws(
        () => scoreHeads(name, without),
        new TypeError(`strategy ${name} needs what was not collected: ${key}`),
      );
    }
    for (const key of info.also) {
      assert.throws(
        () => scoreHeads(name, { ...all, [key]: undefined }),
        new TypeError(`strategy ${name} needs what was not collected: ${key}`),
      );
    }
    // What it does not name, it does not use.
    const only = Object.fromEntries(
      ["L", "NH", "live", ...info.needs].map((key) => [key, metrics[key as keyof HeadMetrics]]),
    ) as unknown as HeadMetrics;
    scoreHeads(name, { ...all, metrics: only });
  }
  for (const unknown of ["taylour", "toString"]) {
    assert.throws(
      () => scoreHeads(unknown as "entropy", all),
      /^TypeError: strategy must be one of entropy, .*oracle.*: /,
    );
  }
});

Deno.test("scores refuse a live head's NaN and a wrong length", () => {
  const broken = { ...metrics, entropy: f32(0.5, 0, NaN, 0.25, 0.5, 0.5) };
  assert.throws(
    () => scoreHeads("gradient", { metrics: broken }),
    /^RangeError: entropy of layer 0 head 2 must be finite: NaN$/,
  );
  assert.throws(
    () => scoreHeads("magnitude", { metrics, weightNorms: f32(1) }),
    /^RangeError: weightNorms must hold 6 numbers/,
  );
});

Deno.test("projectionNorms() reads the rows of live heads", () => {
  const shape = { NH: 3, HS: 1, C: 2 };
  const weights = [[3, 4, 6, 8], [0, 5, 5, 12]];
  assert.deepEqual(projectionNorms(weights, [[0, 2], [1, 2]], shape), f32(5, NaN, 10, NaN, 5, 13));
  assert.throws(
    () => projectionNorms([[3, 4]], [[0, 2]], shape),
    /^RangeError: c_proj\.weight of layer 0 must hold 4 numbers: 2$/,
  );
});

Deno.test("chooseHeads() takes the lowest live scores, with rank and number", () => {
  const scores = f32(5, -9, 3, 4, 1, 2);
  assert.deepEqual(chooseHeads(scores, metrics.live, { count: 3 }), [
    { layer: 1, head: 1, score: 1, rank: 1, of: 5 },
    { layer: 1, head: 2, score: 2, rank: 2, of: 5 },
    { layer: 0, head: 2, score: 3, rank: 3, of: 5 },
  ]);
  assert.deepEqual(chooseHeads(scores, metrics.live, { count: 0 }), []);
});

Deno.test("chooseHeads() leaves every layer a head, and ranks show who was passed over", () => {
  // Layer 1 holds the three lowest, but keeps its best of them.
  const chosen = chooseHeads(f32(5, 6, 7, 2, 1, 3), [[0, 1, 2], [0, 1, 2]], { count: 4 });
  assert.deepEqual(chosen.map((h) => [h.layer, h.head, h.rank]), [
    [1, 1, 1],
    [1, 0, 2],
    [0, 0, 4],
    [0, 1, 5],
  ]);
  const two = chooseHeads(f32(5, 6, 7, 2, 1, 3), [[0, 1, 2], [0, 1, 2]], {
    count: 2,
    minPerLayer: 2,
  });
  assert.deepEqual(picked(two), [[1, 1], [0, 0]]);
});

Deno.test("chooseHeads() breaks ties by layer and head, or by a given order of layers", () => {
  const live = [[0, 1, 2], [0, 1, 2]], scores = f32(1, 1, 1, 1, 0, 1);
  assert.deepEqual(picked(chooseHeads(scores, live, { count: 4 })), [
    [1, 1],
    [0, 0],
    [0, 1],
    [1, 0],
  ]);
  assert.deepEqual(picked(chooseHeads(scores, live, { count: 3, layerOrder: [1, 0] })), [
    [1, 1],
    [1, 0],
    [0, 0],
  ]);
});

Deno.test("chooseHeads() refuses the impossible", () => {
  const live = metrics.live, scores = f32(1, NaN, 3, 4, 5, 6);
  assert.equal(chooseHeads(scores, live, { count: 3 }).length, 3);
  assert.throws(
    () => chooseHeads(scores, live, { count: 4 }),
    /^RangeError: Cannot prune 4 heads: 3 can go while each of 2 layers keeps 1$/,
  );
  assert.throws(() => chooseHeads(scores, [[0, 1], [0]], { count: 1 }), /layer 0 head 1 .*: NaN/);
  assert.throws(() => chooseHeads(scores, [[2, 0], [0]], { count: 1 }), /ascending/);
  assert.throws(() => chooseHeads(scores, live, { count: -1 }), /count .*: -1/);
  assert.throws(() => chooseHeads(scores, live, { count: 1, minPerLayer: 0 }), /minPerLayer/);
  assert.throws(() => chooseHeads(scores, live, { count: 1, layerOrder: [0, 0] }), /layerOrder/);
  assert.throws(() => chooseHeads(f32(1, 2, 3), live, { count: 1 }), /scores must hold/);
});

Deno.test("cycleTargets() rises to the level, and leaves a head a layer", () => {
  const plan = { totalHeads: 32, layers: 4, pruningLevel: 0.3, cycles: 3 };
  assert.deepEqual(cycleTargets(plan), [3, 7, 10]); // round(9.6) = 10: 3.33, 6.67, 10
  assert.deepEqual(cycleTargets({ ...plan, pruningLevel: 0 }), [0, 0, 0]);
  assert.deepEqual(cycleTargets({ ...plan, pruningLevel: 1 }), [9, 19, 28]);
  assert.deepEqual(cycleTargets({ ...plan, pruningLevel: 0.05, cycles: 4 }), [1, 1, 2, 2]);
  assert.deepEqual(cycleTargets({ ...plan, totalHeads: 5, pruningLevel: 0.5, cycles: 1 }), [1]);
});

Deno.test("cycleTargets() refuses what is out of range, by name and value", () => {
  const plan = { totalHeads: 32, layers: 4, pruningLevel: 0.3, cycles: 3 };
  const refuses = (change: Partial<typeof plan>, message: string) =>
    assert.throws(() => cycleTargets({ ...plan, ...change }), new RangeError(message));
  refuses({ pruningLevel: 1.3 }, "pruning_level must be between 0 and 1: 1.3");
  refuses({ pruningLevel: NaN }, "pruning_level must be between 0 and 1: NaN");
  refuses({ cycles: 0 }, "cycles must be a positive whole number: 0");
  refuses({ layers: 33 }, "layers must not be above totalHeads 32: 33");
});

const options = { window: 4, step: 50, warmupSteps: 100 };

Deno.test("detectStability() computes deviation and trend by hand", () => {
  // Of the last four: mean 10, deviations 0.1, -0.1, 0.1, -0.1; both halves have mean 10.
  const { stable, reason, parts } = detectStability([99, 10.1, 9.9, 10.1, 9.9], options);
  assert.equal(stable, true);
  assert.equal(reason, "the loss varies by 1.00 % and moves by 0.00 % over the last 4 losses");
  assert.ok(Math.abs(parts.relative_std! - 0.01) < 1e-12);
  assert.ok(Math.abs(parts.trend!) < 1e-12);
  // Halves 10.2 and 9.8 of mean 10: 4 % down.
  const falling = detectStability([10.2, 10.2, 9.8, 9.8], options);
  assert.equal(falling.stable, false);
  assert.ok(Math.abs(falling.parts.trend! - 0.04) < 1e-12);
  assert.match(falling.reason, /still falls by 4\.00 %/);
  assert.equal(
    detectStability([10.2, 10.2, 9.8, 9.8], { ...options, maxTrend: 0.05 }).stable,
    true,
  );
});

Deno.test("detectStability() takes neither a rising, a noisy, a short nor an early loss", () => {
  assert.match(detectStability([9.8, 9.8, 10.2, 10.2], options).reason, /still rises by 4\.00 %/);
  const noisy = detectStability([9, 11, 9, 11], options);
  assert.deepEqual([noisy.stable, noisy.parts.trend], [false, 0]);
  assert.match(noisy.reason, /varies by 10\.00 %/);
  const short = detectStability([10, 10, 10], options);
  assert.deepEqual(short, {
    stable: false,
    reason: "3 of 4 losses are in",
    parts: { losses: 3, half_warmup_over: true },
  });
  const early = detectStability([10, 10, 10, 10], { ...options, step: 49 });
  assert.deepEqual([early.stable, early.reason], [false, "step 49 is before half of 100"]);
  assert.equal(early.parts.relative_std, 0);
  assert.equal(detectStability([10, 10, 10, 10], options).stable, true);
});

Deno.test("detectStability() leaves the middle of an odd window out of the trend", () => {
  const { parts } = detectStability([10, 10, 10.5, 10, 10], { ...options, window: 5 });
  assert.equal(parts.trend, 0);
});

Deno.test("detectStability() refuses bad losses and options", () => {
  assert.throws(() => detectStability([1, 2, NaN, 3], options), /positive and finite: NaN/);
  assert.throws(
    () => detectStability([1], { ...options, window: 3 }),
    /^RangeError: stability_window must be a whole number, 4 or more: 3$/,
  );
  assert.throws(() => detectStability([1], { ...options, maxTrend: -1 }), /maxTrend .*: -1/);
});
