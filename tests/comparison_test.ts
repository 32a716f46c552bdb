/** Comparisons of made-up runs, with numbers by hand. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { SWEEP_FILE, type SweepRun } from "../src/record.ts";
import { readCompared, readSwept } from "../src/report/compared.ts";
import { drawComparison, drawSweep, writeComparison } from "../src/report/comparison.ts";
import { compareRuns, type Comparison, type Group, spreadOf } from "../src/report/comparing.ts";
import { comparisonFigure, trajectoryFigure } from "../src/report/comparison_figures.ts";
import { comparisonVerdict, differencesInWords } from "../src/report/comparison_words.ts";
import { pageHtml } from "../src/report/document.ts";
import { assertClose } from "./close.ts";
import { browserTest, withPage } from "./browser.ts";
import { madeCycle, type MadeRun, makeRun } from "./comparison_fixture.ts";
import { bare, HOLES, marks } from "./page_checks.ts";

/** Runs in a folder that is gone afterwards. */
async function withRuns(
  made: Record<string, MadeRun>,
  action: (dirs: string[], parent: string) => Promise<void>,
): Promise<void> {
  const parent = await Deno.makeTempDir({ prefix: "pollard-comparison-" });
  try {
    const dirs: string[] = [];
    for (const [name, one] of Object.entries(made)) dirs.push(await makeRun(parent, name, one));
    await action(dirs, parent);
  } finally {
    await Deno.remove(parent, { recursive: true });
  }
}

async function compared(made: Record<string, MadeRun>): Promise<Comparison> {
  let found: Comparison | undefined;
  await withRuns(made, async (dirs) => {
    found = compareRuns(await Promise.all(dirs.map(readCompared)));
  });
  return found!;
}

function group(comparison: Comparison, name: string, level: number): Group {
  const series = comparison.series.find((one) => one.name === name);
  assert.ok(series, `no series ${name}: ${comparison.series.map((one) => one.name)}`);
  return series.groups.find((one) => one.level === level)!;
}

/** What a page says, without its tags. */
function words(html: string): string {
  return html.slice(html.indexOf("<body>")).replaceAll(/<[^>]*>/g, " ").replaceAll(/\s+/g, " ");
}

/** Two strategies with three seeds, at one level; random pruning is the same beside both. */
const SIX: Record<string, MadeRun> = {
  a1: { strategy: "importance", seed: 1, loss: 4.01, twin: 4, random: 4.1 },
  a2: { strategy: "importance", seed: 2, loss: 4.03, twin: 4.01, random: 4.09 },
  a3: { strategy: "importance", seed: 3, loss: 4.02, twin: 3.99, random: 4.1 },
  b1: { strategy: "entropy", seed: 1, loss: 4.05, twin: 4, random: 4.1 },
  b2: { strategy: "entropy", seed: 2, loss: 4.1, twin: 4.01, random: 4.09 },
  b3: { strategy: "entropy", seed: 3, loss: 4.06, twin: 3.99, random: 4.1 },
};

const close = (actual: unknown, expected: number) =>
  assertClose([actual as number], [expected], { atol: 1e-12, rtol: 0, what: "by hand" });

Deno.test("mean, spread and standard deviation are those of pen and paper", async () => {
  const comparison = await compared(SIX);
  const own = group(comparison, "importance", 0.25);
  // 0.01, 0.02 and 0.03 from the twin; -0.09, -0.06 and -0.08 from random pruning
  close(own.twin.mean, 0.02);
  close(own.twin.least, 0.01);
  close(own.twin.most, 0.03);
  close(own.twin.deviation, 0.01);
  close(own.random!.mean, -0.23 / 3);
  assert.deepEqual([own.better, own.beside, own.share], [3, 3, 0.25]);
  const other = group(comparison, "entropy", 0.25);
  assert.deepEqual([other.better, other.beside], [2, 3]); // with seed 2 it is worse than random
  assert.equal(spreadOf([1, 2]).deviation, undefined);
});

Deno.test("a control that is the same run twice counts once, another one does not", async () => {
  const floor = (await compared(SIX)).series.find((one) => one.floor)!;
  assert.equal(floor.name, "random pruning, control");
  assert.equal(floor.groups.length, 1);
  assert.deepEqual(floor.groups[0].points.map(({ seed }) => seed), [1, 2, 3]);
  close(floor.groups[0].twin.mean, (0.1 + 0.08 + 0.11) / 3);
  const { b1, ...rest } = SIX;
  const more = await compared({ ...rest, b1: { ...b1, random: 4.2 } });
  assert.equal(more.series.find((one) => one.floor)!.groups[0].points.length, 4);
});

Deno.test("a run that is there twice is one seed, and a random strategy is not the control", async () => {
  const { a1, a2 } = SIX;
  const comparison = await compared({ a1, again: a1, a2, r: { ...a1, strategy: "random" } });
  assert.equal(group(comparison, "importance", 0.25).points.length, 2);
  assert.deepEqual(comparison.series.map(({ name, floor }) => [name, floor]), [
    ["importance", false],
    ["random, as a strategy", false],
    ["random pruning, control", true],
  ]);
});

Deno.test("the verdict goes as far as the seeds do", async () => {
  const overlap = comparisonVerdict(await compared({ ...SIX, b1: { ...SIX.b1, loss: 4.02 } }));
  assert.match(overlap.join(" "), /Their spreads overlap: the order is not settled\./);
  const [first, order, random] = comparisonVerdict(await compared(SIX));
  assert.equal(
    first,
    "At 25 % of heads removed, importance loses least against its unpruned twin: +0.0200 nats per " +
      "token (+0.0100 to +0.0300 over 3 seeds); then comes entropy: +0.0700 nats per token " +
      "(+0.0500 to +0.0900 over 3 seeds).",
  );
  assert.equal(order, "Their spreads do not overlap.");
  assert.equal(
    random,
    "Against the random pruning beside it, importance is better in 3 of 3 runs (in the mean " +
      "−0.0767 nats per token).",
  );
  const { a1, a2, b1, b2 } = SIX;
  const two = comparisonVerdict(await compared({ a1, a2, b1, b2 }));
  assert.match(two.join(" "), /do not overlap; 2 seeds are few/);
  const one = comparisonVerdict(await compared({ a1, b1 }));
  assert.match(one.join(" "), /With one seed there is no spread: the order is not settled\./);
  const alone = comparisonVerdict(await compared({ a1: { ...a1, loss: 3.98 } }));
  assert.match(alone[0], /^With 25 % of heads removed by importance, .* −0\.0200 nats per token/);
  assert.match(alone.join(" "), /One seed: there is no spread\./);
});

Deno.test("the verdict is of the level that most have, and tells where another does best", async () => {
  const low = { level: 0.1, removed: 3, twin: 4, random: 4.1 };
  const verdict = comparisonVerdict(
    await compared({
      ...SIX,
      low1: { ...low, strategy: "importance", loss: 4.02 },
      low2: { ...low, strategy: "entropy", loss: 4.01 },
      top: { ...low, level: 0.9, removed: 28, strategy: "importance", loss: 5 },
    }),
  ).join(" ");
  assert.match(verdict, /^At 25 % of heads removed, importance/);
  assert.match(verdict, /Elsewhere another does best: entropy at 9\.4 %\.$/);
});

Deno.test("runs that differ in more than strategy, level and seed are not mixed", async () => {
  const comparison = await compared({
    ...SIX,
    other: { ...SIX.a1, config: { learning_rate: 1e-3 } },
    beside: { ...SIX.a2, seed: 4, config: { output_dir: "elsewhere", device: "cpu" } },
  });
  assert.equal(comparison.mixed, true);
  assert.equal(group(comparison, "importance (A)", 0.25).points.length, 4);
  assert.equal(group(comparison, "importance (B)", 0.25).points.length, 1);
  assert.match(differencesInWords(comparison), /more than strategy, level and seed: in learning_r/);
  assert.match(comparisonVerdict(comparison)[0], /importance \(A\) loses least .* entropy \(A\)/);
  // an option that came later changes nothing where it is off
  const off = { ...SIX, a4: { ...SIX.a1, seed: 4, config: { fold_means: false } } };
  assert.equal((await compared(off)).mixed, false);
  const on = { ...SIX, a4: { ...SIX.a1, seed: 4, config: { fold_means: true } } };
  assert.match(differencesInWords(await compared(on)), /in fold_means/);
  assert.match(differencesInWords(await compared(SIX)), /have the same configuration, model and/);
});

Deno.test("step by step, runs that trained otherwise are not seeds of one another", async () => {
  const cycles = (training_steps: number) => [
    { ...madeCycle(1, 0.25, { own: 0.1, twin: 0, random: 0.2 }), training_steps },
  ];
  const run = { strategy: "importance", twin: 4, planned: false };
  const comparison = await compared({
    short: { ...run, seed: 1, loss: 4.1, cycles: cycles(10) },
    long: { ...run, seed: 2, loss: 3.9, cycles: cycles(1000) },
    planned: { ...run, seed: 3, loss: 3.9, cycles: cycles(1000), planned: true },
  });
  assert.deepEqual(
    comparison.series.map(({ name, groups }) => [name, groups[0].points.length]).sort(),
    [["importance (A)", 1], ["importance (B)", 1], ["importance (C)", 1]],
  );
  assert.match(differencesInWords(comparison), /training steps of each cycle/);
});

Deno.test("two runs of one seed are no spread", async () => {
  const run = { strategy: "importance", seed: 1, twin: 4 };
  const svg = comparisonFigure(
    await compared({ a: { ...run, loss: 4.1 }, b: { ...run, loss: 4.2 } }),
  )!;
  assert.doesNotMatch(svg, /importance, spread/);
});

Deno.test("integrated runs are a series of their controller, by the heads they ended with", async () => {
  const both = { kind: "integration", strategy: "mlp", twin: 4, random: 4.1 } as const;
  const comparison = await compared({
    ...SIX,
    i1: { ...both, seed: 1, removed: 8, loss: 4.03 },
    i2: { ...both, seed: 2, removed: 10, loss: 4.05 },
  });
  const { groups, kind } = comparison.series.find(({ name }) => name === "mlp, integrated")!;
  assert.equal(kind, "integration");
  assert.equal(groups.length, 1);
  close(groups[0].share, 9 / 32);
  close(groups[0].twin.mean, 0.04);
  assert.match(differencesInWords(comparison), /Integrated runs train, prune and regrow by other/);
  assert.match(comparisonVerdict(comparison)[0], /^At 25 %/);
});

Deno.test("the figures hold every seed once, the floor and the twin's line", async () => {
  const cycles = (own: number) => [
    madeCycle(1, 0.125, { own: own / 2, twin: 0, random: 0.05 }),
    madeCycle(2, 0.25, { own, twin: 0, random: 0.1 }),
  ];
  const comparison = await compared(
    Object.fromEntries(
      Object.entries(SIX).map(([name, run]) => [name, { ...run, cycles: cycles(run.loss! - 4) }]),
    ),
  );
  const svg = comparisonFigure(comparison)!;
  assert.equal(marks(svg, "importance, one seed"), 3);
  assert.equal(marks(svg, "importance, spread"), 1);
  assert.equal(marks(svg, "importance"), 1);
  assert.equal(marks(svg, "random pruning, control, one seed"), 3);
  assert.equal(marks(svg, "unpruned twin"), 1);
  for (const text of ["25 %", "8 heads", "importance", "entropy", "random pruning, control"]) {
    assert.ok(svg.includes(`>${text}<`), `the figure lacks ${text}`);
  }
  assert.match(svg, /importance: \+0\.0200 at 25 % \(\+0\.0100 to \+0\.0300\)/);
  const path = trajectoryFigure(comparison)!;
  assert.equal(marks(path, "importance, level 25 %, after a cycle"), 2);
  // entropy: 0.05, 0.1 and 0.06 at the end, half as much after the first cycle
  assert.match(path, /entropy to 25 %: \+0\.0350 at 12\.5 %, \+0\.0700 at 25 %/);
  // random pruning beside both strategies, cycle by cycle
  const floor = comparison.trajectories.find((one) => one.floor)!;
  floor.points.forEach(({ value }, i) => close(value, [0.05, 0.1][i]));
  assert.equal(trajectoryFigure(await compared(SIX)), undefined);
});

Deno.test("every run is listed with its state, and why it is not compared", async () => {
  const evil = `<script>alert(1)</script>`;
  await withRuns({
    ...SIX,
    cut: { strategy: "entropy", finished: false },
    alone: { loss: 4 },
    broken: { loss: null, twin: 4 },
    odd: { strategy: evil, twin: 4 },
  }, async (dirs, parent) => {
    await Deno.writeTextFile(join(dirs[0], "report.html"), "its own");
    const html = pageHtml(await drawComparison([...dirs, dirs[0]], parent));
    const text = words(html);
    assert.match(text, /10 runs: 8 finished, 1 unfinished, 1 failed\./);
    assert.match(text, /unfinished: nothing was trained yet/);
    assert.match(text, /finished: no unpruned twin was trained: it cannot be compared/);
    assert.match(text, /failed: its test loss is not a number/);
    assert.ok(html.includes(`<a href="a1/report.html">a1</a>`));
    assert.ok(!html.includes(`href="a2`), "it has no report to lead to");
    assert.ok(!html.includes("<script"), "text of a run is escaped");
    assert.ok(!html.includes(parent), "folders are named as they are seen from the page");
    assert.doesNotMatch(bare(html), HOLES);
  });
});

Deno.test("a comparison without anything to compare says so", async () => {
  await withRuns({ cut: { finished: false }, alone: { loss: 4 } }, async (dirs, parent) => {
    const page = await drawComparison(dirs, parent);
    assert.match(page.verdict, /^None of 2 runs can be compared yet: .* 1 not finished\.$/);
    assert.deepEqual(page.figures, []);
  });
});

Deno.test("the comparison goes beside the runs, never into one, and nothing else is touched", async () => {
  await withRuns(SIX, async (dirs, parent) => {
    const refused = { name: "TypeError", message: /a1 is the folder of a run, .* --output$/ };
    await assert.rejects(writeComparison(dirs, { output: dirs[0] }), refused);
    await assert.rejects(
      writeComparison([...dirs, join(parent, "none")]),
      /no folder at .*none$/,
    );
    assert.deepEqual(
      new Set([...Deno.readDirSync(parent)].map(({ name }) => name)),
      new Set(Object.keys(SIX)),
    );
    const output = join(parent, "new", "place");
    await writeComparison(dirs, { output });
    const page = await Deno.readTextFile(join(output, "report.html"));
    assert.match(words(page), /\.\.\/\.\.\/a1/);
    assert.deepEqual([...Deno.readDirSync(join(output, "figures"))].map(({ name }) => name), [
      "comparison.svg",
    ]);
    assert.ok(page.length < 3_000_000);
  });
});

Deno.test("a sweep's page has its failed, stopped and waiting runs, with the reason", async () => {
  await withRuns(
    { ...SIX, cut: { finished: false }, lost: { finished: false } },
    async (_, dir) => {
      const event = {
        step: 3,
        time: 1,
        cycle: 0,
        arm: "pruned",
        event: "failed",
        reason: "lost it",
      };
      await Deno.writeTextFile(join(dir, "lost", "events.jsonl"), JSON.stringify(event) + "\n");
      await Deno.writeTextFile(join(dir, "a2", "config.json"), "{");
      const run = { strategy: "importance", pruning_level: 0.25 };
      const folders = ["a1", "a2", "cut", "lost", "none"];
      const runs = folders.map((folder, i) => ({ ...run, seed: i + 1, folder }));
      const record = { format: 2, created: "", options: {}, runs };
      await Deno.writeTextFile(join(dir, SWEEP_FILE), JSON.stringify(record));
      const text = words(pageHtml(await drawSweep(dir)));
      assert.match(text, /9 runs: 5 finished, 2 failed, 1 unfinished, 1 waiting\./);
      assert.match(text, /failed: lost it/);
      assert.match(text, /failed: Cannot parse .*a2.config\.json/);
      assert.match(text, /importance-0\.25-seed5 importance 25 % 5 waiting/);
      const memory: SweepRun[] = [{ ...runs[4], state: "failed", message: "the disk is full" }];
      assert.match(
        words(pageHtml(await drawSweep(dir, await readSwept(dir, memory)))),
        /failed: the disk is full/,
      );
    },
  );
});

browserTest(
  "in a browser, the comparison says nothing to the console, and fits a phone",
  async () => {
    await withRuns({ ...SIX, cut: { finished: false } }, async (dirs, parent) => {
      await Deno.writeTextFile(
        join(dirs[0], "report.html"),
        "<!doctype html><title>its own</title>",
      );
      const url = pathToFileURL(await writeComparison(dirs, { output: parent })).href;
      for (const colorScheme of ["light", "dark"] as const) {
        await withPage(async (page, { errors }) => {
          await page.goto(url);
          assert.match(
            await page.locator("h1").innerText(),
            /^At 25 % of heads removed, importance/,
          );
          const [across, wide] = await page.evaluate(() => [
            document.documentElement.scrollWidth,
            document.documentElement.clientWidth,
          ]);
          assert.ok(across <= wide, `the page is ${across} wide on a screen of ${wide}`);
          await page.locator("a", { hasText: "a1" }).click();
          assert.equal(await page.title(), "its own");
          assert.deepEqual(errors, []);
        }, { colorScheme, viewport: { width: 390, height: 800 } });
      }
    });
  },
);
