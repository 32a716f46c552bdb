/**
 * Where the controller's gates stood, moment by moment.
 *
 * @module
 */

import { Plot } from "./deps.ts";
import {
  evenly,
  headStory,
  metricRange,
  type Moment,
  momentName,
  type StoryRecords,
} from "./story.ts";
import { draw, key, MOST_TITLES, type SvgPart } from "./svg.ts";
import { measured } from "./theme.ts";

/** Rows of the figure; more would say no more. */
const MOST_ROWS = 12;

/** Strokes of all rows together, so that the page of a big model stays small. */
const MOST_STROKES = 4800;

interface Gate {
  row: number;
  layer: number;
  head: number;
  gate: number;
  moment: Moment;
}

/** Draws the gates of all live heads at some moments, a stroke a head; nothing without a controller. */
export function gatesFigure(records: StoryRecords): string | undefined {
  const story = headStory(records);
  const range = story && metricRange(story, "gate");
  if (!story || !range) return undefined;
  const moments = gateMoments(records);
  const gates = moments.flatMap((moment, row) =>
    moment.values.gate!.flatMap((gate, i): Gate[] =>
      measured(gate)
        ? [{ row, layer: Math.floor(i / story.NH), head: i % story.NH, gate, moment }]
        : []
    )
  );
  const medians = moments.map(({ values }, row) => ({ row, gate: median(values.gate!) }));
  const from = Math.max(0, Math.floor(range[0] * 10 - 1e-9) / 10);
  const left = 190;
  return draw({
    width: 960,
    height: 40 + moments.length * 26 + 44,
    marginLeft: left,
    marginRight: 16,
    marginTop: 40,
    marginBottom: 44,
    x: { domain: [from, Math.max(1, range[1])] },
    y: { type: "band", domain: moments.map((_, row) => row), padding: 0.3 },
    marks: [
      Plot.gridX({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 8 }),
      Plot.axisX({
        label: "gate, what a head’s output is multiplied by",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
        ticks: 8,
      }),
      Plot.axisY({
        label: null,
        tickSize: 0,
        tickFormat: (row: number) => momentName(moments[row]).replace(", before pruning", ""),
      }),
      Plot.tickX(gates, {
        x: "gate",
        y: "row",
        stroke: "var(--ink)",
        strokeWidth: 1.2,
        strokeOpacity: 0.55,
        ariaDescription: "gate of a live head",
        ...(gates.length <= MOST_TITLES && { title }),
      }),
      Plot.dot(medians, {
        x: "gate",
        y: "row",
        symbol: "diamond",
        r: 4.5,
        fill: "var(--evaluation)",
        stroke: "var(--paper)",
        ariaDescription: "median gate",
      }),
      key(
        [
          { label: "a live head", sample: [stroke()] },
          {
            label: "median",
            sample: [["path", { d: "M11,-1L15.5,5L11,11L6.5,5Z", fill: "var(--evaluation)" }]],
          },
        ],
        left,
        14,
      ),
    ],
  }, {
    id: "gates",
    title: "The controller’s gates",
    description: medians.map(({ row, gate }) =>
      `${momentName(moments[row])}: median ${gate.toFixed(3)}`
    ).join("; ") + `. All from ${range[0].toFixed(3)} to ${range[1].toFixed(3)}.`,
  });
}

/** The moments that the figure shows. */
export function gateMoments(records: StoryRecords): Moment[] {
  const story = headStory(records);
  if (!story) return [];
  const known = story.moments.filter(({ values }) => values.gate?.some(measured));
  const most = Math.max(2, Math.floor(MOST_STROKES / (story.L * story.NH)));
  return evenly(known, Math.min(MOST_ROWS, most));
}

/** The middle one of the values that were measured. */
export function median(values: readonly (number | undefined)[]): number {
  const known = values.filter(measured).sort((a, b) => a - b), half = known.length / 2;
  return (known[Math.ceil(half) - 1] + known[Math.floor(half)]) / 2;
}

function title({ moment, layer, head, gate }: Gate): string {
  return `${momentName(moment)}, layer ${layer}, head ${head}: gate ${gate.toFixed(4)}`;
}

function stroke(): SvgPart {
  return ["line", { x1: 11, x2: 11, y1: -1, y2: 11, stroke: "var(--ink)", "stroke-width": 1.4 }];
}
