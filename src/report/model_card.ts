/**
 * The model card of a run's model. Every number in it is one of `results.json`, or of `speed.json`.
 *
 * @module
 */
import { CARD_MARK } from "../data/model_files.ts";
import type { ModelForm } from "../data/model_form.ts";
import type { IntegrationResults, Results, SpeedRecord } from "../record.ts";
import { speedRows, speedVerdict, speedWords } from "./speed.ts";
import { count, duration, loss, percent, perplexity, signed } from "./theme.ts";

/** What a card says besides the numbers: all of it names. */
export interface CardNames {
  /** The model that the run began with. */
  base: string;
  /** The text it was trained and measured on. */
  text: string;
  /** What chose the heads: a strategy, or the kind of controller. */
  chosenBy: string;
  /** The adapter it was measured on. */
  adapter: string;
  /** Whether pruned heads left their mean outputs in the biases. */
  foldedMeans?: boolean;
}

/** What a card needs of an experiment's results: all is known before its model is saved. */
export type ExperimentNumbers = Omit<
  Results,
  "masked_loss" | "compacted_loss" | "reloaded_loss" | "execution_time_s" | "planned"
>;

/** Results that a card is made of. */
export type CardNumbers = ExperimentNumbers | IntegrationResults;

type Rows = [what: string, value: string][];

/** The rows of the card's table: what was measured, and on what. */
export function cardRows(results: CardNumbers): Rows {
  return "test_loss" in results
    ? [
      ...comparedRows(results, results.test_loss, "random pruning and growth"),
      ["validation perplexity before", perplexity(results.baseline_perplexity)],
      ["validation perplexity of this model", perplexity(results.best_perplexity)],
      ["cycles run", String(results.cycles_completed)],
      ["cycle that made this model", String(results.best_cycle)],
      ["seed", String(results.seed)],
      ["wall time", duration(results.total_duration)],
    ]
    : [
      ...comparedRows(results, results.final_loss, "random pruning"),
      ["test loss before any pruning, after less training", loss(results.baseline_loss)],
      ["cycles of pruning and training", String(results.cycles.length)],
      ["tokens trained on", count(results.tokens_seen)],
      ["seed", String(results.seed)],
    ];
}

/** Heads, and the test loss beside the controls'. */
function comparedRows(results: CardNumbers, own: number, random: string): Rows {
  const { unpruned_twin_loss: twin, random_pruning_loss: drawn } = results;
  const rows: Rows = [
    ["attention heads computed", `${results.active_heads} of ${results.total_heads}`],
    ["test loss, nats per token", loss(own)],
    ["test perplexity", perplexity(Math.exp(own))],
  ];
  if (twin !== undefined) {
    rows.push(["test loss of the unpruned twin, same training", loss(twin)]);
    rows.push(["difference from the twin", signed(own - twin)]);
  }
  if (drawn !== undefined) {
    rows.push([`test loss of ${random}, as many heads, same training`, loss(drawn)]);
    rows.push(["difference from random", signed(own - drawn)]);
  }
  return rows;
}

/** A model card in Hugging Face's form: front matter, then Markdown. */
export function modelCard(results: CardNumbers, names: CardNames): string {
  const { base, text, chosenBy, adapter, foldedMeans } = names;
  const gone = percent(1 - results.active_heads / results.total_heads);
  const integrated = "test_loss" in results;
  const story = integrated
    ? `A GPT-2 from which ${gone} of the attention heads were removed in cycles of pruning,
regrowth and training, guided by a controller of type \`${oneLine(chosenBy)}\`.`
    : `A GPT-2 from which ${gone} of the attention heads were removed while it was trained,
chosen by the strategy \`${oneLine(chosenBy)}\` and a controller.`;
  const means = foldedMeans
    ? "\nEach left its mean output in the bias of its layer's output projection (mean ablation)."
    : "";
  return `---
library_name: ${LIBRARY.padded}
pipeline_tag: text-generation
tags:
- gpt2
- attention-head-pruning
- pollard
---
${CARD_MARK}

# ${oneLine(base)}, heads pruned${integrated ? " and regrown" : ""}

${story}${means}

${formSection("padded")}

## Measured

| | |
| --- | --- |
${cardRows(results).map(([what, value]) => `| ${what} | ${value} |`).join("\n")}

Losses are of the text's test part, which was read once, after the last cycle. ${
    results.unpruned_twin_loss === undefined
      ? `No unpruned twin was
trained, so these numbers do not tell pruning from further training.`
      : `The unpruned twin had
the same training on the same batches: what pruning did is the difference from it, not from the model
before ${integrated ? "training" : "pruning"}.`
  } Text: ${oneLine(text)}. Measured on: ${oneLine(adapter)}.
`;
}

const LIBRARY: Record<ModelForm, string> = { padded: "transformers", compact: "pollard" };
const SECTION = ["<!-- form -->", "<!-- end of form -->"] as const;

const FORM_WORDS: Record<ModelForm, string> = {
  padded: `Pruned heads are zero in tensors of full shape, so it loads as any GPT-2 does:

\`\`\`python
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
\`\`\`

Such a load computes zeros for the pruned heads; Pollard, by the \`pollard.json\` beside the weights,
leaves them out.`,
  compact:
    `This folder is in Pollard's compact form: tensors hold the heads that are left and no others,
and \`pollard.json\` says which they are. Pollard alone loads it. For a folder that any program loads as a
GPT-2, and that computes the same:

\`\`\`bash
deno task export path/to/this/folder --form padded --output path/to/another
\`\`\``,
};

function formSection(form: ModelForm): string {
  return `${SECTION[0]}\n${FORM_WORDS[form]}\n${SECTION[1]}`;
}

/**
 * The card of a model that is saved in another form: what it says of loading follows the form, and all
 * else stays.
 *
 * @returns Nothing where the card has no such place: it is an older one, or not ours.
 */
export function cardInForm(card: string, form: ModelForm): string | undefined {
  const begin = card.indexOf(SECTION[0]), end = card.indexOf(SECTION[1]);
  if (!card.includes(CARD_MARK) || begin < 0 || end < begin) return undefined;
  const moved = card.slice(0, begin) + formSection(form) + card.slice(end + SECTION[1].length);
  return moved.replace(/^library_name: .*$/m, `library_name: ${LIBRARY[form]}`);
}

const SPEED_SECTION = ["<!-- speed -->", "<!-- end of speed -->"] as const;

/** A card that tells how fast the compact form was; what it told of that before is replaced. */
export function cardWithSpeed(card: string, record: SpeedRecord): string {
  const { head, rows } = speedRows(record);
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  const [first, end] = SPEED_SECTION;
  const section = `${first}
## Speed

${speedVerdict(record)}

${[head, head.map(() => "---"), ...rows].map(line).join("\n")}

${speedWords(record).join("\n")} Measured on: ${oneLine(record.environment.adapter)}.
${end}
`;
  const from = card.indexOf(first), to = card.indexOf(end);
  if (from < 0 || to < from) return `${card.trimEnd()}\n\n${section}`;
  return card.slice(0, from) + section + card.slice(to + end.length).trimStart();
}

/** A name as a line of Markdown can hold it. */
function oneLine(name: string): string {
  return name.replaceAll(/\s+/g, " ").replaceAll(/[<>|\`]/g, "");
}
