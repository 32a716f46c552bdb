/**
 * Reads a run folder into the record that reports are drawn from.
 *
 * @module
 */

import { join } from "node:path";
import {
  type DataRecord,
  type EnvironmentRecord,
  type EventRow,
  type MetricRow,
  parseHeadCsv,
  parseJsonLines,
  type Results,
  type RunRecord,
  type Sample,
} from "../record.ts";

/** The files of a run folder that a report is drawn from. */
export const RUN_FILES = {
  config: "config.json",
  environment: "environment.json",
  data: "data.json",
  metrics: "metrics.jsonl",
  events: "events.jsonl",
  heads: "heads.csv",
  samples: "samples.json",
  results: "results.json",
} as const;

const PHASES = new Set(["warmup", "analysis", "pruning", "finetuning", "evaluation"]);
const ARMS = new Set(["pruned", "unpruned_twin", "random_pruning"]);

/**
 * Reads a run folder. A run that goes on, or was killed, may lack the files that come late
 * (`metrics.jsonl`, `events.jsonl`, `heads.csv`, `samples.json`, `results.json`), and the last line
 * of a file may be cut short: both are read as far as they go.
 *
 * @throws {TypeError} If the folder is not a run folder, or a file does not hold what it should.
 * @throws {SyntaxError} If a file cannot be parsed.
 */
export async function readRun(dir: string): Promise<RunRecord> {
  const config = await readJson(dir, RUN_FILES.config);
  if (config === undefined) {
    throw new TypeError(`${dir} is not a run folder: it has no ${RUN_FILES.config}`);
  }
  const environment = await readJson(dir, RUN_FILES.environment);
  const data = await readJson(dir, RUN_FILES.data);
  const [metrics, events, heads] = await Promise.all(
    [RUN_FILES.metrics, RUN_FILES.events, RUN_FILES.heads].map((name) => readText(dir, name)),
  );
  const samples = await readJson(dir, RUN_FILES.samples);
  const results = await readJson(dir, RUN_FILES.results);

  const run: RunRecord = {
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
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`${join(dir, name)} must hold a JSON object`);
  }
  return value as Record<string, unknown>;
}

/** Metrics or events: every row says when, for which arm and, if at all, in which phase. */
function rows<Row>(text: string | undefined, dir: string, name: string): Row[] {
  if (text === undefined) return [];
  const path = join(dir, name);
  let found: Row[];
  try {
    found = parseJsonLines<Row>(text);
  } catch (error) {
    throw new SyntaxError(`${path}: ${(error as Error).message}`);
  }
  found.forEach((row, i) => {
    const { step, arm, phase } = (row ?? {}) as Partial<MetricRow>;
    const fail = (what: string, value: unknown) => {
      throw new TypeError(`${path} row ${i + 1}: ${what}: ${JSON.stringify(value)}`);
    };
    if (!Number.isInteger(step) || step! < 0) fail("step must be a whole number, 0 or more", step);
    if (!ARMS.has(arm as string)) fail("unknown arm", arm);
    if (phase !== undefined && !PHASES.has(phase)) fail("unknown phase", phase);
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
