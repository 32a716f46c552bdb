/**
 * The cycles of a run, as `results.json` lists them or, where the run has not finished, as its logs
 * show them.
 *
 * @module
 */
import type { CycleResult, EventRow, MetricRow, Phase, RunRecord } from "../record.ts";
import { measured } from "./theme.ts";

/** The cycles that have ended, in the order they went. */
export function cyclesOf(run: RunRecord): CycleResult[] {
  if (run.results?.cycles) return run.results.cycles;
  const events = run.events.filter(({ arm }) => arm === "pruned");
  const numbers = new Set(events.filter(isPruning).map(({ cycle }) => cycle));
  return [...numbers].sort((a, b) => a - b)
    .filter((cycle) => events.some((row) => row.cycle > cycle || isEvaluation(row)))
    .flatMap((cycle) => cycleOf(run, cycle) ?? []);
}

const isPruning = (row: EventRow) => row.event === "phase" && row.phase === "pruning";
const isEvaluation = (row: EventRow) => row.event === "phase" && row.phase === "evaluation";

function cycleOf(run: RunRecord, cycle: number): CycleResult | undefined {
  const last = (arm: MetricRow["arm"], of: number, ...phases: Phase[]) =>
    run.metrics.findLast((row) =>
      row.arm === arm && row.cycle === of && phases.includes(row.phase) && measured(row.eval_loss)
    );
  const before = last("pruned", cycle - 1, "warmup", "finetuning");
  const after = last("pruned", cycle, "pruning");
  const end = last("pruned", cycle, "finetuning");
  if (!before || !after || !end) return undefined; // not measured, so there is nothing to tell
  const twin = last("unpruned_twin", cycle, "finetuning");
  const random = last("random_pruning", cycle, "finetuning");
  const heads = (event: "prune" | "grow") =>
    run.events.flatMap((row): [number, number][] =>
      row.event === event && row.arm === "pruned" && row.cycle === cycle
        ? [[row.layer, row.head]]
        : []
    );
  return {
    cycle,
    pruned_heads: heads("prune"),
    ...(run.config.pruning_mode === "adaptive" && { revived_heads: heads("grow") }),
    active_heads: after.active_heads,
    sparsity: after.sparsity,
    loss_before: before.eval_loss!,
    loss_after_pruning: after.eval_loss!,
    loss_after_finetuning: end.eval_loss!,
    training_steps: end.step - after.step,
    ...(twin && { unpruned_twin_loss: twin.eval_loss }),
    ...(random && { random_pruning_loss: random.eval_loss }),
  };
}
