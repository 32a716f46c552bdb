/**
 * A page that is drawn when it is asked for, and not more often than drawing may cost.
 *
 * @module
 */
import type { Page } from "../report/document.ts";
import { type Clock, Throttle } from "./throttle.ts";

/** How often a page may be drawn. */
export interface DrawingLimits {
  /** Milliseconds from one drawing to the next, at least. */
  leastMs: number;
  /** The same, as a multiple of the time that the last drawing took. */
  times: number;
}

/** Drawing may cost a run a twentieth of its time. */
export const DRAWING_LIMITS: DrawingLimits = { leastMs: 3000, times: 20 };

/** A page and which state of the records it shows. */
export interface Drawn {
  readonly page: Page;
  readonly revision: number;
}

/** Draws a page, and says when there is something new to draw. */
export class Drawing {
  readonly #clock: Clock;
  readonly #limits: DrawingLimits;
  readonly #announce: Throttle;
  #draw: () => Page | Promise<Page>;
  #revision = 0;
  #drawn: Drawn | undefined;
  #took = 0;
  /** Whether the change was announced, and nobody has come for it yet. */
  #due = false;
  #pending: Promise<Drawn> | undefined;

  /**
   * @param draw Draws the page. @param announce Called where it is worth asking for it again.
   */
  constructor(
    draw: () => Page | Promise<Page>,
    announce: () => void,
    { clock, limits }: { clock: Clock; limits: DrawingLimits },
  ) {
    this.#draw = draw;
    this.#clock = clock;
    this.#limits = limits;
    this.#announce = new Throttle(
      () => {
        this.#due = true;
        announce();
      },
      () => Math.max(this.#limits.leastMs, this.#limits.times * this.#took),
      clock,
    );
  }

  /** The page as it was drawn last. */
  get last(): Drawn | undefined {
    return this.#drawn;
  }

  /** Which state of the records one would see who asked now. */
  get revision(): number {
    return this.#drawn && !this.#mayDraw ? this.#drawn.revision : this.#revision;
  }

  /** Tells that what the page shows has changed. */
  changed(): void {
    this.#revision++;
    this.#announce.ask();
  }

  /** Draws another page from now on. */
  replace(draw: () => Page | Promise<Page>): void {
    this.#draw = draw;
    this.changed();
  }

  /** Announces the last change of all, which nobody is to wait for. */
  finish(): void {
    this.#revision++;
    this.#announce.now();
  }

  /**
   * The page: drawn anew where that is due, else as it was drawn last.
   *
   * @throws What drawing throws.
   */
  async page(): Promise<Drawn> {
    if (this.#pending) {
      const drawn = await this.#pending;
      if (!this.#due) return drawn;
    }
    if (this.#drawn && !this.#mayDraw) return this.#drawn;
    return await (this.#pending ??= this.#make().finally(() => this.#pending = undefined));
  }

  /** Announces nothing any more. */
  stop(): void {
    this.#announce.stop();
  }

  get #mayDraw(): boolean {
    return this.#drawn?.revision !== this.#revision && (this.#due || this.#announce.free);
  }

  async #make(): Promise<Drawn> {
    const revision = this.#revision, began = this.#clock.now();
    this.#due = false;
    this.#announce.touch();
    try {
      return this.#drawn = { page: await this.#draw(), revision };
    } finally {
      this.#took = this.#clock.now() - began;
    }
  }
}
