/**
 * The controllers that can guide cycles, by name.
 *
 * @module
 */
import type { LiveHeads } from "../gpt2/layout.ts";
import { AnnController } from "./ann_controller.ts";
import { AnnGuide, type AnnGuideState } from "./ann_guide.ts";
import { MlpController } from "./mlp_controller.ts";
import { MlpGuide, type MlpGuideState } from "./mlp_guide.ts";

/** The kinds of controller that can guide cycles, each in a line. */
export const CONTROLLERS = {
  ann: "gates that are trained, and moved by rules",
  mlp: "a network that predicts what its moves do, measures it, and learns",
  rule: "gates moved by rules alone",
  static: "open gates; level and growth follow from outcomes alone",
} as const;

/** One of {@linkcode CONTROLLERS}. */
export type ControllerType = keyof typeof CONTROLLERS;

/** A controller that guides cycles. */
export type Guide = AnnGuide | MlpGuide;

/** The state of any guide, as JSON. */
export type GuideState = AnnGuideState | MlpGuideState;

/**
 * A guide before the first cycle; none for `static`.
 *
 * @param shape The full model's layers and heads, and its live heads.
 * @param rate Its learning rate in the first cycle.
 * @param seed Decides what is tried at random.
 */
export function makeGuide(
  type: ControllerType,
  shape: { L: number; NH: number; live: LiveHeads },
  { rate, seed }: { rate: number; seed: number },
): Guide | undefined {
  if (type === "static") return undefined;
  const controller = new AnnController(shape);
  if (type === "mlp") return new MlpGuide(new MlpController(controller, { seed }), rate);
  return new AnnGuide(controller, { type, rate });
}

/**
 * Rebuilds a guide from its state.
 *
 * @throws {RangeError | TypeError} If the state is damaged.
 */
export function restoreGuide(state: GuideState): Guide {
  return state.type === "mlp" ? MlpGuide.fromJSON(state) : AnnGuide.fromJSON(state);
}

/**
 * Starts a new run's guide with what an earlier run's has learned: step size and preferences, and of
 * `ann` and `rule` the gates, of `mlp` the network, whatever heads its model had.
 *
 * @throws {TypeError} If the state is of another type of controller, or damaged.
 * @throws {RangeError} If gates are of a model with other layers and heads.
 */
export function inheritGuide(guide: Guide, state: GuideState): void {
  const type = guide.toJSON().type, { type: given } = state ?? {};
  if (given !== type) {
    throw new TypeError(`the controller's weights are of type ${given}, the run's is ${type}`);
  }
  if (guide instanceof MlpGuide) guide.inherit(state as MlpGuideState);
  else guide.inherit(state as AnnGuideState);
}
