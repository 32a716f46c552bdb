/**
 * Starting an experiment, and going on with one that was stopped or killed.
 *
 * @module
 */
import { dirname, join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { readJson } from "../data/files.ts";
import { scheduleOf } from "../kernels/matmul.ts";
import { tuneMatmul } from "../kernels/tune.ts";
import type { AdapterInfo, Gpu } from "../gpu/device.ts";
import { type EnvironmentRecord, type Results, RUN_MARK } from "../record.ts";
import { aboutRun } from "../run/about.ts";
import { checkFileHashes } from "../run/file_hashes.ts";
import { taskCommand } from "../shell.ts";
import { type Allocation, tryAllocating } from "./allocate.ts";
import { ExperimentRun } from "./experiment_run.ts";
import type { RunListeners, SavedState } from "./experiment_state.ts";
import { copyOf, isOpen } from "./option_rules.ts";
import { checkOptions, DEFAULTS, type ExperimentOptions } from "./options.ts";
import {
  absoluteModel,
  absoluteText,
  checkUnchanged,
  exists,
  openUnfinished,
  readBegan,
  tellOtherAdapter,
} from "./resume.ts";
import { type FolderSetting, releasing, RunFolder, shortName } from "./run_folder.ts";
import { loadMaterials } from "./setup.ts";

/** Limits of the adapter that decide what fits. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupStorageSize",
] as const;

/** What the numbers of a run are measured on. */
export function environmentRecord(gpu: Gpu): EnvironmentRecord {
  const { info, device } = gpu;
  return {
    adapter: info.name,
    vendor: info.vendor,
    driver: driverOf(info),
    backend: Deno.env.get("DENO_WEBGPU_BACKEND") ?? "the runtime's choice",
    software: info.software,
    os: `${Deno.build.os} ${Deno.build.arch} ${Deno.osRelease()}`,
    deno: Deno.version.deno,
    pollard: denoJson.version,
    autotune: {
      matmul: JSON.stringify(scheduleOf(gpu)),
      "picked as": gpu.matmulSchedule ? "the fastest of those timed" : "the only candidate",
    },
    limits: Object.fromEntries(LIMITS.map((limit) => [limit, device.limits[limit] as number])),
  };
}

/** WebGPU reports no driver version: what stands in the adapter's name is all there is. */
function driverOf({ name, vendor, device }: AdapterInfo): string {
  const inName = /\(([^)]+)\)/.exec(name)?.[1];
  return [inName, `vendor ${vendor}`, `device ${device}`].filter(Boolean).join(", ");
}

/**
 * Loads and checks everything, makes a run folder, and returns the experiment, ready to run.
 *
 * @param name What its folder is called after the time; the model's name unless given.
 * @throws {RangeError | TypeError} If the options, the model or the text do not work out; nothing was
 * written then.
 */
export async function startExperiment(
  gpu: Gpu,
  given: Partial<ExperimentOptions>,
  listeners: RunListeners = {},
  name?: string,
): Promise<ExperimentRun> {
  const options = absolute(checkOptions(given));
  const { output_dir, model_name } = options;
  const folder = (setting: FolderSetting) =>
    RunFolder.create(output_dir, name ?? shortName(model_name), setting);
  return await begin(gpu, options, folder, listeners, name);
}

/** The models, and in adaptive mode one more in which pruned heads are measured. */
export function allocationOf(options: ExperimentOptions): Allocation {
  const { batch_size: B, max_length: T, recompute, controls, pruning_mode } = options;
  return {
    ...{ B, T, recompute, accumulate: options.gradient_accumulation_steps },
    models: (controls ? 3 : 1) + (pruning_mode === "adaptive" ? 1 : 0),
  };
}

/** @param makeFolder Makes the run's folder, once everything else has worked out. */
async function begin(
  gpu: Gpu,
  asked: ExperimentOptions,
  makeFolder: (setting: FolderSetting) => Promise<RunFolder>,
  listeners: RunListeners,
  name?: string,
): Promise<ExperimentRun> {
  const materials = await loadMaterials(asked, listeners);
  const options = { ...asked, max_length: materials.max_length };
  await tuneMatmul(gpu);
  await tryAllocating(gpu, materials, allocationOf(options), listeners);
  const beginning = {
    "config.json": options,
    "environment.json": environmentRecord(gpu),
    "data.json": materials.record,
  };
  const folder = await makeFolder({
    ...{ beginning, about: aboutRun(options, DEFAULTS, name), say: listeners.onMessage },
  });
  return new ExperimentRun(gpu, options, materials, folder, listeners);
}

/**
 * The options of a run that was begun earlier.
 *
 * @throws {TypeError} If the folder is not a run's.
 */
export async function readOptions(dir: string): Promise<ExperimentOptions> {
  await RunFolder.check(dir);
  return checkOptions(await readJson(join(dir, "config.json")) as ExperimentOptions);
}

/**
 * Opens a run folder at its last checkpoint; where there is none yet, the run begins anew.
 *
 * @throws {TypeError} If the folder is not a run's, the run is finished, or the model or text is no
 * longer what it was.
 */
export async function resumeExperiment(
  gpu: Gpu,
  dir: string,
  listeners: RunListeners = {},
): Promise<ExperimentRun> {
  const folder = await openUnfinished(dir, "experiment", listeners.onMessage);
  return await releasing(folder, () => goOn(gpu, folder, listeners));
}

/**
 * Opens the folder of an experiment that is to have these options, finished or not, at its last
 * checkpoint; where there is no such folder, or an empty one, the experiment begins in it.
 *
 * @throws {TypeError} If the folder holds something else, or an experiment with other options; the error
 * names them. What {@linkcode startExperiment} and {@linkcode resumeExperiment} throw.
 */
export async function openExperiment(
  gpu: Gpu,
  { dir, options: given }: { dir: string; options: Partial<ExperimentOptions> },
  listeners: RunListeners = {},
): Promise<ExperimentRun> {
  const options = absolute(checkOptions({ ...given, output_dir: dirname(dir) }));
  if (!await hasBegun(dir)) {
    return await begin(gpu, options, (setting) => RunFolder.createAt(dir, setting), listeners);
  }
  checkSame(dir, await readOptions(dir), options);
  const folder = await RunFolder.open(dir, { say: listeners.onMessage });
  return await releasing(folder, async () => {
    if ((await folder.checkpoints()).length === 0 && await exists(folder.path("results.json"))) {
      throw new TypeError(
        `${dir} is a finished run without checkpoints: there is nothing to open its models from; ` +
          `name another folder, or look at it with ${taskCommand("report", [dir])}`,
      );
    }
    return await goOn(gpu, folder, listeners);
  });
}

/** Whether a folder holds a run that had everything it needed to begin; `data.json` came last. */
async function hasBegun(dir: string): Promise<boolean> {
  return await exists(join(dir, RUN_MARK)) && await exists(join(dir, "data.json"));
}

/**
 * What an experiment with these options found, if it has finished in a folder.
 *
 * @returns `undefined` if it has not finished there, or the folder is empty or missing.
 * @throws {TypeError} If the folder holds an experiment with other options, or another kind of run.
 */
export async function readFinished(
  dir: string,
  given: Partial<ExperimentOptions>,
): Promise<Results | undefined> {
  if (!await hasBegun(dir)) return undefined;
  checkSame(dir, await readOptions(dir), absolute(checkOptions(given)));
  const results = join(dir, "results.json");
  return await exists(results) ? await readJson(results) as Results : undefined;
}

/** Refuses options that are not those of a folder's experiment; where the folder lies does not count. */
function checkSame(dir: string, there: ExperimentOptions, here: ExperimentOptions): void {
  const names = Object.keys(here) as (keyof ExperimentOptions)[];
  // a length that nobody gave was made to fit the model
  const differ = names.filter((name) =>
    name !== "output_dir" && there[name] !== here[name] &&
    !(name === "max_length" && isOpen(here, name))
  );
  if (differ.length === 0) return;
  const each = differ.map((name) =>
    `${name} is ${JSON.stringify(there[name])} there and ${JSON.stringify(here[name])} here`
  );
  throw new TypeError(
    `${dir} holds an experiment with other options: ${each.join(", ")}; ` +
      "name another folder, or give the options that it began with",
  );
}

async function goOn(
  gpu: Gpu,
  folder: RunFolder,
  listeners: RunListeners,
): Promise<ExperimentRun> {
  const options = await readOptions(folder.dir);
  const began = await readBegan(folder);
  const materials = await loadMaterials(options, listeners, began);
  checkUnchanged(began, materials.record, options.model_name);
  await tuneMatmul(gpu);
  await tellOtherAdapter(folder, gpu, (line) => listeners.onMessage?.(line));
  const experiment = new ExperimentRun(gpu, options, materials, folder, listeners);
  const saved = await folder.newest<SavedState>(
    listeners.onMessage,
    ({ cursor }) => checkFileHashes(folder.dir, cursor.baselineFiles ?? {}),
  );
  if (saved) await experiment.resume(saved);
  else await folder.restart();
  return experiment;
}

/** Makes the paths among the options absolute, so that a run can go on from another folder. */
function absolute(options: ExperimentOptions): ExperimentOptions {
  const { model_name, text } = options;
  return copyOf(options, {
    ...options,
    model_name: absoluteModel(model_name),
    text: absoluteText(text),
  });
}
