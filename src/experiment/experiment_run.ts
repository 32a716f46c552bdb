/**
 * The stages of an experiment: warm-up, then cycles of analysis, pruning and fine-tuning, beside two
 * controls that get the same batches and steps, then evaluation. It can stop after any step and go on
 * later with the same bits.
 *
 * @module
 */
import { basename } from "node:path";
import { AnnController } from "../controller/ann_controller.ts";
import { ControllerManager } from "../controller/manager.ts";
import type { HeadMetrics } from "../controller/metrics.ts";
import { readJson } from "../data/files.ts";
import { saveModel } from "../data/save_model.ts";
import type { Gpu } from "../gpu/device.ts";
import { scheduleOf } from "../kernels/matmul.ts";
import { cycleTargets } from "../plasticity/prune.ts";
import { importanceScores } from "../plasticity/scores.ts";
import { detectStability, smoothed } from "../plasticity/stability.ts";
import { Random } from "../random.ts";
import type { Phase, Results } from "../record.ts";
import { type Arm, undoGates } from "./arm.ts";
import { finish } from "./finish.ts";
import { headRows } from "./analysis.ts";
import { ExperimentCheckpoints } from "./experiment_checkpoints.ts";
import { DivergedError, Lockstep } from "./lockstep.ts";
import type {
  Cursor,
  CycleAnalysis,
  EndedCycle,
  PruningPlan,
  RunListeners,
  SavedState,
  WarmedUp,
  WarmupPlan,
} from "./experiment_state.ts";
import { HeadChanges, spareHeads } from "./head_changes.ts";
import type { ExperimentOptions } from "./options.ts";
import { Pace } from "./pace.ts";
import { Recorder } from "./recorder.ts";
import { exists } from "./resume.ts";
import type { SavedCheckpoint } from "../run/checkpoint_files.ts";
import { fileHashes } from "../run/file_hashes.ts";
import type { RunFolder } from "./run_folder.ts";
import type { Materials } from "./setup.ts";

/** Steps whose losses are averaged before stability is judged. */
const SMOOTHING = 10;
/** Milliseconds after which timers and signals are let in. */
const YIELD_MS = 100;

/** A run of the experiment, stage by stage. Dispose it to free the device's memory. */
export class ExperimentRun implements Disposable {
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
  /** Optimizer steps over which the learning rate falls to a tenth. */
  readonly #horizon: number;
  readonly #pace = new Pace();
  readonly #changes: HeadChanges;
  #random: Random;
  #controlRandom: Random;
  #manager: ControllerManager | null = null;
  #cursor: Cursor;
  readonly #checkpoints: ExperimentCheckpoints;
  #resumedAt = performance.now();
  #yieldedAt = performance.now();
  #savedAt = performance.now();
  /** Whether the options plan the whole run. */
  #planned = false;
  /** Steps of this stage, as its caller asked. */
  #stageSteps = 0;
  /** What the run found, where it had ended when its folder was opened. */
  #finished: Results | undefined;

  /** A run that begins; nothing is trained yet. */
  constructor(
    gpu: Gpu,
    options: ExperimentOptions,
    materials: Materials,
    folder: RunFolder,
    listeners: RunListeners = {},
  ) {
    this.options = options;
    this.folder = folder;
    this.#checkpoints = new ExperimentCheckpoints(folder);
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
      seen: NaN,
      losses: [],
      warmup: null,
      cycles: [],
      current: null,
      prunedHeads: [],
    };
    this.#recorder = new Recorder(folder, () => ({
      step: this.#lockstep.step,
      tokensSeen: this.#lockstep.tokensSeen,
      cycle: this.#cursor.cycle,
      elapsed: this.#elapsed(),
    }), listeners);
    const { warmup_steps, cycles, finetuning_steps, training_steps } = options;
    this.#horizon = training_steps || warmup_steps + cycles * finetuning_steps;
    this.#lockstep = new Lockstep(
      gpu,
      { ...options, horizon: this.#horizon, keep: options.pruning_mode === "adaptive" },
      materials,
      this.#recorder,
    );
    const setting = { gpu, lockstep: this.#lockstep, materials, recorder: this.#recorder };
    this.#changes = new HeadChanges(setting, "warm", {
      random: () => this.#random,
      control: () => this.#controlRandom,
    });
  }

  /**
   * Runs to the end as the options plan it, or until the signal: then a checkpoint is saved and the
   * signal's reason thrown.
   *
   * @returns What `results.json` holds.
   * @throws {DivergedError} If a loss is not a number; the error names the last good checkpoint.
   * @throws {DeviceLostError} If the device is lost; the last checkpoint stands.
   */
  async run(signal?: AbortSignal): Promise<Results> {
    const { cycles, finetuning_steps: steps } = this.options;
    this.#planned = true;
    try {
      await this.warmup(this.#warmupPlan(), signal);
      while (this.nextCycle <= cycles) {
        await this.cycle({ gone: this.#targets[this.nextCycle - 1], steps }, signal);
      }
      return await this.finish(signal);
    } catch (error) {
      if (!(signal?.aborted && error === signal.reason)) await this.#failed(error);
      throw error;
    }
  }

  /** Records why the run ends early, so that whoever looks at its folder knows. */
  async #failed(error: unknown): Promise<void> {
    const reason = error instanceof Error ? error.message : String(error);
    // a full disk, for one, does not take it: the error itself is told all the same
    await this.#recorder.event({ event: "failed", reason }).catch(() => {});
  }

  /**
   * Evaluates on the test text, writes model, `results.json` and samples. Ask once, at the end; a run that
   * was finished when its folder was opened returns what it found then.
   */
  async finish(signal?: AbortSignal): Promise<Results> {
    const cursor = this.#cursor, lockstep = this.#lockstep;
    if (this.#finished) return this.#finished;
    return await this.folder.work(async () => {
      await this.#phase("evaluation");
      return await finish({
        gpu: this.#gpu,
        options: this.options,
        materials: this.materials,
        folder: this.folder,
        arms: lockstep.arms,
        gates: lockstep.pruned.effectiveGates,
        cycles: cursor.cycles.map(({ analysis: _, train_loss: __, ...own }) => own),
        planned: this.#planned,
        prunedHeads: cursor.prunedHeads,
        tokensSeen: lockstep.tokensSeen,
        elapsed: () => this.#elapsed(),
        onMessage: (line) => this.#say(line),
        ...(signal && { signal }),
      });
    });
  }

  /** How the warm-up went, once it is over. */
  get warmedUp(): WarmedUp | undefined {
    return this.#cursor.warmup ?? undefined;
  }

  /** Cycles that have ended. */
  get cycles(): readonly EndedCycle[] {
    return this.#cursor.cycles;
  }

  /** What was measured before a cycle's pruning (1, 2, ...), once it has pruned. */
  analysisOf(cycle: number): CycleAnalysis | undefined {
    const { cycles, current } = this.#cursor;
    return [...cycles, ...(current ? [current] : [])].find((one) => one.cycle === cycle)?.analysis;
  }

  /** The cycle that comes next, or is under way: 1, 2, ... */
  get nextCycle(): number {
    return Math.max(1, this.#cursor.cycle);
  }

  /** Every head that was removed, in the order they went. */
  get prunedHeads(): readonly (readonly [number, number])[] {
    return this.#cursor.prunedHeads;
  }

  /**
   * The models, the one under study first; the controls come once the warm-up is over.
   *
   * @internal
   */
  get arms(): readonly Arm[] {
    return this.#lockstep.arms;
  }

  /** The controller's gates, `[L, NH]`; 1 before there is one. */
  get gates(): Float32Array {
    const { L, NH } = this.materials.model.config;
    return this.#manager?.controller.gates() ?? new Float32Array(L * NH).fill(1);
  }

  /**
   * Goes on from a checkpoint instead of the beginning; call it before `run`.
   *
   * @internal
   */
  async resume(saved: SavedCheckpoint<SavedState>): Promise<void> {
    const results = this.folder.path("results.json");
    if (await exists(results)) this.#finished = await readJson(results) as Results;
    const { path, state, tensors } = saved, label = basename(path);
    this.#cursor = state.cursor;
    this.#random = Random.restore(state.random);
    this.#controlRandom = Random.restore(state.controlRandom);
    this.#manager = state.controller && ControllerManager.fromJSON(state.controller);
    this.#lockstep.restore(state.lockstep, tensors);
    this.#applyGates();
    this.#checkpoints.restore(saved);
    this.#resumedAt = performance.now();
    if (this.#finished) return; // its records are complete
    await this.folder.cutTo(saved);
    const place = { adapter: this.#gpu.info.name, matmul: JSON.stringify(scheduleOf(this.#gpu)) };
    await this.#recorder.event({ event: "resume", path: `checkpoints/${label}`, ...place });
  }

  /** Path of the last checkpoint, where there is one. */
  get lastCheckpoint(): string | undefined {
    return this.#checkpoints.last;
  }

  /**
   * Steps of the whole run as planned, where it runs to the end; else of this stage. A warm-up that
   * is stable early makes them fewer.
   */
  get plannedSteps(): number {
    const { warmup_steps, cycles, finetuning_steps } = this.options;
    const { stage, cycle, stageStep } = this.#cursor;
    const { step } = this.#lockstep;
    if (!this.#planned) return step - stageStep + this.#stageSteps;
    if (stage === "warmup") return warmup_steps + cycles * finetuning_steps;
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

  /** As the options plan it: its end by {@linkcode detectStability}. */
  #warmupPlan(): WarmupPlan {
    const { warmup_steps: steps, eval_freq: every, stability_window: window } = this.options;
    return {
      steps,
      every,
      ended: (losses) => {
        const { stable, reason } = detectStability(smoothed(losses, SMOOTHING), {
          window,
          step: losses.length,
          warmupSteps: steps,
        });
        return stable ? reason : undefined;
      },
    };
  }

  /**
   * Trains until the plan says so, and goes on with a warm-up that was stopped; nothing where it is
   * over. Then the controls begin where the model stands, and the controller wakes.
   *
   * @throws The signal's reason, after a checkpoint.
   * @throws {DivergedError} If a loss is not a number.
   */
  async warmup({ steps, every, ended }: WarmupPlan, signal?: AbortSignal): Promise<WarmedUp> {
    const cursor = this.#cursor, lockstep = this.#lockstep;
    if (cursor.warmup) return cursor.warmup;
    this.#begin(steps);
    if (lockstep.arms.length === 0) {
      const { live, weights } = this.materials.model;
      lockstep.replace([{ name: "pruned", live, weights }]);
    }
    return await this.#told(async () => {
      const look = async () => {
        cursor.seen = (await lockstep.evaluate("warmup", 0)).get("pruned")!;
      };
      if (cursor.stageStep === 0) {
        await this.#phase("warmup");
        await look();
      }
      let stable: string | undefined;
      while (cursor.stageStep < steps) {
        lockstep.train(false);
        const last = ++cursor.stageStep === steps;
        if (cursor.stageStep % every === 0 || last) {
          await this.#read();
          await look();
          stable = last ? undefined : ended(cursor.losses);
          if (stable !== undefined) {
            await this.#recorder.event({ event: "stable", reason: stable });
            this.#say(`warm-up is stable at step ${lockstep.step}: ${stable}`);
            break;
          }
        }
        await this.#pause(signal);
      }
      await this.#fork();
      cursor.warmup = {
        losses: cursor.losses,
        ...(stable !== undefined && { stable }),
        baseline_loss: cursor.seen,
        duration: this.#elapsed(),
      };
      this.#next(1);
      await this.#checkpoint();
      return cursor.warmup;
    });
  }

  /** What every stage begins with, also where it goes on. */
  #begin(steps: number): void {
    this.#resumedAt = performance.now();
    this.#stageSteps = steps;
    if (this.#planned) return;
    // Nobody knows how many stages there will be: the rate stays, unless its end was given.
    if (this.options.training_steps === 0) return this.#lockstep.holdRate();
    if (this.plannedSteps <= this.#horizon) return;
    this.#say(
      `the learning rate has fallen to a tenth at step ${this.#horizon}, and this stage may go on to ` +
        `step ${this.plannedSteps}: training_steps is for the steps of all stages together`,
    );
  }

  #next(cycle: number): void {
    Object.assign(this.#cursor, {
      ...{ stage: "prune", cycle, stageStep: 0, current: null, losses: [] },
    });
  }

  /** Works in the folder, and adds to an error of training where the last good state lies. */
  async #told<Result>(action: () => Promise<Result>): Promise<Result> {
    try {
      return await this.folder.work(action);
    } catch (error) {
      if (error instanceof DivergedError) {
        error.message += this.#checkpoints.last
          ? `. The last good checkpoint is ${this.#checkpoints.last}`
          : ". There is no checkpoint before it";
      }
      throw error;
    }
  }

  /** After warm-up: the controls begin where the model stands, and the controller wakes. */
  async #fork(): Promise<void> {
    const { options, materials } = this;
    const { config } = materials.model;
    const state = await this.#lockstep.pruned.state();
    await saveModel(this.folder.path("baseline"), { ...materials.model, ...state });
    this.#cursor.baselineFiles = await fileHashes(this.folder.dir, "baseline");
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

  /**
   * Analyses, prunes and fine-tunes, or goes on with a cycle that was stopped.
   *
   * @throws The signal's reason, after a checkpoint.
   * @throws {DivergedError} If a loss is not a number.
   * @throws {RangeError} If warm-up is not over, or so many heads cannot go.
   */
  async cycle({ gone, steps }: PruningPlan, signal?: AbortSignal): Promise<EndedCycle> {
    if (!this.#cursor.warmup) throw new RangeError("Warm up before the first cycle");
    if (this.#finished) {
      throw new TypeError(
        `${this.folder.dir} is a finished run, whose test text has been read: begin another`,
      );
    }
    this.#begin(steps);
    return await this.#told(async () => {
      if (this.#cursor.stage === "prune") await this.#prune(gone);
      return await this.#finetune(steps, signal);
    });
  }

  async #prune(gone: number): Promise<void> {
    const cursor = this.#cursor, { pruned } = this.#lockstep;
    const { cycle } = cursor;
    const previous = cycle === 1 ? "warmup" : "finetuning";
    const before = await this.#lockstep.evaluate(previous, cycle - 1);
    await this.#phase("analysis");
    const { totalHeads, heads: liveBefore } = pruned.model;
    const adaptive = this.options.pruning_mode === "adaptive";
    const count = Math.max(0, gone - (totalHeads - liveBefore));
    // for each that comes back another goes
    const most = Math.max(0, spareHeads(pruned.model) - count);
    const revived = adaptive ? (await this.#changes.revivable()).slice(0, most) : [];
    const gates = this.#controller.gates();
    const { chosen, metrics } = await this.#changes.prune(this.options.strategy, {
      count: count + revived.length,
      gates,
      foldMeans: this.options.fold_means,
      onChosen: () => this.#phase("pruning"),
    });
    this.#manager!.prune(chosen);
    await this.#changes.revive(revived);
    this.#manager!.grow(revived);
    this.#manager!.forgetPlateau();
    this.#applyGates();
    const after = await this.#lockstep.evaluate("pruning", cycle);
    const places = chosen.map(({ layer, head }): [number, number] => [layer, head]);
    const back = revived.map(({ layer, head }): [number, number] => [layer, head]);
    const returned = new Set(back.map(String));
    cursor.prunedHeads = cursor.prunedHeads.filter((place) => !returned.has(String(place)));
    cursor.prunedHeads.push(...places);
    cursor.current = {
      cycle,
      pruned_heads: places,
      ...(adaptive && { revived_heads: back }),
      active_heads: pruned.model.heads,
      sparsity: pruned.sparsity,
      loss_before: before.get("pruned")!,
      loss_after_pruning: after.get("pruned")!,
      analysis: {
        entropy: headRows(pruned.config, metrics.entropy),
        grad_norm: headRows(pruned.config, metrics.gradNorm),
        importance: headRows(pruned.config, importanceScores(metrics, gates)),
      },
    };
    const { loss_before, loss_after_pruning } = cursor.current;
    this.#say(
      `cycle ${cycle}: pruned ${chosen.length} of ${liveBefore} heads, ` +
        (back.length > 0 ? `${back.length} came back, ` : "") +
        `validation loss ${loss_before.toFixed(4)} -> ${loss_after_pruning.toFixed(4)}`,
    );
    Object.assign(cursor, { stage: "finetune", stageStep: 0, losses: [] });
    await this.#phase("finetuning");
  }

  // ---- fine-tuning --------------------------------------------------------------------------

  async #finetune(finetuning_steps: number, signal?: AbortSignal): Promise<EndedCycle> {
    const { eval_freq } = this.options;
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
    const tail = cursor.losses.slice(-Math.max(1, Math.ceil(finetuning_steps / 10)));
    const ended: EndedCycle = {
      ...cursor.current!,
      loss_after_finetuning: recovered,
      training_steps: finetuning_steps,
      ...(tail.length > 0 && { train_loss: tail.reduce((a, b) => a + b, 0) / tail.length }),
      ...(twin !== undefined && { unpruned_twin_loss: twin }),
      ...(random !== undefined && { random_pruning_loss: random }),
    };
    cursor.cycles.push(ended);
    this.#say(
      `cycle ${cursor.cycle}: ${finetuning_steps > 0 ? "fine-tuned to" : "left at"} ${
        recovered.toFixed(4)
      }` +
        (twin === undefined ? "" : `; unpruned twin ${twin.toFixed(4)}`) +
        (random === undefined ? "" : `, random pruning ${random.toFixed(4)}`),
    );
    this.#next(cursor.cycle + 1);
    await this.#checkpoint();
    signal?.throwIfAborted();
    return ended;
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
    for (const loss of losses) cursor.losses.push(loss);
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

  /** @param between Whether it lies inside a stage. */
  async #checkpoint(between = false): Promise<void> {
    const { state: lockstep, tensors } = await this.#lockstep.save();
    this.#cursor.elapsed = this.#elapsed();
    this.#resumedAt = performance.now();
    const label = this.#checkpoints.label(lockstep.step);
    await this.#recorder.event({ event: "checkpoint", path: `checkpoints/${label}` });
    await this.#checkpoints.save({
      cursor: this.#cursor,
      lockstep,
      random: this.#random.state,
      controlRandom: this.#controlRandom.state,
      between,
      controller: this.#manager?.toJSON() ?? null,
    }, tensors);
    this.#savedAt = performance.now();
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
