/**
 * What models will need on the device, in training or not, counted before anything is allocated.
 *
 * @module
 */
import { type ActivationSizes, activationSizes } from "../gpt2/activation_sizes.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import { type LiveHeads, type Parameter, parameterLayout } from "../gpt2/layout.ts";
import type { Gpu } from "../gpu/device.ts";
import { ALIGNMENT } from "../gpu/tensor.ts";
import { texelBytes, texelsFit } from "../gpu/texels.ts";
import { tablePieces } from "../kernels/embedding.ts";
import { scheduleOf } from "../kernels/matmul.ts";
import type { TrainerOptions } from "./trainer.ts";

/** Bytes under a name. */
export interface MemoryPart {
  /** What they hold. */
  what: string;
  /** How many. */
  bytes: number;
}

/** What a number of equal models need. */
export interface MemoryPlan {
  /** Models, each with activations and, in training, gradients and moments. */
  models: number;
  /** Sequences that are computed at once. */
  B: number;
  /** Tokens in a sequence. */
  T: number;
  /** Numbers in the weights of one model. */
  parameters: number;
  /** Bytes of one model, by use. */
  parts: MemoryPart[];
  /** Bytes that all models share, at most. */
  shared: MemoryPart[];
  /** Bytes of all models, and what they share. */
  bytes: number;
  /** Pieces that the vocabulary is cut into: one piece's logits exist at a time. */
  vocabulary_pieces: number;
  /** The tensor of which most bytes are bound at once. */
  largest_binding: MemoryPart;
  /** Most bytes that the adapter binds. */
  binding_limit: number;
  /** The largest buffer, where parameters share buffers. */
  largest_buffer: MemoryPart;
  /** Most bytes that a buffer of the adapter holds. */
  buffer_limit: number;
}

/** How much of what is to be allocated. */
export interface PlannedModels
  extends Pick<TrainerOptions, "B" | "T" | "recompute" | "logitBytes"> {
  /** How many, each with activations of its own. */
  models: number;
  /** Whether each has a trainer; true unless given. Without, it computes forward passes alone. */
  training?: boolean;
  /**
   * Tokens to write after the T of each sequence: keys and values of all are kept then. 0, and none
   * are kept, unless given.
   */
  writes?: number;
}

/** Bytes of a tensor in an arena. */
function padded(size: number): number {
  return Math.max(1, Math.ceil(size * 4 / ALIGNMENT)) * ALIGNMENT;
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const bytesOf = (sizes: Readonly<Record<string, number>>) => sum(Object.values(sizes).map(padded));

function largest(parts: readonly MemoryPart[]): MemoryPart {
  return parts.reduce((most, part) => part.bytes > most.bytes ? part : most);
}

/**
 * Plans training, or forward passes alone.
 *
 * @throws {RangeError} If B or T are not what the model or the adapter can compute, or a row of the
 * token table exceeds a binding.
 */
export function planModels(
  gpu: Gpu,
  { config, live }: { config: Gpt2Config; live: LiveHeads },
  { models, training = true, writes = 0, ...options }: PlannedModels,
): MemoryPlan {
  const sizes = activationSizes(config, live, { ...options, training }, gpu);
  const layout = parameterLayout(config, live);
  const places = writes > 0 ? options.T + writes : 0;
  const caches = live.map(({ length }) => 2 * options.B * places * length * config.HS);
  const weights = sum(layout.map(({ size }) => padded(size)));
  const { single, stream, streams } = sizes;
  const { stats, rowdot, gateGrads, sums, logits, state, losses, ...rest } = single;
  const residuals = (1 + streams.mid + streams.post) * padded(stream);
  const parts = [
    { what: "parameters", bytes: weights },
    ...training
      ? [{ what: "gradients", bytes: weights }, { what: "moments", bytes: 2 * weights }]
      : [],
    { what: "activations", bytes: sum(sizes.layers.map((l) => bytesOf({ ...l }))) + residuals },
    ...sizes.gradients
      ? [{ what: "gradients of activations", bytes: bytesOf(sizes.gradients) }]
      : [],
    ...places > 0 ? [{ what: "keys and values", bytes: sum(caches.map(padded)) }] : [],
    { what: "logits and losses", bytes: bytesOf({ logits, state, losses }) },
    { what: "head statistics", bytes: bytesOf({ stats, rowdot, gateGrads, sums }) },
    { what: "batch and scratch", bytes: bytesOf(rest) },
  ];
  const shared = gpu.serial
    ? [{ what: "texture copies, at most", bytes: textureBytes(gpu, config, sizes, layout) }]
    : [];
  const buffer_limit = gpu.device.limits.maxBufferSize;
  const cache = { what: "cache of keys and values", bytes: 4 * Math.max(...caches) };
  const tensors = [...boundTensors(gpu, config, sizes, layout), cache];
  return {
    models,
    B: options.B,
    T: options.T,
    parameters: sum(layout.map(({ size }) => size)),
    parts,
    shared,
    bytes: models * sum(parts.map(({ bytes }) => bytes)) + sum(shared.map(({ bytes }) => bytes)),
    vocabulary_pieces: sizes.pieces.length,
    largest_binding: largest(tensors),
    binding_limit: gpu.maxBinding,
    // parameters share buffers up to the limit: a single one is what may exceed it
    largest_buffer: largest([
      ...tensors,
      ...layout.map(({ name, size }) => ({ what: name, bytes: padded(size) })),
    ]),
    buffer_limit,
  };
}

/** What kernels bind, and how many bytes of it at once: whole tensors, and pieces of token tables. */
function boundTensors(
  gpu: Gpu,
  { V, C }: Gpt2Config,
  { single, stream, layers, gradients }: ActivationSizes,
  layout: readonly Parameter[],
): MemoryPart[] {
  const [{ V0, V1 }] = tablePieces(V, C, gpu.maxBinding);
  // forward passes read matrices as texels where they can; training binds their gradients
  const unbound = (name: string, size: number) =>
    gradients === undefined && scheduleOf(gpu).entry === "registers" &&
    isMatrix(name) && texelsFit(gpu, size);
  const bound = (name: string, size: number) =>
    ["wte.weight", "lm_head.weight"].includes(name) ? (V1 - V0) * C : size;
  const named = (record: Readonly<Record<string, number>>) => Object.entries(record);
  return [
    ...named(single),
    ...layers.flatMap((layer) => named({ ...layer })),
    ...named({ "residual stream": stream }),
    ...named(gradients ?? {}),
    ...layout.filter(({ name, size }) => !unbound(name, size))
      .map(({ name, size }): [string, number] => [name, bound(name, size)]),
  ].map(([what, size]) => ({ what, bytes: Math.ceil(size / 4) * 16 }));
}

/** Whether a parameter is the matrix of a linear layer. */
function isMatrix(name: string): boolean {
  return /\.c_(attn|proj|fc)\.weight$/.test(name);
}

/** Textures that operands of products are copied into: three at once at most. */
function textureBytes(
  gpu: Gpu,
  { C }: Gpt2Config,
  { single, layers, pieces }: ActivationSizes,
  layout: readonly Parameter[],
): number {
  const tables = new Set(["wte.weight", "lm_head.weight"]);
  const operands = [
    single.logits,
    Math.max(...pieces.map(({ V0, V1 }) => V1 - V0)) * C,
    ...layers.flatMap(({ qkv, fc }) => [qkv, fc]),
    ...layout.filter(({ name }) => !tables.has(name)).map(({ size }) => size),
  ].filter((size) => texelsFit(gpu, size));
  return 3 * texelBytes(Math.max(0, ...operands));
}
