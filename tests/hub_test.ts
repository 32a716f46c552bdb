import assert from "node:assert/strict";
import { join } from "node:path";
import { type HubOptions, hubSnapshot, withHub } from "../src/data/hub.ts";
import { blobHash, HubServer } from "./hub_server.ts";

const BIG = Uint8Array.from({ length: 300_000 }, (_, i) => i * 7 + (i >> 8));
const README = "# A model\n";

/** Quick, so that tests are; as many tries as in use. */
const patience = { firstMs: 10, mostMs: 2000 };

/** Variables that decide what is asked; those that are not named are unset. */
async function withEnv(values: Record<string, string>, action: () => Promise<void>): Promise<void> {
  const names = [
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
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of names) {
    if (values[name] === undefined) Deno.env.delete(name);
    else Deno.env.set(name, values[name]);
  }
  try {
    await action();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

interface Ground {
  server: HubServer;
  /** `HF_HOME`. */
  home: string;
  /** Lines that the user was told. */
  said: string[];
}

/** Runs a test with a server and an empty cache. */
function withHubServer(
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
async function tree(folder: string, prefix = ""): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(folder)) {
    const path = join(folder, name);
    if (isDirectory) Object.assign(found, await tree(path, `${prefix}${name}/`));
    else if (isSymlink) found[prefix + name] = `-> ${await Deno.readLink(path)}`;
    else found[prefix + name] = blobHash(await Deno.readFile(path));
  }
  return found;
}

const repo = "someone/tiny";
const files = { "README.md": README, "sub/model.safetensors": BIG, "empty": "" };
const bigHash = blobHash(BIG);
const place = { repo, path: "sub/model.safetensors" };

async function refuses(promise: Promise<unknown>, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    assert.equal(error.name, "TypeError");
    assert.match(error.message, message);
    return true;
  });
}

Deno.test(
  "a snapshot lies in the cache as Python's library lays it out, and is asked for once",
  withHubServer(async ({ server, home }) => {
    server.pageSize = 2;
    const commit = server.commit(repo, files);
    const snapshot = await hubSnapshot({ repo });
    const dir = join(home, "hub", "models--someone--tiny", "snapshots", commit);
    assert.deepEqual(snapshot, {
      dir,
      repo,
      type: "model",
      revision: "main",
      commit,
      files: ["README.md", "empty", "sub/model.safetensors"],
    });
    const cache = await tree(join(home, "hub"));
    const [small, empty] = [README, ""].map((text) => blobHash(new TextEncoder().encode(text)));
    const here = (path: string) => `models--someone--tiny/${path}`;
    assert.deepEqual(cache, {
      [`.locks/models--someone--tiny/${bigHash}.lock`]: empty,
      [`.locks/models--someone--tiny/${small}.lock`]: empty,
      [`.locks/models--someone--tiny/${empty}.lock`]: empty,
      [here(`blobs/${bigHash}`)]: bigHash,
      [here(`blobs/${small}`)]: small,
      [here(`blobs/${empty}`)]: empty,
      [here("refs/main")]: blobHash(new TextEncoder().encode(commit)),
      [here(`snapshots/${commit}/README.md`)]: `-> ../../blobs/${small}`,
      [here(`snapshots/${commit}/empty`)]: `-> ../../blobs/${empty}`,
      [here(`snapshots/${commit}/sub/model.safetensors`)]: `-> ../../../blobs/${bigHash}`,
      [here(`trees/${commit}.json`)]: cache[here(`trees/${commit}.json`)],
    });
    assert.deepEqual(
      JSON.parse(await Deno.readTextFile(join(dir, "../../trees", `${commit}.json`)))
        .files["README.md"],
      { size: README.length, blob_id: small },
    );
    server.log.length = 0;
    assert.deepEqual(await hubSnapshot({ repo }), snapshot);
    assert.deepEqual(server.asked(), [`/api/models/${repo}/revision/main`]);
    assert.deepEqual(await hubSnapshot({ repo, revision: commit }), {
      ...snapshot,
      revision: commit,
    });
    assert.deepEqual(server.asked(), [], "an exact commit that is here is not asked for");
  }),
);
