/**
 * Trains a GPT-2 from nothing on a text: how the embedded model was made.
 *
 * @module
 */
import { evalWindows, TrainBatches } from "../data/batches.ts";
import { type TokenizerJson, trainBpe } from "../data/bpe.ts";
import { sha256 } from "../data/files.ts";
import type { Model } from "../data/model_files.ts";
import { ngramLosses } from "../data/ngram.ts";
import type { Parts } from "../data/parts.ts";
import { textOf } from "../data/text_files.ts";
import { openText } from "../data/text_source.ts";
import { Tokenizer } from "../data/tokenizer.ts";
import type { Tokens } from "../data/tokens.ts";
import { initWeights } from "../gpt2/checkpoint.ts";
import { type Gpt2Config, type Gpt2Sizes, makeConfig } from "../gpt2/config.ts";
import { allHeads } from "../gpt2/layout.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { tuneMatmul } from "../kernels/tune.ts";
import { learningRate } from "../optim/schedule.ts";
import { Trainer } from "../optim/trainer.ts";
import { Random } from "../random.ts";
import { type Continuing, Saving } from "../run/continuing.ts";
import { DivergedError } from "./lockstep.ts";
import { planMemory, tellMemory } from "./memory_plan.ts";
import { pretrainParts, type PretrainState, pretrainTensors } from "./pretrain_state.ts";
import { type LoadListeners, loadParts, type PartsOptions, type TextRecord } from "./setup.ts";

/** What to train, and for how long. */
export interface PretrainOptions
  extends Pick<PartsOptions, "text" | "dataset_config" | "text_column"> {
  /** Model sizes; V is also the tokenizer's vocabulary. */
  sizes: Gpt2Sizes;
  /** Sequences that are computed at once. */
  batchSize: number;
  /** Parts of a step's batch; 1 unless given. */
  accumulate?: number;
  /** Whether backward computes activations again; it does not unless asked. */
  recompute?: boolean;
  /** Tokens in a training sequence. */
  maxLength: number;
  steps: number;
  /** Peak learning rate: linear warm-up over 5 % of the steps, then cosine to a tenth. */
  learningRate: number;
  weightDecay: number;
  /**
   * Share of input tokens that are replaced by others drawn from the training text (Xie et al. 2017,
   * "Data noising as smoothing in neural network language models"): what keeps a model with more
   * parameters than its text has tokens from learning the text by heart. Targets stay as they are.
   */
  inputNoise: number;
  /** Adam's decay rate of the second moment. */
  beta2: number;
  /** Standard deviation of fresh weights. */
  initializerRange: number;
  /** Validate, and keep the best weights so far, every this many steps. */
  evalFreq: number;
  seed: number;
}

/** One look at the run, every few steps. */
export interface PretrainProgress {
  step: number;
  loss: number;
  tokensPerSecond: number;
  /** Validation loss, at the steps that measured it. */
  validation?: number;
}

/** The record that is committed beside the weights. */
export interface PretrainRecord {
  text: string;
  /** Which of a data set's configurations; absent where it has none. */
  dataset_config?: string;
  /** The column whose rows are the text; absent where files hold nothing but text. */
  text_column?: string;
  text_sha256: string;
  tokenizer_sha256: string;
  parameters: number;
  steps: number;
  best_step: number;
  batch_size: number;
  gradient_accumulation_steps: number;
  recompute: boolean;
  max_length: number;
  learning_rate: number;
  weight_decay: number;
  input_noise: number;
  beta2: number;
  initializer_range: number;
  seed: number;
  adapter: string;
  seconds: number;
  /** Nats per token on the test part, in windows of max_length; read once. */
  test_loss: number;
  /**
   * The same part under interpolated n-gram models with the same tokenizer and training text; of a
   * long text they count the first 2^24 tokens, and are tuned and scored on the first 2^20.
   */
  ngram_test_losses: { unigram: number; bigram: number; trigram: number };
  /** Validation loss by step. */
  validation: [number, number][];
}

/**
 * Share of the text's characters that the tokenizer learns from: less than the share of tokens that
 * are trained on, so that no held-out text has shaped the vocabulary.
 */
const TOKENIZER_SHARE = 0.75;

/** Characters from which a vocabulary is learnt, and tokens that n-gram models see, at most. */
const MOST = { characters: 1 << 26, counted: 1 << 24, held: 1 << 20 };

/** A text cut and encoded, and the model that is to learn it. */
export interface PretrainMaterials {
  config: Gpt2Config;
  tokenizerJson: TokenizerJson;
  parts: Parts;
  /** Which text it is. */
  record: TextRecord;
}

/**
 * Learns the vocabulary, encodes the text and cuts it.
 *
 * @throws {RangeError} If a size is out of range, or the text too short for it.
 */
export async function preparePretraining(
  options: PretrainOptions,
  listeners: LoadListeners = {},
): Promise<PretrainMaterials> {
  const { sizes, maxLength: T } = options, B = stepBatchOf(options);
  const config = makeConfig({ ...sizes, initializerRange: options.initializerRange });
  if (T > config.T) {
    throw new RangeError(`max_length must be at most n_positions ${config.T}: ${T}`);
  }
  const begins = await beginningOf(options, listeners);
  const learned = begins.slice(0, Math.floor(begins.length * TOKENIZER_SHARE));
  const tokenizerJson = trainBpe(learned, sizes.V);
  const tokenizer = await Tokenizer.fromJson(tokenizerJson);
  if (tokenizer.vocabSize < sizes.V) {
    throw new RangeError(
      `The text yields a vocabulary of ${tokenizer.vocabSize} tokens, not of vocab_size ${sizes.V}: ask for as many, or give a longer text`,
    );
  }
  return { config, tokenizerJson, ...await loadParts({ ...options, tokenizer, T, B }, listeners) };
}

/** The text that is trained on, or what of it is at most needed to learn a vocabulary. */
async function beginningOf(
  { text, dataset_config: config, text_column: column }: PretrainOptions,
  listeners: LoadListeners,
): Promise<string> {
  const { splits } = await openText(text, { config, column, ...listeners });
  let begins = "";
  for await (const piece of textOf(splits.train!, { signal: listeners.signal })) {
    begins += piece;
    if (begins.length >= MOST.characters) break;
  }
  return begins.slice(0, MOST.characters);
}

/** Sequences in a step's batch. */
function stepBatchOf({ batchSize, accumulate = 1 }: PretrainOptions): number {
  return batchSize * accumulate;
}

/**
 * Plans what training will need and tells it, then allocates it and gives it back: what is too large
 * is refused here.
 *
 * @throws {RangeError} If the plan does not fit, naming what would.
 * @throws {GpuError} If the adapter has less memory than WebGPU could tell.
 */
export async function checkPretraining(
  gpu: Gpu,
  { batchSize: B, maxLength: T, accumulate, recompute, seed }: PretrainOptions,
  { config }: PretrainMaterials,
  listeners: Parameters<typeof tellMemory>[1] = {},
): Promise<void> {
  const shape = { B, T, accumulate, recompute };
  const sizes = { config, live: allHeads(config) };
  // the model that is judged at the end lives beside the trained one
  tellMemory(planMemory(gpu, sizes, { ...shape, models: 2 }), listeners);
  using model = new Gpt2(gpu, config, initWeights(config, seed));
  using _trainer = new Trainer(model, shape);
  await gpu.compiled();
}

/** Steps whose losses are read together. */
const READ_EVERY = 10;

/**
 * Trains the model.
 *
 * @param materials What {@linkcode preparePretraining} made of the same options.
 * @param continuing Where it is saved now and then and when the signal stops it, and what it continues
 * from: then it ends with the same bits as if it had not been stopped.
 * @returns The weights that did best on validation text, and the record of their making.
 * @throws {DivergedError} If the loss is not a number.
 */
export async function pretrain(
  gpu: Gpu,
  options: PretrainOptions,
  { config, tokenizerJson: json, parts, record }: PretrainMaterials,
  onProgress: (progress: PretrainProgress) => void = () => {},
  signal?: AbortSignal,
  continuing?: Continuing<PretrainState>,
): Promise<{ model: Model; record: PretrainRecord }> {
  const { batchSize: B, maxLength: T, steps, evalFreq, seed } = options;
  const { accumulate = 1, recompute = false } = options, inStep = B * accumulate;
  const from = continuing?.from;
  const started = performance.now() - 1e3 * (from?.state.elapsed ?? 0);
  const noise = from ? Random.restore(from.state.noise) : new Random(seed, 2);
  const batches = new TrainBatches(parts.train, { B: inStep, T, seed });

  await tuneMatmul(gpu);
  const saved = from && pretrainParts(from.tensors, from.state.optimizer);
  using model = new Gpt2(gpu, config, saved?.weights ?? initWeights(config, seed));
  const betas = [0.9, options.beta2] as const;
  const { weightDecay } = options;
  using trainer = new Trainer(model, { B, T, accumulate, recompute, betas, weightDecay });
  const schedule = {
    peak: options.learningRate,
    warmup: Math.ceil(steps * 0.05),
    horizon: steps,
    decay: "cosine",
    floor: options.learningRate / 10,
  } as const;
  const validation: [number, number][] = from?.state.validation ?? [];
  let { step, loss } = from?.state ?? { step: 0, loss: NaN };
  let best = {
    ...(from?.state.best ?? { loss: Infinity, step: 0 }),
    weights: saved?.best ?? await model.weights(),
  };
  if (from && saved) {
    batches.restore(from.state.batches);
    trainer.restore(saved.optimizer);
  }
  const saving = new Saving(continuing, async () => {
    const optimizer = await trainer.state();
    const state: PretrainState = {
      ...{ step, loss, batches: batches.state, noise: noise.state, validation },
      optimizer: { steps: optimizer.steps, measured: optimizer.measured },
      best: best.step === 0 ? null : { loss: best.loss, step: best.step },
      elapsed: (performance.now() - started) / 1e3,
    };
    return {
      step,
      state,
      tensors: pretrainTensors(await model.weights(), optimizer, best.weights),
    };
  }, signal);

  const begun = step;
  const looksAt = (step: number) => step > 0 && (step % evalFreq === 0 || step === steps);
  let since = performance.now(), tokensPerSecond = 0;
  for (;;) {
    const progress: PretrainProgress = { step, loss, tokensPerSecond };
    if (looksAt(step) && validation.at(-1)?.[0] !== step) {
      const windows = evalWindows(parts.validation, T);
      const { loss: held } = await saving.during(() => trainer.evaluator.evaluate(windows, signal));
      validation.push([step, held]);
      progress.validation = held;
      if (held < best.loss) best = { loss: held, step, weights: await model.weights() };
    }
    if (step > begun) onProgress(progress);
    await saving.point();
    if (step === steps) break;
    since = performance.now();
    do {
      const { inputs, targets } = batches.next();
      for (let i = 0; i < inputs.length; i++) {
        if (noise.next() >= options.inputNoise) continue;
        const drawn = noise.int(parts.train.length);
        inputs[i] = parts.train.subarray(drawn, drawn + 1)[0];
      }
      trainer.step(inputs, targets, { learningRate: learningRate(step, schedule) });
      step++;
    } while (step % READ_EVERY !== 0 && !looksAt(step));
    const results = await trainer.read();
    loss = results.reduce((sum, result) => sum + result.loss, 0) / results.length;
    if (!Number.isFinite(loss)) {
      throw new DivergedError(`The loss became ${loss} by step ${step}: try a lower learning_rate`);
    }
    tokensPerSecond = results.length * inStep * T / (performance.now() - since) * 1e3;
  }
  using chosen = new Gpt2(gpu, config, best.weights);
  using judge = new Trainer(chosen, { B, T, recompute });
  const windows = evalWindows(parts.test, T);
  const { loss: testLoss } = await saving.during(() => judge.evaluator.evaluate(windows, signal));
  return {
    model: {
      config,
      live: allHeads(config),
      weights: best.weights,
      tokenizerJson: json,
      tokenizerConfig: { tokenizer_class: "GPT2Tokenizer", model_max_length: config.T },
    },
    record: {
      text: record.text,
      ...(record.dataset_config !== undefined && { dataset_config: record.dataset_config }),
      ...(record.text_column !== undefined && { text_column: record.text_column }),
      text_sha256: record.sha256,
      tokenizer_sha256: await sha256(JSON.stringify(json)),
      parameters: model.layout.reduce((sum, { size }) => sum + size, 0),
      steps,
      best_step: best.step,
      batch_size: B,
      gradient_accumulation_steps: accumulate,
      recompute,
      max_length: T,
      learning_rate: options.learningRate,
      weight_decay: options.weightDecay,
      input_noise: options.inputNoise,
      beta2: options.beta2,
      initializer_range: options.initializerRange,
      seed,
      adapter: gpu.info.name,
      seconds: Math.round((performance.now() - started) / 1e3),
      test_loss: testLoss,
      ngram_test_losses: ngramLosses({
        train: firstTokens(parts.train, MOST.counted),
        tuning: firstTokens(parts.validation, MOST.held),
        held: firstTokens(parts.test, MOST.held),
      }, config.V),
      validation,
    },
  };
}

const firstTokens = (tokens: Tokens, most: number): Uint32Array =>
  tokens.subarray(0, Math.min(most, tokens.length));
