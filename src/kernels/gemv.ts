/** Launcher of `shaders/gemv.wgsl`. @module */
import text from "../../shaders/gemv.wgsl" with { type: "text" };
import type { Dispatch, Plan } from "../gpu/kernel.ts";
import { vectorWidth, withCommon } from "./common.ts";
import { matmul, type MatmulShape, type MatmulTensors } from "./matmul.ts";

const page = withCommon(text);

/** Most rows that a thread holds; more are read in turns. */
const MOST_ROWS = 8;

/** Products that {@linkcode gemv} computes: those of a linear layer, and of logits. */
export type GemvShape =
  & Omit<MatmulShape, "product" | "schedule" | "aStride">
  & { product: "nn" | "nt" };

/**
 * The same as `matmul` where there are few rows, as in decoding. A row's result is the same bits
 * whatever the other rows are, and however many. Software adapters, whose lanes gain nothing from
 * sharing a sum, compute it by `matmul` itself.
 */
export function gemv(plan: Plan, tensors: MatmulTensors, shape: GemvShape): Dispatch {
  if (plan.gpu.serial) return matmul(plan, tensors, shape);
  const { product, M, N, K, outStride = N, accumulate = false } = shape;
  const linear = product === "nn";
  const VEC = linear ? vectorWidth(K, N, outStride) : vectorWidth(K);
  const TM = Math.min(M, MOST_ROWS);
  const team = { LANES: linear ? 32 : 64, GROUPS: 4 };
  const constants = {
    KIND: linear ? 0 : 1,
    BIAS: tensors.bias ? 1 : 0,
    RESIDUAL: tensors.residual ? 1 : 0,
    ACC: accumulate ? 1 : 0,
    ...{ VEC, TM, ...team },
  };
  return plan.call({ op: "gemv", page, entry: "gemv", variant: product, constants }, {
    tensors: { ...tensors },
    params: {
      ...{ M, N, K },
      lda: K / VEC,
      ldb: (linear ? N : K) / VEC,
      ldc: linear ? outStride / VEC : outStride,
    },
    grid: [Math.ceil((linear ? N / VEC : N) / team.GROUPS), Math.ceil(M / TM)],
  });
}
