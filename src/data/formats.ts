/**
 * What a file is that was given for a text and is none, told by how it begins.
 *
 * @module
 */

/** How a Git LFS pointer begins, which stands where a large file was not fetched. */
const LFS_POINTER = new TextEncoder().encode("version https://git-lfs.github.com/spec/");

const LFS_WORDS = "a Git LFS pointer that stands for the file: in its folder, run git lfs pull";

/**
 * Refuses a file that is only a Git LFS pointer, by its first bytes.
 *
 * @throws {TypeError} If it is one.
 */
export function refuseLfsPointer(first: Uint8Array, name: string): void {
  if (!beginsWith(first, LFS_POINTER)) return;
  throw new TypeError(`${name} is ${LFS_WORDS}`);
}

/** Bytes that {@linkcode formatOf} and {@linkcode refuseLfsPointer} look at. */
export const LOOKED_FOR = LFS_POINTER.length;

/** How files begin, what they are then, and what to do with them. */
const BEGINNINGS: readonly (readonly [ArrayLike<number>, string, string])[] = [
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
    if (beginsWith(first, bytes)) return `${what}: ${advice}`;
  }
  return beginsWith(first, LFS_POINTER) ? LFS_WORDS : undefined;
}

function beginsWith(first: Uint8Array, bytes: ArrayLike<number>): boolean {
  return Array.from(bytes).every((byte, i) => first[i] === byte);
}

/** Bytes that are looked at for zeros. */
const LOOKED_AT = 4096;

/** Whether so many bytes are zero that they are two or four to a character, without saying so. */
export function isWide(first: Uint8Array): boolean {
  const part = first.subarray(0, LOOKED_AT);
  return part.reduce((zeros, byte) => zeros + (byte === 0 ? 1 : 0), 0) > part.length / 4;
}
