/**
 * What a controller predicted of its decisions, and what came of them.
 *
 * @module
 */

import type { DecisionRound, HeadDecision, IntegrationRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import { Html, markup, type MarkupValue } from "./html.ts";
import { type Column, columnsTable, pair } from "./parts.ts";
import { extent } from "./series.ts";
import { draw, key, MOST_TITLES, symbolSample } from "./svg.ts";
import { measured, minus, plural, signed, written } from "./theme.ts";

/** Changes of the loss are small: digits after the point. */
const DIGITS = 5;

/** A round of decisions, and the cycle before which it was. */
interface Round extends DecisionRound {
  cycle: number;
}

/** The decision for a head, and its round. */
interface Dot extends HeadDecision {
  cycle: number;
  round: number;
}

const KINDS = {
  decided: { label: "decided", symbol: "circle", fill: true },
  explored: { label: "drawn at random, to learn from", symbol: "triangle", fill: false },
} as const;

/** All rounds of a run, in order. */
function roundsOf({ cycles }: IntegrationRecord): Round[] {
  return cycles.flatMap(({ cycle, advice }) =>
    (advice.rounds ?? []).map((round) => ({ ...round, cycle }))
  );
}

/** Draws the predicted change of the loss against the measured one, a dot for every decision. */
export function predictionsFigure(run: IntegrationRecord): string | undefined {
  const dots = roundsOf(run).flatMap(({ cycle, round, decisions }) =>
    decisions.map((decision): Dot => ({ ...decision, cycle, round }))
  ).filter((dot) => measured(dot.predicted_loss_change) && measured(dot.realised_loss_change));
  if (dots.length === 0) return undefined;
  const [low, high] = extent(
    dots.flatMap((dot) => [dot.predicted_loss_change, dot.realised_loss_change, 0]),
  );
  const pad = (high - low) * 0.05 || 1e-6;
  const domain = [low - pad, high + pad];
  const of = { decided: dots.filter((dot) => !dot.explored), explored: dots.filter(isExplored) };
  const kinds = (["decided", "explored"] as const).filter((kind) => of[kind].length > 0);
  const label = { labelAnchor: "center", labelArrow: "none", tickSize: 4, ticks: 5 } as const;
  return draw({
    width: 464,
    height: 464,
    marginTop: 34,
    marginLeft: 84,
    marginRight: 16,
    marginBottom: 44,
    x: { domain },
    y: { domain },
    marks: [
      Plot.gridX({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 5 }),
      Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 5 }),
      Plot.axisX({ ...label, label: "predicted change of the loss, nats per token" }),
      Plot.axisY({ ...label, label: "measured change, nats per token" }),
      Plot.ruleX([0], { stroke: "var(--grey)" }),
      Plot.ruleY([0], { stroke: "var(--grey)" }),
      Plot.line(domain.map((value) => [value, value]), {
        stroke: "var(--ink)",
        strokeDasharray: "5,3",
        ariaDescription: "predicted as it came",
      }),
      ...kinds.toReversed().map((kind) =>
        Plot.dot(of[kind], {
          x: "predicted_loss_change",
          y: "realised_loss_change",
          symbol: KINDS[kind].symbol,
          r: 3.2,
          ...(KINDS[kind].fill
            ? { fill: "var(--ink)", fillOpacity: 0.6 }
            : { stroke: "var(--pruning)", strokeWidth: 1.2 }),
          ariaDescription: KINDS[kind].label,
          ...(dots.length <= MOST_TITLES && { title: told }),
        })
      ),
      key(
        kinds.map((kind) => ({
          label: KINDS[kind].label,
          sample: symbolSample(
            KINDS[kind].symbol,
            KINDS[kind].fill ? "var(--ink)" : "var(--pruning)",
            KINDS[kind].fill,
          ),
        })),
        84,
        12,
      ),
    ],
  }, {
    id: "predictions",
    title: "Predicted and measured change of the loss",
    description: `${plural(dots.length, "decision")} for a head, ${of.explored.length} of them ` +
      `drawn at random. ${errorsTold(run)}`,
  });
}

function isExplored({ explored }: Dot): boolean {
  return explored;
}

function told(dot: Dot): string {
  const { cycle, round, layer, head, gate_before, gate } = dot;
  return `cycle ${cycle}, round ${round}, layer ${layer}, head ${head}: gate ` +
    `${written(gate_before, gateText) ?? "?"} to ${written(gate, gateText) ?? "?"}, predicted ` +
    `${change(dot.predicted_loss_change)}, measured ${change(dot.realised_loss_change)}`;
}

/** The rounds in numbers, and how far the predictions were off. */
export function predictionsHtml(run: IntegrationRecord, figure: Html | undefined): MarkupValue {
  const rounds = roundsOf(run);
  if (rounds.length === 0) return markup`<p>${noRounds(run)}</p>\n`;
  const columns: Column<Round>[] = [
    ["Cycle", ({ cycle }) => String(cycle)],
    ["Round", ({ round }) => written(round, String)],
    ["Heads moved", ({ decisions }) => String(decisions.length)],
    ["Predicted", (round) => written(round.predicted_loss_change, change)],
    ["Untrained estimate", (round) => written(round.estimated_loss_change, change)],
    ["Measured", (round) => written(round.realised_loss_change, change)],
    [
      "Error of prediction",
      (round) => minus(round.predicted_loss_change, round.realised_loss_change, DIGITS),
    ],
    [
      "Error of estimate",
      (round) => minus(round.estimated_loss_change, round.realised_loss_change, DIGITS),
    ],
    ["Gates", ({ kept }) => kept ? "kept" : "taken\u00a0back"],
  ];
  const errors = `${errorsTold(run)} The untrained estimate is what the gate gradients alone ` +
    "say. An error is what was said less what was measured.";
  return [
    pair([...(figure ? [figure] : []), markup`<p>${errors}</p>\n`]),
    columnsTable(columns, rounds, "numbers"),
  ];
}

function noRounds({ config, cycles }: IntegrationRecord): string {
  const { controller_type: type } = config;
  if (type === "mlp") {
    return cycles.length === 0
      ? "There was no cycle yet, and so no prediction."
      : "The controller mlp moved no gate, so there is nothing to compare.";
  }
  const name = typeof type === "string" ? `The controller ${type}` : "This controller";
  return `${name} makes no predictions; mlp does.`;
}

/** How far off the predictions of whole rounds were, and the estimates that need no learning. */
function errorsTold(run: IntegrationRecord): string {
  const rounds = roundsOf(run);
  const off = (name: "predicted_loss_change" | "estimated_loss_change") => {
    const errors = rounds.flatMap((round) =>
      measured(round[name]) && measured(round.realised_loss_change)
        ? [Math.abs(round[name] - round.realised_loss_change)]
        : []
    );
    if (errors.length === 0) return undefined;
    return errors.reduce((sum, error) => sum + error, 0) / errors.length;
  };
  const predicted = off("predicted_loss_change"), estimated = off("estimated_loss_change");
  if (predicted === undefined) return "No prediction could be compared with what came.";
  return `Over ${plural(rounds.length, "round")} the predictions were off by ` +
    `${predicted.toFixed(DIGITS)} nats per token in the mean` +
    (estimated === undefined ? "" : `, the untrained estimates by ${estimated.toFixed(DIGITS)}`) +
    ".";
}

function change(value: number): string {
  return signed(value, DIGITS);
}

function gateText(value: number): string {
  return value.toFixed(3);
}
