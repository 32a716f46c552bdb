/**
 * One repository of the hub at one commit: which commit, which files, and those that are wanted in
 * the cache.
 *
 * @module
 */
import { isFolder } from "./files.ts";
import { join } from "node:path";
import { isSystemError } from "../errors.ts";
import { hubLibrary } from "./deps.ts";
import { checkSpace } from "./disk_space.ts";
import { checkHubPath, HubCache, sizeOf } from "./hub_cache.ts";
import { downloadBlob } from "./hub_download.ts";
import { type Context, findFiles, type Found } from "./hub_find.ts";
import { HubClient, HubError } from "./hub_http.ts";
import { type HubSettings, hubSettings } from "./hub_settings.ts";
import type { HubEntry, HubOptions, HubPlace, HubSnapshot, HubType } from "./hub_types.ts";

/** Milliseconds from one progress to the next. */
const TELL_MS = 100;

/** A repository at a commit. */
export class HubRepo {
  /** `owner/name`. */
  readonly repo: string;
  /** What kind of repository. */
  readonly type: HubType;
  /** The revision that was asked for. */
  readonly revision: string;
  /** The commit that it stands for. */
  readonly commit: string;
  /** Its files or, where the hub could not be asked, those that are in the cache. */
  readonly files: readonly HubEntry[];
  readonly #cache: HubCache;
  readonly #client: HubClient;
  readonly #listeners: HubOptions;
  /** Why nothing can be downloaded, where that is so. */
  readonly #away: HubError | undefined;

  private constructor(found: Found, { client, cache, listeners }: Context) {
    const { repo, type, revision } = client.asked;
    this.repo = repo;
    this.type = type;
    this.revision = revision;
    this.commit = found.commit;
    this.files = found.files;
    this.#away = found.away;
    this.#client = client;
    this.#cache = cache;
    this.#listeners = listeners;
  }

  /**
   * Finds out which commit a revision stands for, and its files.
   *
   * @throws {TypeError} See `openHub`.
   */
  static async open(
    { repo, type = "model", revision = "main", cachedAs = [repo], ...listeners }:
      & HubPlace
      & HubOptions,
  ): Promise<HubRepo> {
    checkRepo(repo);
    checkRevision(revision);
    const settings = await hubSettings();
    const asked = { repo, type, revision };
    const client = new HubClient(settings, asked, listeners);
    const cache = new HubCache(settings.cache, await folderOf(settings, cachedAs, type));
    const context = { client, cache, listeners };
    return await inCache(settings, async () => new HubRepo(await findFiles(context), context));
  }

  /** The local path of a file that was fetched. */
  localPath(path: string): string {
    return this.#cache.pointer(this.commit, path);
  }

  /** What it is, for who takes it from here. */
  snapshot(files: readonly string[]): HubSnapshot {
    const { repo, type, revision, commit } = this;
    return { dir: this.#cache.snapshot(commit), repo, type, revision, commit, files: [...files] };
  }

  /**
   * Sees to it that files are in the cache.
   *
   * @throws {TypeError} If the repository has no such file, or it cannot be downloaded. The signal's
   * reason.
   */
  async fetch(paths: readonly string[]): Promise<void> {
    const { settings } = this.#client;
    await inCache(settings, async () => {
      const missing: HubEntry[] = [];
      for (const path of paths) {
        const entry = this.#entry(path);
        if (await sizeOf(this.localPath(path)) !== entry.size) missing.push(entry);
      }
      const absent: HubEntry[] = [];
      for (const entry of missing) {
        if (await sizeOf(this.#cache.blob(entry)) === entry.size) await this.#link(entry);
        else absent.push(entry);
      }
      if (absent.length > 0) await this.#download(absent);
    });
  }

  #entry(path: string): HubEntry {
    checkHubPath(path);
    const entry = this.files.find((file) => file.path === path);
    if (entry) return entry;
    if (this.#away) {
      const { what, advice } = this.#away;
      throw new HubError("file", `${path} of ${this.repo} is not in the cache, and ${what}`, {
        advice,
        cause: this.#away,
      });
    }
    throw new HubError("file", `${this.repo} has no file ${path} at ${this.revision}`);
  }

  #link(entry: HubEntry): Promise<void> {
    return this.#cache.link(entry, this.commit, this.#client.settings.copies);
  }

  async #download(entries: readonly HubEntry[]): Promise<void> {
    if (this.#away) {
      const names = entries.map(({ path }) => path).join(", ");
      const are = entries.length > 1 ? "are" : "is";
      throw this.#away.within((what) =>
        `${names} of ${this.repo} ${are} not in the cache, and ${what}`
      );
    }
    await this.#checkSpace(entries);
    const total = entries.reduce((sum, { size }) => sum + size, 0);
    let before = 0;
    for (const entry of entries) {
      const tell = this.#teller(entry, { before, total });
      const url = this.#url(entry.path);
      await downloadBlob(this.#client, this.#cache, { entry, url }, {
        onBytes: tell,
        onMessage: (line) => this.#listeners.onMessage?.(line),
      });
      await this.#link(entry);
      before += entry.size;
    }
  }

  /** Tells of progress, not too often, but of every file's end. */
  #teller(
    { path, size }: HubEntry,
    { before, total }: { before: number; total: number },
  ): (bytes: number) => void {
    const { onProgress } = this.#listeners;
    let told = -Infinity;
    return (bytes) => {
      const now = performance.now();
      if (bytes < size && now - told < TELL_MS) return;
      told = now;
      onProgress?.({ repo: this.repo, path, done: before + bytes, total });
    };
  }

  #url(path: string): string {
    const { endpoint } = this.#client.settings;
    const name = `${this.type === "dataset" ? "datasets/" : ""}${this.repo}`;
    return `${endpoint}/${name}/resolve/${this.commit}/${
      path.split("/").map(encodeURIComponent).join("/")
    }`;
  }

  /** Refuses a download that the disk has no room for. */
  async #checkSpace(entries: readonly HubEntry[]): Promise<void> {
    const { settings: { copies } } = this.#client;
    const blobs = new Map(entries.map((entry) => [this.#cache.blob(entry), entry]));
    let bytes = copies ? entries.reduce((sum, { size }) => sum + size, 0) : 0;
    for (const [path, { size }] of blobs) {
      bytes += Math.max(0, size - (await sizeOf(`${path}.incomplete`) ?? 0));
    }
    await checkSpace({
      what: this.repo,
      bytes,
      folder: this.#cache.dir,
      advice: "make room, or set HF_HOME or HF_HUB_CACHE to a folder on another disk",
    }, this.#listeners.freeSpace);
  }
}

/** What a repository's folder in the cache is called. */
async function folderOf(
  { cache }: HubSettings,
  names: readonly string[],
  type: HubType,
): Promise<string> {
  const { getRepoFolderName } = await hubLibrary();
  const folders = names.map((name) => getRepoFolderName({ name, type }));
  for (const folder of folders) if (await isFolder(join(cache, folder))) return folder;
  return folders[0];
}

/** Says of the cache what the system says of a file in it. */
async function inCache<T>({ cache }: HubSettings, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (!(cause instanceof Error) || !isSystemError(cause)) throw cause;
    throw new TypeError(
      `the cache ${cache} cannot be used: ${cause.message}; set HF_HOME or HF_HUB_CACHE to a ` +
        "folder that can be written, on a disk with room",
      { cause },
    );
  }
}

/**
 * Refuses what cannot be a repository's name.
 *
 * @throws {TypeError} If it cannot.
 */
function checkRepo(repo: string): void {
  if (isRepoName(repo)) return;
  throw new TypeError(
    `a repository of the hub is called owner/name, of letters, digits, "-", "_" and ".": ${
      JSON.stringify(repo)
    }`,
  );
}

/** Whether the hub could have a repository of this name. */
export function isRepoName(repo: string): boolean {
  const part = "[A-Za-z0-9_](?:[\\w.-]*\\w)?";
  return new RegExp(`^(?:${part}/)?${part}$`).test(repo) && repo.length <= 96 &&
    !/--|\.\.|\.git$/.test(repo);
}

function checkRevision(revision: string): void {
  // deno-lint-ignore no-control-regex -- git refuses them as well
  if (!/[\x00-\x20~^:?*[\\\x7f]|\.\.|^\/|\/\/|\/$|^$/.test(revision)) return;
  throw new TypeError(`a revision is a branch, a tag or a commit: ${JSON.stringify(revision)}`);
}
