/** Launchers of `shaders/norm.wgsl`. @module */
import text from "../../shaders/norm.wgsl" with { type: "text" };
import { type Dispatch, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { oneTeam, teams, withCommon } from "./common.ts";

const op = "norm";
const page = withCommon(text);

/**
 * Threads that share a piece of the gradients, one partial sum each: eight vec4s for each, until
 * there are enough of them to fill any device.
 *
 * @param size Numbers in the piece.
 */
export function normThreads(size: number): number {
  return 64 * Math.min(64, Math.max(1, Math.ceil(size / (4 * 8 * 64))));
}

/** Global L2 norm of the gradients (given as whole buffers), and the scale that clips it. */
export function globalNorm(
  plan: Plan,
  { grads, ...tensors }:
    & { grads: Tensor[] }
    & Record<"partials" | "hyper" | "norm" | "ring", Tensor>,
  { clip }: { clip: number },
): Dispatch[] {
  const { partials, ...finish } = tensors;
  let first = 0;
  return [
    ...grads.map((piece) => {
      const threads = normThreads(piece.size);
      const n = Math.ceil(piece.size / 4);
      const params = { n, per: Math.ceil(n / threads), first };
      first += threads;
      const source = { op, page, entry: "partial", constants: { VEC: 1, LANES: 1, GROUPS: 1 } };
      return plan.call(source, {
        tensors: { grads: piece, partials },
        params,
        grid: [threads / 64],
      });
    }),
    plan.call({ op, page, entry: "finish", constants: oneTeam(plan.gpu) }, {
      tensors: { partials, ...finish },
      params: { n: first, clip },
      grid: [1],
    }),
  ];
}

/** Adds the gradient norm of each head's own weights to `sums`, for one layer. */
export function headNorms(
  plan: Plan,
  tensors: Record<"dqkv_weight" | "dqkv_bias" | "dproj_weight" | "sums", Tensor>,
  { HS, ...params }: { NH: number; HS: number; C: number; head0: number },
): Dispatch {
  const team = teams(plan.gpu);
  return plan.call({ op, page, entry: "heads", constants: { VEC: 1, HS, ...team } }, {
    tensors,
    params,
    grid: [Math.ceil(params.NH / team.GROUPS)],
  });
}
