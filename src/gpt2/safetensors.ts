/**
 * Reads and writes the safetensors format (https://huggingface.co/docs/safetensors): eight bytes
 * with the header's length, a JSON header, and the tensors' data, little-endian, without gaps.
 * The reader believes nothing that the header says until it has checked it.
 *
 * @module
 */

import { fromJson } from "../json.ts";

/** Bytes that can be read at any place, so that a large file is never read whole. */
export interface ByteSource {
  /** Length in bytes. */
  readonly size: number;
  /** Reads exactly `length` bytes from `offset` on. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** One tensor as the header describes it. */
export interface TensorInfo {
  /** Its name in the header. */
  readonly name: string;
  /** The format's name for the element type: `F32`, `BF16`, `I64`, ... */
  readonly dtype: string;
  /** Dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /** Where its data begins, in bytes from the start of the file. */
  readonly offset: number;
  /** Length of its data in bytes. */
  readonly byteLength: number;
}

/** A tensor to be written. */
export interface TensorToWrite {
  /** Its name in the header, unique in the file. */
  readonly name: string;
  /** Dimensions; empty for a scalar. */
  readonly shape: readonly number[];
  /** The elements, row-major: as many as the shape's product. */
  readonly data: Float32Array;
}

/** Longest header that any implementation of the format accepts, in bytes. */
const MAX_HEADER = 100_000_000;

/** Bits of one element. */
const DTYPE_BITS: ReadonlyMap<string, number> = new Map([
  ["F4", 4],
  ["F6_E2M3", 6],
  ["F6_E3M2", 6],
  ["BOOL", 8],
  ["U8", 8],
  ["I8", 8],
  ["F8_E5M2", 8],
  ["F8_E4M3", 8],
  ["F8_E8M0", 8],
  ["F8_E4M3FNUZ", 8],
  ["F8_E5M2FNUZ", 8],
  ["I16", 16],
  ["U16", 16],
  ["F16", 16],
  ["BF16", 16],
  ["I32", 32],
  ["U32", 32],
  ["F32", 32],
  ["C64", 64],
  ["F64", 64],
  ["I64", 64],
  ["U64", 64],
]);

/** An open safetensors file whose header has been checked in full. */
export class SafetensorsFile {
  /** What every error calls the file. */
  readonly where: string;
  /** The tensors in the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The header's `__metadata__`; empty where there is none. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly #source: ByteSource;

  private constructor(source: ByteSource, where: string, header: Header) {
    this.#source = source;
    this.where = where;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
  }

  /**
   * Reads and checks the header.
   *
   * @param source The file's bytes; it must stay readable as long as tensors are read.
   * @param where What to call the file in an error.
   * @throws {TypeError} If the header is not what the format asks for: not JSON, a name twice,
   *   an unknown dtype, a shape or an offset that is not a whole number.
   * @throws {RangeError} If a number in it lies: a length beyond the file, overlapping tensors,
   *   gaps, data of another size than the shape says, or a file that ends early or late.
   */
  static async open(source: ByteSource, where = "model.safetensors"): Promise<SafetensorsFile> {
    if (source.size < 8) {
      throw new RangeError(
        `${where} has ${source.size} bytes: a safetensors file has at least 8; fetch it again`,
      );
    }
    const prefix = await readExactly(source, where, 0, 8);
    const length = Number(new DataView(prefix.buffer, prefix.byteOffset).getBigUint64(0, true));
    if (length > MAX_HEADER) {
      throw new RangeError(
        `${where}: the header claims ${length} bytes, more than the ${MAX_HEADER} the format allows: ` +
          `it is not a safetensors file`,
      );
    }
    if (8 + length > source.size) {
      throw new RangeError(
        `${where}: the header claims ${length} bytes, but the file has only ${source.size}: ` +
          `it is cut short or not a safetensors file`,
      );
    }
    const bytes = await readExactly(source, where, 8, length);
    return new SafetensorsFile(source, where, parseHeader(bytes, 8 + length, source.size, where));
  }

  /**
   * Reads one tensor as 32-bit floats; F16 and BF16 are widened, which loses nothing, and F64 is rounded.
   *
   * @returns The elements, row-major, in memory of their own.
   * @throws {RangeError} If the file has no such tensor.
   * @throws {TypeError} If its elements are not F32, F16, BF16 or F64.
   */
  async read(name: string): Promise<Float32Array> {
    const info = this.tensors.get(name);
    if (info === undefined) throw new RangeError(`${this.where} holds no tensor "${name}"`);
    const convert = CONVERT.get(info.dtype);
    if (convert === undefined) {
      throw new TypeError(
        `${this.where}: tensor "${name}" is ${info.dtype}: only ${
          [...CONVERT.keys()].join(", ")
        } can be read; convert the file first`,
      );
    }
    return convert(await readExactly(this.#source, this.where, info.offset, info.byteLength));
  }
}

async function readExactly(source: ByteSource, where: string, offset: number, length: number) {
  const bytes = await source.read(offset, length);
  if (bytes.length !== length) {
    throw new RangeError(
      `${where}: wanted ${length} bytes at ${offset} and got ${bytes.length}: the file changed while it was read`,
    );
  }
  return bytes;
}

interface Header {
  tensors: Map<string, TensorInfo>;
  metadata: Record<string, string>;
}

function parseHeader(
  bytes: Uint8Array,
  dataStart: number,
  fileSize: number,
  where: string,
): Header {
  let json: unknown;
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    json = fromJson(text);
  } catch (cause) {
    throw new TypeError(`${where}: the header is not JSON: ${(cause as Error).message}`, { cause });
  }
  if (!text.startsWith("{") || !isObject(json)) {
    throw new TypeError(`${where}: the header must be a JSON object`);
  }
  refuseDuplicateNames(text, where);

  const { __metadata__, ...entries } = json;
  const metadata = __metadata__ ?? {};
  if (!isObject(metadata) || Object.values(metadata).some((v) => typeof v !== "string")) {
    throw new TypeError(
      `${where}: __metadata__ must map names to strings: ${JSON.stringify(metadata)}`,
    );
  }
  const infos = Object.entries(entries).map(([name, entry]) =>
    parseEntry(name, entry, dataStart, where)
  );
  infos.sort((a, b) => a.offset - b.offset || a.byteLength - b.byteLength);
  let end = dataStart, last = "the header";
  for (const { name, offset, byteLength } of infos) {
    if (offset !== end) {
      throw new RangeError(
        `${where}: the data of "${name}" begins at byte ${offset - dataStart} ` +
          `${offset < end ? "and overlaps" : "and leaves a gap after"} ${last}, which ends at ${
            end - dataStart
          }`,
      );
    }
    end += byteLength;
    last = `"${name}"`;
  }
  if (end !== fileSize) {
    throw new RangeError(
      `${where}: the header describes ${end} bytes and the file has ${fileSize}: ` +
        (end > fileSize ? "it is cut short; fetch it again" : "something was appended to it"),
    );
  }
  return {
    tensors: new Map(infos.map((info) => [info.name, info])),
    metadata: metadata as Record<string, string>,
  };
}

function parseEntry(name: string, entry: unknown, dataStart: number, where: string): TensorInfo {
  const bad = (what: string, value: unknown) =>
    new TypeError(`${where}: tensor "${name}": ${what}: ${JSON.stringify(value)}`);
  if (!isObject(entry)) throw bad("its description must be a JSON object", entry);
  const { dtype, shape, data_offsets: offsets } = entry;
  const bits = typeof dtype === "string" ? DTYPE_BITS.get(dtype) : undefined;
  if (bits === undefined) throw bad("unknown dtype", dtype);
  if (!isWholes(shape)) throw bad("shape must be a list of whole numbers", shape);
  if (!isWholes(offsets) || offsets.length !== 2) {
    throw bad("data_offsets must be two whole numbers", offsets);
  }
  const [begin, end] = offsets;
  const elements = shape.reduce((a, b) => a * b, 1);
  const byteLength = elements * bits / 8;
  if (byteLength !== end - begin) { // also where the product is too large to be exact
    throw new RangeError(
      `${where}: tensor "${name}": shape [${shape}] of ${dtype} takes ${byteLength} bytes, ` +
        `but data_offsets [${offsets}] span ${end - begin}`,
    );
  }
  return { name, dtype: dtype as string, shape, offset: dataStart + begin, byteLength };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isWholes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((v) => Number.isSafeInteger(v) && v >= 0);
}

/** `JSON.parse` keeps the last of two equal names and says nothing: look for them in the text. */
function refuseDuplicateNames(text: string, where: string): void {
  const scopes: Set<string>[] = [];
  // The text is valid JSON already, so only braces and strings matter; a name is a string before ":".
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "{") scopes.push(new Set());
    else if (text[i] === "}") scopes.pop();
    if (text[i] !== '"') continue;
    const start = i;
    do i = text.indexOf('"', i + 1); while (isEscaped(text, i));
    let next = i + 1;
    while (" \t\r\n".includes(text[next])) next++; // something follows: the outermost "}"
    if (text[next] !== ":") continue;
    const name: string = JSON.parse(text.slice(start, i + 1));
    const scope = scopes[scopes.length - 1];
    if (scope.has(name)) throw new TypeError(`${where}: the header names "${name}" twice`);
    scope.add(name);
  }
}

/** Whether an odd number of backslashes stands before a place. */
function isEscaped(text: string, at: number): boolean {
  let slashes = 0;
  while (text[at - 1 - slashes] === "\\") slashes++;
  return slashes % 2 === 1;
}

const CONVERT: ReadonlyMap<string, (bytes: Uint8Array) => Float32Array> = new Map([
  ["F32", (bytes: Uint8Array) => new Float32Array(aligned(bytes))],
  ["F16", (bytes: Uint8Array) => {
    const table = halfTable();
    return Float32Array.from(new Uint16Array(aligned(bytes)), (half) => table[half]);
  }],
  ["BF16", (bytes: Uint8Array) => {
    const halves = new Uint16Array(aligned(bytes)), out = new Uint32Array(halves.length);
    for (let i = 0; i < out.length; i++) out[i] = halves[i] << 16; // the upper half of an F32
    return new Float32Array(out.buffer);
  }],
  ["F64", (bytes: Uint8Array) => Float32Array.from(new Float64Array(aligned(bytes)))],
]);

/** A copy that begins at an aligned address. Every platform of Deno and WebGPU is little-endian. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

let halves: Float32Array | undefined;

/** All 65,536 values of IEEE 754 binary16. */
function halfTable(): Float32Array {
  return halves ??= Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    if (exponent === 0) return sign * fraction * 2 ** -24; // zero and subnormals
    return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  });
}

/**
 * The header of a file of F32 tensors, with its length before it, padded to a multiple of 8 bytes
 * so that the data is aligned. The data follows in the order of the list.
 *
 * @param metadata The header's `__metadata__`; transformers asks for `{ format: "pt" }`.
 * @throws {TypeError} If a name comes twice or is reserved.
 * @throws {RangeError} If a tensor's length is not its shape's product.
 */
export function safetensorsHeader(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const names = new Set(["__metadata__"]);
  const entries: [string, unknown][] = [];
  if (Object.keys(metadata).length > 0) entries.push(["__metadata__", metadata]);
  let offset = 0;
  for (const { name, shape, data } of tensors) {
    if (names.has(name)) throw new TypeError(`a tensor's name is taken or reserved: "${name}"`);
    names.add(name);
    if (shape.reduce((a, b) => a * b, 1) !== data.length) {
      throw new RangeError(
        `tensor "${name}" has shape [${shape}] but ${data.length} elements`,
      );
    }
    const end = offset + data.byteLength;
    entries.push([name, { dtype: "F32", shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const length = Math.ceil(json.length / 8) * 8;
  const out = new Uint8Array(8 + length).fill(0x20);
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
  out.set(json, 8);
  return out;
}

/**
 * A whole file, piece by piece: the header, then each tensor's bytes (views, not copies).
 *
 * @throws As {@linkcode safetensorsHeader} does, before the first piece.
 */
export function* safetensorsChunks(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Generator<Uint8Array> {
  yield safetensorsHeader(tensors, metadata);
  for (const { data } of tensors) {
    yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
}
