/**
 * What a run works on, loaded and checked before anything is trained or written.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type Batch, WindowList } from "../data/batches.ts";
import { combinedHash } from "../data/corpora.ts";
import { sha256 } from "../data/files.ts";
import { type LoadedModel, tokenizerOf } from "../data/model_files.ts";
import { loadHubModel, loadModel, type LoadOptions } from "../data/load_model.ts";
import {
  boundParts,
  cutParts,
  type PartBounds,
  type PartName,
  type Parts,
  type SplitTokens,
} from "../data/parts.ts";
import { openText, type TextSource } from "../data/text_source.ts";
import { tokenise, type TokenisedText } from "../data/tokenise.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import type { Tokens } from "../data/tokens.ts";
import type { DataRecord } from "../record.ts";
import { isOpen } from "./option_rules.ts";
import { EMBEDDED_MODEL, type ExperimentOptions, stepBatch } from "./options.ts";

/** Batches of calibration text that heads are scored on. */
export const CALIBRATION_BATCHES = 16;

/** A model, a text, and how the text is cut. */
export interface Materials {
  /** The model as it was loaded. */
  model: LoadedModel;
  /** The model's own. */
  tokenizer: Tokenizer;
  /** Tokens in a sequence: as asked for, or the model's context if that is shorter and nobody asked. */
  max_length: number;
  /** Tokens of the text's four parts. */
  parts: Parts;
  /** What `data.json` says of it. */
  record: DataRecord;
  /** Windows that are scored during the run. */
  validation: WindowList;
  /** Windows that are scored at its end, once. */
  test: WindowList;
  /** Batches that heads are scored on. */
  calibration: Batch[];
}

/** Where the embedded model lies, beside this module: a folder or, imported remotely, a URL. */
export function embeddedModel(): URL {
  return new URL("../../assets/pollard-1m/", import.meta.url);
}

/**
 * Loads a model by the name that commands take: `embedded`, a folder, a folder's URL, or a model of
 * the Hugging Face hub.
 *
 * @param options.began Where on the hub it came from when a run began with it: the same commit is loaded.
 * @throws As {@linkcode loadModel} does.
 */
export function openModel(
  name: string,
  { began, ...options }: LoadOptions & { began?: DataRecord["hub_model"] } = {},
): Promise<LoadedModel> {
  if (began) return loadHubModel({ repo: began.repo, revision: began.commit }, options);
  return loadModel(name === EMBEDDED_MODEL ? embeddedModel() : name, options);
}

/** Who is told while model and text are loaded, and what stops it. */
export interface LoadListeners {
  /** A line for the terminal. */
  onMessage?: ((line: string) => void) | undefined;
  /** Stops the loading: its reason is thrown. */
  signal?: AbortSignal | undefined;
}

/**
 * Loads the model and the text that the options name, and cuts the text.
 *
 * @param began The `data.json` of the run that is gone on with.
 * @throws {RangeError} If they do not fit each other or the options.
 * @throws {TypeError} If something is malformed or missing.
 */
export async function loadMaterials(
  options: ExperimentOptions,
  listeners: LoadListeners = {},
  began?: DataRecord,
): Promise<Materials> {
  const { model_name, max_length, eval_tokens, test_tokens } = options;
  const B = stepBatch(options);
  const model = await openModel(model_name, {
    ...(began?.hub_model && { began: began.hub_model }),
    onMessage: listeners.onMessage,
  });
  const { config } = model, tokenizer = tokenizerOf(model, model_name);
  const T = isOpen(options, "max_length") ? Math.min(max_length, config.T) : max_length;
  if (T < max_length) {
    listeners.onMessage?.(`sequences have ${T} tokens, for that is the model's context`);
  }
  if (T > config.T) {
    throw new RangeError(
      `sequences must be at most the model's ${config.T} positions long: ${T} tokens`,
    );
  }
  if (model.live.some((heads) => heads.length === 0)) {
    throw new RangeError(`${model_name} has a layer without heads: it cannot be pruned further`);
  }
  const revision = began?.hub_dataset?.commit;
  const { parts, record } = await loadParts({ ...options, revision, tokenizer, T, B }, listeners);
  const { parts: bounds, ...source } = record;
  const limited = (part: Tokens, limit: number) =>
    new WindowList(part, T, T, limit === 0 ? Infinity : Math.max(1, Math.ceil(limit / T)));
  return {
    model,
    tokenizer,
    max_length: T,
    parts,
    record: {
      ...source,
      tokenizer_sha256: await sha256(JSON.stringify(model.tokenizerJson)),
      model_sha256: modelSha256(model),
      ...(model.hub && { hub_model: model.hub }),
      parts: bounds,
    },
    validation: limited(parts.validation, eval_tokens),
    test: limited(parts.test, test_tokens),
    calibration: calibrationBatches(parts.calibration, { B, T }),
  };
}

/** Which text, how it becomes tokens, and for which sequences. */
export interface PartsOptions {
  /** A text's name or path. */
  text: string;
  /** Which of a data set's configurations; empty for its first. */
  dataset_config: string;
  /** Where rows have their text. */
  text_column: string;
  /** Which commit of a data set on the hub; that of its main branch unless given. */
  revision?: string | undefined;
  /** What makes tokens of it. */
  tokenizer: Tokenizer;
  /** Tokens in a sequence. */
  T: number;
  /** Sequences in a batch. */
  B: number;
}

/** What a record tells of a text. */
export type TextRecord = Omit<DataRecord, "tokenizer_sha256" | "model_sha256" | "hub_model">;

/**
 * Finds a text, tokenises it and cuts it into four parts. A data set's own splits are kept; what it
 * lacks is cut from train, and that is told.
 *
 * @throws {RangeError} If it is too short.
 * @throws {TypeError} If it is malformed or missing.
 */
export async function loadParts(
  { text, dataset_config: config, text_column: column, revision, tokenizer, T, B }: PartsOptions,
  listeners: LoadListeners = {},
): Promise<{ parts: Parts; record: TextRecord }> {
  const source = await openText(text, { config, column, revision, ...listeners });
  const tokenised = await tokenise(source, tokenizer, listeners);
  const bounds = boundParts(lengthsOf(tokenised.splits), { T, B });
  if (source.hasSplits) {
    for (const name of ["validation", "test"] as const) {
      if (bounds[name].split === name) continue;
      listeners.onMessage?.(`${text} has no split ${name}: it is cut from train`);
    }
  }
  return {
    parts: cutParts(tokenised.splits, bounds),
    record: textRecord(source, tokenised, bounds),
  };
}

function lengthsOf({ train, validation, test }: SplitTokens) {
  return {
    train: train.length,
    ...(validation && { validation: validation.length }),
    ...(test && { test: test.length }),
  };
}

function textRecord(
  { name, config, hub, hasSplits, splits }: TextSource,
  { files }: TokenisedText,
  bounds: Readonly<Record<PartName, PartBounds>>,
): TextRecord {
  const column = Object.values(splits).flat().find((file) => file.column !== undefined)?.column;
  const part = ({ split, start, end }: PartBounds) => ({ ...(hasSplits && { split }), start, end });
  return {
    text: name,
    ...(config !== undefined && { dataset_config: config }),
    ...(column !== undefined && { text_column: column }),
    sha256: combinedHash(files.map((file) => file.sha256)),
    ...(hasSplits && { files: files.map((file) => ({ ...file })) }),
    ...(hub && { hub_dataset: hub }),
    parts: {
      train: part(bounds.train),
      calibration: part(bounds.calibration),
      validation: part(bounds.validation),
      test: part(bounds.test),
    },
  };
}

function modelSha256({ config, weights }: LoadedModel): string {
  const hash = createHash("sha256").update(JSON.stringify(config.raw));
  for (const name of [...weights.keys()].sort()) hash.update(name).update(weights.get(name)!);
  return hash.digest("hex");
}

/** Consecutive batches from the start of the part; the last windows fill up from the start again. */
function calibrationBatches(part: Tokens, { B, T }: { B: number; T: number }): Batch[] {
  const windows = Math.floor((part.length - 1) / T);
  const count = Math.min(CALIBRATION_BATCHES, Math.max(1, Math.floor(windows / B)));
  return Array.from({ length: count }, (_, i) => {
    const inputs = new Uint32Array(B * T), targets = new Uint32Array(B * T);
    for (let b = 0; b < B; b++) {
      const start = (i * B + b) % windows * T;
      const window = part.subarray(start, start + T + 1);
      inputs.set(window.subarray(0, T), b * T);
      targets.set(window.subarray(1), b * T);
    }
    return { inputs, targets };
  });
}

/**
 * Prompts for samples: the first tokens of windows spread over a part of the text.
 *
 * @param count How many. @param length Tokens in each.
 * @param part `test` at a run's end; `validation` for texts that decide anything before it.
 */
export async function samplePrompts(
  { parts, tokenizer }: Materials,
  { count, length, part = "test" }: {
    count: number;
    length: number;
    part?: "validation" | "test";
  },
): Promise<string[]> {
  const tokens = parts[part];
  return await Promise.all(Array.from({ length: count }, async (_, i) => {
    const start = Math.floor(i * Math.max(0, tokens.length - length) / count);
    // from the next blank on, so that a prompt does not begin inside a word
    const text = await tokenizer.decode(
      tokens.subarray(start, Math.min(start + 2 * length, tokens.length)),
    );
    const words = text.slice(text.search(/\s/) + 1).trimStart();
    const prompt = (await tokenizer.encode(words)).subarray(0, length);
    return (await tokenizer.decode(prompt)).trimEnd() || text;
  }));
}
