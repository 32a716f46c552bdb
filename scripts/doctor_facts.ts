/**
 * What `deno task doctor` knows of the machine, and what it advises.
 *
 * @module
 */
import denoJson from "../deno.json" with { type: "json" };
import { Gpu, GpuError } from "../src/gpu/device.ts";
import { measureFence } from "../src/gpu/fence.ts";
import { tuneMatmul } from "../src/kernels/tune.ts";
import { readEnv } from "./env.ts";
import { type MatmulSpeed, measureMatmul } from "./measure.ts";

/** A limit of the adapter beside what we need of it. */
export interface LimitFact {
  name: string;
  value: number;
  need: number;
  enough: boolean;
  /** What it is needed for, or what follows where it is too small. */
  note: string;
}

/** What the runtime tells of the adapter. */
export interface AdapterFact {
  name: string;
  software: boolean;
  /** As the runtime gives them: numbers of the PCI or Vulkan registry. */
  vendor: string;
  /** The same of the maker's model. */
  device: string;
  /** Empty where the runtime does not tell. */
  architecture: string;
}

/** Everything the doctor found. What could not be found out is absent. */
export interface Findings {
  pollard: string;
  deno: string;
  v8: string;
  os: string;
  arch: string;
  os_release?: string;
  cpu_threads: number;
  /** `DENO_WEBGPU_BACKEND`, where it is set. */
  backend_asked?: string;
  /** Vulkan drivers asked for by `VK_DRIVER_FILES` or `VK_ICD_FILENAMES`. */
  vulkan_drivers_asked?: string;
  /** The NVIDIA kernel driver's own line, on Linux where one is loaded. */
  nvidia_driver?: string;
  adapter?: AdapterFact;
  features?: string[];
  limits?: LimitFact[];
  /** Why the device could not be opened or measured. */
  problem?: string;
  fence_ms?: number;
  matmul?: MatmulSpeed[];
}

const MIB = 2 ** 20;

/** Bytes of GPT-2's token table, its largest tensor: 50,257 tokens times n_embd times 4. */
const WTE = { small: 50257 * 768 * 4, xl: 50257 * 1600 * 4 };

/** The limits that matter. What no kernel can do without, `Gpu.open` insists on. */
const LIMITS: { name: keyof GPUSupportedLimits; need: number; note: string }[] = [
  {
    name: "maxStorageBufferBindingSize",
    need: WTE.small,
    note: "GPT-2's token table whole; it is bound in pieces from 128 MiB on",
  },
  {
    name: "maxBufferSize",
    need: WTE.small,
    note: `the same table in one buffer (GPT-2 XL: ${mib(WTE.xl)})`,
  },
  { name: "maxStorageBuffersPerShaderStage", need: 8, note: "kernels" },
  { name: "maxComputeInvocationsPerWorkgroup", need: 256, note: "kernels" },
  { name: "maxComputeWorkgroupStorageSize", need: 16384, note: "kernels" },
  { name: "maxComputeWorkgroupsPerDimension", need: 65535, note: "longer grids fold" },
];

/** Bytes in MiB. */
export function mib(bytes: number): string {
  return `${(bytes / MIB).toFixed(bytes % MIB === 0 ? 0 : 1)} MiB`;
}

/** The products that are timed: a layer of GPT-2 at 512 tokens, and the usual yardstick. */
const PRODUCTS = [{ M: 512, N: 768, K: 768 }, { M: 1024, N: 1024, K: 1024 }];

/**
 * Looks at the machine and measures its adapter.
 *
 * @param gpu The adapters' provider; `navigator.gpu` unless given.
 * @param say Told what is being done, where that takes a while.
 */
export async function examine(
  gpu: GPU | undefined = globalThis.navigator?.gpu,
  say: (line: string) => void = () => {},
): Promise<Findings> {
  const found: Findings = {
    pollard: denoJson.version,
    deno: Deno.version.deno,
    v8: Deno.version.v8,
    os: Deno.build.os,
    arch: Deno.build.arch,
    os_release: allowed({ name: "sys", kind: "osRelease" }) ? Deno.osRelease() : undefined,
    cpu_threads: navigator.hardwareConcurrency,
    backend_asked: readEnv("DENO_WEBGPU_BACKEND"),
    vulkan_drivers_asked: readEnv("VK_DRIVER_FILES") ?? readEnv("VK_ICD_FILENAMES"),
    nvidia_driver: await nvidiaDriver(),
  };
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) return found;
  found.features = [...adapter.features].sort();
  found.limits = LIMITS.map(({ name, need, note }) => {
    const value = adapter.limits[name] as number;
    return { name, value, need, enough: value >= need, note };
  });
  try {
    using device = await Gpu.open({ gpu });
    const { name, software, vendor } = device.info;
    const { architecture } = adapter.info;
    found.adapter = { name, software, vendor, device: device.info.device, architecture };
    say(`measuring ${name} ...`);
    found.fence_ms = await measureFence(device);
    await tuneMatmul(device);
    found.matmul = [];
    for (const sizes of PRODUCTS) found.matmul.push(await measureMatmul(device, sizes));
  } catch (error) {
    if (!(error instanceof GpuError)) throw error;
    found.problem = error.message;
  }
  return found;
}

function allowed(permission: Deno.PermissionDescriptor): boolean {
  return Deno.permissions.querySync(permission).state === "granted";
}

/** First line of what the NVIDIA kernel module says of itself. */
async function nvidiaDriver(): Promise<string | undefined> {
  const path = "/proc/driver/nvidia/version";
  if (Deno.build.os !== "linux" || !allowed({ name: "read", path })) return undefined;
  try {
    return (await Deno.readTextFile(path)).split("\n")[0].replace(/\s+/g, " ").trim();
  } catch {
    return undefined; // no such module
  }
}

/** Below this a matrix product of a real GPU is a sign of something wrong. */
const SLOW_GPU_GFLOPS = 50;

/** What to do about what was found, in plain words; nothing where all is well. */
export function advise(found: Findings): string[] {
  const { adapter, problem, matmul = [], os, backend_asked } = found;
  if (!adapter && !problem) return adviseNoAdapter(found);
  const advice: string[] = [];
  if (problem) {
    advice.push(
      `The adapter failed: ${problem}. Try a newer driver, or another backend by ` +
        `DENO_WEBGPU_BACKEND=vulkan (or gl, metal, dx12).`,
    );
    return advice;
  }
  const wrong = matmul.find(({ error }) => !(error <= 1));
  if (wrong) {
    advice.push(
      `A matrix product of ${wrong.M} x ${wrong.N} x ${wrong.K} came out wrong on this adapter: do ` +
        "not trust any result from it. Update its driver, or try another backend by " +
        "DENO_WEBGPU_BACKEND.",
    );
  }
  const best = Math.max(0, ...matmul.map(({ gflops }) => gflops));
  if (adapter!.software) {
    advice.push(
      "This is a software adapter: it computes on the CPU. That is enough for the embedded model " +
        "and for tests; for GPT-2 itself use a GPU.",
    );
    if (os === "linux" && matmul.length > 0) advice.push(...adviseSoftware(found, best));
  } else if (matmul.length > 0 && best < SLOW_GPU_GFLOPS) {
    advice.push(
      `${
        best.toFixed(0)
      } GFLOP/s is little for a GPU: is it busy, or saving power, or is this the ` +
        "slower of two?" + (backend_asked ? ` DENO_WEBGPU_BACKEND=${backend_asked} chose it.` : ""),
    );
  }
  return advice;
}

/** Below this a software adapter on two cores is busy, or an old one. */
const SLOW_SOFTWARE_GFLOPS = 5;

function adviseSoftware({ backend_asked, nvidia_driver }: Findings, best: number): string[] {
  const advice: string[] = [];
  if (nvidia_driver) advice.push(NVIDIA);
  if (best < SLOW_SOFTWARE_GFLOPS) {
    const other = backend_asked === "gl" ? "vulkan" : "gl";
    advice.push(
      `${
        best.toFixed(1)
      } GFLOP/s is slow even for a software adapter. See first that nothing else ` +
        "uses the CPU. Then compare, as versions of Mesa and its two backends differ by a factor of " +
        `two either way: run this again with DENO_WEBGPU_BACKEND=${other}, or with another version of ` +
        "Mesa (Debian: mesa-vulkan-drivers from backports).",
    );
  }
  return advice;
}

const NVIDIA =
  "An NVIDIA driver is loaded, but Vulkan does not see its GPU. In a container, ask for the " +
  "graphics capability (NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics) and see that an ICD " +
  "file names the driver: /usr/share/vulkan/icd.d/nvidia_icd.json or /etc/vulkan/icd.d/.";

function adviseNoAdapter({ os, backend_asked, vulkan_drivers_asked, nvidia_driver }: Findings) {
  const advice: string[] = [];
  if (backend_asked) {
    advice.push(
      `DENO_WEBGPU_BACKEND=${backend_asked} rules out other backends: unset it, or give one or ` +
        "more of vulkan, metal, dx12, gl, with commas between.",
    );
  }
  if (vulkan_drivers_asked) {
    advice.push(
      `VK_DRIVER_FILES or VK_ICD_FILENAMES rules out other Vulkan drivers: see that the files ` +
        `exist and that the libraries they name do, or unset it: ${vulkan_drivers_asked}`,
    );
  }
  if (os === "linux") {
    advice.push(
      "Install the Vulkan loader and a driver. Debian and Ubuntu: apt install libvulkan1 " +
        "mesa-vulkan-drivers, which also computes without a GPU.",
    );
    advice.push(
      nvidia_driver ? NVIDIA : "In a container on an NVIDIA GPU, ask for the graphics capability " +
        "(NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics), and see that an nvidia_icd.json is in " +
        "/usr/share/vulkan/icd.d or /etc/vulkan/icd.d.",
    );
  } else if (os === "windows") {
    advice.push("Install the GPU maker's current driver; Deno uses Direct3D 12 or Vulkan.");
  } else if (os === "darwin") {
    advice.push("Deno uses Metal: a virtual machine may lack it.");
  }
  return advice;
}
