/**
 * What an experiment's stages are told and tell, and what is saved between them.
 *
 * @module
 */
import type { FileHashes } from "../run/file_hashes.ts";
import type { ManagerState } from "../controller/manager.ts";
import type { RandomState } from "../random.ts";
import type { CycleResult, Phase } from "../record.ts";
import type { RecordListeners } from "./recorder.ts";
import type { LockstepState } from "./lockstep.ts";

/** What a run tells while it goes on. */
export interface RunProgress {
  /** What is going on. */
  phase: Phase;
  /** 0 during warm-up, then 1, 2, ... */
  cycle: number;
  /** Optimizer steps taken. */
  step: number;
  /** Optimizer steps planned for the whole run. */
  total: number;
  /** Mean training loss of the model under study over the steps read last. */
  loss: number;
  /** Tokens trained on so far, all arms together. */
  tokens: number;
}

/** Who is told. */
export interface RunListeners extends RecordListeners {
  /** Every second or so while training. */
  onProgress?(progress: RunProgress): void;
  /** A line for the terminal: a pruning, a result. */
  onMessage?(line: string): void;
  /** Stops the loading of model and text; the steps of a run take signals of their own. */
  signal?: AbortSignal | undefined;
  /** A line for those who want to know more. */
  onDetail?(line: string): void;
}

/** How a warm-up went. */
export interface WarmedUp {
  /** Training loss of every step. */
  losses: number[];
  /** Why it ended before its last step, where it did. */
  stable?: string;
  /** Validation loss after it: the baseline. */
  baseline_loss: number;
  /** Seconds it took. */
  duration: number;
}

/** What was measured of every head before a pruning, `[L][NH]`; null where a head was not live. */
export interface CycleAnalysis {
  /** Mean attention entropy of a row over the ln of the keys it sees, 0 to 1. */
  entropy: (number | null)[][];
  /** L2 norm of the gradient of its weights. */
  grad_norm: (number | null)[][];
  /** Mean |d loss / d gate| x gate: first-order importance. */
  importance: (number | null)[][];
}

/** A cycle that has ended. */
export interface EndedCycle extends CycleResult {
  /** What its pruning was decided on. */
  analysis: CycleAnalysis;
  /** Steps of its fine-tuning. */
  training_steps: number;
  /** Mean training loss over the last tenth of them; absent where there were none. */
  train_loss?: number;
}

/** How long a warm-up may be, and when it may end early. */
export interface WarmupPlan {
  /** Optimizer steps at most. */
  steps: number;
  /** Steps from one question to the next whether it may end; validation is looked at then too. */
  every: number;
  /** Asked with all training losses so far. @returns Why it may end; nothing to go on. */
  ended(losses: readonly number[]): string | undefined;
}

/** What a cycle is to do. */
export interface PruningPlan {
  /** Heads that are to be gone in all after it; at most as many as each layer's last allows. */
  gone: number;
  /** Optimizer steps after pruning. */
  steps: number;
}

/** Where a run stands between two steps; with the arms' tensors it is all of a run's state. */
export interface Cursor {
  /** What comes next: more warm-up, the pruning of `cycle`, or more of its fine-tuning. */
  stage: "warmup" | "prune" | "finetune";
  cycle: number;
  /** Steps taken in this stage. */
  stageStep: number;
  elapsed: number;
  /** Training losses of this stage so far. */
  losses: number[];
  /** Validation loss of the model under study at the last look during warm-up. */
  seen: number;
  /** Once it is over. */
  warmup: WarmedUp | null;
  cycles: EndedCycle[];
  /** The cycle under way, once it has pruned. */
  current:
    | Omit<EndedCycle, "loss_after_finetuning" | "training_steps" | "train_loss">
    | null;
  prunedHeads: [number, number][];
  /** Of the model after warm-up, which is measured at the end; absent before it and in older folders. */
  baselineFiles?: FileHashes;
}

/** What a checkpoint's `state.json` holds. */
export interface SavedState {
  cursor: Cursor;
  lockstep: LockstepState;
  /** What strategies draw from, and what the random control does. */
  random: RandomState;
  controlRandom: RandomState;
  /** Whether it lies inside a stage, and is removed when there are enough newer ones. */
  between: boolean;
  /** Labels of all checkpoints that do, oldest first; absent in older folders. */
  inside?: string[];
  controller: ManagerState | null;
}
