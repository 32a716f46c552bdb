/**
 * A run's report on localhost, while the run goes on.
 *
 * @module
 */
import { type Page, pageHtml } from "../report/document.ts";
import { drawReport } from "../report/write.ts";
import { PHASE_NAMES } from "../report/theme.ts";
import type { EventRow, Phase } from "../record.ts";
import { NOTHING_YET, servedBy } from "./bar.ts";
import { Drawing, DRAWING_LIMITS, type DrawingLimits, type Drawn } from "./drawing.ts";
import { Speed } from "./speed.ts";
import { EventStreams, type ServerEvent } from "./streams.ts";
import { CLOCK, type Clock, Throttle } from "./throttle.ts";

/** Only programs on the same machine reach it. */
const HOSTNAME = "127.0.0.1";

/** Names by which this machine calls itself; any other in a request comes from somebody else's page. */
const OWN_NAMES = [HOSTNAME, "localhost", "[::1]"];

/** Milliseconds from one word of progress to the next. */
const PROGRESS_MS = 300;

/** Milliseconds that browsers have, at the end, to fetch the last page. */
const PARTING_MS = 2000;

/** Milliseconds in which one that loads the page anew is back. */
const BACK_MS = 500;

/** On every answer: it is for nobody else, and never kept. */
const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store, no-transform",
  "content-security-policy": "frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** What is shown: a run's folder, or what draws a page. */
export type LiveSource = string | (() => Page | Promise<Page>);

/** How far a run is. What is not known is left out; what is not named stays as it was. */
export interface LiveProgress {
  /** What goes on: `finetuning`, `cycle 2`. */
  phase?: string;
  /** Cycle of an experiment; 0 during warm-up. */
  cycle?: number;
  /** Steps done. */
  step?: number;
  /** Steps in all. */
  total?: number;
  /** Last known training loss, in nats per token. */
  loss?: number;
  /** Tokens processed so far, from which the speed is taken. */
  tokens?: number;
}

/** How a run ended. */
export type LiveOutcome = "done" | "stopped" | "failed";

/** Settings of a {@linkcode LiveServer}. */
export interface LiveOptions {
  /** 0, which is the default, takes any that is free. */
  port?: number;
  /**
   * How often the page may be drawn.
   *
   * @internal
   */
  limits?: DrawingLimits;
  /**
   * What tells the time.
   *
   * @internal
   */
  clock?: Clock;
  /** Told where the page cannot be drawn, which does not concern the run; stderr unless given. */
  onError?: (error: Error) => void;
}

/** What an experiment's `events()` tells, as far as it matters here. */
export interface LiveEvent {
  /** `progress`, `event`, or anything else that says that the records have grown. */
  readonly kind: string;
  /** How far the run is, where it tells that. */
  readonly progress?: LiveProgress;
  /** What was recorded, where it tells that: of an `event`, a line of `events.jsonl`. */
  readonly row?: object;
}

/**
 * Serves the report of a run that goes on, to browsers on the same machine. They are told of
 * progress and of changes by server-sent events; the page is drawn only where one asks for it, and
 * drawing takes a twentieth of the run's time at most.
 *
 * ```ts ignore
 * using experiment = new NeuralPlasticityExperiment({ pruningLevel: 0.1 });
 * await experiment.setup();
 * using live = LiveServer.open(experiment.outputDir);
 * live.follow(experiment.events());
 * console.log(live.url); // look there while it runs
 * await experiment.runWarmup();
 * await experiment.runPruningCycle();
 * ```
 */
export class LiveServer implements Disposable, AsyncDisposable {
  /** Where it is: `http://127.0.0.1:8420/`. */
  readonly url: string;
  readonly #session = crypto.randomUUID().slice(0, 8);
  readonly #streams = new EventStreams(this.#session);
  readonly #drawing: Drawing;
  readonly #tell: Throttle;
  readonly #clock: Clock;
  readonly #onError: (error: Error) => void;
  readonly #speed = new Speed();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #hosts: ReadonlySet<string>;
  #progress: LiveProgress | undefined;
  #ended: { outcome: LiveOutcome; words: string } | undefined;

  private constructor(
    { port = 0, limits = DRAWING_LIMITS, clock = CLOCK, onError = complain }: LiveOptions,
  ) {
    this.#clock = clock;
    this.#onError = onError;
    this.#drawing = new Drawing(
      () => NOTHING_YET,
      () => this.#streams.send(this.#pageEvent()),
      { clock, limits },
    );
    this.#tell = new Throttle(
      () => this.#streams.send(["progress", this.#said()]),
      () => PROGRESS_MS,
      clock,
    );
    this.#server = listen(port, (request) => this.#answer(request));
    const own = this.#server.addr.port;
    this.url = `http://${HOSTNAME}:${own}/`;
    this.#hosts = new Set(
      OWN_NAMES.flatMap((name) => own === 80 ? [name, `${name}:80`] : [`${name}:${own}`]),
    );
  }

  /**
   * Begins to serve.
   *
   * @param source The run's folder, or what draws a page; {@linkcode LiveServer.show} may say it
   * later.
   * @throws {Deno.errors.AddrInUse} If the port is taken.
   */
  static open(source?: LiveSource, options: LiveOptions = {}): LiveServer {
    const live = new LiveServer(options);
    if (source !== undefined) live.show(source);
    return live;
  }

  /** Shows this from now on. */
  show(source: LiveSource): void {
    this.#drawing.replace(typeof source === "string" ? () => drawReport(source) : source);
  }

  /** Tells how far the run is. */
  progress(progress: LiveProgress): void {
    if (this.#ended) return;
    const before = this.#progress;
    this.#progress = { ...before, ...progress };
    const { phase, cycle, step, tokens } = this.#progress;
    if (phase !== before?.phase || cycle !== before?.cycle) this.#speed.clear();
    if (progress.step !== undefined) this.#speed.add(this.#clock.now(), { step, tokens });
    this.#tell.ask();
  }

  /** Tells that the records have grown. */
  changed(): void {
    if (!this.#ended) this.#drawing.changed();
  }

  /** Tells that a line of `events.jsonl` was written, a phase's beginning perhaps. */
  recorded(row: EventRow): void {
    if (row.event === "phase") {
      const cycle = row.phase === "evaluation" ? 0 : row.cycle; // it judges them all
      this.progress({ phase: row.phase, cycle });
    }
    this.changed();
  }

  /** Follows an experiment's `events()` until they end. */
  async follow(events: AsyncIterable<LiveEvent>): Promise<void> {
    for await (const { kind, progress, row } of events) {
      if (progress) this.progress(progress);
      else if (kind === "event" && row) this.recorded(row as EventRow);
      else this.changed();
    }
  }

  /**
   * Tells that the run has ended, and waits until every browser has the last page, but not long.
   *
   * @param words How to go on, or what went wrong.
   */
  async end(outcome: LiveOutcome = "done", words = ""): Promise<void> {
    if (this.#ended) return;
    this.#tell.stop();
    this.#ended = { outcome, words };
    this.#drawing.finish();
    if (this.#streams.size === 0) return;
    await this.#drawing.page().catch(() => {}); // however long that takes
    this.#streams.send(["end", this.#ended]);
    const late = CLOCK.now() + PARTING_MS;
    while (this.#streams.size > 0 && CLOCK.now() < late) {
      await within(late - CLOCK.now(), this.#streams.empty());
      await new Promise<void>((resolve) => CLOCK.after(BACK_MS, resolve));
    }
  }

  /** Ends all connections. Resolves when the last is gone, or after two seconds. */
  async close(): Promise<void> {
    this.#tell.stop();
    this.#drawing.stop();
    this.#streams.close();
    // A browser that does not read what it asked for must not hold it up.
    this.#server.unref();
    await within(PARTING_MS, this.#server.shutdown());
  }

  /** The same, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The same, for `using`, which does not wait. */
  [Symbol.dispose](): void {
    void this.close();
  }

  async #answer(request: Request): Promise<Response> {
    if (!this.#hosts.has((request.headers.get("host") ?? "").toLowerCase())) {
      return text(
        403,
        `This page is at ${this.url} and answers to no other name. Through a tunnel, forward the same port.`,
      );
    }
    const { pathname } = new URL(request.url);
    if (pathname !== "/" && pathname !== "/events") return text(404, `There is only ${this.url}`);
    if (request.method !== "GET" && request.method !== "HEAD") {
      return text(405, "It can only be read.", { allow: "GET, HEAD" });
    }
    const type = pathname === "/" ? "text/html; charset=utf-8" : "text/event-stream";
    const headers = { ...HEADERS, "content-type": type };
    if (request.method === "HEAD") return new Response(null, { headers });
    if (pathname === "/events") {
      return new Response(this.#streams.add(this.#present()), { headers });
    }
    try {
      const { page, revision } = await this.#lastOrNew();
      return new Response(pageHtml(page, servedBy(this.#version(revision))), { headers });
    } catch (error) {
      return text(500, `The page could not be drawn: ${(error as Error).message}`);
    }
  }

  /** A page that cannot be drawn any more is shown as it was. */
  async #lastOrNew(): Promise<Drawn> {
    try {
      return await this.#drawing.page();
    } catch (error) {
      this.#onError(error as Error);
      if (this.#drawing.last) return this.#drawing.last;
      throw error;
    }
  }

  /** How things stand: for those who come, and those who come back. */
  #present(): ServerEvent[] {
    return [
      this.#pageEvent(),
      ...(this.#progress ? [["progress", this.#said()] as const] : []),
      ...(this.#ended ? [["end", this.#ended] as const] : []),
    ];
  }

  #pageEvent(): ServerEvent {
    return ["page", { version: this.#version(this.#drawing.revision) }];
  }

  #version(revision: number): string {
    return `${this.#session}-${revision}`;
  }

  #said(): Record<string, unknown> {
    const { phase = "", cycle, step, total, loss } = this.#progress ?? {};
    const name = PHASE_NAMES[phase as Phase] ?? phase;
    const { steps, tokens } = this.#speed;
    const left = steps > 0 && step !== undefined && total ? (total - step) / steps : undefined;
    return {
      phase: cycle ? `${name}, cycle ${cycle}` : name,
      ...{ step, total, loss },
      ...(tokens > 0 && { tokens_per_second: tokens }),
      ...(left !== undefined && left > 0 && { seconds_left: left }),
    };
  }
}

function complain({ name, message }: Error): void {
  console.error(`The page could not be drawn: ${name}: ${message}`);
}

/** @throws {Deno.errors.AddrInUse} If the port is taken. */
function listen(
  port: number,
  handler: (request: Request) => Promise<Response>,
): Deno.HttpServer<Deno.NetAddr> {
  try {
    return Deno.serve({ hostname: HOSTNAME, port, onListen() {} }, handler);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    throw new Deno.errors.AddrInUse(
      `port ${port} is in use on ${HOSTNAME}: name another, or 0 for any that is free`,
    );
  }
}

function text(status: number, body: string, headers: Record<string, string> = {}): Response {
  const type = { "content-type": "text/plain; charset=utf-8" };
  return new Response(`${body}\n`, { status, headers: { ...HEADERS, ...type, ...headers } });
}

/** Waits for something, but only so long. */
async function within(milliseconds: number, what: Promise<unknown>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = CLOCK.after(milliseconds, resolve);
  await Promise.race([what, promise]);
  cancel();
}
