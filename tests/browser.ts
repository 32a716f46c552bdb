/** Pages in a real browser: Chromium without a window. */
import { existsSync } from "node:fs";
import { type BrowserContextOptions, chromium, type ConsoleMessage, type Page } from "./deps.ts";

/** Where a browser may be; `CHROME_BIN` names another. */
const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** A page must load nothing but what it is given, and neither must its browser. */
const FLAGS = [
  "--no-sandbox", // CI runs as root, for whom Chromium has none
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Milliseconds that starting a browser may take on a busy machine. */
const START_MS = 60_000;

/** What a page said that it should not have. */
export interface PageTalk {
  /** Errors and warnings of the console, and what scripts threw. Empty where all went well. */
  readonly errors: string[];
}

/**
 * The browser that tests use; nothing where there is none.
 *
 * @throws {TypeError} If `CHROME_BIN` names a file that does not exist.
 */
export function browserPath(): string | undefined {
  const named = Deno.env.get("CHROME_BIN");
  if (!named) return PLACES.find((path) => existsSync(path));
  if (!existsSync(named)) throw new TypeError(`CHROME_BIN names no file: ${named}`);
  return named;
}

/**
 * Opens an empty page in a browser of its own, and closes both when the action has ended.
 *
 * @param options Size, colour scheme and the like of the page.
 */
export async function withPage<Result>(
  action: (page: Page, talk: PageTalk) => Promise<Result>,
  options: BrowserContextOptions = {},
): Promise<Result> {
  const executablePath = browserPath();
  if (!executablePath) throw new TypeError(`No browser at ${PLACES.join(", ")}, nor CHROME_BIN`);
  const browser = await chromium.launch({ executablePath, args: FLAGS, timeout: START_MS });
  try {
    const page = await browser.newPage(options);
    const errors: string[] = [];
    page.on("console", (message: ConsoleMessage) => {
      const bad = message.type() === "error" || message.type() === "warning";
      if (bad) errors.push(`${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error: Error) => errors.push(String(error)));
    return await action(page, { errors });
  } finally {
    await browser.close();
  }
}

/** A test that needs a browser: skipped, and said so, where there is none. */
export function browserTest(name: string, fn: () => Promise<void>): void {
  const ignore = browserPath() === undefined;
  if (ignore) console.warn(`\n*** NO BROWSER: skipped "${name}"; install chromium ***\n`);
  Deno.test({ name, ignore, fn });
}
