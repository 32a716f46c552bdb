/**
 * Reads models from folders and from the hub.
 *
 * @module
 */
import { compactWeights, padWeights, type Weights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { type AvailableTensor, readCheckpoint } from "../gpt2/read_checkpoint.ts";
import { SafetensorsFile } from "../gpt2/safetensors.ts";
import { RUN_MARK } from "../record.ts";
import { type Folder, openFolder } from "./folder.ts";
import { parseJson } from "./files.ts";
import { checkHostMemory } from "./host_memory.ts";
import { fetchHubModel, type HubModel, hubModelName, orFolder, toConvert } from "./hub_models.ts";
import { parseIndex } from "./shard_index.ts";
import { withAddedTokens } from "./added_tokens.ts";
import { byteLevelTokenizer } from "./bpe.ts";
import { checkHeldHeads, type FormOnDisk, readForm } from "./model_form.ts";
import {
  CHAT_TEMPLATES,
  INDEX,
  type LoadedModel,
  MARK,
  ONE_FILE,
  RUN_MODELS,
  SIDE_FILES,
} from "./model_files.ts";
import { Tokenizer } from "./tokenizer.ts";
import { decodeUtf8 } from "./utf8.ts";
import { endsOfText as findEndsOfText } from "./vocabulary.ts";

/** Who is told while a model is loaded. */
export interface LoadOptions {
  /** A line for the terminal: which tensors are left out. */
  onMessage?: ((line: string) => void) | undefined;
}

/**
 * Loads a GPT-2 from a folder or, by its name, from the Hugging Face hub: `gpt2`, `distilgpt2`,
 * `owner/name`, each with `@revision` if wanted (a branch, a tag or a commit). A folder of that name
 * comes first. What the hub's model needs is downloaded once, into the cache that Python's libraries
 * share; `withHub` tells how far that is.
 * A folder's model is loaded in whichever form it was saved.
 *
 * @param dir A local path, a `file:`, `http:` or `https:` URL of the folder, or a name on the hub.
 * @returns The model; `live` is every head unless the folder's `pollard.json` says otherwise.
 * @throws {Deno.errors.NotFound} If the folder or a file that it must hold is missing.
 * @throws {TypeError} If a file is broken, cut short, of the wrong kind, or of another model than those
 * beside it; if the hub does not know the name, does not let it be read, or cannot be reached.
 * @throws {RangeError} If sizes do not fit together: shapes, offsets, heads, vocabulary; if there is not
 * enough memory to read it; if a weight is not finite.
 */
export async function loadModel(
  dir: string | URL,
  options: LoadOptions = {},
): Promise<LoadedModel> {
  const name = typeof dir === "string" ? hubModelName(dir) : undefined;
  if (name === undefined) return await loadFolder(await openFolder(dir), options);
  return await loadHubModel(name, options).catch((error) => {
    throw orFolder(error, dir as string);
  });
}

/**
 * Loads a model from the hub, whatever folder there may be; see {@linkcode loadModel}.
 *
 * @throws As `loadModel` does.
 */
export async function loadHubModel(
  name: HubModel,
  options: LoadOptions = {},
): Promise<LoadedModel> {
  const { dir, hub } = await fetchHubModel(name);
  const where = `${hub.repo}@${hub.revision}`;
  return { ...await loadFolder({ ...await openFolder(dir), where }, options), hub };
}

/**
 * Where in the folder of a run its model lies: the name of a folder in it.
 *
 * @returns `undefined` if the folder is not that of a run.
 * @throws {Deno.errors.NotFound} If the run has no model yet.
 */
export async function modelOfRun(folder: Folder): Promise<string | undefined> {
  if (!await folder.has(RUN_MARK)) return undefined;
  for (const name of RUN_MODELS) {
    if (await folder.has(`${name}/config.json`)) return name;
  }
  throw new Deno.errors.NotFound(
    `${folder.where} is the folder of a run whose model is not there yet: finish the run, or name a ` +
      "model's folder",
  );
}

async function loadFolder(folder: Folder, options: LoadOptions): Promise<LoadedModel> {
  const made = await modelOfRun(folder);
  if (made !== undefined) return await loadFolder(await openFolder(folder.path(made)), options);
  const onDisk = readForm(
    { value: await json(folder, "config.json"), where: folder.path("config.json") },
    { value: await optionalJson(folder, MARK), where: folder.path(MARK) },
  );
  const { config, live, form } = onDisk;
  const beside = await readBeside(folder);
  const tokenizing = await readTokenizer(folder, beside, config);
  const endsSaid = {
    generation: beside.json("generation_config.json"),
    ...{ config, eos: tokenizing.tokenizer?.eos },
  };
  const endsOfText = findEndsOfText(endsSaid, folder.where);
  checkHostMemory(folder.where, config, form === "compact" ? live : undefined);
  let weights = await readWeights(folder, onDisk, options);
  if (form === "padded" && live.some((heads) => heads.length < config.NH)) {
    const full = weights;
    weights = compactWeights(config, live, full);
    checkPruned(config, { live, weights, full }, folder.path(MARK));
  }
  const { texts } = beside;
  return { config, live, form, weights, ...tokenizing, endsOfText, beside: texts };
}

/** The files of {@linkcode SIDE_FILES} and {@linkcode CHAT_TEMPLATES} that a folder holds. */
class Beside {
  readonly texts: ReadonlyMap<string, string>;
  readonly #folder: Folder;

  constructor(folder: Folder, texts: ReadonlyMap<string, string>) {
    this.#folder = folder;
    this.texts = texts;
  }

  /** One of them, parsed; `undefined` where it is not there. */
  json(name: string): unknown {
    const text = this.texts.get(name);
    if (text === undefined) return undefined;
    return parseJson(new TextEncoder().encode(text), this.#folder.path(name));
  }
}

async function readBeside(folder: Folder): Promise<Beside> {
  const texts = new Map<string, string>();
  const templates = (await folder.list(CHAT_TEMPLATES)).filter((name) => name.endsWith(".jinja"));
  for (const name of [...SIDE_FILES, ...templates.map((name) => `${CHAT_TEMPLATES}/${name}`)]) {
    const bytes = await folder.read(name);
    if (bytes === undefined) continue;
    const where = { name: folder.path(name), size: bytes.length };
    texts.set(name, (await Array.fromAsync(decodeUtf8([bytes], where))).join(""));
  }
  return new Beside(folder, texts);
}

/** The tokenizer, from whatever files a folder has it in. */
async function readTokenizer(
  folder: Folder,
  beside: Beside,
  { V }: Gpt2Config,
): Promise<Pick<LoadedModel, "tokenizer" | "tokenizerJson" | "tokenizerConfig">> {
  const tokenizerConfig = await optionalJson(folder, "tokenizer_config.json");
  const given = await optionalJson(folder, "tokenizer.json");
  const json = given === undefined ? await olderTokenizer(folder) : given;
  if (json === undefined) return { tokenizerConfig };
  const whole = withAddedTokens(json, {
    config: tokenizerConfig,
    specialTokens: beside.json("special_tokens_map.json"),
    addedTokens: beside.json("added_tokens.json"),
  }, { older: given === undefined, where: folder.where });
  const where = folder.path(given === undefined ? "vocab.json" : "tokenizer.json");
  const tokenizer = await Tokenizer.fromJson(whole.json, whole.config, where, V);
  return { tokenizer, tokenizerJson: whole.json, tokenizerConfig };
}

/** A tokenizer in the two files that GPT-2 came with, before there was `tokenizer.json`. */
async function olderTokenizer(folder: Folder): Promise<unknown> {
  const vocab = await optionalJson(folder, "vocab.json");
  const merges = await folder.read("merges.txt");
  if (vocab === undefined || merges === undefined) return undefined;
  return byteLevelTokenizer(vocab, new TextDecoder().decode(merges), folder.path("vocab.json"));
}

async function optionalJson(folder: Folder, name: string): Promise<unknown> {
  const bytes = await folder.read(name);
  return bytes === undefined ? undefined : parseJson(bytes, folder.path(name));
}

async function json(folder: Folder, name: string): Promise<unknown> {
  const value = await optionalJson(folder, name);
  if (value !== undefined) return value;
  throw new Deno.errors.NotFound(
    `${folder.where} holds no ${name}: it is not a Hugging Face model folder, or not all of one`,
  );
}

/** Opens every file of weights, hands all their tensors to the checkpoint reader, and closes them. */
async function readWeights(
  folder: Folder,
  { config, live, form, prunedElsewhere }: FormOnDisk,
  { onMessage }: LoadOptions,
): Promise<Weights> {
  using stack = new DisposableStack();
  const held = form === "compact" ? live : undefined;
  const reading = {
    live: held,
    ...(held && {
      asks: `config.json and ${prunedElsewhere ? "its pruned_heads" : MARK} ask`,
    }),
    onMessage: onMessage && ((line: string) => onMessage(`${folder.where}: ${line}`)),
  };
  const open = async (name: string, missing: () => string) => {
    const source = await folder.open(name);
    if (source === undefined) throw new Deno.errors.NotFound(missing());
    stack.use(source);
    const file = await SafetensorsFile.open(source, folder.path(name));
    if (held && !prunedElsewhere) checkHeldHeads(file, held, folder.path(MARK));
    return file;
  };
  const index = await folder.has(ONE_FILE) ? undefined : await optionalJson(folder, INDEX);
  if (index === undefined) {
    const old = await folder.has("pytorch_model.bin");
    const file = await open(
      ONE_FILE,
      () =>
        old ? toConvert(folder.where) : `${folder.where} holds neither ${ONE_FILE} nor ${INDEX}`,
    );
    return await readCheckpoint(config, offers(file, file.tensors.keys()), reading);
  }
  const tensors: AvailableTensor[] = [];
  for (const [shard, names] of parseIndex(index, folder.path(INDEX))) {
    const file = await open(shard, () => `${folder.where} lacks ${shard}, which ${INDEX} lists`);
    const held = new Set(file.tensors.keys());
    if (names.size !== held.size || [...names].some((name) => !held.has(name))) {
      const wrong = [...names.symmetricDifference(held)][0];
      throw new TypeError(
        `${file.where}: "${wrong}" is ${
          held.has(wrong) ? "in the file but not" : "not in the file but"
        } listed for it in ${INDEX}: the files belong to different models`,
      );
    }
    for (const tensor of offers(file, names)) tensors.push(tensor);
  }
  return await readCheckpoint(config, tensors, reading);
}

function offers(file: SafetensorsFile, names: Iterable<string>): AvailableTensor[] {
  return Array.from(names, (name) => ({
    name,
    shape: file.tensors.get(name)!.shape,
    where: file.where,
    read: () => file.read(name),
  }));
}

/** Where `pollard.json` says that a head is gone, its weights must be zero. */
function checkPruned(
  config: Gpt2Config,
  { live, weights, full }: { live: LiveHeads; weights: Weights; full: Weights },
  where: string,
): void {
  for (const [name, values] of padWeights(config, live, weights)) {
    const held = full.get(name)!;
    if (values !== held && values.some((value, i) => value !== held[i] && value === 0)) {
      throw new RangeError(
        `${where} and the weights disagree: "${name}" holds values for heads that are said to be pruned`,
      );
    }
  }
}
