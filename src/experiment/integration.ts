/**
 * Controller and plasticity in one loop: a controller looks at the heads and says how hard to prune,
 * a plasticity cycle does it, and how the cycle ended changes what the controller says next.
 *
 * @module
 */
import { sigmoid } from "../controller/ann_config.ts";
import { AnnController } from "../controller/ann_controller.ts";
import { AnnGuide } from "../controller/guide.ts";
import type { HeadMetrics } from "../controller/metrics.ts";
import { saveModel } from "../data/model_files.ts";
import { scaleHeads } from "../gpt2/heads.ts";
import type { Gpu } from "../gpu/device.ts";
import { tuneMatmul } from "../kernels/tune.ts";
import { adaptPlan, diminishingReturns, Patience } from "../plasticity/adaptation.ts";
import type { IntegrationResults, PlasticityCycle } from "../record.ts";
import { undoGates } from "./arm.ts";
import { checkIntegrationOptions, type IntegrationOptions } from "./integration_options.ts";
import { Lockstep } from "./lockstep.ts";
import { checkOptions } from "./options.ts";
import { AdaptivePlasticitySystem } from "./plasticity_system.ts";
import { Recorder } from "./recorder.ts";
import { environmentRecord, shortName } from "./run.ts";
import { RunFolder } from "./run_folder.ts";
import { loadMaterials, type Materials } from "./setup.ts";

/** Who is told. */
export interface IntegrationListeners {
  /** A line for the terminal. */
  onMessage?(line: string): void;
  /** Called when results of training have been read. */
  onStep?(progress: { cycle: number; done: number; steps: number; loss: number }): void;
}

/** Growth ratios: of the first cycle, after a success, after a failure. */
const GROWTH_RATIO = { first: 0.5, success: 0.3, failure: 0.7 };

/** Largest share of live heads that a cycle prunes. */
const MOST_PRUNED = 0.8;

/** What the controller's rate is multiplied by in each cycle. */
const RATE_DECAY = 0.9;

/** A run of the integration. Dispose it to free the device's memory. */
export class ControllerPlasticityIntegration implements Disposable {
  /** Everything that decides what the run does. */
  readonly options: IntegrationOptions;
  /** Where it is recorded. */
  readonly folder: RunFolder;
  readonly #gpu: Gpu;
  readonly #materials: Materials;
  readonly #listeners: IntegrationListeners;
  readonly #lockstep: Lockstep;
  readonly #recorder: Recorder;
  readonly #guide: AnnGuide | undefined;
  readonly #started = performance.now();
  #cycle = 0;

  private constructor(
    gpu: Gpu,
    options: IntegrationOptions,
    materials: Materials,
    folder: RunFolder,
    listeners: IntegrationListeners,
  ) {
    this.#gpu = gpu;
    this.options = options;
    this.#materials = materials;
    this.folder = folder;
    this.#listeners = listeners;
    this.#recorder = new Recorder(folder, () => ({
      step: this.#lockstep.step,
      tokensSeen: this.#lockstep.tokensSeen,
      cycle: this.#cycle,
      elapsed: this.#elapsed(),
    }));
    const { batch_size, sequence_length, seed, learning_rate, max_cycles, training_steps } =
      options;
    this.#lockstep = new Lockstep(
      gpu,
      {
        ...{ batch_size, max_length: sequence_length, seed, learning_rate, keep: true },
        horizon: max_cycles * training_steps,
      },
      materials,
      this.#recorder,
    );
    const { config: { L, NH }, live } = materials.model;
    const { controller_type, controller_lr: rate } = options;
    if (controller_type !== "static") {
      const trained = controller_type === "ann";
      this.#guide = new AnnGuide(new AnnController({ L, NH, live }), { trained, rate });
    }
  }

  /**
   * Loads and checks everything and makes a run folder; nothing is trained yet.
   *
   * @throws {RangeError | TypeError} If the options, the model or the text do not work out; nothing
   * was written then.
   */
  static async start(
    gpu: Gpu,
    given: Partial<IntegrationOptions> = {},
    listeners: IntegrationListeners = {},
  ): Promise<ControllerPlasticityIntegration> {
    const options = checkIntegrationOptions(given);
    const { model_name, dataset: text, sequence_length: max_length } = options;
    const { batch_size, eval_tokens, test_tokens } = options;
    const shared = { model_name, text, max_length, batch_size, eval_tokens, test_tokens };
    const materials = await loadMaterials(checkOptions(shared));
    await tuneMatmul(gpu);
    const folder = await RunFolder.create(options.output_dir, shortName(model_name));
    await folder.writeJson("config.json", options);
    await folder.writeJson("environment.json", environmentRecord(gpu));
    await folder.writeJson("data.json", materials.record);
    return new ControllerPlasticityIntegration(gpu, options, materials, folder, listeners);
  }

  /**
   * Runs cycles until they no longer pay, and writes `results.json`: the best model beside the
   * unpruned twin and random pruning and growth, which had the same training by then.
   *
   * @throws The signal's reason, where it stops the run.
   */
  async runIntegratedOptimization(signal?: AbortSignal): Promise<IntegrationResults> {
    const { options, folder } = this, lockstep = this.#lockstep;
    await this.#begin();
    const system = new AdaptivePlasticitySystem(
      {
        gpu: this.#gpu,
        lockstep,
        materials: this.#materials,
        recorder: this.#recorder,
        onStep: (done, loss) =>
          this.#listeners.onStep?.({ cycle: this.#cycle, done, steps: plan.training_steps, loss }),
      },
      {
        max_perplexity_increase: options.max_perplexity_increase,
        max_degeneration_score: options.max_degeneration_score,
        regrowth: options.regrowth,
        grown_gate: this.#guide ? sigmoid(this.#guide.controller.config.initValue) : 1,
        seed: options.seed,
      },
    );
    this.#setGates(system);
    const baseline = await system.begin(signal);
    const patience = new Patience(baseline);
    let best = await lockstep.save(), bestGates = this.#gates(), bestCycle = 0;
    let plan = {
      pruning_level: 0.1,
      growth_ratio: GROWTH_RATIO.first,
      training_steps: options.training_steps,
    };
    const cycles: PlasticityCycle[] = [], improvements: number[] = [];
    let stopped = "all cycles are done";
    while (this.#cycle < options.max_cycles) {
      this.#cycle++;
      const advice = await this.#advise(system, signal);
      plan = { ...plan, pruning_level: advice.pruning_level };
      const cycle = await system.runCycle({
        ...plan,
        cycle: this.#cycle,
        ...(advice.preferences && { preferences: { pruning: advice.preferences } }),
      }, signal);
      cycles.push(cycle);
      const line = JSON.stringify({ ...cycle, advice }) + "\n";
      await Deno.writeTextFile(folder.path("cycles.jsonl"), line, { append: true });
      this.#learn(cycle);
      this.#setGates(system);
      this.#tell(cycle);
      const isBest = patience.record(
        cycle.success
          ? { success: true, perplexity: cycle.final.perplexity, heads: cycle.final.heads }
          : { success: false },
      );
      if (isBest) {
        best = await lockstep.save();
        bestGates = this.#gates();
        bestCycle = this.#cycle;
      }
      await this.#saveModel(`cycle_${this.#cycle}`);
      const outcome = cycle.success
        ? { success: true as const, improvement: cycle.perplexity_improvement }
        : { success: false as const };
      plan = {
        ...adaptPlan(plan, outcome),
        growth_ratio: cycle.success ? GROWTH_RATIO.success : GROWTH_RATIO.failure,
      };
      improvements.push(cycle.success ? cycle.perplexity_improvement : 0);
      if (patience.exhausted) {
        stopped = `no better model in ${patience.cyclesWithoutBest} cycles`;
        break;
      }
      if (diminishingReturns(improvements)) {
        stopped = "the last cycles improved the perplexity by less than 1 %";
        break;
      }
    }
    lockstep.restore(best.state, new Map(best.tensors.map(({ name, data }) => [name, data])));
    lockstep.pruned.setGates(bestGates);
    return await this.#finish({ baseline, cycles, bestCycle, stopped }, signal);
  }

  /** The arms at the model's start, the one under study with gates that change nothing. */
  async #begin(): Promise<void> {
    const { live, weights, config } = this.#materials.model;
    const names = this.options.controls
      ? ["pruned", "unpruned_twin", "random_pruning"] as const
      : ["pruned"] as const;
    this.#lockstep.replace(names.map((name) => ({ name, live, weights })));
    if (!this.#guide) return;
    const [studied, ...controls] = await Promise.all(
      this.#lockstep.arms.map((arm) => arm.state()),
    );
    this.#lockstep.replace([undoGates(config, studied, this.#guide.gates()), ...controls]);
  }

  #gates(): Float32Array {
    const { L, NH } = this.#materials.model.config;
    return this.#guide?.gates() ?? new Float32Array(L * NH).fill(1);
  }

  #setGates(system: AdaptivePlasticitySystem): void {
    system.setGates(this.#gates());
  }

  /** What the controller says before a cycle, from metrics of calibration text. */
  async #advise(
    system: AdaptivePlasticitySystem,
    signal?: AbortSignal,
  ): Promise<
    { pruning_level: number; pruned_percent: number; preferences?: Record<string, number> }
  > {
    const { trainer, model } = this.#lockstep.pruned;
    if (!this.#guide) {
      const pruned_percent = 100 * (1 - model.heads / model.totalHeads);
      return { pruned_percent, pruning_level: levelOf(pruned_percent) };
    }
    trainer.discardMetrics();
    for (const { inputs, targets } of this.#materials.calibration) {
      signal?.throwIfAborted();
      trainer.measure(inputs, targets);
    }
    const metrics: HeadMetrics = await this.#lockstep.pruned.headMetrics();
    const { pruned_percent, preferences } = this.#guide.advise(metrics);
    this.#setGates(system);
    return { pruned_percent, pruning_level: levelOf(pruned_percent), preferences };
  }

  /** Tells the controller how a cycle ended. */
  #learn(cycle: PlasticityCycle): void {
    if (!this.#guide) return;
    const key = ([layer, head]: [number, number]) => `${layer}.${head}`;
    const back = new Set(cycle.grown_heads.map(key)), gone = new Set(cycle.pruned_heads.map(key));
    if (cycle.success) {
      // a head that was pruned and grew in the same cycle has never left
      this.#guide.apply(
        cycle.pruned_heads.filter((head) => !back.has(key(head))),
        cycle.grown_heads.filter((head) => !gone.has(key(head))),
      );
    }
    this.#guide.feedback({
      cycle: cycle.cycle,
      cycle_success: cycle.success,
      perplexity_improvement: cycle.perplexity_improvement,
      head_reduction: cycle.head_reduction,
      controller_lr: this.options.controller_lr * RATE_DECAY ** cycle.cycle,
      pruning_strategy: cycle.pruning_strategy,
      pruned_heads: cycle.pruned_heads,
      grown_heads: cycle.grown_heads,
    });
  }

  #tell(cycle: PlasticityCycle): void {
    const { initial, final, pruned_heads, grown_heads } = cycle;
    this.#listeners.onMessage?.(
      `cycle ${cycle.cycle}: ${cycle.replayed ? "again " : ""}${cycle.pruning_strategy} pruned ` +
        `${pruned_heads.length}, ${cycle.growth_strategy} grew ${grown_heads.length}; perplexity ` +
        `${initial.perplexity.toFixed(2)} -> ${final.perplexity.toFixed(2)}` +
        (cycle.unpruned_twin_loss === undefined
          ? ""
          : ` (unpruned twin ${Math.exp(cycle.unpruned_twin_loss).toFixed(2)})`) +
        (cycle.success ? `, ${final.heads} heads` : `; rolled back: ${cycle.failure}`),
    );
  }

  /** Saves the model under study with its gates folded in. */
  async #saveModel(name: string): Promise<void> {
    const { model } = this.#materials, arm = this.#lockstep.pruned;
    const { live } = arm.model;
    const weights = scaleHeads(model.config, await arm.model.weights(), live, arm.effectiveGates);
    await Deno.mkdir(this.folder.path("models"), { recursive: true });
    await saveModel(this.folder.path("models", name), { ...model, live, weights });
  }

  async #finish(
    { baseline, cycles, bestCycle, stopped }: {
      baseline: { perplexity: number };
      cycles: PlasticityCycle[];
      bestCycle: number;
      stopped: string;
    },
    signal?: AbortSignal,
  ): Promise<IntegrationResults> {
    this.#listeners.onMessage?.(`${stopped}; reading the test text`);
    await this.#saveModel("best");
    const losses = new Map<string, number>();
    for (const arm of this.#lockstep.arms) {
      const { loss } = await arm.trainer.evaluator.evaluate(this.#materials.test, signal);
      losses.set(arm.name, loss);
    }
    const twin = losses.get("unpruned_twin"), random = losses.get("random_pruning");
    const { model } = this.#lockstep.pruned;
    const best = bestCycle === 0 ? baseline.perplexity : cycles[bestCycle - 1].final.perplexity;
    const results: IntegrationResults = {
      baseline_perplexity: baseline.perplexity,
      best_perplexity: best,
      best_cycle: bestCycle,
      improvement: (baseline.perplexity - best) / baseline.perplexity,
      test_loss: losses.get("pruned")!,
      ...(twin !== undefined && { unpruned_twin_loss: twin }),
      ...(random !== undefined && { random_pruning_loss: random }),
      active_heads: model.heads,
      total_heads: model.totalHeads,
      cycles_completed: cycles.length,
      stopped,
      cycle_metrics: cycles,
      total_duration: this.#elapsed(),
      seed: this.options.seed,
    };
    await this.folder.writeJson("results.json", results);
    return results;
  }

  #elapsed(): number {
    return (performance.now() - this.#started) / 1e3;
  }

  /** Frees every model of the run. Its folder stays. */
  dispose(): void {
    this.#lockstep.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function levelOf(prunedPercent: number): number {
  return Math.min(MOST_PRUNED, prunedPercent / 100 + 0.1);
}
