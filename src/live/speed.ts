/**
 * How fast a job goes.
 *
 * @module
 */

/** Speed is taken from the last so many milliseconds. */
const WINDOW_MS = 20_000;

/** Over less than this it says nothing. */
const LEAST_MS = 500;

/** What is done so far. */
export interface Done {
  /** Steps. */
  step?: number;
  /** Tokens. */
  tokens?: number;
}

/** Steps and tokens a second over the last while; 0 where they are not known. */
export class Speed {
  #samples: { time: number; step: number; tokens: number }[] = [];

  /** Tells what is done at a time in milliseconds. Where it is less than before, a new job began. */
  add(time: number, { step = 0, tokens = 0 }: Done): void {
    const last = this.#samples.at(-1);
    if (last && (step < last.step || tokens < last.tokens)) this.#samples = [];
    this.#samples.push({ time, step, tokens });
    while (this.#samples.length > 2 && this.#samples[1].time <= time - WINDOW_MS) {
      this.#samples.shift();
    }
  }

  /** Forgets what was told: what takes time now is something else. */
  clear(): void {
    this.#samples = [];
  }

  /** Steps a second. */
  get steps(): number {
    return this.#rate("step");
  }

  /** Tokens a second. */
  get tokens(): number {
    return this.#rate("tokens");
  }

  #rate(of: "step" | "tokens"): number {
    const first = this.#samples[0], last = this.#samples.at(-1);
    if (!first || !last || last.time - first.time < LEAST_MS) return 0;
    return 1000 * (last[of] - first[of]) / (last.time - first.time);
  }
}
