/**
 * Measurements of the device that more than one script prints.
 *
 * @module
 */
import type { Gpu } from "../src/gpu/device.ts";
import { type Dispatch, Plan, submit } from "../src/gpu/kernel.ts";
import { download, freeTensor, makeTensor, upload } from "../src/gpu/tensor.ts";
import { matmul } from "../src/kernels/matmul.ts";
import { Random } from "../src/random.ts";

/** Sizes of a product: a (M, K) times b (K, N). */
export interface MatmulSizes {
  M: number;
  N: number;
  K: number;
}

/** How fast a product is, and whether it is right. */
export interface MatmulSpeed extends MatmulSizes {
  /** 2 M N K operations over the time of one product. */
  gflops: number;
  /** Time of one product, the wait for the last shared among all. */
  ms: number;
  /** Products timed. */
  repeats: number;
  /** Largest error at the checked entries, as a share of what is allowed; above 1 it is wrong. */
  error: number;
}

/** Entries that are checked on the host. */
const CHECKED = 64;

/**
 * What an entry may be off by, as a share of the sum of its products' sizes: f32 sums of so many
 * terms stay well below it (2^-24 for each of the first additions), and a wrong index does not.
 */
const ALLOWED = 1e-5;

/**
 * Times `a b` on random numbers between -1 and 1, after one product that is compiled, run and
 * checked against f64 sums.
 *
 * @param milliseconds About how long to measure.
 * @throws {GpuError} If the device fails.
 */
export async function measureMatmul(
  gpu: Gpu,
  { M, N, K }: MatmulSizes,
  milliseconds = 500,
): Promise<MatmulSpeed> {
  const random = new Random(1);
  const fill = (n: number) => Float32Array.from({ length: n }, () => 2 * random.next() - 1);
  const hostA = fill(M * K), hostB = fill(K * N);
  using plan = new Plan(gpu);
  using stack = new DisposableStack();
  const tensor = (name: string, size: number) =>
    stack.adopt(makeTensor(gpu, name, size), (made) => freeTensor(gpu, made));
  const a = tensor("a", M * K), b = tensor("b", K * N), out = tensor("out", M * N);
  upload(gpu, a, hostA);
  upload(gpu, b, hostB);
  const product = matmul(plan, { a, b, out }, { product: "nn", M, N, K });

  submit(gpu, [product]);
  const [result] = await download(gpu, out);
  let error = 0;
  for (let i = 0; i < CHECKED; i++) {
    // The corners are where a tile is cut off.
    const m = i < 4 ? (i & 1) * (M - 1) : random.int(M);
    const n = i < 4 ? (i >> 1) * (N - 1) : random.int(N);
    let sum = 0, size = 0;
    for (let k = 0; k < K; k++) {
      const term = hostA[m * K + k] * hostB[k * N + n];
      sum += term;
      size += Math.abs(term);
    }
    const off = Math.abs(result[m * N + n] - sum) / (ALLOWED * size);
    error = Math.max(error, Number.isNaN(off) ? Infinity : off);
  }

  const once = await timed(gpu, [product]);
  const repeats = Math.max(1, Math.min(1000, Math.round(milliseconds / once)));
  const ms = await timed(gpu, Array<Dispatch>(repeats).fill(product)) / repeats;
  return { M, N, K, gflops: 2 * M * N * K / (ms * 1e6), ms, repeats, error };
}

/** Milliseconds until all is done. Each is a submission of its own, so that none runs for long. */
async function timed(gpu: Gpu, dispatches: readonly Dispatch[]): Promise<number> {
  const start = performance.now();
  for (const dispatch of dispatches) submit(gpu, [dispatch]);
  await gpu.idle();
  return performance.now() - start;
}
