/**
 * Server-sent events: one source, any number of listeners.
 *
 * @module
 */

/** An event: its name, and what goes with it as JSON. */
export type ServerEvent = readonly [name: string, data: unknown];

/** Milliseconds after which a browser tries again where the connection broke. */
const RETRY_MS = 1000;

/** Events that a listener may be behind. One that is further behind is let go: it comes back anew. */
const BEHIND = 256;

const encoder = new TextEncoder();

/** Open streams. */
export class EventStreams {
  readonly #session: string;
  readonly #open = new Set<ReadableStreamDefaultController<Uint8Array>>();
  #last = 0;
  #emptied: (() => void) | undefined;

  /** @param session Goes before every id, so that ids of another server are told apart. */
  constructor(session: string) {
    this.#session = session;
  }

  /** How many listen. */
  get size(): number {
    return this.#open.size;
  }

  /** A new listener, who is told first how things stand. */
  add(present: readonly ServerEvent[]): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        this.#open.add(own);
        own.enqueue(encoder.encode(`retry: ${RETRY_MS}\n\n`));
        for (const event of present) own.enqueue(this.#encode(event));
      },
      cancel: () => this.#remove(own),
    });
  }

  /** Tells all listeners. */
  send(event: ServerEvent): void {
    const bytes = this.#encode(event);
    for (const stream of [...this.#open]) {
      stream.enqueue(bytes);
      if ((stream.desiredSize ?? 0) < -BEHIND) this.#close(stream);
    }
  }

  /** Waits until nobody listens any more. */
  empty(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#emptied = resolve);
  }

  /** Ends all streams. */
  close(): void {
    for (const stream of [...this.#open]) this.#close(stream);
  }

  #encode([name, data]: ServerEvent): Uint8Array {
    const id = `${this.#session}-${++this.#last}`;
    return encoder.encode(`id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
  }

  #close(stream: ReadableStreamDefaultController<Uint8Array>): void {
    stream.close();
    this.#remove(stream);
  }

  #remove(stream: ReadableStreamDefaultController<Uint8Array>): void {
    this.#open.delete(stream);
    if (this.size === 0) this.#emptied?.();
  }
}
