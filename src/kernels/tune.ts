/**
 * Which way of cutting matrix products is fastest on the adapter at hand.
 *
 * @module
 */
import type { Gpu, MatmulPick } from "../gpu/device.ts";
import { measureFence } from "../gpu/fence.ts";
import { type Dispatch, Plan, submit } from "../gpu/kernel.ts";
import { freeTensor, makeTensor, upload } from "../gpu/tensor.ts";
import { defaultSchedule, matmul, SCHEDULES } from "./matmul.ts";

/** What to time. */
export interface TuneOptions {
  /** The product `(M, K) (K, N)`; a layer of GPT-2 at 512 tokens unless given. */
  sizes?: { M: number; N: number; K: number };
  /** Milliseconds to spend on each candidate at least, beyond the wait; 10 unless given. */
  milliseconds?: number;
}

/** A candidate and its time. */
export interface Timed {
  /** How the product was cut. */
  schedule: MatmulPick;
  /** Milliseconds of one product, the least of three measurements. */
  ms: number;
}

/** Products in one submission at most: none should keep a display waiting. */
const MOST = 256;

/**
 * Times the candidates for this adapter's products and makes the fastest the device's own. Results
 * do not depend on the pick: every candidate adds in the same order. Software adapters have one
 * candidate, and there nothing is timed.
 *
 * @returns The candidates, fastest first; empty where there was nothing to choose.
 * @throws {GpuError} If the device fails.
 */
export async function tuneMatmul(
  gpu: Gpu,
  { sizes: { M, N, K } = { M: 512, N: 768, K: 768 }, milliseconds = 10 }: TuneOptions = {},
): Promise<Timed[]> {
  const candidates = SCHEDULES.filter(({ entry }) => entry === defaultSchedule(gpu.serial).entry);
  if (candidates.length < 2) return [];
  const fence = await measureFence(gpu, 5);
  using plan = new Plan(gpu);
  using stack = new DisposableStack();
  const tensor = (name: string, size: number) =>
    stack.adopt(makeTensor(gpu, name, size), (made) => freeTensor(gpu, made));
  const a = tensor("a", M * K), b = tensor("b", K * N), out = tensor("out", M * N);
  for (const operand of [a, b]) { // zeros might be faster than numbers
    upload(gpu, operand, Float32Array.from({ length: operand.size }, (_, i) => i % 7 - 3));
  }
  const time = async (product: Dispatch, times: number) => {
    const start = performance.now();
    submit(gpu, Array<Dispatch>(times).fill(product));
    await gpu.idle();
    return performance.now() - start - fence;
  };
  const timed: Timed[] = [];
  for (const schedule of candidates) {
    const product = matmul(plan, { a, b, out }, { product: "nn", M, N, K, schedule });
    await time(product, 1); // compiles
    let times = 1, least = await time(product, times);
    while (least < milliseconds && times < MOST) least = await time(product, times *= 4);
    for (let i = 0; i < 2; i++) least = Math.min(least, await time(product, times));
    timed.push({ schedule, ms: Math.max(0, least) / times });
  }
  timed.sort((x, y) => x.ms - y.ms);
  gpu.matmulSchedule = timed[0].schedule;
  return timed;
}
