/**
 * Where a step's time goes, op by op.
 *
 * @module
 */
import type { Gpu } from "../src/gpu/device.ts";
import { type Dispatch, replay } from "../src/gpu/kernel.ts";
import type { Trainer } from "../src/optim/trainer.ts";
import { replayTime } from "./timing.ts";

/** Parts of a step: to the loss, back to the parameters, and AdamW with the gradient's norm. */
export type Phase = "forward" | "backward" | "update";

/** One op's part. */
export interface OpTime {
  /** Page and entry: `matmul.registers`. */
  op: string;
  phase: Phase;
  /** Dispatches in a step. */
  calls: number;
  /** Milliseconds of all of them together; absent if too short to be measured. */
  ms?: number;
  /** `ms` as a share of the sum over ops. */
  share?: number;
}

/** A step taken apart. */
export interface Profile {
  /** Longest first. */
  ops: OpTime[];
  /** Sum over ops. */
  sum_ms: number;
  /** The same dispatches in their own order. */
  whole_ms?: number;
  /** Head metrics, which a step gathers only when asked: not in the sum. */
  metrics_ms?: number;
}

/** A part of a step and a way to encode it. */
interface Part {
  op: string;
  phase: Phase;
  calls: number;
  encode(encoder: GPUCommandEncoder): void;
}

/** The last dispatch of forward. */
const FORWARD_END = "crossentropy.mean";

/**
 * Replays each op's dispatches by themselves, many times over. That is not quite what a step does:
 * alone, an op finds its own data in the cache and none of the others'. So the whole step is replayed
 * too, and how far the sum is from it says how far to trust the shares.
 *
 * The learning rate is 0 meanwhile, and a pass before each op restores what replaying wears out.
 */
export async function profile(
  gpu: Gpu,
  trainer: Trainer,
  { restore, fenceMs }: { restore: () => void; fenceMs: number },
): Promise<Profile> {
  const { pass, update, metrics: heads, norms } = trainer.lists;
  const metrics = [...heads, ...norms];
  const time = async ({ calls, encode }: Part) => {
    restore();
    await gpu.idle();
    return replayTime(gpu, (encoder, times) => {
      for (let i = 0; i < times; i++) encode(encoder);
    }, { commands: calls, fenceMs });
  };
  const clear = clearPart(trainer);
  const step = dispatchPart("step", "update", [...pass, ...update]);
  const whole_ms = await time({
    ...step,
    calls: clear.calls + step.calls,
    encode(encoder) {
      clear.encode(encoder);
      step.encode(encoder);
    },
  });

  const forwardEnd = pass.findLastIndex(({ label }) => label === FORWARD_END) + 1;
  if (forwardEnd === 0) throw new Error(`No ${FORWARD_END} among the dispatches of a step`);
  const parts = [
    clear,
    ...partsOf("forward", pass.slice(0, forwardEnd)),
    ...partsOf("backward", pass.slice(forwardEnd)),
    ...partsOf("update", update),
  ];
  const ops: OpTime[] = [];
  for (const part of parts) {
    const { op, phase, calls } = part;
    const ms = await time(part);
    ops.push({ op, phase, calls, ...(ms !== undefined && { ms }) });
  }
  const metrics_ms = await time(dispatchPart("metrics", "backward", metrics));
  return { ...sharesOf(ops), ...withDefined({ whole_ms, metrics_ms }) };
}

/** Sums ops and gives each its share, longest first; what was not measured has none. */
export function sharesOf(ops: readonly OpTime[]): Pick<Profile, "ops" | "sum_ms"> {
  const sum_ms = ops.reduce((sum, { ms = 0 }) => sum + ms, 0);
  const sorted = ops.map((op) => op.ms === undefined ? op : { ...op, share: op.ms / sum_ms })
    .sort((a, b) => (b.ms ?? -1) - (a.ms ?? -1));
  return { ops: sorted, sum_ms };
}

function partsOf(phase: Phase, list: readonly Dispatch[]): Part[] {
  const byOp = Map.groupBy(list, ({ label }) => label);
  return [...byOp].map(([op, some]) => dispatchPart(op, phase, some));
}

function dispatchPart(op: string, phase: Phase, list: readonly Dispatch[]): Part {
  return {
    op,
    phase,
    calls: list.length,
    encode(encoder) {
      replay(encoder, list);
    },
  };
}

function clearPart({ grads }: Trainer): Part {
  const buffers = new Set([...grads.values()].map(({ buffer }) => buffer));
  return {
    op: "clear gradients",
    phase: "backward",
    calls: buffers.size,
    encode(encoder) {
      for (const buffer of buffers) encoder.clearBuffer(buffer);
    },
  };
}

/** An object without the entries that are undefined. */
function withDefined<T extends Record<string, number | undefined>>(values: T) {
  const known = Object.entries(values).filter(([, value]) => value !== undefined);
  return Object.fromEntries(known) as { [K in keyof T]?: number };
}
