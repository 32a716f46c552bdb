/** The documents against what they describe: types, options, tasks, files, and the folders of real runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import denoJson from "../deno.json" with { type: "json" };
import { startIntegration } from "../src/experiment/integration.ts";
import { INTEGRATION_DEFAULTS } from "../src/experiment/integration_options.ts";
import { DEFAULTS } from "../src/experiment/options.ts";
import { startExperiment } from "../src/experiment/run.ts";
import { measureSpeed } from "../src/experiment/speed.ts";
import { compactWeights } from "../src/gpt2/checkpoint.ts";
import { HEAD_COLUMNS, parseJsonLines } from "../src/record.ts";
import { writeReport } from "../src/report/write.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const read = (path: string) => Deno.readTextFile(join(ROOT, path));
const page = await read("docs/run-folder.md");

// ---- tables of a page -----------------------------------------------------------------------

/** Cells of the table under `<!-- mark -->`, its head and rule left out. */
function table(mark: string): string[][] {
  const [, after] = page.split(`<!-- ${mark} -->\n`);
  assert.ok(after, `docs/run-folder.md has no table of ${mark}`);
  const [, , ...rows] = after.slice(0, after.search(/\n(?!\|)/)).split("\n");
  return rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** What a cell names in backticks: each name, and whether a `?` follows it. */
function named(cell: string): Map<string, boolean> {
  return new Map([...cell.matchAll(/`([^`]+)`(\?)?/g)].map(([, name, may]) => [name, may === "?"]));
}

/** The keys of a table, in order: whether each may be absent. */
function keysOf(mark: string): Map<string, boolean> {
  return new Map(table(mark).flatMap(([first]) => [...named(first)]));
}

// ---- the types of src/record.ts, as `deno doc` reads them -------------------------------------

/** A type in the output of `deno doc --json`, as far as it is looked at. */
interface DocType {
  kind: string;
  value: unknown;
}
interface DocProperty {
  name: string;
  optional?: boolean;
  tsType: DocType;
}

/** Keys of a type, and whether each may be absent. */
type Keys = Map<string, boolean>;

const declarations = await (async () => {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", join(ROOT, "src/record.ts")],
  }).output();
  assert.ok(success);
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  const [{ symbols }] = Object.values(nodes) as {
    symbols: { name: string; declarations: [{ def: Record<string, unknown> }] }[];
  }[];
  return new Map(symbols.map(({ name, declarations: [{ def }] }) => [name, def]));
})();

const plain = (properties: DocProperty[]): Keys =>
  new Map(properties.map(({ name, optional = false }) => [name, optional]));

/** Keys of an interface, those that it inherits first. */
function interfaceKeys(name: string): Keys {
  const { properties, extends: parents = [] } = declarations.get(name) as {
    properties: DocProperty[];
    extends?: { repr: string }[];
  };
  return new Map([
    ...parents.flatMap(({ repr }) => [...interfaceKeys(repr)]),
    ...plain(properties),
  ]);
}

/** Every kind of event with its own keys, and the keys that all have. */
function eventKeys(): { common: Keys; own: Map<string, Keys> } {
  const { tsType } = declarations.get("EventRow") as { tsType: DocType };
  const [shared, choice] = tsType.value as [DocType, DocType];
  const literals = ((choice.value as DocType).value as DocType[])
    .map(({ value }) => (value as { properties: DocProperty[] }).properties);
  const own = new Map(literals.map((properties) => {
    const event = properties.find(({ name }) => name === "event")!;
    const kind = (event.tsType.value as { string: string }).string;
    return [kind, plain(properties.filter(({ name }) => name !== "event"))];
  }));
  return { common: plain((shared.value as { properties: DocProperty[] }).properties), own };
}

/** The records of a run folder, by the names of their types. */
const RECORDS = [...page.matchAll(/<!-- record: (\w+) -->/g)].map(([, name]) => name)
  .filter((name) => name !== "EventRow");

Deno.test("the page of the run folder names every key of every record, and no other", () => {
  for (const name of RECORDS) {
    assert.deepEqual(keysOf(`record: ${name}`), interfaceKeys(name), name);
  }
  assert.deepEqual([...keysOf("record: HeadRow").keys()], [...HEAD_COLUMNS]);
});

Deno.test("the page tells every record that a run folder's types lead to", () => {
  const told = new Set(RECORDS), seen = new Set<string>();
  const follow = (name: string) => {
    if (seen.has(name) || !declarations.has(name)) return;
    seen.add(name);
    for (
      const [, inner] of JSON.stringify(declarations.get(name)).matchAll(/"typeName":"(\w+)"/g)
    ) {
      follow(inner);
    }
  };
  [
    "RunRecord",
    "IntegrationRecord",
    "SweepRecord",
    "ComparisonRecord",
    "BakeoffRecord",
    "SpeedRecord",
  ]
    .forEach(follow);
  // names and unions, the two roots, and a parent whose keys its child's table has
  const others = ["Arm", "Phase", "SweepState", "EventRow", "PlasticityCycle"]
    .concat(["RunRecord", "IntegrationRecord"]);
  assert.deepEqual([...seen].filter((name) => !others.includes(name)).sort(), [...told].sort());
});

Deno.test("the page names every event with its keys, and no other", () => {
  const { common, own } = eventKeys();
  const rows = new Map(
    table("events").map(([event, keys]) => [
      [...named(event).keys()][0],
      named(keys),
    ]),
  );
  assert.deepEqual(rows, own);
  const all = new Set([
    ...common.keys(),
    "event",
    ...[...own.values()].flatMap((k) => [...k.keys()]),
  ]);
  assert.deepEqual(new Set(keysOf("record: EventRow").keys()), all);
});

Deno.test("the page names every option, and no other", () => {
  for (
    const [kind, defaults] of [["experiment", DEFAULTS], ["integration", INTEGRATION_DEFAULTS]]
  ) {
    const keys = [...keysOf(`options: ${kind}`).keys()];
    assert.deepEqual(keys.sort(), Object.keys(defaults).sort(), String(kind));
  }
});

// ---- real runs --------------------------------------------------------------------------------

/** Every file of a folder, by its path from there. */
async function filesIn(dir: string, below = ""): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(join(dir, below))) {
    const path = below + name;
    files.push(...(isDirectory ? await filesIn(dir, `${path}/`) : [path]));
  }
  return files;
}

/** A file as the page writes it: numbers as N, models as their folder. */
function asTold(file: string): string {
  return file
    .replace(/^((baseline|model|models\/\w+)\/).*/, "$1")
    .replace(/(cycle_|step-|cycle-|best-)\d+/, "$1N")
    .replace(/^figures\/.*\.svg$/, "figures/*.svg");
}

/** Whether an object has the keys that a type demands, and none that it does not have. */
function assertKeys(value: object, keys: Keys, what: string): void {
  for (const key of Object.keys(value)) assert.ok(keys.has(key), `${what} has ${key}, untold`);
  for (const [key, optional] of keys) assert.ok(optional || key in value, `${what} lacks ${key}`);
}

const { dir, textFile, model, modelDir } = await makeTiny();
const shared = { model_name: modelDir, batch_size: 2, eval_tokens: 64, test_tokens: 64 };
const output_dir = join(dir, "runs");

Deno.test("the folder of an experiment holds what the page says", async () => {
  using experiment = await startExperiment(gpu, {
    ...{ ...shared, text: textFile, output_dir, max_length: 16 },
    ...{ warmup_steps: 4, finetuning_steps: 4, cycles: 2, pruning_level: 0.5, eval_freq: 2 },
    ...{ controller_update_freq: 2, pruning_mode: "adaptive" },
  });
  await experiment.run();
  const { folder } = experiment;
  await writeReport(folder.dir);
  await assertFolder(folder.dir, "experiment");
  const results = await json(folder.path("results.json"));
  assertKeys(results, interfaceKeys("Results"), "results.json");
  for (const cycle of results.cycles) assertKeys(cycle, interfaceKeys("CycleResult"), "a cycle");
  const samples = await json(folder.path("samples.json"));
  assert.ok(samples.length > 0);
  for (const sample of samples) assertKeys(sample, interfaceKeys("Sample"), "a sample");
});

Deno.test("the folder of an integrated run holds what the page says", async () => {
  using run = await startIntegration(gpu, {
    ...{ ...shared, dataset: textFile, output_dir, sequence_length: 16 },
    ...{ max_cycles: 1, training_steps: 3, controller_type: "mlp" },
  });
  const results = await run.run();
  const { folder } = run;
  await writeReport(folder.dir);
  await assertFolder(folder.dir, "integration");
  assertKeys(
    await json(folder.path("results.json")),
    interfaceKeys("IntegrationResults"),
    "results",
  );
  const cycles = parseJsonLines<typeof results.cycle_metrics[0]>(
    await Deno.readTextFile(folder.path("cycles.jsonl")),
  );
  assert.equal(cycles.length, 1);
  for (const cycle of cycles) {
    assertKeys(cycle, interfaceKeys("IntegrationCycle"), "a cycle");
    for (const point of [cycle.initial, cycle.pruned, cycle.grown, cycle.final]) {
      assertKeys(point, interfaceKeys("PlasticityMeasure"), "a measure");
    }
    assertKeys(cycle.advice, interfaceKeys("ControllerAdvice"), "advice");
    for (const round of cycle.advice.rounds!) {
      assertKeys(round, interfaceKeys("DecisionRound"), "a round");
      for (const one of round.decisions) {
        assertKeys(one, interfaceKeys("HeadDecision"), "a decision");
      }
    }
  }
  const memory = await json(folder.path("memory/transformations.json"));
  assertKeys(memory, interfaceKeys("MemoryRecord"), "the memory");
  for (const one of memory.transformations) {
    assertKeys(one, interfaceKeys("TransformationRecord"), "a transformation");
  }
});

Deno.test("the speed of a compact model holds what the page says", async () => {
  const live = [[0, 1], [3]], weights = compactWeights(model.config, live, model.weights);
  const speed = await measureSpeed(gpu, { ...model, live, weights }, { rounds: 1 });
  assertKeys(speed, interfaceKeys("SpeedRecord"), "speed.json");
  const { prefill, decoding } = speed;
  assertKeys(prefill, interfaceKeys("ComparedSpeed"), "prefill");
  assertKeys(decoding, interfaceKeys("DecodingSpeed"), "decoding");
  for (const { full, compact, speedup, operations } of [prefill, decoding]) {
    for (const form of [full, compact]) assertKeys(form, interfaceKeys("PassSpeed"), "a form");
    assertKeys(speedup, interfaceKeys("Spread"), "a spread");
    assertKeys(operations, interfaceKeys("WorkBound"), "a bound");
  }
});

// deno-lint-ignore no-explicit-any -- records of every kind, whose keys are what is tested
const json = async (path: string): Promise<any> => JSON.parse(await Deno.readTextFile(path));

/** What both kinds of run write. */
async function assertFolder(run: string, kind: "experiment" | "integration"): Promise<void> {
  const told = table("files").filter(([, of]) => of === "both" || of === kind)
    .flatMap(([file]) => [...named(file).keys()]);
  const there = new Set((await filesIn(run)).map(asTold));
  assert.deepEqual([...there].sort(), told.sort(), `files of an ${kind}`);
  const options = [...keysOf(`options: ${kind}`).keys()];
  assert.deepEqual(Object.keys(await json(join(run, "config.json"))).sort(), options.sort());
  const records = { "environment.json": "EnvironmentRecord", "data.json": "DataRecord" };
  for (const [file, type] of Object.entries(records)) {
    assertKeys(await json(join(run, file)), interfaceKeys(type), file);
  }
  const lines = async (file: string) =>
    parseJsonLines<Record<string, unknown>>(await Deno.readTextFile(join(run, file)));
  for (const row of await lines("metrics.jsonl")) {
    assertKeys(row, interfaceKeys("MetricRow"), "metrics.jsonl");
  }
  const { common, own } = eventKeys();
  for (const { event, ...row } of await lines("events.jsonl")) {
    assertKeys(row, new Map([...common, ...own.get(String(event))!]), `event ${event}`);
  }
  const [header] = (await Deno.readTextFile(join(run, "heads.csv"))).split("\n");
  assert.deepEqual(header.split(","), [...keysOf("record: HeadRow").keys()]);
}

// ---- the README and links ---------------------------------------------------------------------

Deno.test("the README's table of tasks has every task, and no other", async () => {
  const readme = await read("README.md");
  const [, rows] = /\n\| task \| what it does \|\n\| --- \| --- \|\n((?:\|.*\n)+)/.exec(readme)!;
  // those with a colon are parts of others
  const tasks = Object.keys(denoJson.tasks).filter((name) => !name.includes(":"));
  const told = rows.trim().split("\n").flatMap((row) => {
    const [, first, rest] = row.split(/(?<!\\)\|/);
    const [name] = /(?<=`)[\w-]+/.exec(first)!;
    // a row may tell of another task on the way
    return [name, ...[...named(rest).keys()].filter((other) => tasks.includes(other))];
  });
  assert.deepEqual([...new Set(told)].sort(), tasks.sort());
});

Deno.test("relative links of the documents lead to files, and to headings that are there", async () => {
  const pages = ["README.md"];
  for await (const { name } of Deno.readDir(join(ROOT, "docs"))) {
    if (name.endsWith(".md")) pages.push(`docs/${name}`);
  }
  assert.ok(pages.length > 4);
  for (const from of pages) {
    const prose = (await read(from)).replace(/```[^]*?```/g, "");
    for (const [, target] of prose.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, heading] = target.split("#");
      const file = path === "" ? from : join(from, "..", path);
      const found = await read(file).catch(() => undefined) ??
        await Deno.stat(join(ROOT, file)).then(() => "", () => undefined);
      assert.ok(found !== undefined, `${from}: there is no ${target}`);
      if (heading) assert.ok(headings(found).includes(heading), `${from}: no heading ${target}`);
    }
  }
});

/** Anchors of a page's headings, as GitHub makes them. */
function headings(text: string): string[] {
  return [...text.replace(/```[^]*?```/g, "").matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
    title.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(" ", "-")
  );
}
