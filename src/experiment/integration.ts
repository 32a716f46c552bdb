/**
 * The integration of controller and plasticity, ready to use: starting a run, going on with one, and
 * the class that does it in two lines.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { type Guide, type GuideState, inheritGuide, makeGuide } from "../controller/guides.ts";
import { readJson } from "../data/files.ts";
import { checkChoice } from "../ranges.ts";
import { Gpu } from "../gpu/device.ts";
import { tuneMatmul } from "../kernels/tune.ts";
import { TransformationMemory } from "../plasticity/memory.ts";
import type { AboutRun, DataRecord, IntegrationResults } from "../record.ts";
import { aboutRun } from "../run/about.ts";
import {
  checkIntegrationOptions,
  INTEGRATION_DEFAULTS,
  type IntegrationOptions,
} from "./integration_options.ts";
import type { IntegrationListeners } from "./integration_lines.ts";
import {
  CONTROLLER_FILE,
  IntegrationRun,
  type IntegrationState,
  neededCheckpoints,
} from "./integration_run.ts";
import { type Allocation, tryAllocating } from "./allocate.ts";
import { loadMemory } from "./memory_file.ts";
import { PRUNING_CHOICES } from "./plasticity_system.ts";
import { copyOf, isOpen } from "./option_rules.ts";
import { checkOptions } from "./options.ts";
import {
  absoluteModel,
  absoluteText,
  checkUnchanged,
  openUnfinished,
  readBegan,
  readLeft,
  tellOtherAdapter,
} from "./resume.ts";
import { environmentRecord } from "./run.ts";
import { releasing, RunFolder, shortName } from "./run_folder.ts";
import { type LoadListeners, loadMaterials, type Materials } from "./setup.ts";

/** All that an integrated run begins with. Nothing is on the device yet, and nothing written. */
export interface PreparedIntegration {
  /** Every option, its paths from the root. */
  options: IntegrationOptions;
  /** Model and text. */
  materials: Materials;
  /** What it may replay. */
  memory: TransformationMemory;
  /** Who guides it; nobody under `static`. */
  guide: Guide | undefined;
}

/**
 * Loads and checks all that a run begins with.
 *
 * @throws {RangeError | TypeError} If the options, the model or the text do not work out.
 */
export async function prepareIntegration(
  given: Partial<IntegrationOptions> = {},
  listeners: LoadListeners = {},
): Promise<PreparedIntegration> {
  const checked = checkIntegrationOptions(given);
  const asked = copyOf(checked, {
    ...checked,
    model_name: absoluteModel(checked.model_name),
    dataset: absoluteText(checked.dataset),
    memory: checked.memory && resolve(checked.memory),
    controller_weights: checked.controller_weights && resolve(checked.controller_weights),
  });
  const materials = await materialsOf(asked, listeners);
  const options = { ...asked, sequence_length: materials.max_length };
  return { options, materials, ...await left(options, materials) };
}

/** How an integrated run's folder begins. */
export interface IntegrationFolder {
  /** JSON files besides its own. */
  more?: Readonly<Record<string, unknown>>;
  /** What it is called after the time; the model's name unless given. */
  name?: string | undefined;
  /** What its mark says about the run; that which the options say unless given. */
  about?: AboutRun;
}

/**
 * Loads and checks everything and makes a run folder; nothing is trained yet.
 *
 * @param given Options, or what {@linkcode prepareIntegration} made of them.
 * @param folder How its folder begins.
 * @throws {RangeError | TypeError} If the options, the model or the text do not work out; nothing
 * was written then.
 */
export async function startIntegration(
  gpu: Gpu,
  given: Partial<IntegrationOptions> | PreparedIntegration = {},
  listeners: IntegrationListeners = {},
  { more = {}, name, about }: IntegrationFolder = {},
): Promise<IntegrationRun> {
  const { options, materials, memory, guide } = "materials" in given
    ? given
    : await prepareIntegration(given, listeners);
  await tuneMatmul(gpu);
  await tryAllocating(gpu, materials, allocationOf(options), listeners);
  if (options.memory) {
    const known = memory.entries.length;
    listeners.onMessage?.(
      `${options.memory}: ${known} transformation${known === 1 ? "" : "s"} to replay`,
    );
  }
  const { output_dir, model_name } = options;
  const beginning = {
    ...more,
    "config.json": options,
    "environment.json": environmentRecord(gpu),
    "data.json": materials.record,
  };
  const folder = await RunFolder.create(output_dir, name ?? shortName(model_name), {
    ...{ kind: "integration", beginning, say: listeners.onMessage },
    about: about ?? aboutRun(options, INTEGRATION_DEFAULTS, name),
  });
  return new IntegrationRun(gpu, options, materials, folder, { memory, guide, listeners });
}

/**
 * Opens a run folder at the end of its last whole cycle; where there is none yet, the run begins
 * anew.
 *
 * @throws {TypeError} If the folder is not that of an integrated run, the run is finished, or model
 * or text are no longer what they were.
 */
export async function resumeIntegration(
  gpu: Gpu,
  dir: string,
  listeners: IntegrationListeners = {},
): Promise<IntegrationRun> {
  const folder = await openUnfinished(dir, "integration", listeners.onMessage);
  return await releasing(folder, () => goOn(gpu, folder, listeners));
}

async function goOn(
  gpu: Gpu,
  folder: RunFolder,
  listeners: IntegrationListeners,
): Promise<IntegrationRun> {
  const options = await readIntegrationOptions(folder.dir);
  const began = await readBegan(folder);
  const materials = await materialsOf(options, listeners, began);
  checkUnchanged(began, materials.record, options.model_name);
  await tuneMatmul(gpu);
  await tellOtherAdapter(folder, gpu, (line) => listeners.onMessage?.(line));
  const saved = await folder.newest<IntegrationState>(listeners.onMessage, async (state) => {
    for (const other of neededCheckpoints(state)) await folder.readCheckpoint(other);
  });
  const begun = saved === undefined ? await left(options, materials) : {
    memory: new TransformationMemory({ capacity: options.memory_capacity }),
    guide: undefined, // the checkpoint's
  };
  const run = new IntegrationRun(gpu, options, materials, folder, { ...begun, listeners });
  if (saved) await run.resume(saved);
  else await folder.restart();
  return run;
}

/**
 * The options of a run that was begun earlier.
 *
 * @throws {TypeError} If the folder is not that of an integrated run.
 */
export async function readIntegrationOptions(dir: string): Promise<IntegrationOptions> {
  await RunFolder.check(dir, "integration");
  const config = await readJson(join(dir, "config.json"));
  return checkIntegrationOptions(config as Partial<IntegrationOptions>);
}

/** Models, and one more in which pruned heads are measured. */
export function allocationOf(
  { batch_size: B, sequence_length: T, controls, recompute, gradient_accumulation_steps }:
    IntegrationOptions,
): Allocation {
  return {
    ...{ B, T, recompute, accumulate: gradient_accumulation_steps },
    models: (controls ? 3 : 1) + 1,
    lengthOption: "sequence_length",
  };
}

/** The memory and the guide that a run begins with: its own, or what earlier runs left. */
async function left(
  { memory, memory_capacity: capacity, controller_weights: weights, ...options }:
    IntegrationOptions,
  { model: { config: { L, NH }, live } }: Materials,
): Promise<{ memory: TransformationMemory; guide: Guide | undefined }> {
  const { controller_type, controller_lr: rate, seed } = options;
  const guide = makeGuide(controller_type, { L, NH, live }, { rate, seed });
  if (weights) {
    if (!guide) throw new TypeError("controller_weights: a static controller has none");
    const { value } = await readLeft("controller_weights", weights, CONTROLLER_FILE);
    inheritGuide(guide, checkedGuide(value));
  }
  return {
    memory: memory
      ? await loadMemory(memory, { capacity })
      : new TransformationMemory({ capacity }),
    guide,
  };
}

/** @throws {TypeError} If this is not a controller's state, or names a strategy that there is not. */
function checkedGuide(value: unknown): GuideState {
  const state = value as Partial<GuideState> | null;
  const whole = typeof state?.controller === "object" && typeof state.preferences === "object" &&
    Array.isArray(state.controller?.logits) &&
    (state.type !== "mlp" || typeof state.mlp?.network === "object");
  if (!whole) throw new TypeError("controller_weights: this is not a controller's state");
  for (const name of Object.keys(state.preferences!)) {
    checkChoice("controller_weights: a preference", name, PRUNING_CHOICES);
  }
  return value as GuideState;
}

async function materialsOf(
  options: IntegrationOptions,
  listeners: LoadListeners,
  began?: DataRecord,
): Promise<Materials> {
  const { model_name, dataset: text, sequence_length } = options;
  const max_length = isOpen(options, "sequence_length") ? undefined : sequence_length;
  const { dataset_config, text_column, batch_size, gradient_accumulation_steps } = options;
  const { eval_tokens, test_tokens } = options;
  const batch = { batch_size, gradient_accumulation_steps };
  const shared = { model_name, text, max_length, ...batch, eval_tokens, test_tokens };
  const given = checkOptions({ ...shared, dataset_config, text_column });
  return await loadMaterials(given, listeners, began);
}

/** Options that belong to the controller. */
const CONTROLLER_KEYS: readonly (keyof ControllerOptions)[] = [
  "controller_type",
  "controller_lr",
  "update_frequency",
];

/** Options of an integrated run that belong to its controller. */
export type ControllerOptions = Pick<
  IntegrationOptions,
  "controller_type" | "controller_lr" | "update_frequency"
>;

/** Options that {@linkcode IntegrationConfig} has no other name for. */
export type PlasticityRunOptions = Omit<
  IntegrationOptions,
  "model_name" | "dataset" | "max_cycles" | keyof ControllerOptions
>;

const CONFIG_KEYS: readonly (keyof IntegrationConfig)[] = [
  "model",
  "dataset",
  "maxCycles",
  "controllerConfig",
  "plasticityConfig",
  "verbose",
  "gpu",
];

/** What a {@linkcode ControllerPlasticityIntegration} is made from; all of it has defaults. */
export interface IntegrationConfig {
  /** `embedded`, a GPT-2 of the hub by name, or the path or URL of a folder. */
  model?: string;
  /** `moby_dick` (embedded), `tiny_shakespeare`, or a UTF-8 text file. */
  dataset?: string;
  /** Cycles at most; fewer where they no longer pay. */
  maxCycles?: number;
  /** Options of the controller. */
  controllerConfig?: Partial<ControllerOptions>;
  /** All other options. */
  plasticityConfig?: Partial<PlasticityRunOptions>;
  /** Whether cycles and what the controller decides are told on stderr. */
  verbose?: boolean;
  /** The device; one of its own is opened, and closed at the end, unless given. */
  gpu?: Gpu;
}

/**
 * Controller and plasticity in one loop.
 *
 * ```ts ignore
 * const integration = new ControllerPlasticityIntegration({
 *   model: "embedded",
 *   dataset: "moby_dick",
 *   maxCycles: 5,
 *   controllerConfig: { controller_type: "ann", controller_lr: 0.01, update_frequency: 50 },
 *   plasticityConfig: { learning_rate: 3e-4, max_perplexity_increase: 0.15, memory_capacity: 5 },
 *   verbose: true,
 * });
 * const results = await integration.runIntegratedOptimization();
 * console.log(results.baseline_perplexity, results.best_perplexity, results.improvement);
 * ```
 */
export class ControllerPlasticityIntegration {
  /** Everything that decides what the run does. */
  readonly options: IntegrationOptions;
  readonly #config: IntegrationConfig;
  #folder: RunFolder | undefined;

  /**
   * Checks the options; nothing is loaded yet.
   *
   * @throws {RangeError} If a number is out of range.
   * @throws {TypeError} If a value is of the wrong kind, or an option unknown.
   */
  constructor(config: IntegrationConfig = {}) {
    const { model, dataset, maxCycles, controllerConfig = {}, plasticityConfig = {} } = config;
    for (const key of Object.keys(config)) {
      if (!CONFIG_KEYS.includes(key as keyof IntegrationConfig)) {
        throw new TypeError(`Unknown option: ${key}; there are ${CONFIG_KEYS.join(", ")}`);
      }
    }
    for (const key of Object.keys(controllerConfig)) {
      if (!(CONTROLLER_KEYS as readonly string[]).includes(key)) {
        throw new TypeError(
          `Unknown option of controllerConfig: ${key}; there are ${CONTROLLER_KEYS.join(", ")}`,
        );
      }
    }
    this.#config = config;
    this.options = checkIntegrationOptions({
      ...plasticityConfig,
      ...controllerConfig,
      model_name: model,
      dataset,
      max_cycles: maxCycles,
    });
  }

  /** The folder of the last run, once it has begun. */
  get folder(): RunFolder | undefined {
    return this.#folder;
  }

  /**
   * Runs cycles until they no longer pay. Every call is a run with a folder of its own.
   *
   * @returns What `results.json` holds.
   * @throws {RangeError | TypeError} If model and text do not work out.
   * @throws The signal's reason, where it stops the run; `resumeIntegration` goes on with it.
   */
  async runIntegratedOptimization(signal?: AbortSignal): Promise<IntegrationResults> {
    using owned = new DisposableStack();
    const { gpu = owned.use(await Gpu.open({ device: this.options.device })), verbose } =
      this.#config;
    const say = (line: string) => console.error(line);
    const run = owned.use(
      await startIntegration(gpu, this.options, verbose ? { onMessage: say, onDetail: say } : {}),
    );
    this.#folder = run.folder;
    return await run.run(signal);
  }
}
