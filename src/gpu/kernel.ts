/**
 * Kernels: a shader page and its constants become a pipeline, once per device; a pipeline and its
 * tensors become a dispatch, once per plan; a plan is replayed at every step.
 *
 * The WGSL is the only place where a kernel's interface is written down. Tensors are bound by the
 * names of the page's `var<storage>` and `texture_storage_2d` declarations, and uniform values by the
 * names of the fields of `struct Params`, so host and shader cannot drift apart.
 *
 * @module
 */
import { type Gpu, GpuError } from "./device.ts";
import { type Constants, expand } from "./template.ts";
import type { Tensor } from "./tensor.ts";
import { copyTexels, type TexelCopy, TexelPool } from "./texels.ts";

/** One kernel call with everything bound: replaying it costs a few calls and no allocation. */
export interface Dispatch {
  /** Page and entry, for profiles and error messages. */
  readonly label: string;
  /** What is copied into textures before the kernel runs. */
  readonly copies: readonly TexelCopy[];
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  /** Workgroups in x, y, z. */
  readonly grid: readonly [number, number, number];
}

/** Which page, which of its entries, and the constants it is specialised by. */
export interface KernelSource {
  /** The op's name: `matmul`. */
  readonly op: string;
  /** Text of `shaders/<op>.wgsl`, with any helper pages before it. */
  readonly page: string;
  readonly entry: string;
  readonly constants?: Constants;
  /** Added to the label, where one entry serves several purposes. */
  readonly variant?: string;
}

/** What a call binds. */
export interface Call {
  readonly tensors: Readonly<Record<string, Tensor>>;
  readonly params?: Readonly<Record<string, number>>;
  readonly grid: readonly [number, number?, number?];
}

interface Field {
  name: string;
  type: string;
}

interface Compiled {
  pipeline: GPUComputePipeline;
  bindings: { name: string; index: number; kind: "storage" | "uniform" | "texels" }[];
  fields: Field[];
}

const BINDING =
  /@group\(0\)\s*@binding\((\d+)\)\s*var(?:<(storage|uniform)[^>]*>)?\s*(\w+)\s*:\s*(texture_storage_2d)?/g;

/**
 * Owns the uniform values of a plan's calls and the textures that hold their texels.
 * Dispatches made from a plan stop working when it is disposed.
 */
export class Plan implements Disposable {
  readonly #gpu: Gpu;
  readonly #texels: TexelPool;
  #uniforms: GPUBuffer[] = [];
  #used = 0;
  #disposed = false;
  static readonly #CHUNK = 1 << 16;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
    this.#texels = TexelPool.join(gpu);
  }

  /** The device this plan runs on. */
  get gpu(): Gpu {
    return this.#gpu;
  }

  /**
   * Binds a kernel to its tensors.
   *
   * @throws {GpuError} If the page does not compile, or the names do not match its declarations.
   */
  call(source: KernelSource, { tensors, params = {}, grid }: Call): Dispatch {
    const label = [source.op, source.entry, source.variant].filter(Boolean).join(".");
    const { pipeline, bindings, fields } = compile(this.#gpu, source, label);
    const [x, y = 1, z = 1] = grid;
    const given = new Set(Object.keys(tensors));
    const copies: TexelCopy[] = [];
    const entries = bindings.map(({ name, index, kind }): GPUBindGroupEntry => {
      if (kind === "uniform") {
        return { binding: index, resource: this.#uniform(label, fields, params) };
      }
      const tensor = tensors[name];
      if (tensor === undefined) throw new GpuError(`${label} lacks tensor ${name}`);
      given.delete(name);
      if (kind === "texels") {
        const texture = this.#texels.take(tensor, copies.map(({ texture }) => texture));
        copies.push({ tensor, texture });
        return { binding: index, resource: texture.createView() };
      }
      const { buffer, offset, size } = tensor;
      const bytes = Math.ceil(size / 4) * 16; // whole vec4s: arenas and buffers are padded to them
      if (bytes > this.#gpu.maxBinding) {
        throw new GpuError(
          `${label} would bind ${bytes} bytes of ${name}, and this adapter binds ${this.#gpu.maxBinding} at most: take a smaller batch_size, max_length or model`,
        );
      }
      return { binding: index, resource: { buffer, offset, size: bytes } };
    });
    if (given.size > 0) throw new GpuError(`${label} has no tensor named ${[...given].join(", ")}`);
    const layout = pipeline.getBindGroupLayout(0);
    const bindGroup = this.#gpu.device.createBindGroup({ label, layout, entries });
    return { label, copies, pipeline, bindGroup, grid: [x, y, z] };
  }

  #uniform(label: string, fields: Field[], params: Readonly<Record<string, number>>) {
    const size = Math.ceil(fields.length / 4) * 16;
    const bytes = new DataView(new ArrayBuffer(size));
    const unknown = Object.keys(params).filter((name) => !fields.some((f) => f.name === name));
    if (unknown.length > 0) throw new GpuError(`${label} has no parameter ${unknown.join(", ")}`);
    fields.forEach(({ name, type }, i) => {
      const value = params[name];
      if (value === undefined || !Number.isFinite(value)) {
        throw new GpuError(`${label} needs a number for ${name}: ${value}`);
      }
      if (type === "u32") bytes.setUint32(i * 4, value, true);
      else bytes.setFloat32(i * 4, value, true);
    });
    if (this.#uniforms.length === 0 || this.#used + 256 > Plan.#CHUNK) {
      const usage = 0x40 | 0x08; // UNIFORM | COPY_DST
      this.#uniforms.push(this.#gpu.buffer("uniforms", Plan.#CHUNK, usage));
      this.#used = 0;
    }
    const buffer = this.#uniforms[this.#uniforms.length - 1];
    const offset = this.#used;
    this.#used += 256;
    this.#gpu.device.queue.writeBuffer(buffer, offset, bytes.buffer);
    return { buffer, offset, size };
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const buffer of this.#uniforms.splice(0)) this.#gpu.release(buffer);
    this.#texels.leave();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Compiles a page, or finds it compiled. */
function compile(gpu: Gpu, { page, entry, constants = {} }: KernelSource, label: string): Compiled {
  const code = expand(page, entry, constants);
  const known = gpu.pipelines.get(code) as Compiled | undefined;
  if (known) return known;

  const bindings = [...code.matchAll(BINDING)].map(([, index, space, name, texture]) => ({
    name,
    index: Number(index),
    kind: texture ? "texels" as const : space as "storage" | "uniform",
  }));
  const struct = /struct Params\s*\{([^}]*)\}/.exec(code)?.[1] ?? "";
  const fields = [...struct.matchAll(/(\w+)\s*:\s*(u32|f32)/g)]
    .map(([, name, type]) => ({ name, type }));

  const { device } = gpu;
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label, code });
  const pipeline = device.createComputePipeline({
    label,
    layout: "auto",
    compute: { module, entryPoint: entry },
  });
  gpu.pending.push(
    device.popErrorScope().then((error) => {
      if (error) gpu.pipelines.delete(code);
      return error && `${label} does not compile: ${error.message}`;
    }),
  );
  const compiled = { pipeline, bindings, fields };
  gpu.pipelines.set(code, compiled);
  return compiled;
}

/** Encodes dispatches in order, in as few passes as their copies allow. */
export function replay(encoder: GPUCommandEncoder, dispatches: readonly Dispatch[]): void {
  let pass: GPUComputePassEncoder | undefined;
  for (const { copies, pipeline, bindGroup, grid } of dispatches) {
    if (copies.length > 0) {
      pass?.end();
      pass = undefined;
      for (const copy of copies) copyTexels(encoder, copy);
    }
    pass ??= encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
  }
  pass?.end();
}

/** Submits dispatches; does not wait. */
export function submit(gpu: Gpu, dispatches: readonly Dispatch[]): void {
  const encoder = gpu.device.createCommandEncoder();
  replay(encoder, dispatches);
  gpu.device.queue.submit([encoder.finish()]);
}

const GRID = 65535;

/**
 * The grid of a kernel that works on `n` things, `per` in each workgroup: past 65,535 workgroups it
 * folds into y, and pages count `workgroup_id.y * num_workgroups.x + workgroup_id.x`.
 */
export function flatGrid(n: number, per: number): [number, number] {
  const groups = Math.ceil(n / per);
  const y = Math.ceil(groups / GRID);
  return [Math.ceil(groups / Math.max(1, y)), Math.max(1, y)];
}
