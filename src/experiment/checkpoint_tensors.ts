/**
 * The arms of a run as the tensors of a checkpoint, and back.
 *
 * @module
 */
import type { Weights } from "../gpt2/checkpoint.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import type { TensorToWrite } from "../gpt2/safetensors.ts";
import type { Arm as ArmName } from "../record.ts";
import type { ArmState } from "./arm.ts";

/** What a checkpoint's state says of an arm, besides its tensors. */
export interface ArmSummary {
  name: ArmName;
  live: LiveHeads;
  steps: number;
  measured: number;
  /** Pruned heads that were kept: `[layer, head, steps when it went]`. */
  stored?: [number, number, number][];
  /** Heads whose influence rises: `[layer, head, steps since it came]`. */
  growing?: [number, number, number][];
}

const PARTS = ["weights", "m", "v"] as const;

/** An arm's state without its tensors. */
export function armSummary(state: ArmState): ArmSummary {
  const { name, live, optimizer: { steps, measured }, stored = [], growing = [] } = state;
  return {
    name,
    live,
    steps,
    measured,
    stored: stored.map(({ layer, head, step }) => [layer, head, step]),
    growing,
  };
}

/** All tensors of some arms, named `arm/part/parameter` and `arm/stored/layer.head/part/parameter`. */
export function armTensors(states: readonly ArmState[]): TensorToWrite[] {
  const list = (prefix: string, values: Weights): TensorToWrite[] =>
    [...values].map(([parameter, data]) => (
      { name: `${prefix}/${parameter}`, shape: [data.length], data }
    ));
  return states.flatMap(({ name, weights, optimizer: { m, v, sums }, stored = [] }) => [
    ...list(`${name}/weights`, weights),
    ...list(`${name}/m`, m),
    ...list(`${name}/v`, v),
    ...list(`${name}/sums`, new Map([["heads", sums]])),
    ...stored.flatMap((head) =>
      PARTS.flatMap((part) => list(`${storedPrefix(name, head)}/${part}`, head[part]))
    ),
  ]);
}

/** The states that {@linkcode armTensors} took apart. */
export function armStates(
  summaries: readonly ArmSummary[],
  tensors: ReadonlyMap<string, Float32Array>,
): ArmState[] {
  return summaries.map(({ name, live, steps, measured, stored = [], growing = [] }) => {
    const sums = tensors.get(`${name}/sums/heads`);
    if (sums === undefined) throw new TypeError(`The checkpoint lacks arm ${name}`);
    const part = (of: string) => collect(tensors, `${name}/${of}`);
    return {
      name,
      live,
      weights: part("weights"),
      optimizer: { steps, measured, sums, m: part("m"), v: part("v") },
      stored: stored.map(([layer, head, step]) => {
        const prefix = storedPrefix(name, { layer, head });
        const own = (of: string) => collect(tensors, `${prefix}/${of}`);
        return { layer, head, step, weights: own("weights"), m: own("m"), v: own("v") };
      }),
      growing,
    };
  });
}

/** Of an arm's tensors the model alone: enough to evaluate it, not to train it further. */
export function weightTensors(tensors: readonly TensorToWrite[]): TensorToWrite[] {
  return tensors.filter(({ name }) => name.split("/")[1] === "weights");
}

/** The models that {@linkcode weightTensors} kept. */
export function weightStates(
  summaries: readonly ArmSummary[],
  tensors: ReadonlyMap<string, Float32Array>,
): Omit<ArmState, "optimizer">[] {
  return summaries.map(({ name, live, growing = [] }) => (
    { name, live, growing, weights: collect(tensors, `${name}/weights`) }
  ));
}

function collect(tensors: ReadonlyMap<string, Float32Array>, folder: string): Weights {
  const prefix = `${folder}/`;
  return new Map(
    [...tensors].filter(([key]) => key.startsWith(prefix))
      .map(([key, values]) => [key.slice(prefix.length), values]),
  );
}

function storedPrefix(arm: ArmName, { layer, head }: { layer: number; head: number }): string {
  return `${arm}/stored/${layer}.${head}`;
}
