/**
 * The packages that every level may use, each with its full specifier: an import map would not travel
 * with a module that is imported over http.
 *
 * @module
 */
export { distance } from "npm:fastest-levenshtein@1.0.16";
