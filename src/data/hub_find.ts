/**
 * Which commit a revision of a repository stands for, and which files that has: from the cache where
 * it tells, from the hub otherwise.
 *
 * @module
 */
import { isSystemError } from "../errors.ts";
import { hubLibrary } from "./deps.ts";
import { checkEntry, checkHubPath, COMMIT, type HubCache, sizeOf } from "./hub_cache.ts";
import { type HubClient, HubError, PORTAL } from "./hub_http.ts";
import type { HubEntry, HubOptions } from "./hub_types.ts";

/** How often the first question is asked: a wrong name, or no network, is soon said. */
const COMMIT_TRIES = 3;

/** That nothing may be asked. */
class OfflineError extends HubError {
  constructor(variable: string) {
    super("unreachable", `${variable} is set, so the hub is not asked`, {
      advice: "unset it to download",
    });
  }
}

/** What opening a repository works with. */
export interface Context {
  readonly client: HubClient;
  readonly cache: HubCache;
  readonly listeners: HubOptions;
}

/** What it finds. */
export interface Found {
  readonly commit: string;
  readonly files: readonly HubEntry[];
  readonly away: HubError | undefined;
}

export async function findFiles(context: Context): Promise<Found> {
  const { commit, away } = await findCommit(context);
  const known = await context.cache.readTree(commit);
  if (known) return { commit, files: known, away };
  if (!away) {
    try {
      return { commit, files: await listTree(context, commit), away };
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      return await cachedOnly(context, { commit, away: error });
    }
  }
  return await cachedOnly(context, { commit, away });
}

/** Which commit: the revision itself, or what the hub says, or what it said last. */
async function findCommit(
  context: Context,
): Promise<{ commit: string; away: HubError | undefined }> {
  const { client, cache, listeners } = context;
  const { asked, settings } = client;
  const { revision } = asked;
  const { offline } = settings;
  const away = offline === undefined ? undefined : new OfflineError(offline);
  if (COMMIT.test(revision)) return { commit: revision, away };
  const kept = await cache.readRef(revision);
  if (away) {
    if (kept) return { commit: kept, away };
    throw notCached(context, away);
  }
  try {
    const commit = await askCommit(context, kept !== undefined);
    await writing(cache.writeRef(revision, commit));
    return { commit, away };
  } catch (error) {
    if (!(error instanceof HubError)) throw error;
    // As in Python's library: whatever keeps the hub from answering, what it said last still holds.
    if (kept === undefined || error.kind === "revision") throw error;
    listeners.onMessage?.(
      `${error.what}; going on with ${nameOf(context)} as it is in the cache (commit ${kept})`,
    );
    return { commit: kept, away: error };
  }
}

/** @param kept Whether there is something to fall back on: then one try must do. */
async function askCommit({ client }: Context, kept: boolean): Promise<string> {
  const { asked: { repo: name, type, revision }, settings: { endpoint } } = client;
  const { modelInfo, datasetInfo } = await hubLibrary();
  const question = {
    name,
    revision,
    additionalFields: ["sha" as const],
    hubUrl: endpoint,
    fetch: client.asking(kept ? 1 : COMMIT_TRIES),
  };
  const asking = type === "dataset" ? datasetInfo(question) : modelInfo(question);
  const { sha } = await asking.catch((error) => {
    throw client.lost(error);
  });
  if (COMMIT.test(sha)) return sha;
  throw new HubError(
    "unreachable",
    `${endpoint} does not answer as the hub does: no commit of ${name}`,
    { advice: PORTAL },
  );
}

async function listTree({ client, cache }: Context, commit: string): Promise<HubEntry[]> {
  const { asked: { repo: name, type }, settings: { endpoint } } = client;
  const { listFiles } = await hubLibrary();
  const items = await Array.fromAsync(listFiles({
    repo: { name, type },
    revision: commit,
    recursive: true,
    hubUrl: endpoint,
    fetch: client.asking(),
  })).catch((error) => {
    throw client.lost(error);
  });
  const files = items.filter((item) => item.type === "file").map((item) => {
    checkHubPath(item.path);
    return checkEntry({
      path: item.path,
      size: item.lfs?.size ?? item.size,
      blobId: item.oid ?? "",
      ...(item.lfs && { sha256: item.lfs.oid }),
      ...(item.xetHash !== undefined && { xetHash: item.xetHash }),
    });
  });
  files.sort((a, b) => a.path < b.path ? -1 : 1); // so that the order never depends on the cache
  await writing(cache.writeTree(commit, files));
  return files;
}

/** The files of a commit that the cache holds, where its list cannot be had. */
async function cachedOnly(
  context: Context,
  { commit, away }: { commit: string; away: HubError },
): Promise<Found> {
  const { cache } = context;
  const files: HubEntry[] = [];
  for (const path of await cache.cachedPaths(commit)) {
    const size = await sizeOf(cache.pointer(commit, path)) ?? 0;
    files.push({ path, size, blobId: "" });
  }
  if (files.length > 0) return { commit, files, away };
  throw away instanceof OfflineError ? notCached(context, away) : away;
}

function notCached(context: Context, away: HubError): HubError {
  const { cache } = context.client.settings;
  return away.within((what) => `${nameOf(context)} is not in the cache ${cache}, and ${what}`);
}

/** What a repository at a revision is called. */
function nameOf({ client }: Context): string {
  const { repo, revision } = client.asked;
  return revision === "main" ? repo : `${repo}@${revision}`;
}

/** Lets what only saves a later request fail: a cache that is complete may be read-only. */
async function writing(promise: Promise<void>): Promise<void> {
  await promise.catch((error) => {
    if (!(error instanceof Error) || !isSystemError(error)) throw error;
  });
}
