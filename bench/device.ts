/**
 * What is measured of the device itself: an empty wait, an empty dispatch, matrix products.
 *
 * @module
 */
import { measureMatmul } from "../scripts/measure.ts";
import type { Gpu } from "../src/gpu/device.ts";
import { measureFence } from "../src/gpu/fence.ts";
import { Plan, replay } from "../src/gpu/kernel.ts";
import { freeTensor, makeTensor } from "../src/gpu/tensor.ts";
import type { Timed } from "../src/kernels/tune.ts";
import type { Spread } from "../src/record.ts";
import { spread } from "../src/spread.ts";
import { timed } from "./timing.ts";

/** Dispatches of a kernel that does next to nothing, in one pass. */
export interface NoopResult {
  dispatches: number;
  /** Milliseconds to encode all of them. */
  encode_ms: number;
  /** Microseconds of the device for one; absent if too short to be measured. */
  device_us?: number;
}

/** A product of (M, K) and (K, N), checked against f64 sums at sampled entries. */
export interface MatmulResult {
  M: number;
  K: number;
  N: number;
  /** Of many products with one wait: 2 M N K operations over the time of one. */
  gflops: number;
  ms: number;
  /** One product with a wait of its own, as the peers time it. */
  awaited_ms: Spread;
  /** Largest error, as a share of what is allowed. */
  error: number;
}

/** What the device costs and yields. */
export interface DeviceResult {
  fence_ms: number;
  noop: NoopResult;
  matmul?: MatmulResult[];
  /** Ways of cutting a product that were timed, the one that is used first. */
  schedules?: Timed[];
}

/** The products: a layer of GPT-2 at 512 tokens, and the usual yardstick. */
const PRODUCTS = [{ M: 512, K: 768, N: 768 }, { M: 1024, K: 1024, N: 1024 }];

const NOOP = `//# entry noop
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1)
fn noop() { out[0] = 1.0; }
`;

const DISPATCHES = 1000;

/** Measures the device. */
export async function measureDevice(
  gpu: Gpu,
  { matmul, repeats }: { matmul: boolean; repeats: number },
): Promise<DeviceResult> {
  const fence_ms = await measureFence(gpu);
  const noop = await measureNoop(gpu, { fenceMs: fence_ms, repeats });
  if (!matmul) return { fence_ms, noop };
  const products: MatmulResult[] = [];
  for (const sizes of PRODUCTS) products.push(await measureProduct(gpu, sizes, repeats));
  return { fence_ms, noop, matmul: products };
}

async function measureNoop(
  gpu: Gpu,
  { fenceMs, repeats }: { fenceMs: number; repeats: number },
): Promise<NoopResult> {
  using plan = new Plan(gpu);
  using stack = new DisposableStack();
  const out = stack.adopt(makeTensor(gpu, "noop", 4), (tensor) => freeTensor(gpu, tensor));
  const source = { op: "noop", page: NOOP, entry: "noop" };
  const list = Array(DISPATCHES).fill(plan.call(source, { tensors: { out }, grid: [1] }));
  const encodes: number[] = [], runs: number[] = [];
  for (let i = 0; i <= repeats; i++) {
    const start = performance.now();
    const encoder = gpu.device.createCommandEncoder();
    replay(encoder, list);
    const commands = encoder.finish();
    const encoded = performance.now() - start;
    const ran = await timed(() => {
      gpu.device.queue.submit([commands]);
      return gpu.idle();
    });
    if (i === 0) continue; // compiles
    encodes.push(encoded);
    runs.push(ran - fenceMs);
  }
  const ran = spread(runs).median;
  return {
    dispatches: DISPATCHES,
    encode_ms: spread(encodes).median,
    ...(ran > 0 && { device_us: 1000 * ran / DISPATCHES }),
  };
}

async function measureProduct(
  gpu: Gpu,
  sizes: { M: number; K: number; N: number },
  repeats: number,
): Promise<MatmulResult> {
  const { gflops, ms, error } = await measureMatmul(gpu, sizes);
  const { M, K, N } = sizes;
  if (!(error <= 1)) {
    throw new Error(
      `The product ${M} x ${K} x ${N} is wrong: its error is ${error} times what is allowed`,
    );
  }
  const awaited: number[] = [];
  for (let i = 0; i < repeats; i++) awaited.push((await measureMatmul(gpu, sizes, 0)).ms);
  return { M, K, N, gflops, ms, awaited_ms: spread(awaited), error };
}
