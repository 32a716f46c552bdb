/** Means, their errors, and differences that are paired by seed, against tables and numbers by hand. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { readCompared } from "../src/report/compared.ts";
import { compareRuns } from "../src/report/comparing.ts";
import { writeComparison } from "../src/report/comparison.ts";
import { adaptersInWords, comparisonRecord, pairedLines } from "../src/report/paired.ts";
import { estimate, studentT } from "../src/spread.ts";
import { type MadeRun, makeRun } from "./comparison_fixture.ts";

const near = (a: number, b: number, error = 1e-9) =>
  assert.ok(Math.abs(a - b) <= error * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

Deno.test("Student's t: quantiles as tables print them, and the closed forms", () => {
  const table = [
    ...[[1, 12.706], [2, 4.303], [3, 3.182], [4, 2.776], [5, 2.571], [6, 2.447], [7, 2.365]],
    ...[[8, 2.306], [9, 2.262], [10, 2.228], [15, 2.131], [29, 2.045], [30, 2.042], [120, 1.98]],
  ];
  for (const [freedom, value] of table) near(studentT(0.025, freedom), value, 5e-4);
  for (const tail of [0.4, 0.1, 0.025, 0.0005]) {
    near(studentT(tail, 1), Math.tan(Math.PI * (0.5 - tail)));
    const a = 4 * tail * (1 - tail);
    near(studentT(tail, 2), 2 * (0.5 - tail) * Math.sqrt(2 / a));
    near(
      studentT(tail, 4),
      2 * Math.sqrt(Math.cos(Math.acos(Math.sqrt(a)) / 3) / Math.sqrt(a) - 1),
    );
  }
  near(studentT(0.025, 100_001), 1.959964, 1e-4); // the normal's
});

Deno.test("an estimate: mean, deviation, error and interval", () => {
  const { n, mean, deviation, error, interval } = estimate([2, 4, 4, 4, 5, 5, 7, 9]);
  assert.deepEqual([n, mean], [8, 5]);
  near(deviation!, Math.sqrt(32 / 7));
  near(error!, Math.sqrt(32 / 7 / 8));
  near(interval![1] - 5, 2.364624 * error!, 1e-6);
  near(5 - interval![0], interval![1] - 5);
  assert.deepEqual(estimate([3]), { n: 1, mean: 3, least: 3, most: 3 });
  assert.deepEqual(estimate([2, 2]).interval, [2, 2]);
  assert.throws(() => estimate([]), RangeError);
});

async function withRuns(made: MadeRun[], action: (dirs: string[], dir: string) => Promise<void>) {
  const dir = await Deno.makeTempDir({ prefix: "pollard-paired-" });
  try {
    await action(await Promise.all(made.map((run, i) => makeRun(dir, `run${i}`, run))), dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const compared = async (dirs: string[]) => compareRuns(await Promise.all(dirs.map(readCompared)));

// The twins lie far apart, the differences close together: pairing shows what pooling would hide.
const FIVE: MadeRun[] = [4, 4.5, 5, 5.5, 6].map((twin, i) => ({
  ...{ seed: i + 1, twin, loss: twin + 0.01 * (i + 1), random: twin + (i % 2 ? 0.2 : -0.2) },
}));

Deno.test("differences are paired by seed; one that is smaller than its error is called that", async () => {
  await withRuns(FIVE, async (dirs, dir) => {
    const comparison = await compared(dirs);
    const { groups: [group] } = comparisonRecord(comparison);
    assert.deepEqual(group.seeds, [1, 2, 3, 4, 5]);
    near(group.unpruned_twin.deviation!, Math.sqrt(0.625));
    const { mean, error, interval, smaller_than_error, n } = group.pruned_minus_twin;
    assert.equal(n, 5);
    near(mean, 0.03, 1e-9);
    near(error!, Math.sqrt(0.00025 / 5), 1e-9);
    near(interval![0], 0.03 - 2.776445 * Math.sqrt(0.00005), 1e-6);
    assert.equal(smaller_than_error, false);
    assert.equal(group.pruned_minus_random!.smaller_than_error, true);
    const lines = pairedLines(comparison).join("\n");
    assert.match(
      lines,
      /^importance, 25 % of heads removed, 5 seeds; test loss in nats per token:$/m,
    );
    assert.match(
      lines,
      /pruned minus twin +\+0\.0300, 95 % confidence interval \+0\.0104 to \+0\.0496 \(n = 5\)$/m,
    );
    assert.match(lines, /pruned minus random .*\(n = 5\): smaller than its error$/m);

    const page = await Deno.readTextFile(await writeComparison(dirs));
    assert.match(page, /Paired by seed/);
    assert.match(page, /\+0\.0104 to \+0\.0496/);
    assert.match(page, /smaller than its error/);
    const text = await Deno.readTextFile(join(dir, "comparison.json"));
    assert.doesNotMatch(text, /null|NaN/);
    assert.deepEqual(JSON.parse(text).groups, [group]);
  });
});

Deno.test("a seed that ran twice counts once; one seed has no error; without random pruning there is none", async () => {
  const twice = [...FIVE.slice(0, 2), { ...FIVE[0], loss: FIVE[0].loss! + 0.02, adapter: "other" }];
  await withRuns(twice, async (dirs) => {
    const { groups: [{ pruned_minus_twin: own }] } = comparisonRecord(await compared(dirs));
    assert.equal(own.n, 2);
    near(own.mean, (0.02 + 0.02) / 2, 1e-9);
  });
  await withRuns([{ seed: 1, loss: 4.1, twin: 4 }], async (dirs) => {
    const comparison = await compared(dirs);
    const { groups: [group] } = comparisonRecord(comparison);
    assert.deepEqual(Object.keys(group.pruned), ["n", "mean", "least", "most"]);
    assert.ok(!("pruned_minus_random" in group) && !("random_pruning" in group));
    assert.match(pairedLines(comparison).join("\n"), /\+0\.1000 \(n = 1: no error can be given\)/);
  });
});

Deno.test("a comparison says so if runs used different adapters, or one continued on another", async () => {
  await withRuns(FIVE.slice(0, 2), async (dirs) => {
    assert.equal(adaptersInWords(await compared(dirs)), "");
    const event = { step: 1, time: 1, cycle: 0, arm: "pruned", event: "resume", path: "x" };
    const resumed = (adapter: string) =>
      Deno.writeTextFile(
        join(dirs[1], "events.jsonl"),
        JSON.stringify({ ...event, adapter }) + "\n",
      );
    await resumed("made-up adapter");
    assert.equal(adaptersInWords(await compared(dirs)), "");
    await resumed("another");
    const said =
      "The runs used different adapters, whose roundings differ: made-up adapter (1 run), " +
      "made-up adapter; then another (1 run).";
    const comparison = await compared(dirs);
    assert.equal(adaptersInWords(comparison), said);
    assert.deepEqual(comparisonRecord(comparison).adapters, {
      "made-up adapter": 1,
      "made-up adapter; then another": 1,
    });
    assert.ok((await Deno.readTextFile(await writeComparison(dirs))).includes(said));
  });
});
