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
}

/** An arm's state without its tensors. */
export function armSummary({ name, live, optimizer: { steps, measured } }: ArmState): ArmSummary {
  return { name, live, steps, measured };
}

/** All tensors of some arms, named `arm/part/parameter`. */
export function armTensors(states: readonly ArmState[]): TensorToWrite[] {
  return states.flatMap(({ name, weights, optimizer: { m, v, sums } }) => {
    const list = (part: string, values: Weights): TensorToWrite[] =>
      [...values].map(([parameter, data]) => (
        { name: `${name}/${part}/${parameter}`, shape: [data.length], data }
      ));
    return [
      ...list("weights", weights),
      ...list("m", m),
      ...list("v", v),
      ...list("sums", new Map([["heads", sums]])),
    ];
  });
}

/** The states that {@linkcode armTensors} took apart. */
export function armStates(
  summaries: readonly ArmSummary[],
  tensors: ReadonlyMap<string, Float32Array>,
): ArmState[] {
  return summaries.map(({ name, live, steps, measured }) => {
    const collect = (part: string): Weights => {
      const prefix = `${name}/${part}/`;
      return new Map(
        [...tensors].filter(([key]) => key.startsWith(prefix))
          .map(([key, values]) => [key.slice(prefix.length), values]),
      );
    };
    const sums = tensors.get(`${name}/sums/heads`);
    if (sums === undefined) throw new TypeError(`The checkpoint lacks arm ${name}`);
    const optimizer = { steps, measured, sums, m: collect("m"), v: collect("v") };
    return { name, live, weights: collect("weights"), optimizer };
  });
}
