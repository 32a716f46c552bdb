/**
 * A model in training that can lose heads and get them back.
 *
 * @module
 */
import type { HeadMetrics } from "../controller/metrics.ts";
import type { Batch } from "../data/batches.ts";
import type { Weights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import {
  foldMeans,
  type HeadPlace,
  including,
  putHead,
  reshapeHeads,
  without,
} from "../gpt2/heads.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { type OptimizerState, Trainer, type TrainerOptions } from "../optim/trainer.ts";
import { measureMeans } from "./mean_ablation.ts";
import { type HeadParts, partsOf, type StoredHead } from "./regrow.ts";

/** Everything a {@linkcode PlasticModel} is, on the host. */
export interface PlasticState {
  /** The heads that are computed. */
  live: LiveHeads;
  /** Their weights, and all others. */
  weights: Weights;
  /** Moments, step count and gathered metrics. */
  optimizer: OptimizerState;
  /** Pruned heads that were kept, in the order they went; absent or empty where none are. */
  stored?: StoredHead[];
  /** Heads whose influence has not reached 1: `[layer, head, steps since they grew]`. */
  growing?: [number, number, number][];
}

/** What a head that grows begins with. */
export interface GrownHead extends HeadPlace {
  /** Its weights and moments. */
  parts: HeadParts;
}

/** How a {@linkcode PlasticModel} trains. */
export interface PlasticOptions extends TrainerOptions {
  /** Whether pruned heads are kept, so that they can come back; they are not unless asked. */
  keep?: boolean;
}

/** Steps over which a grown head's influence rises. */
export const RAMP_STEPS = 100;

/** Influence of a head so many steps after it grew: 0.01 at first, 1 from `RAMP_STEPS` on. */
export function influence(steps: number): number {
  return steps >= RAMP_STEPS ? 1 : 0.01 + 0.99 * steps / RAMP_STEPS;
}

/** A model and its trainer, whose heads come and go. */
export class PlasticModel implements Disposable {
  /** Sizes of the full model. */
  readonly config: Gpt2Config;
  /** The model as it is now; another object after every change of heads. */
  model: Gpt2;
  /** Its trainer; another object after every change of heads. */
  trainer: Trainer;
  readonly #gpu: Gpu;
  readonly #options: PlasticOptions;
  #stored: StoredHead[];
  #growing: [number, number, number][];
  #gates: Float32Array;
  #factors: Float32Array;

  /**
   * Allocates model and trainer.
   *
   * @param state Where to begin; without `optimizer`, moments are zero.
   * @throws {GpuError} If the adapter cannot hold it.
   */
  constructor(
    gpu: Gpu,
    config: Gpt2Config,
    state: Omit<PlasticState, "optimizer"> & { optimizer?: OptimizerState },
    options: PlasticOptions,
  ) {
    this.#gpu = gpu;
    this.#options = options;
    this.config = config;
    this.#stored = [...state.stored ?? []];
    this.#growing = [...state.growing ?? []];
    this.#gates = new Float32Array(config.L * config.NH).fill(1);
    this.#factors = new Float32Array(config.L * config.NH).fill(1);
    using owned = new DisposableStack();
    this.model = owned.use(new Gpt2(gpu, config, state.weights, state.live));
    this.trainer = owned.use(new Trainer(this.model, options));
    if (state.optimizer) this.trainer.restore(state.optimizer);
    this.#applyGates();
    owned.move(); // from here on dispose() gives them back
  }

  /** Share of the full model's heads that are gone. */
  get sparsity(): number {
    return 1 - this.model.heads / this.model.totalHeads;
  }

  /** Pruned heads that can come back as they were, in the order they went. */
  get stored(): readonly StoredHead[] {
    return this.#stored;
  }

  /** Heads whose influence has not reached 1. */
  get growing(): readonly HeadPlace[] {
    return this.#growing.map(([layer, head]) => ({ layer, head }));
  }

  /**
   * Gates of all heads, `[L, NH]`: what a controller wants. A growing head's gate is this times its
   * influence, and the gate gradient that is measured is that of the product.
   */
  setGates(gates: Float32Array): void {
    this.#gates = gates.slice();
    this.#applyGates();
  }

  /** Learning-rate factors of all heads, `[L, NH]`; they survive changes of heads. */
  setHeadFactors(factors: Float32Array): void {
    this.trainer.setHeadFactors(factors);
    this.#factors = factors.slice();
  }

  /** Gates as the model applies them, `[L, NH]`. */
  get effectiveGates(): Float32Array {
    const gates = this.#gates.slice();
    for (const [layer, head, steps] of this.#growing) {
      gates[layer * this.config.NH + head] *= influence(steps);
    }
    return gates;
  }

  /** One training step, after which growing heads have a little more influence; waits for nothing. */
  step(
    inputs: Uint32Array,
    targets: Uint32Array,
    options: { learningRate: number; metrics?: boolean },
  ): void {
    this.trainer.step(inputs, targets, options);
    if (this.#growing.length === 0) return;
    this.#growing = this.#growing
      .map(([layer, head, steps]): [number, number, number] => [layer, head, steps + 1])
      .filter(([, , steps]) => steps < RAMP_STEPS);
    this.#applyGates();
  }

  /** Reads the head metrics that training or measuring gathered since the last time. */
  async headMetrics(): Promise<HeadMetrics> {
    const { L, NH } = this.config;
    return { L, NH, live: this.model.live, ...await this.trainer.readMetrics() };
  }

  /**
   * Measures every live head on text: forward and backward over the batches, with weights and gates
   * as they are. Nothing is trained. Head metrics that training had gathered are dropped.
   *
   * @param batches B * T tokens each, as the model's options say; the result is their mean.
   * @param signal Stops between batches.
   * @throws The signal's reason.
   */
  async measureHeads(batches: readonly Batch[], signal?: AbortSignal): Promise<HeadMetrics> {
    this.trainer.discardMetrics();
    for (const { inputs, targets } of batches) {
      signal?.throwIfAborted();
      this.trainer.measure(inputs, targets);
    }
    return await this.headMetrics();
  }

  /**
   * Measures every live head's mean output before its gate over the batches, for
   * {@linkcode PlasticModel.prune} to leave behind. Nothing is trained.
   *
   * @returns `[L, NH, HS]`; NaN for heads that are not live.
   * @throws The signal's reason.
   */
  measureMeans(batches: readonly Batch[], signal?: AbortSignal): Promise<Float32Array> {
    return measureMeans(this.model, this.trainer.acts, batches, signal);
  }

  /** Copies everything to the host. */
  async state(): Promise<PlasticState> {
    return {
      live: this.model.live,
      weights: await this.model.weights(),
      optimizer: await this.trainer.state(),
      stored: [...this.#stored],
      growing: [...this.#growing],
    };
  }

  /**
   * Removes heads: they cost nothing from here on, and everything else stays as it was. Where heads
   * are kept, their weights and moments wait on the host. Gathered head metrics start anew.
   *
   * @param options.means What {@linkcode PlasticModel.measureMeans} found: then each head's mean output,
   * times its gate, stays behind in its layer's `c_proj.bias`.
   * @throws {RangeError} If one of them is not live.
   * @throws {TypeError} If means are given where heads are kept: one that came back would count twice.
   */
  async prune(
    heads: readonly HeadPlace[],
    { means }: { means?: Float32Array } = {},
  ): Promise<void> {
    if (heads.length === 0) return;
    if (means && this.#options.keep) {
      throw new TypeError("Mean outputs can stay behind only where pruned heads are not kept");
    }
    for (const { layer, head } of heads) {
      if (!this.model.live[layer]?.includes(head)) {
        throw new RangeError(`Layer ${layer} head ${head} cannot be pruned: it is not live`);
      }
    }
    const { live, weights, optimizer } = await this.state();
    if (this.#options.keep) {
      const whole = { live, weights, m: optimizer.m, v: optimizer.v };
      const step = this.trainer.steps;
      for (const { layer, head } of heads) {
        this.#stored.push({ layer, head, step, ...partsOf(this.config, whole, { layer, head }) });
      }
    }
    const gone = ([layer, head]: readonly [number, number, number]) =>
      heads.some((place) => place.layer === layer && place.head === head);
    const folded = means
      ? foldMeans(this.config, weights, live, { heads, means, gates: this.effectiveGates })
      : weights;
    this.#growing = this.#growing.filter((place) => !gone(place));
    this.#rebuild({ live, weights: folded, optimizer }, without(live, heads));
  }

  /**
   * Adds heads with the weights and moments given. What was kept of them is given up.
   *
   * @param ramp Whether their influence begins at 0.01 and rises to 1 over {@linkcode RAMP_STEPS}
   *   training steps; without it they have all of it at once, so that a warm head undoes its pruning.
   * @throws {RangeError} If one of them is live already.
   */
  async grow(heads: readonly GrownHead[], { ramp = true }: { ramp?: boolean } = {}): Promise<void> {
    if (heads.length === 0) return;
    const to = including(this.model.live, heads);
    const state = await this.state();
    this.#stored = this.#stored.filter(({ layer, head }) =>
      !heads.some((grown) => grown.layer === layer && grown.head === head)
    );
    if (ramp) {
      for (const { layer, head } of heads) this.#growing.push([layer, head, 0]);
    }
    this.#rebuild(state, to, heads);
  }

  #rebuild(
    { live: from, weights, optimizer }: Omit<PlasticState, "stored" | "growing">,
    to: LiveHeads,
    grown: readonly GrownHead[] = [],
  ): void {
    const reshape = (values: Weights, part: keyof HeadParts) => {
      const out = reshapeHeads(this.config, values, from, to);
      for (const { parts, ...place } of grown) {
        putHead(this.config, out, to, place, parts[part]);
      }
      return out;
    };
    this.dispose();
    this.model = new Gpt2(this.#gpu, this.config, reshape(weights, "weights"), to);
    this.trainer = new Trainer(this.model, this.#options);
    this.trainer.restore({
      ...optimizer,
      m: reshape(optimizer.m, "m"),
      v: reshape(optimizer.v, "v"),
      sums: new Float32Array(this.trainer.acts.sums.size),
      measured: 0,
    });
    this.trainer.setHeadFactors(this.#factors);
    this.#applyGates();
  }

  #applyGates(): void {
    this.model.setGates(this.effectiveGates);
  }

  /** Frees model and trainer; what was stored on the host is gone with it. */
  dispose(): void {
    this.trainer.dispose();
    this.model.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
