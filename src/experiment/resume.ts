/**
 * What going on with a run asks of any kind of run: that it is unfinished, and that model, text and
 * adapter are what they were.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { isTextName } from "../data/text_source.ts";
import { readJson } from "../data/files.ts";
import { hubModelName } from "../data/hub_models.ts";
import type { Gpu } from "../gpu/device.ts";
import type { DataRecord, EnvironmentRecord, RunKind } from "../record.ts";
import { taskCommand } from "../shell.ts";
import { EMBEDDED_MODEL } from "./options.ts";
import { RunFolder } from "./run_folder.ts";

/**
 * Opens the folder of a run that has not ended.
 *
 * @throws {TypeError} If it is not such a folder, or another process has it.
 */
export async function openUnfinished(
  dir: string,
  kind: RunKind,
  say?: (line: string) => void,
): Promise<RunFolder> {
  const folder = await RunFolder.open(dir, { kind, say });
  if (await exists(folder.path("results.json"))) {
    folder.dispose();
    throw new TypeError(
      `${dir} is a finished run: there is nothing left to do; ${taskCommand("report", [dir])} ` +
        "draws its report" + (kind === "integration"
          ? `, and --model_name ${dir}/models/best --memory ${dir} begins another where it ended`
          : ""),
    );
  }
  return folder;
}

/** What a run began with: its `data.json`. */
export async function readBegan(folder: RunFolder): Promise<DataRecord> {
  return await readJson(folder.path("data.json")) as DataRecord;
}

/**
 * Compares what was loaded with what the run began with.
 *
 * @throws {TypeError} If model, tokenizer or text has changed.
 */
export function checkUnchanged(before: DataRecord, now: DataRecord, model: string): void {
  if (before.text_column !== now.text_column) {
    const read = ({ text_column: column }: DataRecord) =>
      column === undefined ? "plain text" : `a table with its text in the column ${column}`;
    throw new TypeError(
      `the text ${now.text} was read as ${read(before)} when the run began, and is read as ` +
        `${read(now)} now: begin another run`,
    );
  }
  const hashed = {
    sha256: `the text ${now.text}`,
    tokenizer_sha256: "the model's tokenizer",
    model_sha256: `the model ${model}`,
  } as const;
  for (const [key, what] of Object.entries(hashed) as [keyof typeof hashed, string][]) {
    if (before[key] !== now[key]) {
      throw new TypeError(`${what} is not what it was when the run began: its hash has changed`);
    }
  }
}

/** Says so where a run goes on with another adapter. */
export async function tellOtherAdapter(
  folder: RunFolder,
  gpu: Gpu,
  say: (line: string) => void,
): Promise<void> {
  const was = await readJson(folder.path("environment.json")) as EnvironmentRecord;
  if (was.adapter === gpu.info.name) return;
  say(`the run began on ${was.adapter} and goes on with ${gpu.info.name}: its bits may differ`);
}

/**
 * Reads a JSON file that an earlier run left.
 *
 * @param what The option that names it.
 * @param path The run's folder, or the file itself.
 * @param name What the file is called in a run's folder.
 * @throws {TypeError} If there is none, or it is not JSON.
 */
export async function readLeft(
  what: string,
  path: string,
  name: string,
): Promise<{ file: string; value: unknown }> {
  const stat = await Deno.stat(path).catch(() => undefined);
  if (!stat) throw new TypeError(`${what}: there is no file or folder ${path}`);
  const file = stat.isDirectory ? join(path, name) : path;
  try {
    return { file, value: await readJson(file) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new TypeError(`${what}: the folder ${path} has no ${name}`);
  }
}

/** A model's name as it is, or its path from the root, so that a run can go on from another folder. */
export function absoluteModel(name: string): string {
  const elsewhere = name === EMBEDDED_MODEL || /^\w+:\/\//.test(name) || hubModelName(name);
  return elsewhere ? name : resolve(name);
}

/** A text's name as it is, or its path from the root. */
export function absoluteText(name: string): string {
  return isTextName(name) ? name : resolve(name);
}

/** Whether there is something at a path. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof Deno.errors.NotADirectory) return false;
    throw error;
  }
}
