/**
 * Writes models as folders.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { toCheckpoint } from "../gpt2/checkpoint.ts";
import { safetensorsChunks } from "../gpt2/safetensors.ts";
import { checkChoice } from "../ranges.ts";
import { SPEED_FILE } from "../record.ts";
import { syncFolder, writeWhole } from "./files.ts";
import {
  CARD,
  CARD_MARK,
  CHAT_TEMPLATES,
  MARK,
  type Model,
  ONE_FILE,
  SIDE_FILES,
} from "./model_files.ts";
import {
  MODEL_FORMS,
  type ModelForm,
  savedConfig,
  savedMark,
  savedMetadata,
} from "./model_form.ts";
import { endTokenNumber } from "./tokenizer.ts";

/** What we put into a model's folder, a card and the speed that was measured of it included. */
const OUR_FILES = [
  ...["config.json", ONE_FILE, "tokenizer.json", "tokenizer_config.json", MARK],
  ...SIDE_FILES,
  CHAT_TEMPLATES,
  SPEED_FILE,
];

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
  const eos = endTokenNumber(tokenizerJson, tokenizerConfig);
  const files: [string, string | Iterable<Uint8Array>][] = [
    ["config.json", text(savedConfig(config, form, eos))],
    [ONE_FILE, safetensorsChunks(tensors, savedMetadata(live, form))],
    [MARK, text(savedMark(live, form))],
  ];
  if (tokenizerJson !== undefined) files.push(["tokenizer.json", text(tokenizerJson)]);
  if (tokenizerConfig !== undefined) files.push(["tokenizer_config.json", text(tokenizerConfig)]);
  files.push(...model.beside ?? []);
  if (card !== undefined) files.push([CARD, card]);

  const id = crypto.randomUUID();
  const beside = (kind: string) => `${dirname(target)}/.${basename(target)}.${kind}-${id}`;
  const temporary = beside("tmp"), old = beside("old");
  try {
    await Deno.mkdir(temporary);
    for (const [name, content] of files) {
      await Deno.mkdir(dirname(`${temporary}/${name}`), { recursive: true });
      await writeWhole(`${temporary}/${name}`, content);
    }
    if (exists) await Deno.rename(target, old);
    try {
      await Deno.rename(temporary, target);
      await syncFolder(dirname(target));
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
    const why = error instanceof Deno.errors.NotFound
      ? `there is no folder ${dirname(target)}; make it, or name another folder`
      : `${(error as Error).message}; name another folder`;
    throw new TypeError(`a model cannot be written to ${dir}: ${why}`);
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
