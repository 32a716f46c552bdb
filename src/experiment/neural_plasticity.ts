/**
 * The neural plasticity experiment: warm-up, then cycles of analysis, pruning and fine-tuning, beside
 * two controls that get the same batches and steps, then evaluation. It can stop after any step and
 * go on later with the same bits.
 *
 * @module
 */
import { AnnController } from "../controller/ann_controller.ts";
import { ControllerManager, type ManagerState } from "../controller/manager.ts";
import type { HeadMetrics } from "../controller/metrics.ts";
import { saveModel } from "../data/model_files.ts";
import type { Gpu } from "../gpu/device.ts";
import { scheduleOf } from "../kernels/matmul.ts";
import { chooseHeads, type ChosenHead, cycleTargets } from "../plasticity/prune.ts";
import { detectStability, smoothed } from "../plasticity/stability.ts";
import { Random, type RandomState } from "../random.ts";
import type { CycleResult, Phase, Results } from "../record.ts";
import { choosePruned, scoreArm } from "./analysis.ts";
import { type Arm, undoGates } from "./arm.ts";
import { finish } from "./finish.ts";
import { DivergedError, Lockstep, type LockstepState } from "./lockstep.ts";
import type { ExperimentOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { Recorder } from "./recorder.ts";
import type { RunFolder } from "./run_folder.ts";
import type { Materials } from "./setup.ts";

/** What a run tells while it goes on. */
export interface RunProgress {
  /** What is going on. */
  phase: Phase;
  /** 0 during warm-up, then 1, 2, ... */
  cycle: number;
  /** Optimizer steps taken. */
  step: number;
  /** Optimizer steps planned for the whole run. */
  total: number;
  /** Mean training loss of the model under study over the steps read last. */
  loss: number;
  /** Tokens trained on so far, all arms together. */
  tokens: number;
}

/** Who is told. */
export interface RunListeners {
  /** Every second or so while training. */
  onProgress?(progress: RunProgress): void;
  /** A line for the terminal: a pruning, a result. */
  onMessage?(line: string): void;
}

/** Where a run stands between two steps; with the arms' tensors it is all of a run's state. */
interface Cursor {
  /** What comes next: more warm-up, the pruning of `cycle`, more of its fine-tuning, or the end. */
  stage: "warmup" | "prune" | "finetune" | "evaluate";
  cycle: number;
  /** Steps taken in this stage. */
  stageStep: number;
  elapsed: number;
  /** Training losses of warm-up so far. */
  warmupLosses: number[];
  cycles: CycleResult[];
  /** The cycle under way, once it has pruned. */
  current: Omit<CycleResult, "loss_after_finetuning"> | null;
  prunedHeads: [number, number][];
}

/** What a checkpoint's `state.json` holds. */
interface SavedState {
  cursor: Cursor;
  lockstep: LockstepState;
  /** What strategies draw from, and what the random control does. */
  random: RandomState;
  controlRandom: RandomState;
  /** Whether it lies inside a stage, and is removed when the next is written. */
  between: boolean;
  controller: ManagerState | null;
}

/** Steps whose losses are averaged before stability is judged. */
const SMOOTHING = 10;
/** Milliseconds after which timers and signals are let in. */
const YIELD_MS = 100;

/** A run of the experiment. Dispose it to free the device's memory. */
export class NeuralPlasticityExperiment implements Disposable {
  /** Everything that decides what the run does. */
  readonly options: ExperimentOptions;
  /** Where it is recorded. */
  readonly folder: RunFolder;
  /** The model and text it works on. */
  readonly materials: Materials;
  /** Milliseconds of training that a crash may cost: checkpoints are written so often inside a stage. */
  saveEvery = 5 * 60_000;
  readonly #gpu: Gpu;
  readonly #listeners: RunListeners;
  readonly #recorder: Recorder;
  readonly #lockstep: Lockstep;
  readonly #targets: number[];
  readonly #pace = new Pace();
  #random: Random;
  #controlRandom: Random;
  #manager: ControllerManager | null = null;
  #cursor: Cursor;
  #lastCheckpoint: string | undefined;
  #resumedAt = performance.now();
  #yieldedAt = performance.now();
  #savedAt = performance.now();
  #between: string | undefined;

  /** A run that begins. Nothing is trained before {@linkcode NeuralPlasticityExperiment.run}. */
  constructor(
    gpu: Gpu,
    options: ExperimentOptions,
    materials: Materials,
    folder: RunFolder,
    listeners: RunListeners = {},
  ) {
    this.options = options;
    this.folder = folder;
    this.materials = materials;
    this.#gpu = gpu;
    this.#listeners = listeners;
    const { L, NH } = materials.model.config;
    this.#targets = cycleTargets({
      totalHeads: L * NH,
      layers: L,
      pruningLevel: options.pruning_level,
      cycles: options.cycles,
    });
    this.#random = new Random(options.seed, 1);
    this.#controlRandom = new Random(options.seed, 3);
    this.#cursor = {
      stage: "warmup",
      cycle: 0,
      stageStep: 0,
      elapsed: 0,
      warmupLosses: [],
      cycles: [],
      current: null,
      prunedHeads: [],
    };
    this.#recorder = new Recorder(folder, () => ({
      step: this.#lockstep.step,
      tokensSeen: this.#lockstep.tokensSeen,
      cycle: this.#cursor.cycle,
      elapsed: this.#elapsed(),
    }));
    const { warmup_steps, cycles, finetuning_steps, training_steps } = options;
    const horizon = training_steps || warmup_steps + cycles * finetuning_steps;
    this.#lockstep = new Lockstep(gpu, { ...options, horizon }, materials, this.#recorder);
  }

  /**
   * Runs to the end, or until the signal: then a checkpoint is saved and the signal's reason thrown.
   *
   * @returns What `results.json` holds.
   * @throws {DivergedError} If a loss is not a number; the error names the last good checkpoint.
   * @throws {DeviceLostError} If the device is lost; the last checkpoint stands.
   */
  async run(signal?: AbortSignal): Promise<Results> {
    this.#resumedAt = performance.now();
    const cursor = this.#cursor, lockstep = this.#lockstep;
    if (lockstep.arms.length === 0) {
      const { live, weights } = this.materials.model;
      lockstep.replace([{ name: "pruned", live, weights }]);
    }
    try {
      while (cursor.stage !== "evaluate") {
        if (cursor.stage === "warmup") await this.#warmup(signal);
        else if (cursor.stage === "prune") await this.#prune();
        else await this.#finetune(signal);
      }
    } catch (error) {
      if (error instanceof DivergedError) {
        error.message += this.#lastCheckpoint
          ? `. The last good checkpoint is ${this.#lastCheckpoint}`
          : ". There is no checkpoint before it";
      }
      throw error;
    }
    await this.#phase("evaluation");
    return await finish({
      gpu: this.#gpu,
      options: this.options,
      materials: this.materials,
      folder: this.folder,
      arms: lockstep.arms,
      gates: this.#controller.gates(),
      cycles: cursor.cycles,
      prunedHeads: cursor.prunedHeads,
      tokensSeen: lockstep.tokensSeen,
      elapsed: () => this.#elapsed(),
      onMessage: (line) => this.#say(line),
      ...(signal && { signal }),
    });
  }

  /** Goes on from a checkpoint instead of the beginning; call it before `run`. */
  async resume(label: string): Promise<void> {
    const { path, state, tensors } = await this.folder.resume<SavedState>(label);
    this.#cursor = state.cursor;
    this.#random = Random.restore(state.random);
    this.#controlRandom = Random.restore(state.controlRandom);
    this.#manager = state.controller && ControllerManager.fromJSON(state.controller);
    this.#lockstep.restore(state.lockstep, tensors);
    this.#applyGates();
    this.#lastCheckpoint = path;
    this.#between = state.between ? label : undefined;
    this.#resumedAt = performance.now();
    const place = { adapter: this.#gpu.info.name, matmul: JSON.stringify(scheduleOf(this.#gpu)) };
    await this.#recorder.event({ event: "resume", path: `checkpoints/${label}`, ...place });
  }

  /** Path of the last checkpoint, where there is one. */
  get lastCheckpoint(): string | undefined {
    return this.#lastCheckpoint;
  }

  /** Steps of the whole run as planned; a warm-up that is stable early makes them fewer. */
  get plannedSteps(): number {
    const { warmup_steps, cycles, finetuning_steps } = this.options;
    const { stage, cycle, stageStep } = this.#cursor;
    const { step } = this.#lockstep;
    if (stage === "warmup") return warmup_steps + cycles * finetuning_steps;
    if (stage === "evaluate") return step;
    const begun = stage === "finetune" ? stageStep : 0;
    return step - begun + (cycles - cycle + 1) * finetuning_steps;
  }

  get #controller(): AnnController {
    return this.#manager!.controller;
  }

  #elapsed(): number {
    return this.#cursor.elapsed + (performance.now() - this.#resumedAt) / 1e3;
  }

  #say(line: string): void {
    this.#listeners.onMessage?.(line);
  }

  async #phase(phase: Phase): Promise<void> {
    await this.#recorder.event({ event: "phase", phase });
  }

  // ---- warm-up ------------------------------------------------------------------------------

  async #warmup(signal?: AbortSignal): Promise<void> {
    const { warmup_steps, eval_freq } = this.options;
    const cursor = this.#cursor;
    if (cursor.stageStep === 0) {
      await this.#phase("warmup");
      await this.#lockstep.evaluate("warmup", 0);
    }
    while (cursor.stageStep < warmup_steps) {
      this.#lockstep.train(false);
      const last = ++cursor.stageStep === warmup_steps;
      if (cursor.stageStep % eval_freq === 0 || last) {
        await this.#read();
        await this.#lockstep.evaluate("warmup", 0);
        if (!last && await this.#isStable()) break;
      }
      await this.#pause(signal);
    }
    await this.#fork();
    Object.assign(cursor, { stage: "prune", cycle: 1, stageStep: 0 });
    await this.#checkpoint();
  }

  async #isStable(): Promise<boolean> {
    const { stable, reason } = detectStability(smoothed(this.#cursor.warmupLosses, SMOOTHING), {
      window: this.options.stability_window,
      step: this.#cursor.stageStep,
      warmupSteps: this.options.warmup_steps,
    });
    if (!stable) return false;
    await this.#recorder.event({ event: "stable", reason });
    this.#say(`warm-up is stable at step ${this.#lockstep.step}: ${reason}`);
    return true;
  }

  /** After warm-up: the controls begin where the model stands, and the controller wakes. */
  async #fork(): Promise<void> {
    const { options, materials } = this;
    const { config } = materials.model;
    const state = await this.#lockstep.pruned.state();
    await saveModel(this.folder.path("baseline"), { ...materials.model, ...state });
    const { L, NH } = config, { live } = state;
    const controller = new AnnController({ L, NH, live }, {
      regWeight: options.controller_reg_weight,
    });
    this.#manager = new ControllerManager(controller, {
      updateFrequency: options.controller_update_freq,
      warmupSteps: 0,
      maxPrunedHeads: options.pruning_level,
    });
    const studied = undoGates(config, state, controller.gates());
    const controls = [
      { ...state, name: "unpruned_twin" as const },
      { ...state, name: "random_pruning" as const },
    ];
    this.#lockstep.replace([studied, ...(options.controls ? controls : [])]);
    this.#applyGates();
  }

  // ---- analysis and pruning -----------------------------------------------------------------

  async #prune(): Promise<void> {
    const cursor = this.#cursor, { pruned } = this.#lockstep;
    const { cycle } = cursor;
    const previous = cycle === 1 ? "warmup" : "finetuning";
    const before = await this.#lockstep.evaluate(previous, cycle - 1);
    await this.#phase("analysis");
    const gates = this.#controller.gates();
    const { metrics, scores } = await scoreArm(pruned, this.materials.calibration, {
      strategy: this.options.strategy,
      gates,
      random: () => this.#random.next(),
    });
    await this.#recorder.heads(metrics, gates, scores);

    await this.#phase("pruning");
    const { totalHeads, heads: liveBefore } = pruned.model;
    const count = Math.max(0, this.#targets[cycle - 1] - (totalHeads - liveBefore));
    const closed = gates.map((gate) => gate <= this.#controller.config.activeThreshold ? 1 : 0);
    const chosen = choosePruned(scores, { live: pruned.model.live, gates, closed, count });
    await this.#remove(pruned, chosen, this.options.strategy, gates);
    this.#manager!.prune(chosen);
    this.#manager!.forgetPlateau();
    this.#applyGates();
    const control = this.#lockstep.control("random_pruning");
    if (control) {
      const drawn = Float32Array.from({ length: totalHeads }, () => this.#controlRandom.next());
      await this.#remove(control, chooseHeads(drawn, control.model.live, { count }), "random");
    }
    const after = await this.#lockstep.evaluate("pruning", cycle);
    const places = chosen.map(({ layer, head }): [number, number] => [layer, head]);
    cursor.prunedHeads.push(...places);
    cursor.current = {
      cycle,
      pruned_heads: places,
      active_heads: pruned.model.heads,
      sparsity: pruned.sparsity,
      loss_before: before.get("pruned")!,
      loss_after_pruning: after.get("pruned")!,
    };
    const { loss_before, loss_after_pruning } = cursor.current;
    this.#say(
      `cycle ${cycle}: pruned ${chosen.length} of ${liveBefore} heads, ` +
        `validation loss ${loss_before.toFixed(4)} -> ${loss_after_pruning.toFixed(4)}`,
    );
    Object.assign(cursor, { stage: "finetune", stageStep: 0 });
    await this.#phase("finetuning");
  }

  async #remove(
    arm: Arm,
    heads: readonly ChosenHead[],
    strategy: string,
    gates?: Float32Array,
  ): Promise<void> {
    await arm.prune(heads);
    for (const { layer, head, score, rank, of } of heads) {
      const gate = gates && { gate: gates[layer * arm.config.NH + head] };
      const event = { event: "prune", layer, head, strategy, score, ...gate, rank, of } as const;
      await this.#recorder.event(event, arm.name);
    }
  }

  // ---- fine-tuning --------------------------------------------------------------------------

  async #finetune(signal?: AbortSignal): Promise<void> {
    const { finetuning_steps, eval_freq, cycles } = this.options;
    const cursor = this.#cursor;
    let losses: Awaited<ReturnType<Lockstep["evaluate"]>> | undefined;
    while (cursor.stageStep < finetuning_steps) {
      this.#lockstep.train(!this.#manager!.stopped);
      const last = ++cursor.stageStep === finetuning_steps;
      await this.#control();
      if (cursor.stageStep % eval_freq === 0 || last) {
        await this.#read();
        losses = await this.#lockstep.evaluate("finetuning", cursor.cycle);
      }
      if (!last) await this.#pause(signal);
    }
    losses ??= await this.#lockstep.evaluate("finetuning", cursor.cycle);
    const twin = losses.get("unpruned_twin"), random = losses.get("random_pruning");
    const recovered = losses.get("pruned")!;
    cursor.cycles.push({
      ...cursor.current!,
      loss_after_finetuning: recovered,
      ...(twin !== undefined && { unpruned_twin_loss: twin }),
      ...(random !== undefined && { random_pruning_loss: random }),
    });
    this.#say(
      `cycle ${cursor.cycle}: ${finetuning_steps > 0 ? "fine-tuned to" : "left at"} ${
        recovered.toFixed(4)
      }` +
        (twin === undefined ? "" : `; unpruned twin ${twin.toFixed(4)}`) +
        (random === undefined ? "" : `, random pruning ${random.toFixed(4)}`),
    );
    const done = cursor.cycle === cycles;
    Object.assign(cursor, {
      stage: done ? "evaluate" : "prune",
      cycle: done ? cycles : cursor.cycle + 1,
      stageStep: 0,
      current: null,
    });
    await this.#checkpoint();
    signal?.throwIfAborted();
  }

  /** The controller's part of a step: every so many steps it reads the heads and moves the gates. */
  async #control(): Promise<void> {
    const manager = this.#manager!;
    let metrics: HeadMetrics | undefined;
    if (manager.needsMetrics(manager.currentStep + 1)) {
      await this.#read();
      metrics = await this.#lockstep.pruned.headMetrics();
    }
    const outcome = manager.step(metrics);
    if (outcome.status !== "updated") return;
    this.#applyGates();
    await this.#recorder.heads(metrics!, manager.controller.gates());
    await this.#recorder.event({
      event: "controller",
      active_heads: outcome.active_gates.flat().length,
      pruned_percent: outcome.pruned_percent,
      controller_lr: outcome.controller_lr,
      mean_gate: outcome.mean_gate,
      plateau: outcome.early_stopping_triggered,
    });
  }

  #applyGates(): void {
    if (this.#manager) this.#lockstep.pruned.setGates(this.#controller.gates());
  }

  // ---- between steps ------------------------------------------------------------------------

  /** Reads and records the steps' results, and tells how far the run is. */
  async #read(): Promise<void> {
    if (this.#lockstep.unread === 0) return;
    const cursor = this.#cursor;
    const phase = cursor.stage === "warmup" ? "warmup" : "finetuning";
    const losses = await this.#lockstep.read(phase);
    this.#pace.read(losses.length);
    if (cursor.stage === "warmup") cursor.warmupLosses.push(...losses);
    this.#listeners.onProgress?.({
      phase,
      cycle: cursor.cycle,
      step: this.#lockstep.step,
      total: this.plannedSteps,
      loss: losses.reduce((a, b) => a + b, 0) / losses.length,
      tokens: this.#lockstep.processed,
    });
  }

  /** Lets timers and signals in now and then, reads results, and stops where asked to. */
  async #pause(signal?: AbortSignal): Promise<void> {
    const now = performance.now();
    if (this.#pace.due(this.#lockstep.unread)) await this.#read();
    else if (now - this.#yieldedAt > YIELD_MS) await new Promise((resolve) => setTimeout(resolve));
    else if (!signal?.aborted) return;
    this.#yieldedAt = performance.now();
    if (!signal?.aborted) {
      if (now - this.#savedAt > this.saveEvery) {
        await this.#read();
        await this.#checkpoint(true);
      }
      return;
    }
    await this.#read();
    await this.#checkpoint();
    throw signal.reason;
  }

  /** @param between Whether it lies inside a stage: then the next one replaces it. */
  async #checkpoint(between = false): Promise<void> {
    const { state: lockstep, tensors } = await this.#lockstep.save();
    this.#cursor.elapsed = this.#elapsed();
    this.#resumedAt = performance.now();
    const state: SavedState = {
      cursor: this.#cursor,
      lockstep,
      random: this.#random.state,
      controlRandom: this.#controlRandom.state,
      between,
      controller: this.#manager?.toJSON() ?? null,
    };
    const label = `step-${String(lockstep.step).padStart(7, "0")}`;
    await this.#recorder.event({ event: "checkpoint", path: `checkpoints/${label}` });
    this.#lastCheckpoint = await this.folder.saveCheckpoint(label, state, tensors);
    this.#savedAt = performance.now();
    if (this.#between && this.#between !== label) await this.folder.removeCheckpoint(this.#between);
    this.#between = between ? label : undefined;
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
