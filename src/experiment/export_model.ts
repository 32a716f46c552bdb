/**
 * A saved model, written again in one form or the other.
 *
 * @module
 */
import { isFile } from "../data/files.ts";
import { openFolder } from "../data/folder.ts";
import { join, resolve } from "node:path";
import { checkSpace, type FreeSpace } from "../data/disk_space.ts";
import { CARD, type LoadedModel, type Model } from "../data/model_files.ts";
import { loadModel, type LoadOptions, modelOfRun } from "../data/load_model.ts";
import { checkSavable, saveModel } from "../data/save_model.ts";
import { MODEL_FORMS, type ModelForm } from "../data/model_form.ts";
import { parameterLayout } from "../gpt2/layout.ts";
import { checkChoice } from "../ranges.ts";
import { RUN_MARK } from "../record.ts";
import { cardInForm } from "../report/model_card.ts";
import { embeddedModel } from "./setup.ts";
import { EMBEDDED_MODEL } from "./options.ts";

/** A folder of a model: its form, and how much it holds. */
export interface ModelSize {
  /** Its path, or URL. */
  path: string;
  /** The form of its weights. */
  form: ModelForm;
  /** Numbers in its tensors. */
  parameters: number;
  /** Bytes of its weights as this form writes them, in F32. */
  bytes: number;
}

/** What {@linkcode exportModel} did. */
export interface Exported {
  /** The model that was read. */
  from: ModelSize;
  /** What was written. */
  to: ModelSize;
  /** Heads that are left. */
  active_heads: number;
  /** Heads of the full model. */
  total_heads: number;
  /** Whether a model card went with it; a card that is not ours does not. */
  card: boolean;
}

/** A saved model as it was read, to be written again. */
export interface SavedModel {
  /** Its path, URL or name. */
  path: string;
  /** All that its folder holds, */
  model: LoadedModel;
  /** and its card, whoever wrote it. */
  card?: string;
}

/** In which form a model is written, and where. */
interface Target {
  form: ModelForm;
  output: string;
  /** Whether a model that is there may be replaced; false unless given. */
  overwrite?: boolean | undefined;
  /** Tells how many bytes the disk has room for; the system is asked unless given. */
  freeSpace?: FreeSpace;
}

/**
 * Writes a saved model again, in the form that is asked for: `padded`, which every program loads as a
 * GPT-2, or `compact`, which is smaller and loads here alone. Both compute the same, to the last bit.
 *
 * @param dir A model's folder or its URL, `embedded`, or the folder of a run, whose model is taken.
 * @param output Where it goes.
 * @param overwrite Whether a model that is there is replaced, where {@linkcode saveModel} would; false
 * unless given.
 * @param freeSpace Tells how many bytes the disk has room for; the system is asked unless given.
 * @param onMessage Told in a line what of the model is left out.
 * @param signal Ends it before it writes: the signal's reason is thrown.
 * @throws As {@linkcode loadModel}, {@linkcode checkSavable} and {@linkcode saveModel} do.
 * @throws {TypeError} If the disk has no room for it. Nothing is written in any case.
 */
export async function exportModel(
  dir: string,
  target: {
    form: ModelForm;
    output: string;
    overwrite?: boolean | undefined;
    freeSpace?: FreeSpace;
    signal?: AbortSignal;
  } & LoadOptions,
): Promise<Exported> {
  checkChoice("form", target.form, MODEL_FORMS);
  await checkTarget(target);
  const saved = await readModel(dir, target);
  target.signal?.throwIfAborted();
  return await writeModel(saved, target);
}

/** @throws If a model cannot be written there, or would replace one. */
export async function checkTarget(
  { output, overwrite = false }: Pick<Target, "output" | "overwrite">,
): Promise<void> {
  await checkSavable(output);
  if (!overwrite && await isFile(join(output, "config.json"))) {
    throw new Deno.errors.AlreadyExists(
      `overwrite is needed to replace the model that ${output} holds; or give another folder`,
    );
  }
}

/** Reads what {@linkcode writeModel} writes; see {@linkcode exportModel}. */
export async function readModel(
  dir: string,
  { onMessage }: LoadOptions = {},
): Promise<SavedModel> {
  const path = await modelOf(dir);
  const model = await loadModel(dir === EMBEDDED_MODEL ? embeddedModel() : path, { onMessage });
  const card = await readCard(path);
  return { path, model, ...(card !== undefined && { card }) };
}

/** Writes a model in a form, with its card where that is ours; see {@linkcode exportModel}. */
export async function writeModel(
  { path, model, card: read }: SavedModel,
  target: Target,
): Promise<Exported> {
  const { form, output } = target;
  await checkRoom(model, target);
  const card = read === undefined ? undefined : cardInForm(read, form);
  await saveModel(output, { ...model, ...(card !== undefined && { card }) }, { form });
  const { config, live } = model;
  return {
    from: { path, ...sizeOf(model, model.form) },
    to: { path: output, ...sizeOf(model, form) },
    active_heads: live.flat().length,
    total_heads: config.L * config.NH,
    card: card !== undefined,
  };
}

/** @throws {TypeError} If the disk has no room for a model in a form. */
export async function checkRoom(model: Model, target: Target): Promise<void> {
  const { form, output, freeSpace } = target;
  await checkSpace({
    what: "the model",
    bytes: sizeOf(model, form).bytes,
    folder: resolve(output),
    advice: "make room, or name another folder",
  }, freeSpace);
}

function sizeOf({ config, live }: Model, form: ModelForm): Omit<ModelSize, "path"> {
  const layout = form === "compact" ? parameterLayout(config, live) : parameterLayout(config);
  const parameters = layout.reduce((sum, { size }) => sum + size, 0);
  return { form, parameters, bytes: 4 * parameters };
}

/** The folder itself, or the model that the run of that folder was for. */
async function modelOf(dir: string): Promise<string> {
  if (!await isFile(join(dir, RUN_MARK))) return dir;
  return join(dir, await modelOfRun(await openFolder(dir)) ?? "");
}

async function readCard(path: string): Promise<string | undefined> {
  const file = join(path, CARD);
  return await isFile(file) ? await Deno.readTextFile(file) : undefined;
}
