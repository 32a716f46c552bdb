/**
 * What waiting for the GPU costs.
 *
 * @module
 */
import type { Gpu } from "./device.ts";

/**
 * Measures an awaited read-back of 4 bytes with nothing else to do: the price of asking the GPU for
 * anything, however little. On Deno 2.9 it is about 11 ms on any adapter, since the runtime polls
 * the device on a timer.
 *
 * @param repeats How many waits to time, after one that is not counted; 1 or more.
 * @returns The median, in milliseconds.
 * @throws {RangeError} If `repeats` is not a whole number, 1 or more.
 * @throws {GpuError} If the device fails or is lost.
 */
export async function measureFence(gpu: Gpu, repeats = 15): Promise<number> {
  if (!Number.isInteger(repeats) || repeats < 1) {
    throw new RangeError(`repeats must be a whole number, 1 or more: ${repeats}`);
  }
  const usage = GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = gpu.buffer("fence", 16, usage);
  try {
    const times: number[] = [];
    for (let i = 0; i <= repeats; i++) {
      const start = performance.now();
      await gpu.read([{ buffer, offset: 0, size: 4 }]);
      if (i > 0) times.push(performance.now() - start);
    }
    times.sort((a, b) => a - b);
    const middle = Math.floor(repeats / 2);
    return repeats % 2 === 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  } finally {
    gpu.release(buffer);
  }
}
