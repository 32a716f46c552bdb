/**
 * How large a pass's tensors are: known before anything is allocated.
 *
 * @module
 */
import { type TablePiece, tablePieces } from "../kernels/embedding.ts";
import { HEAD_SUMS } from "../kernels/headstats.ts";
import type { Gpt2Config } from "./config.ts";
import type { LiveHeads } from "./layout.ts";

/** Steps whose loss and gradient norm wait on the device until they are read together. */
export const RING = 1024;

/**
 * Widest piece of logits, and longest batch, on a software adapter. Mesa 22's llvmpipe silently ends
 * all loops of a thread after 65,535 rounds together, and there one thread may run twice over a row
 * of logits, or once over all rows.
 */
const SOFTWARE_COLUMNS = 16384;
/** Most rows, B * T, on a software adapter. */
export const SOFTWARE_ROWS = 32768;

/** What a batch needs on the device. */
export interface ActivationOptions {
  B: number;
  T: number;
  /** Whether backward will run: keeps every layer's activations, else one layer's are reused. */
  training: boolean;
  /**
   * Whether training keeps only each layer's input, and computes the rest of the layer again in
   * backward (Chen et al. 2016, "Training deep nets with sublinear memory cost").
   */
  recompute?: boolean;
  /** Most bytes of logits to hold at once; 64 MiB unless given, and never more than one binding. */
  logitBytes?: number;
}

/** What of an adapter decides sizes; a `Gpu` has it. */
export interface BindingLimits {
  /** Bytes of the largest binding. */
  readonly maxBinding: number;
  /** Whether threads work alone, as on software adapters. */
  readonly serial: boolean;
}

/** Numbers in each tensor of one layer; rows are B * T. */
export interface LayerSizes {
  ln1: number;
  mean1: number;
  rstd1: number;
  qkv: number;
  z: number;
  zg: number;
  ln2: number;
  mean2: number;
  rstd2: number;
  fc: number;
  gelu: number;
}

/** Numbers in each tensor of a pass. */
export interface ActivationSizes {
  /** How the vocabulary is cut: one piece's logits exist at a time. */
  pieces: TablePiece[];
  /** Tensors by name, one each. */
  single: Record<SingleTensor, number>;
  /** Tensors of each layer in training; of one layer where all share them. */
  layers: LayerSizes[];
  /** One residual stream (rows, C). */
  stream: number;
  /**
   * Residual streams besides the embedding: after attention and after the MLP of each layer; with
   * recomputation one after attention is shared; without backward there are none.
   */
  streams: { mid: number; post: number };
  /** Gradients of activations, where backward will run. */
  gradients: Record<"dresid" | "dln" | "dzg" | "dqkv" | "dfc", number> | undefined;
}

/** Names of the tensors that a pass has one of. */
export type SingleTensor =
  | "tokens"
  | "order"
  | "targets"
  | "hyper"
  | "ring"
  | "stats"
  | "rowdot"
  | "gateGrads"
  | "sums"
  | "lnf"
  | "meanf"
  | "rstdf"
  | "logits"
  | "state"
  | "losses";

/** Numbers from one row of a piece's logits to the next: a whole number of vec4s. */
export function logitStride({ V0, V1 }: TablePiece): number {
  return Math.ceil((V1 - V0) / 4) * 4;
}

/**
 * Computes them.
 *
 * @throws {RangeError} If B or T are not what the model or the adapter can compute.
 */
export function activationSizes(
  config: Gpt2Config,
  live: LiveHeads,
  { B, T, training, recompute = false, logitBytes = 1 << 26 }: ActivationOptions,
  { maxBinding, serial }: BindingLimits,
): ActivationSizes {
  const { C, F, V, HS, L } = config;
  if (!Number.isInteger(B) || B < 1) throw new RangeError(`batch_size must be 1 or more: ${B}`);
  if (!Number.isInteger(T) || T < 1 || T > config.T) {
    throw new RangeError(
      `max_length must be between 1 and the model's ${config.T} positions: ${T}`,
    );
  }
  const rows = B * T;
  if (serial && rows > SOFTWARE_ROWS) {
    throw new RangeError(
      `${B} x ${T} tokens at once are too many for a software adapter: ${SOFTWARE_ROWS} at most`,
    );
  }
  const budget = Math.min(logitBytes, maxBinding);
  const most = serial ? SOFTWARE_COLUMNS : Infinity;
  const columns = Math.max(64, Math.floor(Math.min(most, budget / (4 * rows)) / 64) * 64);
  const pieces = tablePieces(V, C, Math.min(maxBinding, columns * C * 4));
  const widest = Math.max(...pieces.map(logitStride));
  const heads = live.reduce((sum, { length }) => sum + length, 0);
  const widestA = Math.max(...live.map(({ length }) => length)) * HS;
  const layer = (A: number): LayerSizes => ({
    ln1: rows * C,
    mean1: rows,
    rstd1: rows,
    qkv: rows * 3 * A,
    z: rows * A,
    zg: rows * A,
    ln2: rows * C,
    mean2: rows,
    rstd2: rows,
    fc: rows * F,
    gelu: rows * F,
  });
  const own = training && !recompute;
  return {
    pieces,
    single: {
      tokens: rows,
      order: rows,
      targets: rows,
      hyper: 8,
      ring: RING * 2,
      stats: heads * rows * 4,
      rowdot: heads * rows,
      gateGrads: B * heads,
      sums: heads * HEAD_SUMS,
      lnf: rows * C,
      meanf: rows,
      rstdf: rows,
      logits: rows * widest,
      state: rows * 4,
      losses: rows,
    },
    layers: own ? live.map(({ length }) => layer(length * HS)) : [layer(widestA)],
    stream: rows * C,
    streams: { mid: own ? L : training ? 1 : 0, post: training ? L : 0 },
    gradients: training
      ? {
        dresid: rows * C,
        dln: rows * C,
        dzg: rows * widestA,
        dqkv: rows * 3 * widestA,
        dfc: rows * F,
      }
      : undefined,
  };
}
