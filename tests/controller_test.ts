import assert from "node:assert/strict";
import { ANN_DEFAULTS, logit, sigmoid, updatesToClose } from "../src/controller/ann_config.ts";
import { AGENCY, AnnController } from "../src/controller/ann_controller.ts";
import {
  ControllerManager,
  type ControllerStep,
  type ControllerUpdate,
  type ManagerConfig,
} from "../src/controller/manager.ts";
import {
  checkHeadMetrics,
  headImportance,
  type HeadMetrics,
  METRIC_KEYS,
} from "../src/controller/metrics.ts";

const LR = 0.01;
const f32 = (...values: number[]) => Float32Array.from(values);

/** Metrics of one layer, all heads live. */
function layer(values: Partial<Record<typeof METRIC_KEYS[number], number[]>>): HeadMetrics {
  const NH = Object.values(values)[0].length;
  const arrays = Object.entries(values).map(([key, list]) => [key, f32(...list)]);
  return {
    L: 1,
    NH,
    live: [Array.from({ length: NH }, (_, h) => h)],
    ...Object.fromEntries(arrays),
  };
}

/** A controller of one layer with these logits. */
function withLogits(logits: number[], config = {}): AnnController {
  const controller = new AnnController({ L: 1, NH: logits.length }, config);
  controller.logits.set(logits);
  return controller;
}

function near(actual: ArrayLike<number>, expected: number[], tolerance = 1e-12): void {
  assert.equal(actual.length, expected.length);
  expected.forEach((value, i) =>
    assert.ok(Math.abs(actual[i] - value) <= tolerance, `[${i}]: ${actual[i]}, not ${value}`)
  );
}

Deno.test("head metrics: wrong lengths and a live head's NaN are refused, dead heads' ignored", () => {
  const good: HeadMetrics = { L: 1, NH: 2, live: [[1]], entropy: f32(NaN, 0.5) };
  checkHeadMetrics(good);
  const refuses = (change: Partial<HeadMetrics>, message: RegExp) =>
    assert.throws(() => checkHeadMetrics({ ...good, ...change }), message);
  for (const key of METRIC_KEYS) {
    refuses({ [key]: f32(1, NaN) }, new RegExp(`^RangeError: ${key} of layer 0 head 1 .*: NaN$`));
    refuses({ [key]: f32(1) }, new RegExp(`^RangeError: ${key} must hold 2 numbers .*: 1$`));
  }
  refuses({ live: [[0, 1]] }, /entropy of layer 0 head 0/);
  refuses({ live: [[2]] }, /^RangeError: live heads of layer 0 .*: \[2\]$/);
  refuses({ live: [[1, 0]] }, /ascending/);
  refuses({ live: [[0], [0]] }, /for 1 layers: 2$/);
  refuses({ L: 0 }, /^RangeError: L must be a positive whole number: 0$/);
});

Deno.test("headImportance() is the harm of removal over the largest", () => {
  const shape = { L: 1, NH: 4, live: [[0, 1, 3]] };
  assert.deepEqual(headImportance(2, [2.5, 1.5, NaN, 4], shape), f32(0.25, 0, NaN, 1));
  assert.deepEqual(headImportance(2, [1, 2, 9, 1], shape), f32(0, 0, NaN, 0));
  assert.throws(() => headImportance(2, [1, NaN, 9, 1], shape), /lossWithout of layer 0 head 1/);
});

Deno.test("gates start at sigmoid(3), and the regularisation is their plain sum", () => {
  const controller = new AnnController({ L: 2, NH: 3 });
  near(controller.gates(), new Array(6).fill(0.9525741268224334), 1e-7);
  near([controller.regularizationLoss()], [6 * 0.9525741268224334]);
  controller.prune([{ layer: 1, head: 2 }]);
  assert.equal(controller.gates()[5], 0);
  assert.deepEqual(controller.live, [[0, 1, 2], [0, 1]]);
  near([controller.regularizationLoss()], [5 * 0.9525741268224334]);
});

Deno.test("rule 1 lowers heads above the entropy threshold by 0.1, strictly, to the floor", () => {
  const controller = withLogits([3, 3, 0, -2.9, -3]);
  const done = controller.updateGates(layer({ entropyNats: [1.5, 1.75, 9, 9, 9] }), LR);
  near(controller.logits, [3, 2.9, -0.1, -3, -3]); // sigmoid(-2.9) = 0.052, sigmoid(-3) = 0.047
  assert.deepEqual(done, { entropy: 3 });
});

Deno.test("rule 1 reads nats and never the normalised entropy", () => {
  const controller = withLogits([3]);
  assert.deepEqual(controller.updateGates(layer({ entropy: [99] }), LR), {});
  near(controller.logits, [3]);
});

Deno.test("rule 2 lowers heads under the gradient threshold by 0.05, strictly, to the floor", () => {
  const controller = withLogits([3, 3, 3, -3], { gradThreshold: 0.5 });
  const done = controller.updateGates(layer({ gradNorm: [0.5, 0.25, 0, 0] }), LR);
  near(controller.logits, [3, 2.95, 2.95, -3]);
  assert.deepEqual(done, { gradient: 2 });
});

Deno.test("rule 3 raises nearly closed heads above the importance threshold by 0.2, strictly", () => {
  const controller = withLogits([-3, -3, -2, 3], { importanceThreshold: 0.75 });
  const done = controller.updateGates(layer({ importance: [0.75, 1, 1, 1] }), LR);
  near(controller.logits, [-3, -2.8, -2, 3]); // sigmoid(-2) = 0.119 is not below 0.1
  assert.deepEqual(done, { importance: 1 });
});

Deno.test("rules act in order, each on the gates that the one before left", () => {
  // Gate 0.104: entropy takes it to 0.095, and only then may importance lift it.
  const first = withLogits([-2.15]);
  first.updateGates(layer({ entropyNats: [2], importance: [1] }), LR);
  near(first.logits, [-2.05]);
  const other = withLogits([-2.15]);
  other.updateGates(layer({ importance: [1] }), LR);
  other.updateGates(layer({ entropyNats: [2] }), LR);
  near(other.logits, [-2.25]);
  // Gate 0.052: entropy takes it below the floor, so the gradient rule no longer applies.
  const low = withLogits([-2.9]);
  const done = low.updateGates(layer({ entropyNats: [2], gradNorm: [0] }), LR);
  near(low.logits, [-3]);
  assert.deepEqual(done, { entropy: 1, gradient: 0 });
});

Deno.test("rules add up, scale with the rate, and stay out where nothing was collected", () => {
  const metrics = layer({ entropyNats: [2], gradNorm: [0], importance: [1] });
  const controller = withLogits([3]);
  assert.deepEqual(controller.updateGates(metrics, LR), { entropy: 1, gradient: 1, importance: 0 });
  near(controller.logits, [2.85]);
  controller.updateGates(metrics, LR / 10);
  near(controller.logits, [2.835]);
  assert.deepEqual(controller.updateGates({ L: 1, NH: 1, live: [[0]] }, LR), {});
  near(controller.logits, [2.835]);
});

Deno.test("with agency, states weigh the steps and the withdrawn are left alone", () => {
  const { withdrawn, overloaded, misaligned, active } = AGENCY;
  const state = [active, overloaded, misaligned, withdrawn, active];
  const agency = (used: number) => ({
    state,
    consent: [1, 1, 1, 1, 0],
    utilization: new Array(5).fill(used),
  });
  const same = (value: number) => new Array(5).fill(value);
  const run = (start: number, metrics: HeadMetrics, used: number) => {
    const controller = withLogits(same(start));
    const done = controller.updateGates(metrics, LR, agency(used));
    return { moved: Array.from(controller.logits, (value) => value - start), done };
  };
  near(run(3, layer({ entropyNats: same(2) }), 0).moved, [-0.1, -0.15, -0.08, 0, 0]);
  near(run(3, layer({ gradNorm: same(0) }), 0).moved, [-0.05, -0.075, 0, 0, 0]);
  near(run(-3, layer({ importance: same(1) }), 0).moved, [0.2, 0.2, 0.2, 0, 0]);
  const none = { L: 1, NH: 5, live: [[0, 1, 2, 3, 4]] };
  const used = run(3, none, 0.9);
  near(used.moved, [-0.03, 0, 0, 0, 0]);
  assert.deepEqual(used.done, { utilization: 1 });
  near(run(3, none, 0.85).moved, same(0)); // strict
  near(run(0.8, none, 0.9).moved, same(0)); // sigmoid(0.8) = 0.69 is not above 0.7
  assert.throws(
    () =>
      withLogits([3]).updateGates({ L: 1, NH: 1, live: [[0]] }, LR, {
        state: [4],
        consent: [1],
        utilization: [0],
      }),
    /^RangeError: agency state must be 0, 1, 2 or 3: 4$/,
  );
});

Deno.test("rule 5 clamps, whatever else ran", () => {
  const controller = withLogits([12, -12, 9.5]);
  controller.updateGates({ L: 1, NH: 3, live: [[0, 1, 2]] }, LR);
  near(controller.logits, [10, -10, 9.5]);
  for (let n = 0; n < 5; n++) controller.gradientStep([-1, 1, -1], LR);
  near(controller.logits, [10, -10, 10]);
});

Deno.test("a gate reaches the pruning threshold in exactly the updates that are documented", () => {
  const count = (metrics: HeadMetrics) => {
    const controller = withLogits([3]);
    let updates = 0;
    while (controller.gate(0) > 0.1 && updates < 1000) {
      controller.updateGates(metrics, LR);
      updates++;
    }
    return updates;
  };
  const both = layer({ entropyNats: [2], gradNorm: [0] });
  const said = updatesToClose(ANN_DEFAULTS, LR);
  assert.deepEqual(said, { entropy: 52, gradient: 104, both: 35, trained: 26 });
  assert.equal(count(layer({ entropyNats: [2] })), 52);
  assert.equal(count(layer({ gradNorm: [0] })), 104);
  assert.equal(count(both), 35);
});

Deno.test("with the original steps and floor the rules never prune", () => {
  const config = { ruleScale: 1, pruneFloor: 0.2 };
  assert.equal(updatesToClose({ ...ANN_DEFAULTS, ...config }, LR).both, 3465);
  const controller = withLogits([3], config);
  const both = layer({ entropyNats: [2], gradNorm: [0] });
  for (let n = 0; n < 5000; n++) controller.updateGates(both, LR);
  assert.ok(controller.gate(0) > 0.19, `${controller.gate(0)}`);
});

Deno.test("gradientStep() is Adam on (gateGrad + regWeight) g (1 - g)", () => {
  const controller = withLogits([3, 0]);
  const gateGrad = [[0.01, -0.02], [0.03, 0.02]];
  const expected = [3, 0], m = [0, 0], v = [0, 0];
  for (let t = 1; t <= 2; t++) {
    controller.gradientStep(gateGrad[t - 1], LR);
    for (let i = 0; i < 2; i++) {
      const g = sigmoid(expected[i]);
      const grad = (gateGrad[t - 1][i] + 1e-4) * g * (1 - g);
      m[i] = 0.9 * m[i] + 0.1 * grad;
      v[i] = 0.99 * v[i] + 0.01 * grad ** 2;
      expected[i] -= 0.2 * (m[i] / (1 - 0.9 ** t)) / (Math.sqrt(v[i] / (1 - 0.99 ** t)) + 1e-8);
    }
    if (t === 1) near(controller.logits, [2.8, 0.2], 1e-5); // the first step is the rate's sign
    near(controller.logits, expected);
  }
});

Deno.test("a constant pull on the gates closes or keeps them within a run", () => {
  // Useless (only the L1 term pulls), harmful, useful: gradients 1e-3 and 1e-1 count alike.
  const controller = withLogits([3, 3, 3, 3]);
  for (let n = 0; n < 30; n++) controller.gradientStep([0, 1e-3, 1e-1, -1e-3], LR);
  const gates = controller.gates();
  for (const i of [0, 1, 2]) assert.ok(gates[i] <= 0.1, `${i}: ${gates[i]}`);
  assert.ok(gates[3] > 0.99, `${gates[3]}`);
  // What the loss itself says outvotes rules 1 and 2 together.
  const useful = withLogits([0]);
  for (let n = 0; n < 10; n++) {
    useful.gradientStep([-1e-3], LR);
    useful.updateGates(layer({ entropyNats: [9], gradNorm: [0] }), LR);
  }
  assert.ok(useful.logits[0] > 0, `${useful.logits[0]}`);
});

Deno.test("pruned heads are never changed, and must be pruned once only", () => {
  const controller = withLogits([-3, -3, 3]);
  controller.prune([{ layer: 0, head: 0 }]);
  const metrics: HeadMetrics = {
    L: 1,
    NH: 3,
    live: [[1, 2]],
    entropyNats: f32(NaN, 2, 2),
    importance: f32(NaN, 1, 0),
  };
  controller.updateGates(metrics, LR);
  controller.gradientStep([NaN, 0.1, 0.1], LR);
  near(controller.logits, [-3, -3, 2.7], 1e-5); // +0.2 - 0.2; -0.1 - 0.2
  assert.throws(
    () => controller.prune([{ layer: 0, head: 1 }, { layer: 0, head: 0 }]),
    /^RangeError: Cannot prune layer 0 head 0: it is not live$/,
  );
  assert.deepEqual(controller.live, [[1, 2]], "nothing was pruned by the refused call");
  assert.throws(() => controller.prune([{ layer: 0, head: 1 }, { layer: 0, head: 1 }]), /not live/);
  assert.throws(() => controller.prune([{ layer: 3, head: 0 }]), /not live/);
});

Deno.test("a live head that was not measured, other sizes and settings out of range are refused", () => {
  const controller = withLogits([3, 3]);
  const metrics = layer({ entropyNats: [2, 2] });
  assert.throws(
    () => controller.updateGates({ ...metrics, live: [[0]] }, LR),
    /^RangeError: layer 0 head 1 is live but was not measured$/,
  );
  assert.throws(() => controller.updateGates(layer({ entropyNats: [2] }), LR), /1 x 1$/);
  assert.throws(() => controller.updateGates(metrics, NaN), /learning rate .*: NaN$/);
  assert.throws(() => controller.gradientStep([1], LR), /gateGrad must hold 2 numbers/);
  near(controller.logits, [3, 3]);
  assert.throws(() => withLogits([3], { activeThreshold: 1 }), /activeThreshold .*: 1$/);
  assert.throws(() => withLogits([3], { regWeight: -1 }), /regWeight .*: -1$/);
  assert.throws(() => withLogits([3], { initValue: 11 }), /initValue .*: 11$/);
  assert.throws(
    () => withLogits([3], { nope: 1 }),
    /^TypeError: Unknown controller setting: nope$/,
  );
});

// The manager.

const always = { updateFrequency: 1, warmupSteps: 0, maxPrunedHeads: 1 };

function managed(
  controller: AnnController,
  config: Partial<ManagerConfig> = {},
): ControllerManager {
  return new ControllerManager(controller, { ...always, ...config });
}

function updated(result: ControllerStep): ControllerUpdate {
  if (result.status !== "updated") assert.fail(`status ${result.status}`);
  return result;
}

Deno.test("the manager warms up, skips, and updates every so many steps", () => {
  const manager = managed(withLogits([3, 3]), { updateFrequency: 3, warmupSteps: 5 });
  const metrics = layer({ entropyNats: [2, 1] });
  const seen: string[] = [];
  for (let step = 1; step <= 9; step++) {
    const needed = manager.needsMetrics(step);
    const result = manager.step(needed ? metrics : undefined);
    assert.equal(result.step, step);
    assert.equal(needed, result.status === "updated");
    seen.push(result.status[0]);
  }
  assert.equal(seen.join(""), "wwwwsussu"); // 3 falls in the warm-up
  near(manager.controller.logits, [2.8, 3]);
});

Deno.test("an update says what happened, under the original's names", () => {
  const manager = managed(withLogits([3, -2.15, 0]));
  const gates = manager.controller.gates();
  const result = updated(manager.step(layer({ entropyNats: [2, 2, 1], gradNorm: [1, 1, 0] })));
  const after = [sigmoid(2.9), sigmoid(-2.25), sigmoid(-0.05)];
  assert.deepEqual(result.active_gates, [[0, 2]]);
  near([result.pruned_percent], [100 / 3]);
  near([result.mean_gate], [(after[0] + after[1] + after[2]) / 3]);
  near([result.gate_changes], [gates[0] - after[0] + gates[1] - after[1] + 0.5 - after[2]], 1e-7);
  assert.equal(result.controller_lr, 0.01);
  assert.equal(result.plateau_counter, 0);
  assert.equal(result.early_stopping_triggered, false);
  assert.deepEqual(result.rules, { entropy: 2, gradient: 1 });
  assert.equal(result.trained, false);
  assert.deepEqual(result.kept_open, []);
});

Deno.test("the logits are trained first, where the gate gradient was collected", () => {
  const manager = managed(withLogits([3]));
  const result = updated(manager.step(layer({ gateGrad: [0.1], entropyNats: [2] })));
  assert.equal(result.trained, true);
  near(manager.controller.logits, [2.7], 1e-5); // -0.2 - 0.1
});

Deno.test("an update without metrics, or with broken ones, is refused and not counted", () => {
  const manager = managed(withLogits([3, 3]));
  assert.throws(
    () => manager.step(),
    /^TypeError: Cannot update the gates at step 1: no head metrics were given$/,
  );
  const broken = layer({ gateGrad: [0.1, 0.1], entropyNats: [2, NaN] });
  assert.throws(() => manager.step(broken), /entropyNats of layer 0 head 1/);
  assert.equal(manager.currentStep, 0);
  near(manager.controller.logits, [3, 3]);
});

Deno.test("the rate decays by steps truly, not only where an update meets the period", () => {
  // Updates at multiples of 3, decays every 4: the original would decay at 12 first.
  const manager = managed(withLogits([3]), {
    updateFrequency: 3,
    controllerLr: 0.08,
    controllerLrDecay: 0.5,
    controllerLrDecaySteps: 4,
    minControllerLr: 0.015,
  });
  assert.deepEqual([3, 4, 7, 8, 11, 12, 99].map((step) => manager.controllerLr(step)), [
    0.08,
    0.04,
    0.04,
    0.02,
    0.02,
    0.015,
    0.015,
  ]);
  const rates: number[] = [];
  for (let step = 1; step <= 12; step++) {
    const result = manager.step(layer({ entropyNats: [2] }));
    if (result.status === "updated") rates.push(result.controller_lr);
  }
  assert.deepEqual(rates, [0.08, 0.04, 0.02, 0.015]);
  near(manager.controller.logits, [3 - 0.8 - 0.4 - 0.2 - 0.15]);
});

Deno.test("a plateau stops the updates until it is forgotten", () => {
  const manager = managed(withLogits([3, 3]), { earlyStoppingPatience: 2 });
  const still = layer({ entropyNats: [1, 1] }), moving = layer({ entropyNats: [2, 1] });
  const counters = [still, moving, still, still].map((metrics) => {
    const { plateau_counter, early_stopping_triggered } = updated(manager.step(metrics));
    return [plateau_counter, early_stopping_triggered];
  });
  assert.deepEqual(counters, [[1, false], [0, false], [1, false], [2, true]]);
  assert.equal(manager.stopped, true);
  assert.equal(manager.needsMetrics(5), false);
  assert.deepEqual(manager.step(moving), { status: "stopped", step: 5 });
  near(manager.controller.logits, [2.9, 3]);
  manager.forgetPlateau();
  assert.equal(manager.needsMetrics(6), true);
  assert.equal(updated(manager.step(moving)).plateau_counter, 0);
  near(manager.controller.logits, [2.8, 3]);
});

Deno.test("one head on its way is no plateau, nor do opposite moves cancel to one", () => {
  const heads = 32;
  const one = managed(withLogits(new Array(heads).fill(3)), { earlyStoppingPatience: 1 });
  const entropyNats = new Array(heads).fill(1);
  entropyNats[7] = 2;
  assert.equal(updated(one.step(layer({ entropyNats }))).plateau_counter, 0);
  const two = managed(withLogits([-2.3, -2.3]), { earlyStoppingPatience: 1 });
  const result = updated(two.step(layer({ gateGrad: [1, -1] })));
  assert.equal(result.plateau_counter, 0);
});

Deno.test("early stopping can be turned off", () => {
  const manager = managed(withLogits([3]), {
    earlyStoppingPatience: 1,
    enableEarlyStopping: false,
  });
  for (let n = 1; n <= 3; n++) {
    const result = updated(manager.step(layer({ entropyNats: [1] })));
    assert.deepEqual([result.plateau_counter, result.early_stopping_triggered], [n, false]);
  }
});

Deno.test("no more heads close than maxPrunedHeads allows; the others go back, in order", () => {
  // All five would cross -2.197; two of ten may. The lowest do, the others stay where they were.
  const start = [-2.1, -2.18, -2.12, -2.19, -2.11, 3, 3, 3, 3, 3];
  const manager = managed(withLogits(start), { maxPrunedHeads: 0.29 });
  const metrics = layer({ entropyNats: [9, 9, 9, 9, 9, 1, 1, 1, 1, 1] });
  const result = updated(manager.step(metrics));
  near(manager.controller.logits, [-2.1, -2.28, -2.12, -2.29, -2.11, 3, 3, 3, 3, 3]);
  assert.deepEqual(result.active_gates, [[0, 2, 4, 5, 6, 7, 8, 9]]);
  assert.equal(result.pruned_percent, 20);
  assert.deepEqual(result.kept_open, [[0, 0], [0, 2], [0, 4]]);
  for (let n = 0; n < 20; n++) {
    if (manager.stopped) break;
    assert.equal(updated(manager.step(metrics)).active_gates[0].length, 8);
  }
  assert.ok(manager.stopped, "heads that may not close are a plateau");
});

Deno.test("an excess head that was closed already opens to just above the threshold", () => {
  const manager = managed(withLogits([-3, -2.5, 3, 3]), { maxPrunedHeads: 0.25 });
  const result = updated(manager.step(layer({ entropyNats: [1, 1, 1, 1] })));
  assert.deepEqual(result.kept_open, [[0, 1]]);
  const gate = manager.controller.gates()[1];
  assert.ok(gate > 0.1 && gate < 0.101, `${gate}`);
  near(manager.controller.logits, [-3, logit(0.1) + 1e-3, 3, 3]);
});

Deno.test("of equal heads the earlier ones close", () => {
  const manager = managed(withLogits([-2.15, -2.15, -2.15, -2.15]), { maxPrunedHeads: 0.5 });
  const result = updated(manager.step(layer({ entropyNats: [2, 2, 2, 2] })));
  assert.deepEqual(result.active_gates, [[2, 3]]);
});

Deno.test("every layer keeps an active head, whatever the share", () => {
  const controller = new AnnController({ L: 2, NH: 2 });
  controller.logits.set([-2.15, -2.12, 3, 3]);
  const manager = managed(controller);
  const entropyNats = f32(9, 9, 1, 1);
  const result = updated(manager.step({ L: 2, NH: 2, live: [[0, 1], [0, 1]], entropyNats }));
  assert.deepEqual(result.active_gates, [[1], [0, 1]]);
  assert.deepEqual(result.kept_open, [[0, 1]]);
});

Deno.test("pruning a head uses up the share, forgets the plateau, and is not undone", () => {
  const manager = managed(withLogits([-2.5, -2.4, 3, 3]), {
    maxPrunedHeads: 0.5,
    earlyStoppingPatience: 1,
  });
  assert.equal(updated(manager.step(layer({ entropyNats: [1, 1, 1, 1] }))).pruned_percent, 50);
  assert.equal(manager.stopped, true);
  manager.prune([{ layer: 0, head: 0 }]);
  assert.equal(manager.stopped, false);
  assert.deepEqual(manager.activeGates(), [[2, 3]]);
  manager.prune([{ layer: 0, head: 2 }]); // two pruned of two allowed: head 1 has to open
  assert.deepEqual(manager.activeGates(), [[1, 3]]);
  assert.equal(manager.prunedPercent(), 50);
  near([manager.meanGate()], [(sigmoid(logit(0.1) + 1e-3) + sigmoid(3)) / 2]);
  const metrics: HeadMetrics = {
    L: 1,
    NH: 4,
    live: [[1, 3]],
    importance: f32(NaN, 0, NaN, 0),
    gateGrad: f32(NaN, 1, NaN, -1),
  };
  const result = updated(manager.step(metrics));
  assert.deepEqual(result.active_gates, [[1, 3]]);
  assert.deepEqual(Array.from(manager.controller.gates()).map((g) => g === 0), [
    true,
    false,
    true,
    false,
  ]);
});

/** Metrics of two layers of three heads that differ at every step, the same for the same step. */
function noise(step: number, live: HeadMetrics["live"]): HeadMetrics {
  const draw = (salt: number, low: number, high: number) =>
    Float32Array.from({ length: 6 }, (_, i) => {
      const x = Math.sin(step * 12.9898 + i * 78.233 + salt * 37.719) * 43758.5453;
      return low + (high - low) * (x - Math.floor(x));
    });
  return {
    L: 2,
    NH: 3,
    live,
    entropyNats: draw(1, 1, 3),
    gradNorm: draw(2, 0, 3e-3),
    importance: draw(3, 0, 1),
    gateGrad: draw(4, -1e-2, 1.2e-2),
  };
}

Deno.test("state goes through JSON, and the run continues with the same bits", () => {
  const make = () =>
    managed(new AnnController({ L: 2, NH: 3 }, { regWeight: 1e-3 }), {
      updateFrequency: 2,
      warmupSteps: 4,
      maxPrunedHeads: 0.5,
      controllerLrDecaySteps: 7,
    });
  const go = (manager: ControllerManager, from: number, to: number) => {
    const seen: ControllerStep[] = [];
    for (let step = from; step <= to; step++) {
      if (step === 30) manager.prune([{ layer: 1, head: 1 }]);
      seen.push(manager.step(noise(step, manager.controller.live)));
    }
    return seen;
  };
  const whole = make();
  const straight = go(whole, 1, 100);
  assert.ok(straight.some((s) => s.status === "updated" && s.kept_open.length > 0));
  for (const cut of [3, 29, 47]) {
    const first = make();
    const head = go(first, 1, cut);
    const second = ControllerManager.fromJSON(JSON.parse(JSON.stringify(first)));
    assert.deepEqual([...head, ...go(second, cut + 1, 100)], straight);
    assert.deepEqual(second.toJSON(), whole.toJSON());
  }
});

Deno.test("a plateau goes through JSON, half met and met", () => {
  const again = (manager: ControllerManager) =>
    ControllerManager.fromJSON(JSON.parse(JSON.stringify(manager)));
  const still = layer({ entropyNats: [1] });
  const manager = managed(withLogits([3]), { earlyStoppingPatience: 2 });
  manager.step(still);
  const half = again(manager);
  assert.equal(updated(half.step(still)).early_stopping_triggered, true);
  assert.deepEqual(again(half).step(), { status: "stopped", step: 3 });
});

Deno.test("broken state and settings out of range are refused by name and value", () => {
  const state = managed(withLogits([3, 3])).toJSON();
  const broken = (change: object) => () =>
    ControllerManager.fromJSON({ ...state, controller: { ...state.controller, ...change } });
  assert.throws(broken({ logits: [3] }), /^RangeError: logits must hold 2 numbers/);
  assert.throws(broken({ m: [0, null] }), /^RangeError: m of layer 0 head 1 must be finite: null$/);
  assert.throws(broken({ t: -1 }), /^RangeError: t must be .*: -1$/);
  assert.throws(() => ControllerManager.fromJSON({ ...state, step: 0.5 }), /step .*: 0\.5$/);
  const refuses = (config: Partial<ManagerConfig>, message: RegExp) =>
    assert.throws(() => managed(withLogits([3]), config), message);
  refuses({ updateFrequency: 0 }, /^RangeError: updateFrequency must be .* 1 or more: 0$/);
  refuses({ maxPrunedHeads: 1.5 }, /^RangeError: maxPrunedHeads must be between 0 and 1: 1\.5$/);
  refuses({ minGateChange: NaN }, /minGateChange must be 0 or more: NaN$/);
  refuses({ nope: 1 } as object, /^TypeError: Unknown manager setting: nope$/);
});

Deno.test("heads that grow are live again, with open gates and no momentum", () => {
  const controller = new AnnController({ L: 2, NH: 3 });
  const manager = new ControllerManager(controller, { updateFrequency: 1, warmupSteps: 0 });
  controller.gradientStep([1, 1, 1, 1, 1, 1], 0.01);
  manager.prune([{ layer: 0, head: 1 }, { layer: 1, head: 2 }]);
  assert.deepEqual([controller.gate(1), controller.gate(5)], [0, 0]);
  manager.grow([{ layer: 1, head: 2 }]);
  assert.deepEqual(controller.live, [[0, 2], [0, 1, 2]]);
  assert.equal(controller.logits[5], 3);
  const { m, v } = controller.toJSON();
  assert.deepEqual([m[5], v[5]], [0, 0]);
  assert.notEqual(m[4], 0);
  for (const place of [{ layer: 1, head: 2 }, { layer: 0, head: 3 }, { layer: 2, head: 0 }]) {
    assert.throws(
      () => manager.grow([place]),
      /Cannot grow layer \d head \d: it is not a pruned head/,
    );
  }
  const pair = [{ layer: 0, head: 1 }, { layer: 0, head: 1 }];
  assert.throws(() => manager.grow(pair), RangeError);
  assert.deepEqual(controller.live, [[0, 2], [0, 1, 2]], "nothing changed");
});
