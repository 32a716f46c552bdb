/** Launchers of `shaders/matmul.wgsl`. @module */
import text from "../../shaders/matmul.wgsl" with { type: "text" };
import type { Gpu, MatmulPick } from "../gpu/device.ts";
import type { Dispatch, KernelSource, Plan } from "../gpu/kernel.ts";
import type { Constants } from "../gpu/template.ts";
import { first, type Tensor } from "../gpu/tensor.ts";
import { TEXELS_WIDE, texelsFit } from "../gpu/texels.ts";
import { columnTeams, withTexels } from "./common.ts";

const op = "matmul";
const page = withTexels(text);

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

/**
 * The schedules that are worth timing on some adapter, the first of each entry being what it gets
 * where nothing was timed. On software adapters (lavapipe 22 and 25, two cores, AVX2) larger tiles
 * than 8 x 8 numbers a thread are no faster, and take twice as long to compile.
 */
export const SCHEDULES: readonly MatmulSchedule[] = [
  { entry: "registers", TM: 8, TN: 2, WX: 8, WY: 8 },
  { entry: "tiled", TM: 4, TN: 4, BK: 16 },
  { entry: "tiled", TM: 4, TN: 4, BK: 8 },
  { entry: "tiled", TM: 2, TN: 4, BK: 16 },
  { entry: "tiled", TM: 2, TN: 2, BK: 16 },
  { entry: "tiled", TM: 8, TN: 4, BK: 8 },
  { entry: "tiled", TM: 8, TN: 8, BK: 8 },
];

/** The schedule that an adapter gets when nothing was timed. */
export function defaultSchedule(serial: boolean): MatmulSchedule {
  return SCHEDULES.find(({ entry }) => entry === (serial ? "registers" : "tiled"))!;
}

/** The schedule that an adapter's products get: the fastest if any were timed, else the usual one. */
export function scheduleOf({ matmulSchedule, serial }: Gpu): MatmulSchedule {
  return matmulSchedule ?? defaultSchedule(serial);
}

/** out = a b (+ bias) (+ residual) (+ out), each operand stored as `product` says. */
export function matmul(plan: Plan, tensors: MatmulTensors, shape: MatmulShape): Dispatch {
  const { product, M, N, K, accumulate = false } = shape;
  const schedule = shape.schedule ?? scheduleOf(plan.gpu);
  const lda = shape.aStride ?? (product === "tn" ? M : K);
  const ldb = product === "nt" ? K : N;
  const ldc = shape.outStride ?? N;
  const call = (
    bound: MatmulTensors,
    entry: string,
    constants: Constants,
    per: [number, number],
  ) => {
    const VEC = constants.VEC ?? 1;
    const source: KernelSource = {
      op,
      page,
      entry,
      variant: product,
      constants: {
        KIND: KIND[product],
        BIAS: bound.bias ? 1 : 0,
        RESIDUAL: bound.residual ? 1 : 0,
        ACC: accumulate ? 1 : 0,
        ...{ VEC: 1, LANES: 1, GROUPS: 1, TEXELS: 0 },
        ...constants,
      },
    };
    return plan.call(source, {
      tensors: { ...bound },
      params: { M, N, K, lda: lda / VEC, ldb: ldb / VEC, ldc: ldc / VEC },
      grid: [Math.ceil(N / per[0]), Math.ceil(M / per[1])],
    });
  };
  if (schedule.entry === "tiled") {
    const { TM, TN, BK } = schedule;
    return call(tensors, "tiled", { TM, TN, BK }, [16 * TN, 16 * TM]);
  }
  const { WX, WY } = schedule;
  const wholeTexels = [lda, ldb, ldc, K].every((length) => length % 4 === 0);
  const sizes = [(product === "tn" ? K : M) * lda, (product === "nt" ? N : K) * ldb, M * ldc];
  const readable = sizes.every((size) => texelsFit(plan.gpu, size));
  if (!wholeTexels || !readable || (accumulate && tensors.residual)) {
    return call(tensors, "registers", { TM: 4, TN: 4, WX, WY }, [4 * WX, 4 * WY]);
  }
  const { a, b, out, residual } = tensors;
  const added = residual ?? (accumulate ? out : undefined);
  const texels = { // no more of them than is read, because they are copied
    ...tensors,
    a: first(a, sizes[0]),
    b: first(b, sizes[1]),
    ...(added && { residual: first(added, sizes[2]) }),
  };
  const { TN } = schedule;
  // where rows are few, as in decoding, no more of them are computed; `tn` reads four at once
  const tile = M < schedule.TM && product !== "tn"
    ? { TM: M, WX: 16, WY: 1 }
    : { TM: schedule.TM, WX, WY };
  const constants = { ...tile, TN, ACC: 0, VEC: 4, TEXELS: TEXELS_WIDE };
  return call(texels, "registers", constants, [4 * TN * tile.WX, tile.TM * tile.WY]);
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

/** Adds the sums of `dout`'s columns to `dbias`: dout (rows, N), dbias (N). */
export function columnSums(
  plan: Plan,
  tensors: Record<"dout" | "dbias", Tensor>,
  { rows, N }: { rows: number; N: number },
): Dispatch {
  const columns = columnTeams(plan.gpu);
  const constants = { VEC: 1, TEXELS: 0, ...columns };
  return plan.call({ op, page, entry: "backward_dbias", constants }, {
    tensors: { ...tensors },
    params: { rows, N },
    grid: [Math.ceil(N / columns.GROUPS)],
  });
}

/** Gradients of a linear layer. */
export function linearBackward(
  plan: Plan,
  { inp, weight, dout, dinp, dweight, dbias }: LinearBackward,
  { rows, IN, OUT }: { rows: number; IN: number; OUT: number },
): Dispatch[] {
  return [
    // out = inp weight: dweight += inp^T dout, dinp = dout weight^T
    matmul(plan, { a: inp, b: dout, out: dweight }, {
      product: "tn",
      M: IN,
      N: OUT,
      K: rows,
      accumulate: true,
    }),
    columnSums(plan, { dout, dbias }, { rows, N: OUT }),
    matmul(plan, { a: dout, b: weight, out: dinp }, { product: "nt", M: rows, N: IN, K: OUT }),
  ];
}
