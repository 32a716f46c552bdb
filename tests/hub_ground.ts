/**
 * What tests of the hub stand on: a server, an empty cache, an environment of their own.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type HubOptions, withHub } from "../src/data/hub.ts";
import { blobHash, HubServer } from "./hub_server.ts";

/** A file of the size that the hub keeps elsewhere. */
export const BIG = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7 + (i >> 8));
export const README = "# A model\n";

/** Quick, so that tests are; as many tries as in use. */
export const patience = { firstMs: 10, mostMs: 2000 };

/** Variables that decide what is asked. */
const VARIABLES = [
  "HF_HOME",
  "HF_HUB_CACHE",
  "HUGGINGFACE_HUB_CACHE",
  "HF_ENDPOINT",
  "HF_TOKEN",
  "HUGGING_FACE_HUB_TOKEN",
  "HF_TOKEN_PATH",
  "HF_HUB_OFFLINE",
  "TRANSFORMERS_OFFLINE",
  "HF_HUB_DISABLE_SYMLINKS",
  "HF_HUB_DISABLE_IMPLICIT_TOKEN",
  "HF_HUB_ETAG_TIMEOUT",
  "HF_HUB_DOWNLOAD_TIMEOUT",
];

/**
 * Runs an action with variables of its own, of which those that are not given are unset. The process's
 * stay as they are: files of tests run side by side in it.
 */
export async function withEnv(
  values: Record<string, string>,
  action: () => Promise<void>,
): Promise<void> {
  const { get, set, delete: unset } = Deno.env;
  const own = new Map(Object.entries(values));
  const isOwn = (name: string) => VARIABLES.includes(name) || own.has(name);
  Deno.env.get = (name) => isOwn(name) ? own.get(name) : get.call(Deno.env, name);
  Deno.env.set = (name, value) => void own.set(name, value);
  Deno.env.delete = (name) => void own.delete(name);
  try {
    await action();
  } finally {
    Object.assign(Deno.env, { get, set, delete: unset });
  }
}

/** The variables of {@linkcode withEnv} as they are now, for another process. */
export function envNow(): Record<string, string> {
  return Object.fromEntries(VARIABLES.map((name) => [name, Deno.env.get(name) ?? ""]));
}

/** What a test gets. */
export interface Ground {
  server: HubServer;
  /** `HF_HOME`. */
  home: string;
  /** Lines that the user was told. */
  said: string[];
}

/** Runs a test with a server and an empty cache. */
export function withHubServer(
  action: (ground: Ground) => Promise<void>,
  env: Record<string, string> = {},
): () => Promise<void> {
  return async () => {
    await using server = new HubServer();
    const home = await Deno.makeTempDir();
    const said: string[] = [];
    const options: HubOptions = { patience, onMessage: (line) => said.push(line) };
    try {
      await withEnv(
        { HF_HOME: home, HF_ENDPOINT: server.url, ...env },
        () => withHub(options, () => action({ server, home, said })),
      );
    } finally {
      await Deno.chmod(home, 0o700);
      await Deno.remove(home, { recursive: true });
    }
  };
}

/** Every file and link in a folder, with what it holds or points to. */
export async function tree(folder: string, prefix = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) Object.assign(found, await tree(path, `${prefix}${name}/`));
    else if (isSymlink) found[prefix + name] = `-> ${await Deno.readLink(path)}`;
    else found[prefix + name] = blobHash(await Deno.readFile(path));
  }
  return found;
}

export const repo = "someone/tiny";
/** The files of the repository. */
export const files = { "README.md": README, "sub/model.safetensors": BIG, "empty": "" };
export const bigHash = blobHash(BIG);
/** Its large file. */
export const place = { repo, path: "sub/model.safetensors" };

/** Fails unless it is refused as input is, in these words. */
export async function refuses(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    assert.equal(error.name, "TypeError");
    assert.match(error.message, message);
    return true;
  });
}

/** Lets requests for a large file be answered one by one; the last answer is for all further ones. */
export function answers(
  server: HubServer,
  ...faults: ((range: string | null) => Response | undefined)[]
) {
  server.fault = ({ large, range }) =>
    large ? (faults.length > 1 ? faults.shift()! : faults[0])(range) : undefined;
}

/** What ranges of large files were asked for since the log was looked at last. */
export function ranges(server: HubServer): (string | null)[] {
  return server.log.splice(0).filter(({ large }) => large).map(({ range }) => range);
}

/** The paths in `blobs` of the one repository. */
export async function blobs(home: string): Promise<string[]> {
  const dir = join(home, "hub/models--someone--tiny/blobs");
  return Array.from(await Array.fromAsync(Deno.readDir(dir)), ({ name }) => name).sort();
}

/** Fails unless a file holds exactly these bytes. */
export async function sameBytes(path: string, bytes: Uint8Array): Promise<void> {
  assert.equal(blobHash(await Deno.readFile(path)), blobHash(bytes));
}
