/**
 * Turns what a run measures into the lines of its records.
 *
 * @module
 */
import type { HeadMetrics } from "../controller/metrics.ts";
import {
  type Arm as ArmName,
  type EventRow,
  headCsvLine,
  type HeadRow,
  type MetricRow,
  type Phase,
} from "../record.ts";
import type { Arm } from "./arm.ts";
import type { RunFolder } from "./run_folder.ts";
import { toJson } from "../json.ts";

/** An event without what every event carries. */
export type EventBody = EventRow extends infer Row
  ? Row extends unknown ? Omit<Row, "step" | "time" | "cycle" | "arm"> : never
  : never;

/** Where a run stands, as far as its records say so. */
export interface Position {
  readonly step: number;
  readonly cycle: number;
  readonly tokensSeen: number;
  /** Seconds since the run began. */
  readonly elapsed: number;
}

/** What a metric row adds to an arm's standing. */
export type Measured = Partial<
  Pick<MetricRow, "loss" | "eval_loss" | "perplexity" | "learning_rate" | "grad_norm">
>;

/** Who is told of every row, once it is written. */
export interface RecordListeners {
  /** A line of `metrics.jsonl`. */
  onMetric?(row: MetricRow): void;
  /** A line of `events.jsonl`. */
  onEvent?(row: EventRow): void;
}

/** Appends to a run's logs. */
export class Recorder {
  readonly #folder: RunFolder;
  readonly #position: () => Position;
  readonly #listeners: RecordListeners;

  constructor(folder: RunFolder, position: () => Position, listeners: RecordListeners = {}) {
    this.#folder = folder;
    this.#position = position;
    this.#listeners = listeners;
  }

  /** A row of `metrics.jsonl` for an arm as it stands. */
  metric(arm: Arm, phase: Phase, measured: Measured, at: Partial<Position> = {}): MetricRow {
    const { step, cycle, tokensSeen } = { ...this.#position(), ...at };
    return {
      step,
      phase,
      arm: arm.name,
      cycle,
      sparsity: arm.sparsity,
      active_heads: arm.model.heads,
      tokens_seen: tokensSeen,
      ...measured,
    };
  }

  /** Writes rows of `metrics.jsonl`. */
  async metrics(rows: readonly MetricRow[]): Promise<void> {
    await this.#folder.append("metrics.jsonl", rows.map(line).join(""));
    for (const row of rows) this.#listeners.onMetric?.(row);
  }

  /** Writes a line of `events.jsonl`. */
  async event(event: EventBody, arm: ArmName = "pruned"): Promise<void> {
    const { step, cycle, elapsed } = this.#position();
    const time = Math.round(elapsed * 1e3) / 1e3;
    const row = { step, time, cycle, arm, ...event } as EventRow;
    await this.#folder.append("events.jsonl", line(row));
    this.#listeners.onEvent?.(row);
  }

  /** Writes every head's row of `heads.csv`: what was measured, its gate, and its score if any. */
  async heads(metrics: HeadMetrics, gates: Float32Array, scores?: Float32Array): Promise<void> {
    const { L, NH, live } = metrics;
    const { step, cycle } = this.#position();
    let lines = "";
    for (let layer = 0; layer < L; layer++) {
      for (let head = 0; head < NH; head++) {
        const i = layer * NH + head;
        const at = { step, cycle, layer, head };
        if (!live[layer].includes(head)) {
          lines += headCsvLine({ ...at, alive: 0 });
          continue;
        }
        const measured = {
          gate: gates[i],
          entropy_nats: metrics.entropyNats?.[i],
          entropy: metrics.entropy?.[i],
          first_key: metrics.firstKey?.[i],
          output_norm: metrics.outputNorm?.[i],
          grad_norm: metrics.gradNorm?.[i],
          gate_grad_abs: metrics.gateGradAbs?.[i],
          gate_grad_sq: metrics.gateGradSq?.[i],
          score: scores?.[i],
        };
        lines += headCsvLine({ ...at, alive: 1, ...measured } as HeadRow);
      }
    }
    await this.#folder.append("heads.csv", lines);
  }
}

function line(row: MetricRow | EventRow): string {
  return toJson(row) + "\n";
}
