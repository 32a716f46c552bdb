/**
 * The device: which adapter, with which limits, what went wrong on it, and how many bytes live there.
 *
 * @module
 */
import { taskCommand } from "../shell.ts";

/** Thrown when WebGPU itself fails: no adapter, limits too small, a validation error, out of memory. */
export class GpuError extends Error {
  /** `GpuError`, or the name of the kind of it. */
  override name = "GpuError";
}

/** Thrown when the device is gone; everything on it is lost. */
export class DeviceLostError extends GpuError {
  /** `DeviceLostError`. */
  override name = "DeviceLostError";
}

/** What is known of the adapter. */
export interface AdapterInfo {
  /** As the driver names it, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`. */
  readonly name: string;
  /** Whether the adapter computes on the CPU. */
  readonly software: boolean;
  /** The vendor's number as the runtime reports it, in decimal: `65541` is Mesa's for llvmpipe. */
  readonly vendor: string;
  /** The device's number as the runtime reports it, in decimal; 0 where the driver gives none. */
  readonly device: string;
}

/** Which adapter to open. */
export interface GpuOptions {
  /** `auto` takes the fastest there is, `gpu` refuses a software adapter, `cpu` asks for one. */
  device?: "auto" | "gpu" | "cpu";
  /** Most bytes to bind at once, to see what a smaller adapter would do; the adapter's limit unless given. */
  maxBinding?: number;
  /** Overrides {@linkcode Gpu.serial}, to test the kernels of one kind of adapter on the other. */
  serial?: boolean;
  /** The adapter's provider; `navigator.gpu` unless given. */
  gpu?: GPU;
}

/** A matmul schedule by its entry point and sizes; `src/kernels/matmul.ts` says what they mean. */
export type MatmulPick =
  | { entry: "registers"; TM: number; TN: number; WX: number; WY: number }
  | { entry: "tiled"; TM: number; TN: number; BK: number };

/** A range of a buffer, in bytes. */
export interface BufferRange {
  /** A buffer that may be copied from. */
  readonly buffer: GPUBuffer;
  /** Where the range begins; a multiple of 4. */
  readonly offset: number;
  /** Its length; a multiple of 4. */
  readonly size: number;
}

/** Bytes that are read back in one wait, unless a single range is larger. */
const READ_BYTES = 1 << 27;

/** Cuts a list of ranges into lists of at most so many bytes, or of one range. */
function groups(ranges: readonly BufferRange[], most: number): BufferRange[][] {
  const out: BufferRange[][] = [[]];
  let bytes = 0;
  for (const range of ranges) {
    if (bytes + range.size > most && bytes > 0) {
      out.push([]);
      bytes = 0;
    }
    out[out.length - 1].push(range);
    bytes += range.size;
  }
  return out;
}

const SOFTWARE = /llvmpipe|lavapipe|swiftshader|software|basic render|warp/i;

/** Limits that we raise to what the adapter offers, because models are large. */
const RAISED = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxTextureDimension2D",
] as const;

/** A WebGPU device with its errors gathered and its bytes counted. */
export class Gpu implements Disposable {
  /** WebGPU's own device. Buffers made on it directly are not counted in {@linkcode Gpu.bytes}. */
  readonly device: GPUDevice;
  /** The adapter that was opened. */
  readonly info: AdapterInfo;
  /**
   * Whether threads should work alone rather than share workgroup memory: true on software adapters,
   * whose threads are lanes of one SIMD register and whose barriers cost more than they save.
   */
  readonly serial: boolean;
  /** Whether kernels may read from as many storage textures as ours do: not every runtime can. */
  readonly readsTextures: boolean;
  /** Largest number of bytes one binding may cover; larger tensors are bound in pieces. */
  readonly maxBinding: number;
  /** Bytes in buffers and textures made here and not yet destroyed. */
  bytes = 0;
  /**
   * How matrix products are cut on this adapter, where something else than the default was picked.
   *
   * @internal
   */
  matmulSchedule: MatmulPick | undefined;
  /**
   * Compiled pipelines by source text; see `kernel.ts`.
   *
   * @internal
   */
  readonly pipelines: Map<string, unknown> = new Map();
  /**
   * Compilations whose verdict has not been read: each gives an error message or nothing.
   *
   * @internal
   */
  readonly pending: Promise<string | null | undefined>[] = [];
  #errors: string[] = [];
  /** What was said when memory ran out: whatever else went wrong followed from it. */
  #memory: string | undefined;
  #lost: string | undefined;
  #disposed = false;

  private constructor(
    device: GPUDevice,
    info: AdapterInfo,
    { maxBinding = Infinity, serial = info.software, gpu }: GpuOptions,
  ) {
    this.device = device;
    this.info = info;
    this.serial = serial;
    this.readsTextures = device.limits.maxStorageTexturesPerShaderStage >= 3 &&
      (languageFeatures(gpu)?.has("readonly_and_readwrite_storage_textures") ?? false);
    // whole multiples of the alignment, so that pieces of tensors begin where bindings may
    const most = Math.min(maxBinding, device.limits.maxStorageBufferBindingSize);
    this.maxBinding = Math.floor(most / 256) * 256;
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      const { error } = event as GPUUncapturedErrorEvent;
      if (error instanceof GPUOutOfMemoryError) this.#memory ??= error.message;
      else this.#errors.push(error.message);
    });
    device.lost.then((lost) => {
      if (!this.#disposed) this.#lost = lost.message || String(lost.reason);
    });
  }

  /**
   * Opens the default adapter.
   *
   * @throws {GpuError} If there is no adapter, or it lacks what every kernel needs.
   */
  static async open(
    { device: choice = "auto", gpu, ...options }: GpuOptions = {},
  ): Promise<Gpu> {
    gpu ??= globalThis.navigator?.gpu;
    const adapter = await gpu?.requestAdapter({
      powerPreference: "high-performance",
      forceFallbackAdapter: choice === "cpu",
    });
    if (!adapter) {
      throw new GpuError(
        `No WebGPU adapter found: ${taskCommand("doctor")} says what is missing. ` +
          "Linux: install the Vulkan " +
          "loader and a driver (Debian, Ubuntu: apt install libvulkan1 mesa-vulkan-drivers), which also " +
          "computes without a GPU. Windows: install the current driver of the GPU's maker. macOS: Deno " +
          "uses Metal, which a virtual machine may lack.",
      );
    }
    const { limits } = adapter;
    const need: [keyof GPUSupportedLimits, number][] = [
      ["maxStorageBuffersPerShaderStage", 8],
      ["maxComputeInvocationsPerWorkgroup", 256],
      ["maxComputeWorkgroupStorageSize", 16384],
      ["maxStorageBufferBindingSize", 1 << 27],
    ];
    for (const [limit, least] of need) {
      if ((limits[limit] as number) < least) {
        throw new GpuError(
          `The adapter's ${limit} is too small: ${limits[limit]}, and Pollard needs ${least}`,
        );
      }
    }
    const requiredLimits = Object.fromEntries(RAISED.map((limit) => [limit, limits[limit]]));
    const { description, device: id, vendor } = adapter.info;
    const name = description || id || vendor || "unnamed adapter";
    const software = SOFTWARE.test(name);
    if (choice === "gpu" && software) {
      throw new GpuError(
        `The only adapter computes on the CPU: ${name}; leave device at auto to use it`,
      );
    }
    if (choice === "cpu" && !software) {
      throw new GpuError(`There is no software adapter; the one found is ${name}`);
    }
    const device = await adapter.requestDevice({ label: "pollard", requiredLimits });
    return new Gpu(device, { name, software, vendor, device: id }, { ...options, gpu });
  }

  /**
   * Creates a buffer that counts.
   *
   * @param size Bytes; rounded up to 16.
   * @throws {GpuError} If the adapter cannot hold a buffer of that size.
   */
  buffer(label: string, size: number, usage: GPUBufferUsageFlags): GPUBuffer {
    this.check();
    const rounded = Math.max(16, Math.ceil(size / 16) * 16);
    if (rounded > this.device.limits.maxBufferSize) {
      throw new GpuError(
        `Buffer ${label} needs ${rounded} bytes, and this adapter's maxBufferSize is ${this.device.limits.maxBufferSize}`,
      );
    }
    const buffer = this.device.createBuffer({ label, size: rounded, usage });
    this.bytes += rounded;
    return buffer;
  }

  /**
   * Creates a texture of four f32 a texel that counts; kernels read it, copies fill it.
   *
   * @throws {GpuError} If the adapter cannot hold a texture of that size.
   */
  texture(label: string, width: number, height: number): GPUTexture {
    this.check();
    const most = this.device.limits.maxTextureDimension2D;
    if (Math.max(width, height) > most) {
      throw new GpuError(
        `Texture ${label} needs ${width} x ${height} texels, and this adapter's maxTextureDimension2D is ${most}`,
      );
    }
    const usage = 0x08 | 0x02; // STORAGE_BINDING | COPY_DST
    const size = [width, height];
    const texture = this.device.createTexture({ label, size, usage, format: "rgba32float" });
    this.bytes += width * height * 16;
    return texture;
  }

  /** Destroys a buffer or texture made here. */
  release(made: GPUBuffer | GPUTexture): void {
    this.bytes -= "format" in made ? made.width * made.height * 16 : made.size;
    made.destroy();
  }

  /**
   * Throws what the device has complained of since the last check. WebGPU reports errors late:
   * they surface here, at the next read-back, not at the call that caused them.
   *
   * @throws {DeviceLostError} If the device is lost.
   * @throws {GpuError} If any call failed validation or ran out of memory.
   */
  check(): void {
    if (this.#lost !== undefined) {
      throw new DeviceLostError(`The GPU device was lost: ${this.#lost}`);
    }
    if (this.#memory !== undefined) {
      const said = this.#memory;
      this.#memory = undefined;
      this.#errors.length = 0;
      throw new GpuError(
        `The adapter is out of memory: take a smaller model, batch_size or max_length (${said})`,
      );
    }
    if (this.#errors.length > 0) {
      const [first, ...rest] = this.#errors.splice(0);
      const more = rest.length > 0 ? ` (and ${rest.length} more)` : "";
      throw new GpuError(`WebGPU error: ${first}${more}`);
    }
  }

  /**
   * Waits for the verdict on every kernel compiled so far.
   *
   * @throws {GpuError} With the compiler's words and the generated source, if one failed.
   */
  async compiled(): Promise<void> {
    const verdicts = await Promise.all(this.pending.splice(0));
    const failed = verdicts.find(Boolean);
    if (failed) {
      this.#errors.length = 0; // what followed from it
      throw new GpuError(failed);
    }
    this.check();
  }

  /**
   * Copies ranges of buffers back to the host: one submission and one wait for all of them.
   * An awaited read-back costs about 11 ms on Deno however little is read, so read rarely.
   *
   * Large amounts come in several waits, so that the copy needs little memory of its own.
   *
   * @param ranges Buffers with offset and size in bytes (multiples of 4).
   * @returns One array of bytes per range.
   */
  async read(ranges: readonly BufferRange[]): Promise<ArrayBuffer[]> {
    const out: ArrayBuffer[] = [];
    for (const group of groups(ranges, READ_BYTES)) out.push(...await this.#readGroup(group));
    return out;
  }

  async #readGroup(ranges: readonly BufferRange[]): Promise<ArrayBuffer[]> {
    const total = ranges.reduce((sum, range) => sum + range.size, 0);
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const staging = this.buffer("readback", total, usage);
    try {
      const encoder = this.device.createCommandEncoder();
      let at = 0;
      for (const { buffer, offset, size } of ranges) {
        encoder.copyBufferToBuffer(buffer, offset, staging, at, size);
        at += size;
      }
      this.device.queue.submit([encoder.finish()]);
      try {
        await staging.mapAsync(GPUMapMode.READ);
      } catch (error) {
        // that the device is lost is told a moment after the call that noticed
        await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, 50))]);
        this.check();
        throw new GpuError(`Reading back from the GPU failed: ${(error as Error).message}`);
      }
      await this.compiled();
      const mapped = staging.getMappedRange();
      at = 0;
      return ranges.map(({ size }) => mapped.slice(at, at += size));
    } finally {
      this.release(staging);
    }
  }

  /** Waits until the GPU has done all that was submitted. */
  async idle(): Promise<void> {
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const fence = this.buffer("fence", 16, usage);
    try {
      await this.read([{ buffer: fence, offset: 0, size: 4 }]);
    } finally {
      this.release(fence);
    }
  }

  /** Gives the device back. Buffers still alive on it are gone too. */
  dispose(): void {
    this.#disposed = true;
    this.device.destroy();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** What WGSL may use; not all of Deno's declarations of WebGPU know of it. */
function languageFeatures(gpu?: GPU): ReadonlySet<string> | undefined {
  return (gpu as { wgslLanguageFeatures?: ReadonlySet<string> } | undefined)?.wgslLanguageFeatures;
}
