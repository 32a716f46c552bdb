/**
 * One of the models that an experiment trains side by side: the pruned one, or a control.
 *
 * @module
 */
import type { Weights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import { scaleHeads } from "../gpt2/heads.ts";
import type { Gpu } from "../gpu/device.ts";
import {
  PlasticModel,
  type PlasticOptions,
  type PlasticState,
} from "../plasticity/plastic_model.ts";
import type { Arm as ArmName } from "../record.ts";

/** Everything an arm is, on the host. */
export interface ArmState extends PlasticState {
  name: ArmName;
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

/** A model of an experiment, under its name. */
export class Arm extends PlasticModel {
  /** Which of the experiment's models it is. */
  readonly name: ArmName;

  /** @param state Where to begin; without `optimizer`, moments are zero. */
  constructor(
    gpu: Gpu,
    config: Gpt2Config,
    state: Omit<ArmState, "optimizer"> & Partial<ArmState>,
    options: PlasticOptions,
  ) {
    super(gpu, config, state, options);
    this.name = state.name;
  }

  /** Copies the arm to the host. */
  override async state(): Promise<ArmState> {
    return { name: this.name, ...await super.state() };
  }
}
