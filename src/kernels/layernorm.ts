/** Launchers of `shaders/layernorm.wgsl`. @module */
import text from "../../shaders/layernorm.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { columnTeams, teams, vectorWidth, withCommon } from "./common.ts";

const op = "layernorm";
const page = withCommon(text);

/** out = (inp - mean) * rstd * weight + bias, over rows of C. Keeps mean and rstd for backward. */
export function layernormForward(
  plan: Plan,
  tensors: Record<"inp" | "weight" | "bias" | "out" | "mean" | "rstd", Tensor>,
  { rows, C, eps }: { rows: number; C: number; eps: number },
): Dispatch {
  const VEC = vectorWidth(C);
  const team = teams(plan.gpu);
  return plan.call({ op, page, entry: "forward", constants: { VEC, ...team } }, {
    tensors,
    params: { rows, C: C / VEC, eps },
    grid: flatGrid(rows, team.GROUPS),
  });
}

/**
 * Gradients of input (added to `dinp` where `accumulate`), weight and bias (both added).
 */
export function layernormBackward(
  plan: Plan,
  { dinp, dweight, dbias, ...saved }: Record<
    "inp" | "weight" | "mean" | "rstd" | "dout" | "dinp" | "dweight" | "dbias",
    Tensor
  >,
  { rows, C, accumulate }: { rows: number; C: number; accumulate: boolean },
): Dispatch[] {
  const VEC = vectorWidth(C);
  const team = teams(plan.gpu), columns = columnTeams(plan.gpu);
  const { weight: _, ...forColumns } = saved;
  const ACC = accumulate ? 1 : 0;
  return [
    plan.call({ op, page, entry: "backward_dweight", constants: { VEC: 1, ...columns } }, {
      tensors: { ...forColumns, dweight, dbias },
      params: { rows, C },
      grid: [Math.ceil(C / columns.GROUPS)],
    }),
    plan.call({ op, page, entry: "backward_dinp", constants: { VEC, ACC, ...team } }, {
      tensors: { ...saved, dinp },
      params: { rows, C: C / VEC },
      grid: flatGrid(rows, team.GROUPS),
    }),
  ];
}
