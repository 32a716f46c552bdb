/**
 * The packages that this level uses, each with its full specifier: an import map would not travel
 * with a module that is imported over http.
 *
 * @module
 */
import type * as NativeTokenizers from "npm:tokenizers@0.23.2";

/** Byte-level BPE as GPT-2 has it, in TypeScript. */
export { Tokenizer as HuggingFaceTokenizer } from "npm:@huggingface/tokenizers@0.2.0";
export { JSONParser } from "npm:@streamparser/json@0.0.26";
export type { AsyncBuffer, FileMetaData, SchemaTree } from "npm:hyparquet@1.31.5";

/** The hub's own package, loaded when something of the hub is asked for: most runs need none of it. */
export const hubLibrary = () => import("npm:@huggingface/hub@2.17.5");
/** Parquet, likewise, and the compressions that its files may have. */
export const parquetLibrary = () => import("npm:hyparquet@1.31.5");
/** The part of it that reads the header of a page. */
export const parquetHeaders = () => import("npm:hyparquet@1.31.5/src/column.js");
export const compressorsLibrary = () => import("npm:hyparquet-compressors@1.1.2");
/** Comma-separated values, likewise. */
export const csvLibrary = () => import("npm:csv-parse@7.0.3");

/**
 * The library that Python's `tokenizers` is made of, for all other kinds of tokenizer. It is 28 MB, so its
 * name is no literal here: Deno downloads what literals name before a program begins.
 */
const NATIVE_TOKENIZERS = "npm:tokenizers@0.23.2";
export const tokenizersLibrary = (): Promise<typeof NativeTokenizers> => import(NATIVE_TOKENIZERS);
