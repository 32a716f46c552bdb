/**
 * Tensors: a range of a GPU buffer that holds 4-byte numbers. Shapes are the launchers' business.
 *
 * @module
 */
import type { Gpu } from "./device.ts";

/** Bytes to which every tensor's offset is aligned: WebGPU's default for storage bindings. */
export const ALIGNMENT = 256;

/** A range of a buffer. */
export interface Tensor {
  /** The buffer, which other tensors may share. */
  readonly buffer: GPUBuffer;
  /** Bytes from the start of the buffer; a multiple of {@linkcode ALIGNMENT}. */
  readonly offset: number;
  /** Number of 4-byte elements. */
  readonly size: number;
}

const STORAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST, as numbers: browsers without WebGPU lack the names

/**
 * Several tensors in as few buffers as the adapter's limits allow, filled with zeros.
 * They live and die together.
 */
export class Arena implements Disposable {
  readonly buffers: GPUBuffer[] = [];
  readonly tensors: Tensor[] = [];
  readonly #gpu: Gpu;

  /**
   * @param label Names the buffers in error messages.
   * @param sizes Number of elements of each tensor.
   */
  constructor(gpu: Gpu, label: string, sizes: readonly number[]) {
    this.#gpu = gpu;
    const largest = gpu.device.limits.maxBufferSize;
    const places: { buffer: number; offset: number; size: number }[] = [];
    const lengths: number[] = [];
    for (const size of sizes) {
      const bytes = Math.max(1, Math.ceil(size * 4 / ALIGNMENT)) * ALIGNMENT;
      if (lengths.length === 0 || lengths[lengths.length - 1] + bytes > largest) lengths.push(0);
      const buffer = lengths.length - 1;
      places.push({ buffer, offset: lengths[buffer], size });
      lengths[buffer] += bytes;
    }
    try {
      for (const [i, length] of lengths.entries()) {
        this.buffers.push(gpu.buffer(`${label} ${i}`, length, STORAGE));
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.tensors = places.map(({ buffer, offset, size }) => ({
      buffer: this.buffers[buffer],
      offset,
      size,
    }));
  }

  /** Sets every element to zero, as part of `encoder`'s commands. */
  clear(encoder: GPUCommandEncoder): void {
    for (const buffer of this.buffers) encoder.clearBuffer(buffer);
  }

  dispose(): void {
    for (const buffer of this.buffers.splice(0)) this.#gpu.release(buffer);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A tensor in a buffer of its own. Release it with {@linkcode freeTensor}. */
export function makeTensor(gpu: Gpu, label: string, size: number): Tensor {
  return { buffer: gpu.buffer(label, size * 4, STORAGE), offset: 0, size };
}

/** Destroys the buffer of a tensor made by {@linkcode makeTensor}. */
export function freeTensor(gpu: Gpu, tensor: Tensor): void {
  gpu.release(tensor.buffer);
}

/**
 * A part of a tensor.
 *
 * @param start First element; `start * 4` must keep the alignment.
 * @throws {RangeError} If the part leaves the tensor or is not aligned.
 */
export function slice(tensor: Tensor, start: number, size: number): Tensor {
  if (start < 0 || size < 0 || start + size > tensor.size) {
    throw new RangeError(`Slice [${start}, ${start + size}) leaves a tensor of ${tensor.size}`);
  }
  if (start * 4 % ALIGNMENT !== 0) {
    throw new RangeError(`Slice start ${start} is not a multiple of ${ALIGNMENT / 4} elements`);
  }
  return { buffer: tensor.buffer, offset: tensor.offset + start * 4, size };
}

/** The first elements of a tensor: `size` of them, or all where there are fewer. */
export function first(tensor: Tensor, size: number): Tensor {
  return slice(tensor, 0, Math.min(size, tensor.size));
}

/**
 * Copies host values into a tensor.
 *
 * @param start Element of the tensor to begin at.
 * @throws {RangeError} If they do not fit.
 */
export function upload(
  gpu: Gpu,
  tensor: Tensor,
  values: Float32Array | Uint32Array,
  start = 0,
): void {
  if (start + values.length > tensor.size) {
    throw new RangeError(
      `Cannot upload ${values.length} values at ${start} into a tensor of ${tensor.size}`,
    );
  }
  gpu.device.queue.writeBuffer(
    tensor.buffer,
    tensor.offset + start * 4,
    values.buffer as ArrayBuffer,
    values.byteOffset,
    values.byteLength,
  );
}

/** Copies tensors back to the host in one wait; see {@linkcode Gpu.read}. */
export async function download(gpu: Gpu, ...tensors: Tensor[]): Promise<Float32Array[]> {
  const ranges = tensors.map(({ buffer, offset, size }) => ({ buffer, offset, size: size * 4 }));
  return (await gpu.read(ranges)).map((bytes) => new Float32Array(bytes));
}
