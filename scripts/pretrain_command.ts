/**
 * The command line of `deno task pretrain`.
 *
 * @module
 */
import {
  datasetConfigOption,
  newCommand,
  numberOption,
  Option,
  parseCommand,
  TEXT_HELP,
  textColumnOption,
  textOption,
  wholeOption,
} from "./cli.ts";
import { liveOption } from "./live.ts";
import { refuseBesideResume } from "./option_groups.ts";
import type { PretrainOptions } from "../src/experiment/pretrain.ts";
import { absoluteText } from "../src/experiment/resume.ts";

/** What decides the model, as the command line calls it. */
export type PretrainValues = Omit<
  ReturnType<typeof parsePretrain>,
  "live" | "verbose" | "resume" | "overwrite" | "output_dir"
>;

/** Parses the command line. */
// deno-lint-ignore explicit-module-boundary-types -- the options' own types are the type
export function parsePretrain() {
  // the flag's literal type is what types the parsed options
  const whole = <const N extends string>(name: N, help: string, value: number, min = 1) =>
    new Option(`--${name} <number>` as `--${N} <number>`, help)
      .default(value).argParser(wholeOption(name, { min }));
  const command = newCommand({
    name: "deno task pretrain",
    description: "Trains a byte-level BPE tokenizer and a GPT-2 from scratch on a text.",
    after:
      "The folder gets the model in Hugging Face's layout; FOLDER.training.json is the record. " +
      "Until it is done, FOLDER.unfinished is what --resume FOLDER continues from.",
  })
    .addOption(
      new Option(
        "--text <text>",
        TEXT_HELP.text,
      )
        .default("moby_dick").argParser(textOption("text")),
    )
    .addOption(datasetConfigOption())
    .addOption(textColumnOption())
    .addOption(
      new Option("--output_dir <dir>", "where the model goes")
        .default("pretrained").argParser(textOption("output_dir")),
    )
    .option("--overwrite", "replace what an earlier pretraining left in output_dir")
    .addOption(whole("n_layer", "layers", 4))
    .addOption(whole("n_head", "heads in a layer", 8))
    .addOption(whole("n_embd", "channels", 128))
    .addOption(whole("vocab_size", "tokens in the vocabulary", 1024, 257))
    .addOption(whole("n_positions", "longest sequence", 128))
    .addOption(whole("max_length", "tokens in a training sequence", 128))
    .addOption(whole("batch_size", "sequences that are computed at once", 4))
    .addOption(
      whole("gradient_accumulation_steps", "such batches in a step, one after the other", 1),
    )
    .option("--recompute", "compute activations again in backward: less memory, more time", false)
    .addOption(whole("steps", "optimizer steps", 4800))
    .addOption(whole("eval_freq", "steps from one validation to the next", 200))
    .addOption(whole("seed", "decides weights and batches", 1, 0))
    .addOption(
      new Option("--learning_rate <rate>", "highest learning rate")
        .default(2e-3).argParser(numberOption("learning_rate", { above: 0, max: 1 })),
    )
    .addOption(
      new Option("--weight_decay <weight>", "decoupled weight decay of matrices")
        .default(0.3).argParser(numberOption("weight_decay", { min: 0 })),
    )
    .addOption(
      new Option("--input_noise <share>", "input tokens replaced by others, against overfitting")
        .default(0).argParser(numberOption("input_noise", { min: 0, below: 1 })),
    )
    .addOption(
      new Option("--beta2 <number>", "Adam's decay rate of the second moment")
        .default(0.99).argParser(numberOption("beta2", { min: 0, below: 1 })),
    )
    .addOption(
      new Option("--initializer_range <number>", "standard deviation of fresh weights")
        .default(0.05).argParser(numberOption("initializer_range", { above: 0, max: 1 })),
    )
    .addOption(
      new Option("--resume <dir>", "continue what was to go to this output_dir, and was stopped")
        .argParser(textOption("resume")),
    )
    .option("--verbose", "tell what memory is for")
    .addOption(liveOption());
  const values = parseCommand(command);
  if (values.resume !== undefined) refuseBesideResume(command, ["live", "verbose"]);
  return values;
}

/** The options of the library. */
export function pretrainOptions(o: PretrainValues): PretrainOptions {
  return {
    ...{ text: absoluteText(o.text), dataset_config: o.dataset_config, text_column: o.text_column },
    sizes: { L: o.n_layer, NH: o.n_head, C: o.n_embd, V: o.vocab_size, T: o.n_positions },
    batchSize: o.batch_size,
    accumulate: o.gradient_accumulation_steps,
    recompute: o.recompute,
    maxLength: o.max_length,
    steps: o.steps,
    learningRate: o.learning_rate,
    weightDecay: o.weight_decay,
    inputNoise: o.input_noise,
    beta2: o.beta2,
    initializerRange: o.initializer_range,
    evalFreq: o.eval_freq,
    seed: o.seed,
  };
}
