/**
 * What the steps of an experiment return, by the names that the system this follows gave them.
 *
 * @module
 */
import type { WarmupParts, WarmupSegment } from "../plasticity/warmup.ts";

/** A loss, and exp of it. */
export interface LossMetrics {
  /** Mean loss, nats per token. */
  loss: number;
  /** exp(loss). */
  perplexity: number;
}

/** What a warm-up returns. */
export interface WarmupResults {
  /** Training loss of every step. */
  losses: number[];
  /** Means of five steps each, and of the rest. */
  smoothed_losses: number[];
  /** Passes over the training text, the last one perhaps in part. */
  epochs: number;
  /** Optimizer steps. */
  total_steps: number;
  /** Seconds. */
  duration: number;
  /** Mean of the first losses. */
  initial_loss: number;
  /** Mean of the last losses. */
  final_loss: number;
  /** 100 * (initial - final) / initial. */
  improvement_percent: number;
  /** Whether it ended because the loss was stable. */
  is_stable: boolean;
  /** Why, where it was. */
  reason?: string;
  /** Steps since the smoothed loss was lowest. */
  steps_without_decrease: number;
  /** What its end was decided on. */
  stability: WarmupParts;
  /** Its first, middle and last third. */
  segment_analysis: WarmupSegment[];
  /** Validation loss after it: the baseline. */
  baseline_metrics: LossMetrics;
}

/** What an analysis returns; `[L][NH]`, null where a head is not live. */
export interface AttentionAnalysis {
  /** Mean attention entropy of a row over the ln of the keys it sees: 0 one key, 1 uniform. */
  entropy_values: (number | null)[][];
  /** L2 norm of the gradient of the head's weights. */
  grad_norm_values: (number | null)[][];
  /** Mean |d loss / d gate| x gate: first-order importance. */
  importance_values: (number | null)[][];
  /** Layers, and heads in each. */
  model_structure: [layers: number, heads: number];
}

/** What a pruning cycle returns. Losses are of validation text. */
export interface PruningCycleResults {
  /** 1, 2, ... */
  cycle: number;
  /** Heads that it removed, `[layer, head]`. */
  pruned_heads: [number, number][];
  /** Heads that came back, where the pruning mode is adaptive. */
  revived_heads?: [number, number][];
  /** `[L][NH]`: whether the head is gone after it, by this cycle or an earlier one. */
  pruning_mask: boolean[][];
  /** Layers, and heads in each. */
  model_structure: [layers: number, heads: number];
  /** As measured before it, on calibration text: what it was decided on. */
  entropy_values: (number | null)[][];
  /** Likewise. */
  grad_norm_values: (number | null)[][];
  /** Before this cycle. */
  baseline_metrics: LossMetrics;
  /** Right after its pruning. */
  pruned_metrics: LossMetrics;
  /** After its training. */
  final_metrics: LossMetrics;
  /** The unpruned twin after the same training, where controls run. */
  unpruned_twin_metrics?: LossMetrics;
  /** Random pruning of as many heads after the same training, where controls run. */
  random_pruning_metrics?: LossMetrics;
  /** Of its training. */
  training_metrics: {
    /** Optimizer steps. */
    step: number;
    /** Mean training loss over the last tenth of them; absent where there were none. */
    train_loss?: number;
    /** Validation loss after them. */
    eval_loss: number;
    /** exp(eval_loss). */
    perplexity: number;
  };
  /** By what heads were chosen. */
  strategy: string;
  /** Share of all heads that it was to remove. */
  pruning_level: number;
  /** Heads of the full model. */
  total_heads: number;
}

/** What an evaluation returns, on validation text. */
export interface EvaluationResults extends LossMetrics {
  /** After warm-up, before any pruning. */
  baseline_loss: number;
  /** exp(baseline_loss). */
  baseline_perplexity: number;
  /** 100 * (baseline - final) / baseline, of perplexities. Training alone improves it: see the twin. */
  improvement_percent: number;
  /** The twin, which had the same training and lost no head; where controls run. */
  unpruned_twin_loss?: number;
  /** What pruning cost: loss minus the twin's. */
  difference_from_twin?: number;
  /** Random pruning of as many heads. */
  random_pruning_loss?: number;
  /** Every head that is gone, `[layer, head]`. */
  pruned_heads: [number, number][];
  /** How many. */
  num_pruned_heads: number;
}

/** What a whole experiment returns. */
export interface FullExperimentResults {
  /** Test loss after warm-up, before any pruning. */
  baseline_metrics: LossMetrics;
  /** Test loss at the end. */
  final_metrics: LossMetrics;
  /** The twin's, where controls run. */
  unpruned_twin_metrics?: LossMetrics;
  /** Random pruning's. */
  random_pruning_metrics?: LossMetrics;
  /** 100 * (baseline - final) / baseline, of perplexities. */
  improvement_percent: number;
  /** Every head that is gone, `[layer, head]`. */
  pruned_heads: [number, number][];
  /** Of each cycle. */
  cycle_results: PruningCycleResults[];
  /** Seconds at work. */
  execution_time: number;
  /** The run's folder. */
  output_dir: string;
}

/** Where a model was saved. */
export interface SavedPaths {
  /** Its folder. */
  model_dir: string;
  /** `config.json`. */
  config: string;
  /** `model.safetensors`. */
  model: string;
  /** `tokenizer.json`. */
  tokenizer: string;
  /** `pollard.json`: the heads that are left. */
  pollard: string;
}
