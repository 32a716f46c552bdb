/**
 * The options of an upgrade, their defaults and ranges, and the integrated run that they ask for.
 *
 * @module
 */
import type { ControllerType } from "../controller/guides.ts";
import {
  INTEGRATION_DEFAULTS,
  INTEGRATION_RULES,
  type IntegrationOptions,
} from "./integration_options.ts";
import { completeOptions, isOpen, number, type OptionRule, TEXT } from "./option_rules.ts";
import type { DeviceChoice } from "./options.ts";

/** Everything that decides what an upgrade does. */
export interface UpgradeOptions {
  /** The model to upgrade: `embedded`, a GPT-2 of the hub, a folder, or its URL. */
  model: string;
  /** A text's name, or the path of a file or folder, as an experiment's `text`. */
  dataset: string;
  /** Which of a data set's configurations; empty for its first. In a folder, the folder below. */
  dataset_config: string;
  /** The column in which tables (JSON, CSV, TSV, Parquet) have their text. */
  text_column: string;
  /** A file or folder to use in place of `dataset`; empty for none. */
  data_path: string;
  /** Folder in which the upgrade gets a folder of its own. */
  output_dir: string;
  /** Cycles at most; fewer where they no longer pay. */
  cycles: number;
  /** Share of the live heads that a cycle prunes. */
  pruning_level: number;
  /** Share of the pruned heads that the first cycle grows. */
  growth_ratio: number;
  /** AdamW's highest learning rate. */
  learning_rate: number;
  /** Who guides the cycles. */
  controller_type: ControllerType;
  /** An earlier run's folder, or its `controller.json`, to begin with; empty for none. */
  controller_weights: string;
  /** Optimizer steps in the first cycle. */
  train_steps: number;
  /** Tokens in a sequence. */
  sequence_length: number;
  /** Sequences that are computed at once. */
  batch_size: number;
  /** Parts of a step's batch, computed one after the other: it has `batch_size` times as many sequences. */
  gradient_accumulation_steps: number;
  /** Whether backward computes activations again rather than keep them: less memory, more time. */
  recompute: boolean;
  /** Which adapter. */
  device: DeviceChoice;
  /** Decides batches, choices and samples. */
  seed: number;
  /** Whether an unpruned twin and random pruning and growth run on the same batches. */
  controls: boolean;
  /** Whether the model is saved after every cycle, not only the best. */
  save_checkpoints: boolean;
  /** Whether a model that was upgraded before is upgraded again. */
  again: boolean;
  /** Whether model and upgraded model continue a prompt at the end. */
  run_inference: boolean;
  /** The prompt. */
  prompt: string;
  /** How tokens are drawn there; 0 takes the likeliest. */
  temperature: number;
}

/** The options used where nothing else is said; `model` has none. */
export const UPGRADE_DEFAULTS: UpgradeOptions = {
  model: "",
  dataset: INTEGRATION_DEFAULTS.dataset,
  dataset_config: INTEGRATION_DEFAULTS.dataset_config,
  text_column: INTEGRATION_DEFAULTS.text_column,
  data_path: "",
  output_dir: "upgraded",
  cycles: 5,
  pruning_level: 0.3,
  growth_ratio: 0.5,
  learning_rate: 5e-5,
  controller_type: "ann",
  controller_weights: "",
  train_steps: 100,
  sequence_length: 64,
  batch_size: 4,
  gradient_accumulation_steps: 1,
  recompute: false,
  device: "auto",
  seed: 42,
  controls: true,
  save_checkpoints: false,
  again: false,
  run_inference: false,
  prompt: "Once upon a time",
  temperature: 0.7,
};

/** What each option must be. */
export const UPGRADE_RULES: Readonly<Record<keyof UpgradeOptions, OptionRule>> = {
  model: TEXT,
  dataset: TEXT,
  dataset_config: { kind: "path" },
  text_column: TEXT,
  data_path: { kind: "path" },
  output_dir: TEXT,
  cycles: INTEGRATION_RULES.max_cycles,
  pruning_level: INTEGRATION_RULES.pruning_level,
  growth_ratio: INTEGRATION_RULES.growth_ratio,
  learning_rate: INTEGRATION_RULES.learning_rate,
  controller_type: INTEGRATION_RULES.controller_type,
  controller_weights: INTEGRATION_RULES.controller_weights,
  train_steps: INTEGRATION_RULES.training_steps,
  sequence_length: INTEGRATION_RULES.sequence_length,
  batch_size: INTEGRATION_RULES.batch_size,
  gradient_accumulation_steps: INTEGRATION_RULES.gradient_accumulation_steps,
  recompute: INTEGRATION_RULES.recompute,
  device: INTEGRATION_RULES.device,
  seed: INTEGRATION_RULES.seed,
  controls: { kind: "flag" },
  save_checkpoints: { kind: "flag" },
  again: { kind: "flag" },
  run_inference: { kind: "flag" },
  prompt: TEXT,
  temperature: number({ min: 0, max: 100 }),
};

/** Tokens that are written after the prompt. */
export const INFERENCE_TOKENS = 48;

/**
 * Completes options by {@linkcode UPGRADE_DEFAULTS} and checks all of them.
 *
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If a value is of the wrong kind, an option unknown, or no model named.
 */
export function checkUpgradeOptions(given: Partial<UpgradeOptions>): UpgradeOptions {
  if (given.model === undefined || given.model === "") {
    throw new TypeError(
      "model must be named: gpt2 or another GPT-2 of the hub, a folder or its URL, or embedded",
    );
  }
  return completeOptions(UPGRADE_DEFAULTS, UPGRADE_RULES, given);
}

/** Options that an integrated run calls by the same name. */
const SHARED = [
  "dataset_config",
  "text_column",
  "output_dir",
  "pruning_level",
  "growth_ratio",
  "learning_rate",
  "controller_type",
  "controller_weights",
  "sequence_length",
  "batch_size",
  "gradient_accumulation_steps",
  "recompute",
  "device",
  "seed",
  "controls",
] as const satisfies (keyof UpgradeOptions & keyof IntegrationOptions)[];

/** The integrated run that an upgrade is. */
export function integrationOf(options: UpgradeOptions): Partial<IntegrationOptions> {
  return {
    ...Object.fromEntries(SHARED.map((name) => [name, options[name]])),
    ...(isOpen(options, "sequence_length") && { sequence_length: undefined }),
    model_name: options.model,
    dataset: options.data_path || options.dataset,
    max_cycles: options.cycles,
    training_steps: options.train_steps,
    cycle_models: options.save_checkpoints,
  };
}
