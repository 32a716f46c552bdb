/**
 * What a forward pass leaves behind for a batch of (B, T), allocated once.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Arena, type Tensor, upload } from "../gpu/tensor.ts";
import { IGNORE } from "../kernels/crossentropy.ts";
import type { TablePiece } from "../kernels/embedding.ts";
import { type ActivationOptions, activationSizes, type LayerSizes } from "./activation_sizes.ts";
import type { Gpt2 } from "./model.ts";

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

/** Number of targets that are scored. */
export function countScored(targets: Uint32Array): number {
  let scored = 0;
  for (const target of targets) if (target !== IGNORE) scored++;
  return scored;
}

/** Activations, statistics and scratch for batches of one shape. */
export class Activations implements Disposable {
  readonly B: number;
  readonly T: number;
  readonly training: boolean;
  /** Whether layers share their activations, so that backward computes each layer's again. */
  readonly recompute: boolean;
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
  /** lr, 1/(1-b1^t), 1/sqrt(1-b2^t), ring slot, loss weight, whether the loss is added to the slot. */
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
  constructor(model: Gpt2, options: ActivationOptions) {
    const { gpu, config, live } = model;
    const { B, T, training, recompute = false } = options;
    const sizes = activationSizes(config, live, options, gpu);
    this.#gpu = gpu;
    this.B = B;
    this.T = T;
    this.training = training;
    this.recompute = training && recompute;
    this.pieces = sizes.pieces;
    try {
      // a buffer each: one dispatch may not both read and write a buffer
      const make = (label: string, size: number): Tensor => {
        const arena = new Arena(gpu, label, [size]);
        this.#arenas.push(arena);
        return arena.tensors[0];
      };
      const all = <Name extends string>(where: string, named: Record<Name, number>) =>
        Object.fromEntries(
          Object.entries<number>(named).map(([name, size]) => [name, make(where + name, size)]),
        ) as Record<Name, Tensor>;
      const { single, stream, streams } = sizes;
      const one = all("", single);
      ({ tokens: this.tokens, order: this.order, targets: this.targets } = one);
      ({ hyper: this.hyper, ring: this.ring, stats: this.stats, rowdot: this.rowdot } = one);
      ({ gateGrads: this.gateGrads, sums: this.sums } = one);
      ({ lnf: this.lnf, meanf: this.meanf, rstdf: this.rstdf } = one);
      ({ logits: this.logits, state: this.state, losses: this.losses } = one);
      const layers = sizes.layers.map((layer, l) =>
        all<keyof LayerSizes>(`layer ${l} `, { ...layer })
      );
      const mids = Array.from({ length: streams.mid }, (_, l) => make(`layer ${l} mid`, stream));
      let pre = make("embedding", stream);
      for (let l = 0; l < config.L; l++) {
        // without backward the residual stream is added to in place
        const post = streams.post > 0 ? make(`layer ${l} post`, stream) : pre;
        const mid = mids[l] ?? mids[0] ?? pre;
        this.layers.push({ pre, ...(layers[l] ?? layers[0]), mid, post });
        pre = post;
      }
      this.grads = sizes.gradients && all("gradients ", sizes.gradients);
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
    return countScored(targets);
  }

  dispose(): void {
    for (const arena of this.#arenas.splice(0)) arena.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
