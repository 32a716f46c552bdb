/**
 * What a file is that was given for a text and is none, told by how it begins.
 *
 * @module
 */

/** How files begin, what they are then, and what to do with them. */
const BEGINNINGS: readonly (readonly [number[], string, string])[] = [
  [[0x1f, 0x8b], "a gzip file", "unpack it first, for example with gunzip"],
  [[0x50, 0x4b, 3, 4], "a ZIP archive", "unpack it first"],
  [[0x28, 0xb5, 0x2f, 0xfd], "a Zstandard file", "unpack it first, for example with unzstd"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], "an xz file", "unpack it first, for example with unxz"],
  [[0x42, 0x5a, 0x68], "a bzip2 file", "unpack it first, for example with bunzip2"],
  [[0x50, 0x41, 0x52, 0x31], "a Parquet file", "let its name end in .parquet"],
  [[0x25, 0x50, 0x44, 0x46], "a PDF document", "give the text that is in it"],
  [[0xff, 0xfe], "UTF-16 text", "convert it, for example with iconv -f utf-16 -t utf-8"],
  [[0xfe, 0xff], "UTF-16 text", "convert it, for example with iconv -f utf-16 -t utf-8"],
];

/** What a file is and what to do with it, in words, where its first bytes tell. */
export function formatOf(first: Uint8Array): string | undefined {
  for (const [bytes, what, advice] of BEGINNINGS) {
    if (bytes.every((byte, i) => first[i] === byte)) return `${what}: ${advice}`;
  }
  return undefined;
}

/** Bytes that are looked at for zeros. */
const LOOKED_AT = 4096;

/** Whether so many bytes are zero that they are two or four to a character, without saying so. */
export function isWide(first: Uint8Array): boolean {
  const part = first.subarray(0, LOOKED_AT);
  return part.reduce((zeros, byte) => zeros + (byte === 0 ? 1 : 0), 0) > part.length / 4;
}
