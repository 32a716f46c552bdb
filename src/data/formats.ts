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

/** How a file begins, what it is then, and what to do with it. */
type Beginning = readonly [ArrayLike<number>, string, string];

const SOURCE = "give the text that it was made from";
const TABLE = "export the text, for example as Parquet, CSV or JSON Lines";

const BEGINNINGS: readonly Beginning[] = [
  [[0x1f, 0x8b], "a gzip file", "unpack it first, for example with gunzip"],
  [[0x50, 0x4b, 3, 4], "a ZIP archive", "unpack it first"],
  [[0x28, 0xb5, 0x2f, 0xfd], "a Zstandard file", "unpack it first, for example with unzstd"],
  [[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], "an xz file", "unpack it first, for example with unxz"],
  [[0x42, 0x5a, 0x68], "a bzip2 file", "unpack it first, for example with bunzip2"],
  [[0x50, 0x41, 0x52, 0x31], "a Parquet file", "let its name end in .parquet"],
  [[0x25, 0x50, 0x44, 0x46], "a PDF document", "give the text that is in it"],
  [[0xff, 0xfe, 0, 0], "UTF-32 text", "convert it, for example with iconv -f utf-32 -t utf-8"],
  [[0xff, 0xfe], "UTF-16 text", "convert it, for example with iconv -f utf-16 -t utf-8"],
  [[0xfe, 0xff], "UTF-16 text", "convert it, for example with iconv -f utf-16 -t utf-8"],
  [[0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59], "a NumPy array", SOURCE],
  ...[2, 3, 4, 5].map((protocol): Beginning => [[0x80, protocol], "a Python pickle", SOURCE]),
  [[0x41, 0x52, 0x52, 0x4f, 0x57, 0x31], "an Arrow file", TABLE],
  [[0xff, 0xff, 0xff, 0xff], "an Arrow stream", TABLE],
  [[0x53, 0x51, 0x4c, 0x69, 0x74, 0x65, 0x20, 0x66], "an SQLite database", TABLE],
  [[0x89, 0x48, 0x44, 0x46], "an HDF5 file", SOURCE],
];

/** What files hold that are not text, by their endings: these have no beginning of their own. */
const ENDINGS: Readonly<Record<string, string>> = {
  bin: "numbers, as nanoGPT and llm.c keep tokens in .bin files",
  idx: "numbers, as Megatron keeps tokens in .bin and .idx files",
  pkl: "a Python pickle",
  pt: "tensors of PyTorch",
  pth: "tensors of PyTorch",
  safetensors: "tensors",
};

/** What a file is and what to do with it, in words, if its first bytes tell. */
export function formatOf(first: Uint8Array): string | undefined {
  for (const [bytes, what, advice] of BEGINNINGS) {
    if (beginsWith(first, bytes)) return `${what}: ${advice}`;
  }
  return beginsWith(first, LFS_POINTER) ? LFS_WORDS : undefined;
}

function beginsWith(first: Uint8Array, bytes: ArrayLike<number>): boolean {
  return Array.from(bytes).every((byte, i) => first[i] === byte);
}

/** Bytes at the beginning of a file that tell its kind. */
export const LOOKED_AT = 4096;

/**
 * What a file is that is not UTF-8, and what to do with it, in words.
 *
 * @param name Its path. @param first Its first bytes, {@linkcode LOOKED_AT} at most.
 */
export function kindOf(name: string, first: Uint8Array): string {
  const ending = /\.(\w+)$/.exec(name)?.[1].toLowerCase() ?? "";
  if (Object.hasOwn(ENDINGS, ending)) return `${ENDINGS[ending]}: ${SOURCE}`;
  const format = formatOf(first);
  if (format !== undefined) return format;
  // the zeros are the high halves of Latin letters
  const encoding = first.indexOf(0) % 2 === 0 ? "utf-16be" : "utf-16le";
  if (isWide(first) && isPrintable(first, encoding)) {
    return `UTF-16 text: convert it, for example with iconv -f ${encoding} -t utf-8`;
  }
  if (isPrintable(first, "latin1")) {
    return "text in another encoding: convert it, for example with iconv -f latin1 -t utf-8";
  }
  return `binary data: ${SOURCE}`;
}

/** Whether so many bytes are zero that this cannot be UTF-8 text: a character there has no zeros. */
export function isWide(first: Uint8Array): boolean {
  return first.reduce((zeros, byte) => zeros + (byte === 0 ? 1 : 0), 0) > first.length / 4;
}

/** Whether bytes are text in an encoding: no control characters of terminals, nothing unassigned. */
function isPrintable(bytes: Uint8Array, encoding: string): boolean {
  const text = new TextDecoder(encoding).decode(bytes, { stream: true });
  // deno-lint-ignore no-control-regex -- these are what is looked for
  return !/[\uFFFD\p{Cn}]|[\0-\x08\x0b\x0e-\x1f]/u.test(text);
}
