import assert from "node:assert/strict";
import { describe } from "../scripts/doctor.ts";
import { describeAdapters, findAdapters, parseVulkanList } from "../scripts/doctor_all.ts";
import { advise, examine, type Findings } from "../scripts/doctor_facts.ts";
import { measureMatmul } from "../scripts/measure.ts";
import { measureFence } from "../src/gpu/fence.ts";
import { gpu } from "./gpu.ts";

const BASE: Findings = {
  pollard: "1.2.3",
  deno: "2.9.6",
  v8: "15",
  os: "linux",
  arch: "x86_64",
  cpu_threads: 2,
};

const GPU_FOUND: Findings = {
  ...BASE,
  adapter: {
    name: "A GPU",
    software: false,
    vendor: String(0x10de),
    device: "7",
    architecture: "",
  },
  features: ["shader-f16"],
  limits: [{ name: "maxBufferSize", value: 2 ** 28, need: 2 ** 20, enough: true, note: "why" }],
  fence_ms: 11.3,
  matmul: [{ M: 512, N: 768, K: 768, gflops: 4321, ms: 0.14, repeats: 9, error: 0.1 }],
};

Deno.test("doctor: nothing to advise where all is well", () => {
  assert.deepEqual(advise(GPU_FOUND), []);
  const text = describe(GPU_FOUND, []);
  assert.match(text, /^Adapter +A GPU \(GPU\)$/m);
  assert.match(text, /^Vendor +4318 \(NVIDIA\), device 7$/m);
  assert.match(text, /^Driver +the runtime does not tell/m);
  assert.match(text, /shader-f16 yes, subgroups no, timestamp-query no/);
  assert.match(text, /maxBufferSize +256 MiB +enough +why/);
  assert.match(text, /matmul 512 x 768 x 768 +4321 GFLOP\/s +0\.140 ms +right$/m);
  assert.ok(!text.includes("Advice"));
});

Deno.test("doctor: no adapter, by system and cause", () => {
  const advice = (more: Partial<Findings>) => advise({ ...BASE, ...more }).join("\n");
  assert.match(advice({}), /apt install libvulkan1 mesa-vulkan-drivers/);
  assert.match(advice({}), /In a container on an NVIDIA GPU/);
  assert.match(advice({ nvidia_driver: "NVRM 1" }), /An NVIDIA driver is loaded.*graphics.*ICD/);
  assert.match(advice({ backend_asked: "dx12" }), /DENO_WEBGPU_BACKEND=dx12 rules out/);
  assert.match(advice({ vulkan_drivers_asked: "/x.json" }), /\/x\.json$/m);
  assert.doesNotMatch(advice({ os: "windows" }), /apt|NVIDIA/);
  assert.match(advice({ os: "windows" }), /driver/);
  assert.match(advice({ os: "darwin" }), /Metal/);
  assert.match(describe({ ...BASE, backend_asked: "dx12" }, []), /Adapter +none found/);
});

Deno.test("doctor: a slow, a wrong and a failing adapter", () => {
  const matmul = (gflops: number, error: number) => [{ ...GPU_FOUND.matmul![0], gflops, error }];
  const software = { ...GPU_FOUND, adapter: { ...GPU_FOUND.adapter!, software: true } };
  assert.match(
    advise({ ...software, matmul: matmul(2, 0) }).join("\n"),
    /on the CPU.*\n2\.0 GFLOP/,
  );
  assert.equal(advise({ ...software, matmul: matmul(9, 0) }).length, 1);
  assert.match(advise({ ...GPU_FOUND, matmul: matmul(2, 0) }).join("\n"), /little for a GPU/);
  for (const error of [1.5, Infinity, NaN]) {
    assert.match(advise({ ...GPU_FOUND, matmul: matmul(999, error) })[0], /came out wrong/);
  }
  assert.match(describe({ ...GPU_FOUND, matmul: matmul(999, 3) }, []), /WRONG: 3\.00 times/);
  const failed = advise({ ...BASE, limits: [], problem: "maxX is too small: 4" });
  assert.match(failed.join("\n"), /^The adapter failed: maxX is too small: 4\./);
});

Deno.test("doctor: no provider or no adapter is a finding, not an error", async () => {
  const none = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU;
  const found = await examine(none);
  assert.equal(found.adapter, undefined);
  assert.equal(found.problem, undefined);
  assert.equal(found.deno, Deno.version.deno);
});

Deno.test("doctor: measures the adapter at hand", async () => {
  const fence = await measureFence(gpu, 3);
  assert.ok(fence > 0 && fence < 5000, `${fence} ms`);
  await assert.rejects(measureFence(gpu, 0), RangeError);
  const before = gpu.bytes;
  const { gflops, ms, error, repeats } = await measureMatmul(gpu, { M: 65, N: 132, K: 68 }, 5);
  assert.ok(error <= 1, `error ${error}`);
  assert.ok(error > 0); // f32 sums are not exact: something was compared
  assert.ok(repeats >= 1);
  assert.ok(Math.abs(gflops - 2 * 65 * 132 * 68 / (ms * 1e6)) < 1e-9);
  assert.equal(gpu.bytes, before);
});

Deno.test("doctor: --all reads the list of Vulkan devices, and says which are alike", () => {
  const text = `selectable devices:
  GPU 0: 10de:2330 "NVIDIA H100 80GB HBM3" discrete GPU 0000:1b:00.0
  GPU 1: 10de:2330 "NVIDIA H100 80GB HBM3" discrete GPU 0000:2b:00.0
  GPU 2: 10005:0 "llvmpipe (LLVM 15.0.6, 256 bits)" CPU
`;
  assert.deepEqual(parseVulkanList(text), ["10de:2330", "10de:2330", "10005:0"]);
  assert.deepEqual(parseVulkanList("null\n"), []);
  const one = { name: "A", vendor: "1", device: "2", chosen_by: ["", "DENO_WEBGPU_BACKEND=gl"] };
  const said = describeAdapters({ adapters: [one], alike: ["10de:2330"] }).join("\n");
  assert.match(
    said,
    /^A \(vendor 1, device 2\)\n {2}opened as things are\n {2}chosen by DENO_WEBGPU/,
  );
  assert.match(said, /CUDA_VISIBLE_DEVICES/);
  assert.match(said, /10de:2330, which no variable tells apart/);
  assert.match(describeAdapters({ adapters: [], alike: [] })[0], /No adapter/);
});

Deno.test("doctor: each setting that --all names opens the adapter that it says", async () => {
  const { adapters } = await findAdapters();
  assert.ok(adapters.length > 0);
  assert.ok(adapters.some(({ name, chosen_by }) => name === gpu.info.name && chosen_by[0] === ""));
  for (const { name, chosen_by } of adapters) {
    const setting = chosen_by.at(-1)!;
    const env = Object.fromEntries(setting.split(" ").filter(Boolean).map((one) => one.split("=")));
    const script = new URL("../scripts/doctor.ts", import.meta.url).href;
    const args = ["run", "-A", script, "--json"];
    const { stdout } = await new Deno.Command(Deno.execPath(), { args, env }).output();
    assert.equal(JSON.parse(new TextDecoder().decode(stdout)).adapter?.name, name, setting);
  }
});

Deno.test("doctor: --json is one line on stdout; no adapter is exit code 2", async () => {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "scripts/doctor.ts", "--json"],
    cwd: new URL("..", import.meta.url),
    env: { DENO_WEBGPU_BACKEND: Deno.build.os === "linux" ? "dx12" : "gl" },
  });
  const { code, stdout } = await command.output();
  const text = new TextDecoder().decode(stdout);
  assert.equal(text.split("\n").length, 2);
  const found = JSON.parse(text);
  assert.match(found.backend_asked, /dx12|gl/);
  if (found.adapter) return; // there is a GL driver on this system
  assert.equal(code, 2);
  assert.match(found.advice[0], /rules out other backends/);
});
