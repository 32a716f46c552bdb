/**
 * The page that compares runs: losses against heads removed, with the spread over seeds.
 *
 * @module
 */
import { join, relative, resolve } from "node:path";
import { commonFolder, pathHref } from "../data/paths.ts";
import {
  type ComparedGroup,
  COMPARISON_FILE,
  type Estimate,
  type PairedDifference,
  RUN_MARK,
  SWEEP_FILE,
} from "../record.ts";
import { writeWhole } from "../data/files.ts";
import { collectRuns } from "./collect.ts";
import { type ComparedRun, readCompared } from "./compared.ts";
import { compareRuns, type Comparison, type Group, seedsOf, type Series } from "./comparing.ts";
import { COMPARISON_FIGURES, drawComparisonFigures, sharePercent } from "./comparison_figures.ts";
import { comparisonVerdict, differencesInWords, runsInWords } from "./comparison_words.ts";
import type { Page } from "./document.ts";
import { type Html, markup, type MarkupValue } from "./html.ts";
import {
  type Column,
  columnsTable,
  contents,
  dataTables,
  figureHtml,
  note,
  recordTable,
  section,
  table,
} from "./parts.ts";
import { count, loss, minus, signed, written } from "./theme.ts";
import { adaptersInWords, comparisonRecord, pairedGroups } from "./paired.ts";
import { commonConfig, commonRecord, differingOptions, differingPlaces } from "./variants.ts";
import { writePage } from "./write_page.ts";

/** Draws the page of several runs. */
export function renderComparison(runs: readonly ComparedRun[]): Page {
  const comparison = compareRuns(runs);
  const { series, variants } = comparison;
  const figures = drawComparisonFigures(comparison);
  const show = (name: string) =>
    figures.filter((figure) => figure.name === name).map((figure) => figureHtml(figure, false));
  const [verdict, ...rest] = comparisonVerdict(comparison);
  const sections = [
    section("Loss against heads removed", [
      ...show(COMPARISON_FIGURES[0]),
      ...(series.length > 0 ? [groupsTable(series), groupsNote(series)] : []),
    ]),
    section("Paired by seed", series.length > 0 && pairedTable(comparison)),
    section("Cycle by cycle", show(COMPARISON_FIGURES[1])),
    section("Runs", runsTable(comparison)),
    section("What differs", variants.length > 0 && differences(comparison)),
    section("What all have in common: configuration", recordTable(commonConfig(runs))),
    section("Environment", environmentTable(runs)),
    section("Data", dataOf(runs)),
  ];
  return {
    title: "Pollard comparison",
    verdict,
    standing: [rest.join(" "), adaptersInWords(comparison), asked(runs) + runsInWords(runs)]
      .filter((line) => line !== ""),
    body: [contents(sections), sections],
    ...{ figures, names: COMPARISON_FIGURES },
  };
}

/**
 * Reads several run folders and draws their comparison; nothing is written.
 *
 * @param dirs Run folders; one that is named twice counts once.
 * @param base Folders are named relative to it.
 * @throws {TypeError | SyntaxError} If one is not a run folder, or a file in it is broken.
 */
export async function drawComparison(dirs: readonly string[], base: string): Promise<Page> {
  return renderComparison(await readNamed(dirs, base));
}

async function readNamed(dirs: readonly string[], base: string): Promise<ComparedRun[]> {
  const all = [...new Set(dirs.map((dir) => resolve(dir)))];
  return namedFrom(base, await Promise.all(all.map(readCompared)));
}

/**
 * Reads several run folders and writes their comparison: `report.html`, `figures/*.svg`, `comparison.json`.
 *
 * @param output Where; the folder that holds them all unless given. It must not be a run's own.
 * @returns The path of `report.html`.
 * @throws {TypeError | SyntaxError} If one is not a run folder, or a file in it is broken, or there
 * is another report where this one is to go; nothing was written then.
 */
export async function writeComparison(
  dirs: readonly string[],
  { output = besideAll(dirs) }: { output?: string } = {},
): Promise<string> {
  const marks = [[RUN_MARK, "a run"], [SWEEP_FILE, "a sweep"], ["bakeoff.json", "a bake-off"]];
  for (const [mark, whose] of marks) {
    if (!await exists(join(output, mark))) continue;
    throw new TypeError(
      `${output} is the folder of ${whose}, whose own report is there: name another by --output`,
    );
  }
  const runs = await readNamed(dirs, output);
  await Deno.mkdir(output, { recursive: true });
  return await write(output, runs, renderComparison(runs));
}

/** Writes a comparison's page, and what it says for programs. */
async function write(dir: string, runs: readonly ComparedRun[], page: Page): Promise<string> {
  const record = comparisonRecord(compareRuns(runs));
  await writeWhole(join(dir, COMPARISON_FILE), JSON.stringify(record, null, 2) + "\n");
  return await writePage(dir, page);
}

/**
 * Draws the comparison of a sweep as far as it is, or of all run folders in a folder; nothing is written.
 *
 * @param runs The runs; what {@linkcode collectRuns} finds unless given.
 * @throws {TypeError} If there are none, or a sweep's plan is broken.
 */
export async function drawSweep(dir: string, runs?: readonly ComparedRun[]): Promise<Page> {
  return sweepPage(namedFrom(dir, runs ?? await collectRuns(dir)));
}

function sweepPage(runs: readonly ComparedRun[]): Page {
  return { ...renderComparison(runs), title: "Pollard sweep" };
}

/** Writes the same into that folder. @returns The path of `report.html`. */
export async function writeSweep(dir: string, runs?: readonly ComparedRun[]): Promise<string> {
  const own = namedFrom(dir, runs ?? await collectRuns(dir));
  return await write(dir, own, sweepPage(own));
}

/** Where the comparison of some folders goes. */
function besideAll(dirs: readonly string[]): string {
  const common = commonFolder(dirs.map((dir) => resolve(dir)));
  if (common !== undefined) return relative(".", common) || ".";
  throw new TypeError("no folder holds all of these runs: say by --output where the page goes");
}

/** Names runs by their folders as they are seen from the page's folder. */
export function namedFrom(base: string, runs: readonly ComparedRun[]): ComparedRun[] {
  return runs.map((run) =>
    run.dir === undefined ? run : { ...run, name: relative(resolve(base), resolve(run.dir)) || "." }
  );
}

interface Row {
  series: Series;
  group: Group;
}

function groupsTable(series: readonly Series[]): Html {
  const rows = series.flatMap((one) => one.groups.map((group): Row => ({ series: one, group })));
  rows.sort((a, b) => a.group.share - b.group.share || a.group.twin.mean - b.group.twin.mean);
  const columns: Column<Row>[] = [
    ["Strategy", ({ series }) => series.name],
    ["Level asked", ({ group }) => written(group.level, sharePercent)],
    ["Heads removed", ({ group }) => removedOf(group)],
    ["Seeds", ({ group }) => seedCount(group)],
    ["Minus twin, mean", ({ group }) => signed(group.twin.mean)],
    ["Least", ({ group }) => spreadOnly(group, group.twin.least)],
    ["Greatest", ({ group }) => spreadOnly(group, group.twin.most)],
    ["Standard deviation", ({ group }) => written(group.twin.deviation, loss)],
    ["Minus random, mean", ({ group }) => written(group.random?.mean, signed)],
    [
      "Better than random",
      ({ group: { better, beside } }) => beside > 0 ? `${better} of ${beside}` : undefined,
    ],
  ];
  return columnsTable(columns, rows, "numbers");
}

function groupsNote(series: readonly Series[]): Html {
  const random = series.some(({ floor }) => floor);
  const own = series.some(({ name }) => name.startsWith("random, as a strategy"));
  return note(
    "Losses are of test text, in nats per token; the unpruned twin is at zero.",
    "What is the same twice, with one seed and all its losses, counts once.",
    "A spread takes two seeds, a standard deviation (n − 1) three.",
    random && "Random pruning, control, runs inside the other runs, as many heads at the same " +
        "steps, without a controller; those of all runs are pooled.",
    own && "Random as a strategy is a run of its own, whose controller trains gates.",
    "“Minus random” sets each run against the random pruning beside it, then averages.",
  );
}

function pairedTable(comparison: Comparison): MarkupValue {
  const interval = ({ interval }: Estimate) =>
    interval && `${signed(interval[0])} to ${signed(interval[1])}`;
  const judged = ({ smaller_than_error: smaller }: PairedDifference) =>
    smaller === undefined
      ? undefined
      : smaller
      ? "smaller than its error"
      : "larger than its error";
  const columns: Column<ComparedGroup>[] = [
    ["Strategy", ({ strategy }) => strategy],
    ["Heads removed", ({ removed }) => sharePercent(removed)],
    ["n", ({ pruned }) => String(pruned.n)],
    ["Pruned", ({ pruned }) => loss(pruned.mean)],
    ["Standard deviation", ({ pruned }) => written(pruned.deviation, loss)],
    ["Minus twin", ({ pruned_minus_twin: own }) => signed(own.mean)],
    ["95 % interval", ({ pruned_minus_twin: own }) => interval(own)],
    ["", ({ pruned_minus_twin: own }) => judged(own)],
    ["Minus random", ({ pruned_minus_random: own }) => own && signed(own.mean)],
    ["95 % interval", ({ pruned_minus_random: own }) => own && interval(own)],
    ["", ({ pruned_minus_random: own }) => own && judged(own)],
  ];
  return [
    columnsTable(columns, pairedGroups(comparison), "numbers"),
    note(
      "Each run is set against the twin and the random pruning that ran beside it, with the same seed " +
        "and batches; then the mean is taken over n seeds.",
      "The interval is the 95 % confidence interval of that mean, by Student’s t with n − 1 degrees of " +
        "freedom. Where it holds zero, the difference is smaller than its error.",
      "comparison.json has the same for programs.",
    ),
  ];
}

function removedOf({ points }: Group): string {
  const counts = points.map(({ removed }) => removed);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const totals = [...new Set(points.map(({ total }) => total))];
  return `${least === most ? least : `${least} to ${most}`} of ${totals.join(" or ")}`;
}

function seedCount(group: Group): string {
  const seeds = seedsOf(group), runs = group.points.length;
  return runs === seeds ? String(seeds) : `${seeds} (${runs} runs)`;
}

function spreadOnly(group: Group, value: number): string | undefined {
  return seedsOf(group) > 1 ? signed(value) : undefined;
}

function runsTable({ runs, variantOf }: Comparison): Html {
  const lettered = [...variantOf.values()].some(({ letter }) => letter !== "");
  const integrated = runs.some(({ kind }) => kind === "integration");
  const columns: [string, (run: ComparedRun) => MarkupValue][] = [
    ["Run", folderLink],
    [integrated ? "Strategy or controller" : "Strategy", ({ strategy }) => strategy],
    ["Level", ({ level }) => written(level, sharePercent)],
    ["Seed", ({ seed }) => written(seed, String)],
    [
      "Heads removed",
      ({ removed, total }) => removed === undefined ? undefined : `${removed} of ${total}`,
    ],
    ["Test loss", (run) => written(run.loss, loss)],
    ["Unpruned twin", ({ twin }) => written(twin, loss)],
    ["Minus twin", (run) => minus(run.loss, run.twin)],
    ["Random pruning", ({ random }) => written(random, loss)],
    ["State", ({ state, reason }) => reason === undefined ? state : `${state}: ${reason}`],
  ];
  if (lettered) columns.splice(2, 0, ["Configuration", (run) => variantOf.get(run)?.letter]);
  return table(
    columns.map(([name]) => name),
    runs.map((run) => columns.map(([, value]) => value(run) ?? "")),
    "numbers runs",
  );
}

/** A run's folder, which leads to its own report where it has one. */
function folderLink({ name, page }: ComparedRun): MarkupValue {
  if (!page) return name;
  return markup`<a href="${pathHref(name)}/report.html">${name}</a>`;
}

function differences(comparison: Comparison): MarkupValue {
  const { runs, variants } = comparison;
  const kinds = [...new Set(variants.map(({ kind }) => kind))];
  const places = [...differingPlaces(runs)];
  return [
    markup`<p>${differencesInWords(comparison)}</p>\n`,
    kinds.map((kind) => {
      const own = variants.filter((variant) => variant.kind === kind);
      const rows = differingOptions(own);
      if (rows.length === 0) return undefined;
      const head = ["Option", ...own.map(({ letter }) => letter)];
      return table(
        head,
        rows.map(({ name, values }) => [name, ...values.map((value) => value ?? "")]),
        "words",
      );
    }),
    places.length === 0 ? undefined : [
      markup`<p>These differ too, without changing what is asked of a run. Another adapter, system or
version gives other roundings, which training enlarges.</p>\n`,
      table(
        ["What", "Values"],
        places.map(([name, values]) => [
          name,
          [...values].map(([value, n]) => `${value} (${count(n)} of ${runs.length})`).join("; "),
        ]),
        "words",
      ),
    ],
  ];
}

function environmentTable(runs: readonly ComparedRun[]): Html | false {
  const environment = commonRecord(runs, "environment");
  return environment ? recordTable(environment) : false;
}

function dataOf(runs: readonly ComparedRun[]): MarkupValue | false {
  const data = commonRecord(runs, "data");
  return data ? dataTables(data) : false;
}

/** What was compared on what, where all have the same. */
function asked(runs: readonly ComparedRun[]): string {
  const names = [commonConfig(runs).model_name, commonRecord(runs, "data")?.text];
  const known = names.filter((part) => typeof part === "string");
  return known.length > 0 ? `${known.join(" on ")}. ` : "";
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
