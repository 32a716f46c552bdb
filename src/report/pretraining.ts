/**
 * The page of a pretraining: how the loss falls, while it does.
 *
 * @module
 */
import { Plot } from "./deps.ts";
import type { Page } from "./document.ts";
import { axes, FRAME } from "./frame.ts";
import { figureHtml, namedTable, type PageFigure, recordTable, section } from "./parts.ts";
import { type Point, thin } from "./series.ts";
import { draw, key, lineSample, symbolSample } from "./svg.ts";
import { loss, perplexity, signed } from "./theme.ts";

const TOP = 32, CURVE = 320;

/** What is known of a pretraining so far. */
export interface Pretraining {
  /** What decides it. */
  readonly options: Record<string, unknown>;
  /** What it is measured on. */
  readonly environment: object;
  /** Optimizer steps in all. */
  readonly steps: number;
  /** Training loss, each the mean of the steps since the last, as `[step, nats per token]`. */
  readonly training: [number, number][];
  /** Loss on validation text, likewise. */
  readonly validation: [number, number][];
  /** How it ended: losses on the test text, in nats per token. */
  result?: {
    readonly test_loss: number;
    /** Of n-gram models with the same tokenizer and training text. */
    readonly ngram_test_losses: Readonly<Record<string, number>>;
  };
}

/** Draws the page of a pretraining, as far as it is. */
export function renderPretraining(record: Pretraining): Page {
  const { options, environment, training, validation, result } = record;
  const figures: PageFigure[] = training.length === 0 ? [] : [{
    name: "losses",
    title: "Loss",
    caption: "Training loss, each point the mean of the steps since the last, and the loss on " +
      "validation text. The weights that did best on validation text are kept.",
    svg: lossFigure(record),
  }];
  const best = bestOf(validation);
  const row = (name: string, value: number): [string, string] => [
    name,
    `${loss(value)} nats per token, perplexity ${perplexity(Math.exp(value))}`,
  ];
  const numbers = [
    ...(result ? [row("Test loss", result.test_loss)] : []),
    ...Object.entries(result?.ngram_test_losses ?? {}).map(([name, value]) =>
      row(`Test loss of the ${name} model`, value)
    ),
    ...(best ? [row(`Best validation loss, at step ${best[0]}`, best[1])] : []),
  ];
  return {
    title: "Pollard pretraining",
    verdict: verdict(record),
    standing: "A byte-level BPE tokenizer and a GPT-2, trained from scratch.",
    body: [
      section("Key numbers", numbers.length > 0 && namedTable(numbers, "key")),
      section("Loss", figures.map((figure) => figureHtml(figure, false))),
      section("Configuration", recordTable(options)),
      section("Environment", recordTable(environment)),
    ],
    figures,
    names: ["losses"],
  };
}

function verdict({ result, validation, training, steps }: Pretraining): string {
  if (result) {
    const { test_loss, ngram_test_losses: { trigram } } = result;
    const against = trigram === undefined
      ? ""
      : `, ${signed(test_loss - trigram)} from a trigram model’s`;
    return `The model’s test loss is ${loss(test_loss)} nats per token${against}.`;
  }
  const best = bestOf(validation);
  const at = training.at(-1)?.[0] ?? 0;
  const far = `Step ${at} of ${steps} was read last.`;
  if (!best) return `${far} The validation loss is not known yet.`;
  return `${far} The best validation loss so far is ${loss(best[1])} nats per token, at step ${
    best[0]
  }.`;
}

function bestOf(validation: readonly [number, number][]): [number, number] | undefined {
  if (validation.length === 0) return undefined;
  return validation.reduce((a, b) => b[1] < a[1] ? b : a);
}

function lossFigure({ training, validation, steps }: Pretraining): string {
  const points = (rows: readonly [number, number][]): Point[] =>
    rows.map(([step, value]) => ({ step, value, segment: 0 }));
  const channels = { x: "step", y: "value" } as const;
  const [step, value] = training.at(-1)!;
  const held = validation.at(-1);
  return draw({
    ...FRAME.size,
    height: TOP + CURVE + FRAME.bottom,
    marginTop: TOP,
    marginBottom: FRAME.bottom,
    x: { domain: [0, steps] },
    y: { nice: true },
    marks: [
      ...axes("loss, nats per token", steps),
      Plot.line(thin(points(training)), {
        ...channels,
        stroke: "var(--grey)",
        ariaDescription: "training loss",
      }),
      Plot.line(points(validation), {
        ...channels,
        stroke: "var(--ink)",
        strokeWidth: 1.9,
        ariaDescription: "validation loss",
      }),
      Plot.dot(points(validation), { ...channels, fill: "var(--ink)", r: 2.6 }),
      key(
        [
          { label: "training loss", sample: lineSample("var(--grey)", 1.5) },
          { label: "validation loss", sample: symbolSample("circle", "var(--ink)", true) },
        ],
        FRAME.size.marginLeft,
        12,
      ),
    ],
  }, {
    id: "losses",
    title: "Loss over training steps",
    description: `Training loss ${loss(value)} at step ${step} of ${steps}` +
      (held ? `; validation loss ${loss(held[1])} at step ${held[0]}.` : "."),
  });
}
