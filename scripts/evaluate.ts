/**
 * `deno task evaluate`: see --help.
 *
 * @module
 */
import {
  modelOption,
  newCommand,
  Option,
  parseCommand,
  preparing,
  printJson,
  refuse,
  runMain,
  textOption,
  wholeOption,
} from "./cli.ts";
import { loadText } from "../src/data/corpora.ts";
import { evaluateText } from "../src/experiment/evaluate_text.ts";
import { openModel } from "../src/experiment/setup.ts";
import { Gpu } from "../src/gpu/device.ts";

const AFTER =
  `Windows of max_length tokens, stride apart; of each window only the tokens that no earlier
window scored count. A smaller stride gives tokens more context: lower loss, more time.

Examples:
  deno task evaluate --text_file moby_dick    # all of it, also what the embedded model learned from
  deno task evaluate --model_name runs/RUN/model --text_file my.txt --stride 64 --json`;

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task evaluate",
    description: "Measures a model's loss and perplexity on a text.",
    after: AFTER,
  })
    .addOption(modelOption())
    .addOption(
      new Option(
        "--text_file <file>",
        "moby_dick (embedded), tiny_shakespeare (fetched once), or a UTF-8 text file",
      )
        .argParser(textOption("text_file")),
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
  const { model_name, text_file, max_length, stride, batch_size, json } = parseCommand(command);
  if (text_file === undefined) {
    return refuse("text_file is needed: moby_dick, or a UTF-8 text file");
  }
  const { gpu, model, text } = await preparing(async () => {
    const model = await openModel(model_name);
    const { text } = await loadText(text_file);
    return { gpu: await Gpu.open(), model, text };
  });
  using _gpu = gpu;
  console.error(
    `adapter: ${gpu.info.name}; scoring ${text.length.toLocaleString("en-US")} characters`,
  );
  const result = await preparing(() =>
    evaluateText(gpu, model, text, {
      ...(max_length !== undefined && { maxLength: max_length }),
      ...(stride !== undefined && { stride }),
      batchSize: batch_size,
      signal,
    })
  );
  if (json) printJson(result);
  else {
    console.log(
      `loss ${result.loss.toFixed(4)} nats per token, perplexity ${result.perplexity.toFixed(2)} ` +
        `(${result.predicted} of ${result.tokens} tokens predicted)`,
    );
  }
});
