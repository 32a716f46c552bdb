/**
 * What is said to the hub's files and by them; see `hub.ts`.
 *
 * @module
 */

import type { FreeSpace } from "./disk_space.ts";

/** What the hub keeps under a name. */
export type HubType = "model" | "dataset";

/** A repository of the hub at one revision. */
export interface HubPlace {
  /** `owner/name`. */
  readonly repo: string;
  /** `model` unless given. */
  readonly type?: HubType;
  /** A branch, a tag or a commit; `main` unless given. */
  readonly revision?: string;
  /**
   * What a cache may call it, the likeliest first: the first that it has is used, or else the first;
   * `repo` unless given.
   */
  readonly cachedAs?: readonly string[];
}

/** A file of a repository, as the hub lists it. */
export interface HubEntry {
  /** Its path in the repository, with `/` between folders. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** SHA-1 of the file as git keeps it, in hexadecimal. */
  readonly blobId: string;
  /** SHA-256 of its bytes, for a file that git keeps elsewhere. */
  readonly sha256?: string;
  /** The hash by which the hub's newer storage knows it; kept for other programs. */
  readonly xetHash?: string;
}

/** How far a download is. */
export interface HubProgress {
  /** The repository. */
  readonly repo: string;
  /** The file that is being downloaded. */
  readonly path: string;
  /** Bytes of the download's files that are here, those of an earlier try too. */
  readonly done: number;
  /** Bytes of all its files. */
  readonly total: number;
}

/** Who is told of downloads, what stops them, and how patient they are. */
export interface HubOptions {
  /** Stops a download; what has come stays, and the next one goes on from there. */
  readonly signal?: AbortSignal;
  /** A few times a second while files are downloaded. */
  readonly onProgress?: (progress: HubProgress) => void;
  /** A line for the user: the hub cannot be reached, and what is in the cache is used. */
  readonly onMessage?: (line: string) => void;
  /** How often what may pass is tried again. */
  readonly patience?: HubPatience;
  /** Tells how many bytes the disk of a folder has room for; the system is asked unless given. */
  readonly freeSpace?: FreeSpace;
}

/** How often, and how patiently, something is tried again. */
export interface HubPatience {
  /** Tries in a row without any progress; 5 unless given. */
  readonly tries?: number;
  /** Milliseconds before the second try, doubled before each further one; 1000 unless given. */
  readonly firstMs?: number;
  /** Milliseconds that are waited at most, also where the server asks for more; 5 minutes unless given. */
  readonly mostMs?: number;
}

/** A part of a repository in the cache, at one commit. */
export interface HubSnapshot {
  /** Its folder: each file lies there by its path in the repository. */
  readonly dir: string;
  /** `owner/name`. */
  readonly repo: string;
  /** What kind of repository. */
  readonly type: HubType;
  /** The revision that was asked for. */
  readonly revision: string;
  /** The commit that it stood for: 40 hexadecimal digits. */
  readonly commit: string;
  /** The chosen files, by their paths in the repository. */
  readonly files: readonly string[];
}
