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
import { openModel } from "../src/experiment/setup.ts";
import { Generator } from "../src/gpt2/generate.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
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
  const o = parseCommand(command);
  const { gpu, model, tokenizer, prompt } = await preparing(async () => {
    const model = await openModel(o.model_name);
    const { tokenizer, config } = model;
    if (tokenizer === undefined) throw new TypeError(`${o.model_name} has no tokenizer.json`);
    const prompt = tokenizer.encode(o.prompt);
    if (prompt.length + o.max_new_tokens > config.T) {
      throw new RangeError(
        `max_new_tokens must be at most ${config.T - prompt.length} after a prompt of ` +
          `${prompt.length} tokens (the model's context is ${config.T}): ${o.max_new_tokens}`,
      );
    }
    return { gpu: await Gpu.open(), model, tokenizer, prompt };
  });
  using _gpu = gpu;
  // what cannot be computed here is the model's or the adapter's fault
  using loaded = preparing(() => new Gpt2(gpu, model.config, model.weights, model.live));
  using generator = new Generator(loaded);
  const [tokens] = await preparing(() =>
    generator.generate({
      prompts: [prompt],
      maxNewTokens: o.max_new_tokens,
      temperature: o.temperature,
      topK: o.top_k,
      topP: o.top_p,
      seed: o.seed,
      vocabSize: tokenizer.vocabSize,
      ...(tokenizer.eos !== undefined && { stop: tokenizer.eos }),
    }, { signal })
  );
  const written = tokens.subarray(prompt.length);
  const text = tokenizer.decode(written);
  if (o.json) printJson({ prompt: o.prompt, text, tokens: written.length, seed: o.seed });
  else console.log(o.prompt + text);
});
