/**
 * The bench as a text for people. What was not measured shows as a dash.
 *
 * @module
 */
import { columns } from "../scripts/columns.ts";
import type { Spread } from "../src/record.ts";
import type { DeviceResult } from "./device.ts";
import type { Memory } from "./memory.ts";
import type { ModelResult, TrainResult } from "./model.ts";
import type { ComparedRow, Comparison } from "./peers.ts";
import type { Profile } from "./profile.ts";
import { type SizeName, TASKS } from "./task.ts";

/** Where and on what the bench ran. */
export interface Facts {
  pollard: string;
  deno: string;
  os: string;
  cpu_threads: number;
  adapter: string;
  software: boolean;
  /** Off where the environment says `MESA_SHADER_CACHE_DISABLE=true`. */
  shader_cache: "on" | "off";
  /** Vulkan drivers asked for, where they were. */
  vulkan_drivers_asked?: string;
  repeats: number;
  /** Processes that wanted a CPU in the last minute, before the bench and after; absent on Windows. */
  load_before?: number;
  load_after?: number;
}

/** All that was measured. */
export interface Report extends Facts {
  device: DeviceResult;
  sizes: ModelResult[];
  comparisons?: Comparison[];
}

/** A number to so many significant digits (whole numbers keep all of theirs); a dash if there is none. */
export function show(value: number | undefined, unit = "", digits = 3): string {
  if (value === undefined || !Number.isFinite(value)) return "-";
  const rounded = Math.abs(value) >= 10 ** digits
    ? String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ",")
    : value.toPrecision(digits);
  return unit ? `${rounded} ${unit}` : rounded;
}

/** A share as a percentage; a dash if there is none. */
export function percent(share: number | undefined): string {
  return share === undefined || !Number.isFinite(share) ? "-" : `${(100 * share).toFixed(1)} %`;
}

/** The whole report. */
export function describe(report: Report): string {
  const { device, sizes, comparisons = [] } = report;
  return [
    ...describeFacts(report),
    "",
    ...describeDevice(device),
    ...sizes.flatMap((size) => ["", ...describeSize(size, report.shader_cache)]),
    ...comparisons.flatMap((comparison) => ["", ...describeComparison(comparison)]),
  ].join("\n");
}

function describeFacts(facts: Facts): string[] {
  const { pollard, deno, os, cpu_threads, adapter, software, repeats } = facts;
  return [
    `Pollard ${pollard}, Deno ${deno}, ${os}, ${cpu_threads} CPU threads`,
    `Adapter  ${adapter} (${software ? "software: computes on the CPU" : "GPU"})`,
    ...(facts.vulkan_drivers_asked ? [`Driver   only ${facts.vulkan_drivers_asked}`] : []),
    `Timings  medians of ${repeats} (least .. most); load ${
      show(facts.load_before, "", 2)
    } before ` +
    `and ${show(facts.load_after, "", 2)} after`,
  ];
}

function describeDevice({ fence_ms, noop, matmul = [], schedules = [] }: DeviceResult): string[] {
  const { dispatches, encode_ms, device_us } = noop;
  return [
    "Device",
    ...columns([
      ["waiting for nothing", show(fence_ms, "ms")],
      [`encoding ${show(dispatches)} empty dispatches`, show(encode_ms, "ms")],
      ["an empty dispatch on the device", show(device_us, "us")],
    ]),
    ...columns(matmul.map(({ M, K, N, gflops, ms, awaited_ms, error }) => [
      `matmul ${M} x ${K} x ${N}`,
      show(gflops, "GFLOP/s"),
      show(ms, "ms"),
      `awaited ${between(awaited_ms)}`,
      `right: error ${show(error, "", 1)} of the tolerance`,
    ])),
    ...columns(schedules.map(({ schedule, ms }, i) => [
      `${i === 0 ? "used" : "slower"}: ${JSON.stringify(schedule)}`,
      show(ms, "ms"),
    ])),
  ];
}

function describeSize(result: ModelResult, cache: Facts["shader_cache"]): string[] {
  const { size, loss, parameters, train, forward_ms, memory, profile } = result;
  return [
    `Size ${size}: ${sizesOf(size)}, ${show(parameters)} parameters`,
    `  loss of step 1  ${loss.toFixed(4)}, right: checked before the clock ran`,
    ...(train ? describeTraining(train, cache) : []),
    ...(forward_ms ? columns([["forward to the loss", between(forward_ms)]]) : []),
    ...(memory ? describeMemory(memory) : []),
    ...(profile ? describeProfile(profile) : []),
  ];
}

function sizesOf(size: SizeName): string {
  const { loss1: _, ...sizes } = TASKS[size];
  return Object.entries(sizes).map(([name, value]) => `${name} ${value}`).join(", ");
}

function describeTraining(train: TrainResult, cache: Facts["shader_cache"]): string[] {
  const { step_ms, stream_ms, tokens_per_s, host_ms, submit_ms, host_share } = train;
  const cold = cache === "off"
    ? "shader cache off"
    : "shader cache on; MESA_SHADER_CACHE_DISABLE=true turns Mesa's off";
  return [
    ...columns([
      ["training step, awaited", between(step_ms)],
      ["tokens a second", show(tokens_per_s)],
      ["a step of many with one wait", show(stream_ms, "ms")],
      ["first step, all compiled", show(train.first_step_ms, "ms")],
      ["host in step(), without submit", show(host_ms, "ms")],
      ["... as a share of the step", percent(host_share)],
      ["inside queue.submit", show(submit_ms, "ms")],
    ]),
    `  ${train.dispatches} dispatches of ${train.pipelines} kernels a step; ${cold}.`,
    "  Host time is taken on an idle device. A driver may compute inside queue.submit: hence apart.",
    "  AdamW: lr 1e-3, betas 0.9 and 0.999, decay 0.01 (not of biases, norms, positions), no clipping.",
  ];
}

function describeMemory({ lines, least_bytes, gpu_bytes, ratio }: Memory): string[] {
  const cells = (what: string, bytes: number) => [what, show(bytes / 1000, "kB", 1)];
  const counted = columns([
    ...lines.map(({ what, numbers }) => cells(what, 4 * numbers)),
    cells("least", least_bytes),
    cells("in GPU buffers", gpu_bytes),
  ], "    ");
  return [
    "  memory, from the sizes alone, against the buffers of a model in training",
    ...counted.map((line, i) => i < lines.length ? `${line}  = 4 (${lines[i].formula})` : line),
    `    that is ${ratio.toFixed(3)} times the least`,
  ];
}

function describeProfile({ ops, sum_ms, whole_ms, metrics_ms }: Profile): string[] {
  return [
    "  share of the step by op, each replayed by itself: the least of three",
    ...columns([
      ["op", "phase", "calls", "ms", "share"],
      ...ops.map(({ op, phase, calls, ms, share }) => [
        op,
        phase,
        String(calls),
        show(ms),
        percent(share),
      ]),
      ["sum", "", "", show(sum_ms)],
      ["the whole step, replayed", "", "", show(whole_ms), percent(sum_ms / (whole_ms ?? NaN))],
      ["head metrics, when asked", "", "", show(metrics_ms)],
    ], "    "),
  ];
}

function describeComparison(comparison: Comparison): string[] {
  const { what, size, ours_ms, ours_first_ms = [], peers, fastest_webgpu } = comparison;
  const ours = (when: string, i: number) => [
    `Pollard, ${when}`,
    show(ours_ms[i], "ms"),
    "",
    show(ours_first_ms[i], "ms"),
  ];
  const verdict = fastest_webgpu
    ? `Pollard is ${show(fastest_webgpu.ratio)} times as fast as the fastest peer on WebGPU ` +
      `(${fastest_webgpu.peer})`
    : "No peer on WebGPU gave a time on this adapter";
  return [
    `${what} ${size} beside its peers`,
    ...columns([
      ["", "awaited", "of ours", "first"],
      ours("before", 0),
      ...peers.map(peerCells),
      ours("after", 1),
    ]),
    ...peers.filter(({ failed }) => failed).map(({ peer, failed }) => `  ${peer}: ${failed}`),
    `  ${verdict}. Of ours: their time over the mean of before and after.`,
  ];
}

function peerCells({ peer, ms, ratio, first_ms, failed }: ComparedRow) {
  if (failed) return [peer, "failed", "-", "-"];
  return [
    peer,
    show(ms, "ms"),
    ratio === undefined ? "-" : `${show(ratio)} x`,
    show(first_ms, "ms"),
  ];
}

function between({ median, min, max }: Spread): string {
  return `${show(median, "ms")} (${show(min)} .. ${show(max)})`;
}
