/**
 * Reads run folders into the records that reports are drawn from.
 *
 * @module
 */

import { join } from "node:path";
import {
  type DataRecord,
  type EnvironmentRecord,
  type EventRow,
  type IntegrationCycle,
  type IntegrationRecord,
  type IntegrationResults,
  type MemoryRecord,
  type MetricRow,
  parseHeadCsv,
  parseJsonLines,
  type Results,
  RUN_MARK,
  type RunKind,
  type RunRecord,
  type Sample,
} from "../record.ts";

/** The files of run folders that reports are drawn from. */
export const RUN_FILES = {
  config: "config.json",
  environment: "environment.json",
  data: "data.json",
  metrics: "metrics.jsonl",
  events: "events.jsonl",
  heads: "heads.csv",
  samples: "samples.json",
  results: "results.json",
  cycles: "cycles.jsonl",
  memory: "memory/transformations.json",
} as const;

const PHASES = new Set(["warmup", "analysis", "pruning", "finetuning", "evaluation"]);
const ARMS = new Set(["pruned", "unpruned_twin", "random_pruning"]);

/** What every kind of run records. */
type Shared = Pick<
  RunRecord,
  "config" | "environment" | "data" | "metrics" | "events" | "heads"
>;

/**
 * Reads a run folder. A run that goes on, or was killed, may lack the files that come late
 * (`metrics.jsonl`, `events.jsonl`, `heads.csv`, `samples.json`, `results.json`), and the last line
 * of a file may be cut short: both are read as far as they go.
 *
 * @throws {TypeError} If the folder is not a run folder, or a file does not hold what it should.
 * @throws {SyntaxError} If a file cannot be parsed.
 */
export async function readRun(dir: string): Promise<RunRecord> {
  const shared = await readShared(dir);
  const samples = await readJson(dir, RUN_FILES.samples);
  const results = await readJson(dir, RUN_FILES.results);
  const run: RunRecord = shared;
  if (samples !== undefined) {
    if (!Array.isArray(samples)) {
      throw new TypeError(`${join(dir, RUN_FILES.samples)} must hold a list of samples`);
    }
    run.samples = samples as Sample[];
  }
  if (results !== undefined) {
    run.results = object(results, dir, RUN_FILES.results) as unknown as Results;
  }
  return run;
}

/**
 * Reads the folder of an integrated run. What comes late (`cycles.jsonl`, the memory, `results.json`,
 * the logs) may be absent or cut short, as for {@linkcode readRun}.
 *
 * @throws {TypeError} If the folder is not a run folder, or a file does not hold what it should.
 * @throws {SyntaxError} If a file cannot be parsed.
 */
export async function readIntegration(dir: string): Promise<IntegrationRecord> {
  const shared = await readShared(dir);
  const cycles = await readText(dir, RUN_FILES.cycles);
  const memory = await readJson(dir, RUN_FILES.memory);
  const results = await readJson(dir, RUN_FILES.results);
  const run: IntegrationRecord = { ...shared, cycles: cycleRows(cycles, dir) };
  if (memory !== undefined) {
    const { transformations } = object(memory, dir, RUN_FILES.memory);
    if (!listOf(isObject)(transformations)) {
      throw new TypeError(
        `${join(dir, RUN_FILES.memory)}: transformations must be a list of objects`,
      );
    }
    run.memory = memory as unknown as MemoryRecord;
  }
  if (results !== undefined) {
    const { cycle_metrics } = object(results, dir, RUN_FILES.results);
    if (!listOf(isObject)(cycle_metrics)) {
      throw new TypeError(
        `${join(dir, RUN_FILES.results)}: cycle_metrics must be a list of objects`,
      );
    }
    run.results = results as unknown as IntegrationResults;
  }
  return run;
}

/**
 * What kind of run a folder holds, by its `pollard-run.json`; without one, an experiment.
 *
 * @throws {TypeError | SyntaxError} If the file is damaged, or the kind unknown.
 */
export async function readKind(dir: string): Promise<RunKind> {
  const mark = await readJson(dir, RUN_MARK);
  if (mark === undefined) return "experiment";
  const { kind = "experiment" } = object(mark, dir, RUN_MARK);
  if (kind !== "experiment" && kind !== "integration") {
    throw new TypeError(`${join(dir, RUN_MARK)}: unknown kind of run: ${JSON.stringify(kind)}`);
  }
  return kind;
}

async function readShared(dir: string): Promise<Shared> {
  const config = await readJson(dir, RUN_FILES.config);
  if (config === undefined) {
    throw new TypeError(`${dir} is not a run folder: it has no ${RUN_FILES.config}`);
  }
  const environment = await readJson(dir, RUN_FILES.environment);
  const data = await readJson(dir, RUN_FILES.data);
  const [metrics, events, heads] = await Promise.all(
    [RUN_FILES.metrics, RUN_FILES.events, RUN_FILES.heads].map((name) => readText(dir, name)),
  );
  return {
    config: object(config, dir, RUN_FILES.config),
    environment: object(
      environment,
      dir,
      RUN_FILES.environment,
    ) as unknown as EnvironmentRecord,
    data: object(data, dir, RUN_FILES.data) as unknown as DataRecord,
    metrics: rows<MetricRow>(metrics, dir, RUN_FILES.metrics),
    events: rows<EventRow>(events, dir, RUN_FILES.events),
    heads: headRows(heads, dir),
  };
}

async function readText(dir: string, name: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(join(dir, name));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function readJson(dir: string, name: string): Promise<unknown> {
  const text = await readText(dir, name);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`Cannot parse ${join(dir, name)}: ${(error as Error).message}`);
  }
}

function object(value: unknown, dir: string, name: string): Record<string, unknown> {
  if (value === undefined) throw new TypeError(`${dir} is not a run folder: it has no ${name}`);
  if (!isObject(value)) throw new TypeError(`${join(dir, name)} must hold a JSON object`);
  return value;
}

/** Metrics or events: every row says when, for which arm and, if at all, in which phase. */
function rows<Row>(text: string | undefined, dir: string, name: string): Row[] {
  return checkedRows<Row>(text, dir, name, (row, fail) => {
    const { step, arm, phase } = row as Partial<MetricRow>;
    if (!Number.isInteger(step) || step! < 0) fail("step must be a whole number, 0 or more", step);
    if (!ARMS.has(arm as string)) fail("unknown arm", arm);
    if (phase !== undefined && !PHASES.has(phase)) fail("unknown phase", phase);
  });
}

/** Cycles: every row has the parts that the page looks into; their numbers may be missing. */
function cycleRows(text: string | undefined, dir: string): IntegrationCycle[] {
  return checkedRows<IntegrationCycle>(text, dir, RUN_FILES.cycles, (row, fail) => {
    const { cycle } = row;
    if (!Number.isInteger(cycle) || (cycle as number) < 1) {
      fail("cycle must be a whole number, 1 or more", cycle);
    }
    for (const [name, [is, what]] of Object.entries(CYCLE_PARTS)) {
      if (!is(row[name])) fail(`${name} must be ${what}`, row[name]);
    }
    const { pruning, growth } = row.ratings as Record<string, unknown>;
    if (!isObject(pruning)) fail("ratings.pruning must be an object", pruning);
    if (!isObject(growth)) fail("ratings.growth must be an object", growth);
    const { preferences, rounds = [] } = row.advice as Record<string, unknown>;
    if (!isObject(preferences)) fail("advice.preferences must be an object", preferences);
    if (!listOf((round) => isObject(round) && listOf(isObject)(round.decisions))(rounds)) {
      fail("advice.rounds must be a list, each with a list of decisions", rounds);
    }
  });
}

type Check = (value: unknown) => boolean;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount: Check = (value) => Number.isInteger(value) && (value as number) >= 0;
const listOf = (is: Check): Check => (value) => Array.isArray(value) && value.every(is);
const isPlace: Check = (value) => listOf(isCount)(value) && (value as number[]).length === 2;

const FLAG: [Check, string] = [(value) => typeof value === "boolean", "true or false"];
const TEXT: [Check, string] = [(value) => typeof value === "string", "a text"];
const OBJECT: [Check, string] = [isObject, "an object"];
const PLACES: [Check, string] = [listOf(isPlace), "a list of [layer, head]"];

/** What a cycle's parts must be. */
const CYCLE_PARTS: Partial<Record<keyof IntegrationCycle, [is: Check, what: string]>> = {
  success: FLAG,
  replayed: FLAG,
  pruning_strategy: TEXT,
  growth_strategy: TEXT,
  pruned_heads: PLACES,
  grown_heads: PLACES,
  initial: OBJECT,
  pruned: OBJECT,
  grown: OBJECT,
  final: OBJECT,
  ratings: OBJECT,
  heads_before: [listOf(listOf(isCount)), "a list of the heads of each layer"],
  advice: OBJECT,
  gates: [listOf(Array.isArray), "a list of the gates of each layer"],
};

/** JSON Lines of which every row is an object that passes a check. */
function checkedRows<Row>(
  text: string | undefined,
  dir: string,
  name: string,
  check: (row: Record<string, unknown>, fail: (what: string, value: unknown) => never) => void,
): Row[] {
  if (text === undefined) return [];
  const path = join(dir, name);
  let found: Row[];
  try {
    found = parseJsonLines<Row>(text);
  } catch (error) {
    throw new SyntaxError(`${path}: ${(error as Error).message}`);
  }
  found.forEach((row, i) => {
    check((row ?? {}) as Record<string, unknown>, (what, value) => {
      throw new TypeError(`${path} row ${i + 1}: ${what}: ${JSON.stringify(value)}`);
    });
  });
  return found;
}

function headRows(text: string | undefined, dir: string): RunRecord["heads"] {
  // Only a whole line ends with a line feed: what a killed run left after the last one is dropped.
  const whole = text?.slice(0, text.lastIndexOf("\n") + 1);
  if (!whole) return [];
  try {
    return parseHeadCsv(whole);
  } catch (error) {
    throw new SyntaxError(`${join(dir, RUN_FILES.heads)}: ${(error as Error).message}`);
  }
}
