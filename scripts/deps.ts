/**
 * The packages that the scripts use, each with its full specifier: an import map would not travel
 * with a script that is run over http.
 *
 * @module
 */
export {
  Command,
  CommanderError,
  type CommandUnknownOpts,
  Option,
} from "npm:@commander-js/extra-typings@15.1.0";
// @ts-types="npm:@types/cli-progress@3.11.6"
export { Format, MultiBar } from "npm:cli-progress@3.12.0";
