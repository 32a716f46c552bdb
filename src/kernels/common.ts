/**
 * What the launchers share: the helper page, and how threads are shaped for the adapter at hand.
 *
 * @module
 */
import common from "../../shaders/common.wgsl" with { type: "text" };
import texels from "../../shaders/texels.wgsl" with { type: "text" };
import type { Gpu } from "../gpu/device.ts";
import type { Constants } from "../gpu/template.ts";

/** Prepends the helper page to an op's own. */
export function withCommon(page: string): string {
  return common + "\n" + page;
}

/** Prepends both helper pages: for ops that read tensors as texels on some adapters. */
export function withTexels(page: string): string {
  return texels + "\n" + withCommon(page);
}

/** 4 where every length is a multiple of 4, so that rows can be read as vec4s, else 1. */
export function vectorWidth(...lengths: number[]): 1 | 4 {
  return lengths.every((length) => length % 4 === 0) ? 4 : 1;
}

/**
 * How many threads share a row, and how many rows a workgroup holds. Software adapters run a row a
 * thread: their threads are lanes of one SIMD register, and a barrier costs them more than it saves.
 */
export function teams(gpu: Gpu): { LANES: number; GROUPS: number } {
  return gpu.serial ? { LANES: 1, GROUPS: 64 } : { LANES: 64, GROUPS: 4 };
}

/** The same for kernels that combine everything into one number: a single team. */
export function oneTeam(gpu: Gpu): Constants {
  return { VEC: 1, LANES: gpu.serial ? 1 : 256, GROUPS: 1 };
}

/** The same for sums over a column: neighbouring threads take neighbouring columns. */
export function columnTeams(gpu: Gpu): { LANES: number; GROUPS: number } {
  return gpu.serial ? { LANES: 1, GROUPS: 64 } : { LANES: 16, GROUPS: 16 };
}
