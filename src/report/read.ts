/**
 * Reads run folders into the records that reports are drawn from.
 *
 * @module
 */

import { basename, join, resolve } from "node:path";
import {
  type AboutRun,
  type EventRow,
  type HeadRow,
  type IntegrationCycle,
  type IntegrationRecord,
  RUN_MARK,
  type RunKind,
  type RunRecord,
} from "../record.ts";
import { checkFolder } from "../data/files.ts";
import { readHeads, readLines, readRecord, type Row } from "./record_files.ts";
import {
  configForm,
  cycleForm,
  dataForm,
  environmentForm,
  eventForm,
  type Form,
  integrationResultsForm,
  markForm,
  memoryForm,
  metricForm,
  MOST_HEADS,
  resultsForm,
  samplesForm,
} from "./record_forms.ts";

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

/** What every kind of run records. */
type Shared = Pick<
  RunRecord,
  "about" | "config" | "environment" | "data" | "metrics" | "events" | "heads"
>;

/**
 * Reads a run folder. A run that goes on, or was killed, may lack the files that come late
 * (`metrics.jsonl`, `events.jsonl`, `heads.csv`, `samples.json`, `results.json`), and the last line
 * of a file may be cut short: both are read as far as they go.
 *
 * @throws {TypeError} If the folder is not a run folder, or a file does not hold what it should; the
 * message names the file and the line.
 * @throws {SyntaxError} If a file cannot be parsed.
 */
export async function readRun(dir: string): Promise<RunRecord> {
  const shared = await readShared(dir);
  const samples = await readRecord(join(dir, RUN_FILES.samples), samplesForm);
  const results = await readRecord(join(dir, RUN_FILES.results), resultsForm);
  return { ...shared, ...(samples && { samples }), ...(results && { results }) };
}

/**
 * Reads the folder of an integrated run. What comes late (`cycles.jsonl`, the memory, `results.json`,
 * the logs) may be absent or cut short, as for {@linkcode readRun}.
 *
 * @throws {TypeError} If the folder is not a run folder, or a file does not hold what it should; the
 * message names the file and the line.
 * @throws {SyntaxError} If a file cannot be parsed.
 */
export async function readIntegration(dir: string): Promise<IntegrationRecord> {
  const cycles = await readLines(join(dir, RUN_FILES.cycles), cycleForm);
  checkGrid(join(dir, RUN_FILES.cycles), cycles, placesOf);
  const shared = await readShared(dir);
  const memory = await readRecord(join(dir, RUN_FILES.memory), memoryForm);
  const results = await readRecord(join(dir, RUN_FILES.results), integrationResultsForm);
  return {
    ...shared,
    cycles: cycles.map(({ value }) => value),
    ...(memory && { memory }),
    ...(results && { results }),
  };
}

/**
 * What kind of run a folder holds, by its `pollard-run.json`; without one, an experiment.
 *
 * @throws {TypeError | SyntaxError} If the file is damaged, or the kind unknown.
 */
export async function readKind(dir: string): Promise<RunKind> {
  const mark = await readRecord(join(dir, RUN_MARK), markForm);
  return mark?.kind ?? "experiment";
}

async function readShared(dir: string): Promise<Shared> {
  const path = (file: keyof typeof RUN_FILES) => join(dir, RUN_FILES[file]);
  const needed = async <T>(file: keyof typeof RUN_FILES, form: Form<T>): Promise<T> => {
    const found = await readRecord(path(file), form);
    if (found !== undefined) return found;
    await checkFolder(dir);
    throw new TypeError(`${resolve(dir)} is not a run folder: it has no ${RUN_FILES[file]}`);
  };
  const config = await needed("config", configForm);
  const mark = await readRecord(join(dir, RUN_MARK), markForm);
  const environment = await needed("environment", environmentForm);
  const data = await needed("data", dataForm);
  const metrics = await readLines(path("metrics"), metricForm);
  const events = await readLines(path("events"), eventForm);
  const heads = await readHeads(path("heads"));
  const place = (row: EventRow | HeadRow): [number, number][] =>
    "layer" in row ? [[row.layer, row.head]] : [];
  const grid = checkGrid<HeadRow>(path("heads"), heads, place);
  checkGrid<EventRow>(path("events"), events, place, grid);
  return {
    ...(mark && { about: aboutOf(mark, dir) }),
    ...{ config, environment, data },
    metrics: metrics.map(({ value }) => value),
    events: events.map(({ value }) => value),
    heads: heads.map(({ value }) => value),
  };
}

function aboutOf({ name, created, command, changed }: AboutRun, dir: string): AboutRun {
  return {
    name: name ?? basename(resolve(dir)),
    ...(created !== undefined && { created }),
    ...(command !== undefined && { command }),
    ...(changed !== undefined && { changed }),
  };
}

/** The heads that a cycle names. */
function* placesOf(cycle: IntegrationCycle): Generator<[layer: number, head: number]> {
  const { heads_before, gates, pruned_heads, grown_heads, advice } = cycle;
  for (const [layer, heads] of heads_before.entries()) {
    for (const head of heads) yield [layer, head];
  }
  for (const [layer, row] of gates.entries()) yield [layer, row.length - 1];
  yield* pruned_heads;
  yield* grown_heads;
  for (const { decisions } of advice.rounds ?? []) {
    for (const { layer, head } of decisions) yield [layer, head];
  }
}

interface Grid {
  L: number;
  NH: number;
}

/** Pages draw every head that there can be: a number that is far off must not decide how many. */
function checkGrid<T>(
  path: string,
  rows: readonly Row<T>[],
  places: (value: T) => Iterable<readonly [layer: number, head: number]>,
  { L, NH }: Grid = { L: 0, NH: 0 },
): Grid {
  for (const { value, line } of rows) {
    for (const [layer, head] of places(value)) {
      L = Math.max(L, layer + 1);
      NH = Math.max(NH, head + 1);
      if (L * NH <= MOST_HEADS) continue;
      throw new TypeError(
        `${path} line ${line}: layer ${layer}, head ${head} makes a model of at least ` +
          `${L} x ${NH} heads: a report has room for ${MOST_HEADS}`,
      );
    }
  }
  return { L, NH };
}
