/**
 * What a step-by-step experiment is made from.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import type { Strategy } from "../plasticity/scores.ts";
import type { RunListeners } from "./experiment_state.ts";
import { checkOptions, type ExperimentOptions, type PruningModeName } from "./options.ts";

/** How heads to prune are chosen. */
export const PruningStrategy = {
  ENTROPY: "entropy",
  GRADIENT: "gradient",
  COMBINED: "combined",
  IMPORTANCE: "importance",
  MAGNITUDE: "magnitude",
  RANDOM: "random",
  FISHER: "fisher",
  OUTPUT_NORM: "output_norm",
  ORACLE: "oracle",
} as const satisfies Record<string, Strategy>;

/** What becomes of pruned heads: {@linkcode PruningModeName}. */
export const PruningMode = {
  ADAPTIVE: "adaptive",
  COMPRESSED: "compressed",
} as const satisfies Record<string, PruningModeName>;

/** What a {@linkcode NeuralPlasticityExperiment} is made from; all of it has defaults. */
export interface ExperimentConfig extends RunListeners {
  /** `embedded`, a GPT-2 of the hub by name, or the path or URL of a folder. */
  modelName?: string;
  /** A text's name, or the path of a file or folder, as an experiment's `text`. */
  dataset?: string;
  /** Folder in which the run gets a folder of its own. */
  outputDir?: string;
  /** What that is called after the time; the model's name unless given. */
  runName?: string;
  /**
   * The run's own folder, in place of `outputDir` and `runName`: made where it is not there. Where it holds this
   * experiment already, finished or not, it goes on from its last checkpoint: steps that were done return
   * what they returned.
   */
  runDir?: string;
  /** Sequences in a batch. */
  batchSize?: number;
  /** Tokens in a sequence. */
  maxLength?: number;
  /** Share of all heads that each pruning cycle removes, 0 to 1. */
  pruningLevel?: number;
  /** How they are chosen. */
  pruningStrategy?: Strategy;
  /** Whether pruned heads may come back; {@linkcode PruningMode}. */
  pruningMode?: PruningModeName;
  /** AdamW's highest learning rate. */
  learningRate?: number;
  /** Whether what happens is told on stderr. */
  verbose?: boolean;
  /** Any other option, by its name on the command line. */
  options?: Partial<ExperimentOptions>;
  /** The device; one of its own is opened, and closed at the end, unless given. */
  gpu?: Gpu;
}

/** Every key there is: what a misspelled one asked for would else not be done, and not be said. */
const CONFIG_KEYS: Record<keyof ExperimentConfig, true> = {
  ...{ modelName: true, dataset: true, outputDir: true, runName: true, runDir: true },
  ...{ batchSize: true, maxLength: true, learningRate: true, verbose: true, options: true },
  ...{ pruningLevel: true, pruningStrategy: true, pruningMode: true, gpu: true, signal: true },
  ...{ onProgress: true, onMessage: true, onDetail: true, onMetric: true, onEvent: true },
};

/**
 * The options that a configuration asks for.
 *
 * @throws {RangeError} If a number is out of range.
 * @throws {TypeError} If a key or an option is unknown, a value of the wrong kind, or the run's folder
 *   given in two ways.
 */
export function configured(config: ExperimentConfig): ExperimentOptions {
  for (const key of Object.keys(config)) {
    if (!Object.hasOwn(CONFIG_KEYS, key)) {
      throw new TypeError(
        `unknown key ${key}: give one of ${Object.keys(CONFIG_KEYS).join(", ")}; others, such as ` +
          "the seed, in options",
      );
    }
  }
  const { runDir, outputDir, runName } = config;
  if (runDir !== undefined && (outputDir ?? runName) !== undefined) {
    throw new TypeError(
      "runDir is the run's own folder; outputDir and runName are for one that is made: give one way",
    );
  }
  return checkOptions({
    ...config.options,
    ...given({
      model_name: config.modelName,
      text: config.dataset,
      output_dir: config.outputDir,
      batch_size: config.batchSize,
      max_length: config.maxLength,
      pruning_level: config.pruningLevel,
      strategy: config.pruningStrategy,
      pruning_mode: config.pruningMode,
      learning_rate: config.learningRate,
    }),
  });
}

/** Those that are not undefined. */
function given<Values extends object>(values: Values): Partial<Values> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<Values>;
}
