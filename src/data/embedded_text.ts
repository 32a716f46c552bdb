/**
 * The text that comes with Pollard: Moby-Dick, from `assets/texts/`, which says where it is from.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { openFolder } from "./folder.ts";

const FOLDER = new URL("../../assets/texts/", import.meta.url);
const FILE = "moby-dick.txt.gz";

/** SHA-256 of the text's bytes, in hexadecimal. */
const SHA256 = "ba355a71d3eb8ae25ecd8abd682bc347ac90ec3effbc715b04b46a31fa6378d4";

/**
 * The bytes of Moby-Dick, UTF-8.
 *
 * @throws {TypeError} If the file is missing or damaged, or a server does not give it.
 */
export async function mobyDick(): Promise<Uint8Array<ArrayBuffer>> {
  const folder = await openFolder(FOLDER);
  const stored = await folder.read(FILE);
  if (stored === undefined) {
    throw new TypeError(`${folder.path(FILE)} is missing: fetch Pollard again`);
  }
  // some servers say that a .gz file is an encoding, and then it arrives decompressed
  const bytes = stored[0] === 0x1f && stored[1] === 0x8b ? await gunzip(stored) : stored;
  if (createHash("sha256").update(bytes ?? "").digest("hex") !== SHA256) {
    throw new TypeError(`${folder.path(FILE)} is damaged: fetch Pollard again`);
  }
  return new Uint8Array(bytes!);
}

/** @returns `undefined` if the bytes are damaged. */
async function gunzip(bytes: Uint8Array): Promise<Uint8Array | undefined> {
  try {
    const stream = new Blob([new Uint8Array(bytes)]).stream();
    return await new Response(stream.pipeThrough(new DecompressionStream("gzip"))).bytes();
  } catch {
    return undefined;
  }
}
