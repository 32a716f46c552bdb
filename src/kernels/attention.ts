/** Launchers of `shaders/attention.wgsl`. @module */
import text from "../../shaders/attention.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import { first, type Tensor } from "../gpu/tensor.ts";
import { TEXELS_WIDE, texelsFit } from "../gpu/texels.ts";
import { vectorWidth, withTexels } from "./common.ts";

const op = "attention";
const page = withTexels(text);

/** Sizes of one layer's attention: NH counts the heads that are computed. */
export interface AttentionShape {
  B: number;
  T: number;
  NH: number;
  HS: number;
  /** Place of this layer's first head among all live heads. */
  head0: number;
}

/**
 * Queries (or keys) a thread holds. More of them share each load, which is what costs on software
 * adapters, but attention is a small part of a step there, and the kernels take longer to compile:
 * on Mesa 25, with heads of 16, 2.0 s of processor time for 1, 4.0 s for 2 and 9.5 s for 4.
 */
const TQ = 1;

function settings(plan: Plan, { B, T, NH, HS, head0 }: AttentionShape, read: readonly Tensor[]) {
  const VEC = vectorWidth(HS);
  const { serial } = plan.gpu;
  const texels = serial && VEC === 4 && read.every(({ size }) => texelsFit(plan.gpu, size));
  return {
    constants: {
      VEC,
      HV: HS / VEC,
      TQ,
      BY_HEAD: serial ? 1 : 0,
      TEXELS: texels ? TEXELS_WIDE : 0,
      LANES: 1,
      GROUPS: 1,
    },
    params: { B, T, NH, A: NH * HS / VEC, head0, scale: 1 / Math.sqrt(HS) },
    grid: flatGrid(B * NH * Math.ceil(T / TQ), 64),
  };
}

/** z = softmax(q k^T / sqrt(HS)) v for each live head, zg = gate z, and the rows' statistics. */
export function attentionForward(
  plan: Plan,
  tensors: Record<"qkv" | "gates" | "z" | "zg" | "stats", Tensor>,
  shape: AttentionShape,
): Dispatch {
  const { B, T, NH, HS } = shape;
  const qkv = first(tensors.qkv, B * T * 3 * NH * HS);
  const { constants, params, grid } = settings(plan, shape, [qkv]);
  return plan.call({ op, page, entry: "forward", constants }, {
    tensors: { ...tensors, qkv },
    params,
    grid,
  });
}

/** dqkv from dzg, and each row's part of its gate's gradient. */
export function attentionBackward(
  plan: Plan,
  { z, ...tensors }: Record<"qkv" | "gates" | "z" | "stats" | "dzg" | "rowdot" | "dqkv", Tensor>,
  shape: AttentionShape,
): Dispatch[] {
  const { B, T, NH, HS, head0 } = shape;
  const read = {
    qkv: first(tensors.qkv, B * T * 3 * NH * HS),
    stats: first(tensors.stats, (head0 + NH) * B * T * 4),
    dzg: first(tensors.dzg, B * T * NH * HS),
  };
  const { constants, params, grid } = settings(plan, shape, Object.values(read));
  const bound = { ...tensors, ...read };
  return [
    plan.call({ op, page, entry: "backward_dq", constants }, {
      tensors: { ...bound, z },
      params,
      grid,
    }),
    plan.call({ op, page, entry: "backward_dkv", constants }, { tensors: bound, params, grid }),
  ];
}
