/**
 * How the ratings of pruning and growth strategies moved.
 *
 * @module
 */

import { startRatings, type StrategyKind } from "../plasticity/ratings.ts";
import type { IntegrationCycle, IntegrationRecord } from "../record.ts";
import { Plot } from "./deps.ts";
import type { Html } from "./html.ts";
import { endLabels } from "./labels.ts";
import { table } from "./parts.ts";
import { draw, key, symbolSample } from "./svg.ts";
import { measured } from "./theme.ts";

interface Rated {
  name: string;
  /** 0 before the first cycle. */
  cycle: number;
  rating: number;
  /** What became of the cycle, where it used this strategy. */
  used?: "kept" | "undone";
}

const USED = {
  kept: { label: "used in this cycle", symbol: "circle", fill: true },
  undone: { label: "used, rolled back", symbol: "times", fill: false },
} as const;

/** Draws the ratings of the strategies of a kind after each cycle; nothing before the first. */
export function ratingsFigure(run: IntegrationRecord, kind: StrategyKind): string | undefined {
  const points = ratingsOf(run.cycles, kind);
  if (points.length === 0) return undefined;
  const last = run.cycles.at(-1)!.cycle;
  const ends = [...new Map(points.map((point) => [point.name, point])).values()];
  const uses = (["kept", "undone"] as const).filter((use) =>
    points.some(({ used }) => used === use)
  );
  const left = 52;
  return draw({
    width: 464,
    height: 320,
    marginTop: 34,
    marginLeft: left,
    marginRight: 142,
    marginBottom: 40,
    x: { domain: [0, last] },
    y: { nice: true, inset: 6 },
    marks: [
      Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1, ticks: 6 }),
      Plot.axisY({
        label: "rating",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
        ticks: 6,
      }),
      Plot.axisX(cycleTicks(last), {
        label: "after cycle",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
        tickFormat: (cycle: number) => cycle === 0 ? "start" : String(cycle),
      }),
      Plot.line(points, {
        x: "cycle",
        y: "rating",
        z: "name",
        stroke: "var(--ink)",
        strokeWidth: 1,
        strokeOpacity: 0.75,
        ariaDescription: "rating",
      }),
      ...uses.map((use) =>
        Plot.dot(points.filter(({ used }) => used === use), {
          x: "cycle",
          y: "rating",
          symbol: USED[use].symbol,
          r: 3.6,
          ...(USED[use].fill
            ? { fill: "var(--ink)", stroke: "var(--paper)", strokeWidth: 0.8 }
            : { stroke: "var(--pruning)", strokeWidth: 1.6 }),
          ariaDescription: USED[use].label,
          title: ({ name, cycle, rating }: Rated) =>
            `cycle ${cycle}, ${name}: ${USED[use].label}, rating ${rating.toFixed(3)}`,
        })
      ),
      endLabels(ends.map(({ name, cycle, rating }) => ({ name, x: cycle, y: rating }))),
      key(
        uses.map((use) => ({
          label: USED[use].label,
          sample: symbolSample(
            USED[use].symbol,
            USED[use].fill ? "var(--ink)" : "var(--pruning)",
            USED[use].fill,
          ),
        })),
        left,
        12,
      ),
    ],
  }, {
    id: `${kind}-ratings`,
    title: `Ratings of ${kind} strategies`,
    description: `After cycle ${last}: ` +
      ends.map(({ name, rating }) => `${name} ${rating.toFixed(3)}`).join("; ") + ".",
  });
}

/** The ratings in numbers, a column a strategy. */
export function ratingsTable({ cycles }: IntegrationRecord, kind: StrategyKind): Html | undefined {
  const points = ratingsOf(cycles, kind);
  if (points.length === 0) return undefined;
  const names = [...new Set(points.map(({ name }) => name))];
  return table(
    ["After cycle", ...names],
    [0, ...cycles.map(({ cycle }) => cycle)].map((cycle) => [
      cycle === 0 ? "start" : String(cycle),
      ...names.map((name) =>
        points.find((point) => point.name === name && point.cycle === cycle)?.rating.toFixed(3) ??
          ""
      ),
    ]),
    "numbers",
  );
}

/** Every rating at the start and after every cycle. */
function ratingsOf(cycles: readonly IntegrationCycle[], kind: StrategyKind): Rated[] {
  if (cycles.length === 0) return [];
  const start = startRatings(Object.keys(cycles[0].ratings[kind]));
  const points: Rated[] = Object.entries(start).map(([name, rating]) => (
    { name, cycle: 0, rating }
  ));
  for (const cycle of cycles) {
    const used = kind === "pruning" ? cycle.pruning_strategy : cycle.growth_strategy;
    for (const [name, rating] of Object.entries(cycle.ratings[kind])) {
      if (!measured(rating)) continue;
      const use = name === used
        ? { used: cycle.success ? "kept" as const : "undone" as const }
        : {};
      points.push({ name, cycle: cycle.cycle, rating, ...use });
    }
  }
  return points;
}

/** The start and the cycles, some only where they are many. */
function cycleTicks(last: number): number[] {
  const step = Math.ceil(last / 10);
  return Array.from({ length: Math.floor(last / step) + 1 }, (_, i) => i * step);
}
