/**
 * Says what Pollard will run on, how fast it is, and what to do where it is slow or missing:
 * `deno task doctor`.
 *
 * @module
 */
import { newCommand, parseCommand, printJson, runMain } from "./cli.ts";
import { describeAdapters, findAdapters } from "./doctor_all.ts";
import { advise, examine, type Findings, type LimitFact, mib } from "./doctor_facts.ts";

const AFTER =
  `Permissions: WebGPU itself needs none, and without any this still works. It tells more with
--allow-env (which backend and drivers are asked for), --allow-sys=osRelease and
--allow-read=/proc/driver/nvidia/version. --all needs --allow-run: it opens each adapter in a
process of its own. The task may read, look at environment and system, and start programs; it
has no network, and writes nothing.

Exit code 2 where there is no adapter that Pollard can run on.

Examples:
  deno task doctor
  deno task doctor --json
  deno task doctor --all
  DENO_WEBGPU_BACKEND=gl deno task doctor`;

/** Makers by the numbers that the runtime gives: of the PCI registry, or of Vulkan's own. */
const VENDORS: Readonly<Record<string, string>> = {
  0x1002: "AMD",
  0x10de: "NVIDIA",
  0x8086: "Intel",
  0x106b: "Apple",
  0x13b5: "ARM",
  0x1414: "Microsoft",
  0x5143: "Qualcomm",
  0x10005: "Mesa",
};

/** Features that matter here; the rest is for drawing. */
const FEATURES = ["shader-f16", "subgroups", "timestamp-query"];

/** Findings and advice as a text for people. */
export function describe(found: Findings, advice: readonly string[]): string {
  const { adapter, features, limits, matmul, problem } = found;
  const backend = found.backend_asked
    ? `one of DENO_WEBGPU_BACKEND=${found.backend_asked}`
    : "chosen by the runtime, which does not tell (DENO_WEBGPU_BACKEND=vulkan, metal, dx12 or gl)";
  const lines = [
    row("Pollard", found.pollard),
    row("Deno", `${found.deno} (V8 ${found.v8})`),
    row(
      "System",
      [found.os, found.os_release, found.arch, `${found.cpu_threads} CPU threads`].filter(Boolean)
        .join(", "),
    ),
    row("Backend", backend),
  ];
  if (found.vulkan_drivers_asked) lines.push(row("Vulkan", `only ${found.vulkan_drivers_asked}`));
  if (adapter) {
    const { vendor, device, architecture } = adapter;
    lines.push(
      row(
        "Adapter",
        `${adapter.name} (${adapter.software ? "software: computes on the CPU" : "GPU"})`,
      ),
      row(
        "Vendor",
        `${vendor}${VENDORS[vendor] ? ` (${VENDORS[vendor]})` : ""}, device ${device}` +
          (architecture ? `, architecture ${architecture}` : ""),
      ),
    );
  } else if (!problem) {
    lines.push(row("Adapter", "none found"));
  }
  if (adapter || found.nvidia_driver) {
    lines.push(row("Driver", found.nvidia_driver ?? "the runtime does not tell its version"));
  }
  if (features) {
    const has = FEATURES.map((name) => `${name} ${features.includes(name) ? "yes" : "no"}`);
    lines.push(row("Features", `${has.join(", ")} (${features.length} in all: --json)`));
  }
  if (limits) lines.push("", "Limits", ...table(limits.map(limitCells)));
  if (found.fence_ms !== undefined) {
    lines.push("", "Speed", `  waiting for the GPU, once   ${found.fence_ms.toFixed(1)} ms`);
  }
  if (matmul) {
    lines.push(...table(matmul.map(({ M, N, K, gflops, ms, error }) => [
      `matmul ${M} x ${N} x ${K}`,
      `${gflops.toFixed(gflops < 100 ? 1 : 0)} GFLOP/s`,
      `${ms.toPrecision(3)} ms`,
      error <= 1 ? "right" : `WRONG: ${error.toPrecision(3)} times the tolerance`,
    ])));
  }
  if (advice.length > 0) lines.push("", "Advice", ...advice.flatMap((line) => wrap(line)));
  return lines.join("\n");
}

const row = (name: string, text: string) => `${name.padEnd(10)}${text}`;

function limitCells({ name, value, need, enough, note }: LimitFact): string[] {
  const show = (n: number) => name.endsWith("Size") && n >= 2 ** 20 ? mib(n) : String(n);
  return [name, show(value), enough ? "enough" : `below ${show(need)}`, note];
}

/** Rows with their columns aligned. */
function table(rows: string[][]): string[] {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((cells) => cells[i].length)));
  return rows.map((cells) =>
    "  " + cells.map((cell, i) => cell.padEnd(widths[i])).join("   ").trimEnd()
  );
}

/** A list item, broken into lines. */
function wrap(text: string, width = 96): string[] {
  const lines: string[] = [];
  let line = "  -";
  for (const word of text.split(" ")) {
    if (line.length + 1 + word.length > width) {
      lines.push(line);
      line = "   ";
    }
    line += " " + word;
  }
  return [...lines, line];
}

if (import.meta.main) {
  await runMain(async () => {
    const { json, all } = parseCommand(
      newCommand({
        name: "deno task doctor",
        description: "Says what Pollard will run on, how fast it is, and what to do where it is " +
          "slow or missing.",
        after: AFTER,
      })
        .option(
          "--all",
          "list every adapter that can be found, and how to choose it; measure nothing",
        )
        .option("--json", "print one JSON line"),
    );
    if (all) {
      const found = await findAdapters();
      if (json) printJson(found);
      else console.log(describeAdapters(found).join("\n"));
      return found.adapters.length > 0 ? 0 : 2;
    }
    const found = await examine(undefined, (line) => console.error(line));
    const advice = advise(found);
    if (json) printJson({ ...found, advice });
    else console.log(describe(found, advice));
    return found.adapter && !found.problem ? 0 : 2;
  });
}
