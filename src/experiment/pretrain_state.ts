/**
 * A pretraining as a checkpoint, and back.
 *
 * @module
 */
import type { TrainBatchesState } from "../data/batches.ts";
import type { Weights } from "../gpt2/checkpoint.ts";
import type { TensorToWrite } from "../gpt2/safetensors.ts";
import type { OptimizerState } from "../optim/trainer.ts";
import type { RandomState } from "../random.ts";

/** Where a pretraining stands between two steps, besides its tensors. */
export interface PretrainState {
  /** Optimizer steps taken. */
  step: number;
  /** Mean training loss of the steps read last. */
  loss: number;
  batches: TrainBatchesState;
  noise: RandomState;
  optimizer: Pick<OptimizerState, "steps" | "measured">;
  /** The step whose weights did best on validation text, and their loss; none before the first look. */
  best: { loss: number; step: number } | null;
  /** Validation loss by step. */
  validation: [number, number][];
  /** Seconds spent. */
  elapsed: number;
}

/** The tensors of a checkpoint. */
export function pretrainTensors(
  weights: Weights,
  { m, v, sums }: OptimizerState,
  best: Weights,
): TensorToWrite[] {
  const parts = { weights, m, v, best, sums: new Map([["heads", sums]]) };
  return Object.entries(parts).flatMap(([part, values]) =>
    [...values].map(([name, data]) => ({ name: `${part}/${name}`, shape: [data.length], data }))
  );
}

/** What {@linkcode pretrainTensors} took apart. */
export function pretrainParts(
  tensors: ReadonlyMap<string, Float32Array>,
  optimizer: PretrainState["optimizer"],
): { weights: Weights; best: Weights; optimizer: OptimizerState } {
  const part = (name: string): Weights =>
    new Map(
      [...tensors].filter(([key]) => key.startsWith(`${name}/`))
        .map(([key, values]) => [key.slice(name.length + 1), values]),
    );
  const sums = tensors.get("sums/heads");
  if (sums === undefined) throw new TypeError("The checkpoint lacks the sums of its heads");
  return {
    weights: part("weights"),
    best: part("best"),
    optimizer: { ...optimizer, sums, m: part("m"), v: part("v") },
  };
}
