/**
 * Signals that stop a script in order: it saves what must be saved, and ends with the signal's exit code.
 *
 * @module
 */

/** Exit codes: 128 and the signal's number. */
const CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

type Stop = keyof typeof CODES;

/** `deno task` passes Ctrl-C on to a process that the terminal told too: within this, it is one. */
const SAME_INTERRUPT_MS = 500;

/** What a script is told by signals. */
export interface Stopping {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** What a script that was stopped ends with: the first signal's exit code. */
  code(): number;
}

/**
 * Listens to Ctrl-C, `SIGTERM` and `SIGHUP` until the process ends. A second Ctrl-C ends it at once. The
 * others are not counted: schedulers send them more than once, and then kill. A `SIGHUP` that was to be
 * ignored (`nohup`) is ignored, where the system tells (Linux).
 */
export function listenToSignals(): Stopping {
  const controller = new AbortController();
  let first: Stop | undefined, interruptedAt: number | undefined;
  const stop = (by: Stop) => {
    if (first !== undefined) return;
    first = by;
    const then = by === "SIGINT" ? "press Ctrl-C again to stop at once" : "it was asked to end";
    console.error(`\nStopping; ${then}.`);
    controller.abort(new DOMException("Stopped.", "AbortError"));
  };
  Deno.addSignalListener("SIGINT", () => {
    const time = performance.now();
    if (interruptedAt !== undefined && time - interruptedAt > SAME_INTERRUPT_MS) {
      console.error("\nStopped at once.");
      Deno.exit(CODES.SIGINT);
    }
    interruptedAt ??= time;
    stop("SIGINT");
  });
  if (Deno.build.os !== "windows") Deno.addSignalListener("SIGTERM", () => stop("SIGTERM"));
  if (!ignoresHangup()) Deno.addSignalListener("SIGHUP", () => stop("SIGHUP"));
  return { signal: controller.signal, code: () => CODES[first ?? "SIGINT"] };
}

/** Whether the process was started so that it ignores SIGHUP, as `nohup` does. */
function ignoresHangup(): boolean {
  if (Deno.build.os !== "linux") return false;
  try {
    const status = Deno.readTextFileSync("/proc/self/status");
    const mask = BigInt("0x" + (/^SigIgn:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"));
    return (mask & 1n) === 1n; // SIGHUP is signal 1
  } catch {
    return false; // without the permission to read it
  }
}
