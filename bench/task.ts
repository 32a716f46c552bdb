/**
 * What is timed: one training step of a small GPT-2 at two sizes, on weights and tokens that any
 * other library can make for itself, so that the loss of step 1 says whether the work is the same.
 *
 * @module
 */
import type { Weights } from "../src/gpt2/checkpoint.ts";
import { type Gpt2Config, makeConfig } from "../src/gpt2/config.ts";
import { parameterLayout } from "../src/gpt2/layout.ts";

/** The names of the two sizes. */
export const SIZE_NAMES = ["S", "M"] as const;
export type SizeName = (typeof SIZE_NAMES)[number];

/** A size, and the loss of its first step. */
export interface Task {
  L: number;
  NH: number;
  C: number;
  V: number;
  T: number;
  B: number;
  /** Mean nats per token at the first step; PyTorch, jax-js and TensorFlow.js agree on it. */
  loss1: number;
}

export const TASKS: Readonly<Record<SizeName, Task>> = {
  S: { L: 4, NH: 8, C: 128, V: 1024, T: 64, B: 4, loss1: 6.9633 },
  M: { L: 6, NH: 6, C: 384, V: 4096, T: 128, B: 2, loss1: 8.3896 },
};

/** How far the first loss may lie from the one that is known. */
const LOSS_TOLERANCE = 1e-3;

/** The seed that tokens are hashed with; parameter k of the layout has k + 1. */
const TOKEN_SEED = 999;

/** Standard deviation of the weights. */
const STD = 0.02;

/** AdamW's settings. Ours spares biases, norms and positions from decay; the loss of step 1 is before it. */
export const ADAMW = {
  learningRate: 1e-3,
  betas: [0.9, 0.999],
  eps: 1e-8,
  weightDecay: 0.01,
  clip: 0,
} as const;

/** A 32-bit hash of an index: two odd multipliers, then the finaliser "lowbias32" of C. Wellons. */
export function hash(i: number, seed: number): number {
  let x = Math.imul(i, 0x9e3779b1) + Math.imul(seed, 0x85ebca6b) >>> 0;
  x = Math.imul(x ^ x >>> 16, 0x7feb352d);
  x = Math.imul(x ^ x >>> 15, 0x846ca68b);
  return (x ^ x >>> 16) >>> 0;
}

/** `n` numbers, uniform with standard deviation `STD`. */
export function uniform(n: number, seed: number): Float32Array {
  const bound = STD * Math.sqrt(3);
  return Float32Array.from({ length: n }, (_, i) => (2 * (hash(i, seed) / 2 ** 32) - 1) * bound);
}

/** The model of a task. */
export function taskConfig({ L, NH, C, V, T }: Task): Gpt2Config {
  return makeConfig({ L, NH, C, V, T });
}

/** Weights by name: matrices hashed by their place in the layout, norms 1, biases 0. */
export function taskWeights(task: Task): Weights {
  return new Map(
    parameterLayout(taskConfig(task)).map(({ name, size, init }, k) => {
      if (init === "ones") return [name, new Float32Array(size).fill(1)];
      return [name, init === "zeros" ? new Float32Array(size) : uniform(size, k + 1)];
    }),
  );
}

/** The batch of every step: sequence b is T + 1 hashed tokens. */
export function taskBatch({ B, T, V }: Task): { inputs: Uint32Array; targets: Uint32Array } {
  const token = (row: number, shift: number) =>
    hash(Math.floor(row / T) * (T + 1) + row % T + shift, TOKEN_SEED) % V;
  const rows = { length: B * T };
  return {
    inputs: Uint32Array.from(rows, (_, row) => token(row, 0)),
    targets: Uint32Array.from(rows, (_, row) => token(row, 1)),
  };
}

/**
 * Insists on the loss that is known, before anything is timed.
 *
 * @throws {Error} If it is another one.
 */
export function checkLoss(name: SizeName, loss: number, what: string): void {
  const { loss1 } = TASKS[name];
  if (!(Math.abs(loss - loss1) <= LOSS_TOLERANCE)) {
    throw new Error(
      `Wrong ${what} at ${name}: ${loss} where ${loss1} is right (within ${LOSS_TOLERANCE}): ` +
        "not timed, since what is computed is not the task",
    );
  }
}
