/**
 * Does a thing when it is asked for, but not more often than it may be done.
 *
 * @module
 */

/** What tells the time and calls back. */
export interface Clock {
  /** Milliseconds, from any beginning. */
  now(): number;
  /** Calls back once, after so many milliseconds. @returns What takes it back. */
  after(milliseconds: number, action: () => void): () => void;
}

/** The real one. A call that is still to come does not keep the process alive. */
export const CLOCK: Clock = {
  now: () => performance.now(),
  after(milliseconds, action) {
    const timer = setTimeout(action, milliseconds);
    Deno.unrefTimer(timer);
    return () => clearTimeout(timer);
  },
};

/** The first request is done at once; those that come too early are done together, in time. */
export class Throttle {
  readonly #action: () => void;
  readonly #wait: () => number;
  readonly #clock: Clock;
  #done = -Infinity;
  #cancel: (() => void) | undefined;

  /** @param wait Milliseconds that must lie between two times; asked anew whenever it matters. */
  constructor(action: () => void, wait: () => number, clock: Clock) {
    this.#action = action;
    this.#wait = wait;
    this.#clock = clock;
  }

  /** Whether it may be done at once. */
  get free(): boolean {
    return this.#left() <= 0;
  }

  /** Asks for it. */
  ask(): void {
    if (this.#cancel) return;
    if (this.free) return this.now();
    this.#cancel = this.#clock.after(this.#left(), () => {
      this.#cancel = undefined;
      this.ask(); // the wait may have grown since
    });
  }

  /** Does it now, whenever it was last done. */
  now(): void {
    this.stop();
    this.touch();
    this.#action();
  }

  /** Counts as done now. */
  touch(): void {
    this.#done = this.#clock.now();
  }

  /** Takes back what was asked and not yet done. */
  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #left(): number {
    return this.#done + this.#wait() - this.#clock.now();
  }
}
