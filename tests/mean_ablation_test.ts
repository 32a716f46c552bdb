/** Heads that leave their mean output behind: the f64 oracle, the device, and both forms on disk. */
import assert from "node:assert/strict";
import { Activations } from "../src/gpt2/activations.ts";
import { initWeights, type Weights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { foldMeans, reshapeHeads, without } from "../src/gpt2/heads.ts";
import { allHeads } from "../src/gpt2/layout.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { meanAblate, measureMeans } from "../src/plasticity/mean_ablation.ts";
import { PlasticModel } from "../src/plasticity/plastic_model.ts";
import { assertClose, randomArray, randomIntegers, relativeL2 } from "./close.ts";
import { gpu } from "./gpu.ts";
import { gpt2Reference, meanOutput } from "./reference.ts";

const B = 3, T = 7;
// odd sizes, and sizes that software adapters read four at a time
const SIZES = [{ L: 3, NH: 3, C: 15, V: 23, T: 9 }, { L: 2, NH: 4, C: 32, V: 24, T: 8 }];
const HEADS = [{ layer: 0, head: 1 }, { layer: 0, head: 2 }, { layer: 1, head: 0 }];

/** Weights at which heads do something that is not zero in the mean. */
function weightsOf(config: ReturnType<typeof makeConfig>): Weights {
  const weights = initWeights(config, 5);
  let seed = 0;
  for (const [name, values] of weights) {
    if (!name.includes("ln_")) weights.set(name, randomArray(values.length, ++seed, 0.4));
  }
  return weights;
}

const CASES = SIZES.map((sizes) => {
  const config = makeConfig(sizes), { V, L, NH } = config;
  const batches = [1, 2].map((seed) => ({
    inputs: Uint32Array.from(randomIntegers(B * T, seed, V)),
    targets: Uint32Array.from(randomIntegers(B * T, seed + 10, V)),
  }));
  const gates = randomArray(L * NH, 77, 0.5).map((x) => 1 + x);
  return { config, batches, gates, weights: weightsOf(config) };
});

/** Both batches as one. */
function joined(batches: typeof CASES[0]["batches"]) {
  const join = (key: "inputs" | "targets") => batches.flatMap((batch) => [...batch[key]]);
  return { tokens: join("inputs"), targets: join("targets"), B: 2 * B, T };
}

for (const { config, batches, gates, weights } of CASES) {
  const { L, NH, HS, C } = config;
  const all = allHeads(config), left = without(all, HEADS);
  const batch = joined(batches);

  Deno.test(`mean ablation: folded weights equal replaced outputs in f64, C ${C}`, () => {
    const { attention } = gpt2Reference(config, weights, { ...batch, gates });
    const means = new Float64Array(L * NH * HS), replaced = new Map<string, Float64Array>();
    for (const { layer, head } of HEADS) {
      const gated = meanOutput(attention[layer], { A: C, HS, place: head });
      replaced.set(`${layer}.${head}`, gated);
      const gate = gates[layer * NH + head];
      means.set(gated.map((x) => x / gate), (layer * NH + head) * HS);
    }
    const folded = foldMeans(config, weights, all, { heads: HEADS, means, gates });
    const pruned = reshapeHeads(config, folded, all, left);
    const got = gpt2Reference(config, pruned, { ...batch, gates, live: left });
    const expected = gpt2Reference(config, weights, { ...batch, gates, replaced });
    assertClose(got.logits, expected.logits, { atol: 1e-6, what: "logits" }); // the bias is f32
    // and that is not what removal alone does
    const zeroed = reshapeHeads(config, weights, all, left);
    const removed = gpt2Reference(config, zeroed, { ...batch, gates, live: left });
    assert.ok(relativeL2(removed.logits, expected.logits) > 1e-2);
    assert.deepEqual([...folded].filter(([name, v]) => v !== weights.get(name)).map(([n]) => n), [
      "h.0.attn.c_proj.bias",
      "h.1.attn.c_proj.bias",
    ]);
  });

  Deno.test(`mean ablation: the device measures the means, C ${C}`, async () => {
    const live = without(all, [{ layer: 1, head: 2 }]);
    const own = reshapeHeads(config, weights, all, live);
    const { attention } = gpt2Reference(config, own, { ...batch, live });
    using model = new Gpt2(gpu, config, own, live);
    for (const training of [false, true]) {
      using acts = new Activations(model, { B, T, training });
      for (const _ of [1, 2]) { // nothing is left over from the time before
        const means = await measureMeans(model, acts, batches);
        for (const [layer, heads] of all.entries()) {
          for (const head of heads) {
            const place = live[layer].indexOf(head), from = (layer * NH + head) * HS;
            const mine = means.subarray(from, from + HS);
            if (place < 0) {
              assert.ok(mine.every(Number.isNaN));
              continue;
            }
            const A = live[layer].length * HS;
            const expected = meanOutput(attention[layer], { A, HS, place });
            assertClose(mine, expected, { atol: 1e-6, what: `${layer}.${head}` });
          }
        }
      }
      await assert.rejects(measureMeans(model, acts, []), /one batch of text at least/);
    }
  });

  Deno.test(`mean ablation: meanAblate and prune do it, both forms keep it, C ${C}`, async () => {
    const dir = await Deno.makeTempDir();
    try {
      const whole = { config, live: all, weights };
      const ablated = await meanAblate(gpu, whole, HEADS, { batches, B, T });
      assert.deepEqual(ablated.live, left);
      const replaced = new Map(HEADS.map(({ layer, head }) => {
        const { attention } = gpt2Reference(config, weights, batch);
        return [`${layer}.${head}`, meanOutput(attention[layer], { A: C, HS, place: head })];
      }));
      const expected = gpt2Reference(config, weights, { ...batch, replaced }).logits;
      const logits = (w: Weights) => gpt2Reference(config, w, { ...batch, live: left }).logits;
      assertClose(logits(ablated.weights), expected, { atol: 2e-5, what: "logits" });
      for (const form of ["padded", "compact"] as const) {
        await saveModel(`${dir}/${form}`, ablated, { form });
        assert.deepEqual((await loadModel(`${dir}/${form}`)).weights, ablated.weights);
      }

      using plastic = new PlasticModel(gpu, config, whole, { B, T });
      plastic.setGates(gates);
      await plastic.prune(HEADS, { means: await plastic.measureMeans(batches) });
      const gated = new Map([...replaced].map(([place]) => {
        const [layer, head] = place.split(".").map(Number);
        const { attention } = gpt2Reference(config, weights, { ...batch, gates });
        return [place, meanOutput(attention[layer], { A: C, HS, place: head })];
      }));
      assertClose(
        gpt2Reference(config, await plastic.model.weights(), { ...batch, gates, live: left })
          .logits,
        gpt2Reference(config, weights, { ...batch, gates, replaced: gated }).logits,
        { atol: 2e-5, what: "logits with gates" },
      );
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  });
}

Deno.test("mean ablation: what cannot be folded is refused", async () => {
  const [{ config, batches, weights }] = CASES;
  const { L, NH, HS } = config, all = allHeads(config);
  const means = new Float32Array(L * NH * HS).fill(NaN);
  assert.throws(() => foldMeans(config, weights, all, { heads: HEADS, means }), {
    name: "RangeError",
    message: "The mean output of layer 0 head 1 is NaN",
  });
  const live = without(all, HEADS), own = reshapeHeads(config, weights, all, live);
  await assert.rejects(
    meanAblate(gpu, { config, live, weights: own }, HEADS, { batches, B, T }),
    { name: "RangeError", message: "Layer 0 head 1 is not live" },
  );
  using plastic = new PlasticModel(gpu, config, { live: all, weights }, { B, T, keep: true });
  await assert.rejects(plastic.prune(HEADS, { means: means.fill(0) }), {
    name: "TypeError",
    message: /only where pruned heads are not kept/,
  });
  assert.equal(plastic.model.heads, L * NH);
});
