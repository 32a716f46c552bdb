/**
 * The ramp that measurements are coloured by.
 *
 * @module
 */

import { Plot } from "./deps.ts";

/** Dark to light in lightness too, so that a greyscale print keeps the order. */
const cividis = Plot.scale({ color: { type: "linear", scheme: "cividis", domain: [0, 1] } });

/** The colour at a place along the ramp, 0 to 1. */
export function colour(position: number): string {
  return cividis.apply(Math.min(1, Math.max(0, position)));
}

/** So many colours along the ramp, both ends among them. */
export function colourRamp(count: number): string[] {
  return Array.from({ length: count }, (_, i) => colour(i / (count - 1)));
}
