/**
 * Controller and plasticity in one loop: a controller looks at the heads and says how hard to prune,
 * a plasticity cycle does it, and how the cycle ended changes what the controller says next.
 *
 * @module
 */
import { basename } from "node:path";
import { ANN_DEFAULTS, sigmoid } from "../controller/ann_config.ts";
import { type Guide, type GuideState, restoreGuide } from "../controller/guides.ts";
import { batchWindows } from "../data/batches.ts";
import { writeWhole } from "../data/files.ts";
import { loadModel } from "../data/load_model.ts";
import { saveModel } from "../data/save_model.ts";
import { Activations } from "../gpt2/activations.ts";
import { Evaluator } from "../gpt2/evaluate.ts";
import { scaleHeads } from "../gpt2/heads.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { scheduleOf } from "../kernels/matmul.ts";
import {
  adaptPlan,
  type CyclePlan,
  diminishingReturns,
  Patience,
  type PatienceState,
} from "../plasticity/adaptation.ts";
import type { TransformationMemory } from "../plasticity/memory.ts";
import type {
  ControllerAdvice,
  IntegrationCycle,
  IntegrationResults,
  PlasticityCycle,
  PlasticityMeasure,
} from "../record.ts";
import { undoGates } from "./arm.ts";
import { type ArmSummary, weightStates, weightTensors } from "./checkpoint_tensors.ts";
import type { IntegrationOptions } from "./integration_options.ts";
import { type IntegrationListeners, tellCycle } from "./integration_lines.ts";
import { Lockstep, type LockstepState } from "./lockstep.ts";
import { MEMORY_FILE } from "./memory_file.ts";
import {
  AdaptivePlasticitySystem,
  netChanges,
  type PlasticitySystemState,
} from "./plasticity_system.ts";
import type { SavedCheckpoint } from "../run/checkpoint_files.ts";
import { Recorder } from "./recorder.ts";
import type { RunFolder } from "./run_folder.ts";
import type { Materials } from "./setup.ts";
import { toJson } from "../json.ts";

/** Where a run folder keeps its controller's state. */
export const CONTROLLER_FILE = "controller.json";

/** Growth ratios that a controller asks for after a success, and after a failure. */
const GROWTH_RATIO = { success: 0.3, failure: 0.7 };

/** Largest share of live heads that a cycle prunes. */
const MOST_PRUNED = 0.8;

/** What the controller's rate is multiplied by in each cycle. */
const RATE_DECAY = 0.9;

/** Where a run stands between two cycles; with the arms' tensors it is all of a run's state. */
interface Cursor {
  /** The cycle that has ended, or goes on. */
  cycle: number;
  elapsed: number;
  baseline: PlasticityMeasure;
  /** Of the next cycle. */
  plan: CyclePlan;
  cycles: IntegrationCycle[];
  /** Label of the checkpoint that holds the best models. */
  best: string;
}

/** What a checkpoint's `state.json` holds. */
export interface IntegrationState {
  cursor: Cursor;
  lockstep: LockstepState;
  system: PlasticitySystemState;
  patience: PatienceState;
  guide: GuideState | null;
}

/** A checkpoint, and that of the best models which belongs to it. */
interface Kept {
  label: string;
  best: string;
}

/** Labels of the checkpoints that one of a cycle cannot do without. */
export function neededCheckpoints({ cursor }: IntegrationState): string[] {
  return [cursor.best];
}

/** What the checkpoint of the best models holds besides them. */
interface BestState {
  arms: ArmSummary[];
  gates: number[];
}

/** The cycles of an integrated run. Dispose it to free the device's memory. */
export class IntegrationRun implements Disposable {
  /** Everything that decides what the run does. */
  readonly options: IntegrationOptions;
  /** Where it is recorded. */
  readonly folder: RunFolder;
  readonly #gpu: Gpu;
  readonly #materials: Materials;
  readonly #listeners: IntegrationListeners;
  readonly #lockstep: Lockstep;
  readonly #recorder: Recorder;
  readonly #memory: TransformationMemory;
  #guide: Guide | undefined;
  #system!: AdaptivePlasticitySystem;
  #patience!: Patience;
  #cursor: Cursor;
  #last: Kept | undefined;
  #resumedAt = performance.now();

  /** A run that begins; nothing is trained before {@linkcode IntegrationRun.run}. */
  constructor(
    gpu: Gpu,
    options: IntegrationOptions,
    materials: Materials,
    folder: RunFolder,
    { memory, guide, listeners = {} }: {
      memory: TransformationMemory;
      guide: Guide | undefined;
      listeners?: IntegrationListeners;
    },
  ) {
    this.#gpu = gpu;
    this.options = options;
    this.#materials = materials;
    this.folder = folder;
    this.#listeners = listeners;
    this.#memory = memory;
    this.#recorder = new Recorder(folder, () => ({
      step: this.#lockstep.step,
      tokensSeen: this.#lockstep.tokensSeen,
      cycle: this.#cursor.cycle,
      elapsed: this.#elapsed(),
    }), listeners);
    const { sequence_length, max_cycles, training_steps } = options;
    this.#lockstep = new Lockstep(
      gpu,
      {
        ...options,
        ...{ max_length: sequence_length, keep: true },
        horizon: max_cycles * training_steps,
      },
      materials,
      this.#recorder,
    );
    const { pruning_level, growth_ratio } = options;
    this.#guide = guide;
    this.#cursor = {
      cycle: 0,
      elapsed: 0,
      baseline: { loss: NaN, perplexity: NaN, heads: materials.model.live.flat().length },
      plan: { pruning_level, growth_ratio, training_steps },
      cycles: [],
      best: "",
    };
  }

  /**
   * Runs cycles until they no longer pay, and writes `results.json`: the best model beside the
   * unpruned twin and random pruning and growth, which had the same training by then.
   *
   * @throws The signal's reason, where it stops the run; a checkpoint of the last whole cycle stands.
   */
  async run(signal?: AbortSignal): Promise<IntegrationResults> {
    return await this.folder.work(() => this.#complete(signal));
  }

  async #complete(signal?: AbortSignal): Promise<IntegrationResults> {
    this.#resumedAt = performance.now();
    if (this.#lockstep.arms.length === 0) await this.#begin(signal);
    const cursor = this.#cursor;
    let stopped: string | undefined;
    while ((stopped = this.#stopped()) === undefined) {
      cursor.cycle++;
      await this.#runCycle(signal);
    }
    return await this.#finish(stopped, signal);
  }

  /** Why the run ends now, if it does. */
  #stopped(): string | undefined {
    const { cycle, cycles } = this.#cursor;
    if (this.#patience.exhausted) {
      return `no better model in ${this.#patience.cyclesWithoutBest} cycles`;
    }
    const gains = cycles.map((one) => one.success ? one.perplexity_improvement : 0);
    if (diminishingReturns(gains)) {
      return "the last three cycles improved the perplexity by less than 1 % in the mean";
    }
    return cycle >= this.options.max_cycles ? "all cycles are done" : undefined;
  }

  /**
   * Goes on from a checkpoint instead of the beginning; call it before `run`.
   *
   * @internal
   */
  async resume(saved: SavedCheckpoint<IntegrationState>): Promise<void> {
    const { state, tensors, path } = saved, label = basename(path);
    this.#cursor = state.cursor;
    this.#guide = state.guide ? restoreGuide(state.guide) : undefined;
    this.#patience = Patience.fromJSON(state.patience);
    this.#lockstep.restore(state.lockstep, tensors);
    this.#makeSystem();
    this.#system.restore(state.system);
    this.#system.setGates(this.#gates());
    this.#last = { label, best: state.cursor.best };
    await this.folder.cutTo(saved);
    await this.#writeRecords();
    const place = { adapter: this.#gpu.info.name, matmul: JSON.stringify(scheduleOf(this.#gpu)) };
    await this.#recorder.event({ event: "resume", path: `checkpoints/${label}`, ...place });
    this.#listeners.onMessage?.(`going on after cycle ${state.cursor.cycle}`);
  }

  /** The arms at the model's start, the one under study with gates that change nothing. */
  async #begin(signal?: AbortSignal): Promise<void> {
    const { live, weights, config } = this.#materials.model;
    const names = this.options.controls
      ? ["pruned", "unpruned_twin", "random_pruning"] as const
      : ["pruned"] as const;
    const lockstep = this.#lockstep;
    lockstep.replace(names.map((name) => ({ name, live, weights })));
    if (this.#guide) {
      const [studied, ...controls] = await Promise.all(lockstep.arms.map((arm) => arm.state()));
      lockstep.replace([undoGates(config, studied, this.#guide.gates()), ...controls]);
    }
    this.#makeSystem();
    this.#system.setGates(this.#gates());
    this.#cursor.baseline = await this.#system.begin(signal);
    this.#patience = new Patience(this.#cursor.baseline, {
      maxPerplexityIncrease: this.options.max_perplexity_increase,
    });
    await this.#save(this.#gates());
  }

  #makeSystem(): void {
    const { options } = this;
    this.#system = new AdaptivePlasticitySystem(
      {
        gpu: this.#gpu,
        lockstep: this.#lockstep,
        materials: this.#materials,
        recorder: this.#recorder,
        onStep: (done, loss) => {
          const { cycle, plan: { training_steps: steps } } = this.#cursor;
          this.#listeners.onStep?.({ cycle, done, steps, loss });
        },
        onHeads: (pruned, grown) => this.#guide?.apply(pruned, grown),
        onMetrics: (metrics) => this.#guide?.update(metrics) ? this.#gates() : undefined,
      },
      {
        max_perplexity_increase: options.max_perplexity_increase,
        max_degeneration_score: options.max_degeneration_score,
        regrowth: options.regrowth,
        grown_gate: this.#guide ? sigmoid(ANN_DEFAULTS.initValue) : 1,
        update_frequency: ["ann", "rule"].includes(options.controller_type)
          ? options.update_frequency
          : 0,
        seed: options.seed,
      },
      this.#memory,
    );
  }

  #gates(): Float32Array {
    const { L, NH } = this.#materials.model.config;
    return this.#guide?.gates() ?? new Float32Array(L * NH).fill(1);
  }

  // ---- a cycle --------------------------------------------------------------------------------

  async #runCycle(signal?: AbortSignal): Promise<void> {
    const cursor = this.#cursor, { pruned } = this.#lockstep;
    const heads_before = pruned.model.live.map((heads) => [...heads]);
    const initial = await this.#system.measure(signal);
    const advice = await this.#advise(signal);
    if (this.#guide) {
      const pruning_level = Math.min(
        MOST_PRUNED,
        advice.pruned_percent / 100 + this.options.pruning_level,
      );
      cursor.plan = { ...cursor.plan, pruning_level };
    }
    const before = this.#guide?.toJSON();
    const cycle = await this.#system.runCycle({
      ...cursor.plan,
      cycle: cursor.cycle,
      initial,
      preferences: { pruning: advice.preferences },
      replays: this.#guide ? "strategies" : "plan",
    }, signal);
    if (before && !cycle.success) this.#guide = restoreGuide(before);
    // what was measured is what is kept: feedback moves gates of the model that goes on
    const gates = this.#gates();
    if (this.options.cycle_models) await this.#saveModel(`cycle_${cycle.cycle}`);
    const { gone, come } = netChanges(cycle);
    this.#guide?.feedback({
      cycle_success: cycle.success,
      perplexity_improvement: cycle.perplexity_improvement,
      head_reduction: cycle.head_reduction,
      pruning_strategy: cycle.pruning_strategy,
      pruned_heads: gone,
      grown_heads: come,
      controller_lr: this.options.controller_lr * RATE_DECAY ** cycle.cycle,
    });
    this.#system.setGates(this.#gates());
    cursor.plan = this.#nextPlan(cycle);
    const told = { ...cycle, heads_before, advice, gates: this.#gateRows() };
    cursor.cycles.push(told);
    tellCycle(told, this.#listeners);
    const { success, final: { perplexity, heads } } = cycle;
    const isBest = this.#patience.record(success ? { success, perplexity, heads } : { success });
    await this.#save(isBest ? gates : undefined);
  }

  /** What the controller says before a cycle, from metrics of calibration text. */
  async #advise(signal?: AbortSignal): Promise<ControllerAdvice> {
    const arm = this.#lockstep.pruned, { trainer, model } = arm;
    const { calibration } = this.#materials;
    if (!this.#guide) {
      const pruned_percent = 100 * (1 - model.heads / model.totalHeads);
      return { pruned_percent, preferences: {}, controller_lr: 0 };
    }
    const windows = batchWindows(calibration, trainer.evaluator.T);
    const { rate, ...advice } = await this.#guide.advise({
      measure: async (gates) => {
        this.#system.setGates(gates);
        return await arm.measureHeads(calibration, signal);
      },
      loss: async (gates) => {
        this.#system.setGates(gates);
        return (await trainer.evaluator.evaluate(windows, signal)).loss;
      },
      growing: arm.growing,
    });
    this.#system.setGates(this.#gates());
    return { ...advice, controller_lr: rate };
  }

  /** A guided run's level is the controller's; its steps, and all of an unguided plan, adapt. */
  #nextPlan({ success, perplexity_improvement: improvement }: PlasticityCycle): CyclePlan {
    const plan = adaptPlan(this.#cursor.plan, success ? { success, improvement } : { success });
    if (!this.#guide) return plan;
    if (this.options.growth_ratio === 0) return plan; // nothing is to come back
    return { ...plan, growth_ratio: success ? GROWTH_RATIO.success : GROWTH_RATIO.failure };
  }

  /** Gates after a cycle as `cycles.jsonl` keeps them: a pruned head's is 0. */
  #gateRows(): number[][] {
    const { L, NH } = this.#materials.model.config, { live } = this.#lockstep.pruned.model;
    const gates = this.#gates();
    return Array.from(
      { length: L },
      (_, layer) =>
        Array.from(
          { length: NH },
          (_, head) => live[layer].includes(head) ? Number(gates[layer * NH + head].toFixed(4)) : 0,
        ),
    );
  }

  // ---- what is kept ---------------------------------------------------------------------------

  /**
   * Saves a checkpoint after a whole cycle, and the best models where these are they.
   *
   * @param bestGates The gates that the best model was measured with.
   */
  async #save(bestGates?: Float32Array): Promise<void> {
    const cursor = this.#cursor, { folder } = this;
    const { state: lockstep, tensors } = await this.#lockstep.save();
    if (bestGates) {
      cursor.best = `best-${cursor.cycle}`;
      const best: BestState = { arms: lockstep.arms, gates: [...bestGates] };
      await folder.saveCheckpoint(cursor.best, best, weightTensors(tensors));
    }
    await this.#writeRecords();
    cursor.elapsed = this.#elapsed();
    this.#resumedAt = performance.now();
    const label = `cycle-${String(cursor.cycle).padStart(7, "0")}`;
    const state: IntegrationState = {
      cursor,
      lockstep,
      system: this.#system.state,
      patience: this.#patience.toJSON(),
      guide: this.#guide?.toJSON() ?? null,
    };
    await this.#recorder.event({ event: "checkpoint", path: `checkpoints/${label}` });
    await folder.saveCheckpoint(label, state, tensors);
    const kept = [{ label, best: cursor.best }, ...(this.#last ? [this.#last] : [])];
    await folder.keepCheckpoints(kept.flatMap((one) => [one.label, one.best]));
    [this.#last] = kept;
  }

  /** The records that are written anew after every cycle. */
  async #writeRecords(): Promise<void> {
    const lines = this.#cursor.cycles.map((cycle) => toJson(cycle) + "\n");
    await writeWhole(this.folder.path("cycles.jsonl"), lines.join(""));
    await Deno.mkdir(this.folder.path("memory"), { recursive: true });
    await this.folder.writeJson(MEMORY_FILE, this.#system.memory);
    if (this.#guide) await this.folder.writeJson(CONTROLLER_FILE, this.#guide);
  }

  /** Saves the model under study with its gates folded in. */
  async #saveModel(name: string): Promise<string> {
    const { model } = this.#materials, arm = this.#lockstep.pruned;
    const { live } = arm.model;
    const weights = scaleHeads(model.config, await arm.model.weights(), live, arm.effectiveGates);
    await Deno.mkdir(this.folder.path("models"), { recursive: true });
    const path = this.folder.path("models", name);
    await saveModel(path, { ...model, live, weights });
    return path;
  }

  /** The test loss of a model that was saved: what was measured is what is on the disk. */
  async #reload(path: string, expected: number, signal?: AbortSignal): Promise<number> {
    const { config, weights, live } = await loadModel(path);
    using model = new Gpt2(this.#gpu, config, weights, live);
    const { batch_size: B, sequence_length: T } = this.options;
    using acts = new Activations(model, { B, T, training: false });
    using evaluator = new Evaluator(model, acts);
    const { loss } = await evaluator.evaluate(this.#materials.test, signal);
    if (!(Math.abs(loss - expected) <= 1e-5 * expected)) {
      throw new Error(
        `The reloaded model's loss ${loss} is not the best model's ${expected}: this run's numbers ` +
          "cannot be trusted; please report it with the run folder",
      );
    }
    return loss;
  }

  async #finish(stopped: string, signal?: AbortSignal): Promise<IntegrationResults> {
    const { baseline, cycles, best: label } = this.#cursor, lockstep = this.#lockstep;
    this.#listeners.onMessage?.(`${stopped}; reading the test text`);
    const { state, tensors } = await this.folder.readCheckpoint<BestState>(label);
    lockstep.replace(weightStates(state.arms, tensors));
    lockstep.pruned.setGates(Float32Array.from(state.gates));
    const saved = await this.#saveModel("best");
    const losses = new Map<string, number>();
    for (const arm of lockstep.arms) {
      const { loss } = await arm.trainer.evaluator.evaluate(this.#materials.test, signal);
      losses.set(arm.name, loss);
    }
    const test_loss = losses.get("pruned")!;
    const reloaded_loss = await this.#reload(saved, test_loss, signal);
    const twin = losses.get("unpruned_twin"), random = losses.get("random_pruning");
    const { model } = lockstep.pruned, { cycle: bestCycle } = this.#patience.best;
    const best = bestCycle === 0 ? baseline.perplexity : cycles[bestCycle - 1].final.perplexity;
    const results: IntegrationResults = {
      baseline_perplexity: baseline.perplexity,
      best_perplexity: best,
      best_cycle: bestCycle,
      improvement: (baseline.perplexity - best) / baseline.perplexity,
      test_loss,
      reloaded_loss,
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
    return this.#cursor.elapsed + (performance.now() - this.#resumedAt) / 1e3;
  }

  /** Frees every model of the run, and lets others write to its folder. */
  dispose(): void {
    this.#lockstep.dispose();
    this.folder.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
