import assert from "node:assert/strict";
import { join } from "node:path";
import type { Arm, RunRecord } from "../src/record.ts";
import { differenceFigure, sparsityFigure, validationFigure } from "../src/report/curves.ts";
import { cyclesOf } from "../src/report/cycle_results.ts";
import { cyclesFigure, impactFigure, recovery } from "../src/report/cycles.ts";
import { drawFigures, FIGURE_NAMES } from "../src/report/figures.ts";
import { gatesFigure } from "../src/report/gates.ts";
import { lifeCycles, lifeFigure } from "../src/report/life.ts";
import { mapsFigure } from "../src/report/maps.ts";
import { headsLeftTable, lossesTable, phasesTable } from "../src/report/numbers.ts";
import { pageHtml } from "../src/report/document.ts";
import { renderPage } from "../src/report/page.ts";
import { readRun } from "../src/report/read.ts";
import { differenceFromTwin, pruneMarks, smooth, trainingCurve } from "../src/report/series.ts";
import { verdict } from "../src/report/verdict.ts";
import { headStory } from "../src/report/story.ts";
import { timelineFigure } from "../src/report/timeline.ts";
import { warmupFigure, warmupThirds } from "../src/report/warmup.ts";
import { writeReport } from "../src/report/write.ts";
import { bare, HOLES, marks, REACHES_OUT, times } from "./page_checks.ts";
import { recordFiles, withFiles } from "./record_files.ts";
import { syntheticRun } from "./report_fixture.ts";

/** The page of a run, as a file holds it. */
function pageOf(run: RunRecord): string {
  return pageHtml(renderPage(run));
}

Deno.test("the timeline shows every phase, every pruning and both controls", () => {
  const run = syntheticRun();
  const svg = timelineFigure(run)!;
  // Warm-up and three fine-tunings took steps; three analyses, three prunings and the evaluation none.
  assert.equal(marks(svg, "phase band"), 4);
  assert.equal(marks(svg, "phase stripe"), 7);
  assert.equal(marks(svg, "pruning"), 3);
  assert.equal(
    marks(svg, "validation loss"),
    new Set(
      run.metrics.filter((row) => row.arm === "pruned" && row.eval_loss !== undefined)
        .map(({ step, phase, cycle }) => `${step} ${phase} ${cycle}`),
    ).size,
  );
  assert.equal(times(svg, ">analysis, 3 heads pruned<"), 3);
  for (const label of ["warm-up", "fine-tuning 1", "fine-tuning 3", "evaluation", "stable"]) {
    assert.equal(times(svg, `>${label}<`) > 0, true, `the timeline lacks the label ${label}`);
  }
  for (const label of ["training step", "loss, nats per token"]) {
    assert.equal(times(svg, `>${label}<`), 1, `the timeline lacks the axis label ${label}`);
  }
  // A piece for each cycle: the mean of steps never reaches across a pruning, in no arm.
  assert.equal(marks(svg, "unpruned twin, training loss"), 3);
  assert.equal(marks(svg, "random pruning, training loss") >= 1, true);
});

Deno.test("many short cycles keep their marks and shorten their labels", () => {
  const svg = timelineFigure(syntheticRun({ cycles: 9, finetuning: 30, L: 6, NH: 12 }))!;
  assert.equal(marks(svg, "pruning"), 9);
  assert.equal(times(svg, ">−2<"), 9);
});

Deno.test("after a few steps the axis has a tick for each, and none between them", () => {
  const whole = syntheticRun();
  for (const last of [0, 1, 2, 3, 7, 9, 10, 25]) {
    const until = <Row extends { step: number }>(rows: Row[]) =>
      rows.filter(({ step }) => step <= last);
    const run = { ...whole, metrics: until(whole.metrics), events: until(whole.events) };
    for (const svg of [timelineFigure(run), validationFigure(run), sparsityFigure(run)]) {
      if (svg === undefined) continue; // nothing was trained yet
      const [, axis] = /aria-label="x-axis tick label"[^>]*>(.*?)<\/g>/s.exec(svg)!;
      const labels = [...axis.matchAll(/<text[^>]*>([^<]*)</g)].map(([, label]) => label);
      assert.ok(labels.length > 1 && labels.every((label) => /^\d+$/.test(label)), `${labels}`);
      assert.equal(new Set(labels).size, labels.length, `step ${last}: ${labels}`);
    }
  }
});

Deno.test("the difference is paired by step, and zero is the twin", () => {
  const run = syntheticRun();
  const points = differenceFromTwin(run, "pruned", trainingCurve);
  assert.equal(points.length, 900);
  const at = (arm: Arm) =>
    run.metrics.find((row) => row.arm === arm && row.step === 777 && row.loss)!;
  const point = points.find(({ step }) => step === 777)!;
  assert.equal(point.value, at("pruned").loss! - at("unpruned_twin").loss!);
  const svg = differenceFigure(run);
  assert.equal(marks(svg, "unpruned twin"), 1);
  assert.ok(marks(svg, "pruned model") > 30);
  assert.ok(marks(svg, "random pruning") > 30);
});

Deno.test("smoothing keeps to its segment and shrinks at the ends", () => {
  const points = [1, 2, 3, 10, 20].map((value, step) => ({
    step,
    value,
    segment: step < 3 ? 0 : 1,
  }));
  assert.deepEqual(smooth(points, 1).map(({ value }) => value), [1.5, 2, 2.5, 15, 15]);
});

Deno.test("the maps show every head before each cycle and at the end, and cross out the dead", () => {
  const run = syntheticRun();
  // Three of 32 heads die in each cycle; the last map is of the end.
  for (const metric of ["entropy", "gradient", "importance"] as const) {
    const svg = mapsFigure(run, metric);
    assert.equal(marks(svg, "head"), 32 + 29 + 26 + 23);
    assert.equal(marks(svg, "head not measured"), 3 + 6 + 9);
    assert.equal(marks(svg, "pruned"), 3 + 6 + 9);
  }
  const blind = run.heads.map(({ gate_grad_abs: _, ...row }) => row);
  assert.equal(mapsFigure({ ...run, heads: blind }, "importance"), undefined);
  const gates = gatesFigure(run);
  assert.equal(marks(gates, "gate of a live head"), 32 + 29 + 26 + 23);
  assert.equal(marks(gates, "median gate"), 4);
  const big = mapsFigure(syntheticRun({ L: 12, NH: 12, cycles: 9 }), "entropy");
  assert.equal(marks(big, "head") + marks(big, "head not measured"), 6 * 144);
});

Deno.test("all maps of a measurement have one scale", () => {
  const run = syntheticRun();
  const svg = mapsFigure(run, "entropy")!;
  const fill = (value: number) => {
    const at = svg.indexOf(`entropy ${Number(value.toPrecision(4))}<`);
    return svg.slice(0, at).match(/.*fill="([^"]*)"/s)![1];
  };
  const rows = run.heads.filter((row) => row.alive && row.entropy !== undefined);
  // Two heads of different moments that measured about the same are coloured the same.
  const [a, b] =
    rows.flatMap((a) =>
      rows.filter((b) => b.step > a.step && Math.abs(a.entropy! - b.entropy!) < 2e-4).map((
        b,
      ) => [a, b])
    )[0];
  assert.equal(fill(a.entropy!), fill(b.entropy!));
});

Deno.test("the story: states at every moment, why heads went, and what a rollback undid", () => {
  const run = syntheticRun();
  const { L, NH, moments, events } = headStory(run)!;
  assert.deepEqual([L, NH], [4, 8]);
  assert.deepEqual(moments.map(({ when }) => when), ["before", "before", "before", "after"]);
  const live = moments.map(({ states }) => states.filter((state) => state === "live").length);
  assert.deepEqual(live, [32, 29, 26, 23]);
  const [layer, head] = run.results!.pruned_heads[0];
  const [first] = events[layer * 8 + head];
  assert.match(first.reason, /^pruned by combined: score \S+, rank 1 of 32$/);
  assert.equal(first.undone, false);

  // The first head grows back in cycle 2, which is then rolled back; in cycle 3 it stays.
  const importance = moments[0].values.importance![0]!;
  assert.equal(importance, run.heads[0].gate_grad_abs! * run.heads[0].gate!);
  const grow = (cycle: number) => ({
    ...{ event: "grow" as const, layer, head, cycle, step: 200 + 300 * (cycle - 1), time: 1 },
    ...{ strategy: "hebbian", regrowth: "warm" as const, score: 0.5, rank: 1, of: 3 },
    arm: "pruned" as const,
  });
  const at = (cycle: number) =>
    1 + run.events.findLastIndex((row) => row.event === "prune" && row.cycle === cycle);
  const more = [...run.events];
  more.splice(at(3), 0, grow(3));
  more.splice(at(2), 0, grow(2), {
    ...{ event: "rollback", reason: "worse", cycle: 2, step: 500, time: 1, arm: "pruned" },
  });
  const heads = run.heads.map((row) =>
    row.layer === layer && row.head === head && row.step > 800 ? { ...row, alive: 1 as const } : row
  );
  const story = headStory({ events: more, heads })!;
  const i = layer * 8 + head;
  assert.deepEqual(story.events[i].map(({ event, undone }) => [event, undone]), [
    ["prune", false],
    ["grow", true],
    ["grow", false],
  ]);
  // What was pruned at random in a control is no part of the story.
  const control = more.map((row) => ({ ...row, arm: "random_pruning" as const }));
  const others = headStory({ events: control, heads: run.heads.slice(0, 32) })!;
  assert.ok(others.moments.every(({ states }) => states.every((state) => state === "live")));
  // Where nothing was measured after the last changes, a moment tells how heads stand then.
  const early = headStory({
    events: more.filter(({ cycle }) => cycle === 1),
    heads: heads.slice(0, 32),
  })!;
  assert.deepEqual(early.moments.map(({ when }) => when), ["before", "end"]);
  assert.equal(early.moments[1].states.filter((state) => state === "pruned").length, 3);
  // A head that a rollback took back to life was never cut.
  const undone = [
    ...run.events.filter((row) => row.event === "prune" && row.cycle === 1),
    {
      event: "rollback" as const,
      reason: "worse",
      cycle: 1,
      step: 200,
      time: 1,
      arm: "pruned" as const,
    },
  ];
  const back = headStory({
    events: undone,
    heads: [
      ...heads.slice(0, 32),
      ...heads.slice(0, 32).map(
        (row) => ({ ...row, step: 500, cycle: 2 }),
      ),
    ],
  })!;
  assert.ok(back.moments[1].states.every((state) => state === "live"), "not regrown");
  // The rollback also undid what cycle 2 had pruned.
  const states = story.moments.map((moment) => moment.states);
  assert.equal(states[2].filter((state) => state === "pruned").length, 3);
  assert.deepEqual(states.map((list) => list[i]), ["live", "pruned", "pruned", "regrown"]);
});

Deno.test("a story keeps its page small: few moments where heads are many", () => {
  const run = syntheticRun({ L: 24, NH: 16, cycles: 3 });
  const many = Array.from(
    { length: 100 },
    (_, k) => run.heads.slice(0, 384).map((row) => ({ ...row, cycle: 1, step: k })),
  ).flat();
  const story = headStory({ events: [], heads: many })!;
  assert.ok(story.moments.length <= 60 && story.moments.length > 10, `${story.moments.length}`);
  assert.equal(story.moments[0].step, 0);
  assert.equal(story.moments.at(-1)!.step, 99);
});

Deno.test("the life of an experiment's heads, as its events tell it", () => {
  const run = syntheticRun();
  const cycles = lifeCycles(run);
  assert.deepEqual(cycles.map(({ heads_before }) => heads_before.flat().length), [32, 29, 26]);
  assert.deepEqual(cycles.flatMap(({ pruned_heads }) => pruned_heads), run.results!.pruned_heads);
  assert.equal(marks(lifeFigure({ cycles, events: run.events }), "pruned"), 9);
});

Deno.test("the warm-up by thirds, by hand", () => {
  const run = syntheticRun({ warmup: 60, cycles: 1 });
  const losses = run.metrics.filter((row) => row.phase === "warmup" && row.loss !== undefined)
    .map((row) => row.loss!);
  const thirds = warmupThirds(run);
  assert.deepEqual(thirds.map(({ from, to }) => [from, to]), [[1, 20], [21, 40], [41, 60]]);
  const mean = (from: number) => losses.slice(from, from + 5).reduce((a, b) => a + b) / 5;
  thirds.forEach(({ first, last, improvement }, i) => {
    assert.ok(Math.abs(first - mean(20 * i)) < 1e-12);
    assert.ok(Math.abs(last - mean(20 * i + 15)) < 1e-12);
    assert.ok(Math.abs(improvement - (1 - last / first)) < 1e-12);
  });
  assert.equal(marks(warmupFigure(run), "from the first to the last losses of a third"), 3);
  assert.match(warmupFigure(run)!, /called stable at step 51/);
  assert.equal(warmupFigure(syntheticRun({ warmup: 10 })), undefined);
});

Deno.test("what pruning cost and what fine-tuning brought back, by hand", () => {
  const run = syntheticRun();
  const svg = impactFigure(run)!;
  for (const label of ["pruning", "fine-tuning"]) assert.equal(marks(svg, label), 3);
  // Many cycles leave no room for numbers; the table has them.
  const many = impactFigure(syntheticRun({ cycles: 8, finetuning: 30, L: 6, NH: 12 }))!;
  assert.equal(marks(many, "pruning"), 8);
  assert.doesNotMatch(many, />[+−]0\.\d{4}</);
  assert.equal(marks(svg, "unpruned twin"), 3);
  const [one, two] = run.results!.cycles;
  const change = (value: number) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(4)}`;
  assert.ok(svg.includes(`>${change(one.loss_after_pruning - one.loss_before)}<`));
  // The twin's change is over the cycle: from its own loss at the end of the one before.
  const twin = two.unpruned_twin_loss! - one.unpruned_twin_loss!;
  assert.ok(svg.includes(`cycle 2, unpruned twin: ${change(twin)}<`));
});

Deno.test("what came back of what pruning cost, by hand", () => {
  const cycle = (after: number, end: number) =>
    recovery({
      ...{ cycle: 1, pruned_heads: [], active_heads: 1, sparsity: 0, training_steps: 1 },
      ...{ loss_before: 3, loss_after_pruning: after, loss_after_finetuning: end },
    });
  assert.equal(cycle(3.4, 3.1), "75 %");
  assert.equal(cycle(3.4, 3.6), "−50 %");
  assert.equal(cycle(3.4, 2.9), "more than all");
  assert.equal(cycle(2.9, 2.8), undefined, "pruning cost nothing");
});

Deno.test("a head that grew back was pruned all the same: the marks count what went", () => {
  const run = syntheticRun();
  const [layer, head] = run.results!.pruned_heads[0];
  const row = {
    ...{
      event: "grow" as const,
      layer,
      head,
      cycle: 2,
      step: 500,
      time: 1,
      arm: "pruned" as const,
    },
    ...{ strategy: "hebbian", regrowth: "warm" as const, score: 0.5, rank: 1, of: 3 },
  };
  const grown = { ...run, events: [...run.events, row] };
  assert.deepEqual(pruneMarks(grown).map(({ heads }) => heads), [3, 3, 3]);
});

Deno.test("phases and sparsity in numbers, by hand", () => {
  const run = syntheticRun({ cycles: 2, warmup: 40, finetuning: 30 });
  const cells = (html: string) =>
    html.split("<tr>").slice(2)
      .map((row) => [...row.matchAll(/<td>([^<]*)</g)].map(([, text]) => text));
  const prunings = cells(phasesTable(run).text).filter(([phase]) => phase === "pruning");
  assert.deepEqual(prunings, [["pruning", "1", "40", "40", "4"], [
    "pruning",
    "2",
    "70",
    "70",
    "4",
  ]]);
  assert.deepEqual(cells(headsLeftTable(run, 32).text), [
    ["0", "32", "0 %"],
    ["40", "28", "12.5 %"],
    ["70", "24", "25 %"],
  ]);
});

Deno.test("a warm-up under way is not over, and one without an end in sight says so", () => {
  const run = syntheticRun({ finished: false });
  const until = (step: number) => ({
    ...run,
    metrics: run.metrics.filter((row) => row.step < step),
    events: run.events.filter((row) => row.step < step && row.event !== "stable"),
  });
  assert.match(warmupFigure(until(60))!, /It is not over yet/);
  assert.match(warmupFigure(until(400))!, /never called stable: it took all of its steps/);
});

Deno.test("the numbers behind the figures: every evaluation, side by side with the controls'", () => {
  const run = syntheticRun({ cycles: 1, warmup: 50, finetuning: 50, every: 25 });
  const rows = lossesTable(run).text.split("<tr>").slice(2)
    .map((row) => [...row.matchAll(/<td>([^<]*)</g)].map(([, text]) => text));
  // Steps 0, 25, 50 twice (before and after pruning), 75 and 100.
  assert.deepEqual(rows.map(([step]) => step), ["0", "25", "50", "50", "75", "100"]);
  const last = run.results!.cycles[0];
  assert.deepEqual(rows[5].slice(1, 4), [
    last.loss_after_finetuning.toFixed(4),
    last.unpruned_twin_loss!.toFixed(4),
    last.random_pruning_loss!.toFixed(4),
  ]);
  assert.equal(
    Number(rows[5][4].replace("−", "-")),
    Number((last.loss_after_finetuning - last.unpruned_twin_loss!).toFixed(4)),
  );
});

Deno.test("a long run of a big model stays below 3 MB", () => {
  for (const shape of [{ L: 24, NH: 16, cycles: 10 }, { L: 48, NH: 25, cycles: 5 }]) {
    const run = syntheticRun({ ...shape, warmup: 500, finetuning: 400 });
    const { length } = pageOf(run);
    assert.ok(length < 3_000_000, `${length} characters`);
  }
});

Deno.test("the cycles show each measurement once", () => {
  const svg = cyclesFigure(syntheticRun());
  for (const label of ["before pruning", "after pruning", "after fine-tuning", "unpruned twin"]) {
    assert.equal(marks(svg, label), 3);
  }
  assert.equal(marks(svg, "random pruning"), 3);
});

Deno.test("loss has perplexity beside it, and heads their sparsity", () => {
  const run = syntheticRun();
  assert.ok(validationFigure(run)!.includes("validation perplexity"));
  assert.ok(sparsityFigure(run)!.includes(">sparsity<"));
  assert.ok(sparsityFigure(run)!.includes("23 of 32 heads are active"));
});

Deno.test("the first line of the page is the verdict", () => {
  const page = pageOf(syntheticRun());
  const body = page.slice(page.indexOf("<body>")).replace(/<[^>]*>/g, "").trim();
  assert.equal(
    body.split("\n")[0],
    "With 9 of 32 heads removed, the model’s test loss is 3.2141 nats per token: 0.0116 worse " +
      "than its unpruned twin (3.2025), and 0.0257 better than random pruning to the same level (3.2398).",
  );
});

Deno.test("the page stands alone: nothing to fetch, nothing foreign to run, headings in order", () => {
  const page = pageOf(syntheticRun());
  assert.ok(page.length < 3_000_000, `${page.length} characters`);
  assert.doesNotMatch(page.replaceAll('xmlns="http://www.w3.org/2000/svg"', ""), /https?:\/\//);
  assert.doesNotMatch(bare(page), REACHES_OUT);
  assert.doesNotMatch(bare(page), HOLES);
  const levels = [...page.matchAll(/<h([1-6])/g)].map((match) => Number(match[1]));
  assert.equal(levels[0], 1);
  assert.equal(levels.filter((level) => level === 1).length, 1);
  levels.forEach((level, i) => assert.ok(i === 0 || level <= levels[i - 1] + 1));
  const ids = [...page.matchAll(/\bid="([^"]*)"/g)].map((match) => match[1]);
  assert.equal(new Set(ids).size, ids.length, "an id occurs twice");
  for (const [, used] of page.matchAll(/url\(#([^)]*)\)/g)) assert.ok(ids.includes(used), used);
  assert.equal(times(page, 'role="img"'), FIGURE_NAMES.length);
  assert.equal(times(page, "<desc "), FIGURE_NAMES.length);
  assert.ok(!page.includes("⚠"), "Plot warned about a figure");
});

Deno.test("without controls there is no grey line and no word of what they would have been", () => {
  const run = syntheticRun({ controls: false });
  assert.equal(differenceFigure(run), undefined);
  for (const { svg, name } of drawFigures(run)) {
    assert.doesNotMatch(svg, /twin|random/, name);
    assert.doesNotMatch(svg, HOLES, name);
    const greys = ["timeline", "life"].includes(name); // a band's edge, a pruned head's line
    assert.ok(greys || !svg.includes('stroke="var(--grey)"'), name);
  }
  for (const { caption, name } of drawFigures(run)) {
    assert.doesNotMatch(caption, /twin|random pruning|controls/i, name);
  }
  const page = pageOf(run);
  assert.doesNotMatch(bare(page), HOLES);
  assert.match(verdict(run), /No unpruned twin was trained/);
});

Deno.test("an unfinished run says so, and is drawn as far as it went", () => {
  const run = syntheticRun({ finished: false });
  run.events = run.events.filter(({ step }) => step < 600);
  run.metrics = run.metrics.filter(({ step }) => step < 600);
  run.heads = run.heads.filter(({ step }) => step < 600);
  const page = pageOf(run);
  assert.match(verdict(run), /^This run is unfinished, .* step 599, in fine-tuning of cycle 2\./);
  assert.ok(page.includes('id="figure-timeline"'));
  assert.ok(page.includes('id="figure-cycles"') && !page.includes("Key numbers"));
  assert.deepEqual(cyclesOf(run).map(({ cycle }) => cycle), [1], "the second has not ended");
  assert.doesNotMatch(bare(page), HOLES);

  const barely: RunRecord = { ...run, metrics: [], events: [], heads: [] };
  assert.deepEqual(drawFigures(barely), []);
  assert.match(pageOf(barely), /This run is unfinished/);
});

Deno.test("a loss that was not a number leaves a gap, not a word", () => {
  const run = syntheticRun();
  const broken = JSON.parse(
    JSON.stringify(run, (key, value) => key === "loss" || key === "final_loss" ? NaN : value),
  ) as RunRecord;
  assert.equal(timelineFigure(broken), undefined);
  assert.doesNotMatch(bare(pageOf(broken)), HOLES);
});

Deno.test("text from a run is escaped wherever it stands", () => {
  const evil = `</title><script>alert(1)</script>"'&\u0000`;
  const run = syntheticRun();
  run.config = { ...run.config, model_name: evil, [evil]: evil };
  run.environment.adapter = evil;
  run.data.text = evil;
  run.samples![0] = { prompt: evil, seed: 1, baseline: evil, pruned: evil };
  for (const row of run.events) {
    if (row.event === "prune") row.strategy = evil;
    if (row.event === "stable") row.reason = evil;
  }
  const page = pageOf(run);
  assert.doesNotMatch(bare(page), /<script|<\/script/);
  assert.ok(!page.includes("\u0000"));
  assert.equal(times(page, "</title>"), times(page, "<title"));
  assert.ok(page.includes("&lt;script&gt;alert(1)"));
});

Deno.test("a run folder is read back, and its report written whole or not at all", async () => {
  const run = syntheticRun();
  const files = recordFiles(run);
  // The last line was being written when the run was killed.
  files["heads.csv"] += "900,3,0,1,1,0.9";
  await withFiles({ ...files, "config.json": "" }, async (dir, put) => {
    await Deno.remove(join(dir, "config.json"));
    await assert.rejects(readRun(dir), /is not a run folder: it has no config\.json/);
    await put("config.json", files["config.json"]);
    assert.deepEqual(await readRun(dir), run);

    await writeReport(dir);
    const page = await Deno.readTextFile(join(dir, "report.html"));
    assert.equal(page, pageOf(run));
    const figures = [...Deno.readDirSync(join(dir, "figures"))].map(({ name }) => name).sort();
    assert.deepEqual(figures, FIGURE_NAMES.map((name) => `${name}.svg`).sort());

    await put("metrics.jsonl", `{"step":1,"arm":"prunned","phase":"warmup"}\n`);
    await assert.rejects(
      writeReport(dir),
      /metrics\.jsonl line 1: arm must be one of pruned, .*: "prunned"$/,
    );
    await put("results.json", "{");
    await assert.rejects(writeReport(dir), /metrics\.jsonl|results\.json/);
    assert.equal(await Deno.readTextFile(join(dir, "report.html")), page);
    assert.deepEqual(
      [...Deno.readDirSync(dir)].map(({ name }) => name).filter((name) => name.endsWith(".part")),
      [],
    );
  });
});

// To look at the page: POLLARD_REPORT=/tmp/report.html deno test -A tests/report_test.ts
const look = Deno.env.get("POLLARD_REPORT");
if (look) await Deno.writeTextFile(look, pageOf(syntheticRun()));
