/**
 * What the report imports from npm, in one place and with full specifiers: an import map would not
 * travel with a module that is imported over http.
 *
 * @module
 */

export * as Plot from "npm:@observablehq/plot@0.6.17";
export { DOMParser } from "npm:linkedom@0.18.12";
export * as v from "npm:valibot@1.5.0";

/** Tells where in a JSON text a value stands; loaded when one is refused. */
export const jsonPlaces = () => import("npm:jsonc-parser@3.3.1");
