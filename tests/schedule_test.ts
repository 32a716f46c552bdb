import assert from "node:assert/strict";
import { learningRate, type Schedule } from "../src/optim/schedule.ts";

const linear: Schedule = { peak: 1, warmup: 4, horizon: 8, decay: "linear" };
const rates = (schedule: Schedule, steps: number) =>
  Array.from({ length: steps }, (_, step) => learningRate(step, schedule));

Deno.test("learningRate() warms up linearly, peaks once warm, and falls linearly to 0", () => {
  assert.deepEqual(rates(linear, 10), [0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0, 0]);
});

Deno.test("learningRate() falls to the floor and stays there", () => {
  assert.deepEqual(rates({ ...linear, warmup: 0, horizon: 2, floor: 0.5 }, 4), [1, 0.75, 0.5, 0.5]);
});

Deno.test("learningRate() follows half a cosine", () => {
  const schedule: Schedule = { peak: 3, warmup: 1, horizon: 7, decay: "cosine", floor: 1 };
  // p = 0, 1/6, 1/3, 1/2, 2/3, 5/6, 1: 1 + (1 + cos(pi p))
  const half = Math.sqrt(3) / 2;
  const expected = [3, 3, 2 + half, 2.5, 2, 1.5, 2 - half, 1, 1];
  rates(schedule, 9).forEach((rate, step) => {
    assert.ok(Math.abs(rate - expected[step]) < 1e-12, `step ${step}: ${rate}`);
  });
});

Deno.test("learningRate() stays at the peak when constant, floor or not", () => {
  const schedule: Schedule = { ...linear, decay: "constant", floor: 0.1 };
  assert.deepEqual(rates(schedule, 6), [0.25, 0.5, 0.75, 1, 1, 1]);
  assert.equal(learningRate(1000, schedule), 1);
});

Deno.test("learningRate() takes a horizon that is all warm-up", () => {
  assert.deepEqual(rates({ ...linear, warmup: 2, horizon: 2 }, 3), [0.5, 1, 0]);
});

Deno.test("learningRate() refuses what makes no sense, by name and value", () => {
  const refuses = (change: Partial<Schedule>, message: RegExp, step = 0) =>
    assert.throws(() => learningRate(step, { ...linear, ...change }), message);
  refuses({ peak: 0 }, /^RangeError: peak must be a positive number: 0$/);
  refuses({ peak: NaN }, /peak .*: NaN/);
  refuses({ warmup: 1.5 }, /^RangeError: warmup .*: 1\.5$/);
  refuses({ horizon: 3 }, /^RangeError: horizon .* not below warmup 4: 3$/);
  refuses({ warmup: 0, horizon: 0 }, /horizon .*: 0$/);
  refuses({ floor: 2 }, /^RangeError: floor must be between 0 and the peak 1: 2$/);
  refuses(
    { decay: "exponential" as "linear" },
    /^TypeError: decay must be one of linear, cosine, constant: exponential$/,
  );
  refuses({}, /^RangeError: step .*: -1$/, -1);
});
