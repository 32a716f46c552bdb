/** The bake-off on a tiny model: what it measures, what it draws, and that it can be stopped. */
import assert from "node:assert/strict";
import {
  bakeoff,
  BAKEOFF_STRATEGIES,
  type BakeoffProgress,
  checkBakeoff,
  prepareBakeoff,
} from "../src/experiment/bakeoff.ts";
import { Gpu } from "../src/gpu/device.ts";
import { pearson, ranks, spearman } from "../src/plasticity/rank.ts";
import { pageHtml } from "../src/report/document.ts";
import { bakeoffRows, bakeoffVerdict, renderBakeoff } from "../src/report/bakeoff.ts";
import { PlasticModel } from "../src/plasticity/plastic_model.ts";
import { assertClose } from "./close.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { textFile, modelDir } = await makeTiny({ initializerRange: 0.2 });
const prepared = await prepareBakeoff({
  model_name: modelDir,
  text: textFile,
  max_length: 16,
  batch_size: 2,
  eval_tokens: 128,
});

Deno.test("correlations of ranks, by hand", () => {
  assert.equal(pearson([1, 2, 3], [2, 4, 6]), 1);
  assert.equal(pearson([1, 2, 3], [5, 5, 5]), 0);
  assert.deepEqual(ranks([30, 10, 20, 10]), [4, 1.5, 3, 1.5]);
  assert.equal(spearman([1, 2, 3, 4], [1, 10, 100, 1000]), 1);
  assert.equal(spearman([1, 2, 3, 4], [4, 3, 2, 1]), -1);
  assertClose([spearman([1, 2, 3], [1, 3, 2])], [0.5], { atol: 1e-12, what: "one swap" });
  assert.throws(() => pearson([1], [1, 2]), RangeError);
});

Deno.test("a bake-off compares every score with the oracle, and repeats itself", async () => {
  const { options, materials } = prepared;
  const bytes = gpu.bytes;
  const told: BakeoffProgress[] = [];
  const record = await bakeoff(gpu, options, materials, (progress) => told.push(progress));
  assert.equal(gpu.bytes, bytes);
  const left = told.filter(({ what }) => what.startsWith("leaving out 8 heads"));
  assert.deepEqual(left.map(({ done }) => done), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.ok(left.every(({ total, soFar }) => total === 8 && soFar === undefined));
  const parts = told.flatMap(({ soFar }) => soFar ? [soFar] : []);
  assert.deepEqual(
    parts.map(({ strategies }) => strategies),
    parts.map((_, i) => record.strategies.slice(0, i + 1)),
  );
  assert.equal(parts.length, 8);
  for (const part of parts) {
    const page = pageHtml(renderBakeoff(part, 9));
    assert.ok(page.includes(`So far, with ${part.strategies.length} of 9 strategies: The ranking`));
    assert.doesNotMatch(page, /NaN|undefined/);
  }
  const names = record.strategies.map(({ name }) => name);
  assert.deepEqual(names, BAKEOFF_STRATEGIES);
  assert.ok(names.includes("importance") && !names.includes("taylor"), "the name users know");
  const of = (name: string) => record.strategies.find((strategy) => strategy.name === name)!;
  // Both columns are of validation text, which no score has seen, the oracle's neither.
  assert.equal(record.validation_loss_without.length, 8);
  for (const { name, correlation, scores, draws } of record.strategies) {
    if (draws) continue;
    assert.equal(correlation, spearman(scores, record.validation_loss_without), name);
  }
  assert.ok(of("oracle").correlation < 1);
  assert.notDeepEqual(record.validation_loss_without, record.loss_without);
  const { live, config: { L, NH } } = materials.model;
  using plastic = new PlasticModel(gpu, materials.model.config, materials.model, { B: 2, T: 16 });
  const gates = new Float32Array(L * NH).fill(1).with(live[0][0], 0);
  plastic.setGates(gates);
  const { loss: without } = await plastic.trainer.evaluator.evaluate(materials.validation);
  assert.equal(record.validation_loss_without[0], Math.fround(without));
  assert.deepEqual(record.removed, [1, 2, 4]);
  assert.deepEqual(of("oracle").scores, record.loss_without);
  assert.ok(record.loss_without.some((loss) => loss !== record.calibration_loss));
  const { draws, least, losses, most } = of("random");
  assert.equal(draws, 5);
  losses.forEach((loss, i) => assert.ok(least![i] <= loss && loss <= most![i]));
  const { execution_time_s: _, ...first } = record;
  const { execution_time_s: __, ...second } = await bakeoff(gpu, options, materials);
  assert.deepEqual(second, first);

  const drawn = renderBakeoff(record), { figures } = drawn, page = pageHtml(drawn);
  assert.deepEqual(figures.map(({ name }) => name), ["correlation", "removal"]);
  assert.ok(page.includes(bakeoffVerdict(record)));
  assert.doesNotMatch(page, /NaN|undefined/);
  const { head, rows } = bakeoffRows(record);
  assert.equal(rows.length, 10);
  assert.ok(rows.every((row) => row.length === head.length));
});

Deno.test("a bake-off can be stopped", async () => {
  const { options, materials } = prepared;
  const stop = new AbortController(), bytes = gpu.bytes;
  const run = bakeoff(gpu, options, materials, ({ what }) => {
    if (what.startsWith("leaving out")) stop.abort();
  }, stop.signal);
  await assert.rejects(() => run, { name: "AbortError" });
  assert.equal(gpu.bytes, bytes);
});

Deno.test("a model that does not fit on the adapter is refused before anything is written", async () => {
  using small = await Gpu.open({ maxBinding: 10_000 });
  const { options, materials } = prepared;
  await assert.rejects(checkBakeoff(small, options, materials), {
    name: "RangeError",
    message: /would bind .* kB at once, and this adapter binds 10\.0 kB/,
  });
  const before = gpu.bytes, said: string[] = [];
  await checkBakeoff(gpu, options, materials, { onMessage: (line) => said.push(line) });
  assert.match(said.join(), /^memory: [\d.]+ MB for 1 model of [\d,]+ parameters in training/);
  assert.equal(gpu.bytes, before);
});
