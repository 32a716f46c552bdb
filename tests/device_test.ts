/** The device layer: adapters that will not do, errors that must not be lost, devices that are. */
import assert from "node:assert/strict";
import { isInputError, preparing } from "../src/errors.ts";
import { DeviceLostError, Gpu, GpuError } from "../src/gpu/device.ts";
import { flatGrid, Plan } from "../src/gpu/kernel.ts";
import { expand } from "../src/gpu/template.ts";
import { Arena, download, freeTensor, makeTensor, slice, upload } from "../src/gpu/tensor.ts";
import { gpu } from "./gpu.ts";

/** A provider with one adapter of these limits, or none. */
function provider(limits?: Record<string, number>): GPU {
  const adapter = limits && {
    limits: {
      maxStorageBuffersPerShaderStage: 8,
      maxComputeInvocationsPerWorkgroup: 256,
      maxComputeWorkgroupStorageSize: 16384,
      maxStorageBufferBindingSize: 1 << 27,
      ...limits,
    },
    info: { description: "Some GPU", vendor: "1", device: "2" },
  };
  return { requestAdapter: () => Promise.resolve(adapter ?? null) } as unknown as GPU;
}

Deno.test("no adapter, or one that is too small, is refused in words that help", async () => {
  await assert.rejects(() => Gpu.open({ gpu: provider() }), (error) => {
    assert.ok(error instanceof GpuError);
    assert.match(error.message, /No WebGPU adapter found: .*mesa-vulkan-drivers/);
    return true;
  });
  await assert.rejects(
    () => Gpu.open({ gpu: provider({ maxStorageBuffersPerShaderStage: 4 }) }),
    /maxStorageBuffersPerShaderStage is too small: 4, and Pollard needs 8/,
  );
  await assert.rejects(
    () => Gpu.open({ gpu: provider({}), device: "cpu" }),
    /There is no software adapter; the one found is Some GPU/,
  );
  if (gpu.info.software) {
    await assert.rejects(() => Gpu.open({ device: "gpu" }), /computes on the CPU: .*llvmpipe/);
  }
});

Deno.test("a shader that does not compile says where", async () => {
  using own = await Gpu.open();
  using plan = new Plan(own);
  const out = makeTensor(own, "out", 64);
  const page = `//# entry fill
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(64)
fn fill(@builtin(global_invocation_id) id: vec3<u32>) { out[id.x] = nonsense; }`;
  plan.call({ op: "test", page, entry: "fill" }, { tensors: { out }, grid: [1] });
  await assert.rejects(() => own.compiled(), /test\.fill does not compile: [^]*nonsense/);
});

Deno.test("a call must bind what the page declares, by name", () => {
  using plan = new Plan(gpu);
  const page = `//# entry main
struct Params { n: u32, x: f32 }
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<uniform> p: Params;
@compute @workgroup_size(1) fn main() { out[p.n] = p.x; }`;
  const out = makeTensor(gpu, "out", 4);
  const source = { op: "test", page, entry: "main" };
  const call = (tensors: Record<string, typeof out>, params: Record<string, number>) => () =>
    plan.call(source, { tensors, params, grid: [1] });
  assert.throws(call({}, { n: 0, x: 1 }), /test\.main lacks tensor out/);
  assert.throws(call({ out, inp: out }, { n: 0, x: 1 }), /no tensor named inp/);
  assert.throws(call({ out }, { n: 0 }), /needs a number for x: undefined/);
  assert.throws(call({ out }, { n: 0, x: NaN }), /needs a number for x: NaN/);
  assert.throws(call({ out }, { n: 0, x: 1, y: 2 }), /no parameter y/);
  freeTensor(gpu, out);
});

Deno.test("a lost device is told, not waited for", async () => {
  const own = await Gpu.open();
  const tensor = makeTensor(own, "tensor", 16);
  own.device.destroy();
  await own.device.lost;
  await assert.rejects(() => download(own, tensor), DeviceLostError);
  assert.throws(() => makeTensor(own, "more", 16), DeviceLostError);
});

Deno.test("memory that runs out is called that, whatever else it spoils", async () => {
  using own = await Gpu.open();
  const report = (error: GPUError) =>
    own.device.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error }));
  report(new GPUValidationError("a buffer is invalid"));
  report(new GPUOutOfMemoryError("Not enough memory left."));
  const check = () => preparing(() => own.check());
  assert.throws(check, (error: Error) => {
    assert.equal(error.name, "GpuError");
    assert.match(error.message, /out of memory: take a smaller model, batch_size .*\(Not enough/);
    assert.ok(isInputError(error));
    return true;
  });
  own.check();
});

Deno.test("tensors: bytes are counted, slices and uploads stay inside", () => {
  const before = gpu.bytes;
  const arena = new Arena(gpu, "test", [3, 100, 64]);
  assert.equal(gpu.bytes - before, 256 + 512 + 256);
  assert.deepEqual(arena.tensors.map(({ offset }) => offset), [0, 256, 768]);
  assert.throws(
    () => upload(gpu, arena.tensors[0], new Float32Array(4)),
    /Cannot upload 4 values at 0/,
  );
  assert.throws(() => slice(arena.tensors[1], 64, 64), /leaves a tensor of 100/);
  assert.throws(() => slice(arena.tensors[1], 10, 4), /not a multiple of 64/);
  arena.dispose();
  assert.equal(gpu.bytes, before);
});

Deno.test("grids fold where one dimension is not enough", () => {
  assert.deepEqual(flatGrid(1, 64), [1, 1]);
  assert.deepEqual(flatGrid(65535 * 64, 64), [65535, 1]);
  const [x, y] = flatGrid(65535 * 64 + 1, 64);
  assert.ok(x <= 65535 && y === 2 && x * y >= 65536);
});

Deno.test("templates: loops, conditions, sums, entries", () => {
  const page = [
    "common $N",
    "//# entry a",
    "//# for i in 0..N",
    "//# if i % 2 == 0 && N > 1",
    "even$(i)x $(i * (N + 1))",
    "//# else",
    "odd $i",
    "//# end",
    "//# end",
    "//# entry b",
    "other",
  ].join("\n");
  assert.equal(expand(page, "a", { N: 3 }), "common 3\neven0x 0\nodd 1\neven2x 8");
  assert.equal(expand(page, "b", { N: 3 }), "common 3\nother");
  assert.throws(() => expand(page, "c", { N: 3 }), /no entry c/);
  assert.throws(() => expand(page, "a", {}), /Unknown name in expression/);
  assert.throws(() => expand("//# entry a\n//# for i in 0..2\nx", "a", {}), /without end/);
});
