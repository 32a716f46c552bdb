/**
 * The memory of successful transformations as a file that later runs read.
 *
 * @module
 */
import { readLeft } from "./resume.ts";
import {
  type MemoryOptions,
  type MemoryState,
  TransformationMemory,
} from "../plasticity/memory.ts";
import { checkChoice } from "../ranges.ts";
import { GROWTH_CHOICES, PRUNING_CHOICES } from "./plasticity_system.ts";

/** Where a run folder keeps it. */
export const MEMORY_FILE = "memory/transformations.json";

/**
 * Reads a memory that an earlier run left.
 *
 * @param path A run folder, or the file itself.
 * @throws {TypeError} If there is none, it is damaged, or names a strategy that there is not.
 */
export async function loadMemory(
  path: string,
  options: Partial<MemoryOptions> = {},
): Promise<TransformationMemory> {
  const { file, value } = await readLeft("memory", path, MEMORY_FILE);
  const state = value as MemoryState;
  let memory: TransformationMemory;
  try {
    memory = TransformationMemory.fromJSON(state, options);
  } catch (error) {
    (error as Error).message = `${file}: ${(error as Error).message}`;
    throw error;
  }
  for (const { pruning_strategy, growth_strategy } of memory.entries) {
    checkChoice(`${file}: pruning_strategy`, pruning_strategy, PRUNING_CHOICES);
    checkChoice(`${file}: growth_strategy`, growth_strategy, GROWTH_CHOICES);
  }
  return memory;
}
