/**
 * How far gates may close: limits that hold whoever moves them.
 *
 * @module
 */
import { logit } from "./ann_config.ts";
import type { AnnController } from "./ann_controller.ts";

/** Whether a gate counts as open: above the active threshold. */
export function isOpen(controller: AnnController, index: number): boolean {
  return controller.gate(index) > controller.config.activeThreshold;
}

/** Share of all heads that are not active (pruned, or with a closed gate), in percent. */
export function inactivePercent(controller: AnnController): number {
  const total = controller.logits.length;
  const open = controller.logits.reduce((sum, _, i) => sum + (isOpen(controller, i) ? 1 : 0), 0);
  return 100 * (total - open) / total;
}

/**
 * Opens closed live heads beyond what the limits allow: every layer keeps an open one, and no more
 * than `share` of all heads are pruned or closed. Of heads too many, those with the highest logits
 * open: each goes back to where it was, or to just above the threshold if it was not open then.
 *
 * @param before Logits as they were before they were moved, `[L, NH]`.
 * @param share Of all heads of the full model, 0 to 1.
 * @returns The heads that were opened, `[layer, head]`.
 */
export function keepOpen(
  controller: AnnController,
  before: Float64Array,
  share: number,
): [number, number][] {
  const { NH, logits, config, live } = controller;
  // A hair above the threshold, so that rounding the gate to f32 cannot close it again.
  const justOpen = logit(config.activeThreshold) + 1e-3;
  const kept: [number, number][] = [];
  const reopen = (i: number) => {
    logits[i] = Math.max(before[i], justOpen);
    kept.push([Math.floor(i / NH), i % NH]);
  };
  // Highest logit first; of equal ones the later head, as ties in pruning take the earlier one.
  const closedIn = (heads: number[]) =>
    heads.filter((i) => !isOpen(controller, i)).sort((a, b) => logits[b] - logits[a] || b - a);

  const places = live.map((heads, layer) => heads.map((head) => layer * NH + head));
  for (const heads of places) {
    const closed = closedIn(heads);
    if (heads.length > 0 && closed.length === heads.length) reopen(closed[0]);
  }
  const all = places.flat();
  const pruned = logits.length - all.length;
  // The hair makes 0.29 * 100 = 28.999999999999996 mean 29.
  const most = Math.floor(share * logits.length + 1e-9);
  const closed = closedIn(all);
  closed.slice(0, Math.max(0, closed.length - Math.max(0, most - pruned))).forEach(reopen);
  return kept.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
}
