/** Different outcomes lead to different next decisions. */
import assert from "node:assert/strict";
import { sigmoid } from "../src/controller/ann_config.ts";
import { AnnController } from "../src/controller/ann_controller.ts";
import { AnnGuide } from "../src/controller/ann_guide.ts";
import type { CycleFeedback, Sight } from "../src/controller/guide.ts";
import { inheritGuide, makeGuide, restoreGuide } from "../src/controller/guides.ts";
import { MlpGuide } from "../src/controller/mlp_guide.ts";
import type { HeadMetrics } from "../src/controller/metrics.ts";

const metrics: HeadMetrics = {
  L: 2,
  NH: 2,
  live: [[0, 1], [0, 1]],
  entropyNats: Float32Array.from([2, 1, 2, 1]), // rule 1 lowers the first of each layer
  gradNorm: Float32Array.from([1, 1, 1, 1]),
  gateGrad: Float32Array.from([0.1, -0.1, 0.1, -0.1]),
};
const begin = (type: "ann" | "rule" = "ann") =>
  new AnnGuide(new AnnController({ L: 2, NH: 2 }), { type, rate: 0.01 });
/** Always the same, whatever the gates. */
const sight = (metrics: HeadMetrics): Sight => ({
  measure: () => Promise.resolve(metrics),
  loss: () => Promise.resolve(3),
  growing: [],
});
const outcome = (given: Partial<CycleFeedback>): CycleFeedback => ({
  cycle_success: true,
  perplexity_improvement: 0.1,
  head_reduction: 0.25,
  controller_lr: 0.009,
  pruning_strategy: "taylor",
  pruned_heads: [[0, 0]],
  grown_heads: [],
  ...given,
});

Deno.test("advice follows the gates; rules alone move less than rules and training", async () => {
  const guide = begin(), rules = begin("rule");
  const advice = await guide.advise(sight(metrics));
  assert.deepEqual(advice, { pruned_percent: 0, preferences: {}, rate: 0.01 });
  await rules.advise(sight(metrics));
  assert.ok(guide.gates()[0] < rules.gates()[0] && rules.gates()[0] < 0.9526);
  guide.apply([[0, 0]], []);
  const next = await guide.advise(sight({ ...metrics, live: [[1], [0, 1]] }));
  assert.equal(next.pruned_percent, 25);
});

Deno.test("a success and a failure lead to different next decisions", async () => {
  const kept = begin(), failed = begin();
  for (const guide of [kept, failed]) await guide.advise(sight(metrics));
  const before = failed.controller.logits[0];
  kept.apply([[0, 0]], []);
  kept.feedback(outcome({}));
  failed.feedback(outcome({ cycle_success: false }));
  assert.equal(kept.gates()[0], 0);
  assert.equal(failed.controller.logits[0], before + 0.9, "the head was needed: its gate opens");
  const next = [
    await kept.advise(sight({ ...metrics, live: [[1], [0, 1]] })),
    await failed.advise(sight(metrics)),
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

Deno.test("outcomes move step sizes and preferences within bounds, and state goes on", async () => {
  const guide = begin();
  for (let cycle = 1; cycle <= 9; cycle++) {
    guide.feedback(outcome({ cycle_success: false, pruned_heads: [] }));
  }
  const { scale, preferences } = guide.toJSON();
  assert.deepEqual([scale, preferences.taylor], [0.125, 0.25]);
  const copy = AnnGuide.fromJSON(structuredClone(guide.toJSON()));
  assert.deepEqual(await copy.advise(sight(metrics)), await guide.advise(sight(metrics)));
  assert.deepEqual(copy.gates(), guide.gates());
  for (let cycle = 1; cycle <= 40; cycle++) guide.feedback(outcome({ pruned_heads: [] }));
  assert.deepEqual([guide.toJSON().scale, guide.toJSON().preferences.taylor], [1, 4]);
  assert.throws(() => AnnGuide.fromJSON({ ...guide.toJSON(), scale: 7 }), RangeError);
  assert.throws(() => guide.feedback(outcome({ controller_lr: -1 })), /controller_lr/);
});

/**
 * A model of 2 x 4 heads in which gates near `worth` are best: closing a head whose worth is 0 costs
 * nothing, any other head costs in proportion.
 */
function world(worth: readonly number[]): Sight & { looks: number } {
  const L = 2, NH = 4, live = [[0, 1, 2, 3], [0, 1, 2, 3]];
  const of = (value: (i: number) => number) => Float32Array.from({ length: 8 }, (_, i) => value(i));
  return {
    looks: 0,
    growing: [],
    loss(gates) {
      this.looks++;
      return Promise.resolve(worth.reduce((sum, w, i) => sum + w * (1 - gates[i]) ** 2, 3));
    },
    measure: (gates) =>
      Promise.resolve({
        L,
        NH,
        live,
        entropy: of((i) => (i % 4) / 4),
        gradNorm: of((i) => 1 + worth[i]),
        gateGrad: of((i) => -2 * worth[i] * (1 - gates[i])),
        gateGradAbs: of((i) => 0.1 * worth[i] + 1e-4),
        gateGradSq: of((i) => (0.1 * worth[i]) ** 2 + 1e-8),
      }),
  };
}
const shape = { L: 2, NH: 4, live: [[0, 1, 2, 3], [0, 1, 2, 3]] };
const mlp = (seed = 1) => makeGuide("mlp", shape, { rate: 0.01, seed }) as MlpGuide;

Deno.test("mlp: rounds are measured, and those that cost more than they are worth go back", async () => {
  const useless = mlp(), needed = mlp();
  const none = world(Array(8).fill(0)), all = world(Array(8).fill(1));
  const kept = await useless.advise(none), lost = await needed.advise(all);
  assert.equal(kept.rounds!.length, 3);
  assert.equal(none.looks, 4, "each round's outcome is where the next begins");
  assert.ok(kept.rounds!.every((round) => round.kept && round.realised_loss_change === 0));
  assert.ok(useless.gates().some((gate) => gate < 0.8));
  for (const round of lost.rounds!) {
    const { kept, decisions } = round;
    const { realised_loss_change: realised, predicted_loss_change: foreseen } = round;
    const opened = decisions.reduce((sum, own) => sum + own.gate - own.gate_before, 0);
    assert.equal(kept, realised + 1e-3 * opened <= 0);
    // heads add up, and so do their shares: the loss is of second order in the gates
    const shares = decisions.reduce((sum, own) => sum + own.realised_loss_change, 0);
    assert.ok(Math.abs(shares - realised) < 1e-6, `${shares} and ${realised}`);
    const predicted = decisions.reduce((sum, own) => sum + own.predicted_loss_change, 0);
    assert.ok(Math.abs(predicted - foreseen) < 1e-9, `${predicted} and ${foreseen}`);
  }
  const closed = lost.rounds!.filter(({ decisions }) =>
    decisions.some((own) => own.gate < own.gate_before)
  );
  assert.ok(closed.length > 0 && closed.every(({ kept }) => !kept), "a needed head was closed");
  assert.deepEqual(
    needed.gates().filter((gate) => gate < sigmoid(3) - 1e-6),
    new Float32Array(),
    "every gate that was closed is open again",
  );
  assert.equal(needed.mlp.history.length, lost.rounds!.length, "and it learned from it");
});

Deno.test("mlp: a failure makes it dare less than a success", async () => {
  // closing is worth less than its price at full boldness, and more than half of it
  const slight = world(Array(8).fill(0));
  slight.loss = (gates) => Promise.resolve(3 + 7e-4 * gates.reduce((sum, g) => sum + (1 - g), 0));
  const scene = async (cycle_success: boolean) => {
    const guide = mlp();
    guide.feedback(outcome({ cycle_success, pruned_heads: [], pruning_strategy: "fisher" }));
    const { rounds } = await guide.advise(slight);
    return rounds!.filter(({ decisions }) => decisions.some((d) => d.gate < d.gate_before));
  };
  const bold = await scene(true), careful = await scene(false);
  assert.ok(bold.length > 0 && bold.every(({ kept }) => kept));
  assert.ok(careful.length > 0 && careful.every(({ kept }) => !kept));
});

Deno.test("mlp: growing heads are held, ages count cycles, and a saved guide goes on alike", async () => {
  const guide = mlp(5), scene = { ...world(Array(8).fill(0)), growing: [{ layer: 1, head: 2 }] };
  const { rounds } = await guide.advise(scene);
  assert.ok(
    rounds!.every(({ decisions }) => decisions.every((d) => d.layer !== 1 || d.head !== 2)),
  );
  guide.apply([[0, 0]], []);
  guide.apply([], [[0, 0]]);
  guide.feedback(outcome({ pruned_heads: [], grown_heads: [[0, 0]] }));
  assert.deepEqual(guide.toJSON().ages, [0, 1, 1, 1, 1, 1, 1, 1]);
  const copy = restoreGuide(JSON.parse(JSON.stringify(guide))) as MlpGuide;
  assert.deepEqual(await copy.advise(scene), await guide.advise(scene));
  assert.deepEqual(copy.gates(), guide.gates());
  assert.deepEqual(copy.toJSON(), guide.toJSON());
  const { ages, ...rest } = guide.toJSON();
  assert.throws(() => MlpGuide.fromJSON({ ...rest, ages: ages.slice(1) }), /ages must be 8/);
});

Deno.test("a later run's guide begins with what an earlier one learned", async () => {
  const scene = world(Array(8).fill(1)), earlier = mlp(3);
  for (let i = 0; i < 3; i++) await earlier.advise(scene);
  const state = JSON.parse(JSON.stringify(earlier));
  const later = mlp(4),
    wide = makeGuide("mlp", { L: 1, NH: 2, live: [[0, 1]] }, { rate: 1, seed: 1 })!;
  inheritGuide(later, state);
  inheritGuide(wide, state); // the network knows features, not places
  assert.deepEqual(later.mlp.toJSON().network, earlier.mlp.toJSON().network);
  assert.deepEqual(later.gates(), mlp().gates(), "gates are the new model's");
  assert.throws(() => inheritGuide(later, begin().toJSON()), /are of type ann, the run's is mlp/);

  const ann = begin();
  await ann.advise(sight(metrics));
  ann.apply([[0, 0]], []);
  ann.feedback(outcome({ cycle_success: false, pruned_heads: [[1, 1]] }));
  const heir = begin();
  inheritGuide(heir, ann.toJSON());
  assert.equal(heir.gates()[0], begin().gates()[0], "a head that was pruned there begins anew");
  assert.deepEqual(heir.gates().slice(1), ann.gates().slice(1));
  assert.deepEqual([heir.scale, heir.preferences], [0.5, { taylor: 0.5 }]);
  const other = new AnnGuide(new AnnController({ L: 1, NH: 2 }), { type: "ann", rate: 0.01 });
  assert.throws(() => inheritGuide(other, ann.toJSON()), /2 layers x 2 heads, the model has 1 x 2/);
});
