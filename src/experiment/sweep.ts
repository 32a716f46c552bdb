/**
 * A sweep: an experiment for every strategy, level and seed of a grid, each a run of its own, and
 * the page that compares them. If a run fails, the next one begins. How far a sweep is, the folders of its
 * runs tell, and nothing else: others may run some of them.
 *
 * @module
 */
import { join } from "node:path";
import { isFile, writeWhole } from "../data/files.ts";
import { DeviceLostError, Gpu } from "../gpu/device.ts";
import { SWEEP_FILE, type SweepPlanRun, type SweepRecord, type SweepRun } from "../record.ts";
import { writeSweep } from "../report/comparison.ts";
import { readSwept } from "../report/compared.ts";
import { readSweep, runName, standing, standings } from "../report/sweep_folder.ts";
import { writeReport } from "../report/write.ts";
import { LockedError, lockFolder } from "../run/lock.ts";
import type { RunListeners } from "./experiment_state.ts";
import { planMemory } from "./memory_plan.ts";
import { NeuralPlasticityExperiment } from "./neural_plasticity.ts";
import { absoluteModel, absoluteText } from "./resume.ts";
import { allocationOf } from "./run.ts";
import { newFolder, shortName } from "./run_folder.ts";
import { type LoadListeners, loadMaterials, type Materials } from "./setup.ts";
import { copyOf } from "./option_rules.ts";
import { checkSweepOptions, planSweep, runOptions, type SweepOptions } from "./sweep_options.ts";
import { toJson } from "../json.ts";

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
  /** What a new sweep's folder is called after the time; the model's name unless given. */
  name?: string;
}

/**
 * Checks the options of a sweep, and that its model and text work out; nothing is written.
 *
 * @throws {RangeError | TypeError} If they do not.
 */
export async function prepareSweep(
  given: Partial<SweepOptions>,
  listeners: LoadListeners = {},
): Promise<{ options: SweepOptions; runs: SweepPlanRun[]; materials: Materials }> {
  const checked = checkSweepOptions(given);
  const asked = copyOf(checked, {
    ...checked,
    model_name: absoluteModel(checked.model_name),
    text: absoluteText(checked.text),
  });
  const runs = planSweep(asked);
  const materials = await loadMaterials(
    runOptions(asked, runs[0], asked.output_dir),
    listeners,
  );
  return { options: { ...asked, max_length: materials.max_length }, runs, materials };
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
  readonly #config: SweepConfig;
  readonly #runs: SweepRun[];
  #gpu: Gpu | undefined;

  private constructor(
    dir: string,
    options: SweepOptions,
    runs: SweepRun[],
    config: SweepConfig,
  ) {
    this.dir = dir;
    this.options = options;
    this.#runs = runs;
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
    const dir = await newSweepFolder(options, runs, config.name);
    return new Sweep(dir, options, await standings(dir, runs), config);
  }

  /**
   * Opens the folder of a sweep that was stopped or killed, or some of whose runs failed. Those that
   * have finished are kept; the others continue from their last checkpoint, or begin.
   *
   * @throws {TypeError} If it is not such a folder.
   */
  static async resume(dir: string, config: SweepConfig = {}): Promise<Sweep> {
    const { options, runs } = await readSweep(dir);
    const checked = checkSweepOptions(options as Partial<SweepOptions>);
    return new Sweep(dir, checked, await standings(dir, runs), config);
  }

  /** Every run, and how it stands. */
  get runs(): readonly Readonly<SweepRun>[] {
    return this.#runs;
  }

  /** The path of the page that compares the runs; it is drawn after each of them. */
  get page(): string {
    return join(this.dir, "report.html");
  }

  /**
   * Runs what has not finished, one after the other. A run that another process is running is left to it.
   *
   * @param signal Stops within a run, which saves a checkpoint first.
   * @returns How each run ended: some may have failed, or be `running` in another process.
   * @throws {LockedError} If another process carries out this sweep; nothing was done.
   * @throws The signal's reason.
   */
  async run(signal?: AbortSignal): Promise<{ options: SweepOptions; runs: SweepRun[] }> {
    using _ = await lockFolder(this.dir, (line) => this.#say(line));
    try {
      for (const index of this.#runs.keys()) {
        signal?.throwIfAborted();
        await this.#runOne(index, signal);
      }
      for (const [index, run] of this.#runs.entries()) {
        if (run.state === "running") this.#runs[index] = await standing(this.dir, run);
      }
      await this.#draw();
    } finally {
      if (this.#gpu !== this.#config.gpu) this.#gpu?.dispose();
      this.#gpu = this.#config.gpu;
    }
    return { options: this.options, runs: structuredClone(this.#runs) };
  }

  async #runOne(index: number, signal?: AbortSignal): Promise<void> {
    // others may have worked in the folder since it was looked at
    const run = this.#runs[index] = await standing(this.dir, this.#runs[index]);
    if (run.state === "running") this.#say(`${runName(run)} is left out: ${run.message}`);
    if (run.state === "running" || await this.#hasEnded(run)) return;
    const started = performance.now();
    delete run.message;
    run.state = "running";
    this.#config.onRunStart?.(run, index);
    try {
      await this.#carryOut(run, signal);
      run.state = "finished";
    } catch (error) {
      if (signal?.aborted && error === signal.reason) {
        run.state = "stopped";
        throw error;
      }
      run.message = error instanceof Error ? error.message : String(error);
      if (error instanceof LockedError) return this.#say(`it is left out: ${run.message}`);
      run.state = "failed";
      this.#replaceLostDevice(error);
    }
    await this.#draw();
    this.#config.onRunEnd?.(run, index, (performance.now() - started) / 1e3);
  }

  async #draw(): Promise<void> {
    await writeSweep(this.dir, await readSwept(this.dir, this.#runs));
  }

  #say(line: string): void {
    this.#config.onMessage?.(line);
  }

  /** Whether a run has finished; a process that was killed then may not have drawn its report. */
  async #hasEnded({ state, folder }: SweepRun): Promise<boolean> {
    if (state !== "finished") return false;
    const dir = join(this.dir, folder);
    if (!await isFile(join(dir, "report.html"))) await writeReport(dir);
    return true;
  }

  /** Runs to the end, from where it was. */
  async #carryOut({ folder, ...run }: SweepRun, signal?: AbortSignal): Promise<void> {
    this.#gpu ??= await Gpu.open({ device: this.options.device });
    const { onMessage, onProgress, onMetric, onEvent } = this.#config;
    using experiment = new NeuralPlasticityExperiment({
      ...{ gpu: this.#gpu, onMessage, onProgress, onMetric, onEvent },
      options: runOptions(this.options, run, this.dir),
      runDir: join(this.dir, folder),
    });
    await experiment.setup();
    await experiment.runPlanned(signal);
    await writeReport(experiment.outputDir);
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
}

/**
 * Makes the folder of a sweep, with its plan.
 *
 * @param name What the folder is called after the time; the model's name unless given.
 * @returns Its path.
 */
export async function newSweepFolder(
  options: SweepOptions,
  runs: readonly SweepPlanRun[],
  name: string = shortName(options.model_name),
): Promise<string> {
  const dir = await newFolder(options.output_dir, name);
  const record: SweepRecord = {
    ...{ format: 2, created: new Date().toISOString(), options: { ...options } },
    runs: [...runs],
  };
  await writeWhole(join(dir, SWEEP_FILE), toJson(record, 2) + "\n");
  return dir;
}
