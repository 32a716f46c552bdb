/**
 * Colours and words that every figure and the page share. A figure must survive greyscale, so a
 * colour never stands alone: it comes with a label, a dash or a shape.
 *
 * @module
 */

import type { Arm, Phase } from "../record.ts";

const LIGHT = `--ink:#1d2126;--quiet:#59616c;--grey:#878e98;--rule:#e4e7eb;--paper:#fff;
--warmup:#2f6fc0;--analysis:#bd6500;--pruning:#c4373a;--finetuning:#257a49;--evaluation:#7c4bab`;
const DARK = `--ink:#e9ebee;--quiet:#a3abb6;--grey:#8f97a2;--rule:#30363e;--paper:#14171b;
--warmup:#6aa5f0;--analysis:#f0a94a;--pruning:#f0706f;--finetuning:#5fc48a;--evaluation:#b68be6`;

/**
 * Declares the palette for a selector, dark where the reader's screen asks for it. On paper it is
 * always light.
 *
 * @param selector What the colours apply to: `:root` on the page, the figure's class in an SVG.
 */
export function paletteCss(selector: string): string {
  return `${selector}{color-scheme:light dark;${LIGHT}}
@media screen and (prefers-color-scheme:dark){${selector}{${DARK}}}`;
}

/** The font of page and figures: whatever the reader's system uses for its own text. */
export const FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif';

/** A phase's name as the report writes it. */
export const PHASE_NAMES: Record<Phase, string> = {
  warmup: "warm-up",
  analysis: "analysis",
  pruning: "pruning",
  finetuning: "fine-tuning",
  evaluation: "evaluation",
};

/** An arm's name as the report writes it. */
export const ARM_NAMES: Record<Arm, string> = {
  pruned: "pruned model",
  unpruned_twin: "unpruned twin",
  random_pruning: "random pruning",
};

/** How each arm's line is drawn: the model under study in ink, its controls in grey. */
export const ARM_STROKES: Record<Arm, { stroke: string; strokeDasharray?: string }> = {
  pruned: { stroke: "var(--ink)" },
  unpruned_twin: { stroke: "var(--grey)" },
  random_pruning: { stroke: "var(--grey)", strokeDasharray: "5,3" },
};

/** Whether a value was measured: present, and a number. (JSON turns NaN into null.) */
export function measured(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Writes a value that was measured; nothing where it was not. */
export function written(value: unknown, write: (value: number) => string): string | undefined {
  return measured(value) ? write(value) : undefined;
}

/** Writes what one value is less another, with its sign; nothing where one was not measured. */
export function minus(value: unknown, other: unknown, digits = 4): string | undefined {
  return measured(value) && measured(other) ? signed(value - other, digits) : undefined;
}

/** Writes a loss in nats per token. */
export function loss(value: number): string {
  return value.toFixed(4).replace("-", "−");
}

/** Writes a difference with its sign. */
export function signed(value: number, digits = 4): string {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

/** Writes a perplexity: two decimals while they tell something. */
export function perplexity(value: number): string {
  if (value === Infinity) return "more than 1e308"; // exp of a loss above 709
  if (value >= 1e6) return value.toExponential(2).replace("e+", "e");
  return value < 100
    ? value.toFixed(2)
    : value < 1000
    ? value.toFixed(1)
    : count(Math.round(value));
}

/** Writes a whole number with its thousands apart. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}

/** Writes a share between 0 and 1 as a percentage. */
export function percent(share: number, digits = 1): string {
  const value = Number((share * 100).toPrecision(12)); // 0.14 * 100 is 14.000000000000002
  return `${Number.isInteger(value) ? value : value.toFixed(digits)} %`.replace("-", "−");
}

/** Writes a number of things with the right word: `1 head`, `3 heads`. */
export function plural(n: number, word: string): string {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

/** Writes seconds the way a person says them. */
export function duration(seconds: number): string {
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
