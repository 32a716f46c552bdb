/**
 * Whether a model's weights can be read into memory, known from its sizes alone.
 *
 * @module
 */
import type { Gpt2Config } from "../gpt2/config.ts";
import { type LiveHeads, parameterLayout } from "../gpt2/layout.ts";
import { byteCount } from "../units.ts";

/**
 * Refuses a model whose weights are more than the memory that is free: reading them would end the
 * process, and others.
 *
 * @param where What to call the model. @param live Heads that are held; all unless given.
 * @throws {RangeError} If they are.
 */
export function checkHostMemory(where: string, config: Gpt2Config, live?: LiveHeads): void {
  const free = freeMemory();
  const numbers = parameterLayout(config, live).reduce((sum, { size }) => sum + size, 0);
  if (free === undefined || 4 * numbers <= free) return;
  throw new RangeError(
    `${where} has ${numbers.toLocaleString("en-US")} parameters, which take ` +
      `${byteCount(4 * numbers)} of memory when they are read, and ${byteCount(free)} are free: ` +
      "take a smaller model, or end other programs",
  );
}

/** Bytes of memory that may be taken; nothing where that may not be asked. */
function freeMemory(): number | undefined {
  try {
    const { available, swapFree } = Deno.systemMemoryInfo();
    return available + swapFree;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}
