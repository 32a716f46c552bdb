/**
 * What a forward pass leaves behind for a batch of (B, T), allocated once.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Arena, type Tensor, upload } from "../gpu/tensor.ts";
import { IGNORE } from "../kernels/crossentropy.ts";
import { type TablePiece, tablePieces } from "../kernels/embedding.ts";
import { HEAD_SUMS } from "../kernels/headstats.ts";
import type { Gpt2 } from "./model.ts";

/** Steps whose loss and gradient norm wait on the device until they are read together. */
export const RING = 1024;

/**
 * Widest piece of logits, and longest batch, on a software adapter. Mesa 22's llvmpipe silently ends
 * all loops of a thread after 65,535 rounds together, and there one thread may run twice over a row
 * of logits, or once over all rows.
 */
const SOFTWARE_COLUMNS = 16384;
const SOFTWARE_ROWS = 32768;

/** Activations of one layer; the names are the glossary's, rows are B * T. */
export interface LayerActivations {
  /** Input of the layer (rows, C): the residual stream, `resid_pre`. */
  pre: Tensor;
  ln1: Tensor;
  mean1: Tensor;
  rstd1: Tensor;
  /** Queries, keys and values (rows, 3A). */
  qkv: Tensor;
  /** Head outputs before and after the gate (rows, A). */
  z: Tensor;
  zg: Tensor;
  /** After attention, `resid_mid` (rows, C). */
  mid: Tensor;
  ln2: Tensor;
  mean2: Tensor;
  rstd2: Tensor;
  /** MLP before and after GELU (rows, F). */
  fc: Tensor;
  gelu: Tensor;
  /** Output of the layer, `resid_post` (rows, C). */
  post: Tensor;
}

/** Gradients of activations; every layer uses the same ones in turn. */
export interface ActivationGradients {
  /** Of the residual stream (rows, C). */
  dresid: Tensor;
  /** Of a layer norm's output (rows, C). */
  dln: Tensor;
  dzg: Tensor;
  dqkv: Tensor;
  /** Of GELU's output, then of its input (rows, F). */
  dfc: Tensor;
}

/** What a batch needs on the device. */
export interface ActivationOptions {
  B: number;
  T: number;
  /** Whether backward will run: keeps every layer's activations, else one layer's are reused. */
  training: boolean;
  /** Most bytes of logits to hold at once; 64 MiB unless given, and never more than one binding. */
  logitBytes?: number;
}

/** Activations, statistics and scratch for batches of one shape. */
export class Activations implements Disposable {
  readonly B: number;
  readonly T: number;
  readonly training: boolean;
  readonly tokens: Tensor;
  readonly order: Tensor;
  readonly targets: Tensor;
  readonly layers: LayerActivations[] = [];
  readonly lnf: Tensor;
  readonly meanf: Tensor;
  readonly rstdf: Tensor;
  /** One vocabulary piece's logits, and its columns. */
  readonly logits: Tensor;
  readonly pieces: TablePiece[];
  readonly state: Tensor;
  readonly losses: Tensor;
  /** lr, 1/(1-b1^t), 1/sqrt(1-b2^t), ring slot, loss weight. */
  readonly hyper: Tensor;
  /** (RING, 2): mean loss and gradient norm of a step. */
  readonly ring: Tensor;
  /** Attention's row statistics, all layers (heads, B, T, 4). */
  readonly stats: Tensor;
  readonly rowdot: Tensor;
  /** Per-sequence gradients of the gates (B, heads). */
  readonly gateGrads: Tensor;
  /** Head metrics summed over passes (heads, 8). */
  readonly sums: Tensor;
  readonly grads: ActivationGradients | undefined;
  readonly #gpu: Gpu;
  readonly #arenas: Arena[] = [];

  /**
   * @throws {RangeError} If T is longer than the model's positions.
   * @throws {GpuError} If a buffer exceeds the adapter's limits.
   */
  constructor(model: Gpt2, { B, T, training, logitBytes = 1 << 26 }: ActivationOptions) {
    const { gpu, config, live, heads } = model;
    const { C, F, V, HS, L } = config;
    if (!Number.isInteger(B) || B < 1) throw new RangeError(`batch_size must be 1 or more: ${B}`);
    if (!Number.isInteger(T) || T < 1 || T > config.T) {
      throw new RangeError(
        `max_length must be between 1 and the model's ${config.T} positions: ${T}`,
      );
    }
    if (gpu.serial && B * T > SOFTWARE_ROWS) {
      throw new RangeError(
        `batch_size ${B} x max_length ${T} is too much for a software adapter: ${SOFTWARE_ROWS} tokens at most`,
      );
    }
    this.#gpu = gpu;
    this.B = B;
    this.T = T;
    this.training = training;
    const rows = B * T;
    try {
      const budget = Math.min(logitBytes, gpu.maxBinding);
      const most = gpu.serial ? SOFTWARE_COLUMNS : Infinity;
      const columns = Math.max(64, Math.floor(Math.min(most, budget / (4 * rows)) / 64) * 64);
      this.pieces = tablePieces(V, C, Math.min(gpu.maxBinding, columns * C * 4));
      const widest = Math.max(...this.pieces.map(logitStride));
      const make = (label: string, sizes: number[]): Tensor[] => {
        const out: Tensor[] = [];
        // a buffer each: one dispatch may not both read and write a buffer
        for (const size of sizes) {
          const arena = new Arena(gpu, label, [size]);
          this.#arenas.push(arena);
          out.push(arena.tensors[0]);
        }
        return out;
      };
      [this.tokens, this.order, this.targets] = make("batch", [rows, rows, rows]);
      [this.hyper, this.ring] = make("step", [8, RING * 2]);
      [this.stats, this.rowdot, this.gateGrads, this.sums] = make("head statistics", [
        heads * rows * 4,
        heads * rows,
        B * heads,
        heads * HEAD_SUMS,
      ]);
      [this.lnf, this.meanf, this.rstdf] = make("ln_f", [rows * C, rows, rows]);
      [this.logits, this.state, this.losses] = make("logits", [rows * widest, rows * 4, rows]);

      const widestA = Math.max(...live.map((l) => l.length)) * HS;
      const [embedded] = make("embedding", [rows * C]);
      let pre = embedded;
      for (let l = 0; l < L; l++) {
        if (!training && l > 0) {
          this.layers.push(this.layers[0]);
          continue;
        }
        const A = training ? live[l].length * HS : widestA;
        const [ln1, mean1, rstd1, qkv, z, zg, ln2, mean2, rstd2, fc, gelu] = make(`layer ${l}`, [
          rows * C,
          rows,
          rows,
          rows * 3 * A,
          rows * A,
          rows * A,
          rows * C,
          rows,
          rows,
          rows * F,
          rows * F,
        ]);
        // without backward the residual stream is added to in place
        const [mid, post] = training ? make(`layer ${l}`, [rows * C, rows * C]) : [pre, pre];
        const norms = { ln1, mean1, rstd1, ln2, mean2, rstd2 };
        this.layers.push({ pre, ...norms, qkv, z, zg, mid, fc, gelu, post });
        pre = post;
      }
      if (training) {
        const [dresid, dln, dzg, dqkv, dfc] = make("gradients", [
          rows * C,
          rows * C,
          rows * widestA,
          rows * 3 * widestA,
          rows * F,
        ]);
        this.grads = { dresid, dln, dzg, dqkv, dfc };
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Rows of the batch, B * T. */
  get rows(): number {
    return this.B * this.T;
  }

  /**
   * Uploads a batch.
   *
   * @param inputs B * T token ids.
   * @param targets B * T token ids, or {@linkcode IGNORE} where nothing is scored.
   * @returns Number of scored rows.
   * @throws {RangeError} If a length is off.
   */
  upload(inputs: Uint32Array, targets: Uint32Array): number {
    const { rows } = this;
    if (inputs.length !== rows || targets.length !== rows) {
      throw new RangeError(
        `A batch of ${this.B} x ${this.T} needs ${rows} tokens and targets: ${inputs.length}, ${targets.length}`,
      );
    }
    upload(this.#gpu, this.tokens, inputs);
    upload(this.#gpu, this.targets, targets);
    if (this.training) {
      const order = Uint32Array.from(inputs.keys());
      order.sort((a, b) => inputs[a] - inputs[b] || a - b);
      upload(this.#gpu, this.order, order);
    }
    let scored = 0;
    for (const target of targets) if (target !== IGNORE) scored++;
    return scored;
  }

  dispose(): void {
    for (const arena of this.#arenas.splice(0)) arena.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Numbers from one row of a piece's logits to the next: a whole number of vec4s. */
export function logitStride({ V0, V1 }: TablePiece): number {
  return Math.ceil((V1 - V0) / 4) * 4;
}
