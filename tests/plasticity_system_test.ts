/** Plasticity cycles on a tiny model: what they do, what they undo, and what they learn. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { scoreArm } from "../src/experiment/analysis.ts";
import { DivergedError, Lockstep } from "../src/experiment/lockstep.ts";
import { checkOptions } from "../src/experiment/options.ts";
import {
  AdaptivePlasticitySystem,
  type PlasticityOptions,
} from "../src/experiment/plasticity_system.ts";
import { Recorder } from "../src/experiment/recorder.ts";
import { RunFolder } from "../src/experiment/run_folder.ts";
import { loadMaterials } from "../src/experiment/setup.ts";
import { TransformationMemory } from "../src/plasticity/memory.ts";
import type { Regrowth } from "../src/plasticity/regrow.ts";
import { importanceScores } from "../src/plasticity/scores.ts";
import { takeHead } from "../src/gpt2/heads.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, textFile, modelDir } = await makeTiny();
const options = checkOptions({
  model_name: modelDir,
  text: textFile,
  max_length: 16,
  batch_size: 2,
  eval_tokens: 128,
  test_tokens: 128,
  learning_rate: 3e-3,
});
const materials = await loadMaterials(options);

/** A system with its three arms at the model's start. */
async function begin(given: Partial<PlasticityOptions> = {}, memory?: TransformationMemory) {
  const folder = await RunFolder.create(join(dir, "runs"), "tiny");
  const recorder = new Recorder(folder, () => ({
    step: lockstep.step,
    tokensSeen: lockstep.tokensSeen,
    cycle: 1,
    elapsed: 0,
  }));
  const lockstep: Lockstep = new Lockstep(
    gpu,
    { ...options, horizon: 100, keep: true },
    materials,
    recorder,
  );
  const { live, weights } = materials.model;
  lockstep.replace(
    (["pruned", "unpruned_twin", "random_pruning"] as const).map((name) => ({
      name,
      live,
      weights,
    })),
  );
  const system = new AdaptivePlasticitySystem({ gpu, lockstep, materials, recorder }, {
    sample_tokens: 8,
    ...given,
  }, memory);
  await system.begin();
  const owned = new DisposableStack();
  owned.use(folder);
  owned.use(lockstep);
  return { system, lockstep, folder, [Symbol.dispose]: () => owned.dispose() };
}

const plan = { cycle: 1, pruning_level: 0.4, growth_ratio: 0.5, training_steps: 6 };

/** Everything that a rollback must put back. */
async function everything(
  { system, lockstep }: { system: AdaptivePlasticitySystem; lockstep: Lockstep },
) {
  const { state, tensors } = await lockstep.save();
  const { random, factors } = system.state;
  return {
    state,
    tensors: tensors.map(({ name, data }) => [name, new Uint8Array(data.slice().buffer)]),
    gates: lockstep.arms.map((arm) => arm.effectiveGates),
    random,
    factors,
  };
}

Deno.test("a cycle prunes, grows and learns, and its controls do as much", async () => {
  using own = await begin();
  const { system, lockstep, folder } = own;
  const cycle = await system.runCycle(plan);
  assert.equal(cycle.success, true);
  assert.equal(cycle.pruned_heads.length, 3, "floor(8 x 0.4)");
  assert.equal(cycle.grown_heads.length, 1, "floor(3 x 0.5)");
  assert.deepEqual(
    [cycle.initial, cycle.pruned, cycle.grown, cycle.final].map(({ heads }) => heads),
    [8, 5, 6, 6],
  );
  assert.deepEqual(lockstep.arms.map(({ model }) => model.heads), [6, 8, 6]);
  assert.deepEqual(lockstep.arms.map(({ stored }) => stored.length), [2, 0, 2]);
  assert.equal(lockstep.pruned.trainer.steps, 6);
  assert.equal(cycle.head_reduction, 0.25);
  assert.ok(Math.abs(cycle.final.perplexity - Math.exp(cycle.final.loss)) < 1e-9);
  assert.ok(cycle.unpruned_twin_loss! !== cycle.final.loss);
  const { degeneration, quality } = cycle.final;
  assert.ok(degeneration! >= 0 && degeneration! <= 5 && quality! >= 0 && quality! <= 1);
  assert.equal(cycle.pruned.degeneration, undefined, "what was not measured is absent");
  const events = (await Deno.readTextFile(join(folder.dir, "events.jsonl"))).trim().split("\n")
    .map((line) => JSON.parse(line));
  const count = (event: string, arm: string) =>
    events.filter((row) => row.event === event && row.arm === arm).length;
  assert.deepEqual(
    ["pruned", "random_pruning", "unpruned_twin"].map((
      arm,
    ) => [count("prune", arm), count("grow", arm)]),
    [[3, 1], [3, 1], [0, 0]],
  );
  assert.equal(system.memory.entries.length, 1);
  assert.equal(system.memory.entries[0].pruning_strategy, cycle.pruning_strategy);
});

Deno.test("a failed cycle is undone to the last bit, and leaves only what it taught", async () => {
  using own = await begin({ max_perplexity_increase: -0.9 });
  const { system } = own;
  system.setGates(Float32Array.from([1, 0.05, 1, 0.9, 1, 1, 0.08, 1]));
  const before = await everything(own);
  const cycle = await system.runCycle(plan);
  assert.equal(cycle.success, false);
  assert.match(cycle.failure!, /perplexity rose by .*, more than -90.0 %/);
  const first = cycle.pruned_heads.slice(0, 2).sort();
  assert.deepEqual(first, [[0, 1], [1, 2]], "closed gates go first, whatever their score");
  assert.deepEqual(await everything(own), before);
  assert.equal(system.memory.entries.length, 0);
  assert.ok(system.ratings.rating("pruning", cycle.pruning_strategy) < 1);
  assert.ok(system.ratings.rating("growth", cycle.growth_strategy) < 1);
  // the same rollback again, from the same state, after another choice
  await system.runCycle({ ...plan, cycle: 2 });
  assert.deepEqual(await everything(own), before);
});

Deno.test("texts that degenerate undo a cycle, and so does a loss that is no longer a number", async () => {
  using own = await begin({ max_degeneration_score: -0.1 });
  const { system, lockstep } = own;
  const before = await everything(own);
  const degenerate = await system.runCycle(plan);
  assert.equal(degenerate.success, false);
  assert.match(degenerate.failure!, /^texts degenerated: score \d\.\d\d, above -0.1$/);
  assert.ok(Number.isFinite(degenerate.final.loss));
  assert.deepEqual(await everything(own), before);

  lockstep.read = () => Promise.reject(new DivergedError("the loss became NaN"));
  const diverged = await system.runCycle({ ...plan, cycle: 2 });
  assert.deepEqual([diverged.success, diverged.failure], [false, "the loss became NaN"]);
  assert.ok(Number.isNaN(diverged.final.loss) && Number.isNaN(diverged.perplexity_improvement));
  assert.deepEqual(await everything(own), before);
  lockstep.read = Lockstep.prototype.read;
  assert.ok(Number.isFinite((await system.runCycle({ ...plan, cycle: 3 })).final.loss));
});

Deno.test("grown heads learn faster in both models, and hold on while they grow", async () => {
  const losses = async (growth_boost: number) => {
    using own = await begin({ growth_boost, regrowth: "fresh" });
    const cycle = await own.system.runCycle({ ...plan, training_steps: 12 });
    return [cycle.final.loss, cycle.random_pruning_loss!, cycle.unpruned_twin_loss!];
  };
  const [even, fast] = [await losses(1), await losses(5)];
  assert.notEqual(even[0], fast[0], "the model under study");
  assert.notEqual(even[1], fast[1], "the random control");
  assert.equal(even[2], fast[2], "the twin has grown nothing");

  using own = await begin();
  const { system, lockstep: { pruned } } = own;
  const first = await system.runCycle(plan);
  const { live } = pruned.model;
  const second = await system.runCycle({ ...plan, cycle: 2 });
  const has = (heads: [number, number][], [layer, head]: [number, number]) =>
    heads.some((one) => one[0] === layer && one[1] === head);
  for (const grown of first.grown_heads) {
    assert.ok(!has(second.pruned_heads, grown), `${grown} grows still, and ${live} could go`);
  }
  // others were stored, so what has just been pruned stays away
  assert.ok(second.grown_heads.every((grown) => !has(second.pruned_heads, grown)));
  const nothing = await system.runCycle({ ...plan, cycle: 3, pruning_level: 0, growth_ratio: 0 });
  assert.deepEqual([nothing.pruned_heads, nothing.grown_heads], [[], []]);

  // with heads stored, growing and boosted, a rollback still puts back every bit
  system.options.max_perplexity_increase = -0.9;
  const state = await everything(own);
  assert.ok(state.state.arms[0].growing!.length > 0 && state.state.arms[0].stored!.length > 0);
  assert.equal((await system.runCycle({ ...plan, cycle: 4 })).success, false);
  assert.deepEqual(await everything(own), state);
});

Deno.test("heads grow as they were, from the layer's most useful head, or anew", async () => {
  const grown = async (regrowth: Regrowth) => {
    using own = await begin({ regrowth });
    const { system, lockstep: { pruned: arm } } = own;
    const names = system.ratings.names("growth");
    const zero = Object.fromEntries(names.map((name) => [name, 0]));
    const before = await arm.state();
    const { grown_heads: [[layer, head]] } = await system.runCycle({
      ...plan,
      training_steps: 0,
      preferences: { growth: { ...zero, balanced: 1 } },
    });
    const now = await arm.state();
    const take = ({ live, weights }: typeof now, place: { layer: number; head: number }) =>
      [...takeHead(arm.config, weights, live, place).values()].flatMap((values) => [...values]);
    const own_ = take(now, { layer, head });
    const { metrics } = await scoreArm(arm, materials.calibration, {
      strategy: "importance",
      gates: arm.effectiveGates,
      random: () => 0,
    });
    const scores = importanceScores(metrics, arm.effectiveGates);
    // by importance as it is now; the grown head itself has next to none
    const others = now.live[layer].filter((one) => one !== head)
      .sort((a, b) => scores[layer * 4 + b] - scores[layer * 4 + a]);
    const distance = (other: number[]) => Math.hypot(...own_.map((x, i) => x - other[i]));
    return {
      warm: distance(take(before, { layer, head })),
      useful: distance(take(now, { layer, head: others[0] })),
      least: distance(take(now, { layer, head: others.at(-1)! })),
      others: others.length,
    };
  };
  const warm = await grown("warm"), donor = await grown("donor"), fresh = await grown("fresh");
  assert.equal(warm.warm, 0);
  assert.ok(donor.others > 1 && donor.useful < 0.5 * donor.least, JSON.stringify(donor));
  assert.ok(fresh.warm > 0.1 && fresh.useful > 0.1, JSON.stringify(fresh));
});

Deno.test("the same seed gives the same cycles, and a saved state goes on with them", async () => {
  using first = await begin();
  using second = await begin();
  const run = async (own: typeof first, from: number, to: number) => {
    const cycles = [];
    for (let cycle = from; cycle <= to; cycle++) {
      const { cycle_time_s: _, ...rest } = await own.system.runCycle({ ...plan, cycle });
      cycles.push(rest);
    }
    return cycles;
  };
  const a = await run(first, 1, 2), b = await run(second, 1, 1);
  const saved = await second.lockstep.save(), state = structuredClone(second.system.state);
  using third = await begin();
  third.lockstep.restore(saved.state, new Map(saved.tensors.map(({ name, data }) => [name, data])));
  third.system.restore(state);
  b.push(...await run(third, 2, 2));
  assert.deepEqual(b, a);
});

Deno.test("a remembered transformation is replayed, and preferences decide draws", async () => {
  const memory = new TransformationMemory({ replayProbability: 1 });
  memory.remember({
    description: "prune 1 by magnitude, grow 1 by balanced",
    pruning_strategy: "magnitude",
    pruning_level: 0.25,
    growth_strategy: "balanced",
    growth_ratio: 0.5,
    perplexity_improvement: 0.1,
    head_reduction: 0.1,
    degeneration_change: 0,
    improvement: 0.1,
    timestamp: "2020-01-01T00:00:00.000Z",
  });
  using own = await begin({}, memory);
  const cycle = await own.system.runCycle(plan);
  assert.equal(cycle.replayed, true);
  assert.equal(cycle.pruning_strategy, "magnitude");
  assert.equal(cycle.pruned_heads.length, 2, "floor(8 x 0.25): the memory's level, not the plan's");
  assert.equal(own.system.memory.entries.length, 1, "a replay is not remembered again");

  using other = await begin();
  const zero = Object.fromEntries(other.system.ratings.names("pruning").map((name) => [name, 0]));
  const preferred = await other.system.runCycle({
    ...plan,
    preferences: { pruning: { ...zero, fisher: 1 } },
  });
  assert.equal(preferred.pruning_strategy, "fisher");
});

for (const growth of ["hebbian", "entropy_gap"]) {
  Deno.test(`heads grow, chosen by ${growth}`, async () => {
    using own = await begin();
    const names = own.system.ratings.names("growth");
    const zero = Object.fromEntries(names.map((name) => [name, 0]));
    const cycle = await own.system.runCycle({
      ...plan,
      preferences: { growth: { ...zero, [growth]: 1 } },
    });
    assert.equal(cycle.growth_strategy, growth);
    assert.equal(cycle.grown_heads.length, 1);
    assert.ok(Number.isFinite(cycle.final.loss));
    assert.deepEqual(own.lockstep.pruned.growing.length, 1, "its influence still rises");
  });
}
