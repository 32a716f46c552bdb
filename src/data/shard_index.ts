/**
 * `model.safetensors.index.json`: which tensor lies in which file of a sharded model.
 *
 * @module
 */

/**
 * The names of the tensors in every shard.
 *
 * @param index The parsed file. @param where What to call it in an error.
 * @throws {TypeError} If it names no files, or files elsewhere.
 */
export function parseIndex(index: unknown, where: string): Map<string, Set<string>> {
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== "object" || map === null || Array.isArray(map)) {
    throw new TypeError(`${where} must hold a JSON object with a "weight_map"`);
  }
  const shards = new Map<string, Set<string>>();
  for (const [name, shard] of Object.entries(map)) {
    // A plain name, or the index could make us read files elsewhere.
    if (typeof shard !== "string" || !/^[\w-][\w.-]*\.safetensors$/.test(shard)) {
      throw new TypeError(
        `${where}: "${name}" must lie in a .safetensors file of the same folder: ${
          JSON.stringify(shard)
        }`,
      );
    }
    if (!shards.has(shard)) shards.set(shard, new Set());
    shards.get(shard)!.add(name);
  }
  return shards;
}
