/**
 * Texts by name or path, with the splits that they have of their own.
 *
 * @module
 */
import { join, resolve } from "node:path";
import { didYouMean } from "../nearest.ts";
import { DATASETS, fetchDataset, type HubCommit, pickConfig } from "./datasets.ts";
import { mobyDick } from "./embedded_text.ts";
import { NAMED_TEXTS, namedText } from "./named_texts.ts";
import { type SplitName, SPLITS } from "./parts.ts";
import { beside, isFolder } from "./files.ts";
import { memoryText, ROW_ENDINGS, type TextFile, textFile } from "./text_files.ts";

/** A text that was found, and not read yet. */
export interface TextSource {
  /** The name or path it was asked for by. */
  readonly name: string;
  /** Which of a data set's configurations it is. */
  readonly config?: string;
  /** Where on the hub it came from; absent for a text that did not. */
  readonly hub?: HubCommit;
  /** Whether it has splits of its own; else `train` is all of it. */
  readonly hasSplits: boolean;
  /** The files of each split that there is, in order. */
  readonly splits: { readonly [split in SplitName]?: readonly TextFile[] };
}

/** What a text may need to be found. */
export interface TextOptions {
  /** Which of a data set's configurations; its first unless given. In a folder, the folder below. */
  config?: string | undefined;
  /** The column in which tables (JSON, CSV, TSV, Parquet) have their text; `text` unless given. */
  column?: string | undefined;
  /** Which revision of a data set on the hub: a branch, a tag or a commit; `main` unless given. */
  revision?: string | undefined;
  /** Ends what is fetched: the signal's reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Told what is fetched. */
  onMessage?: ((line: string) => void) | undefined;
}

/** The column that text is looked for in. */
export const TEXT_COLUMN = "text";

const EMBEDDED: Readonly<Record<string, () => Promise<Uint8Array>>> = { moby_dick: mobyDick };

/** Whether a name stands for a text, embedded or fetched, rather than a file. */
export function isTextName(name: string): boolean {
  return Object.hasOwn(EMBEDDED, name) || Object.hasOwn(NAMED_TEXTS, name) ||
    DATASETS.has(name);
}

/**
 * Finds a text: an embedded one by name (`moby_dick`), one that is fetched once by name
 * (`tiny_shakespeare`, `wikitext`), a file by path (`.jsonl`, `.ndjson`, `.json`, `.csv`, `.tsv` and
 * `.parquet` are tables, any other file is UTF-8 text), or a folder whose files are called after their splits
 * (`train.txt`, `validation-00000-of-00001.parquet`, ...).
 *
 * @throws {Deno.errors.NotFound} If there is none.
 * @throws {TypeError} If a named text cannot be fetched, a configuration is unknown, a folder has no
 * train file, or a column is named where there are none.
 */
export async function openText(name: string, options: TextOptions = {}): Promise<TextSource> {
  const source = await findText(name, options);
  const { column = TEXT_COLUMN } = options;
  const files = Object.values(source.splits).flat();
  if (column !== TEXT_COLUMN && files.every((file) => file.column === undefined)) {
    throw new TypeError(
      `${name} is text as a whole and has no columns: leave out text_column ${column}`,
    );
  }
  return source;
}

async function findText(name: string, options: TextOptions): Promise<TextSource> {
  const { column = TEXT_COLUMN } = options, config = options.config || undefined;
  const whole = (file: TextFile): TextSource => {
    if (config !== undefined) {
      throw new TypeError(
        `${name} has no configurations: leave out dataset_config ${JSON.stringify(config)}`,
      );
    }
    return { name, hasSplits: false, splits: { train: [file] } };
  };
  if (Object.hasOwn(EMBEDDED, name)) return whole(memoryText(name, await EMBEDDED[name]()));
  if (Object.hasOwn(NAMED_TEXTS, name)) {
    return whole(memoryText(name, await namedText(NAMED_TEXTS[name], { signal: options.signal })));
  }
  const dataset = DATASETS.get(name);
  if (dataset !== undefined) {
    const picked = pickConfig(dataset, name, config);
    const { hub, paths } = await fetchDataset(dataset, picked, options);
    return { name, config: picked, hub, hasSplits: true, splits: await splitFiles(paths, column) };
  }
  try {
    const { isDirectory } = await Deno.stat(name);
    if (!isDirectory) return whole(await textFile(name, column));
    const splits = await splitFiles(await filesOfFolder(name, config), column);
    return { name, ...(config && { config }), hasSplits: true, splits };
  } catch (cause) {
    if (cause instanceof TypeError) throw cause;
    if (cause instanceof Deno.errors.NotFound) {
      if (config && await isFolder(name)) {
        throw new Deno.errors.NotFound(`${name} has no folder ${config}`, { cause });
      }
      const names = [...Object.keys(EMBEDDED), ...Object.keys(NAMED_TEXTS), ...DATASETS.keys()];
      throw new Deno.errors.NotFound(
        `no text called ${name}, and no file at ${
          resolve(name)
        }: give the path of a text, JSON, CSV, ` +
          `TSV or Parquet file, or one of ${names.join(", ")}` +
          didYouMean(name, [...names, ...await beside(name)]),
        { cause },
      );
    }
    throw new Error(`cannot read the text ${name}: ${(cause as Error).message}`, { cause });
  }
}

/**
 * The split that is meant, where one is to be read.
 *
 * @param split Nothing for a text without splits.
 * @throws {RangeError} If the text has splits and none, or another, was named, or has none.
 */
export function pickSplit(
  { name, hasSplits, splits }: TextSource,
  split: SplitName | undefined,
): SplitName {
  if (!hasSplits) {
    if (split === undefined) return "train";
    throw new RangeError(`split must not be given for a text without splits: ${name}`);
  }
  if (split !== undefined && splits[split] !== undefined) return split;
  throw new RangeError(
    `${name} has the splits ${
      SPLITS.filter((one) => splits[one] !== undefined).join(", ")
    }: name one of them${split === undefined ? "" : `, not ${split}`}`,
  );
}

type SplitPaths = { readonly [split in SplitName]?: readonly string[] };

async function splitFiles(paths: SplitPaths, column: string): Promise<TextSource["splits"]> {
  const splits: Partial<Record<SplitName, TextFile[]>> = {};
  for (const [split, of] of Object.entries(paths)) {
    splits[split as SplitName] = await Promise.all(of.map((path) => textFile(path, column)));
  }
  return splits;
}

/** How the files of a split are called, as in the folders of data sets on the hub. */
const SPLIT_FILES: Readonly<Record<SplitName, RegExp>> = {
  train: /^train[-_.]/i,
  validation: /^(validation|valid|val|dev)[-_.]/i,
  test: /^test[-_.]/i,
};

/** Folders that an error names, at most. */
const SHOWN = 10;

const ENDING = new RegExp(`\\.(txt|${ROW_ENDINGS.join("|")})$`, "i");

/** @throws {TypeError} If there is no train file. */
async function filesOfFolder(folder: string, config: string | undefined): Promise<SplitPaths> {
  const dir = config === undefined ? folder : join(folder, config);
  const files: string[] = [], folders: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    if (isDirectory) folders.push(name);
    else if (ENDING.test(name)) files.push(name);
  }
  const paths: Partial<Record<SplitName, string[]>> = {};
  for (const [split, pattern] of Object.entries(SPLIT_FILES)) {
    const of = files.filter((name) => pattern.test(name)).sort();
    const endings = new Set(of.map((name) => ENDING.exec(name)![1].toLowerCase()));
    if (endings.size > 1) {
      throw new TypeError(
        `${dir} has files of the split ${split} in several formats (${
          of.join(", ")
        }): one of them ` +
          "may repeat another, so keep one format or give a file",
      );
    }
    if (of.length > 0) paths[split as SplitName] = of.map((name) => join(dir, name));
  }
  if (paths.train === undefined) {
    const some = folders.sort().slice(0, SHOWN).join(", ");
    const below = config === undefined && folders.length > 0
      ? `, or one of its folders as dataset_config: ${some}${folders.length > SHOWN ? ", ..." : ""}`
      : "";
    throw new TypeError(
      `cannot read the text ${dir}: the folder has no file called after the split ` +
        `train (train.txt, train.jsonl, train-00000-of-00001.parquet): give a file${below}`,
    );
  }
  return paths;
}
