/**
 * How far training may run ahead of the reading of its results.
 *
 * @module
 */
import { RING } from "../gpt2/activation_sizes.ts";

/** Milliseconds of work that a device may be given ahead: Ctrl-C waits for them. */
const AHEAD_MS = 1000;

/** Says when it is time to read results, from how long the last steps took. */
export class Pace {
  #every = 1;
  #readAt = performance.now();

  /** Whether so many unread steps are as much as the device should have ahead. */
  due(unread: number): boolean {
    return unread >= this.#every;
  }

  /** Tells that the results of so many steps have just been read. */
  read(steps: number): void {
    const now = performance.now();
    const perStep = (now - this.#readAt) / Math.max(1, steps);
    this.#every = Math.max(1, Math.min(RING / 2, Math.round(AHEAD_MS / Math.max(perStep, 1e-3))));
    this.#readAt = now;
  }
}
