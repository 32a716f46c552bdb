/**
 * Reads the committed fixtures, which make_fixtures.py made with PyTorch, for tests. It trusts them:
 * the reader for users' files is src/gpt2/safetensors.ts.
 *
 * @module
 */

/** One tensor: floats of any width as f32, whole numbers as i32. */
export interface FixtureTensor {
  shape: number[];
  data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}

/** The tensors of a file by name. */
export type Fixture = Map<string, FixtureTensor>;

/** Where a fixture lies: `fixtureUrl("tiny/config.json")`. */
export function fixtureUrl(path: string): URL {
  return new URL(`fixtures/${path}`, import.meta.url);
}

/** The parsed JSON of a fixture: `loadFixtureJson("manifest.json")`. */
// deno-lint-ignore no-explicit-any
export function loadFixtureJson(path: string): any {
  return JSON.parse(Deno.readTextFileSync(fixtureUrl(path)));
}

/** The tensors of a safetensors file: `loadFixture("reference.safetensors")`. */
export function loadFixture(path: string): Fixture {
  const { buffer } = Deno.readFileSync(fixtureUrl(path));
  const start = 8 + Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, start - 8)));
  delete header.__metadata__;
  const out: Fixture = new Map();
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries<Entry>(header)) {
    out.set(name, { shape, data: decode(dtype, buffer.slice(start + from, start + to)) });
  }
  return out;
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

function decode(dtype: string, bytes: ArrayBuffer): FixtureTensor["data"] {
  if (dtype === "F32") return new Float32Array(bytes);
  if (dtype === "I32") return new Int32Array(bytes);
  const bits = new Uint16Array(bytes);
  if (dtype === "F16") return Float32Array.from(bits, f16ToNumber);
  // bf16 is the upper half of an f32
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(bits, (x) => x << 16).buffer);
  throw new TypeError(`no fixture has dtype ${dtype}`);
}

function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** A float tensor's values. */
export function floats(fixture: Fixture, name: string): Float32Array<ArrayBuffer> {
  const data = fixture.get(name)?.data;
  if (!(data instanceof Float32Array)) {
    throw new TypeError(`no float tensor ${name} in the fixture`);
  }
  return data;
}

/** A whole-number tensor's values. */
export function integers(fixture: Fixture, name: string): Int32Array<ArrayBuffer> {
  const data = fixture.get(name)?.data;
  if (!(data instanceof Int32Array)) throw new TypeError(`no whole-number tensor ${name}`);
  return data;
}

/**
 * The weights of a fixture's checkpoint by the layout's names, shards joined, `transformer.` and the
 * old causal masks dropped: `loadFixtureWeights("tiny")`.
 */
export function loadFixtureWeights(folder: string): Map<string, Float32Array<ArrayBuffer>> {
  const weights = new Map<string, Float32Array<ArrayBuffer>>();
  for (const { name: file } of Deno.readDirSync(fixtureUrl(folder))) {
    if (!file.endsWith(".safetensors")) continue;
    const fixture = loadFixture(`${folder}/${file}`);
    for (const name of fixture.keys()) {
      if (name.endsWith(".attn.bias")) continue;
      weights.set(name.replace(/^transformer\./, ""), floats(fixture, name));
    }
  }
  return weights;
}
