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
export { default as gpt2Ranks } from "npm:gpt-tokenizer@4.0.0/bpeRanks/r50k_base";
