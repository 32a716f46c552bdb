/** What a run is called, how it was started, and what its page says of that. */
import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { parseExperiment } from "../scripts/experiment_options.ts";
import { parseIntegration } from "../scripts/integration_command.ts";
import { parseUpgrade } from "../scripts/upgrade_command.ts";
import { DEFAULTS } from "../src/experiment/options.ts";
import { startExperiment } from "../src/experiment/run.ts";
import { RUN_MARK } from "../src/record.ts";
import { aboutLine } from "../src/report/about.ts";
import { pageHtml } from "../src/report/document.ts";
import { renderIntegration } from "../src/report/integration_page.ts";
import { renderPage } from "../src/report/page.ts";
import { drawReport } from "../src/report/write.ts";
import { readRun } from "../src/report/read.ts";
import { aboutRun } from "../src/run/about.ts";
import { gpu } from "./gpu.ts";
import { syntheticIntegration } from "./integration_fixture.ts";
import { recordFiles, withFiles } from "./record_files.ts";
import { syntheticRun } from "./report_fixture.ts";

Deno.test("--run_name names a new run, and no other", async () => {
  assert.equal(parseExperiment(["--run_name", "first try"]).name, "first try");
  assert.equal(parseIntegration(["--run-name=mine"]).name, "mine");
  assert.equal((await parseUpgrade(["--model", "embedded", "--run_name", "mine"])).name, "mine");
  assert.equal(parseExperiment([]).name, undefined);
  const refused: [string[], RegExp][] = [
    [["--run_name", "a", "--run_dir", "b"], /--run_name names one that is made: give one/],
    [["--run_name", "a", "--resume", "b"], /run_name cannot be changed by --resume/],
    [["--run_name", ""], /run_name/],
  ];
  for (const [args, message] of refused) assert.throws(() => parseExperiment(args), message);
});

Deno.test("what is kept of a run: its name, the command, and which options are no defaults", async () => {
  const args = ["--run_name", "it's mine", "--cycles", "1", "--seed", "42"];
  const { options, name } = parseExperiment(args);
  assert.deepEqual(aboutRun(options!, DEFAULTS, name), {
    name: "it's mine",
    command: "deno task experiment --run_name 'it'\\''s mine' --cycles 1 --seed 42",
    changed: ["cycles"],
  });
  const dir = await Deno.makeTempDir({ prefix: "pollard-about-" });
  try {
    const output_dir = join(dir, "runs");
    using run = await startExperiment(gpu, { ...options, output_dir }, {}, name);
    assert.match(basename(run.folder.dir), /^\d{4}-\d\d-\d\d-\d{6}-it_s_mine$/);
    const { about } = await readRun(run.folder.dir);
    assert.equal(about?.name, "it's mine");
    assert.match(about?.created ?? "", /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual(about?.changed, ["cycles", "output_dir"]);
    assert.match(about?.command ?? "", /^deno task experiment --run_name /);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("pages say which run it is, and what it was asked to do", () => {
  const line = "Run made-up run, begun 2026-01-02 03:04 UTC: Pollard 0.1.0 on Deno 2.9.6, " +
    "llvmpipe (LLVM 19.1, 256 bits).";
  const run = syntheticRun();
  assert.equal(aboutLine(run), line);
  const pages = [
    [pageHtml(renderPage(run)), "made-up run", "experiment", "pruning_level</th><td>0.3"],
    [
      pageHtml(renderIntegration(syntheticIntegration())),
      ...["made-up cycles", "integrate", "controller_type</th><td>mlp"],
    ],
  ];
  for (const [page, name, task, option] of pages) {
    assert.ok(page.includes(`<p class="quiet">Run ${name}, begun 2026-01-02 03:04 UTC: `));
    const [, section] = /<section id="run">(.*?)<\/section>/s.exec(page)!;
    for (
      const cell of [
        `Name</th><td>${name}<`,
        "Begun</th><td>2026-01-02 03:04 UTC<",
        `Command</th><td>deno task ${task} --seed 7<`,
        "Pollard</th><td>0.1.0<",
        "Deno</th><td>2.9.6<",
        "Options that differ from the defaults</th><td>2<",
        "--seed</th><td>7<",
        `--${option}<`,
      ]
    ) assert.ok(section.includes(cell), `${cell} is not in ${section}`);
  }
});

Deno.test("a folder without a mark, or with an old one, is called after itself", async () => {
  const files = recordFiles(syntheticRun());
  await withFiles(files, async (dir, put) => {
    await put(RUN_MARK, `{ "format": 1 }`);
    assert.deepEqual((await readRun(dir)).about, { name: basename(dir) });
    const page = pageHtml(await drawReport(dir));
    assert.ok(page.includes(`Run ${basename(dir)}: Pollard 0.1.0 on Deno 2.9.6`));
    assert.ok(!page.includes("differ from the defaults"));
    await Deno.remove(join(dir, RUN_MARK));
    assert.equal((await readRun(dir)).about, undefined);
    assert.ok(pageHtml(await drawReport(dir)).includes(">Run: Pollard 0.1.0 on Deno 2.9.6"));
  });
});
