/**
 * The options of the controller-plasticity integration, their defaults and ranges.
 *
 * @module
 */
import { CONTROLLERS, type ControllerType } from "../controller/guides.ts";
import { TEXT_COLUMN } from "../data/text_source.ts";
import { type Regrowth, REGROWTHS } from "../plasticity/regrow.ts";
import { completeOptions, number, type OptionRule, TEXT, whole } from "./option_rules.ts";
import { type DeviceChoice, DEVICES, EMBEDDED_MODEL } from "./options.ts";

/** The kinds of controller that can guide cycles. */
export const CONTROLLER_TYPES = Object.keys(CONTROLLERS) as readonly ControllerType[];

/** Everything that decides what an integrated run does. */
export interface IntegrationOptions {
  /** `embedded`, a GPT-2 of the hub by name, or the path or URL of a folder. */
  model_name: string;
  /** A text's name, or the path of a file or folder, as an experiment's `text`. */
  dataset: string;
  /** Which of a data set's configurations; empty for its first. In a folder, the folder below. */
  dataset_config: string;
  /** The column in which tables (JSON, CSV, TSV, Parquet) have their text. */
  text_column: string;
  /** Which adapter. */
  device: DeviceChoice;
  /** Folder in which the run gets a folder of its own. */
  output_dir: string;
  /** Cycles at most; fewer where they no longer pay. */
  max_cycles: number;
  /** AdamW's learning rate. */
  learning_rate: number;
  /** The controller's, in the first cycle; 0.9 times as much in each that follows. */
  controller_lr: number;
  /** Which controller. */
  controller_type: ControllerType;
  /** An earlier run's folder, or its `controller.json`, to begin with; empty for none. */
  controller_weights: string;
  /** Training steps after which `ann` and `rule` move gates within a cycle too; 0 for never. */
  update_frequency: number;
  /**
   * Share of the live heads that a cycle prunes where every head is active; the share of all heads
   * that are pruned or closed by then comes on top, up to 0.8 together. Under `static` outcomes change it instead.
   */
  pruning_level: number;
  /**
   * Share of the pruned heads that the first cycle grows. In the next ones it is 0.3 after a success
   * and 0.7 after a failure; under `static` outcomes change it instead.
   */
  growth_ratio: number;
  /** Tokens in a sequence. */
  sequence_length: number;
  /** Sequences that are computed at once. */
  batch_size: number;
  /** Parts of a step's batch, computed one after the other: it has `batch_size` times as many sequences. */
  gradient_accumulation_steps: number;
  /** Whether backward computes activations again rather than keep them: less memory, more time. */
  recompute: boolean;
  /** Optimizer steps in the first cycle. */
  training_steps: number;
  /** What grown heads begin with. */
  regrowth: Regrowth;
  /** Most that a cycle may raise the perplexity, as a share. */
  max_perplexity_increase: number;
  /** Highest mean degeneration score of generated text, 0 to 5. */
  max_degeneration_score: number;
  /** An earlier run's folder, or its `transformations.json`, to replay from; empty for none. */
  memory: string;
  /** Transformations that are remembered. */
  memory_capacity: number;
  /** Whether the model is saved after every cycle, not only the best. */
  cycle_models: boolean;
  /** Whether an unpruned twin and random pruning and growth run on the same batches. */
  controls: boolean;
  /** Validation tokens scored each time, 0 for all. */
  eval_tokens: number;
  /** Test tokens scored at the end, 0 for all. */
  test_tokens: number;
  /** Decides batches, choices and samples. */
  seed: number;
}

/** The options used where nothing else is said. */
export const INTEGRATION_DEFAULTS: IntegrationOptions = {
  model_name: EMBEDDED_MODEL,
  dataset: "moby_dick",
  dataset_config: "",
  text_column: TEXT_COLUMN,
  device: "auto",
  output_dir: "runs",
  max_cycles: 10,
  learning_rate: 3e-4,
  controller_lr: 0.01,
  controller_type: "ann",
  controller_weights: "",
  update_frequency: 50,
  pruning_level: 0.1,
  growth_ratio: 0.5,
  sequence_length: 64,
  batch_size: 4,
  gradient_accumulation_steps: 1,
  recompute: false,
  training_steps: 60,
  regrowth: "warm",
  max_perplexity_increase: 0.15,
  max_degeneration_score: 3,
  memory: "",
  memory_capacity: 5,
  cycle_models: true,
  controls: true,
  eval_tokens: 4096,
  test_tokens: 16384,
  seed: 42,
};

/** What each option must be. */
export const INTEGRATION_RULES: Readonly<Record<keyof IntegrationOptions, OptionRule>> = {
  model_name: TEXT,
  dataset: TEXT,
  dataset_config: { kind: "path" },
  text_column: TEXT,
  device: { kind: "choice", choices: DEVICES },
  output_dir: TEXT,
  max_cycles: whole(1, 1000),
  learning_rate: number({ above: 0, max: 1 }),
  controller_lr: number({ min: 0, max: 1 }),
  controller_type: { kind: "choice", choices: CONTROLLER_TYPES },
  controller_weights: { kind: "path" },
  update_frequency: whole(0),
  pruning_level: number({ min: 0, max: 0.8 }),
  growth_ratio: number({ min: 0, max: 1 }),
  sequence_length: whole(2, 65536),
  batch_size: whole(1, 4096),
  gradient_accumulation_steps: whole(1, 4096),
  recompute: { kind: "flag" },
  training_steps: whole(1),
  regrowth: { kind: "choice", choices: REGROWTHS },
  max_perplexity_increase: number({ min: 0 }),
  max_degeneration_score: number({ min: 0, max: 5 }),
  memory: { kind: "path" },
  memory_capacity: whole(1, 1000),
  cycle_models: { kind: "flag" },
  controls: { kind: "flag" },
  eval_tokens: whole(0),
  test_tokens: whole(0),
  seed: whole(0, Number.MAX_SAFE_INTEGER),
};

/**
 * Completes options by {@linkcode INTEGRATION_DEFAULTS} and checks all of them.
 *
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If a value is of the wrong kind, or an option unknown.
 */
export function checkIntegrationOptions(
  given: Partial<IntegrationOptions> = {},
): IntegrationOptions {
  return completeOptions(INTEGRATION_DEFAULTS, INTEGRATION_RULES, given);
}
