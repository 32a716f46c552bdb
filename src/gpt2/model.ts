/**
 * A GPT-2 on the device: its parameters in one arena, and a gate for each head it computes.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Arena, download, type Tensor, upload } from "../gpu/tensor.ts";
import type { Weights } from "./checkpoint.ts";
import type { Gpt2Config } from "./config.ts";
import { allHeads, type LiveHeads, type Parameter, parameterLayout } from "./layout.ts";

/** Tensors by parameter name. */
export type ParameterTensors = ReadonlyMap<string, Tensor>;

/** Finds a tensor that the layout promises. */
export function tensorOf(tensors: ParameterTensors, name: string): Tensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new TypeError(`No parameter is called ${name}`);
  return tensor;
}

/** An arena with one tensor per parameter: used for weights, gradients and moments alike. */
export function parameterArena(
  gpu: Gpu,
  label: string,
  layout: readonly Parameter[],
): { arena: Arena; tensors: ParameterTensors } {
  const arena = new Arena(gpu, label, layout.map(({ size }) => size));
  return { arena, tensors: new Map(layout.map(({ name }, i) => [name, arena.tensors[i]])) };
}

/** A model on a device. Dispose it to free its memory. */
export class Gpt2 implements Disposable {
  /** The device it lives on. */
  readonly gpu: Gpu;
  /** Sizes of the full model, whatever heads are computed. */
  readonly config: Gpt2Config;
  /** Original numbers of the heads that are computed, by layer. */
  readonly live: LiveHeads;
  /** Its parameters in their fixed order; shapes are those of the live heads alone. */
  readonly layout: readonly Parameter[];
  /** Weights on the device, by the names of {@linkcode Gpt2.layout}. */
  readonly params: ParameterTensors;
  /** Place of each layer's first head among all live heads; one entry more than there are layers. */
  readonly head0: readonly number[];
  /** One gate per live head, in (layer, head) order. */
  readonly gates: Tensor;
  readonly #owned: DisposableStack;

  /**
   * Allocates and fills a model.
   *
   * @param weights Every parameter of the layout for these live heads.
   * @param live Heads that are computed; all unless given.
   * @throws {TypeError} If a parameter is missing.
   * @throws {RangeError} If one has another size.
   */
  constructor(gpu: Gpu, config: Gpt2Config, weights: Weights, live: LiveHeads = allHeads(config)) {
    this.gpu = gpu;
    this.config = config;
    this.live = live.map((heads) => [...heads]);
    this.layout = parameterLayout(config, live);
    for (const { name, size } of this.layout) {
      const values = weights.get(name);
      if (values === undefined) throw new TypeError(`The weights lack ${name}`);
      if (values.length !== size) {
        throw new RangeError(`${name} has ${values.length} values, and this model needs ${size}`);
      }
    }
    this.head0 = [0];
    for (const heads of live) {
      this.head0 = [...this.head0, this.head0[this.head0.length - 1] + heads.length];
    }
    using owned = new DisposableStack(); // gives everything back if the rest fails
    const { arena, tensors } = parameterArena(gpu, "parameters", this.layout);
    owned.use(arena);
    this.params = tensors;
    [this.gates] = owned.use(new Arena(gpu, "gates", [this.heads])).tensors;
    for (const { name } of this.layout) upload(gpu, tensorOf(tensors, name), weights.get(name)!);
    upload(gpu, this.gates, new Float32Array(this.heads).fill(1));
    this.#owned = owned.move();
  }

  /** Number of heads that are computed, over all layers. */
  get heads(): number {
    return this.head0[this.config.L];
  }

  /** Heads of the full model, L * NH. */
  get totalHeads(): number {
    return this.config.L * this.config.NH;
  }

  /**
   * The weights of one parameter, on the device.
   *
   * @param name Its name in {@linkcode Gpt2.layout}: `h.0.attn.c_attn.weight`.
   * @throws {TypeError} If no parameter is called that.
   */
  param(name: string): Tensor {
    return tensorOf(this.params, name);
  }

  /**
   * Sets the gates.
   *
   * @param gates L * NH numbers in (layer, head) order; those of pruned heads are not used.
   * @throws {RangeError} If their number is off or one is not finite.
   */
  setGates(gates: Float32Array): void {
    if (gates.length !== this.totalHeads) {
      throw new RangeError(`${gates.length} gates for a model of ${this.totalHeads} heads`);
    }
    const bad = gates.findIndex((gate) => !Number.isFinite(gate));
    if (bad >= 0) throw new RangeError(`Gate ${bad} is not a number: ${gates[bad]}`);
    upload(this.gpu, this.gates, this.gather(gates));
  }

  /** Picks the live heads' entries of L * NH numbers. */
  gather(all: Float32Array): Float32Array {
    const { NH } = this.config;
    return Float32Array.from(this.live.flatMap((heads, l) => heads.map((h) => all[l * NH + h])));
  }

  /** Spreads numbers of the live heads to L * NH places; pruned heads get `absent`. */
  scatter(live: ArrayLike<number>, absent: number): Float32Array {
    const { NH } = this.config;
    const out = new Float32Array(this.totalHeads).fill(absent);
    this.live.forEach((heads, l) =>
      heads.forEach((h, i) => out[l * NH + h] = live[this.head0[l] + i])
    );
    return out;
  }

  /** Copies every parameter back to the host. */
  async weights(): Promise<Weights> {
    const names = this.layout.map(({ name }) => name);
    const values = await download(this.gpu, ...names.map((name) => this.param(name)));
    return new Map(names.map((name, i) => [name, values[i]]));
  }

  /** Frees weights and gates. Trainers and generators made from it must be gone before. */
  dispose(): void {
    this.#owned.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
