/** Launchers of `shaders/headstats.wgsl`. @module */
import text from "../../shaders/headstats.wgsl" with { type: "text" };
import { type Dispatch, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { teams, withCommon } from "./common.ts";

const op = "headstats";
const page = withCommon(text);

/** Numbers kept for each head in `sums`; the page lists them. */
export const HEAD_SUMS = 8;

/** Sizes of one pass; `batch` is the sequences of the batch that it is a part of. */
export interface HeadstatsShape {
  heads: number;
  B: number;
  T: number;
  batch: number;
}

/** Adds the means over rows of entropy, first-key weight and output norm to `sums`. */
export function headstatsForward(
  plan: Plan,
  tensors: Record<"stats" | "sums", Tensor>,
  shape: HeadstatsShape,
): Dispatch {
  const team = teams(plan.gpu);
  return plan.call({ op, page, entry: "forward", constants: { VEC: 1, ...team } }, {
    tensors,
    params: { ...shape },
    grid: [Math.ceil(shape.heads / team.GROUPS)],
  });
}

/** Reduces `rowdot` to the gates' gradients per sequence, and adds their means to `sums`. */
export function headstatsBackward(
  plan: Plan,
  tensors: Record<"rowdot" | "gate_grads" | "sums", Tensor>,
  shape: HeadstatsShape,
): Dispatch {
  const team = teams(plan.gpu);
  return plan.call({ op, page, entry: "backward", constants: { VEC: 1, ...team } }, {
    tensors,
    params: { ...shape },
    grid: [Math.ceil(shape.heads / team.GROUPS)],
  });
}
