/**
 * One of the models that an experiment trains side by side: the pruned one, or a control.
 *
 * @module
 */
import type { HeadMetrics } from "../controller/metrics.ts";
import type { Weights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import { reshapeHeads, scaleHeads } from "../gpt2/heads.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import { type OptimizerState, Trainer, type TrainerOptions } from "../optim/trainer.ts";
import type { Arm as ArmName } from "../record.ts";

/** Everything an arm is, on the host. */
export interface ArmState {
  name: ArmName;
  live: LiveHeads;
  weights: Weights;
  optimizer: OptimizerState;
}

/** A head by its layer and its number in the full model. */
export interface HeadPlace {
  readonly layer: number;
  readonly head: number;
}

/** The heads that stay when some are removed. */
export function without(live: LiveHeads, heads: readonly HeadPlace[]): number[][] {
  return live.map((inLayer, layer) =>
    inLayer.filter((h) => !heads.some((gone) => gone.layer === layer && gone.head === h))
  );
}

/**
 * A state that computes with these gates what it computed without: its output projections are
 * divided by them, so that a controller's first act is not to damage the model. Gradients of what
 * was divided are multiplied, and so are the moments.
 *
 * @param gates Gates of all heads, `[L, NH]`; heads at gate 0 are left as they are.
 */
export function undoGates(config: Gpt2Config, state: ArmState, gates: Float32Array): ArmState {
  const { live, weights, optimizer } = state;
  const scale = (values: Weights, power: number) =>
    scaleHeads(config, values, live, gates.map((gate) => gate > 0 ? gate ** power : 1));
  return {
    ...state,
    weights: scale(weights, -1),
    optimizer: { ...optimizer, m: scale(optimizer.m, 1), v: scale(optimizer.v, 2) },
  };
}

/** A model and its trainer. */
export class Arm implements Disposable {
  readonly name: ArmName;
  readonly #gpu: Gpu;
  readonly #options: TrainerOptions;
  readonly config: Gpt2Config;
  model: Gpt2;
  trainer: Trainer;

  /** @param state Where to begin; without `optimizer`, moments are zero. */
  constructor(
    gpu: Gpu,
    config: Gpt2Config,
    state: Omit<ArmState, "optimizer"> & { optimizer?: OptimizerState },
    options: TrainerOptions,
  ) {
    this.#gpu = gpu;
    this.#options = options;
    this.config = config;
    this.name = state.name;
    using owned = new DisposableStack();
    this.model = owned.use(new Gpt2(gpu, config, state.weights, state.live));
    this.trainer = owned.use(new Trainer(this.model, options));
    if (state.optimizer) this.trainer.restore(state.optimizer);
    owned.move(); // from here on dispose() gives them back
  }

  /** Share of the full model's heads that are gone. */
  get sparsity(): number {
    return 1 - this.model.heads / this.model.totalHeads;
  }

  /** Reads the head metrics that training or measuring gathered since the last time. */
  async headMetrics(): Promise<HeadMetrics> {
    const { L, NH } = this.config;
    return { L, NH, live: this.model.live, ...await this.trainer.readMetrics() };
  }

  /** Copies the arm to the host. */
  async state(): Promise<ArmState> {
    const { name, model: { live } } = this;
    return {
      name,
      live,
      weights: await this.model.weights(),
      optimizer: await this.trainer.state(),
    };
  }

  /**
   * Removes heads: their weights and moments are gone and cost nothing from here on; everything
   * else stays as it was. Gathered head metrics start anew.
   */
  async prune(heads: readonly HeadPlace[]): Promise<void> {
    if (heads.length === 0) return;
    const { live: from, weights, optimizer } = await this.state();
    const to = without(from, heads);
    const reshape = (values: Weights) => reshapeHeads(this.config, values, from, to);
    this.dispose();
    this.model = new Gpt2(this.#gpu, this.config, reshape(weights), to);
    this.trainer = new Trainer(this.model, this.#options);
    this.trainer.restore({
      ...optimizer,
      m: reshape(optimizer.m),
      v: reshape(optimizer.v),
      sums: new Float32Array(this.trainer.acts.sums.size),
      measured: 0,
    });
  }

  dispose(): void {
    this.trainer.dispose();
    this.model.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
