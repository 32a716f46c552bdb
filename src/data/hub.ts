/**
 * Files of the Hugging Face hub, downloaded once into the cache that Python's `huggingface_hub`
 * uses too: `models--owner--name/{blobs,refs,snapshots,trees}`. What is in the cache was checked by
 * size and hash; a download that is cut goes on where it ended.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { HubRepo } from "./hub_repo.ts";
import type { HubEntry, HubOptions, HubPlace, HubSnapshot } from "./hub_types.ts";

const listening = new AsyncLocalStorage<HubOptions>();

/**
 * Runs something whose downloads, wherever in it they happen, tell these listeners unless they are
 * given their own. So a program says once how it shows downloads.
 */
export function withHub<T>(listeners: HubOptions, action: () => T): T {
  return listening.run(listeners, action);
}

/**
 * Opens a repository at a revision: which commit that is, and which files it holds. Asks the hub for
 * what the cache does not tell.
 *
 * @throws {TypeError} If there is no such repository or revision, it may not be read, or the hub
 * cannot be reached and the cache does not hold it.
 */
export function openHub(place: HubPlace & HubOptions): Promise<HubRepo> {
  const own = Object.entries(place).filter(([, value]) => value !== undefined);
  return HubRepo.open({ ...place, ...listening.getStore(), ...Object.fromEntries(own) });
}

/**
 * A file of the hub: from the cache, or downloaded into it and checked.
 *
 * @param place.path Its path in the repository.
 * @returns Its local path.
 * @throws {TypeError} As {@linkcode openHub} does; if the repository has no such file; if it cannot be
 * downloaded, or is not what the hub says it is. {@linkcode HubOptions.signal}'s reason.
 */
export async function hubFile(
  { path, ...place }: HubPlace & HubOptions & { readonly path: string },
): Promise<string> {
  const repo = await openHub(place);
  await repo.fetch([path]);
  return repo.localPath(path);
}

/**
 * Files of the hub that are chosen from all of a repository's.
 *
 * @param place.choose The paths that are wanted, of the files that there are; all unless given. Where
 * the hub cannot be reached, it may see only the files in the cache.
 * @throws {TypeError} As {@linkcode hubFile} does.
 */
export async function hubSnapshot(
  { choose, ...place }: HubPlace & HubOptions & {
    readonly choose?: (files: readonly HubEntry[]) => readonly string[];
  },
): Promise<HubSnapshot> {
  const repo = await openHub(place);
  const files = choose ? choose(repo.files) : repo.files.map((file) => file.path);
  await repo.fetch(files);
  return repo.snapshot(files);
}

export type { HubRepo };
export type * from "./hub_types.ts";
