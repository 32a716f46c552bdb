/**
 * What pruning does to host copies of weights: dropping heads, masking them, folding gates in.
 *
 * @module
 */
import { compactWeights, padWeights, type Weights } from "./checkpoint.ts";
import type { Gpt2Config } from "./config.ts";
import { allHeads, copyHead, type LiveHeads, parameterLayout } from "./layout.ts";

/**
 * Re-shapes weights (or moments) to another set of heads: those that leave are dropped, those that
 * come are zero.
 */
export function reshapeHeads(
  config: Gpt2Config,
  weights: Weights,
  from: LiveHeads,
  to: LiveHeads,
): Weights {
  return compactWeights(config, to, padWeights(config, from, weights));
}

/** A head by its layer and its number in the full model's layer. */
export interface HeadPlace {
  /** Its layer. */
  readonly layer: number;
  /** Its number in the full model's layer. */
  readonly head: number;
}

/** The heads that stay when some are removed. */
export function without(live: LiveHeads, heads: readonly HeadPlace[]): number[][] {
  return live.map((inLayer, layer) =>
    inLayer.filter((h) => !heads.some((gone) => gone.layer === layer && gone.head === h))
  );
}

/**
 * The heads that are there when some come (back).
 *
 * @throws {RangeError} If one is there already, or named twice.
 */
export function including(live: LiveHeads, heads: readonly HeadPlace[]): number[][] {
  const out = live.map((inLayer) => [...inLayer]);
  for (const { layer, head } of heads) {
    if (out[layer].includes(head)) {
      throw new RangeError(`Layer ${layer} head ${head} is live already`);
    }
    out[layer].push(head);
  }
  return out.map((inLayer) => inLayer.sort((a, b) => a - b));
}

/**
 * Copies what belongs to one head alone: its slices of the layer's parameters, by their names.
 *
 * @param weights Values (or moments) in the shapes of `parameterLayout(config, live)`.
 */
export function takeHead(
  config: Gpt2Config,
  weights: Weights,
  live: LiveHeads,
  { layer, head }: HeadPlace,
): Weights {
  const one = live.map((_, l) => l === layer ? [head] : []);
  const out: Weights = new Map();
  for (const { name, size, shape, heads, layer: own } of parameterLayout(config, one)) {
    if (heads === undefined || own !== layer) continue;
    const values = new Float32Array(size);
    copyHead(
      heads,
      { rows: shape.length === 1 ? 1 : shape[0], HS: config.HS, C: config.C },
      { values: weights.get(name)!, heads: live[layer].length, at: live[layer].indexOf(head) },
      { values, heads: 1, at: 0 },
    );
    out.set(name, values);
  }
  return out;
}

/** Writes what {@linkcode takeHead} copied into weights that hold the head; changes them in place. */
export function putHead(
  config: Gpt2Config,
  weights: Weights,
  live: LiveHeads,
  { layer, head }: HeadPlace,
  own: Weights,
): void {
  for (const { name, shape, heads, layer: of } of parameterLayout(config, live)) {
    if (heads === undefined || of !== layer) continue;
    copyHead(
      heads,
      { rows: shape.length === 1 ? 1 : shape[0], HS: config.HS, C: config.C },
      { values: own.get(name)!, heads: 1, at: 0 },
      { values: weights.get(name)!, heads: live[layer].length, at: live[layer].indexOf(head) },
    );
  }
}

/**
 * Scales each live head's rows of the output projection, as a gate on the head's output would:
 * multiplying by the gates makes a model without gates that computes the same.
 *
 * @param factors L * NH numbers.
 * @returns A copy; tensors that do not change are shared.
 */
export function scaleHeads(
  config: Gpt2Config,
  weights: Weights,
  live: LiveHeads,
  factors: ArrayLike<number>,
): Weights {
  const { HS, C, NH } = config;
  const out: Weights = new Map(weights);
  live.forEach((heads, l) => {
    const name = `h.${l}.attn.c_proj.weight`;
    const values = Float32Array.from(weights.get(name)!);
    heads.forEach((h, i) => {
      const block = values.subarray(i * HS * C, (i + 1) * HS * C);
      for (let j = 0; j < block.length; j++) block[j] *= factors[l * NH + h];
    });
    out.set(name, values);
  });
  return out;
}

/**
 * Full-shape weights of a pruned model in which the pruned heads still have weights, taken from
 * `other`: only gates of 0 keep them silent. It is what "masked" means.
 */
export function maskedWeights(
  config: Gpt2Config,
  weights: Weights,
  live: LiveHeads,
  other: Weights,
): Weights {
  const out = padWeights(config, live, weights), all = allHeads(config);
  live.forEach((heads, layer) => {
    for (const head of all[layer]) {
      if (heads.includes(head)) continue;
      const place = { layer, head };
      putHead(config, out, all, place, takeHead(config, other, all, place));
    }
  });
  return out;
}
