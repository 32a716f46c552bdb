/** Server-sent events as a test reads them. */
import assert from "node:assert/strict";

/** Reads events from a connection, one by one. */
export class Listener {
  readonly #chunks: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(response: Response) {
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    this.#chunks = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  }

  static async to(url: string, headers: HeadersInit = {}): Promise<Listener> {
    return new Listener(await fetch(new URL("/events", url), { headers }));
  }

  /** The next block of lines; nothing at the end. */
  async block(): Promise<Record<string, string> | undefined> {
    while (!this.#text.includes("\n\n")) {
      const { done, value } = await this.#chunks.read();
      if (done) return undefined;
      this.#text += value;
    }
    const end = this.#text.indexOf("\n\n");
    const lines = this.#text.slice(0, end).split("\n");
    this.#text = this.#text.slice(end + 2);
    return Object.fromEntries(lines.map((line) => line.split(/: (.*)/s).slice(0, 2)));
  }

  /** The data of the next event of that name. */
  // deno-lint-ignore no-explicit-any -- what JSON holds
  async next(name: string): Promise<any> {
    for (;;) {
      const block = await this.block();
      assert.ok(block, `it ended before it told ${name}`);
      if (block.event === name) return JSON.parse(block.data);
    }
  }

  async close(): Promise<void> {
    await this.#chunks.cancel();
  }
}
