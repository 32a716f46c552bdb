/** The device that the tests share, and a way to run dispatches on host arrays. */
import { Gpu } from "../src/gpu/device.ts";
import { type Dispatch, Plan, submit } from "../src/gpu/kernel.ts";
import { download, freeTensor, makeTensor, type Tensor, upload } from "../src/gpu/tensor.ts";
import { randomArray } from "./close.ts";

/**
 * The adapter under test; its name is printed once, so that a log says what was tested.
 * POLLARD_KERNELS=gpu tests the kernels of real GPUs, barriers and all, on whatever adapter there is.
 */
export const gpu: Gpu = await Gpu.open(
  Deno.env.get("POLLARD_KERNELS") === "gpu" ? { serial: false } : {},
);
console.log(`adapter: ${gpu.info.name}, ${gpu.serial ? "serial" : "parallel"} kernels`);

/** Runs a callback with a plan and tensors made of host arrays, then frees all of them. */
export async function withTensors(
  inputs: Record<string, Float32Array | Float64Array | Uint32Array>,
  build: (plan: Plan, tensors: Record<string, Tensor>) => Dispatch | Dispatch[],
  outputs: string[],
): Promise<Record<string, Float32Array>> {
  using plan = new Plan(gpu);
  const tensors: Record<string, Tensor> = {};
  for (const [name, values] of Object.entries(inputs)) {
    tensors[name] = makeTensor(gpu, name, values.length);
    upload(gpu, tensors[name], values instanceof Float64Array ? new Float32Array(values) : values);
  }
  try {
    submit(gpu, [build(plan, tensors)].flat());
    const read = await download(gpu, ...outputs.map((name) => tensors[name]));
    return Object.fromEntries(
      outputs.map((name, i) => [name, read[i].subarray(0, tensors[name].size)]),
    );
  } finally {
    for (const tensor of Object.values(tensors)) freeTensor(gpu, tensor);
  }
}

/** What outputs hold before a kernel writes them: an output that is not written shows. */
export function garbage(n: number): Float32Array {
  return randomArray(n, 99, 1e3);
}

/** The f64 sum of two arrays: what += should give. */
export function plus(a: ArrayLike<number>, b: ArrayLike<number>): Float64Array {
  return Float64Array.from(a, (value, i) => value + b[i]);
}
