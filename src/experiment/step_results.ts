/**
 * Makes what the steps of an experiment return from what a run keeps of them.
 *
 * @module
 */
import {
  detectWarmupEnd,
  SMOOTHING,
  type WarmupOptions,
  warmupSegments,
} from "../plasticity/warmup.ts";
import type { LossMetrics, PruningCycleResults, WarmupResults } from "./experiment_results.ts";
import type { ExperimentRun } from "./experiment_run.ts";
import type { EndedCycle, WarmedUp } from "./experiment_state.ts";
import type { ExperimentOptions } from "./options.ts";

/** A loss and its perplexity. */
export function metrics(loss: number): LossMetrics {
  return { loss, perplexity: Math.exp(loss) };
}

/** The controls' metrics, where controls ran. */
export function controlMetrics(
  { unpruned_twin_loss: twin, random_pruning_loss: random }: {
    unpruned_twin_loss?: number;
    random_pruning_loss?: number;
  },
): { unpruned_twin_metrics?: LossMetrics; random_pruning_metrics?: LossMetrics } {
  return {
    ...(twin !== undefined && { unpruned_twin_metrics: metrics(twin) }),
    ...(random !== undefined && { random_pruning_metrics: metrics(random) }),
  };
}

/**
 * What a warm-up returns.
 *
 * @param epoch Steps of a pass over the training text.
 */
export function warmupResults(
  warm: WarmedUp,
  { detector, epoch }: { detector: WarmupOptions; epoch: number },
): WarmupResults {
  const { losses } = warm;
  const { parts } = detectWarmupEnd(losses, detector);
  const initial_loss = mean(losses.slice(0, SMOOTHING));
  const final_loss = mean(losses.slice(-SMOOTHING));
  return {
    losses: [...losses],
    smoothed_losses: Array.from(
      { length: Math.ceil(losses.length / SMOOTHING) },
      (_, i) => mean(losses.slice(i * SMOOTHING, (i + 1) * SMOOTHING)),
    ),
    epochs: Math.ceil(losses.length / epoch),
    total_steps: losses.length,
    duration: warm.duration,
    initial_loss,
    final_loss,
    improvement_percent: 100 * (initial_loss - final_loss) / initial_loss,
    is_stable: warm.stable !== undefined,
    ...(warm.stable !== undefined && { reason: warm.stable }),
    steps_without_decrease: parts.steps_without_decrease,
    stability: parts,
    segment_analysis: warmupSegments(losses),
    baseline_metrics: metrics(warm.baseline_loss),
  };
}

/** What a pruning cycle returns. */
export function cycleResults(
  ended: EndedCycle,
  { materials: { model }, cycles }: Pick<ExperimentRun, "materials" | "cycles">,
  { strategy, pruning_level }: ExperimentOptions,
): PruningCycleResults {
  const { config: { L, NH }, live } = model;
  const gone = new Set<string>();
  for (const { pruned_heads, revived_heads = [] } of cycles.slice(0, ended.cycle)) {
    for (const head of pruned_heads) gone.add(String(head));
    for (const head of revived_heads) gone.delete(String(head));
  }
  const { training_steps: step, train_loss, loss_after_finetuning: final } = ended;
  return {
    cycle: ended.cycle,
    pruned_heads: ended.pruned_heads,
    ...(ended.revived_heads && { revived_heads: ended.revived_heads }),
    pruning_mask: Array.from(
      { length: L },
      (_, layer) =>
        Array.from(
          { length: NH },
          (_, head) => !live[layer].includes(head) || gone.has(String([layer, head])),
        ),
    ),
    model_structure: [L, NH],
    entropy_values: ended.analysis.entropy,
    grad_norm_values: ended.analysis.grad_norm,
    baseline_metrics: metrics(ended.loss_before),
    pruned_metrics: metrics(ended.loss_after_pruning),
    final_metrics: metrics(final),
    ...controlMetrics(ended),
    training_metrics: {
      step,
      ...(train_loss !== undefined && { train_loss }),
      eval_loss: final,
      perplexity: Math.exp(final),
    },
    strategy,
    pruning_level,
    total_heads: L * NH,
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
