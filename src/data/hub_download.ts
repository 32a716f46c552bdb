/**
 * One file from the hub into the cache: into `<hash>.incomplete` first, which a later try goes on
 * with, and under its own name once size and hash are right.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { dirname, join } from "node:path";
import { blobName, type HubCache, sizeOf } from "./hub_cache.ts";
import { type HubClient, PassingError } from "./hub_http.ts";
import type { HubEntry } from "./hub_types.ts";
import { Watch } from "./web.ts";

/** Bytes read at once from a file that is gone on with. */
const PIECE = 1 << 20;

/** Who is told. */
export interface BlobListeners {
  /** Bytes of the file that are here. */
  readonly onBytes: (done: number) => void;
  /** A line for the user. */
  readonly onMessage: (line: string) => void;
}

/**
 * Makes a file's blob: downloads it unless another process did so in the meantime.
 *
 * @param url Where it is.
 * @throws {TypeError} If it cannot be had, or is not what the hub lists. The signal's reason.
 */
export async function downloadBlob(
  client: HubClient,
  cache: HubCache,
  { entry, url }: { entry: HubEntry; url: string },
  listeners: BlobListeners,
): Promise<void> {
  const blob = cache.blob(entry);
  await Deno.mkdir(dirname(blob), { recursive: true });
  await Deno.mkdir(cache.locks, { recursive: true });
  const lockPath = join(cache.locks, `${blobName(entry)}.lock`);
  using lock = await Deno.open(lockPath, { create: true, write: true });
  // Where files cannot be locked, no two may write to one: then a cut download begins anew.
  const locked = await takeLock(lock, () => {
    listeners.onMessage(`waiting for another process, which downloads ${entry.path}`);
  }, client.signal);
  if (await sizeOf(blob) === entry.size) return listeners.onBytes(entry.size);
  const incomplete = locked ? `${blob}.incomplete` : `${blob}.${crypto.randomUUID()}.incomplete`;
  await new BlobDownload(client, { entry, url, incomplete }, listeners).run();
  await Deno.rename(incomplete, blob);
}

/** Milliseconds after which the user is told what is waited for. */
const TELL_MS = 1000;

/** Takes the lock that Python's library takes too; `false` where the file system has none. */
async function takeLock(
  file: Deno.FsFile,
  tell: () => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const timer = setTimeout(tell, TELL_MS);
  const { promise: stopped, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal!.reason);
  signal?.addEventListener("abort", stop, { once: true });
  try {
    signal?.throwIfAborted();
    const taken = file.lock(true).then(() => true, () => false);
    return await Promise.race([taken, stopped]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** A download that goes on after its connection was cut. */
class BlobDownload {
  readonly #client: HubClient;
  readonly #entry: HubEntry;
  readonly #url: string;
  readonly #incomplete: string;
  readonly #listeners: BlobListeners;
  #hash: Hash;
  /** Bytes that are in the file and in the hash. */
  #done = 0;

  constructor(
    client: HubClient,
    { entry, url, incomplete }: { entry: HubEntry; url: string; incomplete: string },
    listeners: BlobListeners,
  ) {
    this.#client = client;
    this.#entry = entry;
    this.#url = url;
    this.#incomplete = incomplete;
    this.#listeners = listeners;
    this.#hash = startHash(entry);
  }

  /** Leaves a file whose size and hash are right, or throws. */
  async run(): Promise<void> {
    using file = await Deno.open(this.#incomplete, { create: true, read: true, write: true });
    try {
      const resumed = await this.#takeUp(file);
      await this.#complete(file);
      if (this.#digest() !== blobName(this.#entry)) {
        if (resumed === 0) throw this.#wrongHash();
        await this.#restart(file); // what an earlier try left may have been wrong
        await this.#complete(file);
        if (this.#digest() !== blobName(this.#entry)) throw this.#wrongHash();
      }
      await file.sync(); // before it is renamed, or a power cut could leave it without its bytes
    } catch (error) {
      if (error instanceof WrongFile) await Deno.remove(this.#incomplete);
      throw error;
    }
  }

  #digest(): string {
    return this.#hash.digest("hex");
  }

  /** Reads what an earlier try left. */
  async #takeUp(file: Deno.FsFile): Promise<number> {
    const { size } = await file.stat();
    if (size > this.#entry.size) await file.truncate(0);
    else {
      const piece = new Uint8Array(PIECE);
      for (let got; (got = await file.read(piece)) !== null;) {
        this.#client.signal?.throwIfAborted();
        this.#hash.update(piece.subarray(0, got));
        this.#done += got;
      }
    }
    this.#listeners.onBytes(this.#done);
    return this.#done;
  }

  async #restart(file: Deno.FsFile): Promise<void> {
    await file.truncate(0);
    await file.seek(0, Deno.SeekMode.Start);
    this.#hash = startHash(this.#entry);
    this.#done = 0;
    this.#listeners.onBytes(0);
  }

  /** Downloads until every byte is here. */
  async #complete(file: Deno.FsFile): Promise<void> {
    for (let tried = 1; this.#done < this.#entry.size;) {
      const before = this.#done;
      try {
        await this.#append(file);
        if (this.#done < this.#entry.size) throw this.#client.lost(new Error("it hung up"));
      } catch (error) {
        tried = this.#done > before ? 1 : tried + 1;
        await this.#client.wait(error, tried);
      }
    }
  }

  /** One request's bytes. */
  async #append(file: Deno.FsFile): Promise<void> {
    const { signal, settings: { answerMs, stallMs } } = this.#client;
    using watch = new Watch(signal);
    watch.expect(answerMs);
    const response = await this.#client.once(this.#url, {
      headers: {
        "accept-encoding": "identity",
        ...(this.#done > 0 && { range: `bytes=${this.#done}-` }),
      },
      signal: watch.signal,
    });
    const reader = response.body!.getReader();
    try {
      await this.#checkAnswer(response, file);
      for (;;) {
        watch.expect(stallMs);
        const { done, value } = await reader.read().catch((error) => {
          throw this.#client.lost(error);
        });
        if (done) return;
        if (this.#done + value.length > this.#entry.size) throw this.#wrongSize("more");
        await writeAll(file, value);
        this.#hash.update(value);
        this.#done += value.length;
        this.#listeners.onBytes(this.#done);
      }
    } finally {
      await reader.cancel().catch(() => {});
    }
  }

  /** Whether the answer goes on where the file ends; where it begins anew, so does the file. */
  async #checkAnswer({ status, headers }: Response, file: Deno.FsFile): Promise<void> {
    if (status !== 206) {
      if (this.#done > 0) await this.#restart(file);
      const length = headers.get("content-length");
      if (length !== null && !headers.has("content-encoding")) this.#refuseSize(length);
      return;
    }
    const [, start, total] = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("content-range") ?? "") ??
      [];
    if (Number(start) !== this.#done) {
      throw new PassingError(
        `${this.#client.settings.endpoint} was asked for ${this.#entry.path} from byte ` +
          `${this.#done} on, and sends ${headers.get("content-range")}`,
      );
    }
    this.#refuseSize(total);
  }

  #refuseSize(size: string): void {
    if (Number(size) !== this.#entry.size) throw this.#wrongSize(size);
  }

  #wrongSize(size: string): WrongFile {
    return this.#wrong(`has ${this.#entry.size} bytes in the hub's list, but ${size} are sent`);
  }

  #wrongHash(): WrongFile {
    const hash = this.#entry.sha256 ? "SHA-256" : "git hash";
    return this.#wrong(`came with another ${hash} than the hub lists`);
  }

  #wrong(what: string): WrongFile {
    const { asked, settings } = this.#client;
    return new WrongFile(
      `${this.#entry.path} of ${asked.repo} ${what}: it was not kept; try again and, if that does ` +
        `not help, check what stands between this machine and ${settings.endpoint}`,
    );
  }
}

/** What was sent is not what the hub lists: nothing of it may be gone on with. */
class WrongFile extends TypeError {}

/** A hash that becomes the blob's name. */
function startHash({ sha256, size }: HubEntry): Hash {
  if (sha256 !== undefined) return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`); // as git hashes a file
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
