/**
 * The models of a run on the device, to see that they fit before anything is written.
 *
 * @module
 */
import type { Gpu } from "../gpu/device.ts";
import { Arm } from "./arm.ts";
import { planMemory, tellMemory } from "./memory_plan.ts";
import type { Materials } from "./setup.ts";

/** How many models, and the shape of a batch. */
export interface Allocation {
  /** Sequences in a batch. */
  B: number;
  /** Tokens in a sequence. */
  T: number;
  /** Models with their gradients, moments and activations. */
  models: number;
  /** Parts of a batch, if the user can choose them; see `TrainerOptions`. */
  accumulate?: number;
  /** Whether layers keep only their inputs; see `TrainerOptions`. */
  recompute?: boolean;
  /** Whether models are trained; true unless given. */
  training?: boolean;
  /** Tokens to write after those of each sequence, of which keys and values are kept; 0 unless given. */
  writes?: number;
  /** What the command calls T; `max_length` unless given. */
  lengthOption?: string;
  /** What the command calls B; `batch_size` unless given. */
  batchOption?: string;
}

/**
 * Allocates models; dispose the stack to give them back.
 *
 * @throws {GpuError} If a buffer or binding exceeds the adapter's limits, or memory is short.
 */
export function allocateModels(
  gpu: Gpu,
  { model: { config, live, weights } }: Materials,
  { models, ...options }: Omit<Allocation, "training" | "writes">,
): DisposableStack & { arms: Arm[] } {
  using owned = new DisposableStack();
  const arms = Array.from(
    { length: models },
    () => owned.use(new Arm(gpu, config, { name: "pruned", live, weights }, options)),
  );
  return Object.assign(owned.move(), { arms });
}

/**
 * Plans what a run will need and tells it, then allocates it and gives it back: a model that is too
 * large is refused here.
 *
 * @throws {RangeError} If the plan does not fit, naming what would.
 * @throws {GpuError} If the adapter has less memory than WebGPU could tell.
 */
export async function tryAllocating(
  gpu: Gpu,
  materials: Materials,
  allocation: Omit<Allocation, "training" | "writes">,
  listeners: Parameters<typeof tellMemory>[1] = {},
): Promise<void> {
  tellMemory(planMemory(gpu, materials.model, allocation), listeners);
  using _models = allocateModels(gpu, materials, allocation);
  await gpu.compiled();
}
