/**
 * Training: gradients, moments and the step, which encodes, submits, and never waits.
 *
 * @module
 */
import { type Dispatch, Plan, replay } from "../gpu/kernel.ts";
import { Arena, download, type Tensor, upload } from "../gpu/tensor.ts";
import { RING } from "../gpt2/activation_sizes.ts";
import { Activations, countScored } from "../gpt2/activations.ts";
import { backward, headGradients, headMetrics } from "../gpt2/backward.ts";
import { Evaluator } from "../gpt2/evaluate.ts";
import { forward, lossForward } from "../gpt2/forward.ts";
import { type Gpt2, parameterArena, type ParameterTensors, tensorOf } from "../gpt2/model.ts";
import type { Weights } from "../gpt2/checkpoint.ts";
import { adamwStep, type HeadOwnership } from "../kernels/adamw.ts";
import { globalNorm, normThreads } from "../kernels/norm.ts";
import { meanHeads, type MeasuredHeads } from "./measured_heads.ts";

/** How a model is trained. */
export interface TrainerOptions {
  /** Sequences that are computed at once. */
  B: number;
  /** Tokens in a sequence. */
  T: number;
  /**
   * Parts that a batch is computed in, one after the other: it has B times as many sequences, needs no
   * more memory than B, and differs from one pass over all of them by rounding alone. 1 unless given.
   */
  accumulate?: number;
  /** Adam's decay rates of the first and second moment; 0.9 and 0.999 unless given. */
  betas?: readonly [number, number];
  /** Added to Adam's denominator; 1e-8 unless given. */
  eps?: number;
  /** Decoupled weight decay of matrices (not biases, norms or positions); 0.01 unless given. */
  weightDecay?: number;
  /** Gradients are scaled down to this global L2 norm; 1 unless given, 0 for no clipping. */
  clip?: number;
  /** Most bytes of logits held at once; see {@linkcode Activations}. */
  logitBytes?: number;
  /**
   * Whether to keep only each layer's input, and compute the rest of a layer again in backward: less
   * memory, more time, the same bits. False unless given.
   */
  recompute?: boolean;
}

/** Loss and gradient norm of one step. */
export interface StepResult {
  /** Mean nats per token of the step's batch. */
  loss: number;
  /** Global L2 norm of the gradient before clipping. */
  gradNorm: number;
}

/**
 * The parts of a step: forward and backward; the head metrics of a pass; the heads' gradient norms,
 * once a batch; clipping and AdamW.
 */
type StepPart = "pass" | "metrics" | "norms" | "update";

/** Everything besides the weights that a step depends on. */
export interface OptimizerState {
  /** Steps taken; Adam's t. */
  steps: number;
  /** Head metrics gathered and not read yet, summed over passes: (live heads, 8). */
  sums: Float32Array;
  /** Passes that the sums cover. */
  measured: number;
  /** Adam's first moments, by parameter. */
  m: Weights;
  /** Adam's second moments, by parameter. */
  v: Weights;
}

/**
 * Trains a model with AdamW (Loshchilov and Hutter 2019). A step only submits; losses gather on the
 * device and are read together. Nothing is allocated after construction.
 */
export class Trainer implements Disposable {
  /** The model that it trains. */
  readonly model: Gpt2;
  /**
   * Activations of the last pass.
   *
   * @internal
   */
  readonly acts: Activations;
  /** Gradients of the last pass, by parameter, before clipping. */
  readonly grads: ParameterTensors;
  /** Scores text in the trainer's own activations. */
  readonly evaluator: Evaluator;
  readonly #betas: readonly [number, number];
  readonly #gradArena: Arena;
  readonly #m: ParameterTensors;
  readonly #v: ParameterTensors;
  readonly #factors: Tensor;
  readonly #owned: DisposableStack;
  readonly #lists: Record<StepPart, Dispatch[]>;
  readonly #accumulate: number;
  #steps = 0;
  #unread = 0;
  #measured = 0;

  /**
   * Allocates gradients, moments and activations, and binds every dispatch of a step.
   *
   * @throws {RangeError} If an option is out of range.
   * @throws {GpuError} If the adapter cannot hold it.
   */
  constructor(model: Gpt2, options: TrainerOptions) {
    const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, clip = 1 } = options;
    const { accumulate = 1 } = options;
    const { gpu, layout, config, head0, live } = model;
    const { B, T, logitBytes, recompute } = options;
    for (const [name, value, below] of [["beta1", betas[0], 1], ["beta2", betas[1], 1]] as const) {
      if (!(value >= 0 && value < below)) {
        throw new RangeError(`${name} must be in [0, 1): ${value}`);
      }
    }
    if (!(weightDecay >= 0)) throw new RangeError(`weight_decay must be 0 or more: ${weightDecay}`);
    if (!(clip >= 0)) throw new RangeError(`clip must be 0 or more: ${clip}`);
    if (!(eps > 0)) throw new RangeError(`eps must be above 0: ${eps}`);
    if (!Number.isInteger(accumulate) || accumulate < 1) {
      throw new RangeError(`gradient_accumulation_steps must be 1 or more: ${accumulate}`);
    }
    this.#accumulate = accumulate;
    this.model = model;
    this.#betas = betas;
    using owned = new DisposableStack(); // gives everything back if the rest fails
    const shape = { B, T, training: true, recompute, logitBytes };
    this.acts = owned.use(new Activations(model, shape));
    const grads = parameterArena(gpu, "gradients", layout);
    const m = parameterArena(gpu, "first moments", layout);
    const v = parameterArena(gpu, "second moments", layout);
    for (const { arena } of [grads, m, v]) owned.use(arena);
    this.grads = grads.tensors;
    this.#gradArena = grads.arena;
    this.#m = m.tensors;
    this.#v = v.tensors;

    // whole arena buffers, cut to what one binding may cover
    const pieces = grads.arena.buffers.flatMap((buffer) => {
      const out: Tensor[] = [];
      for (let offset = 0; offset < buffer.size; offset += gpu.maxBinding) {
        const size = Math.min(gpu.maxBinding, buffer.size - offset) / 4;
        out.push({ buffer, offset, size });
      }
      return out;
    });
    const scratch = [pieces.reduce((sum, { size }) => sum + normThreads(size), 0), 4, model.heads]
      .map((size) => owned.use(new Arena(gpu, "optimizer", [size])));
    const [partials, norm, factors] = scratch.map(({ tensors }) => tensors[0]);
    this.#factors = factors;
    upload(gpu, factors, new Float32Array(model.heads).fill(1));

    const plan = owned.use(new Plan(gpu));
    const { hyper, ring } = this.acts;
    const [b1, b2] = betas;
    this.#lists = {
      pass: [
        ...forward(plan, model, this.acts),
        ...lossForward(plan, model, this.acts),
        ...backward(plan, model, this.grads, this.acts),
      ],
      metrics: headMetrics(plan, model, this.acts, B * accumulate),
      norms: headGradients(plan, model, this.grads, this.acts),
      update: [
        ...globalNorm(plan, { grads: pieces, partials, hyper, norm, ring }, { clip }),
        ...layout.flatMap(({ name, decay, heads, layer, shape }) => {
          let owner: HeadOwnership | undefined;
          if (heads !== undefined && layer !== undefined) {
            owner = {
              axis: heads,
              head0: head0[layer],
              HS: config.HS,
              A: live[layer].length * config.HS,
              columns: shape[shape.length - 1],
            };
          }
          return adamwStep(plan, {
            param: model.param(name),
            grad: tensorOf(grads.tensors, name),
            m: tensorOf(m.tensors, name),
            v: tensorOf(v.tensors, name),
            hyper,
            norm,
            factors,
          }, { b1, b2, eps, decay: decay ? weightDecay : 0, ...(owner && { heads: owner }) });
        }),
      ],
    };
    this.evaluator = owned.use(new Evaluator(model, this.acts));
    this.#owned = owned.move();
  }

  /** Steps taken since construction or the restored state. */
  get steps(): number {
    return this.#steps;
  }

  /** Steps whose results have not been read; 1,023 of them fit. */
  get unread(): number {
    return this.#unread;
  }

  /** Sequences in a batch: B times the parts that it is computed in. */
  get batchSize(): number {
    return this.acts.B * this.#accumulate;
  }

  /**
   * One training step: forward, backward, clip, AdamW. Submits and returns.
   *
   * @param inputs {@linkcode Trainer.batchSize} * T tokens. @param targets The tokens that follow them.
   * @param learningRate Of this step.
   * @param metrics Whether to add this batch's head metrics to the sums.
   * @throws {RangeError} If the results of {@linkcode RING} steps are waiting to be read.
   */
  step(
    inputs: Uint32Array,
    targets: Uint32Array,
    { learningRate, metrics = false }: { learningRate: number; metrics?: boolean },
  ): void {
    if (this.#unread >= RING - 1) {
      throw new RangeError(`Read the results of the last ${this.#unread} steps first`);
    }
    const [b1, b2] = this.#betas;
    const t = this.#steps + 1;
    const hyper = [learningRate, 1 / (1 - b1 ** t), 1 / Math.sqrt(1 - b2 ** t), this.#unread];
    this.#submit({ inputs, targets }, hyper, { metrics, update: true });
    this.#steps = t;
    this.#unread++;
    if (metrics) this.#measured++;
  }

  /**
   * Forward and backward for the head metrics alone: weights and moments stay as they are.
   * The loss is not kept.
   */
  measure(inputs: Uint32Array, targets: Uint32Array): void {
    this.#submit({ inputs, targets }, [0, 1, 1, RING - 1], { metrics: true, update: false });
    this.#measured++;
  }

  #submit(
    { inputs, targets }: Record<"inputs" | "targets", Uint32Array>,
    hyper: readonly number[],
    { metrics, update }: { metrics: boolean; update: boolean },
  ): void {
    const { gpu } = this.model, { rows, T } = this.acts, parts = this.#accumulate;
    if (inputs.length !== parts * rows || targets.length !== parts * rows) {
      throw new RangeError(
        `A batch of ${this.batchSize} x ${T} needs ${parts * rows} tokens and targets: ` +
          `${inputs.length}, ${targets.length}`,
      );
    }
    const scored = countScored(targets);
    if (scored === 0) throw new RangeError("A batch without targets cannot be trained on");
    for (let part = 0; part < parts; part++) {
      const last = part === parts - 1, from = part * rows, to = from + rows;
      this.acts.upload(inputs.subarray(from, to), targets.subarray(from, to));
      upload(gpu, this.acts.hyper, new Float32Array([...hyper, 1 / scored, part > 0 ? 1 : 0]));
      const encoder = gpu.device.createCommandEncoder();
      if (part === 0) this.#gradArena.clear(encoder);
      const { pass, metrics: heads, norms, update: adamw } = this.#lists;
      replay(encoder, [
        ...pass,
        ...metrics ? heads : [],
        ...metrics && last ? norms : [],
        ...update && last ? adamw : [],
      ]);
      gpu.device.queue.submit([encoder.finish()]);
    }
  }

  /**
   * Waits for the steps submitted since the last read.
   *
   * @returns Their results, oldest first.
   * @throws {GpuError} If anything went wrong on the device meanwhile.
   */
  async read(): Promise<StepResult[]> {
    const count = this.#unread;
    if (count === 0) return [];
    const { buffer, offset } = this.acts.ring;
    this.#unread = 0;
    const [bytes] = await this.model.gpu.read([{ buffer, offset, size: count * 8 }]);
    const ring = new Float32Array(bytes);
    return Array.from(
      { length: count },
      (_, i) => ({ loss: ring[2 * i], gradNorm: ring[2 * i + 1] }),
    );
  }

  /**
   * Waits for the head metrics gathered since the last call, and starts anew.
   *
   * @throws {RangeError} If nothing was measured.
   */
  async readMetrics(): Promise<MeasuredHeads> {
    const passes = this.#measured;
    if (passes === 0) throw new RangeError("No head metrics were gathered");
    const [values] = await download(this.model.gpu, this.acts.sums);
    this.discardMetrics();
    return meanHeads(this.model, values, passes);
  }

  /** Forgets the head metrics gathered since the last read. */
  discardMetrics(): void {
    upload(this.model.gpu, this.acts.sums, new Float32Array(this.acts.sums.size));
    this.#measured = 0;
  }

  /**
   * Per-sequence gradients of the gates in the last pass with metrics: (B, live heads). Where a batch
   * is computed in parts, that is the last part.
   */
  async gateGradients(): Promise<Float32Array> {
    return (await download(this.model.gpu, this.acts.gateGrads))[0];
  }

  /**
   * Sets a learning-rate factor for each head; it scales the update of the head's own weights.
   *
   * @param factors L * NH numbers, 0 or more.
   */
  setHeadFactors(factors: Float32Array): void {
    if (factors.length !== this.model.totalHeads || !factors.every((factor) => factor >= 0)) {
      throw new RangeError(
        "Head learning-rate factors must be one number of 0 or more for each head",
      );
    }
    upload(this.model.gpu, this.#factors, this.model.gather(factors));
  }

  /** Copies moments, gathered metrics and step count to the host. */
  async state(): Promise<OptimizerState> {
    const names = this.model.layout.map(({ name }) => name);
    const tensors = [this.#m, this.#v].flatMap((map) => names.map((name) => tensorOf(map, name)));
    const [sums, ...values] = await download(this.model.gpu, this.acts.sums, ...tensors);
    return {
      steps: this.#steps,
      sums,
      measured: this.#measured,
      m: new Map(names.map((name, i) => [name, values[i]])),
      v: new Map(names.map((name, i) => [name, values[names.length + i]])),
    };
  }

  /**
   * Puts back what {@linkcode Trainer.state} copied.
   *
   * @throws {TypeError} If a moment is missing. @throws {RangeError} If one has another size.
   */
  restore({ steps, sums, measured, m, v }: OptimizerState): void {
    if (sums.length !== this.acts.sums.size) {
      throw new RangeError(`The optimizer state is of another number of heads`);
    }
    for (const [map, values] of [[this.#m, m], [this.#v, v]] as const) {
      for (const { name, size } of this.model.layout) {
        const moment = values.get(name);
        if (moment === undefined) throw new TypeError(`The optimizer state lacks ${name}`);
        if (moment.length !== size) {
          throw new RangeError(`Moment of ${name} has ${moment.length} values, not ${size}`);
        }
        upload(this.model.gpu, tensorOf(map, name), moment);
      }
    }
    upload(this.model.gpu, this.acts.sums, sums);
    this.#steps = steps;
    this.#measured = measured;
  }

  /**
   * The dispatches of a step by part, for profiles: replaying them is harmless to all but weights.
   *
   * @internal
   */
  get lists(): Readonly<Record<StepPart, readonly Dispatch[]>> {
    return this.#lists;
  }

  /** Frees all that it allocated; the model stays. */
  dispose(): void {
    this.#owned.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
