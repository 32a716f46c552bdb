import assert from "node:assert/strict";
import {
  adaptPlan,
  type CycleMeasure,
  type CyclePlan,
  diminishingReturns,
  Patience,
  type PatienceState,
} from "../src/plasticity/adaptation.ts";
import type { CycleOutcome } from "../src/plasticity/ratings.ts";
import { assertClose } from "./close.ts";

const start: CyclePlan = { pruning_level: 0.2, growth_ratio: 0.5, training_steps: 100 };
const failure: CycleOutcome = { success: false };
const gained = (improvement: number): CycleOutcome => ({ success: true, improvement });

/** Level, ratio and steps of the plan after an outcome. */
function adapted(change: Partial<CyclePlan>, outcome: CycleOutcome): number[] {
  const plan = adaptPlan({ ...start, ...change }, outcome);
  return [plan.pruning_level, plan.growth_ratio, plan.training_steps];
}

Deno.test("adaptPlan() moves level, ratio and steps by the outcome", () => {
  const close = { atol: 1e-12 };
  assertClose(adapted({}, gained(0.06)), [0.24, 0.5, 90], close);
  assertClose(adapted({}, gained(0.05)), [0.22, 0.5, 100], close); // not above 0.05
  assertClose(adapted({}, gained(-0.1)), [0.22, 0.5, 100], close);
  assertClose(adapted({}, failure), [0.16, 0.6, 120], close);
  assertClose(adapted({}, { success: false, improvement: 0.5 }), [0.16, 0.6, 120], close);
});

Deno.test("adaptPlan() stops at its bounds", () => {
  assert.equal(adapted({ pruning_level: 0.45 }, gained(0.1))[0], 0.5); // 0.54
  assert.equal(adapted({ pruning_level: 0.38 }, gained(0.01))[0], 0.4); // 0.418
  assert.equal(adapted({ pruning_level: 0.06 }, failure)[0], 0.05); // 0.048
  assert.equal(adapted({ growth_ratio: 0.8 }, failure)[1], 0.9); // 0.96
});

Deno.test("adaptPlan() comes back from beyond a success's bounds, and never across a failure's", () => {
  assert.equal(adapted({ pruning_level: 0.5 }, gained(0.01))[0], 0.4);
  assert.equal(adapted({ pruning_level: 0.8 }, gained(0.1))[0], 0.5);
  assert.deepEqual(adapted({ pruning_level: 0.02, growth_ratio: 0.95 }, failure).slice(0, 2), [
    0.02,
    0.95,
  ]);
  assert.deepEqual(adapted({ pruning_level: 0, growth_ratio: 0 }, failure), [0, 0, 120]);
});

Deno.test("adaptPlan() rounds steps, halves up, and keeps one", () => {
  const fewer = [1, 5, 6, 15, 25].map((steps) =>
    adapted({ training_steps: steps }, gained(0.1))[2]
  );
  assert.deepEqual(fewer, [1, 5, 5, 14, 23]); // 0.9, 4.5, 5.4, 13.5, 22.5
  const more = [1, 2, 3, 7].map((steps) => adapted({ training_steps: steps }, failure)[2]);
  assert.deepEqual(more, [1, 2, 4, 8]); // 1.2, 2.4, 3.6, 8.4
});

Deno.test("adaptPlan() leaves the plan it was given alone, and refuses a bad one", () => {
  const plan = Object.freeze({ ...start });
  assert.notEqual(adaptPlan(plan, gained(0)), plan);
  const refuses = (change: object, message: RegExp, outcome: CycleOutcome = failure) =>
    assert.throws(() => adaptPlan({ ...start, ...change }, outcome), message);
  refuses({ pruning_level: 1.3 }, /^RangeError: pruning_level must be between 0 and 1: 1\.3$/);
  refuses({ growth_ratio: -0.1 }, /^RangeError: growth_ratio must be between 0 and 1: -0\.1$/);
  refuses({ training_steps: 0 }, /^RangeError: training_steps must be .* 1 or more: 0$/);
  refuses({ training_steps: 1.5 }, /training_steps .*: 1\.5$/);
  refuses({}, /^RangeError: improvement must be a number: NaN$/, gained(NaN));
  refuses({}, /improvement .*: undefined$/, { success: true } as CycleOutcome);
});

const kept = (perplexity: number, heads: number): CycleMeasure => ({
  success: true,
  perplexity,
  heads,
});
const waiting = (options = {}) => new Patience({ perplexity: 20, heads: 100 }, options);

Deno.test("a perplexity lower by more than 1 % is a new best, whatever it costs in heads", () => {
  assert.equal(waiting().record(kept(19.81, 100)), false); // 0.95 %
  const patience = waiting();
  assert.equal(patience.record(kept(19.79, 144)), true); // 1.05 %
  assert.deepEqual(patience.best, { perplexity: 19.79, heads: 144, cycle: 1 });
});

Deno.test("fewer heads are a new best while perplexity is worse by less than 15 %", () => {
  assert.equal(waiting().record(kept(20, 98)), true); // 2 % less
  assert.equal(waiting().record(kept(20, 99)), false); // 1 %: not more
  assert.equal(waiting().record(kept(22, 90)), false); // 1980: 1 %
  assert.equal(waiting().record(kept(22, 89)), true); // 1958: 2.1 %
  assert.equal(waiting().record(kept(22.9, 50)), true); // 14.5 % worse
  assert.equal(waiting().record(kept(23.1, 50)), false); // 15.5 % worse
  assert.equal(waiting().record(kept(20, 120)), false); // heads grown for nothing
});

Deno.test("the limits are options", () => {
  const options = { minImprovement: 0.1, maxPerplexityIncrease: 0.02 };
  assert.equal(waiting(options).record(kept(18.1, 100)), false);
  assert.equal(waiting(options).record(kept(17.9, 100)), true);
  assert.equal(waiting(options).record(kept(20.3, 80)), true);
  assert.equal(waiting(options).record(kept(20.5, 80)), false);
  assert.equal(waiting({ minImprovement: 0 }).record(kept(20, 100)), false); // no gain is none
});

Deno.test("bests that cost perplexity do not add up", () => {
  const patience = waiting();
  assert.equal(patience.record(kept(22, 80)), true); // 10 % worse
  assert.equal(patience.record(kept(24, 60)), false); // 9 % above the last best, 20 % above the lowest
  assert.equal(patience.record(kept(22.9, 70)), true); // 14.5 % above the lowest
});

Deno.test("pruning and regrowing the same heads is a best once", () => {
  const patience = waiting({ patience: 2 });
  const results = [kept(22, 80), kept(20, 100), kept(22, 80), kept(20, 100)];
  assert.deepEqual(results.map((result) => patience.record(result)), [true, false, false, false]);
  assert.equal(patience.exhausted, true);
  assert.equal(patience.record(kept(19.7, 100)), true); // 1.5 % below the lowest
});

Deno.test("a failed cycle is never the best, whatever it measured", () => {
  const patience = waiting();
  assert.equal(patience.record({ success: false, perplexity: 1, heads: 1 }), false);
  assert.equal(patience.record({ success: false, perplexity: NaN }), false);
  assert.equal(patience.record({ success: false }), false);
  assert.deepEqual(patience.best, { perplexity: 20, heads: 100, cycle: 0 });
  assert.equal(patience.cycles, 3);
});

Deno.test("patience ends after so many cycles in a row without a best, and a best renews it", () => {
  const patience = waiting();
  const same = kept(20, 100);
  const seen: [number, boolean][] = [];
  for (const result of [same, { success: false } as const, kept(19, 100), same, same, same]) {
    patience.record(result);
    seen.push([patience.cyclesWithoutBest, patience.exhausted]);
  }
  assert.deepEqual(seen, [[1, false], [2, false], [0, false], [1, false], [2, false], [3, true]]);
  assert.equal(patience.best.cycle, 3);
  const hasty = waiting({ patience: 1 });
  assert.equal(hasty.exhausted, false);
  hasty.record(same);
  assert.equal(hasty.exhausted, true);
});

Deno.test("small gains add up to a best", () => {
  const patience = waiting();
  const gains = [19.9, 19.81, 19.75].map((perplexity) => patience.record(kept(perplexity, 100)));
  assert.deepEqual(gains, [false, false, true]); // 0.5, 0.95, 1.25 % below the start
});

Deno.test("patience goes on from JSON, cut anywhere", () => {
  const results = [
    kept(22, 80),
    { success: false } as const,
    kept(24, 60),
    kept(22.9, 70),
    kept(19.9, 100),
    kept(19.7, 100),
    kept(19.7, 100),
  ];
  const go = (patience: Patience, some: CycleMeasure[]) =>
    some.map((each) => patience.record(each));
  const whole = waiting({ patience: 4 });
  const straight = go(whole, results);
  assert.deepEqual(straight, [true, false, false, true, false, true, false]);
  for (let cut = 0; cut <= results.length; cut++) {
    const head = waiting({ patience: 4 });
    go(head, results.slice(0, cut));
    const restored = Patience.fromJSON(JSON.parse(JSON.stringify(head)));
    assert.deepEqual(go(restored, results.slice(cut)), straight.slice(cut));
    assert.deepEqual(restored.toJSON(), whole.toJSON());
  }
});

Deno.test("patience refuses what is out of range, and does not count it", () => {
  const patience = waiting();
  assert.throws(() => patience.record(kept(NaN, 100)), /^RangeError: perplexity .* above 0: NaN$/);
  assert.throws(() => patience.record(kept(20, 0)), /^RangeError: heads .* 1 or more: 0$/);
  assert.equal(patience.cycles, 0);
  assert.throws(() => new Patience({ perplexity: 0, heads: 1 }), /perplexity must be above 0: 0$/);
  assert.throws(() => new Patience({ perplexity: 9, heads: 1.5 }), /heads .*: 1\.5$/);
  assert.throws(() => waiting({ patience: 0 }), /^RangeError: patience .* 1 or more: 0$/);
  assert.throws(() => waiting({ minImprovement: 1 }), /minImprovement .* below 1: 1$/);
  assert.throws(() => waiting({ maxPerplexityIncrease: -1 }), /maxPerplexityIncrease .*: -1$/);
});

Deno.test("patience refuses a damaged state", () => {
  const patience = waiting();
  patience.record(kept(22, 80));
  const state = patience.toJSON();
  assert.equal(state.lowest_perplexity, 20);
  const refuses = (change: object, message: RegExp) =>
    assert.throws(() => Patience.fromJSON({ ...state, ...change }), message);
  refuses({ best: null }, /^TypeError: the state of a Patience must hold the best model: null$/);
  refuses({ best: { ...state.best, heads: "80" } }, /^RangeError: heads .*: "80"$/);
  refuses({ best: { ...state.best, cycle: 2 } }, /^RangeError: best\.cycle .* from 0 to 1: 2$/);
  refuses({ cycles: 1.5 }, /^RangeError: cycles .*: 1\.5$/);
  refuses({ lowest_perplexity: 23 }, /^RangeError: lowest_perplexity .* at most 22: 23$/);
  refuses({ options: { ...state.options, patience: null } }, /^RangeError: patience .*: null$/);
  assert.throws(() => Patience.fromJSON(null as unknown as PatienceState), /the best model/);
});

Deno.test("diminishingReturns() asks for three cycles, a low mean and a low last", () => {
  assert.equal(diminishingReturns([]), false);
  assert.equal(diminishingReturns([0, 0]), false);
  assert.equal(diminishingReturns([0, 0, 0]), true);
  assert.equal(diminishingReturns([0.02, 0.005, 0.004]), true); // mean 0.97 %
  assert.equal(diminishingReturns([0.022, 0.005, 0.004]), false); // mean 1.03 %
  assert.equal(diminishingReturns([0, 0, 0.005]), false); // the last is not below 0.5 %
  assert.equal(diminishingReturns([0, 0, 0.0049]), true);
  assert.equal(diminishingReturns([-0.5, 0.2, 0.004]), true);
});

Deno.test("diminishingReturns() looks at the last three alone", () => {
  assert.equal(diminishingReturns([0.9, 0, 0, 0]), true);
  assert.equal(diminishingReturns([0, 0.9, 0, 0]), false);
  assert.throws(
    () => diminishingReturns([0, NaN, 0, 0]),
    /^RangeError: an improvement must be a number: NaN$/,
  );
});
