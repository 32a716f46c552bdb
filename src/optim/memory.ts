/**
 * What training will need on the device, counted before anything is allocated.
 *
 * @module
 */
import {
  type ActivationSizes,
  activationSizes,
  type BindingLimits,
} from "../gpt2/activation_sizes.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import { type LiveHeads, type Parameter, parameterLayout } from "../gpt2/layout.ts";
import type { Gpu } from "../gpu/device.ts";
import { ALIGNMENT } from "../gpu/tensor.ts";
import { texelBytes, texelsFit } from "../gpu/texels.ts";
import { tablePieces } from "../kernels/embedding.ts";
import type { TrainerOptions } from "./trainer.ts";

/** Bytes under a name. */
export interface MemoryPart {
  /** What they hold. */
  what: string;
  /** How many. */
  bytes: number;
}

/** What a number of equal models in training need. */
export interface MemoryPlan {
  /** Models, each with gradients, moments and activations. */
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
export interface PlannedTraining
  extends Pick<TrainerOptions, "B" | "T" | "recompute" | "logitBytes"> {
  /** Models, each with its trainer. */
  models: number;
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
 * Plans training.
 *
 * @throws {RangeError} If B or T are not what the model or the adapter can compute, or a row of the
 * token table exceeds a binding.
 */
export function planTraining(
  gpu: Gpu,
  { config, live }: { config: Gpt2Config; live: LiveHeads },
  { models, ...options }: PlannedTraining,
): MemoryPlan {
  const sizes = activationSizes(config, live, { ...options, training: true }, gpu);
  const layout = parameterLayout(config, live);
  const weights = sum(layout.map(({ size }) => padded(size)));
  const { single, stream, streams } = sizes;
  const { stats, rowdot, gateGrads, sums, logits, state, losses, ...rest } = single;
  const residuals = (1 + streams.mid + streams.post) * padded(stream);
  const parts = [
    { what: "parameters", bytes: weights },
    { what: "gradients", bytes: weights },
    { what: "moments", bytes: 2 * weights },
    { what: "activations", bytes: sum(sizes.layers.map((l) => bytesOf({ ...l }))) + residuals },
    { what: "gradients of activations", bytes: bytesOf(sizes.gradients!) },
    { what: "logits and losses", bytes: bytesOf({ logits, state, losses }) },
    { what: "head statistics", bytes: bytesOf({ stats, rowdot, gateGrads, sums }) },
    { what: "batch and scratch", bytes: bytesOf(rest) },
  ];
  const shared = gpu.serial
    ? [{ what: "texture copies, at most", bytes: textureBytes(gpu, config, sizes, layout) }]
    : [];
  const buffer_limit = gpu.device.limits.maxBufferSize;
  const tensors = boundTensors(config, sizes, layout, gpu);
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
  { V, C }: Gpt2Config,
  { single, stream, layers, gradients }: ActivationSizes,
  layout: readonly Parameter[],
  { maxBinding }: BindingLimits,
): MemoryPart[] {
  const [{ V0, V1 }] = tablePieces(V, C, maxBinding);
  const bound = (name: string, size: number) =>
    ["wte.weight", "lm_head.weight"].includes(name) ? (V1 - V0) * C : size;
  const named = (record: Readonly<Record<string, number>>) => Object.entries(record);
  return [
    ...named(single),
    ...layers.flatMap((layer) => named({ ...layer })),
    ...named({ "residual stream": stream }),
    ...named(gradients!),
    ...layout.map(({ name, size }): [string, number] => [name, bound(name, size)]),
  ].map(([what, size]) => ({ what, bytes: Math.ceil(size / 4) * 16 }));
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
