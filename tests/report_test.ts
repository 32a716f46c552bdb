import assert from "node:assert/strict";
import { join } from "node:path";
import {
  type Arm,
  type CycleResult,
  type EventRow,
  headCsvHeader,
  headCsvLine,
  type HeadRow,
  type MetricRow,
  type Phase,
  type RunRecord,
} from "../src/record.ts";
import {
  cyclesFigure,
  deathsFigure,
  differenceFigure,
  drawFigures,
  entropyFigure,
  FIGURE_NAMES,
  gatesFigure,
  gradientFigure,
  sparsityFigure,
  timelineFigure,
  validationFigure,
} from "../src/report/figures.ts";
import { pageHtml } from "../src/report/document.ts";
import { renderPage } from "../src/report/page.ts";
import { readRun } from "../src/report/read.ts";
import { differenceFromTwin, smooth, trainingCurve } from "../src/report/series.ts";
import { verdict } from "../src/report/verdict.ts";
import { writeReport } from "../src/report/write.ts";

interface Shape {
  L?: number;
  NH?: number;
  cycles?: number;
  warmup?: number;
  finetuning?: number;
  every?: number;
  controls?: boolean;
  finished?: boolean;
}

/** The page of a run, as a file holds it. */
function pageOf(run: RunRecord): string {
  return pageHtml(renderPage(run));
}

/**
 * A made-up run, for these tests only: no model was trained. Losses fall like a power of the step,
 * jump at a pruning and recover; every number is drawn from a seeded generator.
 */
function syntheticRun(shape: Shape = {}): RunRecord {
  const { L = 4, NH = 8, cycles = 3, warmup = 200, finetuning = 300, every = 25 } = shape;
  const { controls = true, finished = true } = shape;
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const noise = () => (random() + random() + random() - 1.5) * 0.09;
  const total = L * NH, perCycle = Math.floor(total * 0.3 / cycles);
  const metrics: MetricRow[] = [], events: EventRow[] = [], heads: HeadRow[] = [];
  const cycleResults: CycleResult[] = [], pruned: [number, number][] = [];
  const alive = Array.from({ length: total }, () => true);
  const arms: Arm[] = controls ? ["pruned", "unpruned_twin", "random_pruning"] : ["pruned"];
  const jump = { pruned: 0, unpruned_twin: 0, random_pruning: 0 };
  const scar = { pruned: 0.004, unpruned_twin: 0, random_pruning: 0.012 };
  let step = 0, cycle = 0, phase: Phase = "warmup";

  const level = (arm: Arm) =>
    3.1 + 1.4 / (1 + step / 120) + jump[arm] + scar[arm] * (arm === "unpruned_twin" ? 0 : cycle);
  const rest = (arm: Arm) => {
    const active = total - (arm === "unpruned_twin" ? 0 : pruned.length);
    return { active_heads: active, sparsity: 1 - active / total, tokens_seen: step * 256 };
  };
  const evaluate = (arm: Arm) => {
    const eval_loss = level(arm) + 0.06 + noise() * 0.04;
    metrics.push({
      step,
      phase,
      arm,
      cycle,
      eval_loss,
      perplexity: Math.exp(eval_loss),
      ...rest(arm),
    });
    return eval_loss;
  };
  const enter = (next: Phase) => {
    phase = next;
    events.push({ event: "phase", phase, step, cycle, arm: "pruned", time: step * 0.1 });
  };
  const train = (steps: number, which: Arm[]) => {
    for (let i = 0; i < steps; i++) {
      step++;
      const batch = noise();
      for (const arm of which) {
        jump[arm] *= 0.985;
        const loss = level(arm) + batch + noise() * 0.08;
        metrics.push({ step, phase, arm, cycle, loss, learning_rate: 5e-5, ...rest(arm) });
        if (step % every === 0 && i < steps - 1) evaluate(arm);
      }
    }
  };
  const look = (scores?: number[]) => {
    for (let i = 0; i < total; i++) {
      const measuredHere = alive[i]
        ? {
          gate: 0.9 + 0.06 * random(),
          entropy_nats: 1 + random(),
          entropy: 0.25 + 0.6 * random(),
          grad_norm: 10 ** (-2.5 + 1.6 * random()),
        }
        : {};
      heads.push({
        step,
        cycle,
        layer: Math.floor(i / NH),
        head: i % NH,
        alive: alive[i] ? 1 : 0,
        ...measuredHere,
        ...(scores && alive[i] ? { score: scores[i] } : {}),
      });
    }
  };

  enter("warmup");
  evaluate("pruned");
  train(warmup, ["pruned"]);
  events.push({
    event: "stable",
    reason: "std of the last 20 losses 0.041 < 0.05",
    step: Math.round(warmup * 0.85),
    cycle,
    arm: "pruned",
    time: 18,
  });
  let before = evaluate("pruned");
  for (cycle = 1; cycle <= cycles; cycle++) {
    enter("analysis");
    const scores = alive.map(() => random());
    look(scores);
    enter("pruning");
    const order = scores.map((score, i) => ({ score, i })).filter(({ i }) => alive[i])
      .sort((a, b) => a.score - b.score);
    const gone = order.slice(0, perCycle).map(({ score, i }, rank) => {
      alive[i] = false;
      const layer = Math.floor(i / NH), head = i % NH;
      events.push({
        ...{ event: "prune", layer, head, strategy: "combined", score },
        ...{ rank: rank + 1, of: order.length, step, cycle, arm: "pruned", time: step * 0.1 },
      });
      return [layer, head] as [number, number];
    });
    pruned.push(...gone);
    jump.pruned += 0.16;
    jump.random_pruning += 0.24;
    const after = evaluate("pruned");
    if (controls) {
      evaluate("random_pruning");
      evaluate("unpruned_twin");
    }
    enter("finetuning");
    train(finetuning, arms);
    const [recovered, twin, randomly] = arms.map(evaluate);
    cycleResults.push({
      ...{ cycle, pruned_heads: gone, ...rest("pruned"), loss_before: before },
      ...{ loss_after_pruning: after, loss_after_finetuning: recovered },
      ...(controls ? { unpruned_twin_loss: twin, random_pruning_loss: randomly } : {}),
    });
    before = recovered;
  }
  cycle = cycles;
  enter("evaluation");
  look();
  const run: RunRecord = {
    config: {
      ...{ model_name: "embedded", text: "moby_dick", pruning_level: 0.3, cycles, seed: 7 },
      ...{ batch_size: 4, max_length: 64, learning_rate: 5e-5, strategy: "combined" },
      ...{ controls, stop_words: ["<b>", "&"], controller: { reg_weight: 1e-4, update_freq: 10 } },
    },
    environment: {
      ...{ adapter: "llvmpipe (LLVM 19.1, 256 bits)", driver: "Mesa 25.0", backend: "vulkan" },
      ...{ software: true, os: "linux x86_64", deno: "2.9.6", pollard: "0.1.0" },
      autotune: { "forward 256x128x384": "tile4x8", "backward weight": "tile8x4" },
      limits: { maxBufferSize: 2147483648, maxStorageBufferBindingSize: 134217728 },
    },
    data: {
      ...{ text: "moby_dick", sha256: "ab".repeat(32), tokenizer_sha256: "cd".repeat(32) },
      model_sha256: "ef".repeat(32),
      parts: {
        train: { start: 0, end: 320000 },
        calibration: { start: 320000, end: 340000 },
        validation: { start: 340000, end: 380000 },
        test: { start: 380000, end: 420000 },
      },
    },
    ...{ metrics, events, heads },
  };
  if (!finished) return run;
  const final_loss = 3.2141, baseline_loss = 3.6312;
  const prompt = "The whale rose";
  run.samples = ["", " out of"].map((more, i) => ({
    prompt: prompt + more,
    seed: 11 + i,
    baseline: `${prompt}${more} of the ship, and the captain said to the men that he was not so ` +
      `much as a man of the sea; <i>and</i> the sea was a great deal of the sea.`,
    pruned: ` upon the deck, and all the crew were at the boats; “there she blows!” cried ` +
      `the mate & the harpooneers, and the line ran out.\nThen it was quiet.`,
  }));
  run.results = {
    ...{ baseline_loss, baseline_perplexity: Math.exp(baseline_loss) },
    ...{ final_loss, final_perplexity: Math.exp(final_loss) },
    ...(controls ? { unpruned_twin_loss: 3.2025, random_pruning_loss: 3.2398 } : {}),
    ...{ active_heads: total - pruned.length, total_heads: total, pruned_heads: pruned },
    ...{ final_sparsity: pruned.length / total, cycles: cycleResults },
    ...{ masked_loss: final_loss, compacted_loss: final_loss + 3e-7, reloaded_loss: final_loss },
    ...{ tokens_seen: step * 256, execution_time_s: 287.4, seed: 7 },
  };
  return run;
}

/** How many times a pattern occurs. */
function times(text: string, pattern: string | RegExp): number {
  return text.split(pattern).length - 1;
}

/** The children of the `<g>` with this description: one for each mark drawn. */
function marks(svg: string | undefined, label: string): number {
  assert.ok(svg !== undefined, "the figure is missing");
  const groups = svg.split(`aria-description="${label}"`).slice(1);
  assert.ok(groups.length > 0, `no marks called ${label}`);
  return groups.reduce(
    (sum, group) =>
      sum + times(group.slice(0, group.indexOf("</g>")), /<(?:path|rect|text|line|circle)[ >]/),
    0,
  );
}

/** Words that show a value that was not there. */
const HOLES = /\bNaN\b|undefined|Infinity|\[object|\bnull\b/;

/** What would make a browser fetch something, or run something. */
const REACHES_OUT = /<script|<link|<iframe|@import|\bsrc=|\bhref=|url\((?!#)|\bon\w+=/i;

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
  assert.equal(marks(svg, "unpruned twin, training loss"), 1);
  assert.equal(marks(svg, "random pruning, training loss") >= 1, true);
});

Deno.test("many short cycles keep their marks and shorten their labels", () => {
  const svg = timelineFigure(syntheticRun({ cycles: 9, finetuning: 30, L: 6, NH: 12 }))!;
  assert.equal(marks(svg, "pruning"), 9);
  assert.equal(times(svg, ">−2<"), 9);
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

Deno.test("the maps show every head that was measured and cross out the dead", () => {
  const run = syntheticRun();
  // The last snapshot follows the last pruning: nine of 32 heads are dead and not measured.
  for (const svg of [entropyFigure(run), gradientFigure(run)]) {
    assert.equal(marks(svg, "head"), 23);
    assert.equal(marks(svg, "head not measured"), 9);
    assert.equal(marks(svg, "pruned"), 9);
    assert.equal(marks(svg, "cycle of death"), 9);
  }
  assert.equal(marks(deathsFigure(run), "head"), 32);
  assert.equal(marks(deathsFigure(run), "cycle of death"), 9);
  assert.equal(marks(gatesFigure(run), "gate of a live head"), 23);
  const big = syntheticRun({ L: 12, NH: 12 });
  assert.equal(
    marks(entropyFigure(big), "head") + marks(entropyFigure(big), "head not measured"),
    144,
  );
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

Deno.test("the page stands alone: nothing to fetch, nothing to run, headings in order", () => {
  const page = pageOf(syntheticRun());
  assert.ok(page.length < 3_000_000, `${page.length} characters`);
  assert.doesNotMatch(page.replaceAll('xmlns="http://www.w3.org/2000/svg"', ""), /https?:\/\//);
  assert.doesNotMatch(page, REACHES_OUT);
  assert.doesNotMatch(page.replace(/<style>.*?<\/style>/gs, ""), HOLES);
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
    assert.ok(name === "timeline" || !svg.includes('stroke="var(--grey)"'), name);
  }
  for (const { caption, name } of drawFigures(run)) {
    assert.doesNotMatch(caption, /twin|random pruning|controls/i, name);
  }
  const page = pageOf(run);
  assert.doesNotMatch(page.replace(/<style>.*?<\/style>/gs, ""), HOLES);
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
  assert.ok(!page.includes('id="figure-cycles"') && !page.includes("Key numbers"));
  assert.doesNotMatch(page.replace(/<style>.*?<\/style>/gs, ""), HOLES);

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
  assert.doesNotMatch(pageOf(broken).replace(/<style>.*?<\/style>/gs, ""), HOLES);
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
  assert.doesNotMatch(page, /<script|<\/script/);
  assert.ok(!page.includes("\u0000"));
  assert.equal(times(page, "</title>"), times(page, "<title"));
  assert.ok(page.includes("&lt;script&gt;alert(1)"));
});

Deno.test("a run folder is read back, and its report written whole or not at all", async () => {
  const run = syntheticRun();
  const dir = await Deno.makeTempDir();
  const put = (name: string, text: string) => Deno.writeTextFile(join(dir, name), text);
  try {
    await assert.rejects(readRun(dir), /is not a run folder: it has no config\.json/);
    await put("config.json", JSON.stringify(run.config));
    await put("environment.json", JSON.stringify(run.environment));
    await put("data.json", JSON.stringify(run.data));
    await put("metrics.jsonl", run.metrics.map((row) => JSON.stringify(row) + "\n").join(""));
    await put("events.jsonl", run.events.map((row) => JSON.stringify(row) + "\n").join(""));
    // The last line was being written when the run was killed.
    await put(
      "heads.csv",
      headCsvHeader() + run.heads.map(headCsvLine).join("") + "900,3,0,1,1,0.9",
    );
    await put("samples.json", JSON.stringify(run.samples));
    await put("results.json", JSON.stringify(run.results));
    assert.deepEqual(await readRun(dir), run);

    await writeReport(dir);
    const page = await Deno.readTextFile(join(dir, "report.html"));
    assert.equal(page, pageOf(run));
    const figures = [...Deno.readDirSync(join(dir, "figures"))].map(({ name }) => name).sort();
    assert.deepEqual(figures, FIGURE_NAMES.map((name) => `${name}.svg`).sort());

    await put("metrics.jsonl", `{"step":1,"arm":"prunned","phase":"warmup"}\n`);
    await assert.rejects(writeReport(dir), /metrics\.jsonl row 1: unknown arm: "prunned"/);
    await put("results.json", "{");
    await assert.rejects(writeReport(dir), /metrics\.jsonl|results\.json/);
    assert.equal(await Deno.readTextFile(join(dir, "report.html")), page);
    assert.deepEqual(
      [...Deno.readDirSync(dir)].map(({ name }) => name).filter((name) => name.endsWith(".part")),
      [],
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

// To look at the page: POLLARD_REPORT=/tmp/report.html deno test -A tests/report_test.ts
const look = Deno.env.get("POLLARD_REPORT");
if (look) await Deno.writeTextFile(look, pageOf(syntheticRun()));
