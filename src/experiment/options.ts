/**
 * The options of an experiment: their types, defaults and ranges. Names are those of the command
 * line and of the run's records.
 *
 * @module
 */
import { TEXT_COLUMN } from "../data/text_source.ts";
import { type Strategy, STRATEGY_NAMES } from "../plasticity/scores.ts";
import { completeOptions, number, type OptionRule, TEXT, whole } from "./option_rules.ts";

/** What `device` may be. */
export const DEVICES = ["auto", "gpu", "cpu"] as const;

/**
 * Which adapter to run on: `auto` takes the one that WebGPU prefers, `gpu` refuses a software
 * adapter, `cpu` asks for one.
 */
export type DeviceChoice = typeof DEVICES[number];

/** The model that comes with Pollard, as `model_name`. */
export const EMBEDDED_MODEL = "embedded";

/** What `pruning_mode` may be. */
export const PRUNING_MODES = ["compressed", "adaptive"] as const;

/**
 * `compressed`: pruned heads are gone for good. `adaptive`: they are kept aside, and come back in a
 * later cycle where opening them would lower the loss; as many others go in their place.
 */
export type PruningModeName = typeof PRUNING_MODES[number];

/** All that decides what an experiment does: the same options and adapter give the same bits. */
export interface ExperimentOptions {
  /** `embedded`, a GPT-2 of the hub by name, or the path or URL of a folder. */
  readonly model_name: string;
  /**
   * `moby_dick`, `tiny_shakespeare` or `wikitext`, the path of a text, JSON, CSV, TSV or Parquet file, or
   * of a folder of files called after their splits.
   */
  readonly text: string;
  /** Which of a data set's configurations; empty for its first. In a folder, the folder below. */
  readonly dataset_config: string;
  /** The column in which tables (JSON, CSV, TSV, Parquet) have their text. */
  readonly text_column: string;
  /** Which adapter to run on. */
  readonly device: DeviceChoice;
  /** Sequences that are computed at once. */
  readonly batch_size: number;
  /** Parts of a step's batch, computed one after the other: it has `batch_size` times as many sequences. */
  readonly gradient_accumulation_steps: number;
  /** Whether backward computes activations again rather than keep them: less memory, more time. */
  readonly recompute: boolean;
  /** Tokens in a sequence; at most the model's context. */
  readonly max_length: number;
  /** Decides batches, samples and random pruning. */
  readonly seed: number;
  /** AdamW's highest rate. */
  readonly learning_rate: number;
  /**
   * Optimizer steps over which the learning rate falls to a tenth; 0 for all that are planned. Step by
   * step nothing is planned: then 0 holds it.
   */
  readonly training_steps: number;
  /** Most optimizer steps before the first pruning; fewer where the loss is stable earlier. */
  readonly warmup_steps: number;
  /** Losses that are looked at to call the warm-up stable. */
  readonly stability_window: number;
  /** Optimizer steps after each pruning. */
  readonly finetuning_steps: number;
  /** Optimizer steps from one validation to the next. */
  readonly eval_freq: number;
  /** Validation tokens scored at each look; 0 for all there are. */
  readonly eval_tokens: number;
  /** Test tokens scored at the end; 0 for all there are. */
  readonly test_tokens: number;
  /** Share of heads that are gone at the end. */
  readonly pruning_level: number;
  /** Times to prune and fine-tune. */
  readonly cycles: number;
  /** Which heads go first. */
  readonly strategy: Strategy;
  /** Whether pruned heads are gone for good, or may come back where they look worth it. */
  readonly pruning_mode: PruningModeName;
  /** Whether pruned heads leave their mean outputs in `c_proj.bias`; only where they are gone for good. */
  readonly fold_means: boolean;
  /** L1 weight of the controller's gates. */
  readonly controller_reg_weight: number;
  /** Optimizer steps from one update of the controller to the next. */
  readonly controller_update_freq: number;
  /** Whether the unpruned twin and random pruning run too. */
  readonly controls: boolean;
  /** The folder in which the run gets a folder of its own. */
  readonly output_dir: string;
}

/** The defaults: the embedded model on the embedded text. */
export const DEFAULTS: ExperimentOptions = Object.freeze({
  model_name: EMBEDDED_MODEL,
  text: "moby_dick",
  dataset_config: "",
  text_column: TEXT_COLUMN,
  device: "auto",
  batch_size: 4,
  gradient_accumulation_steps: 1,
  recompute: false,
  max_length: 64,
  seed: 42,
  learning_rate: 3e-4,
  training_steps: 0,
  warmup_steps: 60,
  stability_window: 20,
  finetuning_steps: 60,
  eval_freq: 20,
  eval_tokens: 4096,
  test_tokens: 16384,
  pruning_level: 0.3,
  cycles: 3,
  strategy: "importance",
  pruning_mode: "compressed",
  fold_means: false,
  controller_reg_weight: 1e-4,
  controller_update_freq: 10,
  controls: true,
  output_dir: "runs",
});

/** The rule of every option. */
export const OPTION_RULES: Readonly<Record<keyof ExperimentOptions, OptionRule>> = {
  model_name: TEXT,
  text: TEXT,
  dataset_config: { kind: "path" },
  text_column: TEXT,
  device: { kind: "choice", choices: DEVICES },
  batch_size: whole(1, 4096),
  gradient_accumulation_steps: whole(1, 4096),
  recompute: { kind: "flag" },
  max_length: whole(2, 65536), // a sequence of one token has no row whose entropy counts
  seed: whole(0, Number.MAX_SAFE_INTEGER),
  learning_rate: number({ above: 0, max: 1 }),
  training_steps: whole(0),
  warmup_steps: whole(0),
  stability_window: whole(4), // see detectStability
  finetuning_steps: whole(0),
  eval_freq: whole(1),
  eval_tokens: whole(0),
  test_tokens: whole(0),
  pruning_level: number({ min: 0, max: 1 }),
  cycles: whole(1, 1000),
  strategy: { kind: "choice", choices: STRATEGY_NAMES },
  pruning_mode: { kind: "choice", choices: PRUNING_MODES },
  fold_means: { kind: "flag" },
  controller_reg_weight: number({ min: 0 }),
  controller_update_freq: whole(1),
  controls: { kind: "flag" },
  output_dir: TEXT,
};

/** Sequences in a step's batch. */
export function stepBatch(
  { batch_size, gradient_accumulation_steps }: Pick<
    ExperimentOptions,
    "batch_size" | "gradient_accumulation_steps"
  >,
): number {
  return batch_size * gradient_accumulation_steps;
}

/**
 * Completes options by {@linkcode DEFAULTS} and checks all of them. What depends on the model or the
 * text (a context shorter than `max_length`, say) is checked where those are loaded.
 *
 * @param options Those that differ from the defaults; `undefined` counts as not given.
 * @returns Every option, frozen.
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If a value is of the wrong kind, an option unknown, or two contradict each other.
 */
export function checkOptions(options: Partial<ExperimentOptions> = {}): ExperimentOptions {
  const complete = completeOptions(DEFAULTS, OPTION_RULES, options);
  checkFolding(complete);
  return complete;
}

/**
 * Checks that means are folded only where pruned heads cannot come back: one that did would count
 * twice.
 *
 * @throws {TypeError} If not.
 */
export function checkFolding(
  { fold_means, pruning_mode }: Pick<ExperimentOptions, "fold_means" | "pruning_mode">,
): void {
  if (!fold_means || pruning_mode === "compressed") return;
  throw new TypeError(
    `fold_means needs pruned heads that are gone for good: pruning_mode ${pruning_mode} may bring ` +
      "them back; say compressed, or leave fold_means out",
  );
}
