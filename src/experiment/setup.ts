/**
 * What a run works on, loaded and checked before anything is trained or written.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { type Batch, evalWindows, type Parts, splitTokens } from "../data/batches.ts";
import { loadText } from "../data/corpora.ts";
import { sha256 } from "../data/files.ts";
import { type LoadedModel, loadModel } from "../data/model_files.ts";
import type { Tokenizer } from "../data/tokenizer.ts";
import type { Window } from "../gpt2/evaluate.ts";
import type { DataRecord } from "../record.ts";
import { EMBEDDED_MODEL, type ExperimentOptions, stepBatch } from "./options.ts";

/** Batches of calibration text that heads are scored on. */
export const CALIBRATION_BATCHES = 16;

/** A model, a text, and how the text is cut. */
export interface Materials {
  /** The model as it was loaded. */
  model: LoadedModel;
  /** The model's own. */
  tokenizer: Tokenizer;
  /** Tokens of the text's four parts. */
  parts: Parts;
  /** What `data.json` says of it. */
  record: DataRecord;
  /** Windows that are scored during the run. */
  validation: Window[];
  /** Windows that are scored at its end, once. */
  test: Window[];
  /** Batches that heads are scored on. */
  calibration: Batch[];
}

/** Where the embedded model lies, beside this module: a folder or, imported remotely, a URL. */
export function embeddedModel(): URL {
  return new URL("../../assets/pollard-1m/", import.meta.url);
}

/**
 * Loads a model by the name that commands take: `embedded`, a folder, or a folder's URL.
 *
 * @throws As {@linkcode loadModel} does.
 */
export function openModel(name: string): Promise<LoadedModel> {
  return loadModel(name === EMBEDDED_MODEL ? embeddedModel() : name);
}

/**
 * Loads the model and the text that the options name, and cuts the text.
 *
 * @throws {RangeError} If they do not fit each other or the options.
 * @throws {TypeError} If something is malformed or missing.
 */
export async function loadMaterials(options: ExperimentOptions): Promise<Materials> {
  const { model_name, text, max_length: T, eval_tokens, test_tokens } = options;
  const B = stepBatch(options);
  const model = await openModel(model_name);
  const { tokenizer, config } = model;
  if (tokenizer === undefined) {
    throw new TypeError(
      `${model_name} has no tokenizer.json: put the model's own beside its weights`,
    );
  }
  if (T > config.T) {
    throw new RangeError(
      `sequences must be at most the model's ${config.T} positions long: ${T} tokens`,
    );
  }
  if (model.live.some((heads) => heads.length === 0)) {
    throw new RangeError(`${model_name} has a layer without heads: it cannot be pruned further`);
  }
  const corpus = await loadText(text);
  const tokens = tokenizer.encode(corpus.text);
  const parts = splitTokens(tokens, { T, B });
  const bounds = (part: Uint32Array) => {
    const start = (part.byteOffset - tokens.byteOffset) / 4;
    return { start, end: start + part.length };
  };
  const limited = (part: Uint32Array, limit: number): Window[] => {
    const windows = [...evalWindows(part, T)];
    return limit === 0 ? windows : windows.slice(0, Math.max(1, Math.ceil(limit / T)));
  };
  return {
    model,
    tokenizer,
    parts,
    record: {
      text,
      sha256: corpus.sha256,
      tokenizer_sha256: await sha256(JSON.stringify(model.tokenizerJson)),
      model_sha256: modelSha256(model),
      parts: {
        train: bounds(parts.train),
        calibration: bounds(parts.calibration),
        validation: bounds(parts.validation),
        test: bounds(parts.test),
      },
    },
    validation: limited(parts.validation, eval_tokens),
    test: limited(parts.test, test_tokens),
    calibration: calibrationBatches(parts.calibration, { B, T }),
  };
}

function modelSha256({ config, weights }: LoadedModel): string {
  const hash = createHash("sha256").update(JSON.stringify(config.raw));
  for (const name of [...weights.keys()].sort()) hash.update(name).update(weights.get(name)!);
  return hash.digest("hex");
}

/** Consecutive batches from the start of the part; the last windows fill up from the start again. */
function calibrationBatches(part: Uint32Array, { B, T }: { B: number; T: number }): Batch[] {
  const windows = Math.floor((part.length - 1) / T);
  const count = Math.min(CALIBRATION_BATCHES, Math.max(1, Math.floor(windows / B)));
  return Array.from({ length: count }, (_, i) => {
    const inputs = new Uint32Array(B * T), targets = new Uint32Array(B * T);
    for (let b = 0; b < B; b++) {
      const start = (i * B + b) % windows * T;
      inputs.set(part.subarray(start, start + T), b * T);
      targets.set(part.subarray(start + 1, start + T + 1), b * T);
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
export function samplePrompts(
  { parts, tokenizer }: Materials,
  { count, length, part = "test" }: {
    count: number;
    length: number;
    part?: "validation" | "test";
  },
): string[] {
  const tokens = parts[part];
  return Array.from({ length: count }, (_, i) => {
    const start = Math.floor(i * Math.max(0, tokens.length - length) / count);
    // from the next blank on, so that a prompt does not begin inside a word
    const text = tokenizer.decode(tokens.subarray(start, start + 2 * length));
    const words = text.slice(text.search(/\s/) + 1).trimStart();
    return tokenizer.decode(tokenizer.encode(words).subarray(0, length)).trimEnd() || text;
  });
}
