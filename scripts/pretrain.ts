/**
 * `deno task pretrain`: see --help. With no option it makes the embedded model again.
 *
 * @module
 */
import { resolve } from "node:path";
import {
  datasetConfigOption,
  newCommand,
  numberOption,
  Option,
  parseCommand,
  preparing,
  Progress,
  runMain,
  TEXT_HELP,
  textColumnOption,
  textOption,
  wholeOption,
} from "./cli.ts";
import { liveOption, openLive, toTheEnd } from "./live.ts";
import { writeWhole } from "../src/data/files.ts";
import { checkSavable, saveModel } from "../src/data/save_model.ts";
import {
  checkPretraining,
  preparePretraining,
  pretrain,
  type PretrainProgress,
} from "../src/experiment/pretrain.ts";
import { environmentRecord } from "../src/experiment/run.ts";
import { Gpu } from "../src/gpu/device.ts";
import { type Pretraining, renderPretraining } from "../src/report/pretraining.ts";

await runMain(async (signal) => {
  // the flag's literal type is what types the parsed options
  const whole = <const N extends string>(name: N, help: string, value: number, min = 1) =>
    new Option(`--${name} <number>` as `--${N} <number>`, help)
      .default(value).argParser(wholeOption(name, { min }));
  const command = newCommand({
    name: "deno task pretrain",
    description: "Trains a byte-level BPE tokenizer and a GPT-2 from scratch on a text.",
    after:
      "The folder gets the model in Hugging Face's layout; FOLDER.training.json is the record. " +
      "There are no checkpoints: Ctrl-C ends it for good.",
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
    .option("--overwrite", "replace a model that an earlier pretraining left in output_dir")
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
    .option("--verbose", "tell what memory is for")
    .addOption(liveOption());
  const { live: port, ...o } = parseCommand(command);
  using live = openLive(port);
  const output = resolve(o.output_dir), recordFile = `${output}.training.json`;
  const { gpu, options, materials } = await preparing(async () => {
    await checkSavable(output);
    if (!o.overwrite && await holdsModel(output)) {
      throw new Deno.errors.AlreadyExists(
        `${o.output_dir} holds a model: give another folder, or --overwrite`,
      );
    }
    await checkRecord(recordFile);
    const options = {
      ...{ text: o.text, dataset_config: o.dataset_config, text_column: o.text_column },
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
    const materials = await preparePretraining(options, {
      signal,
      onMessage: (line) => console.error(line),
    });
    const gpu = await Gpu.open();
    const say = (line: string) => console.error(line);
    const listeners = { onMessage: say, ...(o.verbose && { onDetail: say }) };
    await checkPretraining(gpu, options, materials, listeners);
    return { gpu, options, materials };
  });
  using _gpu = gpu;
  using progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  const environment = environmentRecord(gpu);
  const shown: Pretraining = {
    ...{ options: o, environment, steps: o.steps, training: [], validation: [] },
  };
  live?.show(() => renderPretraining(shown));
  const onProgress = ({ step, loss, validation }: PretrainProgress) => {
    shown.training.push([step, loss]);
    if (validation !== undefined) shown.validation.push([step, validation]);
    const tokens = step * o.batch_size * o.gradient_accumulation_steps * o.max_length;
    progress.update({ phase: "pretrain", step, total: o.steps, loss, tokens });
    if (validation !== undefined) {
      progress.log(`step ${step}: validation loss ${validation.toFixed(4)}`);
    }
  };
  const record = await toTheEnd(live, signal, async () => {
    const { model, record } = await pretrain(gpu, options, materials, onProgress, signal);
    await saveModel(output, model);
    await writeWhole(recordFile, JSON.stringify(record, null, 2) + "\n");
    shown.result = record;
    return record;
  }, { kept: `The model is in ${o.output_dir}.` });
  progress.stop();
  const { bigram, trigram } = record.ngram_test_losses;
  console.log(
    `test loss ${record.test_loss.toFixed(4)} nats per token ` +
      `(bigram ${bigram.toFixed(4)}, trigram ${trigram.toFixed(4)}); model in ${o.output_dir}`,
  );
});

async function holdsModel(dir: string): Promise<boolean> {
  try {
    return (await Array.fromAsync(Deno.readDir(dir))).length > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Refuses to write over a file that is not the record of an earlier pretraining. */
async function checkRecord(file: string): Promise<void> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (text.includes("ngram_test_losses")) return;
  throw new Deno.errors.AlreadyExists(`${file} is not ours: it is left alone; give another folder`);
}
