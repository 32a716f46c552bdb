/**
 * Models as folders in Hugging Face's layout: `config.json`, `model.safetensors` (one file or
 * sharded), `tokenizer.json`, and `pollard.json`, which marks a folder as ours and names the heads
 * that are left. Saved in the padded form, the weights have full shapes, zero where a head is missing,
 * so that other programs load them too; in the compact form they are smaller, and load here alone.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import {
  type AvailableTensor,
  compactWeights,
  padWeights,
  readCheckpoint,
  toCheckpoint,
  type Weights,
} from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import { safetensorsChunks, SafetensorsFile } from "../gpt2/safetensors.ts";
import { checkChoice } from "../ranges.ts";
import { RUN_MARK, SPEED_FILE } from "../record.ts";
import { type Folder, openFolder } from "./folder.ts";
import { parseJson, writeWhole } from "./files.ts";
import { checkHostMemory } from "./host_memory.ts";
import {
  fetchHubModel,
  type HubModel,
  hubModelName,
  type HubModelSource,
  orFolder,
  toConvert,
} from "./hub_models.ts";
import { parseIndex } from "./shard_index.ts";
import { byteLevelTokenizer } from "./bpe.ts";
import {
  checkHeldHeads,
  type FormOnDisk,
  MODEL_FORMS,
  type ModelForm,
  readForm,
  savedConfig,
  savedMark,
  savedMetadata,
} from "./model_form.ts";
import { Tokenizer } from "./tokenizer.ts";

/** A model in memory: all that a folder holds. */
export interface Model {
  /** The full model's sizes, whatever heads are left. */
  readonly config: Gpt2Config;
  /** The heads that are left; all of them in an unpruned model. */
  readonly live: LiveHeads;
  /** Values in the shapes of `parameterLayout(config, live)`. */
  readonly weights: Weights;
  /** The parsed `tokenizer.json`, where there is one. */
  readonly tokenizerJson?: unknown;
  /** The parsed `tokenizer_config.json`, where there is one. */
  readonly tokenizerConfig?: unknown;
  /** A model card to save as `README.md`; loading does not read it. */
  readonly card?: string;
}

/** A model as {@linkcode loadModel} returns it. */
export interface LoadedModel extends Model {
  /** The form in which it lay on the disk. In memory both are the same. */
  readonly form: ModelForm;
  /** Made from `tokenizerJson`. */
  readonly tokenizer?: Tokenizer;
  /** Where on the hub it came from, if it did. */
  readonly hub?: HubModelSource;
}

const ONE_FILE = "model.safetensors";
const INDEX = "model.safetensors.index.json";
const MARK = "pollard.json";
/** Where runs keep models, the one that a run was for first. */
export const RUN_MODELS: readonly string[] = ["hf_model", "model", "models/best", "baseline"];
/** Name of a model card. */
export const CARD = "README.md";
/** What we put into a model's folder, a card and the speed that was measured of it included. */
const OUR_FILES = [
  ...["config.json", ONE_FILE, "tokenizer.json", "tokenizer_config.json", MARK],
  SPEED_FILE,
];

/** A line of every model card that we write, by which it is told from one that is not ours. */
export const CARD_MARK = "<!-- written by Pollard -->";

/**
 * Rows of `wte` that no token uses are allowed where they round the vocabulary up, as many
 * trainers do, to a multiple of this.
 */
const VOCAB_MULTIPLE = 128;

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
 * enough memory to read it.
 */
export async function loadModel(dir: string | URL): Promise<LoadedModel> {
  const name = typeof dir === "string" ? hubModelName(dir) : undefined;
  if (name === undefined) return await loadFolder(await openFolder(dir));
  return await loadHubModel(name).catch((error) => {
    throw orFolder(error, dir as string);
  });
}

/**
 * Loads a model from the hub, whatever folder there may be; see {@linkcode loadModel}.
 *
 * @throws As `loadModel` does.
 */
export async function loadHubModel(name: HubModel): Promise<LoadedModel> {
  const { dir, hub } = await fetchHubModel(name);
  const where = `${hub.repo}@${hub.revision}`;
  return { ...await loadFolder({ ...await openFolder(dir), where }), hub };
}

async function loadFolder(folder: Folder): Promise<LoadedModel> {
  if (await folder.has(RUN_MARK)) {
    const found: string[] = [];
    for (const name of RUN_MODELS) {
      if (await folder.has(`${name}/config.json`)) found.push(folder.path(name));
    }
    throw new TypeError(
      `${folder.where} is the folder of a run: ` +
        (found.length > 0
          ? `the models in it are ${found.join(" and ")}`
          : "no model is in it yet"),
    );
  }
  const onDisk = readForm(
    { value: await json(folder, "config.json"), where: folder.path("config.json") },
    { value: await optionalJson(folder, MARK), where: folder.path(MARK) },
  );
  const { config, live, form } = onDisk;
  const tokenizerJson = await optionalJson(folder, "tokenizer.json") ??
    await olderTokenizer(folder);
  const tokenizerConfig = await optionalJson(folder, "tokenizer_config.json");
  let tokenizer: Tokenizer | undefined;
  if (tokenizerJson !== undefined) {
    tokenizer = Tokenizer.fromJson(tokenizerJson, tokenizerConfig, folder.path("tokenizer.json"));
    checkVocabulary(tokenizer, config, folder.where);
  }
  checkHostMemory(folder.where, config, form === "compact" ? live : undefined);
  let weights = await readWeights(folder, onDisk);
  if (form === "padded" && live.some((heads) => heads.length < config.NH)) {
    const full = weights;
    weights = compactWeights(config, live, full);
    checkPruned(config, { live, weights, full }, folder.path(MARK));
  }
  return { config, live, form, weights, tokenizer, tokenizerJson, tokenizerConfig };
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

function checkVocabulary(tokenizer: Tokenizer, config: Gpt2Config, where: string): void {
  const size = tokenizer.vocabSize;
  const most = Math.ceil(size / VOCAB_MULTIPLE) * VOCAB_MULTIPLE;
  if (size > config.V || config.V > most) {
    throw new RangeError(
      `${where}: tokenizer.json has ${size} tokens, but config.json says vocab_size ${config.V}: ` +
        `they belong to different models`,
    );
  }
}

/** Opens every file of weights, hands all their tensors to the checkpoint reader, and closes them. */
async function readWeights(
  folder: Folder,
  { config, live, form }: FormOnDisk,
): Promise<Weights> {
  using stack = new DisposableStack();
  const held = form === "compact" ? live : undefined;
  const open = async (name: string, missing: () => string) => {
    const source = await folder.open(name);
    if (source === undefined) throw new Deno.errors.NotFound(missing());
    stack.use(source);
    const file = await SafetensorsFile.open(source, folder.path(name));
    if (held) checkHeldHeads(file, held, folder.path(MARK));
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
    return await readCheckpoint(config, offers(file, file.tensors.keys()), held);
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
    tensors.push(...offers(file, names));
  }
  return await readCheckpoint(config, tensors, held);
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

/** How a model is saved. */
export interface SaveOptions {
  /** `padded`, which every program loads, unless given. */
  readonly form?: ModelForm;
}

/**
 * Saves a model as a folder, whole or not at all: everything is written to a folder beside it, and
 * renamed when it is complete. A folder is replaced only if it is empty or a model that this
 * function wrote, with nothing else in it. (A process killed between the two renames of a replacement
 * leaves the old model beside its place, under a name that ends in `.old-` and an identifier.)
 *
 * @param dir A local path; the folder that holds it must exist.
 * @param model The model, its weights in the shapes of `parameterLayout(config, live)`.
 * @param options.form `padded`: pruned heads are zeros in tensors of full shape, so that every program
 * loads it as a GPT-2. `compact`: they are left out; {@linkcode loadModel} reads it, and other programs
 * refuse it by the words of its `config.json`.
 * @throws {TypeError | RangeError} If the parts of the model do not fit together.
 * @throws {Deno.errors.AlreadyExists} If something that is not ours is there.
 * @throws Whatever the system says if writing fails. In every case the disk is as it was.
 */
export async function saveModel(
  dir: string,
  model: Model,
  { form = "padded" }: SaveOptions = {},
): Promise<void> {
  checkChoice("form", form, MODEL_FORMS);
  const { config, live, weights, tokenizerJson, tokenizerConfig, card } = model;
  if (card !== undefined && !card.includes(CARD_MARK)) {
    throw new TypeError(`a model card must hold the line ${CARD_MARK}`);
  }
  const target = resolve(dir);
  const exists = await checkReplaceable(target, dir);
  const tensors = toCheckpoint(config, live, weights, form);
  let eos: number | undefined;
  if (tokenizerJson !== undefined) {
    const tokenizer = Tokenizer.fromJson(tokenizerJson, tokenizerConfig);
    checkVocabulary(tokenizer, config, dir);
    eos = tokenizer.eos;
  }
  const files: [string, string | Iterable<Uint8Array>][] = [
    ["config.json", text(savedConfig(config, form, eos))],
    [ONE_FILE, safetensorsChunks(tensors, savedMetadata(live, form))],
    [MARK, text(savedMark(live, form))],
  ];
  if (tokenizerJson !== undefined) files.push(["tokenizer.json", text(tokenizerJson)]);
  if (tokenizerConfig !== undefined) files.push(["tokenizer_config.json", text(tokenizerConfig)]);
  if (card !== undefined) files.push([CARD, card]);

  const id = crypto.randomUUID();
  const beside = (kind: string) => `${dirname(target)}/.${basename(target)}.${kind}-${id}`;
  const temporary = beside("tmp"), old = beside("old");
  try {
    await Deno.mkdir(temporary);
    for (const [name, content] of files) await writeWhole(`${temporary}/${name}`, content);
    if (exists) await Deno.rename(target, old);
    try {
      await Deno.rename(temporary, target);
    } catch (error) {
      if (exists) await Deno.rename(old, target);
      throw error;
    }
  } catch (error) {
    await Deno.remove(temporary, { recursive: true }).catch(() => {});
    throw error;
  }
  if (exists) await Deno.remove(old, { recursive: true });
}

const text = (value: unknown) => JSON.stringify(value, null, 2) + "\n";

/**
 * Checks that a model can be saved at a path, before long work whose result is to go there.
 *
 * @throws {Deno.errors.AlreadyExists} If something that is not ours is there.
 * @throws {TypeError} If the folder that holds it is missing or cannot be written to.
 */
export async function checkSavable(dir: string): Promise<void> {
  const target = resolve(dir);
  await checkReplaceable(target, dir);
  try {
    await Deno.remove(await Deno.makeTempDir({ dir: dirname(target), prefix: ".pollard-" }));
  } catch (error) {
    throw new TypeError(
      `a model cannot be written to ${dir}: ${(error as Error).message}; name another folder`,
    );
  }
}

/** Whether something is at the path; throws if it must not be replaced. */
async function checkReplaceable(target: string, shown = target): Promise<boolean> {
  const info = await Deno.lstat(target).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  if (info === undefined) return false;
  const refuse = (why: string) =>
    new Deno.errors.AlreadyExists(`${shown} ${why}: it is left alone; give another folder`);
  if (!info.isDirectory) throw refuse("is not a folder");
  const names = (await Array.fromAsync(Deno.readDir(target))).map((entry) => entry.name);
  const ownCard = names.includes(CARD) && names.includes(MARK) &&
    (await Deno.readTextFile(`${target}/${CARD}`)).includes(CARD_MARK);
  const foreign = names.find((name) => !OUR_FILES.includes(name) && !(name === CARD && ownCard));
  if (foreign !== undefined) {
    throw refuse(`holds ${foreign}, which is no file of a model that Pollard saved`);
  }
  if (names.length > 0 && !names.includes(MARK)) {
    throw refuse(`holds a model without ${MARK}, so it was not saved by Pollard`);
  }
  return true;
}
