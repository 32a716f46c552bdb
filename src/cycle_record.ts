/**
 * What runs in plasticity cycles write: the types of `cycles.jsonl`, of an integrated run's
 * `results.json` and of `memory/transformations.json`. `record.ts` gives them out with all others.
 *
 * @module
 */
/** A model at one point of a plasticity cycle, on validation text. */
export interface PlasticityMeasure {
  /** Mean validation loss, nats per token. */
  loss: number;
  /** exp(loss): never mixed with anything. */
  perplexity: number;
  /** Heads that are computed. */
  heads: number;
  /** Mean degeneration score of generated text, 0 to 5; absent where no text was generated. */
  degeneration?: number;
  /** The same of the baseline's text from the same prompts and seed. */
  baseline_degeneration?: number;
  /** Mean quality against the baseline's text, 0 to 1. */
  quality?: number;
}

/** One line of `cycles.jsonl`: a plasticity cycle. */
export interface PlasticityCycle {
  /** 1, 2, ... */
  cycle: number;
  /** Whether it was kept; else everything was rolled back. */
  success: boolean;
  /** Why it was not kept. */
  failure?: string;
  /** Whether its strategies (under `static` its whole plan) came from memory. */
  replayed: boolean;
  /** How heads to prune were chosen. */
  pruning_strategy: string;
  /** Share of the live heads that were pruned, 0 to 1. */
  pruning_level: number;
  /** How heads to grow were chosen. */
  growth_strategy: string;
  /** Share of the pruned heads that were grown, 0 to 1. */
  growth_ratio: number;
  /** Optimizer steps after growth. */
  training_steps: number;
  /** Heads that it removed, `[layer, head]`. */
  pruned_heads: [number, number][];
  /** Heads that it brought back. */
  grown_heads: [number, number][];
  /** Before anything was done, the controller's moves among it. */
  initial: PlasticityMeasure;
  /** After pruning. */
  pruned: PlasticityMeasure;
  /** After growth, whose heads have next to no influence yet. */
  grown: PlasticityMeasure;
  /** After training; its numbers are null where the loss was no longer a number. */
  final: PlasticityMeasure;
  /** Validation loss of the unpruned twin after the same training steps, where controls run. */
  unpruned_twin_loss?: number;
  /** The same of random pruning and growth, as many heads each. */
  random_pruning_loss?: number;
  /** Relative drop of the perplexity, initial to final. */
  perplexity_improvement: number;
  /** Relative drop of the number of live heads. */
  head_reduction: number;
  /** Relative drop of perplexity x heads. */
  efficiency_improvement: number;
  /** Mean training loss over the last tenth of its steps; absent where there were none. */
  final_loss?: number;
  /** Ratings of the strategies after it. */
  ratings: { pruning: Record<string, number>; growth: Record<string, number> };
  /** Wall time in seconds. */
  cycle_time_s: number;
}

/** What a controller decided for one head whose gate it moved. Losses are nats per token. */
export interface HeadDecision {
  /** Counts from 0. */
  layer: number;
  /** Counts from 0, in the full model's layer. */
  head: number;
  /** Its gate before. */
  gate_before: number;
  /** Its gate after, as far as limits let it. */
  gate: number;
  /** The change of the calibration loss that was predicted of it. */
  predicted_loss_change: number;
  /** Its share of the change that was measured, by the gate gradients before and after. */
  realised_loss_change: number;
  /** Whether the step was drawn at random, to learn from. */
  explored: boolean;
}

/** A round of decisions, measured at once: same calibration text, same weights, other gates. */
export interface DecisionRound {
  /** 1, 2, ... in its cycle. */
  round: number;
  /** The change of the loss that was predicted of all moves together. */
  predicted_loss_change: number;
  /** The same before anything was learned: by the gate gradients alone. */
  estimated_loss_change: number;
  /** The change that was measured. */
  realised_loss_change: number;
  /** Whether the gates stayed where they had been moved; else they went back. */
  kept: boolean;
  /** Every head whose gate moved. */
  decisions: HeadDecision[];
}

/** What a controller said before a cycle. */
export interface ControllerAdvice {
  /** Share of all heads that are not active: pruned, or with a nearly closed gate, in percent. */
  pruned_percent: number;
  /** Multipliers of the pruning strategies' ratings that outcomes have taught it. */
  preferences: Record<string, number>;
  /** Its learning rate in this cycle, what outcomes have made of it included; 0 for `static`. */
  controller_lr: number;
  /** What it decided, where it predicts what its decisions do (`mlp`). */
  rounds?: DecisionRound[];
}

/** One line of the integration's `cycles.jsonl`: a plasticity cycle, and how it was guided. */
export interface IntegrationCycle extends PlasticityCycle {
  /** For each layer the heads that were computed before it. */
  heads_before: number[][];
  /** What its controller said. */
  advice: ControllerAdvice;
  /** Gates of all heads after it, [L][NH]; 0 for pruned heads. */
  gates: number[][];
}

/**
 * `results.json` of the controller-plasticity integration. Perplexities are of validation text,
 * losses of the test part, which is read once, for the best model and for its controls as they were
 * when it was made: after the same training.
 */
export interface IntegrationResults {
  /** Validation perplexity before the first cycle. */
  baseline_perplexity: number;
  /**
   * The best model's: of the latest kept cycle that lowered the lowest perplexity so far by more than
   * 1 %, or perplexity x heads by more than 1 % while perplexity stayed within what a cycle may lose.
   */
  best_perplexity: number;
  /** The cycle that made it; 0 where none was better than the model at the start. */
  best_cycle: number;
  /** Relative drop of the perplexity from the baseline to the best. */
  improvement: number;
  /** Test loss of the best model, nats per token. */
  test_loss: number;
  /** The same of `models/best`, loaded again from disk. */
  reloaded_loss: number;
  /** The unpruned twin's. */
  unpruned_twin_loss?: number;
  /**
   * Random pruning's and growth's: as many heads each, the same batches, the same boost for what
   * grew; kept and undone with the model under study.
   */
  random_pruning_loss?: number;
  /** Heads that the best model computes. */
  active_heads: number;
  /** Heads of the full model. */
  total_heads: number;
  /** Cycles that ran, those that were rolled back among them. */
  cycles_completed: number;
  /** Why the run ended. */
  stopped: string;
  /** Every cycle. */
  cycle_metrics: IntegrationCycle[];
  /** Wall time in seconds. */
  total_duration: number;
  /** Decides batches, choices and samples. */
  seed: number;
}

/** `memory/transformations.json`. */
export interface MemoryRecord {
  /** Transformations kept at most; the oldest are forgotten first. */
  capacity: number;
  /** Probability that a cycle replays one. */
  replay_probability: number;
  /** What is remembered, oldest first. */
  transformations: TransformationRecord[];
}

/** A cycle that succeeded, to be tried again. */
export interface TransformationRecord {
  /** In words, for people. */
  description: string;
  /** How heads to prune were chosen. */
  pruning_strategy: string;
  /** Share of the live heads that were pruned, 0 to 1. */
  pruning_level: number;
  /** How heads to grow were chosen. */
  growth_strategy: string;
  /** Share of the pruned heads that were grown, 0 to 1. */
  growth_ratio: number;
  /** Relative drop of the perplexity; negative where it rose. */
  perplexity_improvement: number;
  /** Relative drop of the number of live heads. */
  head_reduction: number;
  /** Degeneration score after it less the one before. */
  degeneration_change: number;
  /** `perplexity_improvement + 0.5 * efficiency_improvement`: the greater, the likelier a replay. */
  improvement: number;
  /** When it was done, as `Date.toISOString()` writes it. */
  timestamp: string;
}
