/**
 * Every adapter that can be found, and how to choose it: WebGPU itself has no list, but opens one adapter,
 * which environment variables decide.
 *
 * @module
 */
import { readEnv } from "./env.ts";

/** An adapter, and a setting that makes it the one that is opened. */
export interface FoundAdapter {
  /** As the driver names it. */
  name: string;
  /** As the runtime gives it: a number of the PCI registry, or of Vulkan's own. */
  vendor: string;
  /** The same of the maker's model. */
  device: string;
  /** Environment variables that choose it, as `NAME=value`; empty for what is opened as things are. */
  chosen_by: string[];
}

/** What was found. */
export interface AllAdapters {
  adapters: FoundAdapter[];
  /** Vulkan devices that cannot be told apart by `vendor:device`. */
  alike: string[];
}

type Environment = Record<string, string>;

/** The backends of each system. */
const BACKENDS: Partial<Record<typeof Deno.build.os, string[]>> = {
  linux: ["vulkan", "gl"],
  windows: ["dx12", "vulkan", "gl"],
  darwin: ["metal"],
};

/** Milliseconds after which a driver that does not answer is left out. */
const PATIENCE_MS = 20_000;

/** Asks one process for each setting which adapter it opens. */
export async function findAdapters(): Promise<AllAdapters> {
  const listed = await listVulkan();
  const settings: Environment[] = [
    {},
    ...(BACKENDS[Deno.build.os] ?? []).map((backend) => ({ DENO_WEBGPU_BACKEND: backend })),
    ...[...new Set(listed)].map((id) => ({
      DENO_WEBGPU_BACKEND: "vulkan",
      VK_LOADER_DEVICE_SELECT: id,
    })),
  ];
  const adapters: FoundAdapter[] = [];
  for (const setting of settings) {
    const { stdout } = await probe(setting);
    const opened = parseLine(stdout);
    if (!opened) continue;
    const chosenBy = Object.entries(setting).map(([name, value]) => `${name}=${value}`).join(" ");
    const same = adapters.find((one) =>
      one.name === opened.name && one.vendor === opened.vendor && one.device === opened.device
    );
    if (same) same.chosen_by.push(chosenBy);
    else adapters.push({ ...opened, chosen_by: [chosenBy] });
  }
  return { adapters, alike: listed.filter((id, i) => listed.indexOf(id) < i) };
}

/** `vendor:device` of every Vulkan device, where Mesa's device-select layer is installed; else nothing. */
async function listVulkan(): Promise<string[]> {
  if (Deno.build.os !== "linux") return [];
  const { stdout, stderr } = await probe({
    DENO_WEBGPU_BACKEND: "vulkan",
    MESA_VK_DEVICE_SELECT: "list",
  });
  return parseVulkanList(stdout + stderr);
}

/** Reads what Mesa's layer says to `MESA_VK_DEVICE_SELECT=list`. */
export function parseVulkanList(text: string): string[] {
  return [...text.matchAll(/^\s*GPU \d+: ([0-9a-f]+:[0-9a-f]+) "/gm)].map(([, id]) => id);
}

function parseLine(stdout: string): Omit<FoundAdapter, "chosen_by"> | undefined {
  try {
    const opened = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
    return opened ?? undefined;
  } catch {
    return undefined; // the driver ended the process
  }
}

async function probe(env: Environment): Promise<{ stdout: string; stderr: string }> {
  const script = new URL("./adapter_probe.ts", import.meta.url).href;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", script],
    env: { ...env, DENO_NO_UPDATE_CHECK: "1" },
    signal: AbortSignal.timeout(PATIENCE_MS),
    stdout: "piped",
    stderr: "piped",
  });
  const { stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { stdout: text(stdout), stderr: text(stderr) };
}

/** What was found as lines for people. */
export function describeAdapters({ adapters, alike }: AllAdapters): string[] {
  if (adapters.length === 0) return ["No adapter was found with any backend."];
  const lines = adapters.flatMap(({ name, vendor, device, chosen_by }) => [
    `${name} (vendor ${vendor}, device ${device})`,
    ...chosen_by.map((by) => `  ${by === "" ? "opened as things are" : `chosen by ${by}`}`),
  ]);
  return [
    ...lines,
    "",
    "WebGPU opens one adapter, and a run takes that. Vulkan does not look at CUDA_VISIBLE_DEVICES.",
    ...(readEnv("CUDA_VISIBLE_DEVICES") === undefined
      ? []
      : ["It is set here, and does not change which adapter a run takes."]),
    ...(alike.length === 0 ? [] : [
      `Several devices are ${
        [...new Set(alike)].join(", ")
      }, which no variable tells apart: give each ` +
      "process only one of them, by a container or by Slurm with ConstrainDevices=yes.",
    ]),
  ];
}
