/**
 * What happens, handed from those who say it to those who iterate.
 *
 * @module
 */

/**
 * A queue that is read by `for await`. Every reader gets all that is said from when it begins to
 * iterate; what nobody reads is kept for nobody.
 */
export class EventQueue<Event> implements AsyncIterable<Event> {
  readonly #readers = new Set<Reader<Event>>();
  #ended = false;

  /** Says something to every reader. */
  push(event: Event): void {
    for (const reader of this.#readers) {
      reader.waiting.push(event);
      reader.wake?.();
    }
  }

  /** Ends every iteration, once it has read what was said. */
  end(): void {
    this.#ended = true;
    for (const reader of this.#readers) reader.wake?.();
  }

  /** Begins to listen at once, not at the first `next()`. */
  [Symbol.asyncIterator](): AsyncIterator<Event> {
    const reader: Reader<Event> = { waiting: [] };
    this.#readers.add(reader);
    const close = () => {
      this.#readers.delete(reader);
      return Promise.resolve({ done: true as const, value: undefined });
    };
    return {
      next: async () => {
        while (reader.waiting.length === 0) {
          if (this.#ended) return await close();
          await new Promise<void>((resolve) => reader.wake = resolve);
        }
        return { done: false, value: reader.waiting.shift()! };
      },
      return: close,
    };
  }
}

interface Reader<Event> {
  waiting: Event[];
  wake?: () => void;
}
