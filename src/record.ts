/**
 * What a run writes, and nothing else: the types of `metrics.jsonl`, `events.jsonl`, `heads.csv`,
 * `results.json` and the other records of a run folder. Reports are drawn from these alone.
 * A value that was not measured is absent (or, in `heads.csv`, an empty cell), never a default.
 *
 * @module
 */

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
  phase: Phase;
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
  active_heads: number;
  /** Tokens trained on so far by this arm, warm-up included. */
  tokens_seen: number;
}

/** One line of `events.jsonl`. `time` is seconds since the run began. */
export type EventRow =
  & { step: number; time: number; cycle: number; arm: Arm }
  & (
    | { event: "phase"; phase: Phase }
    | { event: "stable"; reason: string }
    | {
      event: "prune";
      layer: number;
      head: number;
      strategy: string;
      /** The head's score when it was chosen: the lowest go first. */
      score: number;
      /** Its place in the ranking among live heads, 1 = first to go. */
      rank: number;
      of: number;
    }
    | { event: "checkpoint"; path: string }
    | { event: "resume"; path: string }
    | {
      event: "controller";
      active_heads: number;
      pruned_percent: number;
      controller_lr: number;
      mean_gate: number;
      plateau: boolean;
    }
  );

/** One row of `heads.csv`: one head at one moment of the pruned arm. */
export interface HeadRow {
  step: number;
  cycle: number;
  layer: number;
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
  cycle: number;
  /** Heads that this cycle removed, `[layer, head]`. */
  pruned_heads: [number, number][];
  active_heads: number;
  sparsity: number;
  /** Before this cycle's pruning. */
  loss_before: number;
  /** Right after pruning, before any fine-tuning. */
  loss_after_pruning: number;
  /** After this cycle's fine-tuning. */
  loss_after_finetuning: number;
  /** The unpruned twin at the same step, where controls ran. */
  unpruned_twin_loss?: number;
  /** Random pruning at the same step and level, where controls ran. */
  random_pruning_loss?: number;
}

/** `results.json`. Losses are nats per token on the test part, read once, unless named otherwise. */
export interface Results {
  /** After warm-up, before any pruning. */
  baseline_loss: number;
  baseline_perplexity: number;
  final_loss: number;
  final_perplexity: number;
  unpruned_twin_loss?: number;
  random_pruning_loss?: number;
  active_heads: number;
  total_heads: number;
  final_sparsity: number;
  pruned_heads: [number, number][];
  cycles: CycleResult[];
  /** The final model's loss on the same tokens in three forms that must agree. */
  masked_loss: number;
  compacted_loss: number;
  reloaded_loss: number;
  /** Tokens the pruned model was trained on, warm-up included. */
  tokens_seen: number;
  execution_time_s: number;
  seed: number;
}

/** One prompt of `samples.json`: the same prompt and seed, before and after. */
export interface Sample {
  prompt: string;
  seed: number;
  baseline: string;
  pruned: string;
}

/** `environment.json`: what the numbers were measured on. */
export interface EnvironmentRecord {
  adapter: string;
  driver: string;
  backend: string;
  software: boolean;
  os: string;
  deno: string;
  pollard: string;
  /** Matmul schedule picked for each kind of product on this adapter. */
  autotune: Record<string, string>;
  limits: Record<string, number>;
}

/** `data.json`: which text, by content hash, and how it was cut. */
export interface DataRecord {
  text: string;
  /** Hash of the text as read. */
  sha256: string;
  tokenizer_sha256: string;
  /** Tokens in each part, and where it lies in the whole: `[start, end)`. */
  parts: Record<"train" | "calibration" | "validation" | "test", { start: number; end: number }>;
}

/** Everything a report is drawn from. */
export interface RunRecord {
  config: Record<string, unknown>;
  environment: EnvironmentRecord;
  data: DataRecord;
  metrics: MetricRow[];
  events: EventRow[];
  heads: HeadRow[];
  samples?: Sample[];
  /** Absent while the run goes on, or where it did not finish. */
  results?: Results;
}

/** Writes `heads.csv`'s header line. */
export function headCsvHeader(): string {
  return HEAD_COLUMNS.join(",") + "\n";
}

/** Writes one line of `heads.csv`; what was not measured becomes an empty cell. */
export function headCsvLine(row: HeadRow): string {
  return HEAD_COLUMNS.map((column) => row[column] ?? "").join(",") + "\n";
}

/**
 * Reads `heads.csv`.
 *
 * @throws {SyntaxError} If the header is not ours, or a cell is not a number.
 */
export function parseHeadCsv(text: string): HeadRow[] {
  const [header, ...lines] = text.trimEnd().split("\n");
  if (header !== HEAD_COLUMNS.join(",")) {
    throw new SyntaxError(`Cannot parse heads.csv: unknown header: ${header}`);
  }
  return lines.map((line, index) => {
    const cells = line.split(",");
    const row: Record<string, number> = {};
    HEAD_COLUMNS.forEach((column, i) => {
      if (cells[i] === "") return;
      const value = Number(cells[i]);
      if (cells[i] === undefined || Number.isNaN(value)) {
        throw new SyntaxError(`Cannot parse heads.csv line ${index + 2}: ${column} is ${cells[i]}`);
      }
      row[column] = value;
    });
    return row as unknown as HeadRow;
  });
}

/**
 * Reads JSON Lines. A last line cut short by a killed run is left out.
 *
 * @throws {SyntaxError} If a line before the last is not JSON.
 */
export function parseJsonLines<Row>(text: string): Row[] {
  const lines = text.split("\n");
  const rows: Row[] = [];
  lines.forEach((line, index) => {
    if (line.trim() === "") return;
    try {
      rows.push(JSON.parse(line) as Row);
    } catch (error) {
      if (index === lines.length - 1) return;
      throw new SyntaxError(`Cannot parse line ${index + 1}: ${(error as Error).message}`);
    }
  });
  return rows;
}
