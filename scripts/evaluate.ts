/**
 * `deno task evaluate`: see --help.
 *
 * @module
 */
import {
  choiceOption,
  datasetConfigOption,
  modelOption,
  newCommand,
  Option,
  parseCommand,
  preparing,
  printJson,
  Progress,
  refuse,
  runMain,
  TEXT_HELP,
  textColumnOption,
  textOption,
  wholeOption,
} from "./cli.ts";
import { type LoadedModel, tokenizerOf } from "../src/data/model_files.ts";
import { type SplitName, SPLITS } from "../src/data/parts.ts";
import { openText, pickSplit } from "../src/data/text_source.ts";
import { tokenise } from "../src/data/tokenise.ts";
import type { Tokens } from "../src/data/tokens.ts";
import { evaluateText } from "../src/experiment/evaluate_text.ts";
import { openModel } from "../src/experiment/setup.ts";
import { Gpu } from "../src/gpu/device.ts";

const AFTER =
  `Windows of max_length tokens, stride apart; of each window only the tokens that no earlier
window scored count. A smaller stride gives tokens more context: lower loss, more time.

Examples:
  deno task evaluate --text_file moby_dick
  deno task evaluate --model_name runs/RUN/model --text_file my.txt --stride 64 --json`;

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task evaluate",
    description: "Measures a model's loss and perplexity on a text.",
    after: AFTER,
  })
    .addOption(modelOption())
    .addOption(
      new Option("--text_file <text>", TEXT_HELP.text).argParser(textOption("text_file")),
    )
    .addOption(datasetConfigOption())
    .addOption(textColumnOption())
    .addOption(
      new Option("--split <name>", "which split of a data set that has splits (default: test)")
        .argParser(choiceOption("split", SPLITS)),
    )
    .addOption(
      new Option("--max_length <tokens>", "tokens in a window (default: the model's context)")
        .argParser(wholeOption("max_length", { min: 1 })),
    )
    .addOption(
      new Option("--stride <tokens>", "tokens from one window to the next (default: max_length)")
        .argParser(wholeOption("stride", { min: 1 })),
    )
    .addOption(
      new Option("--batch_size <number>", "windows scored at once")
        .default(8).argParser(wholeOption("batch_size", { min: 1, max: 4096 })),
    )
    .option("--json", "print the result as one JSON line");
  const { model_name, text_file, max_length, stride, batch_size, json, ...text } = parseCommand(
    command,
  );
  if (text_file === undefined) {
    return refuse("text_file is needed: moby_dick, wikitext, or the path of a file");
  }
  const { gpu, model, tokens } = await preparing(async () => {
    const model = await openModel(model_name, { onMessage: (line) => console.error(line) });
    const tokens = await tokensOf(model, { model_name, text_file, ...text }, signal);
    return { gpu: await Gpu.open(), model, tokens };
  });
  using _gpu = gpu;
  console.error(
    `adapter: ${gpu.info.name}; scoring ${tokens.length.toLocaleString("en-US")} tokens`,
  );
  using progress = new Progress();
  const result = await preparing(() =>
    evaluateText(gpu, model, tokens, {
      ...(max_length !== undefined && { maxLength: max_length }),
      ...(stride !== undefined && { stride }),
      batchSize: batch_size,
      signal,
      onProgress: ({ done: step, total }) => progress.update({ phase: "scoring", step, total }),
    })
  );
  progress.stop();
  if (json) printJson(result);
  else {
    console.log(
      `loss ${result.loss.toFixed(4)} nats per token, perplexity ${
        result.perplexity?.toFixed(2) ?? "beyond what a number can hold"
      } (${result.predicted} of ${result.tokens} tokens predicted)`,
    );
  }
});

/** Which text, and which split of it. */
interface Asked {
  model_name: string;
  text_file: string;
  dataset_config: string;
  text_column: string;
  split?: SplitName | undefined;
}

async function tokensOf(
  model: LoadedModel,
  { text_file, model_name, dataset_config: config, text_column: column, split }: Asked,
  signal: AbortSignal,
): Promise<Tokens> {
  const tokenizer = tokenizerOf(model, model_name);
  const listeners = { signal, onMessage: (line: string) => console.error(line) };
  const source = await openText(text_file, { config, column, ...listeners });
  const picked = pickSplit(source, split ?? (source.hasSplits ? "test" : undefined));
  const one = { ...source, splits: { train: source.splits[picked] } };
  const { splits: { train } } = await tokenise(one, tokenizer, listeners);
  return train;
}
