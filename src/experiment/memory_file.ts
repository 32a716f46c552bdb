/**
 * The memory of successful transformations as a file that later runs read.
 *
 * @module
 */
import { join } from "node:path";
import { readJson } from "../data/files.ts";
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
  const stat = await Deno.stat(path).catch(() => undefined);
  const file = stat?.isDirectory ? join(path, MEMORY_FILE) : path;
  let state: MemoryState;
  try {
    state = await readJson(file) as MemoryState;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new TypeError(`memory ${path} has no ${stat ? MEMORY_FILE : "such file or folder"}`);
  }
  const memory = TransformationMemory.fromJSON(state, options);
  for (const { pruning_strategy, growth_strategy } of memory.entries) {
    checkChoice(`${file}: pruning_strategy`, pruning_strategy, PRUNING_CHOICES);
    checkChoice(`${file}: growth_strategy`, growth_strategy, GROWTH_CHOICES);
  }
  return memory;
}
