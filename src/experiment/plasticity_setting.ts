/**
 * Where plasticity cycles work, and who is told.
 *
 * @module
 */
import type { HeadMetrics } from "../controller/metrics.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Lockstep } from "./lockstep.ts";
import type { Recorder } from "./recorder.ts";
import type { Materials } from "./setup.ts";

/** A head: its layer, and its number in the full model's layer. */
export type Place = [number, number];

/** Where the system works. */
export interface PlasticitySetting {
  /** The device. */
  gpu: Gpu;
  /** The models, the one under study first; made with `keep`. */
  lockstep: Lockstep;
  /** The model as it was loaded, and the text. */
  materials: Materials;
  /** Where prunings and growths are recorded. */
  recorder: Recorder;
  /** A line for the terminal. */
  onMessage?(line: string): void;
  /** Called when results have been read, with the steps of this cycle that are done. */
  onStep?(done: number, loss: number): void;
  /** Called before a cycle trains, with the heads that have gone and that have come for good. */
  onHeads?(pruned: readonly Place[], grown: readonly Place[]): void;
  /**
   * Called every `update_frequency` steps of a cycle's training, with what the steps since measured.
   *
   * @returns Gates of all heads that the model goes on with, `[L, NH]`; nothing to leave them.
   */
  onMetrics?(metrics: HeadMetrics): Float32Array | undefined;
}
