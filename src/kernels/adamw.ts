/** Launchers of `shaders/adamw.wgsl`. @module */
import text from "../../shaders/adamw.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import { ALIGNMENT, slice, type Tensor } from "../gpu/tensor.ts";
import { vectorWidth, withCommon } from "./common.ts";

const op = "adamw";
const page = withCommon(text);

/** Which heads own the elements of a parameter; see `HeadAxis` in `src/gpt2/layout.ts`. */
export interface HeadOwnership {
  axis: "qkv" | "rows";
  head0: number;
  HS: number;
  /** Channels of the layer's live heads. */
  A: number;
  /** Length of a row. */
  columns: number;
}

/** Constants of AdamW. */
export interface AdamWSettings {
  b1: number;
  b2: number;
  eps: number;
  decay: number;
}

/**
 * One AdamW step of one parameter tensor, in as many pieces as bindings need (one where heads own
 * it: pieces would not know their heads).
 */
export function adamwStep(
  plan: Plan,
  { factors, ...tensors }: Record<
    "param" | "grad" | "m" | "v" | "hyper" | "norm" | "factors",
    Tensor
  >,
  { heads, ...settings }: AdamWSettings & { heads?: HeadOwnership },
): Dispatch[] {
  // a Vec must not straddle two heads
  const VEC = heads ? vectorWidth(heads.HS, heads.columns) : 4;
  const AXIS = heads ? { qkv: 1, rows: 2 }[heads.axis] : 0;
  const { head0, HS, A, columns } = heads ?? { head0: 0, HS: 1, A: 1, columns: 1 };
  const { size } = tensors.param;
  const most = heads ? size : Math.floor(plan.gpu.maxBinding / ALIGNMENT) * (ALIGNMENT / 4);
  const { param, grad, m, v, ...shared } = tensors;
  const constants = { VEC, AXIS, LANES: 1, GROUPS: 1 };
  const list: Dispatch[] = [];
  for (let start = 0; start < size; start += most) {
    const piece = (tensor: Tensor) => slice(tensor, start, Math.min(most, size - start));
    const n = Math.ceil(Math.min(most, size - start) / VEC);
    list.push(
      plan.call({ op, page, entry: "step", constants }, {
        tensors: {
          ...shared,
          ...(heads && { factors }),
          param: piece(param),
          grad: piece(grad),
          m: piece(m),
          v: piece(v),
        },
        params: { n, head0, HS, A, columns, ...settings },
        grid: flatGrid(n, 64),
      }),
    );
  }
  return list;
}
