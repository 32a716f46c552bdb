/**
 * GPT-2 models of the Hugging Face hub by the names that people know: which names are meant for the
 * hub, and which files of a repository are needed.
 *
 * @module
 */
import { resolve } from "node:path";
import { readJson } from "./files.ts";
import { checkHostMemory } from "./host_memory.ts";
import { type HubRepo, openHub } from "./hub.ts";
import { HubError } from "./hub_http.ts";
import { isRepoName } from "./hub_repo.ts";
import { readConfig } from "./model_form.ts";
import { CHAT_TEMPLATES, SIDE_FILES } from "./model_files.ts";
import { parseIndex } from "./shard_index.ts";

/**
 * Models that the hub once kept under a bare name, and what they are called now. The hub still
 * answers to the old names, but by sending on to these. Python's libraries keep a model under the name
 * that it was asked for by, and so do we; a cache that has it by its other name is used.
 */
const OWNERS: Readonly<Record<string, string>> = {
  "gpt2": "openai-community",
  "gpt2-medium": "openai-community",
  "gpt2-large": "openai-community",
  "gpt2-xl": "openai-community",
  "distilgpt2": "distilbert",
};

/** A model of the hub. */
export interface HubModel {
  /** `owner/name`. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** The bare name that it was asked for by, if it was. */
  readonly bare?: string;
}

/** Where on the hub a model came from. */
export interface HubModelSource extends Omit<HubModel, "bare"> {
  /** The commit that the revision stood for: 40 hexadecimal digits. */
  readonly commit: string;
}

const CONFIG = "config.json";
const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";
/** Taken where they are there. */
const BESIDE = ["tokenizer.json", "tokenizer_config.json", "pollard.json", ...SIDE_FILES];
/** Taken where there is no `tokenizer.json`. */
const OLDER_TOKENIZER = ["vocab.json", "merges.txt"];

/**
 * What on the hub a name stands for: nothing where there is a folder or file of that name, or where
 * it is not such a name (`./gpt2`, `a/b/c`, a URL).
 */
export function hubModelName(name: string): HubModel | undefined {
  const [, repo, revision = "main"] = /^([^@]+)(?:@(.+))?$/.exec(name) ?? [];
  if (repo === undefined) return undefined;
  const full = Object.hasOwn(OWNERS, repo) ? `${OWNERS[repo]}/${repo}` : repo;
  if (!full.includes("/") || !isRepoName(full) || isThere(name)) return undefined;
  return { repo: full, revision, ...(full !== repo && { bare: repo }) };
}

/** The bare names that stand for a model of the hub. */
export const HUB_MODEL_NAMES: readonly string[] = Object.keys(OWNERS);

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

/**
 * Sees to it that what a model needs is in the cache: its sizes first, so that nothing large is
 * downloaded for a model that cannot be loaded.
 *
 * @returns The folder of its files.
 * @throws {TypeError} If the hub does not have it, does not let it be read, or cannot be reached; if
 * its weights are of another format.
 * @throws {RangeError | TypeError} As `parseConfig` does, if it is not a GPT-2.
 * @throws {RangeError} If there is not enough memory to read it.
 */
export async function fetchHubModel(
  { repo, revision, bare }: HubModel,
): Promise<{ dir: string; hub: HubModelSource }> {
  const [owner, name] = repo.split("/");
  const cachedAs = bare !== undefined
    ? [bare, repo]
    : OWNERS[name] === owner
    ? [repo, name]
    : [repo];
  const hub = await openHub({ repo, revision, cachedAs });
  const there = new Set(hub.files.map(({ path }) => path));
  const tokenizer = there.has("tokenizer.json") ? [] : OLDER_TOKENIZER;
  const templates = [...there].filter((path) => path.startsWith(`${CHAT_TEMPLATES}/`));
  const beside = [...BESIDE, ...tokenizer].filter((path) => there.has(path)).concat(templates);
  await hub.fetch([CONFIG]);
  const value = await readJson(hub.localPath(CONFIG));
  const config = readConfig({ value, where: `${repo}/${CONFIG}` });
  checkHostMemory(`${repo}@${revision}`, config);
  const weights = await weightsOf(hub, there);
  await hub.fetch([...beside, ...weights]);
  const { dir, commit } = hub.snapshot([]);
  return { dir, hub: { repo, revision, commit } };
}

async function weightsOf(hub: HubRepo, there: Set<string>): Promise<string[]> {
  if (there.has(WEIGHTS)) return [WEIGHTS];
  if (there.has(INDEX)) {
    await hub.fetch([INDEX]);
    const index = parseIndex(await readJson(hub.localPath(INDEX)), `${hub.repo}/${INDEX}`);
    return [INDEX, ...index.keys()];
  }
  for (const name of [WEIGHTS, INDEX]) {
    // a link in the cache to what is gone, where the hub cannot say which files there are
    if (await isLink(hub.localPath(name))) await hub.fetch([name]);
  }
  if (there.has("pytorch_model.bin") || there.has("pytorch_model.bin.index.json")) {
    throw new TypeError(toConvert(hub.repo, hub.revision));
  }
  throw new TypeError(
    `${hub.repo} holds neither ${WEIGHTS} nor ${INDEX} at ${hub.revision}: it has no weights that are ` +
      "read here",
  );
}

async function isLink(path: string): Promise<boolean> {
  return (await Deno.lstat(path).catch(() => undefined))?.isSymlink ?? false;
}

/** How a model whose weights are in Python's own format is converted. */
export function toConvert(name: string, revision = "main"): string {
  const from = JSON.stringify(name) +
    (revision === "main" ? "" : `, revision=${JSON.stringify(revision)}`);
  return `${name} holds its weights as pytorch_model.bin only, which is not read here. Convert it with ` +
    `Python's transformers, and give the new folder:
  from transformers import AutoModelForCausalLM, AutoTokenizer
  AutoModelForCausalLM.from_pretrained(${from}).save_pretrained("converted", safe_serialization=True)
  AutoTokenizer.from_pretrained(${from}).save_pretrained("converted")`;
}

/** A name that the hub does not know may have been meant for a folder. */
export function orFolder(error: unknown, name: string): unknown {
  if (!(error instanceof HubError) || !["unknown", "unreachable"].includes(error.kind)) {
    return error;
  }
  return error.within((what) => `${what}; nor is there a local folder ${resolve(name)}`);
}
