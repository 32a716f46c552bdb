/**
 * Numbers that make_full_size_fixture.py makes alike, bit for bit: weights and tokens from a hash of
 * a name and a place, and sketches of tensors that are too large to store.
 */
import { allHeads, parameterLayout } from "../src/gpt2/layout.ts";
import type { Gpt2Config } from "../src/gpt2/config.ts";

/** Buckets of a sketch. */
const BUCKETS = 64;

/** FNV-1a of a name. */
export function seedOf(name: string): number {
  let h = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) h = Math.imul(h ^ byte, 0x01000193);
  return h >>> 0;
}

/** The hash of place i under a seed; a signed 32-bit number. */
export function hash(seed: number, i: number): number {
  let h = (Math.imul(i, 0x9e3779b9) + seed) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Every parameter of a model, uniform; norms' weights about 1. */
export function hashedWeights(config: Gpt2Config): Map<string, Float32Array> {
  return new Map(
    parameterLayout(config, allHeads(config)).map(({ name, size }) => {
      const seed = seedOf(name), values = new Float32Array(size);
      const norm = `.${name}`.includes(".ln_");
      const scale = norm ? 0.25 : 0.0625, shift = norm && name.endsWith("weight") ? 1 : 0;
      for (let i = 0; i < size; i++) {
        values[i] = ((hash(seed, i) >>> 8) / 2 ** 23 - 1) * scale + shift;
      }
      return [name, values];
    }),
  );
}

/** Whole numbers below a bound. */
export function hashedIntegers(name: string, n: number, below: number): Uint32Array<ArrayBuffer> {
  const seed = seedOf(name);
  return Uint32Array.from({ length: n }, (_, i) => (hash(seed, i) >>> 0) % below);
}

/**
 * A tensor's elements, with signs drawn by the name's hash, added into 64 buckets: a difference of
 * two tensors keeps its L2 norm in expectation.
 */
export function sketch(name: string, values: Float32Array): Float64Array {
  const seed = seedOf(`${name}/sketch`), out = new Float64Array(BUCKETS);
  for (let i = 0; i < values.length; i++) {
    const h = hash(seed, i);
    out[h & (BUCKETS - 1)] += h & BUCKETS ? -values[i] : values[i];
  }
  return out;
}
