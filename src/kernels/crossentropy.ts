/** Launchers of `shaders/crossentropy.wgsl`. @module */
import text from "../../shaders/crossentropy.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { oneTeam, teams, withCommon } from "./common.ts";

const op = "crossentropy";
const page = withCommon(text);

/** A target that is not scored. */
export const IGNORE = 0xffffffff;

/** One piece of the logits: columns `[V0, V0 + N)` of the vocabulary, rows `stride` (4 i) apart. */
export interface LogitsShape {
  rows: number;
  N: number;
  stride: number;
  V0: number;
}

/** Merges a piece of logits into each row's running softmax; the last piece writes the losses. */
export function crossentropyForward(
  plan: Plan,
  tensors: Record<"logits" | "targets" | "state" | "losses", Tensor>,
  { first, last, ...params }: LogitsShape & { first: boolean; last: boolean },
): Dispatch {
  const team = teams(plan.gpu);
  const constants = { VEC: 1, FIRST: first ? 1 : 0, LAST: last ? 1 : 0, ...team };
  // `losses` is bound only by the piece that writes it
  const { losses, ...others } = tensors;
  return plan.call({ op, page, entry: "forward", constants }, {
    tensors: last ? { ...others, losses } : others,
    params: { ...params },
    grid: flatGrid(params.rows, team.GROUPS),
  });
}

/** Turns a piece of logits into its gradient, in place. */
export function crossentropyBackward(
  plan: Plan,
  tensors: Record<"logits" | "targets" | "state" | "hyper", Tensor>,
  shape: LogitsShape,
): Dispatch {
  const constants = { VEC: 1, LANES: 1, GROUPS: 1 };
  return plan.call({ op, page, entry: "backward", constants }, {
    tensors,
    params: { ...shape },
    grid: flatGrid(shape.rows * shape.stride / 4, 64),
  });
}

/** Writes the mean loss of the scored rows into the ring, or adds it to what is there. */
export function crossentropyMean(
  plan: Plan,
  tensors: Record<"losses" | "hyper" | "ring", Tensor>,
  { rows }: { rows: number },
): Dispatch {
  return plan.call({ op, page, entry: "mean", constants: oneTeam(plan.gpu) }, {
    tensors,
    params: { rows },
    grid: [1],
  });
}
