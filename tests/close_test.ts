import assert from "node:assert/strict";
import { assertClose, assertRelativeL2, randomArray, randomIntegers, relativeL2 } from "./close.ts";

Deno.test("assertClose passes inside the tolerance and says how much was used", () => {
  assert.equal(assertClose([1, 2], [1, 2], { atol: 0 }), 0);
  assert.equal(assertClose([1.5, 2], [1, 2], { atol: 1 }), 0.5);
  assert.equal(assertClose([-3], [-2], { atol: 1 }), 1); // the edge belongs to the inside
  assert.equal(assertClose([3], [4], { atol: 1, rtol: 0.25 }), 0.5);
  assert.equal(assertClose([5], [4], { atol: 1, rtol: 0.25 }), 0.5);
});

Deno.test("assertClose fails on either side of the tolerance", () => {
  assert.throws(() => assertClose([1.2], [1], { atol: 0.1 }), assert.AssertionError);
  assert.throws(() => assertClose([0.8], [1], { atol: 0.1 }), assert.AssertionError);
  assert.throws(() => assertClose([-1.2], [-1], { atol: 0, rtol: 0.1 }), assert.AssertionError);
  assert.throws(() => assertClose([1], [-1], { atol: 0.1, rtol: 1 }), assert.AssertionError);
  assert.throws(() => assertClose([1e-30], [0], { atol: 0, rtol: 1 }), assert.AssertionError);
});

Deno.test("assertClose fails on what is not finite, however wide the tolerance", () => {
  for (const bad of [NaN, Infinity, -Infinity]) {
    assert.throws(() => assertClose([0, bad], [0, 0], { atol: 1e30 }), assert.AssertionError);
    assert.throws(() => assertClose([0, 0], [0, bad], { atol: 1e30 }), assert.AssertionError);
    assert.throws(() => assertClose([bad], [bad], { atol: 1, rtol: 1 }), assert.AssertionError);
  }
});

Deno.test("assertClose refuses empty and unequal lengths and useless tolerances", () => {
  assert.throws(() => assertClose([], [], { atol: 1 }), /nothing to compare/);
  assert.throws(() => assertClose([1], [1, 1], { atol: 1 }), /1 values, expected 2/);
  assert.throws(() => assertClose([1, 1], [1], { atol: 1 }), /2 values, expected 1/);
  for (const bad of [NaN, -1, Infinity]) {
    assert.throws(() => assertClose([1], [1], { atol: bad }), RangeError);
    assert.throws(() => assertClose([1], [1], { atol: 1, rtol: bad }), RangeError);
  }
});

Deno.test("assertClose names the worst element, both values and the share", () => {
  assert.throws(
    () => assertClose([1, 2, 7, 4.5], [1, 2, 3, 4], { atol: 0.25, what: "logits" }),
    /logits: 2 of 4 .*worst is \[2\]: 7, expected 3: 1600 % of the tolerance/,
  );
  assert.throws(
    () => assertClose([9, NaN], [0, 1], { atol: 1 }),
    /worst is \[1\]: NaN, expected 1/,
  );
});

Deno.test("relativeL2 is the distance over the expected norm", () => {
  assert.equal(relativeL2([3, 5], [3, 4]), 0.2);
  assert.equal(relativeL2([3, 3], [3, 4]), 0.2);
  assert.equal(relativeL2([0, 0], [0, 0]), 0);
  assert.equal(relativeL2([0, 1e-300], [0, 0]), Infinity); // though its square is 0
  assert.throws(() => relativeL2([], []), /nothing to compare/);
  assert.throws(() => relativeL2([1], [1, 2]), /1 values, expected 2/);
});

Deno.test("assertRelativeL2 fails when it must", () => {
  assert.equal(assertRelativeL2([3, 5], [3, 4], 0.4), 0.5);
  assert.equal(assertRelativeL2([0, 0], [0, 0], 0), 0);
  assert.throws(
    () => assertRelativeL2([3, 5], [3, 4], 0.1, "dweight"),
    /dweight: .* 0\.2000 of 2 values is 200\.0 % .*worst is \[1\]: 5, expected 4/,
  );
  assert.throws(() => assertRelativeL2([3, 3], [3, 4], 0.1), assert.AssertionError);
  assert.throws(() => assertRelativeL2([1e-30], [0], 1), assert.AssertionError);
  for (const bad of [NaN, Infinity, -Infinity]) {
    assert.throws(() => assertRelativeL2([bad, 1], [1, 1], 1e30), assert.AssertionError);
    assert.throws(() => assertRelativeL2([1, 1], [bad, 1], 1e30), assert.AssertionError);
    assert.throws(() => assertRelativeL2([bad], [bad], 1e30), assert.AssertionError);
    assert.throws(() => assertRelativeL2([1], [1], bad), RangeError);
  }
  assert.throws(() => assertRelativeL2([], [], 1), /nothing to compare/);
});

Deno.test("random inputs repeat with their seed, differ without it, and fill their range", () => {
  assert.deepEqual(randomArray(9, 4, 2), randomArray(9, 4, 2));
  assert.notDeepEqual(randomArray(9, 4), randomArray(9, 5));
  const values = randomArray(10_000, 1, 3);
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  const square = values.reduce((a, b) => a + b * b, 0) / values.length;
  assertClose([mean, square], [0, 3], { atol: 0.1, what: "mean and mean square" });
  assert.ok(values.every((x) => Math.abs(x) <= 3));
  const counts = new Array(7).fill(0);
  for (const i of randomIntegers(7_000, 2, 7)) counts[i]++;
  assertClose(counts, new Array(7).fill(1000), { atol: 150, what: "counts" });
});
