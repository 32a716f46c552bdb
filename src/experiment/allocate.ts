/**
 * The models of a run on the device, to see that they fit before anything is written.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Arm } from "./arm.ts";
import type { Materials } from "./setup.ts";

/** How many models, and the shape of a batch. */
export interface Allocation {
  /** Sequences in a batch. */
  B: number;
  /** Tokens in a sequence. */
  T: number;
  /** Models with their gradients, moments and activations. */
  models: number;
}

/**
 * Allocates models; dispose the stack to give them back.
 *
 * @throws {GpuError} If a buffer or binding exceeds the adapter's limits, or memory is short.
 */
export function allocateModels(
  gpu: Gpu,
  { model: { config, live, weights } }: Materials,
  { B, T, models }: Allocation,
): DisposableStack & { arms: Arm[] } {
  using owned = new DisposableStack();
  const arms = Array.from(
    { length: models },
    () => owned.use(new Arm(gpu, config, { name: "pruned", live, weights }, { B, T })),
  );
  return Object.assign(owned.move(), { arms });
}

/**
 * Allocates what a run will need, and gives it back: a model that is too large is refused here.
 *
 * @throws {GpuError} If a buffer or binding exceeds the adapter's limits, or memory is short.
 */
export async function tryAllocating(
  gpu: Gpu,
  materials: Materials,
  allocation: Allocation,
): Promise<void> {
  using _models = allocateModels(gpu, materials, allocation);
  await gpu.compiled();
}
