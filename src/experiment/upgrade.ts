/**
 * One model in, an optimised one out: an integrated run, and its best model in Hugging Face's format
 * with a card.
 *
 * @module
 */
import { join } from "node:path";
import denoJson from "../../deno.json" with { type: "json" };
import { readJson } from "../data/files.ts";
import type { LoadedModel, Model } from "../data/model_files.ts";
import { loadModel } from "../data/load_model.ts";
import { saveModel } from "../data/save_model.ts";
import type { Gpu } from "../gpu/device.ts";
import type { EnvironmentRecord, IntegrationResults } from "../record.ts";
import { aboutRun } from "../run/about.ts";
import { modelCard } from "../report/model_card.ts";
import { continueTexts } from "./continue_text.ts";
import {
  type PreparedIntegration,
  prepareIntegration,
  resumeIntegration,
  startIntegration,
} from "./integration.ts";
import { INTEGRATION_DEFAULTS } from "./integration_options.ts";
import type { IntegrationListeners } from "./integration_lines.ts";
import type { IntegrationRun } from "./integration_run.ts";
import { exists, readBegan, readLeft } from "./resume.ts";
import { RunFolder, shortName } from "./run_folder.ts";
import { type LoadListeners, openModel } from "./setup.ts";
import {
  checkUpgradeOptions,
  INFERENCE_TOKENS,
  integrationOf,
  UPGRADE_DEFAULTS,
  type UpgradeOptions,
} from "./upgrade_options.ts";

/** Where a run folder keeps the options of the upgrade that it is. */
const UPGRADE_FILE = "upgrade.json";

/** Where it keeps what both models wrote after the prompt. */
const INFERENCE_FILE = "inference.json";

/** Where the upgraded model is put, in the run's folder. */
export const UPGRADED_MODEL = "hf_model";

/** What an upgraded model's `config.json` says under this key. */
const CONFIG_KEY = "pollard_upgrade";

/** One upgrade in a model's history. */
export interface UpgradeNote {
  /** When it ended, as `Date.toISOString()` writes it. */
  time: string;
  /** Version of Pollard. */
  pollard: string;
  /** Heads that were left, of all. */
  active_heads: number;
  /** Heads of the full model. */
  total_heads: number;
  /** Kind of controller. */
  controller_type: string;
}

/** The upgrades that a model has had, oldest first. */
export function upgradeHistory({ config }: Pick<Model, "config">): UpgradeNote[] {
  const note = config.raw[CONFIG_KEY] as { history?: UpgradeNote[] } | undefined;
  return note?.history ?? [];
}

/** An upgrade that is loaded and checked, and not begun. */
export interface PreparedUpgrade extends PreparedIntegration {
  /** Every option of the upgrade. */
  upgrade: UpgradeOptions;
}

/**
 * Loads and checks all that an upgrade begins with; nothing is written.
 *
 * @throws {RangeError | TypeError} If options, model or text do not work out, or the model was
 * upgraded before and `again` was not asked for.
 */
export async function prepareUpgrade(
  given: Partial<UpgradeOptions>,
  listeners: LoadListeners = {},
): Promise<PreparedUpgrade> {
  const upgrade = checkUpgradeOptions(given);
  const prepared = await prepareIntegration(integrationOf(upgrade), listeners);
  const last = upgradeHistory(prepared.materials.model).at(-1);
  if (last && !upgrade.again) {
    throw new TypeError(
      `${upgrade.model} was upgraded before, at ${last.time}, to ${last.active_heads} of ` +
        `${last.total_heads} heads: say --again to upgrade it once more`,
    );
  }
  const { model: { config, tokenizer } } = prepared.materials;
  const prompt = (await tokenizer!.encode(upgrade.prompt)).length;
  if (upgrade.run_inference && prompt + INFERENCE_TOKENS > config.T) {
    throw new RangeError(
      `prompt must be at most ${config.T - INFERENCE_TOKENS} tokens, for ${INFERENCE_TOKENS} to ` +
        `follow in the model's ${config.T}: ${prompt}`,
    );
  }
  return { ...prepared, upgrade };
}

/** What an upgrade leaves. */
export interface Upgraded {
  /** What `results.json` holds. */
  results: IntegrationResults;
  /** Path of the upgraded model. */
  model: string;
  /** What both models wrote after the prompt, with the same seed, where it was asked for. */
  inference?: { prompt: string; before: string; after: string };
}

/** An upgrade under way. Dispose it to free the device's memory. */
export class UpgradeRun implements Disposable {
  readonly #gpu: Gpu;
  readonly #run: IntegrationRun | undefined;
  readonly #options: UpgradeOptions;
  /** Its folder. */
  readonly folder: RunFolder;

  /** @internal */
  constructor(gpu: Gpu, options: UpgradeOptions, folder: RunFolder, run?: IntegrationRun) {
    this.#gpu = gpu;
    this.#options = options;
    this.folder = folder;
    this.#run = run;
  }

  /**
   * Runs the cycles that are left, and writes the upgraded model.
   *
   * @throws The signal's reason, where it stops the run; {@linkcode resumeUpgrade} goes on with it.
   */
  async run(signal?: AbortSignal): Promise<Upgraded> {
    return await this.folder.work(() => this.#complete(signal));
  }

  async #complete(signal?: AbortSignal): Promise<Upgraded> {
    const results = await this.#run?.run(signal) ??
      await readJson(this.folder.path("results.json")) as IntegrationResults;
    const { run_inference } = this.#options;
    const model = await this.#write(results); // before samples, which must not cost it
    const inference = run_inference ? await this.#infer(signal) : undefined;
    return { results, model, ...(inference && { inference }) };
  }

  /** What the model and the upgraded one write after the prompt. */
  async #infer(signal?: AbortSignal): Promise<NonNullable<Upgraded["inference"]>> {
    const { prompt, temperature, seed } = this.#options;
    const drawing = {
      ...{ prompts: [prompt], temperature, seed },
      ...{ max_new_tokens: INFERENCE_TOKENS, top_k: 40, top_p: 0.95 },
    };
    const { hub_model } = await readBegan(this.folder);
    const write = async (model: Promise<LoadedModel>) =>
      (await continueTexts(this.#gpu, await model, drawing, signal && { signal }))[0].text;
    const inference = {
      prompt,
      before: await write(openModel(this.#options.model, hub_model && { began: hub_model })),
      after: await write(loadModel(this.folder.path("models", "best"))),
    };
    await this.folder.writeJson(INFERENCE_FILE, inference);
    return inference;
  }

  async #write(results: IntegrationResults): Promise<string> {
    const { folder } = this, { model: base, controller_type } = this.#options;
    const best = await loadModel(folder.path("models", "best"));
    const { active_heads, total_heads } = results;
    const note: UpgradeNote = {
      time: new Date().toISOString(),
      pollard: denoJson.version,
      active_heads,
      total_heads,
      controller_type,
    };
    const history = [...upgradeHistory(best), note];
    const raw = { ...best.config.raw, [CONFIG_KEY]: { history } };
    const { adapter } = await readJson(folder.path("environment.json")) as EnvironmentRecord;
    const { data_path, dataset } = this.#options;
    const card = modelCard(results, {
      base: shortName(base),
      text: shortName(data_path || dataset),
      chosenBy: controller_type,
      adapter,
    });
    const path = folder.path(UPGRADED_MODEL);
    await saveModel(path, { ...best, config: { ...best.config, raw }, card });
    return path;
  }

  /** Frees every model of the run, and lets others write to its folder. */
  dispose(): void {
    this.#run?.dispose();
    this.folder.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Makes a run folder for an upgrade; nothing is trained yet. */
export async function startUpgrade(
  gpu: Gpu,
  { upgrade, ...prepared }: PreparedUpgrade,
  listeners: IntegrationListeners = {},
  name?: string,
): Promise<UpgradeRun> {
  const { model_name: model, dataset } = prepared.options; // their paths from the root
  const defaults = { ...INTEGRATION_DEFAULTS, ...integrationOf(UPGRADE_DEFAULTS) };
  const run = await startIntegration(gpu, prepared, listeners, {
    more: { [UPGRADE_FILE]: { ...upgrade, model, dataset, data_path: "" } },
    about: aboutRun(
      prepared.options,
      defaults,
      name,
    ),
    name,
  });
  return new UpgradeRun(gpu, upgrade, run.folder, run);
}

/**
 * The options of an upgrade that was begun earlier.
 *
 * @throws {TypeError} If the folder is not that of an upgrade.
 */
export async function readUpgradeOptions(dir: string): Promise<UpgradeOptions> {
  await RunFolder.check(dir, "integration");
  const { value } = await readLeft("resume_from", dir, UPGRADE_FILE);
  return checkUpgradeOptions(value as Partial<UpgradeOptions>);
}

/**
 * Opens the folder of an upgrade at the end of its last whole cycle; where all cycles are done, the
 * upgraded model is all that is left to write.
 *
 * @throws {TypeError} If it is not such a folder, the upgrade is finished, or model or text have
 * changed.
 */
export async function resumeUpgrade(
  gpu: Gpu,
  dir: string,
  listeners: IntegrationListeners = {},
): Promise<UpgradeRun> {
  const options = await readUpgradeOptions(dir);
  if (!await exists(join(dir, "results.json"))) {
    const run = await resumeIntegration(gpu, dir, listeners);
    return new UpgradeRun(gpu, options, run.folder, run);
  }
  const model = join(dir, UPGRADED_MODEL);
  const inferred = !options.run_inference || await exists(join(dir, INFERENCE_FILE));
  if (inferred && await exists(model)) {
    throw new TypeError(`${dir} is finished: its model is ${model}`);
  }
  const folder = await RunFolder.open(dir, { kind: "integration", say: listeners.onMessage });
  return new UpgradeRun(gpu, options, folder);
}
