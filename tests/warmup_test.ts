/** When a warm-up has settled, on losses whose shape is known. */
import assert from "node:assert/strict";
import { detectWarmupEnd, warmupSegments } from "../src/plasticity/warmup.ts";
import { Random } from "../src/random.ts";
import { assertClose } from "./close.ts";

const curve = (steps: number, of: (step: number) => number) =>
  Array.from({ length: steps }, (_, i) => of(i));
const options = { patience: 15, minSteps: 50 };
const noisy = (losses: number[], sigma: number, seed = 1) => {
  const random = new Random(seed);
  return losses.map((loss) => loss + sigma * random.normal());
};

Deno.test("a parabola's slope and curvature are found to the last digit", () => {
  // y = 0.001 x^2 - 0.02 x + 3; a mean over 5 steps adds 0.001 * 2 and shifts by two steps
  const { parts } = detectWarmupEnd(curve(60, (x) => 0.001 * x * x - 0.02 * x + 3), options);
  assertClose([parts.curvature!], [0.002], { atol: 1e-9, rtol: 0 });
  assertClose([parts.slope!], [2 * 0.001 * 57 - 0.02], { atol: 1e-9, rtol: 0 });
  assert.equal(parts.curve_stable, true);
});

Deno.test("a loss that falls goes on, one that has settled does not", () => {
  const falling = curve(150, (x) => 8 - 0.03 * x);
  const { stable, reason } = detectWarmupEnd(falling, options);
  assert.equal(stable, false);
  assert.equal(reason, "the smoothed loss was lowest 0 steps ago");
  const settled = noisy(curve(150, (x) => 4 + 4 * Math.exp(-x / 12)), 0.02);
  const first = settled.findIndex((_, i) => detectWarmupEnd(settled.slice(0, i), options).stable);
  assert.ok(first > 60 && first < 140, `${first}`);
  const end = detectWarmupEnd(settled.slice(0, first), options);
  assert.ok(end.parts.steps_without_decrease >= 15);
  assert.match(end.reason, /^the loss is stable: its curve is flat|^the smoothed loss was lowest/);
});

Deno.test("nothing is stable before minSteps, and patience twice over ends it anyway", () => {
  const flat = curve(49, () => 4);
  assert.equal(detectWarmupEnd(flat, options).reason, "step 49 is before 50");
  const rises = [...curve(20, (x) => 5 - 0.05 * x), ...curve(40, (x) => 4 + 0.001 * x)];
  const { stable, reason, parts } = detectWarmupEnd(rises, { patience: 15, minSteps: 50 });
  assert.ok(parts.steps_without_decrease > 30);
  assert.deepEqual([stable, reason], [
    true,
    `the smoothed loss was lowest ${parts.steps_without_decrease} steps ago`,
  ]);
});

Deno.test("two of three looks must agree", () => {
  // flat at the end, windows not shrinking, and no drop behind it: one look alone
  const wave = curve(200, (x) => 4 - 2e-4 * x + 0.004 * Math.sin(x / 4));
  const at = curve(200, (i) => i).find((i) => {
    const { parts } = detectWarmupEnd(wave.slice(0, i), { patience: 5, minSteps: 40 });
    return i >= 80 && parts.steps_without_decrease >= 5 && parts.steps_without_decrease <= 10 &&
      !parts.windows_stable;
  })!;
  const { stable, reason, parts } = detectWarmupEnd(wave.slice(0, at), {
    patience: 5,
    minSteps: 40,
  });
  assert.deepEqual(
    [parts.curve_stable, parts.windows_stable, parts.halves_stable],
    [true, false, false],
  );
  assert.deepEqual([stable, reason], [false, "of three looks at the loss 1 call it stable"]);
  // the same, after a drop most of which is behind it: two looks
  const dropped = [...curve(20, (x) => 6 - 0.1 * x), ...wave.slice(0, at)];
  const end = detectWarmupEnd(dropped, { patience: 5, minSteps: 40 });
  assert.equal(end.parts.halves_stable, true);
  assert.equal(end.reason, "the loss is stable: its curve is flat, most of its drop is behind it");
});

Deno.test("a lucky batch does not start the count anew", () => {
  const losses = curve(80, () => 4).map((loss, i) => i === 75 ? 3.9 : loss);
  const even = losses.map((loss, i) => i < 20 ? loss - 0.1 : loss);
  assert.ok(detectWarmupEnd(even, options).parts.steps_without_decrease > 50);
});

Deno.test("thirds tell whether each still learned", () => {
  const losses = [...curve(30, (x) => 6 - 0.1 * x), ...curve(60, () => 3)];
  const segments = warmupSegments(losses);
  assert.deepEqual(segments.map(({ steps }) => steps), [30, 30, 30]);
  assert.deepEqual(segments.map(({ still_improving }) => still_improving), [true, false, false]);
  assertClose([segments[0].first_loss, segments[0].last_loss], [5.8, 3.3], { atol: 1e-9, rtol: 0 });
  assert.deepEqual(warmupSegments(losses.slice(0, 14)), []);
});

Deno.test("losses and options out of range are refused", () => {
  assert.throws(() => detectWarmupEnd([NaN], options), { message: /a loss/ });
  assert.throws(() => detectWarmupEnd([], { ...options, patience: 0 }), { message: /patience/ });
  assert.throws(() => detectWarmupEnd([], { ...options, minSteps: -1 }), { message: /minSteps/ });
  assert.equal(detectWarmupEnd([], { patience: 1, minSteps: 0 }).stable, false);
});
