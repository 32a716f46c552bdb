/** Plasticity cycles on a tiny model: what they do, what they undo, and what they learn. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Lockstep } from "../src/experiment/lockstep.ts";
import { checkOptions } from "../src/experiment/options.ts";
import {
  AdaptivePlasticitySystem,
  type PlasticityOptions,
} from "../src/experiment/plasticity_system.ts";
import { Recorder } from "../src/experiment/recorder.ts";
import { RunFolder } from "../src/experiment/run_folder.ts";
import { loadMaterials } from "../src/experiment/setup.ts";
import { TransformationMemory } from "../src/plasticity/memory.ts";
import { REGROWTHS } from "../src/plasticity/regrow.ts";
import { readRun } from "../src/report/read.ts";
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
  return { system, lockstep, folder, [Symbol.dispose]: () => lockstep.dispose() };
}

const plan = { cycle: 1, pruning_level: 0.4, growth_ratio: 0.5, training_steps: 6 };

/** Everything that a rollback must put back. */
async function everything(
  { system, lockstep }: { system: AdaptivePlasticitySystem; lockstep: Lockstep },
) {
  const { state, tensors } = await lockstep.save();
  const { random, rates } = system.state;
  return {
    state,
    tensors: tensors.map(({ name, data }) => [name, new Uint8Array(data.slice().buffer)]),
    gates: lockstep.arms.map((arm) => arm.effectiveGates),
    random,
    rates,
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
  const { events } = await readRun(folder.dir).catch(async () => ({
    events: (await Deno.readTextFile(join(folder.dir, "events.jsonl"))).trim().split("\n")
      .map((line) => JSON.parse(line)),
  }));
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

for (const regrowth of REGROWTHS) {
  for (const growth of ["hebbian", "entropy_gap"]) {
    Deno.test(`heads grow ${regrowth}, chosen by ${growth}`, async () => {
      using own = await begin({ regrowth });
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
}
