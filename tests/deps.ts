/**
 * The packages that only tests use, each with its full specifier.
 *
 * @module
 */
export {
  type BrowserContextOptions,
  chromium,
  type ConsoleMessage,
  type Page,
} from "npm:playwright-core@1.65.1";
