import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { parseConfig } from "../src/gpt2/config.ts";
import { parameterLayout } from "../src/gpt2/layout.ts";
import { assertClose, assertRelativeL2 } from "./close.ts";
import {
  fixtureUrl,
  floats,
  integers,
  loadFixture,
  loadFixtureJson,
  loadFixtureWeights,
} from "./fixtures.ts";
import { adamwStep, clipScale, globalNorm, gpt2Reference } from "./reference.ts";

// PyTorch computed in f64 too, so all that may differ is the rounding of the fixture to f32: half
// a unit in the last place, 6e-8 of a value.
const ROUNDING = 2 ** -24;

const manifest = loadFixtureJson("manifest.json");
const reference = loadFixture("reference.safetensors");
const config = parseConfig(loadFixtureJson("tiny/config.json"));
const { L, NH } = config, B = manifest.B as number;

Deno.test("fixtures: the files are those that the manifest names", () => {
  assert.equal(manifest.magic, "pollard-fixtures-1", manifest.hint);
  for (const [file, hash] of Object.entries(manifest.sha256)) {
    const found = createHash("sha256").update(Deno.readFileSync(fixtureUrl(file))).digest("hex");
    assert.equal(found, hash, `${file} has changed: ${manifest.hint}`);
  }
});

for (const T of [37, 29]) {
  for (const kind of ["ones", "gated"]) {
    Deno.test(`fixtures: the oracle agrees with PyTorch at T ${T}, ${kind}`, () => {
      const found = gpt2Reference(config, loadFixtureWeights("tiny"), {
        tokens: integers(reference, `t${T}/tokens`),
        targets: integers(reference, `t${T}/targets`),
        gates: kind === "ones" ? undefined : floats(reference, "gates"),
        B,
        T,
      });
      const expected = (name: string) => floats(reference, `t${T}/${kind}/${name}`);
      const rounded = (name: string, actual: ArrayLike<number>) =>
        assertClose(actual, expected(name), { atol: 1e-10, rtol: ROUNDING, what: name });
      rounded("logits", found.logits);
      rounded("losses", found.losses);
      rounded("loss", [found.loss]);
      rounded("dgates", found.dgates);
      for (const name of ["entropy", "first", "znorm"] as const) {
        rounded(name, found.attention.flatMap((layer) => [...layer[name]]));
      }
      for (const { name } of parameterLayout(config)) {
        assertRelativeL2(found.grads.get(name)!, expected(`grad/${name}`), ROUNDING, name);
      }
      assert.equal(found.dgates.length, B * L * NH);
    });
  }
}

Deno.test("fixtures: an untied head has its own gradient", () => {
  const untied = parseConfig(loadFixtureJson("untied/config.json"));
  assert.equal(untied.tied, false);
  const found = gpt2Reference(untied, loadFixtureWeights("untied"), {
    tokens: integers(reference, "untied/tokens"),
    targets: integers(reference, "untied/targets"),
    B,
    T: untied.T,
  });
  const expected = (name: string) => floats(reference, `untied/${name}`);
  assertClose(found.logits, expected("logits"), { atol: 1e-10, rtol: ROUNDING });
  assertClose([found.loss], expected("loss"), { atol: 0, rtol: ROUNDING });
  for (const name of ["lm_head.weight", "wte.weight"]) {
    assertRelativeL2(found.grads.get(name)!, expected(`grad/${name}`), ROUNDING, name);
  }
});

Deno.test("fixtures: half-precision checkpoints give PyTorch's logits", () => {
  for (const dtype of ["f16", "bf16"]) {
    const { logits } = gpt2Reference(config, loadFixtureWeights(`tiny-${dtype}`), {
      tokens: integers(reference, "t29/tokens"),
      targets: integers(reference, "t29/targets"),
      B,
      T: 29,
    });
    const expected = floats(reference, `${dtype}/logits`);
    assertClose(logits, expected, { atol: 1e-10, rtol: ROUNDING, what: dtype });
  }
});

Deno.test("fixtures: the shards hold the tiny model's weights", () => {
  const index = loadFixtureJson("tiny-sharded/model.safetensors.index.json");
  assert.equal(new Set(Object.values(index.weight_map)).size, 2);
  const shards = loadFixtureWeights("tiny-sharded"), whole = loadFixtureWeights("tiny");
  assert.equal(shards.size, whole.size);
  for (const [name, values] of whole) assert.deepEqual(shards.get(name), values, name);
});

Deno.test("fixtures: 20 steps of AdamW follow PyTorch's losses and norms", () => {
  const { steps, batches, T, lr, beta1, beta2, eps, weight_decay, max_norm } = manifest.adamw;
  const tokens = integers(reference, "adamw/tokens");
  const targets = integers(reference, "adamw/targets");
  const layout = parameterLayout(config);
  const weights = new Map(
    Array.from(loadFixtureWeights("tiny"), ([name, values]) => [name, Float64Array.from(values)]),
  );
  const zeros = () => new Map(layout.map(({ name, size }) => [name, new Float64Array(size)]));
  const m = zeros(), v = zeros(), losses: number[] = [], norms: number[] = [];
  for (let step = 1; step <= steps; step++) {
    const at = (step - 1) % batches * B * T;
    const { loss, grads } = gpt2Reference(config, weights, {
      tokens: tokens.subarray(at, at + B * T),
      targets: targets.subarray(at, at + B * T),
      B,
      T,
    });
    const norm = globalNorm(grads.values());
    losses.push(loss);
    norms.push(norm);
    for (const { name, decay } of layout) {
      const next = adamwStep(
        {
          param: weights.get(name)!,
          grad: grads.get(name)!,
          m: m.get(name)!,
          v: v.get(name)!,
        },
        {
          lr,
          beta1,
          beta2,
          eps,
          weightDecay: decay ? weight_decay : 0,
          step,
          gradScale: clipScale(norm, max_norm),
        },
      );
      weights.set(name, next.param);
      m.set(name, next.m);
      v.set(name, next.v);
    }
  }
  const tolerance = { atol: 0, rtol: ROUNDING };
  assertClose(losses, floats(reference, "adamw/losses"), { ...tolerance, what: "losses" });
  assertClose(norms, floats(reference, "adamw/norms"), { ...tolerance, what: "norms" });
});
