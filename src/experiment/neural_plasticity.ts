/**
 * The neural plasticity experiment, step by step: what a notebook or a script does with it takes one
 * call each.
 *
 * @module
 */
import { join } from "node:path";
import { saveModel, type SaveOptions } from "../data/save_model.ts";
import { scaleHeads } from "../gpt2/heads.ts";
import { drawable } from "../data/vocabulary.ts";
import { Generator } from "../gpt2/generate.ts";
import { Gpu } from "../gpu/device.ts";
import { importanceScores } from "../plasticity/scores.ts";
import { detectWarmupEnd, SMOOTHING } from "../plasticity/warmup.ts";
import { checkNumber } from "../ranges.ts";
import type { EventRow, MetricRow, Results } from "../record.ts";
import { type Dashboard, writeDashboard } from "../report/dashboard.ts";
import { headRows, scoreArm } from "./analysis.ts";
import { EventQueue } from "./event_queue.ts";
import { configured, type ExperimentConfig } from "./experiment_config.ts";
import type {
  AttentionAnalysis,
  EvaluationResults,
  FullExperimentResults,
  LossMetrics,
  PruningCycleResults,
  SavedPaths,
  WarmupResults,
} from "./experiment_results.ts";
import type { ExperimentRun } from "./experiment_run.ts";
import type { RunListeners, RunProgress, WarmedUp } from "./experiment_state.ts";
import { type DeviceChoice, type ExperimentOptions, stepBatch } from "./options.ts";
import {
  environmentRecord,
  openExperiment,
  readOptions,
  resumeExperiment,
  startExperiment,
} from "./run.ts";
import { controlMetrics, cycleResults, metrics, warmupResults } from "./step_results.ts";

/** Something that happened. */
export type ExperimentEvent =
  /** A line of `metrics.jsonl`: a step, or a look at the validation text. */
  | { readonly kind: "metric"; readonly row: MetricRow }
  /** A line of `events.jsonl`: a phase, a pruning, a checkpoint, ... */
  | { readonly kind: "event"; readonly row: EventRow }
  /** How far it is. */
  | { readonly kind: "progress"; readonly progress: RunProgress }
  /** A sentence for people. */
  | { readonly kind: "message"; readonly line: string };

/** What `generateExamples` continues where nothing else is asked. */
const PROMPTS = {
  story: "Once upon a time",
  ai: "The future of artificial intelligence",
  space: "In a distant galaxy",
  science: "Scientists recently discovered",
};

/**
 * An experiment that is done step by step, or in one go.
 *
 * ```ts ignore
 * using experiment = new NeuralPlasticityExperiment({ pruningLevel: 0.1, verbose: true });
 * await experiment.setup();
 * await experiment.runWarmup({ maxSteps: 150 });
 * for (let cycle = 0; cycle < 3; cycle++) await experiment.runPruningCycle({ trainingSteps: 100 });
 * console.log(await experiment.evaluate());
 * ```
 *
 * Every step may be given an `AbortSignal`: then a checkpoint is saved, and the signal's reason thrown.
 * {@linkcode NeuralPlasticityExperiment.resume} opens a folder again; steps that were done return
 * what they returned, and the first that was not goes on where it was, with the same bits.
 */
export class NeuralPlasticityExperiment implements Disposable {
  /** Everything that decides what it does. */
  readonly options: ExperimentOptions;
  readonly #config: ExperimentConfig;
  readonly #folder: string | undefined;
  #owned = new DisposableStack();
  #gpu: Gpu | undefined;
  #run: ExperimentRun | undefined;
  /** Cycles whose results have been returned since the folder was opened. */
  #returned = 0;
  #final: LossMetrics | undefined;
  #analysis: AttentionAnalysis | undefined;
  readonly #events = new EventQueue<ExperimentEvent>();

  /**
   * Checks the options; nothing is loaded yet.
   *
   * @throws {RangeError} If a number is out of range.
   * @throws {TypeError} If a value is of the wrong kind, or an option unknown.
   */
  constructor(
    config: ExperimentConfig = {},
    resumed?: { dir: string; options: ExperimentOptions },
  ) {
    const options = configured(config);
    this.#config = config;
    this.#folder = resumed?.dir;
    this.options = resumed?.options ?? options;
  }

  /**
   * Opens the folder of an experiment that was stopped or killed, or whose process has ended.
   *
   * @throws {TypeError} If it is not such a folder, or the experiment is finished.
   */
  static async resume(
    dir: string,
    config: Pick<ExperimentConfig, "gpu" | "verbose" | keyof RunListeners> = {},
  ): Promise<NeuralPlasticityExperiment> {
    return new NeuralPlasticityExperiment(config, { dir, options: await readOptions(dir) });
  }

  /**
   * Opens the device, loads model, tokenizer and text, and makes the run's folder.
   *
   * @throws {RangeError | TypeError | GpuError} If they do not work out; nothing was written then.
   */
  async setup(): Promise<this> {
    if (this.#run) return this;
    const { runDir, verbose, signal, onDetail, onProgress, onMetric, onEvent } = this.#config;
    const gpu = this.#config.gpu ??
      this.#owned.use(await Gpu.open({ device: this.options.device }));
    const queue = this.#events;
    const listeners: RunListeners = {
      signal,
      onMessage: (line) => this.#tell(line),
      ...(onDetail && { onDetail }),
      onProgress(progress) {
        onProgress?.(progress);
        queue.push({ kind: "progress", progress });
      },
      onMetric(row) {
        onMetric?.(row);
        queue.push({ kind: "metric", row });
      },
      onEvent(row) {
        onEvent?.(row);
        queue.push({ kind: "event", row });
      },
    };
    this.#gpu = gpu;
    const { options } = this;
    this.#run = this.#owned.use(
      this.#folder !== undefined
        ? await resumeExperiment(gpu, this.#folder, listeners)
        : runDir !== undefined
        ? await openExperiment(gpu, { dir: runDir, options }, listeners)
        : await startExperiment(gpu, options, listeners, this.#config.runName),
    );
    if (verbose) console.error(`adapter: ${gpu.info.name}; run folder: ${this.#run.folder.dir}`);
    return this;
  }

  /** The run under {@linkcode NeuralPlasticityExperiment.setup}'s roof: folder, materials, models. */
  get run(): ExperimentRun {
    if (!this.#run) throw new TypeError("Call setup() first");
    return this.#run;
  }

  /**
   * Everything that happens from now on, as it is recorded, until the experiment is disposed.
   *
   * ```ts ignore
   * for await (const event of experiment.events()) {
   *   if (event.kind === "metric") console.log(event.row.step, event.row.loss);
   * }
   * ```
   */
  events(): AsyncIterableIterator<ExperimentEvent> {
    const own = this.#events[Symbol.asyncIterator]();
    return { ...own, [Symbol.asyncIterator]: () => own as AsyncIterableIterator<ExperimentEvent> };
  }

  /** The run's folder. */
  get outputDir(): string {
    return this.run.folder.dir;
  }

  /** The adapter's name. */
  get device(): string {
    if (!this.#gpu) throw new TypeError("Call setup() first");
    return this.#gpu.info.name;
  }

  /** `embedded`, or where the model came from. */
  get modelName(): string {
    return this.options.model_name;
  }

  /** Sequences of the training text, each of `max_length` tokens. */
  get trainingExamples(): number {
    return Math.floor(this.run.materials.parts.train.length / this.options.max_length);
  }

  /** Windows of the validation text that each evaluation reads. */
  get validationExamples(): number {
    return this.run.materials.validation.length;
  }

  /** Attention entropy of every head at the last {@linkcode NeuralPlasticityExperiment.analyzeAttention}. */
  get entropyValues(): (number | null)[][] {
    return this.#analyzed().entropy_values;
  }

  /** Gradient norm of every head at the last {@linkcode NeuralPlasticityExperiment.analyzeAttention}. */
  get gradNormValues(): (number | null)[][] {
    return this.#analyzed().grad_norm_values;
  }

  /** Validation loss after warm-up, before any pruning. */
  get baselineLoss(): number {
    return this.#warm().baseline_loss;
  }

  /** exp(baselineLoss). */
  get baselinePerplexity(): number {
    return Math.exp(this.baselineLoss);
  }

  /** Perplexity at the last {@linkcode NeuralPlasticityExperiment.evaluate}. */
  get finalPerplexity(): number {
    if (!this.#final) throw new TypeError("Call evaluate() first");
    return this.#final.perplexity;
  }

  /** Every head that was removed, `[layer, head]`, in the order they went. */
  get prunedHeads(): [number, number][] {
    return this.run.prunedHeads.map(([layer, head]) => [layer, head]);
  }

  /**
   * Trains until the loss is stable ({@linkcode detectWarmupEnd}); what comes out is the baseline.
   *
   * @param maxEpochs Passes over the training text at most.
   * @param patience Steps without a new lowest loss before it may end.
   * @param minSteps Steps at least; 50 or, where they are fewer, `maxSteps` unless given.
   * @param maxSteps Steps at most in each pass.
   */
  async runWarmup(
    { maxEpochs = 1, patience = 15, maxSteps = 150, minSteps = Math.min(50, maxSteps), signal }: {
      maxEpochs?: number;
      patience?: number;
      minSteps?: number;
      maxSteps?: number;
      signal?: AbortSignal;
    } = {},
  ): Promise<WarmupResults> {
    for (const [name, value] of Object.entries({ maxEpochs, patience, maxSteps })) {
      checkNumber(name, value, { min: 1, whole: true });
    }
    checkNumber("minSteps", minSteps, { min: 0, max: maxSteps * maxEpochs, whole: true });
    const tokens = stepBatch(this.options) * this.options.max_length;
    const epoch = Math.max(
      1,
      Math.floor(this.run.materials.parts.train.length / tokens),
    );
    const detector = { patience, minSteps };
    const warm = await this.run.warmup({
      steps: maxEpochs * Math.min(maxSteps, epoch),
      every: SMOOTHING,
      ended(losses) {
        const { stable, reason } = detectWarmupEnd(losses, detector);
        return stable ? reason : undefined;
      },
    }, signal);
    return warmupResults(warm, { detector, epoch });
  }

  /**
   * Measures every live head on calibration text; nothing is trained. Warm up first. Where the cycle that
   * comes next was done before the folder was opened, what was measured for it.
   *
   * @throws The signal's reason.
   */
  async analyzeAttention({ signal }: { signal?: AbortSignal } = {}): Promise<AttentionAnalysis> {
    this.#warm();
    const arm = this.run.arms[0], { L, NH } = arm.config, { gates } = this.run;
    const known = this.run.analysisOf(this.#returned + 1);
    if (known) {
      return this.#analysis = {
        entropy_values: known.entropy,
        grad_norm_values: known.grad_norm,
        importance_values: known.importance,
        model_structure: [L, NH],
      };
    }
    const { metrics } = await scoreArm(arm, this.run.materials.calibration, {
      strategy: "importance",
      gates,
      random: () => 0,
      ...(signal && { signal }),
    });
    return this.#analysis = {
      entropy_values: headRows(arm.config, metrics.entropy),
      grad_norm_values: headRows(arm.config, metrics.gradNorm),
      importance_values: headRows(arm.config, importanceScores(metrics, gates)),
      model_structure: [L, NH],
    };
  }

  /**
   * Analyses, prunes a share of all heads, and trains; the controls do as much.
   *
   * @param trainingSteps Optimizer steps after pruning; those of the options unless given.
   * @throws {RangeError} If so many heads cannot go while every layer keeps one.
   */
  async runPruningCycle(
    { trainingSteps = this.options.finetuning_steps, signal }: {
      trainingSteps?: number;
      signal?: AbortSignal;
    } = {},
  ): Promise<PruningCycleResults> {
    this.#warm();
    checkNumber("trainingSteps", trainingSteps, { min: 0, whole: true });
    const { run } = this;
    const done = run.cycles[this.#returned];
    const { L, NH } = run.materials.model.config;
    const start = run.materials.model.live.flat().length;
    const each = Math.max(1, Math.floor(L * NH * this.options.pruning_level + 1e-9));
    const gone = L * NH - start + each * (this.#returned + 1);
    if (done && done.training_steps !== trainingSteps) {
      this.#tell(
        `cycle ${done.cycle} was done before, with ${done.training_steps} training steps instead of ` +
          `${trainingSteps}: these are its results`,
      );
    }
    const ended = done ?? await run.cycle({ gone, steps: trainingSteps }, signal);
    this.#returned++;
    return cycleResults(ended, this.run, this.options);
  }

  /**
   * Measures the models on validation text, as often as asked.
   *
   * @throws The signal's reason.
   */
  async evaluate({ signal }: { signal?: AbortSignal } = {}): Promise<EvaluationResults> {
    const warm = this.#warm(), losses = new Map<string, number>();
    for (const arm of this.run.arms) {
      const { loss } = await arm.trainer.evaluator.evaluate(this.run.materials.validation, signal);
      losses.set(arm.name, loss);
    }
    const loss = losses.get("pruned")!, perplexity = Math.exp(loss);
    const twin = losses.get("unpruned_twin"), random = losses.get("random_pruning");
    this.#final = { loss, perplexity };
    const baseline_perplexity = Math.exp(warm.baseline_loss);
    return {
      loss,
      perplexity,
      baseline_loss: warm.baseline_loss,
      baseline_perplexity,
      improvement_percent: 100 * (baseline_perplexity - perplexity) / baseline_perplexity,
      ...(twin !== undefined && { unpruned_twin_loss: twin, difference_from_twin: loss - twin }),
      ...(random !== undefined && { random_pruning_loss: random }),
      pruned_heads: this.prunedHeads,
      num_pruned_heads: this.prunedHeads.length,
    };
  }

  /**
   * Continues prompts with the model as it is, all at once.
   *
   * @param prompts By name; the result has the same names.
   * @param maxLength Tokens of prompt and continuation together, at most the model's context.
   * @returns Each prompt and what follows it.
   * @throws {RangeError} If a prompt leaves no room.
   */
  async generateExamples(
    { prompts = PROMPTS, maxLength = 100, temperature = 0.7, topK = 50, topP = 0.95, signal }: {
      prompts?: Record<string, string>;
      maxLength?: number;
      temperature?: number;
      topK?: number;
      topP?: number;
      signal?: AbortSignal;
    } = {},
  ): Promise<Record<string, string>> {
    const { tokenizer, model: { config, endsOfText = [] } } = this.run.materials;
    const { model } = this.run.arms[0] ?? {};
    if (!model) throw new TypeError("Warm up first");
    checkNumber("maxLength", maxLength, { min: 2, whole: true });
    const names = Object.keys(prompts);
    if (names.length === 0) return {};
    const encoded = await Promise.all(names.map((name) => tokenizer.encode(prompts[name])));
    const longest = Math.max(...encoded.map(({ length }) => length));
    const most = Math.min(maxLength, config.T);
    if (longest >= most) {
      throw new RangeError(`a prompt of ${longest} tokens leaves no room in ${most}`);
    }
    using generator = new Generator(model);
    const written = await generator.generate({
      prompts: encoded,
      maxNewTokens: most - longest,
      temperature,
      topK,
      topP,
      seed: this.options.seed,
      ...drawable(tokenizer, config),
      stop: endsOfText,
    }, signal && { signal });
    const texts = await Promise.all(written.map((tokens) => tokenizer.decode(tokens)));
    return Object.fromEntries(names.map((name, i) => [name, texts[i]]));
  }

  /**
   * Saves the model as it is, gates folded into its weights, in Hugging Face's format.
   *
   * @param options.dir A folder; `saved_model` in the run's own unless given.
   * @param options.form `padded`, which every program loads, unless given.
   */
  async saveModel(
    { dir = join(this.outputDir, "saved_model"), ...form }: { dir?: string } & SaveOptions = {},
  ): Promise<SavedPaths> {
    const arm = this.run.arms[0];
    if (!arm) throw new TypeError("Warm up first");
    const { model } = this.run.materials, { live } = arm.model;
    const weights = scaleHeads(model.config, await arm.model.weights(), live, arm.effectiveGates);
    await saveModel(dir, { ...model, live, weights }, form);
    return {
      model_dir: dir,
      config: join(dir, "config.json"),
      model: join(dir, "model.safetensors"),
      tokenizer: join(dir, "tokenizer.json"),
      pollard: join(dir, "pollard.json"),
    };
  }

  /**
   * Ends a run that was done step by step: reads the test text, which is done once, and writes samples,
   * model and `results.json`.
   *
   * @returns What `results.json` holds.
   * @throws The signal's reason.
   */
  async finish({ signal }: { signal?: AbortSignal } = {}): Promise<Results> {
    this.#warm();
    return await this.run.finish(signal);
  }

  /**
   * Draws the report of the run so far and writes it as one HTML file. A Jupyter notebook shows the
   * panels of what is returned: losses, perplexity, heads and sparsity, and each cycle with the controls.
   *
   * @param savePath The file, which must end in `.html`; `report.html` in the run's folder unless given,
   * and then each figure in `figures/` beside it.
   * @throws {TypeError} If it ends in something else.
   */
  async visualizeMetricsDashboard({ savePath }: { savePath?: string } = {}): Promise<Dashboard> {
    return await writeDashboard(this.outputDir, savePath === undefined ? {} : { savePath });
  }

  /**
   * Everything in one go: set up, warm up, cycles, and the test text, which is read once.
   *
   * @param warmupEpochs Passes over the training text at most. @param warmupSteps Steps at most in each.
   * @param trainingSteps Optimizer steps after each pruning.
   */
  async runFullExperiment(
    { warmupEpochs = 1, warmupSteps = 150, pruningCycles = 3, trainingSteps = 100, signal }: {
      warmupEpochs?: number;
      warmupSteps?: number;
      pruningCycles?: number;
      trainingSteps?: number;
      signal?: AbortSignal;
    } = {},
  ): Promise<FullExperimentResults> {
    checkNumber("pruningCycles", pruningCycles, { min: 1, whole: true });
    checkNumber("warmupSteps", warmupSteps, { min: 1, whole: true });
    await this.setup();
    await this.runWarmup({
      maxEpochs: warmupEpochs,
      minSteps: Math.min(50, warmupSteps),
      maxSteps: warmupSteps,
      ...(signal && { signal }),
    });
    const cycle_results: PruningCycleResults[] = [];
    while (cycle_results.length < pruningCycles) {
      cycle_results.push(await this.runPruningCycle({ trainingSteps, ...(signal && { signal }) }));
    }
    const results = await this.finish({ ...(signal && { signal }) });
    const baseline_metrics = metrics(results.baseline_loss);
    const final_metrics = metrics(results.final_loss);
    const { perplexity } = baseline_metrics;
    return {
      baseline_metrics,
      final_metrics,
      ...controlMetrics(results),
      improvement_percent: 100 * (perplexity - final_metrics.perplexity) / perplexity,
      pruned_heads: this.prunedHeads,
      cycle_results,
      execution_time: results.execution_time_s,
      output_dir: this.outputDir,
    };
  }

  /**
   * Runs to the end as the options plan it, which is what `deno task experiment` does: there
   * `pruning_level` is the share of heads that is gone after all of `cycles`.
   *
   * @returns What `results.json` holds.
   */
  async runPlanned(signal?: AbortSignal): Promise<Results> {
    await this.setup();
    return await this.run.run(signal);
  }

  /**
   * What numbers would be measured on, before there is an experiment: opens a device, and closes it.
   *
   * @throws {GpuError} If there is none.
   */
  static async getEnvironmentInfo(
    { device = "auto" }: { device?: DeviceChoice } = {},
  ): Promise<Record<string, unknown>> {
    using gpu = await Gpu.open({ device });
    return { ...environmentRecord(gpu), deno: Deno.version.deno };
  }

  /** What numbers are measured on. */
  getEnvironmentInfo(): Record<string, unknown> {
    if (!this.#gpu) throw new TypeError("Call setup() first");
    return { ...environmentRecord(this.#gpu), deno: Deno.version.deno };
  }

  #tell(line: string): void {
    this.#config.onMessage?.(line);
    if (this.#config.verbose) console.error(line);
    this.#events.push({ kind: "message", line });
  }

  #analyzed(): AttentionAnalysis {
    if (!this.#analysis) throw new TypeError("Call analyzeAttention() first");
    return this.#analysis;
  }

  #warm(): WarmedUp {
    const { warmedUp } = this.run;
    if (!warmedUp) throw new TypeError("Warm up first");
    return warmedUp;
  }

  /** Frees every model, and the device where it is its own. The run's folder stays. */
  dispose(): void {
    this.#events.end();
    this.#owned.dispose();
    this.#owned = new DisposableStack();
    this.#run = undefined;
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
