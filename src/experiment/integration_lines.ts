/**
 * What an integrated run tells while it goes on.
 *
 * @module
 */
import type { IntegrationCycle } from "../record.ts";
import type { RecordListeners } from "./recorder.ts";

/** Who is told. */
export interface IntegrationListeners extends RecordListeners {
  /** A line for the terminal. */
  onMessage?(line: string): void;
  /** Stops the loading of model and text; a run takes a signal of its own. */
  signal?: AbortSignal | undefined;
  /** A line for those who want to know more. */
  onDetail?(line: string): void;
  /** Called when results of training have been read. */
  onStep?(progress: { cycle: number; done: number; steps: number; loss: number }): void;
}

/** Tells a cycle that has ended: a line, and more lines for those who want to know more. */
export function tellCycle(
  cycle: IntegrationCycle,
  { onMessage, onDetail }: IntegrationListeners,
): void {
  const { initial, pruned, grown, final, pruned_heads, grown_heads, advice } = cycle;
  onMessage?.(
    `cycle ${cycle.cycle}: ${cycle.pruning_strategy} pruned ${pruned_heads.length}, ` +
      `${cycle.growth_strategy} grew ${grown_heads.length}` +
      `${cycle.replayed ? " (from memory)" : ""}; perplexity ` +
      `${initial.perplexity.toFixed(2)} -> ${final.perplexity.toFixed(2)}` +
      (cycle.unpruned_twin_loss === undefined
        ? ""
        : ` (unpruned twin ${Math.exp(cycle.unpruned_twin_loss).toFixed(2)})`) +
      (cycle.success ? `, ${final.heads} heads` : `; rolled back: ${cycle.failure}`),
  );
  const places = (heads: [number, number][]) =>
    heads.map(([layer, head]) => `${layer}.${head}`).join(" ") || "none";
  onDetail?.(
    `  controller: ${advice.pruned_percent.toFixed(1)} % of heads inactive, level ` +
      `${cycle.pruning_level.toFixed(2)}, rate ${advice.controller_lr.toPrecision(3)}`,
  );
  for (const round of advice.rounds ?? []) {
    const change = (value: number) => value.toExponential(1);
    onDetail?.(
      `  round ${round.round}: moved ${round.decisions.length} gates (` +
        `${round.decisions.filter(({ explored }) => explored).length} at random, to learn from); ` +
        `loss predicted ${change(round.predicted_loss_change)}, measured ` +
        `${change(round.realised_loss_change)} nats: ` +
        (round.kept ? "kept" : "taken back"),
    );
  }
  onDetail?.(`  pruned layer.head ${places(pruned_heads)}; grew ${places(grown_heads)}`);
  onDetail?.(
    `  loss ${initial.loss.toFixed(4)}, pruned ${pruned.loss.toFixed(4)}, grown ` +
      `${grown.loss.toFixed(4)}, after ${cycle.training_steps} steps ${final.loss.toFixed(4)}; ` +
      `degeneration ${final.degeneration?.toFixed(2)}, quality ${final.quality?.toFixed(2)}`,
  );
}
