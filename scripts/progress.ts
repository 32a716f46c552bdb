/**
 * How far a job is, on stderr: a bar on a terminal, elsewhere a plain line every few seconds.
 *
 * @module
 */
import { clearTimeout } from "node:timers";
import type { LiveProgress } from "../src/live/server.ts";
import { Speed } from "../src/live/speed.ts";
import { Format, MultiBar } from "./deps.ts";
import { printable } from "./terminal.ts";
import { readEnv } from "./env.ts";

/** Without a terminal, seconds from one line to the next. */
export const PLAIN_INTERVAL_S = 5;

/** On a terminal, milliseconds from one drawing to the next. */
const REDRAW_MS = 100;

const BAR = { most: 30, least: 5 };

/** What is shown. What is not known is left out, and so is its part of the line. */
export type ProgressState = LiveProgress;

/** Who else is told of progress: a page in a browser. */
export interface Follower {
  /** How far the job is. */
  progress(state: ProgressState): void;
  /** There is something new to see. */
  changed(): void;
}

/** Where progress is written. */
export interface ProgressStream {
  /** Whether the cursor can be moved there. */
  readonly isTTY: boolean;
  /** Its width; 80 unless given. */
  readonly columns?: number;
  write(text: string): unknown;
}

/** Options of a {@linkcode Progress}; the defaults are for use, others for tests. */
export interface ProgressOptions {
  /** stderr unless given. */
  stream?: ProgressStream;
  /** Milliseconds on any clock. */
  now?: () => number;
  /** Who else is told. */
  follower?: Follower | undefined;
}

/** stderr as a stream; a terminal that calls itself dumb gets plain lines. */
export function stderrStream(): ProgressStream {
  return {
    isTTY: Deno.stderr.isTerminal() && readEnv("TERM") !== "dumb",
    get columns() {
      try {
        return Deno.consoleSize().columns;
      } catch {
        return undefined; // no terminal on any of the three streams
      }
    },
    write(text) {
      try {
        Deno.stderr.writeSync(new TextEncoder().encode(text));
      } catch {
        // A terminal that was closed must not end a run.
      }
    },
  };
}

/**
 * Shows progress. Nothing is drawn but by its own calls: no timer runs, so it never keeps the
 * process alive, and a call between drawings costs microseconds.
 *
 * @example
 * ```ts ignore
 * using progress = new Progress();
 * for (let step = 1; step <= total; step++) {
 *   progress.update({ phase: "warmup", step, total, loss, tokens });
 * }
 * progress.log("pruned head 3 of layer 1");
 * ```
 */
export class Progress implements Disposable {
  readonly #stream: ProgressStream;
  readonly #now: () => number;
  readonly #follower: Follower | undefined;
  readonly #speed = new Speed();
  #state: ProgressState = {};
  #bars: MultiBar | undefined;
  #bar: ReturnType<MultiBar["create"]> | undefined;
  #drawn = -Infinity;
  #stale = false;

  constructor(
    { stream = stderrStream(), now = () => performance.now(), follower }: ProgressOptions = {},
  ) {
    this.#stream = stream;
    this.#now = now;
    this.#follower = follower;
  }

  /** Changes what is shown; what is not named stays. Drawn when the last drawing is old enough. */
  update(state: ProgressState): void {
    const time = this.#now();
    if (state.phase !== undefined && state.phase !== this.#state.phase) this.#speed.clear();
    this.#state = { ...this.#state, ...state };
    this.#speed.add(time, this.#state);
    this.#follower?.progress(state);
    this.#follower?.changed();
    this.#stale = true;
    const wait = this.#stream.isTTY ? REDRAW_MS : PLAIN_INTERVAL_S * 1000;
    if (time - this.#drawn >= wait) this.#draw(time);
  }

  /** Prints a line of its own, above the bar. */
  log(text: string): void {
    const line = printable(text);
    if (this.#stale && !this.#stream.isTTY) this.#draw(this.#now()); // so that lines keep their order
    this.#follower?.changed();
    this.#speed.clear(); // what took time before a line was something else than steps
    if (this.#bars) {
      this.#bars.log(line + "\n");
      this.#redraw();
    } else {
      this.#stream.write(line + "\n");
    }
  }

  /** Draws the last state and leaves it there. May be called again, and followed by updates. */
  stop(): void {
    if (this.#stale) this.#draw(this.#now());
    this.#bars?.stop();
    this.#bars = this.#bar = undefined;
    this.#speed.clear();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  #draw(time: number): void {
    this.#drawn = time;
    this.#stale = false;
    if (!this.#stream.isTTY) {
      this.#stream.write(progressParts(this.#state, this.#speed).join("  ") + "\n");
      return;
    }
    const { step = 0, total = 0 } = this.#state;
    if (!this.#bars) {
      this.#bars = new MultiBar({
        // It is a stream as far as the package uses one.
        stream: this.#stream as unknown as NodeJS.WritableStream,
        format: () => this.#line(),
        gracefulExit: false, // Ctrl-C is the caller's
        hideCursor: null, // a process that is killed would leave it hidden
        linewrap: true,
        forceRedraw: true, // a line that is printed above wipes it out
        barsize: BAR.most,
        barCompleteChar: "=",
        barIncompleteChar: "-",
      });
      this.#bar = this.#bars.create(total, step);
    }
    this.#bar!.setTotal(total);
    this.#bar!.update(step);
    this.#redraw();
  }

  /** Draws now, and stops the package's timer, which would keep the process alive. */
  #redraw(): void {
    this.#bars!.update();
    clearTimeout((this.#bars as unknown as { timer?: NodeJS.Timeout }).timer);
  }

  #line(): string {
    const [phase, ...rest] = progressParts(this.#state, this.#speed);
    const { step, total } = this.#state;
    const text = rest.join("  ");
    const room = (this.#stream.columns || 80) - 1;
    const barsize = Math.min(BAR.most, room - phase.length - text.length - 5);
    if (step === undefined || !total || barsize < BAR.least) {
      return [phase, text].join("  ").slice(0, room);
    }
    const done = Math.min(1, Math.max(0, step / total));
    const bar = Format.BarFormat(done, {
      barsize,
      barCompleteString: "=".repeat(barsize),
      barIncompleteString: "-".repeat(barsize),
      barGlue: "",
    });
    return `${phase}  [${bar}] ${text}`;
  }
}

/** The parts of a line, the phase first. */
function progressParts(
  { phase = "", step, total, loss }: ProgressState,
  speed: Speed,
): string[] {
  const parts = [printable(phase)];
  if (step !== undefined) {
    if (total) parts.push(`${Math.floor(100 * step / total)} %`.padStart(5), `${step}/${total}`);
    else parts.push(`step ${step}`);
  }
  if (loss !== undefined) parts.push(`loss ${loss.toFixed(3)}`);
  if (speed.tokens > 0) parts.push(`${formatRate(speed.tokens)} tokens/s`);
  if (step !== undefined && total && speed.steps > 0 && step < total) {
    parts.push(`${formatSeconds((total - step) / speed.steps)} left`);
  }
  return parts;
}

function formatRate(rate: number): string {
  if (rate >= 1e6) return `${(rate / 1e6).toFixed(2)}M`;
  return rate >= 1e4 ? `${(rate / 1e3).toFixed(1)}k` : rate.toFixed(rate < 10 ? 1 : 0);
}

/** Seconds as people say them: `45s`, `1m05s`, `2h03m`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  const two = (n: number) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  const minutes = Math.ceil(seconds / 60);
  return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
}
