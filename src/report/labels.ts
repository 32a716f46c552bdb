/**
 * Names at the ends of lines, instead of a key.
 *
 * @module
 */

import type { Plot } from "./deps.ts";
import { group, type SvgPart } from "./svg.ts";

/** The end of a line, in the figure's own units. */
export interface LineEnd {
  /** What the line is called. */
  name: string;
  /** Along the horizontal axis. */
  x: number;
  /** Along the vertical axis. */
  y: number;
  /** Whether the name is set in grey. */
  quiet?: boolean;
  /** A sample of the line, drawn before its name in a box of 22 x 10 pixels. */
  sample?: SvgPart[];
}

/** Least distance of two names, from line to line, in pixels. */
const GAP = 15;

/** Names to the right of the lines' ends, pushed apart where they collide, each tied to its end. */
export function endLabels(ends: readonly LineEnd[]): Plot.RenderFunction {
  return (_index, { x, y }, _values, { marginTop, marginBottom, height }) => {
    if (!x || !y) return group([]);
    const from = ends.map((end) => y(end.y) as number);
    const to = pushApart(from, GAP, [marginTop, height - marginBottom]);
    return group(ends.flatMap(({ name, x: at, quiet, sample }, i): SvgPart[] => {
      const left = x(at) as number;
      const box = { transform: `translate(${left + 16},${to[i] - 5})` };
      const tie: SvgPart = ["line", {
        ...{ x1: left + 5, y1: from[i], x2: left + 16, y2: to[i] },
        stroke: "var(--grey)",
        "stroke-width": 0.7,
      }];
      return [
        ...(!sample && Math.abs(to[i] - from[i]) > 1 ? [tie] : []),
        ...(sample ? [["g", box, undefined, sample] satisfies SvgPart] : []),
        ["text", {
          ...{ x: left + (sample ? 41 : 19), y: to[i], dy: "0.32em", "text-anchor": "start" },
          fill: quiet ? "var(--quiet)" : "var(--ink)",
        }, name],
      ];
    }));
  };
}

/**
 * Moves values as little as it takes, by the sum of squares, until each is `gap` or more from the
 * next, and keeps their order. All stay in the range, where there is room for them.
 */
export function pushApart(
  values: readonly number[],
  gap: number,
  [low, high]: readonly [low: number, high: number],
): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b] || a - b);
  // Without the gaps between them, the values must ascend: neighbours that do not share their mean.
  const blocks: { sum: number; size: number }[] = [];
  order.forEach((index, place) => {
    let block = { sum: values[index] - place * gap, size: 1 };
    for (;;) {
      const before = blocks.at(-1);
      if (!before || before.sum / before.size <= block.sum / block.size) break;
      blocks.pop();
      block = { sum: before.sum + block.sum, size: before.size + block.size };
    }
    blocks.push(block);
  });
  const most = Math.max(low, high - (values.length - 1) * gap);
  const places = blocks.flatMap(({ sum, size }) =>
    Array<number>(size).fill(Math.min(most, Math.max(low, sum / size)))
  );
  const moved: number[] = [];
  order.forEach((index, place) => moved[index] = places[place] + place * gap);
  return moved;
}
