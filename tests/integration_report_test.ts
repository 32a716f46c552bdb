/** The page of an integrated run, drawn from made-up records. */
import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type DecisionRound,
  type IntegrationCycle,
  type IntegrationRecord,
} from "../src/record.ts";
import { pageHtml } from "../src/report/document.ts";
import { glanceFigure, headsLeftFigure } from "../src/report/glance.ts";
import { integrationHeading, integrationVerdict } from "../src/report/integration.ts";
import { INTEGRATION_FIGURES, renderIntegration } from "../src/report/integration_page.ts";
import { pushApart } from "../src/report/labels.ts";
import { headLives, lifeFigure } from "../src/report/life.ts";
import { predictionsFigure } from "../src/report/predictions.ts";
import { readIntegration, readKind } from "../src/report/read.ts";
import { ratingsFigure } from "../src/report/strategies.ts";
import { writeReport } from "../src/report/write.ts";
import { FIVE, syntheticIntegration } from "./integration_fixture.ts";
import { bare, HOLES, REACHES_OUT, times } from "./page_checks.ts";
import { recordFiles, withFiles } from "./record_files.ts";

function page(run: IntegrationRecord): string {
  return pageHtml(renderIntegration(run));
}

/** The marks in the groups with this description: no group is no mark. */
function marks(svg: string | undefined, label: string): number {
  assert.ok(svg !== undefined, "the figure is missing");
  return svg.split(`aria-description="${label}"`).slice(1).reduce(
    (sum, group) =>
      sum + times(group.slice(0, group.indexOf("</g>")), /<(?:path|rect|text|line|circle)[ >]/),
    0,
  );
}

/** What stands under a heading, up to the next. */
function sectionOf(html: string, name: string): string {
  const [, after] = html.split(`<h2>${name}</h2>`);
  assert.ok(after !== undefined, `no section ${name}`);
  return after.slice(0, after.indexOf("</section>"));
}

/** The cells of each table in some HTML, its head first. */
function tables(html: string): string[][][] {
  return [...html.matchAll(/<table.*?<\/table>/gs)].map(([table]) =>
    [...table.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row]) =>
      [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => cell)
    )
  );
}

/** Fails where a value that was not there shows, with what stands around it. */
function assertWhole(html: string): void {
  const text = bare(html);
  const at = text.search(HOLES);
  assert.ok(at < 0, text.slice(Math.max(0, at - 200), at + 50));
}

/** Two layers of two heads, two cycles by hand: the first is kept, the second rolled back. */
function byHand(): IntegrationRecord {
  const [first, , failed] = syntheticIntegration({ rounds: 0 }).cycles;
  const at = (loss: number, heads: number) => ({ loss, perplexity: Math.exp(loss), heads });
  const texts = { degeneration: 0.5, baseline_degeneration: 0.25, quality: 0.875 };
  const one: IntegrationCycle = {
    ...first,
    ...{ heads_before: [[0, 1], [1]], pruned_heads: [[0, 0], [0, 1]], grown_heads: [[0, 1]] },
    ...{ pruning_level: 0.14, growth_ratio: 0.5, training_steps: 60, cycle_time_s: 61 },
    ...{ initial: at(3.5001, 3), pruned: at(3.7002, 1), grown: at(3.6003, 2) },
    final: { ...at(3.4004, 2), ...texts },
    ...{ unpruned_twin_loss: 3.39, random_pruning_loss: 3.4504, perplexity_improvement: 0.0949 },
    advice: { pruned_percent: 25, preferences: { entropy: 1.25 }, controller_lr: 0.0081 },
    gates: [[0, 0.5], [0, 0.75]],
  };
  const two: IntegrationCycle = {
    ...failed,
    ...{ cycle: 2, heads_before: [[1], [1]], pruned_heads: [[1, 1]], grown_heads: [[0, 0]] },
    ...{ initial: at(3.4, 2), pruned: at(3.8, 1), grown: at(3.79, 2), final: at(3.7, 2) },
    ...{ perplexity_improvement: -0.35, advice: { ...one.advice }, gates: one.gates },
  };
  const run = syntheticIntegration({ rounds: 0, finished: false });
  const place = { step: 0, time: 1, cycle: 1, arm: "pruned" } as const;
  const common = { ...place, layer: 0, strategy: "entropy", rank: 2, of: 3 };
  run.cycles = [one, two];
  run.events = [
    { ...common, event: "prune", head: 1, score: 0.123456 },
    { ...common, event: "grow", head: 1, score: 7, strategy: "balanced", regrowth: "warm" },
    { ...common, event: "prune", head: 1, score: 99, arm: "random_pruning" },
  ];
  return run;
}

Deno.test("the page begins with the verdict, and with whom and what it is about", () => {
  const run = syntheticIntegration();
  const html = page(run);
  assert.match(
    html,
    /<h1>With 24 of 32 heads the best model’s test loss is 3\.2141 nats per token: 0\.0116 worse than its unpruned twin \(3\.2025\), 0\.0257 better than random pruning and growth \(3\.2398\)\.<\/h1>/,
  );
  assert.ok(
    html.includes(
      "It was made by cycle 5, the best by perplexity and heads together; of 5 cycles 4 were kept; validation perplexity 30.57 → ",
    ),
  );
  assert.ok(
    html.includes(
      "embedded on moby_dick, 4 layers of 8 heads, 5 cycles in 4 min on llvmpipe (LLVM 19.1, 256 " +
        "bits). One run, seed 7: its differences carry no error bar.",
    ),
  );
  assert.deepEqual([...html.matchAll(/<h2>(.*?)<\/h2>/g)].map(([, name]) => name), [
    "Cycles at a glance",
    "Cycles",
    "Heads, moment by moment",
    "The life of every head",
    "Entropy, gradient and importance",
    "Ratings of strategies",
    "What it remembers",
    "What the controller predicted, and what came",
    "The controller",
    "Run",
    "Configuration",
    "Environment",
    "Data",
  ]);
});

Deno.test("the page stands alone: nothing to fetch, nothing to run, headings in order", () => {
  const run = syntheticIntegration();
  const html = page(run), { figures } = renderIntegration(run);
  assert.deepEqual(figures.map(({ name }) => name), [...INTEGRATION_FIGURES]);
  assert.doesNotMatch(html.replaceAll('xmlns="http://www.w3.org/2000/svg"', ""), /https?:\/\//);
  assert.doesNotMatch(bare(html), REACHES_OUT);
  assertWhole(html);
  const levels = [...html.matchAll(/<h([1-6])/g)].map((match) => Number(match[1]));
  assert.equal(levels.filter((level) => level === 1).length, 1);
  levels.forEach((level, i) => assert.ok(i === 0 || level <= levels[i - 1] + 1));
  const ids = [...html.matchAll(/\bid="([^"]*)"/g)].map((match) => match[1]);
  assert.equal(new Set(ids).size, ids.length, "an id occurs twice");
  assert.equal(times(html, 'role="img"'), INTEGRATION_FIGURES.length);
  for (const { svg, name } of figures) {
    assert.match(svg, /<desc [^>]*>[^<]{20,}<\/desc>/, name);
    // Maps have colours of their own, on which nothing is written; all else changes with the palette.
    const map = ["entropy", "gradient", "importance"].includes(name);
    const own = map
      ? /stroke="(?!var|none)/
      : /(fill|stroke)="(?!var|none|transparent|currentColor)/;
    assert.doesNotMatch(svg, own, name);
    assert.ok(!svg.includes("⚠"), `Plot warned about ${name}`);
  }
  assert.equal(page(structuredClone(run)), html, "the same records make the same page");
});

Deno.test("the cycles' tables hold their numbers", () => {
  const [done, came] = tables(sectionOf(page(byHand()), "Cycles"));
  assert.deepEqual(done[1], [
    ...["1", "entropy", "14 %", "gradient_sensitivity", "50 %", "new", "3 → 1 → 2", "60", "61 s"],
    "kept",
  ]);
  assert.equal(
    done[2].at(-1),
    "rolled back: perplexity rose by 23.4\u00a0%, more than 15.0\u00a0%",
  );
  assert.deepEqual(came[0].slice(5), [
    ...["Unpruned twin", "Minus twin", "Random pruning", "Minus random", "Perplexity change"],
    ...["Degeneration / baseline’s", "Quality"],
  ]);
  assert.deepEqual(came[1], [
    ...["1", "3.5001", "3.7002", "3.6003", "3.4004", "3.3900", "+0.0104", "3.4504", "−0.0500"],
    ...["−9.5 %", "0.50 / 0.25", "0.88"],
  ]);
  assert.equal(came[2][0], "(2)");
  assert.equal(came[2][9], "+35.0 %");
  const five = tables(sectionOf(page(syntheticIntegration()), "Cycles"))[0];
  assert.deepEqual(five.slice(1).map((row) => row[5]), ["new", "new", "new", "replayed", "new"]);
});

Deno.test("the glance shows every stage, and what was rolled back goes back", () => {
  const run = syntheticIntegration();
  const svg = glanceFigure(run)!;
  for (const [label, count] of Object.entries({ before: 5, pruned: 5, grown: 5, trained: 4 })) {
    assert.equal(marks(svg, label), count, label);
  }
  for (const label of ["trained, rolled back", "rolled back", "way back", "best model"]) {
    assert.equal(marks(svg, label), 1, label);
  }
  assert.equal(marks(svg, "unpruned twin"), 5);
  assert.equal(marks(svg, "random pruning"), 5);
  const { initial, final } = run.cycles[2];
  assert.ok(svg.includes(`>cycle 3, before: ${initial.loss.toFixed(4)}<`));
  assert.ok(svg.includes(`>cycle 3, trained, rolled back: ${final.loss.toFixed(4)}<`));
  assert.match(svg, /<desc [^>]*>.*Cycle 3, rolled back: .*Best: cycle 5\.<\/desc>/s);
  const left = headsLeftFigure(run)!;
  for (const number of [">32<", ">30<", ">24, best<"]) assert.ok(left.includes(number), number);
  assert.ok(left.includes(">cycle 3, pruned: 18<"));
  run.results!.best_cycle = 2;
  assert.ok(headsLeftFigure(run)!.includes(">27, best<"));
  assert.match(glanceFigure(run)!, /Best: cycle 2\.<\/desc>/);
});

Deno.test("the path of the model passes under a cycle that was rolled back", () => {
  /** The places of a path, in pixels. */
  const path = (run: IntegrationRecord) => {
    const [, group] = glanceFigure(run)!.split('aria-description="path of the model"');
    return / d="M([^"]*)"/.exec(group)![1].split("L").map((pair) => pair.split(",").map(Number));
  };
  const places = path(byHand());
  assert.equal(places.length, 6);
  assert.equal(places[4][1], places[5][1]);
  const kept = byHand();
  kept.cycles[1].success = true;
  assert.equal(path(kept).length, 8);
});

Deno.test("a head's life: live, pruned, grown back, both at once, undone", () => {
  const run = byHand();
  const lives = headLives(run).map(({ layer, head, cycle, live, change, undone }) =>
    `${layer}.${head} ${cycle} ${live ? "live" : "gone"} ${change ?? "-"}${undone ? " undone" : ""}`
  );
  assert.deepEqual(lives, [
    ...["0.0 0 live -", "0.0 1 gone pruned", "0.0 2 gone grown undone"],
    ...["0.1 0 live -", "0.1 1 live both", "0.1 2 live - undone"],
    ...["1.0 0 gone -", "1.0 1 gone -", "1.0 2 gone - undone"],
    ...["1.1 0 live -", "1.1 1 live -", "1.1 2 live pruned undone"],
  ]);
  const svg = lifeFigure(run)!;
  // One stroke for as long as a head lives: 0.0 at the start, 0.1 and 1.1 throughout.
  assert.equal(marks(svg, "live head"), 3);
  assert.equal(marks(svg, "pruned head"), 2);
  for (const sign of [">−</text>", ">±</text>", ">(−)</text>", ">(+)</text>"]) {
    assert.ok(svg.includes(sign), sign);
  }
  assert.ok(
    svg.includes(
      ">layer 0, head 1, cycle 1: pruned and grown back at once (pruned by entropy: score 0.1235, " +
        "rank 2 of 3; grown, warm, by balanced: score 7, rank 2 of 3)<",
    ),
  );
  assert.ok(svg.includes(">layer 1, head 0, at the start: pruned before<"));
  assert.match(svg, />layer 1, head 1, cycle 2: pruned; the cycle was rolled back, so it is live/);
  run.cycles[1] = { ...run.cycles[1], success: true };
  assert.equal(headLives(run)[2].live, true);
  assert.equal(headLives(run).at(-1)!.live, false);
});

Deno.test("the life of 144 heads over ten cycles, and of one head a layer", () => {
  const ten = [...FIVE, ...FIVE].map((plan) => ({ ...plan, count: 12, back: 6 }));
  const big = syntheticIntegration({ L: 12, NH: 12, cycles: ten });
  const svg = lifeFigure(big)!;
  assert.equal(marks(svg, "head at a moment"), 144 * 11);
  assert.equal(times(svg, ">11.11</text>"), 1);
  const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg)!;
  assert.equal(width, "960");
  assert.ok(Number(height) < 1200, height);
  assert.ok(page(big).length < 2_000_000);
  const one = syntheticIntegration({ L: 12, NH: 1, cycles: [{ ...FIVE[0] }] });
  assert.equal(marks(lifeFigure(one), "live head"), 12);
  assertWhole(page(one));
});

Deno.test("ratings: a line and a name for each strategy, a mark where it was used", () => {
  const run = syntheticIntegration();
  const svg = ratingsFigure(run, "pruning")!;
  assert.equal(marks(svg, "rating"), 8);
  for (const name of Object.keys(run.cycles[0].ratings.pruning)) {
    assert.equal(times(svg, `>${name}</text>`), 1, name);
  }
  assert.equal(marks(svg, "used in this cycle"), 4);
  assert.equal(marks(svg, "used, rolled back"), 1);
  assert.ok(svg.includes(">cycle 3, magnitude: used, rolled back, rating 0.800<"));
  assert.match(svg, /<desc [^>]*>After cycle 5: .*random 0\.500/);
  assert.match(ratingsFigure(run, "growth")!, /random 0\.400/);
});

Deno.test("names are pushed apart as little as it takes, in their order", () => {
  const range = [0, 100] as const;
  assert.deepEqual(pushApart([10, 50, 90], 15, range), [10, 50, 90]);
  assert.deepEqual(pushApart([50, 50], 10, range), [45, 55]);
  assert.deepEqual(pushApart([90, 20, 20, 20], 10, range), [90, 10, 20, 30]);
  assert.deepEqual(pushApart([0, 0, 100, 100], 10, range), [0, 10, 90, 100]);
  assert.deepEqual(pushApart([40, 44, 48], 10, range), [34, 44, 54]);
  assert.deepEqual(pushApart([], 10, range), []);
});

Deno.test("predictions: a mark for each decision, rounds in numbers, and their errors", () => {
  const run = byHand();
  const decision = { layer: 0, head: 1, gate_before: 0.9, gate: 0.8 };
  const decisions = [
    { ...decision, predicted_loss_change: 0.01, realised_loss_change: 0.02, explored: false },
    { ...decision, predicted_loss_change: -0.01, realised_loss_change: 0.01, explored: true },
    { ...decision, predicted_loss_change: 0, realised_loss_change: 0.01, explored: false },
  ];
  const round: DecisionRound = {
    ...{ round: 1, predicted_loss_change: 0, estimated_loss_change: 0.01 },
    ...{ realised_loss_change: 0.04, kept: false, decisions },
  };
  const second = { ...round, round: 2, predicted_loss_change: 0.05, kept: true, decisions: [] };
  run.cycles[0].advice.rounds = [round, second];
  const svg = predictionsFigure(run)!;
  assert.equal(marks(svg, "decided"), 2);
  assert.equal(marks(svg, "drawn at random, to learn from"), 1);
  assert.equal(marks(svg, "predicted as it came"), 1);
  assert.ok(svg.includes("gate 0.900 to 0.800, predicted −0.01000, measured +0.01000<"));
  const html = sectionOf(page(run), "What the controller predicted, and what came");
  assert.deepEqual(tables(html)[0].slice(1), [
    ["1", "1", "3", "0.00000", "+0.01000", "+0.04000", "−0.04000", "−0.03000", "taken\u00a0back"],
    ["1", "2", "0", "+0.05000", "+0.01000", "+0.04000", "+0.01000", "−0.03000", "kept"],
  ]);
  assert.ok(
    html.includes(
      "Over 2 rounds the predictions were off by 0.02500 nats per token in the mean, the untrained " +
        "estimates by 0.03000.",
    ),
  );
});

Deno.test("without rounds a sentence stands for the predictions", () => {
  const section = (run: IntegrationRecord) =>
    sectionOf(page(run), "What the controller predicted, and what came");
  const run = syntheticIntegration({ rounds: 0 });
  assert.equal(predictionsFigure(run), undefined);
  assert.ok(section(run).includes("<p>The controller ann makes no predictions; mlp does.</p>"));
  run.config.controller_type = "mlp";
  for (const { advice } of run.cycles) advice.rounds = [];
  assert.match(section(run), /moved no gate/);
  assert.match(section(syntheticIntegration({ cycles: [] })), /no cycle yet/);
});

Deno.test("the controller's and the memory's tables hold their numbers", () => {
  const run = byHand();
  run.memory!.transformations = [{
    ...{ description: "prune 2 by entropy", pruning_strategy: "entropy", pruning_level: 0.14 },
    ...{ growth_strategy: "balanced", growth_ratio: 0.5, perplexity_improvement: 0.0949 },
    ...{ head_reduction: 0.25, degeneration_change: -0.125, improvement: 0.2555 },
    timestamp: "2026-03-04T05:06:07.000Z",
  }];
  const html = page(run);
  assert.deepEqual(tables(sectionOf(html, "The controller"))[0].slice(1), [
    ["1", "0.0081", "25 %", "0.625", "entropy 1.25"],
    ["2", "0.0081", "25 %", "0.625", "entropy 1.25"],
  ]);
  const memory = sectionOf(html, "What it remembers");
  assert.deepEqual(tables(memory)[0][1], [
    ...["2026-03-04 05:06", "14 %", "50 %", "−9.5 %", "−25.0 %", "−0.13", "+0.256"],
    "prune 2 by entropy",
  ]);
  assert.ok(memory.includes("a probability of 70 %"));
  run.memory!.transformations = [];
  assert.ok(sectionOf(page(run), "What it remembers").includes("<p>Nothing is remembered.</p>"));
  delete run.memory;
  assert.ok(sectionOf(page(run), "What it remembers").includes("hold no memory"));
});

Deno.test("without controls there is no word of what they would have been", () => {
  const run = syntheticIntegration({ controls: false });
  const html = page(run), { figures } = renderIntegration(run);
  for (const { svg, caption, name } of figures) {
    assert.doesNotMatch(svg + caption, /twin|random pruning|controls/i, name);
  }
  assert.deepEqual(tables(sectionOf(html, "Cycles"))[1][0].slice(4, 6), [
    "After training",
    "Perplexity change",
  ]);
  assert.match(integrationHeading(run).standing[0], /^No unpruned twin was trained/);
  assertWhole(html);
});

Deno.test("an unfinished run says so, and how far it came", () => {
  const run = syntheticIntegration({ finished: false, cycles: FIVE.slice(0, 3) });
  const { final, unpruned_twin_loss } = run.cycles[1];
  assert.equal(
    integrationHeading(run).verdict,
    `Unfinished: 3 cycles (2 kept) so far. After cycle 2 the validation loss with 27 heads is ` +
      `${final.loss.toFixed(4)} nats per token, +${
        (final.loss - unpruned_twin_loss!).toFixed(4)
      } from its unpruned twin (${unpruned_twin_loss!.toFixed(4)}).`,
  );
  const html = page(run);
  assert.equal(times(html, "Nothing was judged on test text."), 1);
  assert.equal(marks(glanceFigure(run), "best model"), 0);
  assertWhole(html);

  const barely = syntheticIntegration({ finished: false, cycles: [] });
  assert.deepEqual(renderIntegration(barely).figures, []);
  assert.match(page(barely), /<h1>Unfinished: no cycle so far\.<\/h1>/);
  assertWhole(page(barely));
});

Deno.test("a run of which nothing was kept: the best model is that of the start", () => {
  const run = syntheticIntegration({ cycles: [FIVE[2], FIVE[2]] });
  const html = page(run);
  assert.match(html, /No cycle made a better model: .*Of 2 cycles none was kept/s);
  assert.equal(marks(glanceFigure(run), "trained"), 0);
  assert.equal(marks(glanceFigure(run), "trained, rolled back"), 2);
  assert.equal(marks(glanceFigure(run), "best model"), 1);
  assert.ok(headsLeftFigure(run)!.includes(">32, best<"));
  assertWhole(html);
  delete run.results;
  assert.match(page(run), /<h1>Unfinished: 2 cycles \(0 kept\) so far\.<\/h1>/);
});

Deno.test("what was not a number leaves a gap, not a word", () => {
  const run = syntheticIntegration();
  run.cycles[2].failure = "perplexity rose by NaN %, more than 15.0 %";
  const whole = page(run);
  assert.ok(whole.includes("rolled back: the loss was no longer a number"));
  const names = new Set(
    ["loss", "perplexity", "test_loss", "rank", "unpruned_twin_loss", "perplexity_improvement"],
  );
  const broken = JSON.parse(
    JSON.stringify(run, (key, value) => names.has(key) ? NaN : value),
  ) as IntegrationRecord;
  const html = page(broken);
  assertWhole(html);
  assert.match(html, /<h1>Finished without a finite test loss: 5 cycles \(4 kept\)\.<\/h1>/);
  assert.equal(glanceFigure(broken) === undefined, false, "random pruning was measured");

  const nothing = JSON.parse(
    JSON.stringify(
      run,
      (key, value) =>
        typeof value === "number" && !["cycle", "layer", "head"].includes(key) &&
          !/^\d+$/.test(key)
          ? NaN
          : value,
    ),
  ) as IntegrationRecord;
  assertWhole(page(nothing));
  const { twin: _, ...rest } = { twin: 0, ...run.results! };
  assert.match(integrationVerdict({ ...rest, unpruned_twin_loss: NaN }), /No unpruned twin/);
});

Deno.test("text from a run is escaped wherever it stands", () => {
  const evil = `</title><script>alert(1)</script>"'&\u0000`;
  const run = syntheticIntegration();
  run.config = { ...run.config, model_name: evil, controller_type: evil, [evil]: evil };
  run.environment.adapter = evil;
  run.data.text = evil;
  run.results!.stopped = evil;
  run.memory!.transformations[0].description = evil;
  for (const cycle of run.cycles) {
    Object.assign(cycle, { pruning_strategy: evil, growth_strategy: evil });
    if (!cycle.success) cycle.failure = evil;
    cycle.ratings.pruning[evil] = 1;
    cycle.advice.preferences[evil] = 1;
  }
  for (const row of run.events) if ("strategy" in row) row.strategy = evil;
  const html = page(run);
  assert.doesNotMatch(bare(html), /<script|<\/script/);
  assert.ok(!html.includes("\u0000"));
  assert.equal(times(html, "</title>"), times(html, "<title"));
  assert.ok(times(html, "&lt;script&gt;alert(1)") > 20);
  for (const { cycle, advice } of run.cycles) {
    assert.equal(advice.rounds!.length, 3, `cycle ${cycle}`);
    delete advice.rounds;
  }
  assert.match(page(run), /The controller &lt;\/title&gt;&lt;script&gt;.* makes no predictions/);
});

// ---- the folder -------------------------------------------------------------------------------

Deno.test("an integrated run's folder is read back, and its page written whole", async () => {
  const run = syntheticIntegration();
  await withFiles(recordFiles(run), async (dir, put) => {
    assert.deepEqual(await readIntegration(dir), run);
    await put("figures/predictions.svg", "of an earlier report");
    assert.equal(await writeReport(dir), join(dir, "report.html"));
    assert.equal(await Deno.readTextFile(join(dir, "report.html")), page(run));
    const figures = () =>
      [...Deno.readDirSync(join(dir, "figures"))].map(({ name }) => name).sort();
    assert.deepEqual(figures(), INTEGRATION_FIGURES.map((name) => `${name}.svg`).sort());
    assert.match(await Deno.readTextFile(join(dir, "figures", "life.svg")), /^<svg .*<\/svg>\n$/s);

    // the page of records without rounds has one figure fewer, and the old one goes
    const { cycles } = syntheticIntegration({ rounds: 0 });
    await put("cycles.jsonl", cycles.map((cycle) => JSON.stringify(cycle) + "\n").join(""));
    await writeReport(dir);
    assert.ok(!figures().includes("predictions.svg"));
    assert.equal(figures().length, INTEGRATION_FIGURES.length - 1);
  });
});

Deno.test("a folder of a run that was killed is read as far as it goes", async () => {
  const run = syntheticIntegration({ finished: false });
  delete run.memory;
  await withFiles(recordFiles(run), async (dir, put) => {
    assert.deepEqual(await readIntegration(dir), run);
    const [first, second] = run.cycles.map((cycle) => JSON.stringify(cycle));
    await put("cycles.jsonl", `${first}\n${second.slice(0, 200)}`);
    assert.deepEqual((await readIntegration(dir)).cycles, [run.cycles[0]]);
    for (const name of ["cycles.jsonl", "metrics.jsonl", "events.jsonl"]) {
      await Deno.remove(join(dir, name));
    }
    await writeReport(dir);
    const html = await Deno.readTextFile(join(dir, "report.html"));
    assert.match(html, /<h1>Unfinished: no cycle so far\.<\/h1>/);
  });
});

Deno.test("the page is that of the folder's kind", async () => {
  await withFiles(recordFiles(syntheticIntegration({ finished: false })), async (dir, put) => {
    assert.equal(await readKind(dir), "integration");
    for (const mark of [{ format: 1 }, { format: 1, kind: "experiment" }]) {
      await put("pollard-run.json", JSON.stringify(mark));
      assert.equal(await readKind(dir), "experiment");
      await writeReport(dir);
      const html = await Deno.readTextFile(join(dir, "report.html"));
      assert.match(html, /<h1>This run is unfinished, and there is no test loss yet\./);
    }
    await put("pollard-run.json", JSON.stringify({ format: 1, kind: "bakery" }));
    await assert.rejects(writeReport(dir), {
      name: "TypeError",
      message: `${
        join(dir, "pollard-run.json")
      } line 1: kind must be one of experiment, integration: "bakery"`,
    });
  });
});

Deno.test("damaged files are named, and what was written before stays", async () => {
  const run = syntheticIntegration({ cycles: FIVE.slice(0, 1) });
  await withFiles(recordFiles(run), async (dir, put) => {
    await writeReport(dir);
    const before = await Deno.readTextFile(join(dir, "report.html"));
    const [cycle] = run.cycles;
    const row = (change: object) => JSON.stringify({ ...cycle, ...change }) + "\n";
    const results = JSON.stringify(run.results, null, 2);
    const damaged: [name: string, text: string, error: RegExp][] = [
      ["cycles.jsonl", "{\n{}\n", /^SyntaxError: .*cycles\.jsonl: Cannot parse line 1/],
      ["cycles.jsonl", "null\n", /cycles\.jsonl line 1: the record must be an object: null$/],
      ["cycles.jsonl", row({ cycle: 0 }), /line 1: cycle must be a whole number, 1 or more: 0$/],
      ["cycles.jsonl", row({ initial: 3 }), /line 1: initial must be an object: 3$/],
      [
        "cycles.jsonl",
        row({}) + "\n" + row({ success: 1 }),
        /line 3: success must be true or false: 1$/,
      ],
      [
        "cycles.jsonl",
        row({ pruned_heads: [[1, 2, 3]] }),
        /pruned_heads\[0\]\[2\] must be \[layer, head\]/,
      ],
      ["cycles.jsonl", row({ heads_before: undefined }), /line 1: heads_before is missing$/],
      [
        "cycles.jsonl",
        row({ gates: [[0.5], [0.5, "x"]] }),
        /line 1: gates\[1\]\[1\] must be a number, 0 or more: "x"$/,
      ],
      [
        "cycles.jsonl",
        row({ grown_heads: [[0, 1e9]] }),
        /line 1: grown_heads\[0\]\[1\] must be a whole number, 0 to 16383: 1000000000$/,
      ],
      [
        "cycles.jsonl",
        row({ grown_heads: [[16000, 0]] }),
        /line 1: layer 16000, head 0 makes a model of at least 16001 x 8 heads/,
      ],
      ["events.jsonl", `{"event":"phase","step":-1}\n`, /events\.jsonl line 1: step must be/],
      ["events.jsonl", `{"event":"feast"}\n`, /line 1: event must be one of phase, .*: "feast"$/],
      [
        "metrics.jsonl",
        `{"step":1,"arm":"prunned","phase":"warmup"}\n`,
        /metrics\.jsonl line 1: arm must be one of/,
      ],
      ["memory/transformations.json", "{}", /line 1: capacity is missing$/],
      ["memory/transformations.json", "{", /^SyntaxError: Cannot parse .*transformations\.json/],
      [
        "results.json",
        results.replace(/"seed": \d+/, `"seed": "x"`),
        new RegExp(`results\\.json line ${results.split("\n").length - 1}: seed must be a number`),
      ],
      ["results.json", "[]", /results\.json line 1: the record must be an object: \[\]$/],
      ["pollard-run.json", "{", /^SyntaxError: Cannot parse .*pollard-run\.json/],
    ];
    for (const [name, text, error] of damaged) {
      const whole = await Deno.readTextFile(join(dir, name));
      await put(name, text);
      await assert.rejects(writeReport(dir), (thrown) => {
        assert.ok(thrown instanceof TypeError || thrown instanceof SyntaxError, `${thrown}`);
        assert.match(String(thrown), error);
        return true;
      });
      await put(name, whole);
    }
    assert.equal(await Deno.readTextFile(join(dir, "report.html")), before);
    await Deno.remove(join(dir, "config.json"));
    await assert.rejects(readIntegration(dir), /is not a run folder: it has no config\.json/);
  });
});

// To look at the page: POLLARD_REPORT=/tmp/report.html deno test -A tests/integration_report_test.ts
const look = Deno.env.get("POLLARD_REPORT");
if (look) await Deno.writeTextFile(look, page(syntheticIntegration()));
