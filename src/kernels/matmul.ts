/** Launchers of `shaders/matmul.wgsl`. @module */
import text from "../../shaders/matmul.wgsl" with { type: "text" };
import type { MatmulPick } from "../gpu/device.ts";
import type { Dispatch, Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { columnTeams, vectorWidth, withCommon } from "./common.ts";

const op = "matmul";
const page = withCommon(text);

/** Which operand is stored transposed: none, b as (N, K), or a as (K, M). */
export type Product = "nn" | "nt" | "tn";

const KIND: Record<Product, number> = { nn: 0, nt: 1, tn: 2 };

/** How a product is cut into threads; see the page. */
export type MatmulSchedule = MatmulPick;

/** Operands of one product; `bias` is (N), `residual` has out's shape. */
export interface MatmulTensors {
  a: Tensor;
  b: Tensor;
  out: Tensor;
  bias?: Tensor;
  residual?: Tensor;
}

/** Sizes of one product, and how rows lie where they are longer than the product is wide. */
export interface MatmulShape {
  product: Product;
  M: number;
  N: number;
  K: number;
  /** Numbers from one row of `out` to the next; N unless given. */
  outStride?: number;
  /** Numbers from one row of `a` to the next; K (or M, for `tn`) unless given. */
  aStride?: number;
  /** Whether to add to `out` rather than replace it. */
  accumulate?: boolean;
  /** How to cut it; the adapter's usual unless given. */
  schedule?: MatmulSchedule;
}

/** Products of at least this many multiplications repay the longer compilation of a larger tile. */
const LARGE = 1 << 26;

/**
 * The schedule an adapter gets when nothing was timed. By processor time on a busy machine (lavapipe
 * 25, 2 cores, AVX2), tiles of 8 x 8 numbers a thread reach 11-15 GFLOP/s where 4 x 8 reach 8-12;
 * 16 x 8 gain up to 15 % on most large products, and take two to three times as long to compile.
 * The schedule of real GPUs has not been timed.
 */
export function defaultSchedule(serial: boolean, multiplications: number): MatmulSchedule {
  if (!serial) return { entry: "tiled", TM: 4, TN: 4, BK: 16 };
  return multiplications < LARGE
    ? { entry: "registers", TM: 8, TN: 2, WX: 8, WY: 8 }
    : { entry: "registers", TM: 16, TN: 2, WX: 8, WY: 4 };
}

/** out = a b (+ bias) (+ residual) (+ out), each operand stored as `product` says. */
export function matmul(plan: Plan, tensors: MatmulTensors, shape: MatmulShape): Dispatch {
  const { product, M, N, K, accumulate = false } = shape;
  const schedule = shape.schedule ?? plan.gpu.matmulSchedule ??
    defaultSchedule(plan.gpu.serial, M * N * K);
  const lda = shape.aStride ?? (product === "tn" ? M : K);
  const ldb = product === "nt" ? K : N;
  const ldc = shape.outStride ?? N;
  const { a, b, out, bias, residual } = tensors;
  const bound = {
    a,
    b,
    out,
    ...(bias && { bias }),
    ...(residual && { residual }),
  };
  const flags = {
    KIND: KIND[product],
    BIAS: bias ? 1 : 0,
    RESIDUAL: residual ? 1 : 0,
    ACC: accumulate ? 1 : 0,
  };
  if (schedule.entry === "tiled") {
    const { TM, TN, BK } = schedule;
    const constants = { ...flags, TM, TN, BK, VEC: 1, LANES: 1, GROUPS: 1 };
    return plan.call({ op, page, entry: "tiled", constants, variant: product }, {
      tensors: bound,
      params: { M, N, K, lda, ldb, ldc },
      grid: [Math.ceil(N / (16 * TN)), Math.ceil(M / (16 * TM))],
    });
  }
  const { WX, WY } = schedule;
  // every row that is read or written as vec4s must be a whole number of them
  const VEC = vectorWidth(
    ldc,
    ...(product === "nt" ? [] : [ldb]),
    ...(product === "tn" ? [lda] : []),
  );
  const TM = VEC === 4 ? schedule.TM : 4;
  const TN = VEC === 4 ? schedule.TN : 4;
  const constants = { ...flags, TM, TN, WX, WY, VEC, LANES: 1, GROUPS: 1 };
  return plan.call({ op, page, entry: "registers", constants, variant: product }, {
    tensors: bound,
    params: {
      M,
      N,
      K,
      lda: product === "tn" ? lda / VEC : lda,
      ldb: product === "nt" ? ldb : ldb / VEC,
      ldc: ldc / VEC,
    },
    grid: [Math.ceil(N / (VEC * TN * WX)), Math.ceil(M / (TM * WY))],
  });
}

/** Tensors of a linear layer's backward; `dinp` is replaced, the others are added to. */
export interface LinearBackward {
  inp: Tensor;
  weight: Tensor;
  dout: Tensor;
  dinp: Tensor;
  dweight: Tensor;
  dbias: Tensor;
}

/** out = inp weight + bias (+ residual): inp (rows, IN), weight (IN, OUT). */
export function linearForward(
  plan: Plan,
  { inp, weight, bias, residual, out }: {
    inp: Tensor;
    weight: Tensor;
    bias: Tensor;
    residual?: Tensor;
    out: Tensor;
  },
  { rows, IN, OUT }: { rows: number; IN: number; OUT: number },
): Dispatch {
  const tensors = { a: inp, b: weight, out, bias, ...(residual && { residual }) };
  return matmul(plan, tensors, { product: "nn", M: rows, N: OUT, K: IN });
}

/** Gradients of a linear layer. */
export function linearBackward(
  plan: Plan,
  { inp, weight, dout, dinp, dweight, dbias }: LinearBackward,
  { rows, IN, OUT }: { rows: number; IN: number; OUT: number },
): Dispatch[] {
  const columns = columnTeams(plan.gpu);
  return [
    // out = inp weight: dweight += inp^T dout, dinp = dout weight^T
    matmul(plan, { a: inp, b: dout, out: dweight }, {
      product: "tn",
      M: IN,
      N: OUT,
      K: rows,
      accumulate: true,
    }),
    plan.call({ op, page, entry: "backward_dbias", constants: { VEC: 1, ...columns } }, {
      tensors: { dout, dbias },
      params: { rows, N: OUT },
      grid: [Math.ceil(OUT / columns.GROUPS)],
    }),
    matmul(plan, { a: dout, b: weight, out: dinp }, { product: "nt", M: rows, N: IN, K: OUT }),
  ];
}
