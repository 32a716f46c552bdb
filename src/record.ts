/**
 * What a run writes, and nothing else: the types of `metrics.jsonl`, `events.jsonl`, `heads.csv`,
 * `results.json` and the other records of a run folder. Reports are drawn from these alone.
 * A value that was not measured is absent (or, in `heads.csv`, an empty cell), never a default.
 *
 * @module
 */

import { fromJson } from "./json.ts";
import type { IntegrationCycle, IntegrationResults, MemoryRecord } from "./cycle_record.ts";
export type * from "./cycle_record.ts";
export type * from "./speed_record.ts";

/** The phases of an experiment, in the order they come. */
export type Phase = "warmup" | "analysis" | "pruning" | "finetuning" | "evaluation";

/**
 * Which model a row is about: the one under study, or one of its two controls, which get the same
 * batches and steps from the same post-warm-up state.
 */
export type Arm = "pruned" | "unpruned_twin" | "random_pruning";

/** One line of `metrics.jsonl`. Training rows carry `loss`; evaluation rows carry `eval_loss`. */
export interface MetricRow {
  /** Optimizer steps taken since the run began; one axis for every arm. */
  step: number;
  /** What the run was doing. */
  phase: Phase;
  /** The model that was measured. */
  arm: Arm;
  /** 0 during warm-up, then 1, 2, ... */
  cycle: number;
  /** Mean training loss of this step's batch, in nats per token. */
  loss?: number;
  /** Mean validation loss, in nats per token. */
  eval_loss?: number;
  /** exp(eval_loss). */
  perplexity?: number;
  /** Learning rate of this step. */
  learning_rate?: number;
  /** Global L2 norm of the gradient, before clipping. */
  grad_norm?: number;
  /** Share of heads that are not computed, 0 to 1. */
  sparsity: number;
  /** Heads that are computed, over all layers. */
  active_heads: number;
  /** Tokens trained on so far by this arm, warm-up included. */
  tokens_seen: number;
}

/**
 * One line of `events.jsonl`. `step` counts optimizer steps, `time` the seconds that the run has been
 * at work (not those between being stopped and resumed), and paths are relative to the run folder.
 */
export type EventRow =
  & { step: number; time: number; cycle: number; arm: Arm }
  & (
    | { event: "phase"; phase: Phase }
    | { event: "stable"; reason: string }
    | {
      event: "prune";
      layer: number;
      head: number;
      /** What it was scored by: `entropy`, `random`, ... */
      strategy: string;
      /** The head's score when it was chosen: the lowest go first. */
      score: number;
      /** Its gate then, where a controller had one; at or under 0.1 it goes whatever its score. */
      gate?: number;
      /** Its place in the ranking among live heads, 1 = first to go. */
      rank: number;
      /** Live heads when it was chosen. */
      of: number;
    }
    | {
      event: "grow";
      layer: number;
      head: number;
      /** What it was scored by: `gradient_sensitivity`, `random`, ... */
      strategy: string;
      /** What it begins with: its own weights, a donor's, or fresh ones. */
      regrowth: "warm" | "donor" | "fresh";
      /** The head's score when it was chosen: the highest come first. */
      score: number;
      /** Its place in the ranking among pruned heads, 1 = first to come. */
      rank: number;
      /** Pruned heads when it was chosen. */
      of: number;
    }
    /** The run ended early by an error; cut off again when the run continues. */
    | { event: "failed"; reason: string }
    /** A plasticity cycle was undone: every arm is what it was before it. */
    | { event: "rollback"; reason: string }
    | { event: "checkpoint"; path: string }
    | {
      event: "resume";
      path: string;
      /** The adapter that the run goes on with, and how matrix products are cut there. */
      adapter: string;
      matmul: string;
    }
    | {
      event: "controller";
      /** Heads whose gate is above the controller's active threshold, after the update. */
      active_heads: number;
      /** The others of all the full model's heads, pruned ones among them, in percent. */
      pruned_percent: number;
      /** The controller's own learning rate at this update. */
      controller_lr: number;
      /** Mean gate of the live heads, 0 to 1. */
      mean_gate: number;
      /** Whether the gates have stood still for so long that updates stop until the next cycle. */
      plateau: boolean;
    }
  );

/** One row of `heads.csv`: one head at one moment of the pruned arm. */
export interface HeadRow {
  /** Optimizer steps taken before it was measured. */
  step: number;
  /** The pruning cycle: 1, 2, ... */
  cycle: number;
  /** Layer, from 0. */
  layer: number;
  /** Head in the full model's layer, from 0. */
  head: number;
  /** 1 while the head is computed, 0 once pruned. */
  alive: 0 | 1;
  /** Sigmoid of the controller's logit; what the head's output is multiplied by. */
  gate?: number;
  /** Mean attention entropy of a row, in nats, first row left out. */
  entropy_nats?: number;
  /** The same, each row divided by the ln of the keys it sees: 0 (one key) to 1 (uniform). */
  entropy?: number;
  /** Mean attention weight on the first key, first row left out. */
  first_key?: number;
  /** Mean L2 norm of the head's output before the gate. */
  output_norm?: number;
  /** L2 norm of the gradient of the head's q, k, v and output-projection weights. */
  grad_norm?: number;
  /** Mean over sequences of |d loss / d gate|. */
  gate_grad_abs?: number;
  /** Mean over sequences of (d loss / d gate)^2. */
  gate_grad_sq?: number;
  /** The pruning score, where this row is the analysis that a cycle pruned by. */
  score?: number;
}

/** Columns of `heads.csv`, in order. */
export const HEAD_COLUMNS = [
  "step",
  "cycle",
  "layer",
  "head",
  "alive",
  "gate",
  "entropy_nats",
  "entropy",
  "first_key",
  "output_norm",
  "grad_norm",
  "gate_grad_abs",
  "gate_grad_sq",
  "score",
] as const satisfies readonly (keyof HeadRow)[];

/** What one pruning cycle did, measured on validation text. */
export interface CycleResult {
  /** 1, 2, ... */
  cycle: number;
  /** Heads that this cycle removed, `[layer, head]`. */
  pruned_heads: [number, number][];
  /** Heads that came back in it, where the pruning mode is adaptive. */
  revived_heads?: [number, number][];
  /** Heads that are computed after it, over all layers. */
  active_heads: number;
  /** Share of the full model's heads that are gone after it, 0 to 1. */
  sparsity: number;
  /** Validation loss before this cycle's pruning, in nats per token. */
  loss_before: number;
  /** The same right after pruning, before any fine-tuning. */
  loss_after_pruning: number;
  /** The same after this cycle's fine-tuning. */
  loss_after_finetuning: number;
  /** Optimizer steps of its fine-tuning. */
  training_steps: number;
  /** The unpruned twin's, after the same fine-tuning steps, where controls ran. */
  unpruned_twin_loss?: number;
  /** Random pruning's, after the same steps and at the same level, where controls ran. */
  random_pruning_loss?: number;
}

/**
 * `results.json`. Losses are nats per token, all on the same tokens of the test part, which is read
 * at the end only, unless named otherwise. What pruning did shows in `final_loss` against
 * `unpruned_twin_loss`, not against `baseline_loss`: training alone lowers the loss.
 */
export interface Results {
  /** Loss after warm-up, before any pruning. */
  baseline_loss: number;
  /** exp(baseline_loss). */
  baseline_perplexity: number;
  /** Loss of the pruned model after the last fine-tuning; the same as `compacted_loss`. */
  final_loss: number;
  /** exp(final_loss). */
  final_perplexity: number;
  /** Loss of the control that was trained on the same batches and never pruned, where it ran. */
  unpruned_twin_loss?: number;
  /** Loss of the control from which as many heads were pruned at random, where it ran. */
  random_pruning_loss?: number;
  /** Heads that the pruned model computes, over all layers. */
  active_heads: number;
  /** Heads of the full model, L * NH. */
  total_heads: number;
  /** Share of the full model's heads that are gone, 0 to 1. */
  final_sparsity: number;
  /** Every head that the run removed and that did not come back, in the order they went. */
  pruned_heads: [number, number][];
  /** What each cycle did, on validation text. */
  cycles: CycleResult[];
  /**
   * Whether it ran as its options plan; else step by step, where the learning rate stays unless
   * `training_steps` was given, and `pruning_level` is each cycle's share.
   */
  planned: boolean;
  /** Loss with every head computed, and the gates of pruned ones at 0; agrees with the next two. */
  masked_loss: number;
  /** Loss with pruned heads not computed: the model as it was trained. */
  compacted_loss: number;
  /** Loss of the model saved in `model/`, gates folded into its weights, and loaded again. */
  reloaded_loss: number;
  /** Tokens the pruned model was trained on, warm-up included. */
  tokens_seen: number;
  /** Seconds that the run was at work, before this file was written. */
  execution_time_s: number;
  /** The seed that decided batches, samples and random pruning. */
  seed: number;
}

/** One prompt of `samples.json`: the same prompt and seed, before and after. */
export interface Sample {
  /** Text from the test part that both models went on from. */
  prompt: string;
  /** The seed of the draws, the same for both. */
  seed: number;
  /** What the model wrote after warm-up, before any pruning; without the prompt. */
  baseline: string;
  /** What the final model wrote; without the prompt. */
  pruned: string;
}

/** `environment.json`: what the numbers were measured on. */
export interface EnvironmentRecord {
  /** The adapter's name as the driver gives it. */
  adapter: string;
  /** The adapter's maker: a number of the PCI registry, or of Vulkan's own. Older runs do not have it. */
  vendor?: string;
  /** What the adapter's name and identifiers say of the driver; WebGPU reports no version. */
  driver: string;
  /** `DENO_WEBGPU_BACKEND`, where it was set: `vulkan`, `gl`, ... */
  backend: string;
  /** Whether the adapter computes on the CPU. */
  software: boolean;
  /** System, architecture and kernel release. */
  os: string;
  /** Version of Deno. */
  deno: string;
  /** Version of Pollard. */
  pollard: string;
  /** How matrix products are cut on this adapter, and how that was picked. */
  autotune: Record<string, string>;
  /** Those WebGPU limits of the device that decide what fits, by their names there. */
  limits: Record<string, number>;
}

/** `data.json`: which text, by content hash, and how it was cut. */
export interface DataRecord {
  /** The text's name, or its path. */
  text: string;
  /** Which of a data set's configurations; absent where it has none. */
  dataset_config?: string;
  /** The column whose rows are the text; absent where files hold nothing but text. */
  text_column?: string;
  /**
   * SHA-256 of the text's bytes as read, in hexadecimal; where it is in several files, of their
   * hashes, joined by line feeds.
   */
  sha256: string;
  /** The files of each split, in order; absent where the text has no splits of its own. */
  files?: { split: string; file: string; sha256: string }[];
  /** SHA-256 of the parsed `tokenizer.json`, written without blanks, in hexadecimal. */
  tokenizer_sha256: string;
  /** SHA-256 of the model's configuration and weights (F32, in the order of their names), in hexadecimal. */
  model_sha256: string;
  /** Where on the Hugging Face hub the model came from; absent for one that did not. */
  hub_model?: {
    /** `owner/name`. */
    repo: string;
    /** The branch, tag or commit that was asked for. */
    revision: string;
    /** The commit that it stood for: 40 hexadecimal digits. */
    commit: string;
  };
  /** The same of a data set. */
  hub_dataset?: { repo: string; revision: string; commit: string };
  /** Tokens in each part, and where it lies in the whole, or in its split: `[start, end)`. */
  parts: Record<
    "train" | "calibration" | "validation" | "test",
    { split?: string; start: number; end: number }
  >;
}

/** One strategy in a {@linkcode BakeoffRecord}. */
export interface BakeoffStrategy {
  /** What `--strategy` calls it. */
  name: string;
  /** What it does, in a line. */
  description: string;
  /** Spearman's correlation of its ranking of heads with `validation_loss_without`, -1 to 1; a mean where drawn. */
  correlation: number;
  /** Validation loss after removing as many heads as `removed` says, nats per token; means where drawn. */
  losses: number[];
  /** How often it was drawn, where chance decides. */
  draws?: number;
  /** The lowest of the draws. */
  least?: number[];
  /** The highest of the draws. */
  most?: number[];
  /** Its score of every head, lowest pruned first; of the first draw. */
  scores: number[];
}

/** `bakeoff.json`: how far each pruning score can be trusted on a model. */
export interface BakeoffRecord {
  /** Every option. */
  options: Record<string, unknown>;
  /** What the numbers were measured on. */
  environment: EnvironmentRecord;
  /** Which text, and how it was cut. */
  data: DataRecord;
  /** Heads of the full model. */
  total_heads: number;
  /** The heads that were scored, `[layer, head]`. */
  heads: [number, number][];
  /** Loss of the whole model on calibration text, on which heads are scored. */
  calibration_loss: number;
  /** Loss of the whole model on validation text, on which rankings and removals are judged. */
  loss: number;
  /** Calibration loss without each head, in the order of `heads`: the oracle's scores. */
  loss_without: number[];
  /** The same on validation text: what rankings are compared with. */
  validation_loss_without: number[];
  /** Shares of the heads that were removed. */
  levels: number[];
  /** How many heads that is, for each of them. */
  removed: number[];
  /** Every strategy, in the order of `--help`. */
  strategies: BakeoffStrategy[];
  /** Wall time. */
  execution_time_s: number;
}

/** What the measured speed of a compact model is called in its folder. */
export const SPEED_FILE = "speed.json";

/** What wrote a run folder, and can go on with it. */
export type RunKind = "experiment" | "integration";

/** How one run of a sweep stands. */
export type SweepState = "waiting" | "running" | "stopped" | "finished" | "failed";

/** One run of a sweep's plan. */
export interface SweepPlanRun {
  /** Which heads go first. */
  strategy: string;
  /** Share of heads that are gone at its end, 0 to 1. */
  pruning_level: number;
  /** Decides batches, samples and random pruning. */
  seed: number;
  /** The name of its run folder, inside the sweep's. */
  folder: string;
}

/** One run of a sweep, and how it stands: its folder tells. */
export interface SweepRun extends SweepPlanRun {
  /** `running` while a process holds the folder's lock; `stopped` was stopped or killed. */
  state: SweepState;
  /** Why it failed, or who is running it. */
  message?: string;
}

/** `sweep.json`: the plan of a sweep. How far it is, the folders of its runs tell. */
export interface SweepRecord {
  /** Of this file. */
  format: number;
  /** When it began, as `Date.toISOString()` writes it. */
  created: string;
  /** The options that all runs share, and the lists that make the grid. */
  options: Record<string, unknown>;
  /** Every run, in the order they are run. */
  runs: SweepPlanRun[];
}

/** What a sweep's plan is called in its folder. */
export const SWEEP_FILE = "sweep.json";

/** The mean of independent values, and how sure it is. */
export interface Estimate {
  /** How many values there are. */
  n: number;
  /** Their mean. */
  mean: number;
  /** The least of them. */
  least: number;
  /** The greatest of them. */
  most: number;
  /** Standard deviation of the sample (n - 1); absent for one value, as all that follows. */
  deviation?: number;
  /** Standard error of the mean: the deviation over the square root of n. */
  error?: number;
  /** 95 % confidence interval of the mean, by Student's t with n - 1 degrees of freedom. */
  interval?: [low: number, high: number];
}

/** A difference that was measured within each seed; see {@linkcode Estimate}. */
export interface PairedDifference extends Estimate {
  /** Whether zero lies in its interval: then it is smaller than its error. */
  smaller_than_error?: boolean;
}

/** All runs of a comparison with one strategy, level and configuration. Losses: test, nats per token. */
export interface ComparedGroup {
  /** The strategy, with the letter of its configuration if there are several. */
  strategy: string;
  /** Share of heads that was to go; absent for integrated runs. */
  level?: number;
  /** Mean share of heads that are gone. */
  removed: number;
  /** A seed that ran several times counts once, with the mean of its runs. */
  seeds: number[];
  /** Losses of the pruned models. */
  pruned: Estimate;
  /** Losses of their unpruned twins. */
  unpruned_twin: Estimate;
  /** Losses of random pruning; absent where none ran beside it. */
  random_pruning?: Estimate;
  /** Each run's loss minus its own twin's. */
  pruned_minus_twin: PairedDifference;
  /** Each run's loss minus that of the random pruning in it. */
  pruned_minus_random?: PairedDifference;
}

/** A run that a comparison leaves out. */
export interface UncomparedRun {
  /** Its folder, relative to the page's, or its name in the plan. */
  run: string;
  /** `unfinished`, `failed`, `waiting`, or `finished` if it has no twin. */
  state: string;
  /** Why. */
  reason?: string;
}

/** `comparison.json`: what the page of a comparison says, for programs. */
export interface ComparisonRecord {
  /** Of this file. */
  format: number;
  /** What the page says first. */
  verdict: string[];
  /** The runs of each strategy, level and configuration. */
  groups: ComparedGroup[];
  /** The adapters of the compared runs, each with its number of runs. */
  adapters: Record<string, number>;
  /** Runs that cannot be compared. */
  left_out: UncomparedRun[];
}

/** What that is called. */
export const COMPARISON_FILE = "comparison.json";

/** What marks a folder as a run of ours: `{ format, kind, created }`. */
export const RUN_MARK = "pollard-run.json";

/** What a run's mark says about it; nothing of it decides what is computed. */
export interface AboutRun {
  /** What the user calls it; the name of its folder unless given. */
  name?: string;
  /** When it began, as `Date.toISOString()` writes it. */
  created?: string;
  /** The command line that it was started by; absent where a program started it. */
  command?: string;
  /** The names of the options that differ from the defaults of that time. */
  changed?: string[];
}

/** Everything a report is drawn from. */
export interface RunRecord {
  /** What `pollard-run.json` says about the run; absent in folders without one. */
  about?: AboutRun;
  /** `config.json`: every option of the run. */
  config: Record<string, unknown>;
  /** `environment.json`. */
  environment: EnvironmentRecord;
  /** `data.json`. */
  data: DataRecord;
  /** `metrics.jsonl`, in the order of its lines. */
  metrics: MetricRow[];
  /** `events.jsonl`, in the order of its lines. */
  events: EventRow[];
  /** `heads.csv`, in the order of its lines. */
  heads: HeadRow[];
  /** `samples.json`; absent until the run finishes. */
  samples?: Sample[];
  /** Absent while the run goes on, or where it did not finish. */
  results?: Results;
}

/** Everything the page of an integrated run is drawn from. */
export interface IntegrationRecord {
  /** What `pollard-run.json` says about the run. */
  about?: AboutRun;
  /** `config.json`: every option of the run. */
  config: Record<string, unknown>;
  /** `environment.json`. */
  environment: EnvironmentRecord;
  /** `data.json`. */
  data: DataRecord;
  /** `cycles.jsonl`, in the order of its lines. */
  cycles: IntegrationCycle[];
  /** `metrics.jsonl`, in the order of its lines. */
  metrics: MetricRow[];
  /** `events.jsonl`, in the order of its lines. */
  events: EventRow[];
  /** `heads.csv`, in the order of its lines. */
  heads: HeadRow[];
  /** `memory/transformations.json`: what the run knew at its end, of earlier runs or its own. */
  memory?: MemoryRecord;
  /** Absent while the run goes on, or where it did not finish. */
  results?: IntegrationResults;
}

/** Writes `heads.csv`'s header line. */
export function headCsvHeader(): string {
  return HEAD_COLUMNS.join(",") + "\n";
}

/** Writes one line of `heads.csv`; what was not measured, or is no number, becomes an empty cell. */
export function headCsvLine(row: HeadRow): string {
  const cell = (value: number | undefined) => Number.isFinite(value) ? value : "";
  return HEAD_COLUMNS.map((column) => cell(row[column])).join(",") + "\n";
}

/**
 * Reads `heads.csv`.
 *
 * @throws {SyntaxError} If the header is not ours, or a cell is not a number.
 */
export function parseHeadCsv(text: string): HeadRow[] {
  return [...eachHeadCsvRow(text)].map(({ value }) => value as unknown as HeadRow);
}

/** The rows of `heads.csv`, each with its line, counted from 1; empty cells have no key. */
export function* eachHeadCsvRow(
  text: string,
): Generator<{ value: Record<string, number>; line: number }> {
  const [header, ...lines] = text.trimEnd().split("\n");
  if (header !== HEAD_COLUMNS.join(",")) {
    throw new SyntaxError(`Cannot parse line 1: unknown header: ${header.slice(0, 200)}`);
  }
  for (const [index, text] of lines.entries()) {
    const line = index + 2, cells = text.split(",");
    if (cells.length !== HEAD_COLUMNS.length) {
      throw new SyntaxError(
        `Cannot parse line ${line}: it has ${cells.length} cells, not ${HEAD_COLUMNS.length}`,
      );
    }
    const value: Record<string, number> = {};
    HEAD_COLUMNS.forEach((column, i) => {
      // Earlier versions wrote these where a measurement was no number.
      if (["", "NaN", "Infinity", "-Infinity"].includes(cells[i])) return;
      value[column] = cells[i].trim() === "" ? NaN : Number(cells[i]);
      if (!Number.isFinite(value[column])) {
        throw new SyntaxError(
          `Cannot parse line ${line}: ${column} is ${JSON.stringify(cells[i])}, not a number`,
        );
      }
    });
    yield { value, line };
  }
}

/**
 * Reads JSON Lines. A last line cut short by a killed run is left out.
 *
 * @throws {SyntaxError} If a line before the last is not JSON.
 */
export function parseJsonLines<Row>(text: string): Row[] {
  return [...eachJsonLine(text)].map(({ value }) => value as Row);
}

/** The rows of JSON Lines, each with its line, counted from 1; see {@linkcode parseJsonLines}. */
export function* eachJsonLine(text: string): Generator<{ value: unknown; line: number }> {
  const lines = text.split("\n");
  for (const [index, text] of lines.entries()) {
    if (text.trim() === "") continue;
    let value: unknown;
    try {
      value = fromJson(text);
    } catch (error) {
      if (index === lines.length - 1) return;
      throw new SyntaxError(`Cannot parse line ${index + 1}: ${(error as Error).message}`);
    }
    yield { value, line: index + 1 };
  }
}
