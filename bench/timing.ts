/**
 * Clocks: how often something took how long, and how much of it was spent where.
 *
 * @module
 */
import type { Gpu } from "../src/gpu/device.ts";

/** Milliseconds that `body` takes. */
export async function timed(body: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

/**
 * Adds up the time spent inside `queue.submit`, until disposed. It is counted apart from the rest of
 * the host's work, because a driver that computes on the CPU may do so in there, on our thread.
 */
export class SubmitClock implements Disposable {
  /** Milliseconds since the last reset. */
  ms = 0;
  readonly #queue: GPUQueue;

  constructor({ device: { queue } }: Gpu) {
    this.#queue = queue;
    const submit = queue.submit;
    queue.submit = (buffers) => {
      const start = performance.now();
      const result = submit.call(queue, buffers);
      this.ms += performance.now() - start;
      return result;
    };
  }

  [Symbol.dispose](): void {
    Reflect.deleteProperty(this.#queue, "submit"); // the prototype's shows again
  }
}

/** Milliseconds that a replay should last, so that the wait at its end matters little. */
const REPLAY_MS = 150;

/** Replays of which the least counts: what else the machine does only ever adds to it. */
const REPLAYS = 3;

/** Most commands in one replay: a device that is so fast needs no longer one. */
const REPLAY_COMMANDS = 20_000;

/**
 * Device time of a list of commands: they are encoded several times over, as many as make a good
 * 150 ms, and the clock runs from their submission to the end of the wait, less an empty wait. The
 * least of three counts.
 *
 * @param commands How many commands `encode` appends.
 * @param fenceMs What an empty wait costs.
 * @returns Milliseconds of one; absent if even thousands do not stand out from the wait.
 */
export async function replayTime(
  gpu: Gpu,
  encode: (encoder: GPUCommandEncoder, times: number) => void,
  { commands, fenceMs }: { commands: number; fenceMs: number },
): Promise<number | undefined> {
  const most = Math.max(1, Math.floor(REPLAY_COMMANDS / commands));
  const run = async (times: number) => {
    const encoder = gpu.device.createCommandEncoder();
    encode(encoder, times);
    const finished = encoder.finish();
    return await timed(() => {
      gpu.device.queue.submit([finished]);
      return gpu.idle();
    }) - fenceMs;
  };
  let times = 1, least = await run(times);
  while (least < REPLAY_MS && times < most) {
    const growth = Math.ceil(1.2 * REPLAY_MS / Math.max(least, 1));
    times = Math.min(most, times * Math.max(2, Math.min(16, growth)));
    least = await run(times);
  }
  for (let i = 1; i < REPLAYS; i++) least = Math.min(least, await run(times));
  return least > 0 ? least / times : undefined;
}
