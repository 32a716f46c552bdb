import assert from "node:assert/strict";
import {
  type ByteSource,
  safetensorsChunks,
  SafetensorsFile,
  safetensorsHeader,
} from "../src/gpt2/safetensors.ts";

function source(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    read: (offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)),
  };
}

function join(chunks: Iterable<Uint8Array>): Uint8Array {
  return new Uint8Array(Array.from(chunks, (chunk) => [...chunk]).flat());
}

/** A file with this header text and so many zero bytes of data. */
function file(header: string | Uint8Array, data: number, length?: bigint): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const out = new Uint8Array(8 + text.length + data);
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  out.set(text, 8);
  return out;
}

const entry = (dtype: string, shape: unknown, offsets: unknown) => ({
  dtype,
  shape,
  data_offsets: offsets,
});
const json = (value: unknown) => JSON.stringify(value);

/** Written by Python's safetensors 0.8.0: F32 [2,3], F16 [5], BF16 [5,1], I64 scalar, F32 [0,4]. */
const FROM_PYTHON = Uint8Array.from(
  atob(
    "UAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJwdCJ9LCJkLmk2NCI6eyJkdHlwZSI6Ikk2NCIsInNo" +
      "YXBlIjpbXSwiZGF0YV9vZmZzZXRzIjpbMCw4XX0sImEuZjMyIjp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlsyLDNd" +
      "LCJkYXRhX29mZnNldHMiOls4LDMyXX0sImUuZW1wdHkiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzAsNF0sImRh" +
      "dGFfb2Zmc2V0cyI6WzMyLDMyXX0sImMuYmYxNiI6eyJkdHlwZSI6IkJGMTYiLCJzaGFwZSI6WzUsMV0sImRhdGFf" +
      "b2Zmc2V0cyI6WzMyLDQyXX0sImIuZjE2Ijp7ImR0eXBlIjoiRjE2Iiwic2hhcGUiOls1XSwiZGF0YV9vZmZzZXRz" +
      "IjpbNDIsNTJdfX0gICAHAAAAAAAAAAAAAAAAAIA/AAAAQAAAQEAAAIBAAACgQIA/IMABAIB/wH8APADBAQD/ewB8",
  ),
  (c) => c.charCodeAt(0),
);

Deno.test("safetensors: a file that Python wrote", async () => {
  const read = await SafetensorsFile.open(source(FROM_PYTHON));
  assert.deepEqual(read.metadata, { format: "pt" });
  assert.deepEqual(
    [...read.tensors.values()].map(({ name, dtype, shape }) => [name, dtype, shape]),
    [
      ["d.i64", "I64", []],
      ["a.f32", "F32", [2, 3]],
      ["e.empty", "F32", [0, 4]],
      ["c.bf16", "BF16", [5, 1]],
      ["b.f16", "F16", [5]],
    ],
  );
  assert.deepEqual([...await read.read("a.f32")], [0, 1, 2, 3, 4, 5]);
  assert.deepEqual([...await read.read("b.f16")], [1, -2.5, 2 ** -24, 65504, Infinity]);
  assert.deepEqual([...await read.read("c.bf16")], [1, -2.5, 2 ** -133, Infinity, NaN]);
  assert.deepEqual([...await read.read("e.empty")], []);
  await assert.rejects(read.read("d.i64"), {
    name: "TypeError",
    message: /"d\.i64" is I64: only F32, F16, BF16/,
  });
  await assert.rejects(read.read("z"), { name: "RangeError", message: /no tensor "z"/ });
});

Deno.test("safetensors: F64 is rounded to F32, and metadata may be null", async () => {
  const values = Float64Array.of(1 / 3, -1e-40, 16777217, 1e39);
  const header = { __metadata__: null, x: entry("F64", [4], [0, 32]) };
  const bytes = file(json(header), 32);
  bytes.set(new Uint8Array(values.buffer), bytes.length - 32);
  const read = await SafetensorsFile.open(source(bytes));
  assert.deepEqual(read.metadata, {});
  assert.deepEqual([...await read.read("x")], [...values].map(Math.fround));
});

Deno.test("safetensors: every half-precision value", async () => {
  // Against DataView's own conversion where the runtime has it: an implementation that is not ours.
  const view = new DataView(new ArrayBuffer(2)) as DataView & {
    getFloat16(offset: number): number;
  };
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const header = json({ h: entry("F16", [65536], [0, 131072]) });
  const bytes = file(header, 131072);
  bytes.set(new Uint8Array(bits.buffer), 8 + header.length);
  const values = await (await SafetensorsFile.open(source(bytes))).read("h");
  for (let i = 0; i < 65536; i++) {
    view.setUint16(0, i);
    assert.ok(Object.is(values[i], view.getFloat16(0)), `0x${i.toString(16)}: ${values[i]}`);
  }
  // And by hand: subnormals, the least normal, signed zeros, infinities, NaN.
  assert.equal(values[0x0001], 2 ** -24);
  assert.equal(values[0x83ff], -1023 * 2 ** -24);
  assert.equal(values[0x0400], 2 ** -14);
  assert.ok(Object.is(values[0x8000], -0));
  assert.equal(values[0xfc00], -Infinity);
  assert.ok(Number.isNaN(values[0x7e01]));
});

Deno.test("safetensors: bfloat16 keeps every bit", async () => {
  const header = json({ h: entry("BF16", [65536], [0, 131072]) });
  const bytes = file(header, 131072);
  bytes.set(
    new Uint8Array(Uint16Array.from({ length: 65536 }, (_, i) => i).buffer),
    8 + header.length,
  );
  const values = await (await SafetensorsFile.open(source(bytes))).read("h");
  const bits = new Uint32Array(values.buffer);
  assert.ok(bits.every((b, i) => b === i * 65536));
  assert.ok(Number.isNaN(values[0xffff]));
  assert.equal(values[0xff80], -Infinity);
  assert.equal(values[0x0001], 2 ** -133);
});

const one = entry("F32", [2], [0, 8]);
/** What lies, the bytes, the kind of error and what it must say. */
const LIES: [string, Uint8Array, string, RegExp][] = [
  ["an empty file", new Uint8Array(0), "RangeError", /has 0 bytes/],
  ["seven bytes", new Uint8Array(7), "RangeError", /has 7 bytes/],
  ["a length beyond the file", file(json({ a: one }), 8, 500n), "RangeError", /claims 500 bytes/],
  ["a huge length", file("{}", 0, 2n ** 63n), "RangeError", /more than the 100000000/],
  ["not JSON", file('{"a":', 8), "TypeError", /not JSON/],
  ["not UTF-8", file(new Uint8Array([0x7b, 0xff, 0x7d]), 0), "TypeError", /not JSON/],
  ["no header", file("", 0), "TypeError", /not JSON/],
  ["a list", file("[]", 0), "TypeError", /must be a JSON object/],
  ["space before the header", file(" {}", 0), "TypeError", /must be a JSON object/],
  ["truncated data", file(json({ a: one }), 7), "RangeError", /cut short/],
  ["appended data", file(json({ a: one }), 9), "RangeError", /appended/],
  [
    "overlap",
    file(json({ a: one, b: entry("F32", [2], [4, 12]) }), 12),
    "RangeError",
    /"b" begins at byte 4 and overlaps "a", which ends at 8/,
  ],
  [
    "the same bytes twice",
    file(json({ a: one, b: one }), 8),
    "RangeError",
    /"b" begins at byte 0 and overlaps "a"/,
  ],
  [
    "a gap",
    file(json({ b: entry("F32", [2], [12, 20]), a: one }), 20),
    "RangeError",
    /"b" begins at byte 12 and leaves a gap after "a", which ends at 8/,
  ],
  [
    "a gap at the start",
    file(json({ a: entry("F32", [2], [4, 12]) }), 12),
    "RangeError",
    /gap after the header/,
  ],
  ["a dtype", file(json({ a: entry("F33", [2], [0, 8]) }), 8), "TypeError", /dtype: "F33"/],
  ["no dtype", file(json({ a: { shape: [2], data_offsets: [0, 8] } }), 8), "TypeError", /dtype/],
  [
    "a shape of another size",
    file(json({ a: entry("F32", [3], [0, 8]) }), 8),
    "RangeError",
    /\[3\] of F32 takes 12 bytes, but data_offsets \[0,8\] span 8/,
  ],
  [
    "a negative size",
    file(json({ a: entry("F32", [-2], [0, 8]) }), 8),
    "TypeError",
    /whole numbers/,
  ],
  [
    "half a size",
    file(json({ a: entry("F32", [0.5, 4], [0, 8]) }), 8),
    "TypeError",
    /whole numbers/,
  ],
  [
    "a shape as text",
    file(json({ a: entry("F32", "2", [0, 8]) }), 8),
    "TypeError",
    /whole numbers/,
  ],
  [
    "a shape that overflows",
    file(json({ a: entry("U8", [2 ** 52, 2 ** 52], [0, 8]) }), 8),
    "RangeError",
    /span 8/,
  ],
  ["offsets reversed", file(json({ a: entry("F32", [2], [8, 0]) }), 8), "RangeError", /span -8/],
  ["three offsets", file(json({ a: entry("F32", [2], [0, 8, 8]) }), 8), "TypeError", /two whole/],
  [
    "offsets beyond the file",
    file(json({ a: entry("F32", [9], [0, 36]) }), 8),
    "RangeError",
    /cut short/,
  ],
  ["an entry that is no object", file(json({ a: 1 }), 0), "TypeError", /"a": its description/],
  [
    "metadata that is not text",
    file(json({ __metadata__: { n: 1 } }), 0),
    "TypeError",
    /__metadata__ must map/,
  ],
  [
    "a name twice",
    file(`{"a":${json(one)},"a":${json(one)}}`, 8),
    "TypeError",
    /names "a" twice/,
  ],
  [
    "a name twice, once escaped",
    file(`{"a\\"b" : ${json(one)}, "\\u0061\\"b"\n:${json(one)}}`, 8),
    "TypeError",
    /names "a"b" twice/,
  ],
  [
    "offsets twice",
    file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4],"data_offsets":[0,8]}}`, 8),
    "TypeError",
    /names "data_offsets" twice/,
  ],
];

for (const [what, bytes, name, message] of LIES) {
  Deno.test(`safetensors: refuses ${what}`, async () => {
    await assert.rejects(SafetensorsFile.open(source(bytes), "lie.safetensors"), (error: Error) => {
      assert.equal(error.name, name);
      assert.match(error.message, message);
      assert.match(error.message, /^lie\.safetensors/);
      return true;
    });
  });
}

Deno.test("safetensors: names that look alike are not taken for duplicates", async () => {
  const tricky = {
    __metadata__: { a: 'says "a": {"a":1}', b: "back\\slash\\", dtype: "}" },
    a: entry("F32", [1], [0, 4]),
    "a\\": entry("F32", [1], [4, 8]),
    dtype: entry("F32", [], [8, 12]),
    ["__proto__"]: entry("F32", [1], [12, 16]),
  };
  const read = await SafetensorsFile.open(source(file(json(tricky), 16)));
  assert.deepEqual([...read.tensors.keys()], ["a", "a\\", "dtype", "__proto__"]);
  assert.deepEqual(read.metadata, tricky.__metadata__);
});

Deno.test("safetensors: a source that ends early is noticed", async () => {
  const bytes = file(json({ a: one }), 8);
  const short = { ...source(bytes.subarray(0, bytes.length - 1)), size: bytes.length };
  const read = await SafetensorsFile.open(short);
  await assert.rejects(read.read("a"), { name: "RangeError", message: /wanted 8 bytes .* got 7/ });
});

Deno.test("safetensors: what is written reads back", async () => {
  const whole = Float32Array.from([9, 1, -0, NaN, Infinity, 1e-45, 9]);
  const tensors = [
    { name: "second", shape: [2, 3], data: whole.subarray(0, 6) },
    { name: "0", shape: [], data: whole.subarray(6) }, // an integer-like name: JSON puts it first
    { name: "none", shape: [3, 0], data: new Float32Array(0) },
  ];
  const header = safetensorsHeader(tensors, { format: "pt" });
  assert.equal(header.length % 8, 0);
  const bytes = join(safetensorsChunks(tensors, { format: "pt" }));
  assert.equal(bytes.length, header.length + 28);
  const read = await SafetensorsFile.open(source(bytes));
  assert.deepEqual(read.metadata, { format: "pt" });
  for (const { name, shape, data } of tensors) {
    assert.deepEqual(read.tensors.get(name)!.shape, shape);
    assert.deepEqual(await read.read(name), data.slice());
  }
});

Deno.test("safetensors: the writer refuses what would lie", () => {
  const data = new Float32Array(2);
  const a = { name: "a", shape: [2], data };
  assert.throws(() => safetensorsHeader([a, a]), { name: "TypeError", message: /"a"/ });
  assert.throws(() => safetensorsHeader([{ ...a, name: "__metadata__" }]), TypeError);
  assert.throws(() => safetensorsHeader([{ ...a, shape: [3] }]), {
    name: "RangeError",
    message: 'tensor "a" has shape [3] but 2 elements',
  });
});
