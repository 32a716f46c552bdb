/**
 * The numbers behind the figures, as tables: for those who do not see the figures, and for those who
 * want to know exactly.
 *
 * @module
 */

import type { Arm, RunRecord } from "../record.ts";
import { gateMoments, median } from "./gates.ts";
import { type Html, markup } from "./html.ts";
import { type MapMetric, mapMoments } from "./maps.ts";
import { columnsTable, note, table } from "./parts.ts";
import { activeCurve, extent, phaseBands, pruneMarks, validationCurve } from "./series.ts";
import { evenly, headStory, momentName, type StoryRecords } from "./story.ts";
import {
  ARM_NAMES,
  loss,
  measured,
  minus,
  percent,
  perplexity,
  PHASE_NAMES,
  written,
} from "./theme.ts";

/** Rows of a table; the records hold the rest. */
const MOST_ROWS = 200;

/** Heads up to which each has a row of its own. */
const MOST_HEADS = 400;

const ARMS: Arm[] = ["pruned", "unpruned_twin", "random_pruning"];

/** When each phase began and ended. */
export function phasesTable(run: RunRecord): Html {
  const cut = new Map(pruneMarks(run).map(({ cycle, heads }) => [cycle, heads]));
  return table(
    ["Phase", "Cycle", "From step", "To step", "Heads pruned"],
    phaseBands(run).map(({ phase, cycle, start, end }) => [
      PHASE_NAMES[phase],
      cycle > 0 ? String(cycle) : "",
      String(start),
      String(end),
      phase === "pruning" ? String(cut.get(cycle) ?? 0) : "",
    ]),
    "numbers",
  );
}

interface LossRow extends Partial<Record<Arm, number>> {
  step: number;
}

/** Validation loss of every arm, and the difference from the twin. */
export function lossesTable(run: RunRecord): Html {
  const rows: LossRow[] = [];
  for (const arm of ARMS) {
    const seen = new Map<number, number>();
    for (const { step, value } of validationCurve(run, arm)) {
      // A step may carry several: before and after a pruning. Each arm's nth stands with the others'.
      const nth = seen.get(step) ?? 0;
      seen.set(step, nth + 1);
      const row = rows.filter((one) => one.step === step)[nth];
      if (row) row[arm] = value;
      else rows.push({ step, [arm]: value });
    }
  }
  rows.sort((a, b) => a.step - b.step);
  return thinned(rows, (kept) =>
    columnsTable<LossRow>(
      [
        ["Step", ({ step }) => String(step)],
        ...ARMS.map((arm) =>
          [capital(ARM_NAMES[arm]), (row: LossRow) =>
            row[arm] === undefined ? undefined : loss(row[arm])] as const
        ),
        ["Pruned minus twin", (row) =>
          minus(row.pruned, row.unpruned_twin)],
        ["Random minus twin", (row) => minus(row.random_pruning, row.unpruned_twin)],
        ["Perplexity, pruned model", ({ pruned }) =>
          pruned === undefined ? undefined : perplexity(Math.exp(pruned))],
      ],
      kept,
      "numbers",
    ), "metrics.jsonl");
}

/** At which steps the number of heads changed. */
export function headsLeftTable(run: RunRecord, total: number): Html {
  const points = activeCurve(run, "pruned")
    .filter(({ value }, i, all) => i === 0 || value !== all[i - 1].value);
  return table(
    ["From step", "Heads", "Sparsity"],
    points.map(({ step, value }) => [String(step), String(value), percent(1 - value / total)]),
    "numbers",
  );
}

/** What was measured of every head on the maps. */
export function mapTable(records: StoryRecords, metric: MapMetric): Html | undefined {
  const story = headStory(records);
  if (!story) return undefined;
  if (story.L * story.NH > MOST_HEADS) return note("They are in heads.csv.");
  const moments = mapMoments(story, metric);
  return table(
    ["Layer", "Head", ...moments.map(momentName)],
    Array.from({ length: story.L * story.NH }, (_, i) => [
      String(Math.floor(i / story.NH)),
      String(i % story.NH),
      ...moments.map(({ values, states }) => {
        const value = values[metric]?.[i];
        return measured(value) ? four(value) : states[i] === "pruned" ? "pruned" : "";
      }),
    ]),
    "numbers",
  );
}

/** Where the gates stood. */
export function gatesTable(records: StoryRecords): Html {
  return table(
    ["Moment", "Gates", "Least", "Median", "Greatest"],
    gateMoments(records).map((moment) => {
      const known = moment.values.gate!.filter(measured), [low, high] = extent(known);
      const at = [low, median(known), high].map((gate) => gate.toFixed(4));
      return [momentName(moment), String(known.length), ...at];
    }),
    "numbers",
  );
}

/** Who was pruned and who grown, when, and why. */
export function changesTable(records: StoryRecords): Html | undefined {
  const story = headStory(records);
  if (!story) return undefined;
  const rows = story.events.flatMap((events, i) =>
    events.map((event) => ({ ...event, layer: Math.floor(i / story.NH), head: i % story.NH }))
  ).sort((a, b) => a.cycle - b.cycle || a.step - b.step || (a.event < b.event ? 1 : -1));
  if (rows.length === 0) return undefined;
  return table(
    ["Cycle", "Step", "Layer", "Head", "What, and why"],
    rows.map(({ cycle, step, layer, head, reason, undone }) => [
      ...[cycle, step, layer, head].map((value) => written(value, String)),
      undone ? `${reason}; undone` : reason,
    ]),
    "words",
  );
}

/** A table of some of the rows where they are many, which says so. */
function thinned<Row>(
  rows: readonly Row[],
  write: (rows: readonly Row[]) => Html,
  file: string,
): Html {
  const kept = evenly(rows, MOST_ROWS);
  if (kept.length === rows.length) return write(rows);
  return markup`${write(kept)}${
    note(`${kept.length} of ${rows.length} rows; all are in ${file}.`)
  }`;
}

function capital(text: string): string {
  return text[0].toUpperCase() + text.slice(1);
}

function four(value: number): string {
  return String(Number(value.toPrecision(4))).replace("-", "−");
}
