/**
 * Whether a run fits on the adapter, told before anything is allocated; where it does not, what would.
 *
 * @module
 */
import type { Gpt2Config } from "../gpt2/config.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import type { Gpu } from "../gpu/device.ts";
import { type MemoryPart, type MemoryPlan, planModels } from "../optim/memory.ts";
import { count, plural } from "../report/theme.ts";
import { byteCount } from "../units.ts";
import type { Allocation } from "./allocate.ts";

/** A plan of so many bytes is told as a table, a smaller one in a line. */
const TABLE_BYTES = 1e9;

/** A model's sizes. */
interface ModelSizes {
  config: Gpt2Config;
  live: LiveHeads;
}

/** Who is told. */
interface MemoryListeners {
  onMessage?(line: string): void;
  onDetail?(line: string): void;
}

/**
 * Bytes that an adapter may take, where that is known: a software adapter takes the machine's own;
 * what a GPU has, WebGPU does not tell.
 */
export function memoryLimit({ info }: Gpu): number | undefined {
  return info.software ? Deno.systemMemoryInfo().available : undefined;
}

/**
 * Plans what a run allocates, or what forward passes do.
 *
 * @param most Bytes there are; {@linkcode memoryLimit} unless given.
 * @throws {RangeError} If it does not fit, naming the largest batch and sequence that would.
 */
export function planMemory(
  gpu: Gpu,
  model: ModelSizes,
  allocation: Allocation,
  most: number | undefined = memoryLimit(gpu),
): MemoryPlan {
  const plan = attempt(gpu, model, allocation, most);
  if (typeof plan !== "string") return plan;
  const { B, T, recompute, accumulate, training = true } = allocation;
  const { lengthOption = "max_length", batchOption = "batch_size" } = allocation;
  const fits = (change: Partial<Allocation>) =>
    typeof attempt(gpu, model, { ...allocation, ...change }, most) !== "string";
  const batch = largest(B - 1, (B) => fits({ B }));
  const length = largest(T - 1, (T) => fits({ T }));
  const alone = batch === 0 && length < 2 ? largest(T - 1, (T) => fits({ B: 1, T })) : 0;
  const ways = [
    ...batch > 0 ? [`${batchOption} ${batch}`] : [],
    ...length > 1 ? [`${lengthOption} ${length}`] : [],
    ...alone > 1 ? [`${batchOption} 1 with ${lengthOption} ${alone}`] : [],
    ...training && !recompute && fits({ recompute: true }) ? ["recompute"] : [],
  ];
  const divisor = largestDivisor(B, batch);
  const alike = `batch_size ${divisor} with gradient_accumulation_steps ${
    B / divisor * (accumulate ?? 1)
  }`;
  if (ways.length === 0) {
    // what stands in the way of the smallest batch tells more than what a larger one needs
    const smallest = attempt(gpu, model, { ...allocation, B: 1, T: 1 }, most);
    throw new RangeError(
      `${typeof smallest === "string" ? smallest : plan}; no batch of this model fits: take a ` +
        "smaller model, or another adapter",
    );
  }
  throw new RangeError(
    `${plan}; what fits: ${ways.join(", or ")}` +
      (accumulate !== undefined && batch > 0 ? `; ${alike} trains alike` : ""),
  );
}

/** The plan, or why it does not fit. */
function attempt(
  gpu: Gpu,
  model: ModelSizes,
  allocation: Allocation,
  most = Infinity,
): MemoryPlan | string {
  let plan: MemoryPlan;
  try {
    plan = planModels(gpu, model, allocation);
  } catch (error) {
    if (error instanceof RangeError) return error.message;
    throw error;
  }
  const { B, T, training = true, batchOption = "batch_size" } = allocation;
  const { largest_binding: bound, binding_limit, largest_buffer: buffer, buffer_limit } = plan;
  const too = (what: string) => `${batchOption} ${B} x ${T} tokens does not fit: ${what}`;
  if (bound.bytes > binding_limit) {
    return too(
      `${bound.what} would bind ${byteCount(bound.bytes)} at once, and this adapter binds ` +
        byteCount(binding_limit),
    );
  }
  if (buffer.bytes > buffer_limit) {
    return too(
      `${buffer.what} would take a buffer of ${byteCount(buffer.bytes)}, and this adapter's ` +
        `largest has ${byteCount(buffer_limit)}`,
    );
  }
  if (plan.bytes > most) {
    return too(
      `${plural(plan.models, "model")}${training ? " in training" : ""} would take ` +
        `${byteCount(plan.bytes)}, and ${byteCount(most)} are free`,
    );
  }
  return plan;
}

/** The largest whole number from 1 to `most` that passes, where smaller ones pass too; else 0. */
function largest(most: number, passes: (n: number) => boolean): number {
  let low = 0, high = most;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (passes(middle)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The largest divisor of a number that is at most `most`; 1 at least. */
function largestDivisor(of: number, most: number): number {
  let divisor = Math.max(1, most);
  while (of % divisor !== 0) divisor--;
  return divisor;
}

/** The plan in a line. */
export function memoryLine(plan: MemoryPlan): string {
  const { models, B, T, parameters, parts, bytes, largest_binding, binding_limit } = plan;
  const one = parts.reduce((sum, part) => sum + part.bytes, 0);
  return `memory: ${byteCount(bytes)} for ${plural(models, "model")} of ${count(parameters)} ` +
    `parameters in training, ${byteCount(one)} each with ${B} x ${T} tokens; largest binding ` +
    `${byteCount(largest_binding.bytes)} of ${byteCount(binding_limit)}`;
}

/** The plan in full, a line for each use. */
export function memoryTable(plan: MemoryPlan): string[] {
  const { models, B, T, parameters, parts, shared, bytes } = plan;
  const row = ({ what, bytes }: MemoryPart, note = "") =>
    `  ${what.padEnd(26)}${byteCount(bytes).padStart(9)}${note && `   ${note}`}`;
  const { largest_binding: binding, largest_buffer: buffer } = plan;
  const { vocabulary_pieces } = plan;
  const notes: Record<string, string> = {
    parameters: count(parameters),
    activations: `${B} x ${T} tokens`,
    "logits and losses": vocabulary_pieces > 1
      ? `the vocabulary in ${vocabulary_pieces} pieces, one at a time`
      : "",
  };
  return [
    "memory on the device, planned:",
    ...parts.map((part) => row(part, notes[part.what])),
    ...shared.map((part) => row(part, "shared by all models")),
    row({ what: "together", bytes }, plural(models, "model")),
    row(
      { what: "largest binding", bytes: binding.bytes },
      `${binding.what}; the adapter binds ${byteCount(plan.binding_limit)}`,
    ),
    row(
      { what: "largest tensor", bytes: buffer.bytes },
      `${buffer.what}; the adapter's buffers have ${byteCount(plan.buffer_limit)} at most`,
    ),
  ];
}

/** Tells the plan: a line, or the table where it is large or details are wanted. */
export function tellMemory(plan: MemoryPlan, { onMessage, onDetail }: MemoryListeners): void {
  const large = plan.bytes >= TABLE_BYTES;
  if (!large) onMessage?.(memoryLine(plan));
  const tell = large ? onMessage : onDetail;
  for (const line of memoryTable(plan)) tell?.(line);
}
