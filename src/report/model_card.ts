/**
 * The model card of an upgraded model. Every number in it is one of `results.json`.
 *
 * @module
 */
import { CARD_MARK } from "../data/model_files.ts";
import type { IntegrationResults } from "../record.ts";
import { duration, loss, percent, perplexity, signed } from "./theme.ts";

/** What a card says besides the numbers: all of it names. */
export interface CardNames {
  /** The model that was upgraded. */
  base: string;
  /** The text it was trained and measured on. */
  text: string;
  /** The kind of controller. */
  controller: string;
  /** The adapter it was measured on. */
  adapter: string;
}

/** The rows of the card's table: what was measured, and on what. */
export function cardRows(results: IntegrationResults): [what: string, value: string][] {
  const { test_loss, unpruned_twin_loss: twin, random_pruning_loss: random } = results;
  const rows: [string, string][] = [
    ["attention heads computed", `${results.active_heads} of ${results.total_heads}`],
    ["test loss, nats per token", loss(test_loss)],
    ["test perplexity", perplexity(Math.exp(test_loss))],
  ];
  if (twin !== undefined) {
    rows.push(["test loss of the unpruned twin, same training", loss(twin)]);
    rows.push(["difference from the twin", signed(test_loss - twin)]);
  }
  if (random !== undefined) {
    rows.push([
      "test loss of random pruning and growth, as many heads, same training",
      loss(random),
    ]);
    rows.push(["difference from random", signed(test_loss - random)]);
  }
  return [
    ...rows,
    ["validation perplexity before", perplexity(results.baseline_perplexity)],
    ["validation perplexity of this model", perplexity(results.best_perplexity)],
    ["cycles run", String(results.cycles_completed)],
    ["cycle that made this model", String(results.best_cycle)],
    ["seed", String(results.seed)],
    ["wall time", duration(results.total_duration)],
  ];
}

/** A model card in Hugging Face's form: front matter, then Markdown. */
export function modelCard(results: IntegrationResults, names: CardNames): string {
  const { base, text, controller, adapter } = names;
  const gone = 1 - results.active_heads / results.total_heads;
  return `---
library_name: transformers
pipeline_tag: text-generation
tags:
- gpt2
- attention-head-pruning
- pollard
---
${CARD_MARK}

# ${oneLine(base)}, heads pruned and regrown

A GPT-2 from which ${percent(gone)} of the attention heads were removed in cycles of pruning,
regrowth and training, guided by a controller of type \`${controller}\`. Pruned heads are zero in
tensors of full shape, so it loads as any GPT-2 does:

\`\`\`python
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained("path/to/this/folder")
\`\`\`

Such a load computes zeros for the pruned heads; Pollard, by the \`pollard.json\` beside the weights,
leaves them out.

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
before training.`
  } Text: ${oneLine(text)}. Measured on: ${oneLine(adapter)}.
`;
}

/** A name as a line of Markdown can hold it. */
function oneLine(name: string): string {
  return name.replaceAll(/\s+/g, " ").replaceAll(/[<>|`]/g, "");
}
