/**
 * The page of a bake-off: which pruning score to trust on a model.
 *
 * @module
 */
import type { BakeoffRecord, BakeoffStrategy } from "../record.ts";
import { Plot } from "./deps.ts";
import type { Page } from "./document.ts";
import { endLabels } from "./labels.ts";
import { dataTables, figureHtml, type PageFigure, recordTable, section, table } from "./parts.ts";
import { draw, key, lineSample } from "./svg.ts";
import { duration, loss, percent, plural, signed } from "./theme.ts";
import { writePage } from "./write_page.ts";

const WIDTH = 960;

const AGREEMENT = "Agreement with what each head is worth";

/** The strategies that are not the oracle or chance. */
function contestants({ strategies }: BakeoffRecord): BakeoffStrategy[] {
  return strategies.filter(({ name }) => name !== "oracle" && name !== "random");
}

/** The contestant whose ranking is nearest to what each head is worth. */
function nearest(record: BakeoffRecord): BakeoffStrategy {
  return contestants(record).reduce((a, b) => b.correlation > a.correlation ? b : a);
}

/** What the page begins with, and the command prints. */
export function bakeoffVerdict(record: BakeoffRecord): string {
  const best = nearest(record);
  const i = Math.min(1, record.levels.length - 1);
  const cost = (strategy: BakeoffStrategy) => signed(strategy.losses[i] - record.loss);
  const random = record.strategies.find(({ name }) => name === "random");
  const cheapest = contestants(record).reduce((a, b) => b.losses[i] < a.losses[i] ? b : a);
  const removed = `Removing ${plural(record.removed[i], "head")} of ${record.heads.length} costs ` +
    `least by ${cheapest.name} (${cost(cheapest)} nats per token` +
    (random ? `; at random ${cost(random)}` : "") + ")";
  const oracle = record.strategies.find(({ name }) => name === "oracle");
  return `The ranking by ${best.name} is nearest to what each head is worth on validation text ` +
    `(rank correlation ${best.correlation.toFixed(2)}` +
    (oracle ? `; the oracle’s ${oracle.correlation.toFixed(2)}` : "") +
    `). ${removed}, before any retraining.`;
}

/** The strategies in numbers, best correlation first. */
export function bakeoffRows(record: BakeoffRecord): { head: string[]; rows: string[][] } {
  const { levels, removed, heads } = record;
  const sorted = [...record.strategies].sort((a, b) => b.correlation - a.correlation);
  const range = ({ draws, least, most }: BakeoffStrategy, i: number) =>
    draws === undefined ? "" : ` (${loss(least![i])} to ${loss(most![i])})`;
  return {
    head: [
      "Strategy",
      "Rank correlation",
      ...levels.map((level, i) => `${percent(level)}: ${removed[i]} of ${heads.length}`),
    ],
    rows: [
      ["no head removed", "", ...levels.map(() => loss(record.loss))],
      ...sorted.map((strategy) => [
        strategy.name,
        strategy.correlation.toFixed(3).replace("-", "−"),
        ...strategy.losses.map((value, i) => loss(value) + range(strategy, i)),
      ]),
    ],
  };
}

/** How near each ranking is to what each head is worth on validation text. */
export function correlationFigure(record: BakeoffRecord): string {
  const rows = record.strategies;
  const { name, correlation } = nearest(record);
  return draw({
    width: WIDTH,
    height: 60 + 26 * rows.length,
    marginLeft: 170,
    marginRight: 64,
    marginBottom: 44,
    x: { domain: [Math.min(0, ...rows.map(({ correlation }) => correlation)), 1], nice: true },
    y: { domain: [...rows].sort((a, b) => b.correlation - a.correlation).map(({ name }) => name) },
    marks: [
      Plot.axisX({
        label: "rank correlation with the validation loss without the head",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
      }),
      Plot.axisY({ label: null, tickSize: 0 }),
      Plot.gridX({ stroke: "var(--rule)", strokeOpacity: 1 }),
      Plot.barX(rows, {
        x: "correlation",
        y: "name",
        fill: (row: BakeoffStrategy) => row.name === "random" ? "var(--grey)" : "var(--ink)",
        insetTop: 4,
        insetBottom: 4,
        ariaDescription: "rank correlation",
      }),
      Plot.text(rows, {
        x: (row: BakeoffStrategy) => Math.max(0, row.correlation),
        y: "name",
        text: (row: BakeoffStrategy) => row.correlation.toFixed(2).replace("-", "−"),
        textAnchor: "start",
        dx: 6,
        fill: "var(--ink)",
      }),
      Plot.ruleX([0], { stroke: "var(--quiet)" }),
    ],
  }, {
    id: "correlation",
    title: AGREEMENT,
    description:
      `Spearman's rank correlation of each strategy's scores with the validation loss without each ` +
      `head. Highest but the oracle's: ${name} ${correlation.toFixed(2)}.`,
  });
}

/** Loss against the share of heads removed, by each strategy. */
export function removalFigure(record: BakeoffRecord): string {
  const { levels, strategies, loss: whole } = record;
  const points = strategies.flatMap(({ name, losses }) => [
    { name, share: 0, cost: 0 },
    ...losses.map((value, i) => ({ name, share: levels[i], cost: value - whole })),
  ]);
  const last = levels.length - 1;
  const ends = [...strategies].sort((a, b) => a.losses[last] - b.losses[last]);
  const drawn = strategies.find(({ draws }) => draws !== undefined);
  const range = [...drawn?.least ?? [], ...drawn?.most ?? []].map((value) => value - whole);
  const costs = [...points.map(({ cost }) => cost), ...range];
  const style = (name: string) =>
    name === "oracle"
      ? { stroke: "var(--ink)", strokeWidth: 2.4 }
      : name === "random"
      ? { stroke: "var(--grey)", strokeWidth: 2, strokeDasharray: "5,3" }
      : { stroke: "var(--ink)", strokeWidth: 1, strokeOpacity: 0.75 };
  return draw({
    width: WIDTH,
    height: 420,
    marginTop: 32,
    marginLeft: 64,
    marginRight: 150,
    marginBottom: 44,
    x: { domain: [0, levels[last]] },
    y: { domain: [Math.min(0, ...costs), Math.max(...costs)], nice: true },
    marks: [
      Plot.gridY({ stroke: "var(--rule)", strokeOpacity: 1 }),
      Plot.axisY({
        label: "validation loss minus the whole model’s, nats per token",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 0,
      }),
      Plot.axisX([0, ...levels], {
        label: "share of heads removed",
        labelAnchor: "center",
        labelArrow: "none",
        tickSize: 4,
        tickFormat: percent,
      }),
      drawn
        ? Plot.areaY([0, ...levels], {
          x: (share: number) => share,
          y1: (_: number, i: number) => i === 0 ? 0 : drawn.least![i - 1] - whole,
          y2: (_: number, i: number) => i === 0 ? 0 : drawn.most![i - 1] - whole,
          fill: "var(--grey)",
          fillOpacity: 0.18,
          ariaDescription: "range of the random draws",
        })
        : null,
      ...strategies.map(({ name }) =>
        Plot.line(points.filter((point) => point.name === name), {
          x: "share",
          y: "cost",
          ...style(name),
          marker: "dot",
          ariaDescription: name,
        })
      ),
      endLabels(ends.map(({ name, losses }) => ({
        name,
        x: levels[last],
        y: losses[last] - whole,
        quiet: name === "random",
      }))),
      key(
        [
          { label: "oracle", sample: lineSample("var(--ink)", 2.4) },
          { label: "a score", sample: lineSample("var(--ink)", 1) },
          {
            label: `random, mean and range of ${drawn?.draws ?? 0} draws`,
            sample: lineSample("var(--grey)", 2, "5,3"),
          },
        ],
        64,
        12,
      ),
    ],
  }, {
    id: "removal",
    title: "What removing heads costs, without retraining",
    description: `Rise of the validation loss at ${percent(levels[last])} of heads removed: ` +
      ends.map(({ name, losses }) => `${name} ${signed(losses[last] - whole)}`).join("; ") + ".",
  });
}

/**
 * The page of a bake-off.
 *
 * @param strategies How many there will be, where it still goes on.
 */
export function renderBakeoff(record: BakeoffRecord, strategies?: number): Page {
  const figures: PageFigure[] = [
    {
      name: "correlation",
      title: AGREEMENT,
      caption:
        "Spearman’s correlation, over heads, of each score with the loss that the model has on " +
        "validation text without the head. Scores are of calibration text, the oracle’s too: it " +
        "leaves each head out there, so that it shows how far any score can be trusted. Random " +
        "scores are a mean.",
      svg: correlationFigure(record),
    },
    {
      name: "removal",
      title: "What removing heads costs",
      caption:
        "On validation text, which no score has seen, and without retraining. Labels are in " +
        "the order of the lines’ ends. The oracle measures each head alone: where several go, even " +
        "it can be beaten.",
      svg: removalFigure(record),
    },
  ];
  const { head, rows } = bakeoffRows(record);
  const { options, execution_time_s, heads, environment } = record;
  const body = [
    section(AGREEMENT, figureHtml(figures[0], false)),
    section("What removing heads costs, without retraining", [
      figureHtml(figures[1], false),
      table(head, rows, "numbers"),
    ]),
    section(
      "Strategies",
      table(
        ["Name", "Goes first"],
        record.strategies.map((s) => [s.name, s.description]),
        "claims",
      ),
    ),
    section(
      "Every head",
      table(
        ["Layer", "Head", "Loss without it", ...record.strategies.map(({ name }) => name)],
        heads.map(([layer, number], i) => [
          String(layer),
          String(number),
          loss(record.validation_loss_without[i]),
          ...record.strategies.map(({ scores }) => scores[i].toPrecision(4).replace("-", "−")),
        ]),
        "numbers",
      ),
    ),
    section("Configuration", recordTable(options)),
    section("Environment", recordTable(environment)),
    section("Data", dataTables(record.data)),
  ];
  return {
    title: `Pollard bake-off: ${options.model_name}`,
    verdict: strategies === undefined
      ? bakeoffVerdict(record)
      : `So far, with ${record.strategies.length} of ${strategies} strategies: ` +
        bakeoffVerdict(record),
    standing: `${heads.length} heads of ${options.model_name} on ${options.text}, in ` +
      `${duration(execution_time_s)} on ${environment.adapter}.`,
    ...{ body, figures, names: figures.map(({ name }) => name) },
  };
}

/**
 * Writes a bake-off's files into its folder: `report.html` and `figures/*.svg`.
 *
 * @returns The path of `report.html`.
 */
export async function writeBakeoff(dir: string, record: BakeoffRecord): Promise<string> {
  return await writePage(dir, renderBakeoff(record));
}
