/**
 * The tables of an integrated run: its cycles, its controller and its memory in numbers.
 *
 * @module
 */

import type { IntegrationCycle, MemoryRecord, TransformationRecord } from "../record.ts";
import { markup, type MarkupValue } from "./html.ts";
import { outcome } from "./integration.ts";
import { liveAfter } from "./life.ts";
import { type Column, columnsTable, note } from "./parts.ts";
import { duration, loss, measured, minus, percent, plural, signed, written } from "./theme.ts";

/** The cycles in two tables: what each one did, and what that did to the model. */
export function cyclesTables(cycles: readonly IntegrationCycle[]): MarkupValue {
  const done: Column<IntegrationCycle>[] = [
    ["Cycle", ({ cycle }) => String(cycle)],
    ["Pruned by", ({ pruning_strategy }) => pruning_strategy],
    ["Level", ({ pruning_level }) => written(pruning_level, percent)],
    ["Grown by", ({ growth_strategy }) => growth_strategy],
    ["Ratio", ({ growth_ratio }) => written(growth_ratio, percent)],
    ["Plan", ({ replayed }) => replayed ? "replayed" : "new"],
    ["Heads", headsTold],
    ["Steps", ({ training_steps }) => written(training_steps, String)],
    ["Time", ({ cycle_time_s }) => written(cycle_time_s, duration)],
    ["Outcome", outcome],
  ];
  const came: Column<IntegrationCycle>[] = [
    ["Cycle", ({ cycle, success }) => success ? String(cycle) : `(${cycle})`],
    ["Before", ({ initial }) => written(initial.loss, loss)],
    ["After pruning", ({ pruned }) => written(pruned.loss, loss)],
    ["After growth", ({ grown }) => written(grown.loss, loss)],
    ["After training", ({ final }) => written(final.loss, loss)],
    ["Unpruned twin", ({ unpruned_twin_loss }) => written(unpruned_twin_loss, loss)],
    ["Minus twin", ({ final, unpruned_twin_loss }) => minus(final.loss, unpruned_twin_loss)],
    ["Random pruning", ({ random_pruning_loss }) => written(random_pruning_loss, loss)],
    ["Minus random", ({ final, random_pruning_loss }) => minus(final.loss, random_pruning_loss)],
    ["Perplexity change", (cycle) => written(cycle.perplexity_improvement, (drop) => rise(-drop))],
    ["Degeneration / baseline’s", degenerationTold],
    ["Quality", ({ final }) => written(final.quality, twoDigits)],
  ];
  const some = (is: (cycle: IntegrationCycle) => boolean) => cycles.some(is);
  return [
    columnsTable(done, cycles, "words"),
    note(
      "Level: share of the live heads to prune.",
      "Ratio: share of the pruned heads to grow.",
      "Heads: before, after pruning, after growth.",
      some(({ replayed }) => replayed) && "A replayed plan came from memory.",
    ),
    columnsTable(came, cycles, "numbers"),
    note(
      "Losses are of validation text, in nats per token.",
      "The perplexity change is from before to after training.",
      some(({ final }) => measured(final.degeneration)) &&
        "Degeneration (0 to 5, lower is better) is that of texts the model wrote, beside that of " +
          "texts it wrote at the start; quality (0 to 1, higher is better) compares the two.",
      some(({ success }) => !success) && "A cycle in brackets was rolled back.",
    ),
  ];
}

/** What the controller said before each cycle, and its gates after it. */
export function controllerTable(cycles: readonly IntegrationCycle[]): MarkupValue {
  const columns: Column<IntegrationCycle>[] = [
    ["Cycle", ({ cycle }) => String(cycle)],
    ["Rate", ({ advice }) => written(advice.controller_lr, fourDigits)],
    [
      "Inactive before",
      ({ advice }) => written(advice.pruned_percent, (part) => percent(part / 100)),
    ],
    ["Mean gate after", (cycle) => written(meanGate(cycle), (gate) => gate.toFixed(3))],
    ["Preferences", ({ advice }) => preferences(advice.preferences)],
  ];
  return [
    columnsTable(columns, cycles, "words"),
    note(
      "Inactive: pruned, or with a nearly closed gate, of all heads.",
      "Mean gate: of live heads.",
      "Preferences multiply the ratings of pruning strategies in the draw, by 1 where none is named.",
    ),
  ];
}

/** What the run knew at its end. */
export function memoryHtml(memory: MemoryRecord | undefined): MarkupValue {
  if (memory === undefined) return markup`<p>These records hold no memory.</p>\n`;
  const { transformations, capacity, replay_probability } = memory;
  if (transformations.length === 0) return markup`<p>Nothing is remembered.</p>\n`;
  const columns: Column<TransformationRecord>[] = [
    ["Made", ({ timestamp }) => minute(timestamp)],
    ["Level", ({ pruning_level }) => written(pruning_level, percent)],
    ["Ratio", ({ growth_ratio }) => written(growth_ratio, percent)],
    ["Perplexity", (one) => written(one.perplexity_improvement, (drop) => rise(-drop))],
    ["Heads", ({ head_reduction }) => written(head_reduction, (drop) => rise(-drop))],
    [
      "Degeneration",
      ({ degeneration_change }) => written(degeneration_change, (more) => signed(more, 2)),
    ],
    ["Improvement", ({ improvement }) => written(improvement, (value) => signed(value, 3))],
    ["Transformation", ({ description }) => description],
  ];
  return [
    columnsTable(columns, transformations, "words"),
    note(
      measured(capacity) && `Holds at most ${plural(capacity, "transformation")}.`,
      measured(replay_probability) &&
        `A cycle replays one with a probability of ${percent(replay_probability)}: the greater ` +
          "its improvement, the likelier.",
    ),
  ];
}

function headsTold({ initial, pruned, grown }: IntegrationCycle): string {
  return [initial, pruned, grown].map(({ heads }) => written(heads, String) ?? "?").join(" → ");
}

function degenerationTold({ final }: IntegrationCycle): string | undefined {
  const { degeneration: own, baseline_degeneration: baseline } = final;
  return written(own, (own) => [own, baseline].filter(measured).map(twoDigits).join(" / "));
}

function meanGate(cycle: IntegrationCycle): number | undefined {
  const live = liveAfter(cycle);
  const gates = cycle.gates.flatMap((row, layer) =>
    row.filter((gate, head) => live.has(`${layer},${head}`) && measured(gate))
  );
  return gates.length === 0 ? undefined : gates.reduce((sum, gate) => sum + gate, 0) / gates.length;
}

function preferences(given: Record<string, number>): string {
  const told = Object.entries(given).flatMap(([name, value]) =>
    measured(value) ? [`${name} ${value.toFixed(2)}`] : []
  );
  return told.join(", ") || "none";
}

/** A relative change in percent, with its sign. */
function rise(by: number): string {
  return `${signed(100 * by, 1)} %`;
}

/** A time to the minute, as far as it is one. */
function minute(timestamp: unknown): string | undefined {
  const text = String(timestamp);
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? text.slice(0, 16).replace("T", " ") : undefined;
}

function twoDigits(value: number): string {
  return value.toFixed(2);
}

function fourDigits(value: number): string {
  return String(Number(value.toPrecision(4)));
}
