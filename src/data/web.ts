/**
 * Asking web servers: with an end to waiting, and errors that say why.
 *
 * @module
 */

/** Milliseconds without any sign of life after which a server counts as away. */
const STALL_MS = 30_000;

/** How patiently, and for whom. */
export interface WebOptions {
  /** Ends it: the signal's reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds to wait for an answer, and for each further piece of it; 30,000 unless given. */
  readonly stallMs?: number | undefined;
}

/** What a server answered. */
export interface WebAnswer {
  readonly ok: boolean;
  readonly status: number;
  /** All bytes of a page that is there; none of an error's. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * Asks for a page, and reads all of it.
 *
 * @throws {TypeError} If the server cannot be reached, or stops in the middle. The signal's reason.
 */
export async function fetchPage(
  url: string,
  { method = "GET", signal, stallMs = STALL_MS }: WebOptions & { method?: "GET" | "HEAD" } = {},
): Promise<WebAnswer> {
  using watch = new Watch(signal);
  watch.expect(stallMs);
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  try {
    const { ok, status, body } = await fetch(url, { method, signal: watch.signal });
    if (!ok) await body?.cancel();
    else {
      for await (const piece of body ?? []) {
        watch.expect(stallMs);
        pieces.push(piece);
      }
    }
    return { ok, status, bytes: new Uint8Array(await new Blob(pieces).arrayBuffer()) };
  } catch (cause) {
    signal?.throwIfAborted();
    throw new TypeError(`${url} cannot be reached: ${reasonOf(cause)}`, { cause });
  }
}

/** Why a connection failed, in the system's words. */
export function reasonOf(error: unknown): string {
  if ((error as Error).name === "TimeoutError") return "it does not answer";
  return rootOf(error as Error).message.replace(/^error sending request .*?\): /, "");
}

/** What lies under an error that only says that something failed. */
function rootOf(error: Error): Error {
  return error.cause instanceof Error ? rootOf(error.cause) : error;
}

/** Ends a request that brings nothing for too long. */
export class Watch implements Disposable {
  readonly #controller = new AbortController();
  readonly signal: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(user: AbortSignal | undefined) {
    const { signal } = this.#controller;
    this.signal = user ? AbortSignal.any([user, signal]) : signal;
  }

  /** The next sign of life must come within this time. */
  expect(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#controller.abort(new DOMException("no bytes come", "TimeoutError")),
      ms,
    );
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
