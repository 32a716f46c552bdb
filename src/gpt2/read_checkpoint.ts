/**
 * Finds every parameter of a model among the tensors of one or several files.
 *
 * @module
 */
import { PREFIX, some, type Weights } from "./checkpoint.ts";
import type { Gpt2Config } from "./config.ts";
import { type LiveHeads, parameterLayout } from "./layout.ts";

/** A tensor that a checkpoint offers. */
export interface AvailableTensor {
  /** Its name in the checkpoint, with or without `transformer.`. */
  readonly name: string;
  /** Its dimensions as stored. */
  readonly shape: readonly number[];
  /** The file it lies in, for errors. */
  readonly where?: string;
  /** Reads its elements, row-major. */
  read(): Promise<Float32Array>;
}

/** How a checkpoint is read. */
export interface ReadCheckpointOptions {
  /** The heads that the tensors hold; all unless given. */
  readonly live?: LiveHeads | undefined;
  /** Which files say what shapes there must be; `config.json asks` unless given. */
  readonly asks?: string | undefined;
  /** Told in one line which tensors are left out. */
  readonly onMessage?: ((line: string) => void) | undefined;
}

/** What DataParallel and torch.compile put before the names of a module that they wrap. */
const WRAPPED = /^(?:module\.|_orig_mod\.)+/;

/** Causal masks that old versions of transformers saved beside the weights. */
const MASK = /^h\.\d+\.attn\.(bias|masked_bias)$/;

/** Names of the transformer and of its language-model head; any other belongs to a further head. */
const OWN = /^(h|wte|wpe|ln_f|lm_head)\./;

/**
 * Finds every parameter of a model among the tensors of a checkpoint.
 *
 * Every tensor is accounted for before the first is read. The shared table of a tied model may lie under
 * `wte.weight` or `lm_head.weight`, or under both if they are equal bit for bit. Heads for other tasks
 * (`v_head`, `score`, `multiple_choice_head`, ...) are left out.
 *
 * @param config The model's sizes.
 * @param tensors What all files together offer.
 * @throws {TypeError} If a parameter is missing, comes twice, or a name of the transformer is unknown.
 * @throws {RangeError} If a shape does not fit the configuration, the head of a tied model differs, or a
 * value is not finite.
 */
export async function readCheckpoint(
  config: Gpt2Config,
  tensors: Iterable<AvailableTensor>,
  options: ReadCheckpointOptions = {},
): Promise<Weights> {
  const found = byParameter(tensors);
  const layout = parameterLayout(config, options.live);
  const head = config.tied ? found.get("lm_head.weight") : undefined;
  if (head !== undefined && !found.has("wte.weight")) found.set("wte.weight", head);
  const missing = layout.filter(({ name }) => !found.has(name)).map(({ name }) => name);
  if (missing.length > 0) {
    throw new TypeError(
      `the checkpoint lacks ${missing.length} of ${layout.length} parameters: ${
        some(missing)
      }; it must match config.json (n_layer ${config.L}, tie_word_embeddings ${config.tied})`,
    );
  }
  const known = new Map(layout.map((parameter) => [parameter.name, parameter.shape]));
  if (config.tied) known.set("lm_head.weight", known.get("wte.weight")!);
  checkUnknown(found, known, config.L, options);
  checkShapes(found, known, options.asks);

  const weights: Weights = new Map();
  for (const { name } of layout) {
    const tensor = found.get(name)!, values = await tensor.read();
    checkFinite(tensor, values);
    weights.set(name, values);
  }
  if (head !== undefined && head !== found.get("wte.weight")) {
    const at = firstDifference(weights.get("wte.weight")!, await head.read());
    if (at >= 0) {
      throw new RangeError(
        `${label(head)} differs from wte.weight at element ${at}, but config.json says ` +
          `tie_word_embeddings: set it to false, or remove the tensor`,
      );
    }
  }
  return weights;
}

/** The tensors by the names of `parameterLayout`, without those that hold no parameter. */
function byParameter(tensors: Iterable<AvailableTensor>): Map<string, AvailableTensor> {
  const found = new Map<string, AvailableTensor>();
  for (const tensor of tensors) {
    const own = tensor.name.replace(WRAPPED, "");
    const name = own.startsWith(PREFIX) ? own.slice(PREFIX.length) : own;
    if (MASK.test(name)) continue;
    if (found.has(name)) {
      throw new TypeError(
        `${label(tensor)}: parameter "${name}" is given twice, also in ${label(found.get(name)!)}`,
      );
    }
    found.set(name, tensor);
  }
  return found;
}

type Shapes = ReadonlyMap<string, readonly number[]>;

/** Leaves further heads out, and refuses what the transformer itself does not have. */
function checkUnknown(
  found: Map<string, AvailableTensor>,
  known: Shapes,
  layers: number,
  { onMessage }: ReadCheckpointOptions,
): void {
  const unknown = [...found].filter(([name]) => !known.has(name));
  const further = unknown.filter(([name, tensor]) => !OWN.test(name) && !isInside(tensor));
  const wrong = unknown.filter((tensor) => !further.includes(tensor));
  if (wrong.length > 0) {
    throw new TypeError(
      `the checkpoint holds tensors that a GPT-2 of ${layers} layers does not have: ${
        some(wrong.map(([, tensor]) => label(tensor)))
      }`,
    );
  }
  if (further.length === 0) return;
  for (const [name] of further) found.delete(name);
  onMessage?.(
    `left out, because a language model does not use them: ${some(further.map(([name]) => name))}`,
  );
}

/** Whether a tensor's name puts it into the transformer. */
function isInside({ name }: AvailableTensor): boolean {
  return name.replace(WRAPPED, "").startsWith(PREFIX);
}

function checkShapes(
  found: ReadonlyMap<string, AvailableTensor>,
  known: Shapes,
  asks = "config.json asks",
): void {
  for (const [name, tensor] of found) {
    const expected = known.get(name)!;
    if (String(expected) !== String(tensor.shape)) {
      throw new RangeError(
        `${label(tensor)} has shape [${tensor.shape}]: ${asks} for [${expected}]`,
      );
    }
  }
}

function checkFinite(tensor: AvailableTensor, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    if (values[i] - values[i] === 0) continue;
    throw new RangeError(
      `${label(tensor)} is not finite: element ${i} is ${
        values[i]
      }; the weights are damaged, or of a ` +
        "training that diverged: take an earlier checkpoint, or fetch the file again",
    );
  }
}

function label({ name, where }: AvailableTensor): string {
  return where === undefined ? `tensor "${name}"` : `${where}: tensor "${name}"`;
}

/** The first element whose bits differ, -1 if none do. */
function firstDifference(a: Float32Array, b: Float32Array): number {
  const x = new Uint32Array(a.buffer, a.byteOffset, a.length);
  const y = new Uint32Array(b.buffer, b.byteOffset, b.length);
  return x.findIndex((bits, i) => bits !== y[i]);
}
