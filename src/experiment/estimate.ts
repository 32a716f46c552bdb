/**
 * What a run will need, found by trying: memory is allocated and counted, a few steps are timed.
 *
 * @module
 */
import { TrainBatches } from "../data/batches.ts";
import type { Gpu } from "../gpu/device.ts";
import { tuneMatmul } from "../kernels/tune.ts";
import { allocateModels } from "./allocate.ts";
import { allocationOf } from "./integration.ts";
import type { IntegrationOptions } from "./integration_options.ts";
import { planMemory } from "./memory_plan.ts";
import type { Materials } from "./setup.ts";

/** What a run is expected to need. */
export interface RunEstimate {
  /** Parameters of the model. */
  parameters: number;
  /**
   * Bytes on the device: every model with gradients, moments and activations, and one more in which
   * pruned heads are measured.
   */
  device_bytes: number;
  /** Bytes on the host besides the model as loaded: the state that a failed cycle goes back to. */
  host_bytes: number;
  /** Most bytes of the run's folder. */
  disk_bytes: number;
  /** Seconds of a training step of all models, timed. */
  step_s: number;
  /** Seconds of one look at the validation text by one model, timed. */
  evaluation_s: number;
  /** Seconds until kernels of a new shape run, timed. */
  compile_s: number;
  /** Seconds of the whole run, if all cycles run. */
  total_s: number;
}

/** Steps that are timed, after one that is not. */
const TIMED_STEPS = 3;

/** What a cycle does besides training: looks at the validation text by one model, passes over the
 * calibration text, and changes of heads, each with kernels of new shapes. */
const PER_CYCLE = { evaluations: 3, passes: 3, changes: 2 };

/**
 * Allocates the models of an integrated run, takes a few steps, and gives everything back.
 *
 * @throws {RangeError} If they do not fit, naming what would.
 * @throws {GpuError} If the adapter has less memory than WebGPU could tell.
 */
export async function estimateIntegration(
  gpu: Gpu,
  options: IntegrationOptions,
  materials: Materials,
): Promise<RunEstimate> {
  const { max_cycles, seed } = options, { weights } = materials.model;
  const { parts, validation, calibration } = materials;
  const allocation = allocationOf(options);
  planMemory(gpu, materials.model, allocation); // refuses what does not fit
  await tuneMatmul(gpu);
  const before = gpu.bytes;
  using allocated = allocateModels(gpu, materials, allocation);
  const device_bytes = gpu.bytes - before;
  const { T } = allocation, B = allocation.B * options.gradient_accumulation_steps;
  const arms = allocated.arms.slice(1), count = arms.length; // the first measures pruned heads
  const batches = new TrainBatches(parts.train, { B, T, seed });
  const step = async () => {
    const { inputs, targets } = batches.next();
    for (const arm of arms) arm.step(inputs, targets, { learningRate: 0 });
    for (const arm of arms) await arm.trainer.read();
  };
  const first = await seconds(step);
  const step_s = await seconds(async () => {
    for (let i = 0; i < TIMED_STEPS; i++) await step();
  }) / TIMED_STEPS;
  const { evaluator } = arms[0].trainer;
  const some = validation.slice(0, 2 * B);
  await evaluator.evaluate(some); // its kernels compile here
  const part = await seconds(() => evaluator.evaluate(some));
  const evaluation_s = part * validation.length / some.length;
  const compile_s = Math.max(0, first - step_s);

  const { evaluations, passes, changes } = PER_CYCLE;
  // training is as long as planned; outcomes may shorten or lengthen it
  const cycle_s = options.training_steps * step_s + (evaluations + count) * evaluation_s +
    passes * calibration.length * step_s / count + changes * compile_s;
  const parameters = [...weights.values()].reduce((sum, values) => sum + values.length, 0);
  const model = 4 * parameters;
  const models = 2 + (options.cycle_models ? max_cycles : 0);
  return {
    parameters,
    device_bytes,
    host_bytes: 2 * count * 3 * model, // held, and copied once more while it is put back
    // a checkpoint with both moments, one without for the best models; the two latest of each, and a
    // third while it is written
    disk_bytes: 3 * count * (3 + 1) * model + models * model,
    step_s,
    evaluation_s,
    compile_s,
    total_s: first + max_cycles * cycle_s,
  };
}

async function seconds(action: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await action();
  return (performance.now() - start) / 1e3;
}
