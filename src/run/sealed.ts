/**
 * JSON files that end with the hash of what stands before it, so that one changed bit is found.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { parseJson } from "../data/files.ts";

const HASH = /^,"sha256":"([0-9a-f]{64})"\}\n$/;
const HASH_LENGTH = `,"sha256":"${"0".repeat(64)}"}\n`.length;

/** A file is not as it was written. */
export class DamagedError extends TypeError {
  /** `DamagedError`. */
  override name = "DamagedError";
}

/** The SHA-256 of bytes, in lower-case hexadecimal, piece by piece. */
export class Hash {
  readonly #hash = createHash("sha256");

  /** Adds bytes. */
  add(bytes: Uint8Array): void {
    this.#hash.update(bytes);
  }

  /** The hash of all that was added; ask once. */
  hex(): string {
    return this.#hash.digest("hex");
  }
}

/** An object as the text of a sealed file. */
export function seal(value: Record<string, unknown>): string {
  const body = JSON.stringify({ ...value, sha256: undefined });
  const hash = new Hash();
  hash.add(new TextEncoder().encode(body));
  return `${body.slice(0, -1)},"sha256":"${hash.hex()}"}\n`;
}

/**
 * Reads a sealed file.
 *
 * @param bytes The file. @param path What to call it in an error.
 * @returns What was sealed; `undefined` if it is JSON without a seal.
 * @throws {DamagedError} If it is not as it was written, or no JSON.
 */
export function unseal(bytes: Uint8Array, path: string): Record<string, unknown> | undefined {
  const end = Math.max(0, bytes.length - HASH_LENGTH);
  const match = HASH.exec(new TextDecoder("latin1").decode(bytes.subarray(end)));
  let value: unknown;
  try {
    value = parseJson(bytes, path);
  } catch (error) {
    throw new DamagedError((error as Error).message);
  }
  // without a seal were only files that have neither of these keys
  const sealed = typeof value === "object" && value !== null &&
    ("sha256" in value || "format" in value);
  if (!match) {
    if (sealed) throw new DamagedError(`${path} is not as it was written: its end has changed`);
    return undefined;
  }
  const hash = new Hash();
  hash.add(bytes.subarray(0, end));
  hash.add(new TextEncoder().encode("}"));
  if (hash.hex() !== match[1]) {
    throw new DamagedError(`${path} is not as it was written: its hash has changed`);
  }
  const { sha256: _, ...rest } = value as Record<string, unknown>;
  return rest;
}
