/**
 * What the report imports from npm, in one place and with full specifiers: an import map would not
 * travel with a module that is imported over http.
 *
 * @module
 */

export * as Plot from "npm:@observablehq/plot@0.6.17";
export { DOMParser } from "npm:linkedom@0.18.12";
