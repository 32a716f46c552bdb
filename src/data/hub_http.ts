/**
 * Asking the hub: with the user's token, with patience, and with errors that say what to do.
 *
 * @module
 */
import type { HubSettings } from "./hub_settings.ts";
import type { HubOptions, HubType } from "./hub_types.ts";
import { reasonOf } from "./web.ts";

/** What the hub refused, or that it did not answer. */
export class HubError extends TypeError {
  /** Why, as far as it decides what to do next. */
  readonly kind: "unreachable" | "unknown" | "forbidden" | "revision" | "file";
  /** The message without its advice. */
  readonly what: string;
  /** What to do about it, where the message has not said so already. */
  readonly advice: string | undefined;

  constructor(
    kind: HubError["kind"],
    what: string,
    { advice, ...options }: ErrorOptions & { advice?: string | undefined } = {},
  ) {
    super(advice === undefined ? what : `${what}; ${advice}`, options);
    this.kind = kind;
    this.what = what;
    this.advice = advice;
  }

  /** The same, said of something more; the advice stays at the end. */
  within(words: (what: string) => string): HubError {
    return new HubError(this.kind, words(this.what), { advice: this.advice, cause: this });
  }
}

/** Five tries are spread over a quarter of a minute; the hub counts requests over five minutes. */
const PATIENCE = { tries: 5, firstMs: 1000, mostMs: 300_000 };

/** A repository as errors call it. */
export interface AskedRepo {
  readonly type: HubType;
  readonly repo: string;
  readonly revision: string;
}

/** What to do where something else than the hub answers. */
export const PORTAL = "check HF_ENDPOINT, and whether the network wants you to log in";

/** Statuses that pass. */
const PASSING = [408, 425, 429, 500, 502, 503, 504];

/** Asks the hub about one repository. */
export class HubClient {
  readonly settings: HubSettings;
  readonly asked: AskedRepo;
  readonly #patience: typeof PATIENCE;
  readonly signal: AbortSignal | undefined;

  constructor(
    settings: HubSettings,
    asked: AskedRepo,
    { patience, signal }: Pick<HubOptions, "patience" | "signal"> = {},
  ) {
    this.settings = settings;
    this.asked = asked;
    this.#patience = { ...PATIENCE, ...patience };
    this.signal = signal;
  }

  /**
   * Asks until there is an answer, or the tries are used up; is what the hub's package takes as `fetch`.
   *
   * @param most Tries at most.
   * @throws {HubError} If it refuses, or cannot be reached. The signal's reason.
   */
  asking(most = Infinity): typeof fetch {
    return async (input, init) => {
      for (let tried = 1;; tried++) {
        try {
          const answer = AbortSignal.timeout(this.settings.answerMs);
          return await this.once(input, { ...init, signal: answer });
        } catch (error) {
          if (tried >= most) throw error;
          await this.wait(error, tried);
        }
      }
    };
  }

  /**
   * One request.
   *
   * @param init.signal Ends it for want of an answer; the user's own signal counts as well.
   * @throws {HubError} If it is refused or not answered; where it may pass, with a `retryAfter`.
   */
  async once(input: RequestInfo | URL, init: RequestInit & { signal: AbortSignal }) {
    const { token, endpoint } = this.settings;
    const headers = new Headers(init.headers);
    // To the hub alone: neither its links nor its redirects to other hosts take the token along.
    const url = input instanceof Request ? input.url : input;
    if (token !== undefined && new URL(url).origin === new URL(endpoint).origin) {
      headers.set("authorization", `Bearer ${token}`);
    }
    const signal = this.signal ? AbortSignal.any([this.signal, init.signal]) : init.signal;
    let response: Response;
    try {
      response = await fetch(input, { ...init, headers, signal });
    } catch (cause) {
      throw this.lost(cause);
    }
    if (response.ok) return response;
    await response.body?.cancel();
    throw this.#refusal(response);
  }

  /** What to throw for an error of the connection. */
  lost(cause: unknown): unknown {
    this.signal?.throwIfAborted();
    if (cause instanceof HubError) return cause;
    if (cause instanceof SyntaxError) {
      const what = `${this.settings.endpoint} does not answer as the hub does`;
      return new HubError("unreachable", `${what}: ${cause.message}`, { advice: PORTAL, cause });
    }
    return new PassingError(`${this.settings.endpoint} cannot be reached: ${reasonOf(cause)}`, {
      advice: "check the network connection",
      cause,
    });
  }

  /**
   * Waits before the next try.
   *
   * @param tried Tries in a row that brought nothing.
   * @throws {unknown} The error, if it does not pass or has come too often.
   */
  async wait(error: unknown, tried: number): Promise<void> {
    const { tries, firstMs, mostMs } = this.#patience;
    if (!(error instanceof PassingError) || tried >= tries) throw error;
    const ms = error.retryAfterMs ?? Math.min(mostMs, firstMs * 2 ** (tried - 1));
    if (ms > mostMs) throw error;
    await sleep(ms, this.signal);
  }

  #refusal(response: Response): HubError {
    const { type, repo, revision } = this.asked;
    const { token, endpoint } = this.settings;
    const code = response.headers.get("x-error-code");
    const said = response.headers.get("x-error-message");
    const page = `${endpoint}/${type === "dataset" ? "datasets/" : ""}${repo}`;
    const { status } = response;
    if (PASSING.includes(status)) {
      const retryAfterMs = waitOf(response.headers);
      return new PassingError(
        status === 429
          ? `${endpoint} has had too many requests (429)` +
            (retryAfterMs === undefined
              ? ": try again later"
              : `: try again in ${Math.ceil(retryAfterMs / 1000)} seconds`) +
            (token === undefined ? "; with HF_TOKEN set, more are allowed" : "")
          : `${endpoint} cannot be reached: it answers ${status}`,
        { retryAfterMs, ...(status !== 429 && { advice: "try again later" }) },
      );
    }
    if (code === "RevisionNotFound") {
      return new HubError(
        "revision",
        `${repo} has no revision ${revision}: give one of its branches, tags or commits`,
      );
    }
    if (code === "EntryNotFound") {
      return new HubError("file", `${repo} has no file ${new URL(response.url).pathname}`);
    }
    if (code === "GatedRepo") {
      return new HubError(
        "forbidden",
        `the ${type} ${repo} is gated: accept its conditions at ${page}, and set HF_TOKEN to a token ` +
          "of the account that did",
      );
    }
    if (status === 401 && token !== undefined && said?.includes("Invalid credentials")) {
      return new HubError(
        "forbidden",
        `${endpoint} does not know the token in HF_TOKEN or the token file: make a new one in the ` +
          "settings of your account, or unset it",
      );
    }
    if (status === 401 || status === 404) {
      return new HubError(
        "unknown",
        `${endpoint} knows no ${type} ${repo}` +
          (token === undefined
            ? ", or it is private: check the name, or set HF_TOKEN to a token that may read it"
            : " that this token may read: check the name, and whether HF_TOKEN may read it"),
      );
    }
    if (status === 403) {
      return new HubError(
        "forbidden",
        `${endpoint} does not let you read the ${type} ${repo}${said ? ` (${said})` : ""}: set ` +
          "HF_TOKEN to a token that may",
      );
    }
    return new HubError(
      "unreachable",
      `${endpoint} answers ${status} when it is asked for ${repo}${said ? `: ${said}` : ""}`,
    );
  }
}

/** What may pass by itself. */
export class PassingError extends HubError {
  /** What the server asks for. */
  readonly retryAfterMs: number | undefined;

  constructor(
    message: string,
    { retryAfterMs, ...options }: {
      cause?: unknown;
      advice?: string;
      retryAfterMs?: number | undefined;
    } = {},
  ) {
    super("unreachable", message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Milliseconds that `Retry-After`, or the hub's own `RateLimit`, asks for. */
function waitOf(headers: Headers): number | undefined {
  const after = headers.get("retry-after");
  if (after !== null) {
    const ms = /^\d+$/.test(after) ? 1000 * Number(after) : Date.parse(after) - Date.now();
    if (Number.isFinite(ms)) return Math.max(0, ms);
  }
  const seconds = /\br=0\b.*\bt=(\d+)/.exec(headers.get("ratelimit") ?? "")?.[1];
  return seconds === undefined ? undefined : 1000 * Number(seconds);
}

/** Waits; the signal's reason ends it early. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
