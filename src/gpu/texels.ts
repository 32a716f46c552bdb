/**
 * Tensors read as texels. A driver that computes on the CPU loads from a storage buffer number by
 * number, each with a test of the lane and of the bounds; from a texture it loads four numbers at
 * once. Kernels that read the same numbers many times gain more than the copy costs (two to three
 * times for matrix products, on Mesa's llvmpipe).
 *
 * A texture is used as a row of texels that wraps every {@linkcode TEXELS_WIDE}: texel i of a tensor
 * holds its elements 4 i to 4 i + 3.
 *
 * @module
 */
import type { Gpu } from "./device.ts";
import type { Tensor } from "./tensor.ts";

/** Texels in a row of a texture; a power of two, because shaders divide by it. */
export const TEXELS_WIDE = 2048;

/** A tensor and the texture that it is copied into. */
export interface TexelCopy {
  readonly tensor: Tensor;
  readonly texture: GPUTexture;
}

/** Whether this adapter's textures can hold tensors of so many elements for kernels to read. */
export function texelsFit(gpu: Gpu, size: number): boolean {
  return gpu.readsTextures && rows(size) <= gpu.device.limits.maxTextureDimension2D;
}

function rows(size: number): number {
  return Math.ceil(size / (4 * TEXELS_WIDE));
}

/** Bytes of the texture that a tensor of so many elements is copied into. */
export function texelBytes(size: number): number {
  return rows(size) * TEXELS_WIDE * 16;
}

/**
 * Textures that all plans of a device share: one call's texels are gone when the next copies its own,
 * so a few textures serve all. They are released with the last plan.
 */
export class TexelPool {
  static readonly #pools = new WeakMap<Gpu, TexelPool>();
  readonly #gpu: Gpu;
  #plans = 0;
  #textures: GPUTexture[] = [];

  private constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /** The device's pool, for one plan more; that plan must {@linkcode TexelPool.leave} it. */
  static join(gpu: Gpu): TexelPool {
    const pool = TexelPool.#pools.get(gpu) ?? new TexelPool(gpu);
    TexelPool.#pools.set(gpu, pool);
    pool.#plans++;
    return pool;
  }

  leave(): void {
    if (--this.#plans > 0) return;
    for (const texture of this.#textures.splice(0)) this.#gpu.release(texture);
  }

  /**
   * A texture that a tensor fits into.
   *
   * @param others Textures that the same call reads.
   */
  take({ size }: Tensor, others: readonly GPUTexture[]): GPUTexture {
    const height = rows(size);
    const known = this.#textures.find((texture) =>
      texture.height >= height && !others.includes(texture)
    );
    if (known) return known;
    const made = this.#gpu.texture("texels", TEXELS_WIDE, height);
    this.#textures.push(made);
    return made;
  }
}

/** Encodes the copy of a tensor into its texture. */
export function copyTexels(encoder: GPUCommandEncoder, { tensor, texture }: TexelCopy): void {
  const { buffer, offset, size } = tensor;
  const bytesPerRow = 16 * TEXELS_WIDE;
  const texels = Math.ceil(size / 4);
  const whole = Math.floor(texels / TEXELS_WIDE), rest = texels % TEXELS_WIDE;
  if (whole > 0) {
    const source = { buffer, offset, bytesPerRow };
    encoder.copyBufferToTexture(source, { texture }, [TEXELS_WIDE, whole]);
  }
  if (rest > 0) {
    const source = { buffer, offset: offset + whole * bytesPerRow };
    encoder.copyBufferToTexture(source, { texture, origin: [0, whole] }, [rest, 1]);
  }
}
