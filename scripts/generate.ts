/**
 * `deno task generate`: see --help.
 *
 * @module
 */
import {
  anyTextOption,
  modelOption,
  newCommand,
  numberOption,
  Option,
  parseCommand,
  preparing,
  printJson,
  printPiece,
  Progress,
  refuse,
  runMain,
  severalOption,
  textOption,
  wholeOption,
} from "./cli.ts";
import { tokenizerOf } from "../src/data/model_files.ts";
import { readUtf8 } from "../src/data/utf8.ts";
import { type Continuation, continueTexts, NEW_TOKENS } from "../src/experiment/continue_text.ts";
import { openModel } from "../src/experiment/setup.ts";
import { Gpu } from "../src/gpu/device.ts";

const PROMPT = "Call me Ishmael.";

const AFTER =
  `One prompt's text is printed as it is written; several are written side by side, and printed when
all are done. The same seed continues the same prompt alike on the same adapter, whatever prompts stand
beside it.
Prompt and continuation together cannot be longer than the model's context.

Examples:
  deno task generate --prompt "Call me Ishmael."
  deno task generate --model_name gpt2 --prompt "The whale" --prompt "The sea" --repetition_penalty 1.2
  deno task generate --prompts_file prompts.txt --temperature 0 --json > texts.jsonl
  deno task generate --model_name runs/RUN/model --prompt "Q: Why?" --stop "Q:" --stop $'\\n\\n'`;

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task generate",
    description: "Continues prompts.",
    after: AFTER,
  })
    .addOption(modelOption())
    .addOption(
      new Option(
        "--prompt <text>",
        `what to go on from; may be given several times (default: ${JSON.stringify(PROMPT)})`,
      )
        .argParser(severalOption(anyTextOption("prompt"))),
    )
    .addOption(
      new Option("--prompts_file <file>", "a UTF-8 file with a prompt on each line")
        .argParser(textOption("prompts_file")),
    )
    .addOption(
      new Option(
        "--max_new_tokens <tokens>",
        `tokens to write after each prompt (default: ${NEW_TOKENS}, fewer in a short context)`,
      ).argParser(wholeOption("max_new_tokens", { min: 1 })),
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
      new Option(
        "--repetition_penalty <number>",
        "above 1, tokens that the text holds already become less likely",
      )
        .default(1).argParser(numberOption("repetition_penalty", { above: 0, max: 1000 })),
    )
    .addOption(
      new Option("--stop <text>", "end a text before this; may be given several times")
        .argParser(severalOption(anyTextOption("stop"))),
    )
    .addOption(
      new Option("--seed <number>", "decides what is drawn")
        .default(42).argParser(wholeOption("seed", { min: 0 })),
    )
    .option("--json", "print a JSON line for each prompt, when all are done");
  const { model_name, json, prompt, prompts_file, ...own } = parseCommand(command);
  const { gpu, model, prompts } = await preparing(async () => {
    const prompts = await promptsOf(prompt, prompts_file, signal);
    const model = await openModel(model_name, { onMessage: (line) => console.error(line) });
    tokenizerOf(model, model_name);
    return { gpu: await Gpu.open(), model, prompts };
  });
  using _gpu = gpu;
  const alone = prompts.length === 1 && !json;
  let begun = false;
  const onText = ([piece]: string[]) => {
    // not before something is known to follow
    if (alone) printPiece(begun ? piece : prompts[0] + piece);
    begun = true;
  };
  using progress = new Progress();
  const onProgress = (step: number, total: number) => {
    if (!alone) progress.update({ phase: "writing", step, total });
  };
  try {
    // what cannot be computed here is the model's or the adapter's fault
    const texts = await preparing(() =>
      continueTexts(gpu, model, { prompts, ...own }, { signal, onText, onProgress })
    );
    progress.stop();
    if (json) texts.forEach((text, i) => printJson(lineOf(prompts[i], text, own.seed)));
    else if (!alone) texts.forEach(({ text }, i) => console.log(`[${i + 1}] ${prompts[i]}${text}`));
  } finally {
    if (alone && begun) console.log(); // also where it was stopped
  }
});

function lineOf(prompt: string, { text, tokens, finish }: Continuation, seed: number) {
  return { prompt, text, tokens, finish, seed };
}

/** The prompts of the command line and of a file, in this order. */
async function promptsOf(
  given: string[] = [],
  file: string | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  if (file === undefined) return given.length > 0 ? given : [PROMPT];
  const lines = (await readUtf8(file, { signal })).split(/\r?\n/).filter((line) =>
    line.trim() !== ""
  );
  if (lines.length === 0) refuse(`${file} holds no prompt: write one on each line`);
  return [...given, ...lines];
}
