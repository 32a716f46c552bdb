/**
 * `deno task generate`: see --help.
 *
 * @module
 */
import {
  modelOption,
  newCommand,
  numberOption,
  Option,
  parseCommand,
  preparing,
  printJson,
  runMain,
  textOption,
  wholeOption,
} from "./cli.ts";
import { continueText } from "../src/experiment/continue_text.ts";
import { openModel } from "../src/experiment/setup.ts";
import { Gpu } from "../src/gpu/device.ts";

const AFTER =
  `The same seed gives the same text on the same adapter. Prompt and continuation together cannot be
longer than the model's context.

Examples:
  deno task generate --prompt "Call me Ishmael."
  deno task generate --model_name runs/RUN/model --prompt "The whale" --temperature 0 --json`;

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task generate",
    description: "Continues a prompt.",
    after: AFTER,
  })
    .addOption(modelOption())
    .addOption(
      new Option("--prompt <text>", "what to go on from")
        .default("Call me Ishmael.").argParser(textOption("prompt")),
    )
    .addOption(
      new Option("--max_new_tokens <tokens>", "tokens to write")
        .default(80).argParser(wholeOption("max_new_tokens", { min: 1 })),
    )
    .addOption(
      new Option("--temperature <number>", "0 always takes the likeliest token")
        .default(0.8).argParser(numberOption("temperature", { min: 0, max: 100 })),
    )
    .addOption(
      new Option("--top_k <number>", "draw from the k likeliest tokens, 0 for all")
        .default(40).argParser(wholeOption("top_k", { min: 0 })),
    )
    .addOption(
      new Option("--top_p <share>", "draw from the likeliest tokens of this probability")
        .default(0.95).argParser(numberOption("top_p", { above: 0, max: 1 })),
    )
    .addOption(
      new Option("--seed <number>", "decides what is drawn")
        .default(42).argParser(wholeOption("seed", { min: 0 })),
    )
    .option("--json", "print the result as one JSON line");
  const { model_name, json, ...own } = parseCommand(command);
  const { gpu, model } = await preparing(async () => {
    const model = await openModel(model_name);
    if (model.tokenizer === undefined) throw new TypeError(`${model_name} has no tokenizer.json`);
    return { gpu: await Gpu.open(), model };
  });
  using _gpu = gpu;
  // what cannot be computed here is the model's or the adapter's fault
  const { text, tokens } = await preparing(() => continueText(gpu, model, own, signal));
  const { prompt, seed } = own;
  if (json) printJson({ prompt, text, tokens, seed });
  else console.log(prompt + text);
});
