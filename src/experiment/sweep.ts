/**
 * A sweep: an experiment for every strategy, level and seed of a grid, each a run of its own, and
 * the page that compares them. A run that fails is recorded, and the next one begins.
 *
 * @module
 */
import { basename, join } from "node:path";
import { isFolder, readJson, writeWhole } from "../data/files.ts";
import { DeviceLostError, Gpu } from "../gpu/device.ts";
import { type Results, SWEEP_FILE, type SweepRecord, type SweepRun } from "../record.ts";
import { readSweep, writeSweep } from "../report/comparison.ts";
import { runName } from "../report/compared.ts";
import { writeReport } from "../report/write.ts";
import { lockFolder } from "../run/lock.ts";
import type { RunListeners } from "./experiment_state.ts";
import { planMemory } from "./memory_plan.ts";
import { NeuralPlasticityExperiment } from "./neural_plasticity.ts";
import { absoluteModel, absoluteText } from "./resume.ts";
import { allocationOf } from "./run.ts";
import { newFolder, shortName } from "./run_folder.ts";
import { type LoadListeners, loadMaterials, type Materials } from "./setup.ts";
import { checkSweepOptions, planSweep, runOptions, type SweepOptions } from "./sweep_options.ts";

/** Who is told while a sweep goes on. */
export interface SweepListeners extends RunListeners {
  /** A run begins, or goes on. @param index Its place among the runs, from 0. */
  onRunStart?(run: Readonly<SweepRun>, index: number): void;
  /** A run has finished or failed, and the page is drawn anew. @param seconds What it took now. */
  onRunEnd?(run: Readonly<SweepRun>, index: number, seconds: number): void;
}

/** What a {@linkcode Sweep} works with. */
export interface SweepConfig extends SweepListeners {
  /** The device; one of its own is opened, and closed at the end, unless given. */
  gpu?: Gpu;
}

/**
 * Checks the options of a sweep, and that its model and text work out; nothing is written.
 *
 * @throws {RangeError | TypeError} If they do not.
 */
export async function prepareSweep(
  given: Partial<SweepOptions>,
  listeners: LoadListeners = {},
): Promise<{ options: SweepOptions; runs: SweepRun[]; materials: Materials }> {
  const checked = checkSweepOptions(given);
  const options = {
    ...checked,
    model_name: absoluteModel(checked.model_name),
    text: absoluteText(checked.text),
  };
  const runs = planSweep(options);
  const materials = await loadMaterials(
    runOptions(options, runs[0], options.output_dir),
    listeners,
  );
  return { options, runs, materials };
}

/**
 * A sweep that is run, stopped, and gone on with.
 *
 * ```ts ignore
 * const sweep = await Sweep.start({ strategies: ["importance", "random"], seeds: [1, 2, 3] });
 * const { runs } = await sweep.run();
 * console.log(runs.map(({ strategy, state }) => `${strategy}: ${state}`), sweep.page);
 * ```
 */
export class Sweep {
  /** Its folder, which holds those of its runs. */
  readonly dir: string;
  /** What its runs share, and the grid. */
  readonly options: SweepOptions;
  readonly #record: SweepRecord;
  readonly #config: SweepConfig;
  #gpu: Gpu | undefined;

  private constructor(dir: string, record: SweepRecord, config: SweepConfig) {
    this.dir = dir;
    this.options = checkSweepOptions(record.options as Partial<SweepOptions>);
    this.#record = record;
    this.#config = config;
    this.#gpu = config.gpu;
  }

  /**
   * Checks everything, and makes the sweep's folder with the plan in it; nothing is run yet.
   *
   * @throws {RangeError | TypeError} If options, model or text do not work out, or the model does not fit
   * on the adapter; nothing was written.
   */
  static async start(
    given: Partial<SweepOptions> = {},
    config: SweepConfig = {},
  ): Promise<Sweep> {
    const { options, runs, materials } = await prepareSweep(given, config);
    const gpu = config.gpu ?? await Gpu.open({ device: options.device });
    try {
      // as large for every run: what does not fit is refused here, not by each of them
      planMemory(
        gpu,
        materials.model,
        allocationOf(runOptions(options, runs[0], options.output_dir)),
      );
    } finally {
      if (gpu !== config.gpu) gpu.dispose();
    }
    const dir = await newFolder(options.output_dir, shortName(options.model_name));
    const created = new Date().toISOString();
    const sweep = new Sweep(dir, { format: 1, created, options: { ...options }, runs }, config);
    await sweep.#save();
    return sweep;
  }

  /**
   * Opens the folder of a sweep that was stopped or killed, or some of whose runs failed. Those that
   * have finished are kept; the others go on from their last checkpoint, or begin.
   *
   * @throws {TypeError} If it is not such a folder. Whether another process runs it, `run` finds out.
   */
  static async resume(dir: string, config: SweepConfig = {}): Promise<Sweep> {
    const sweep = new Sweep(dir, await readSweep(dir), config);
    await sweep.#look();
    return sweep;
  }

  /** Finds out how each run stands. */
  async #look(): Promise<void> {
    for (const run of this.#record.runs) {
      const path = run.folder === undefined ? undefined : join(this.dir, run.folder);
      if (path === undefined || !await isFolder(path)) delete run.folder;
      if (run.state === "finished" && path !== undefined && await resultsIn(path)) continue;
      run.state = "waiting";
      delete run.message;
    }
  }

  /** Every run, and how it stands. */
  get runs(): readonly Readonly<SweepRun>[] {
    return this.#record.runs;
  }

  /** The path of the page that compares the runs; it is drawn after each of them. */
  get page(): string {
    return join(this.dir, "report.html");
  }

  /**
   * Runs what has not finished, one after the other.
   *
   * @param signal Stops within a run, which saves a checkpoint first.
   * @returns The plan, with how each run ended: some may have failed.
   * @throws The signal's reason.
   * @throws {LockedError} If another process runs the sweep.
   */
  async run(signal?: AbortSignal): Promise<SweepRecord> {
    using _lock = await lockFolder(this.dir, this.#config.onMessage);
    this.#record.runs = (await readSweep(this.dir)).runs; // as who had the lock before left them
    await this.#look();
    try {
      for (const [index, run] of this.#record.runs.entries()) {
        if (run.state === "finished") continue;
        signal?.throwIfAborted();
        await this.#runOne(run, index, signal);
      }
      await writeSweep(this.dir, this.#record);
    } finally {
      if (this.#gpu !== this.#config.gpu) this.#gpu?.dispose();
      this.#gpu = this.#config.gpu;
    }
    return structuredClone(this.#record);
  }

  async #runOne(run: SweepRun, index: number, signal?: AbortSignal): Promise<void> {
    const started = performance.now();
    this.#config.onRunStart?.(run, index);
    try {
      await this.#carryOut(run, signal);
      run.state = "finished";
    } catch (error) {
      if (signal?.aborted && error === signal.reason) {
        run.state = "stopped";
        await this.#save();
        throw error;
      }
      run.state = "failed";
      run.message = error instanceof Error ? error.message : String(error);
      this.#replaceLostDevice(error);
    }
    await this.#save();
    await writeSweep(this.dir, this.#record);
    this.#config.onRunEnd?.(run, index, (performance.now() - started) / 1e3);
  }

  /** Runs to the end, from where it was. What a killed sweep had not noted is not done twice. */
  async #carryOut(run: SweepRun, signal?: AbortSignal): Promise<void> {
    if (run.folder !== undefined && await resultsIn(join(this.dir, run.folder))) {
      await writeReport(join(this.dir, run.folder));
      return;
    }
    run.state = "running";
    await this.#save();
    this.#gpu ??= await Gpu.open({ device: this.options.device });
    using experiment = await this.#experiment(run, this.#gpu);
    await experiment.setup();
    run.folder = basename(experiment.outputDir);
    await this.#save();
    await experiment.runPlanned(signal);
    await writeReport(experiment.outputDir);
  }

  async #experiment(run: SweepRun, gpu: Gpu): Promise<NeuralPlasticityExperiment> {
    const { onMessage, onProgress, onMetric, onEvent } = this.#config;
    const listeners = { gpu, onMessage, onProgress, onMetric, onEvent };
    if (run.folder !== undefined) {
      return await NeuralPlasticityExperiment.resume(join(this.dir, run.folder), listeners);
    }
    const options = runOptions(this.options, run, this.dir);
    return new NeuralPlasticityExperiment({ ...listeners, options, runName: runName(run) });
  }

  /** After a failure: what the device still has to say is of that run, and a lost one is let go. */
  #replaceLostDevice(error: unknown): void {
    let lost = error instanceof DeviceLostError;
    try {
      this.#gpu?.check();
    } catch (said) {
      lost ||= said instanceof DeviceLostError;
    }
    if (!lost) return;
    if (this.#gpu !== this.#config.gpu) this.#gpu?.dispose();
    this.#gpu = undefined;
  }

  async #save(): Promise<void> {
    await writeWhole(join(this.dir, SWEEP_FILE), JSON.stringify(this.#record, null, 2) + "\n");
  }
}

/** The results of a run that has ended; nothing where it has not. */
async function resultsIn(dir: string): Promise<Results | undefined> {
  try {
    return await readJson(join(dir, "results.json")) as Results;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
