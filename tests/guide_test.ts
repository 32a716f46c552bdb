/** Different outcomes lead to different next decisions. */
import assert from "node:assert/strict";
import { AnnController } from "../src/controller/ann_controller.ts";
import { AnnGuide, type CycleFeedback } from "../src/controller/guide.ts";
import type { HeadMetrics } from "../src/controller/metrics.ts";

const metrics: HeadMetrics = {
  L: 2,
  NH: 2,
  live: [[0, 1], [0, 1]],
  entropyNats: Float32Array.from([2, 1, 2, 1]), // rule 1 lowers the first of each layer
  gradNorm: Float32Array.from([1, 1, 1, 1]),
  gateGrad: Float32Array.from([0.1, -0.1, 0.1, -0.1]),
};
const begin = (trained = true) =>
  new AnnGuide(new AnnController({ L: 2, NH: 2 }), { trained, rate: 0.01 });
const outcome = (given: Partial<CycleFeedback>): CycleFeedback => ({
  cycle: 1,
  cycle_success: true,
  perplexity_improvement: 0.1,
  head_reduction: 0.25,
  controller_lr: 0.009,
  pruning_strategy: "taylor",
  pruned_heads: [[0, 0]],
  grown_heads: [],
  ...given,
});

Deno.test("advice follows the gates; rules alone move less than rules and training", () => {
  const guide = begin(), rules = begin(false);
  const advice = guide.advise(metrics);
  assert.deepEqual(advice, { pruned_percent: 0, preferences: {}, rate: 0.01 });
  rules.advise(metrics);
  assert.ok(guide.gates()[0] < rules.gates()[0] && rules.gates()[0] < 0.9526);
  guide.apply([[0, 0]], []);
  assert.equal(guide.advise({ ...metrics, live: [[1], [0, 1]] }).pruned_percent, 25);
});

Deno.test("a success and a failure lead to different next decisions", () => {
  const kept = begin(), failed = begin();
  for (const guide of [kept, failed]) guide.advise(metrics);
  const before = failed.controller.logits[0];
  kept.apply([[0, 0]], []);
  kept.feedback(outcome({}));
  failed.feedback(outcome({ cycle_success: false }));
  assert.equal(kept.gates()[0], 0);
  assert.equal(failed.controller.logits[0], before + 0.9, "the head was needed: its gate opens");
  const next = [
    kept.advise({ ...metrics, live: [[1], [0, 1]] }),
    failed.advise(metrics),
  ];
  assert.deepEqual(next.map(({ preferences }) => preferences.taylor), [1.25, 0.5]);
  assert.deepEqual(next.map(({ rate }) => rate), [0.009, 0.0045]);
  assert.deepEqual(next.map(({ pruned_percent }) => pruned_percent), [25, 0]);
});

Deno.test("heads that grew are judged by what became of the perplexity", () => {
  const moves = [0.1, -0.05, 0].map((perplexity_improvement) => {
    const guide = begin();
    guide.apply([[1, 1]], []);
    guide.apply([], [[1, 1]]);
    guide.feedback(outcome({ perplexity_improvement, pruned_heads: [], grown_heads: [[1, 1]] }));
    return guide.controller.logits[3] - 3;
  });
  assert.deepEqual(moves.map((move) => Math.round(move * 1e9) / 1e9), [0.9, -0.9, 0]);
});

Deno.test("outcomes move step sizes and preferences within bounds, and state goes on", () => {
  const guide = begin();
  for (let cycle = 1; cycle <= 9; cycle++) {
    guide.feedback(outcome({ cycle, cycle_success: false, pruned_heads: [] }));
  }
  const { scale, preferences } = guide.toJSON();
  assert.deepEqual([scale, preferences.taylor], [0.125, 0.25]);
  const copy = AnnGuide.fromJSON(structuredClone(guide.toJSON()));
  assert.deepEqual(copy.advise(metrics), guide.advise(metrics));
  assert.deepEqual(copy.gates(), guide.gates());
  for (let cycle = 1; cycle <= 40; cycle++) guide.feedback(outcome({ cycle, pruned_heads: [] }));
  assert.deepEqual([guide.toJSON().scale, guide.toJSON().preferences.taylor], [1, 4]);
  assert.throws(() => AnnGuide.fromJSON({ ...guide.toJSON(), scale: 7 }), RangeError);
  assert.throws(() => guide.feedback(outcome({ controller_lr: -1 })), /controller_lr/);
});
