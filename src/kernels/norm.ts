/** Launchers of `shaders/norm.wgsl`. @module */
import text from "../../shaders/norm.wgsl" with { type: "text" };
import { type Dispatch, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { oneTeam, teams, withCommon } from "./common.ts";

const op = "norm";
const page = withCommon(text);

/** Threads that share one piece of the gradients; one partial sum each. */
export const NORM_THREADS = 4096;

/** Global L2 norm of the gradients (given as whole buffers), and the scale that clips it. */
export function globalNorm(
  plan: Plan,
  { grads, ...tensors }:
    & { grads: Tensor[] }
    & Record<"partials" | "hyper" | "norm" | "ring", Tensor>,
  { clip }: { clip: number },
): Dispatch[] {
  const { partials, ...finish } = tensors;
  return [
    ...grads.map((piece, i) =>
      plan.call({ op, page, entry: "partial", constants: { VEC: 1, LANES: 1, GROUPS: 1 } }, {
        tensors: { grads: piece, partials },
        params: {
          n: Math.ceil(piece.size / 4),
          per: Math.ceil(piece.size / 4 / NORM_THREADS),
          first: i * NORM_THREADS,
        },
        grid: [NORM_THREADS / 64],
      })
    ),
    plan.call({ op, page, entry: "finish", constants: oneTeam(plan.gpu) }, {
      tensors: { partials, ...finish },
      params: { n: grads.length * NORM_THREADS, clip },
      grid: [1],
    }),
  ];
}

/** Adds the gradient norm of each head's own weights to `sums`, for one layer. */
export function headNorms(
  plan: Plan,
  tensors: Record<"dqkv_weight" | "dqkv_bias" | "dproj_weight" | "sums", Tensor>,
  shape: { NH: number; HS: number; C: number; head0: number },
): Dispatch {
  const team = teams(plan.gpu);
  return plan.call({ op, page, entry: "heads", constants: { VEC: 1, ...team } }, {
    tensors,
    params: shape,
    grid: [Math.ceil(shape.NH / team.GROUPS)],
  });
}
