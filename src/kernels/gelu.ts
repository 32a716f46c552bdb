/** Launchers of `shaders/gelu.wgsl`. @module */
import page from "../../shaders/gelu.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** out = gelu(inp), elementwise. */
export function geluForward(plan: Plan, tensors: Record<"inp" | "out", Tensor>): Dispatch {
  const n = Math.ceil(tensors.inp.size / 4);
  return plan.call({ op: "gelu", page, entry: "forward" }, {
    tensors,
    params: { n },
    grid: flatGrid(n, 64),
  });
}

/** Turns dout into dinp in place; `inp` is forward's input. */
export function geluBackward(plan: Plan, tensors: Record<"inp" | "dout", Tensor>): Dispatch {
  const n = Math.ceil(tensors.inp.size / 4);
  return plan.call({ op: "gelu", page, entry: "backward" }, {
    tensors,
    params: { n },
    grid: flatGrid(n, 64),
  });
}
