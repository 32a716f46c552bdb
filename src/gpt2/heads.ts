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
 * Adds the mean outputs of heads to their layers' `c_proj.bias`, so that removing them replaces each
 * by its mean instead of by nothing (mean ablation: Wang et al. 2022; as a pruned model's bias: An et
 * al. 2023, "FLAP"). For a head h with gate g, mean output m and rows W of the output projection,
 * `bias += g m W`. Sums are taken in f64.
 *
 * @param fold.heads Heads that are about to go; live ones.
 * @param fold.means `[L, NH, HS]`: each head's mean output before its gate.
 * @param fold.gates `[L, NH]`; 1 unless given.
 * @returns A copy; tensors that do not change are shared.
 * @throws {RangeError} If a head is not live, or its mean is not finite.
 */
export function foldMeans(
  { HS, C, NH }: Gpt2Config,
  weights: Weights,
  live: LiveHeads,
  { heads, means, gates }: {
    heads: readonly HeadPlace[];
    means: ArrayLike<number>;
    gates?: ArrayLike<number>;
  },
): Weights {
  const out: Weights = new Map(weights);
  live.forEach((inLayer, layer) => {
    const own = heads.filter((place) => place.layer === layer);
    if (own.length === 0) return;
    const name = `h.${layer}.attn.c_proj`;
    const projection = weights.get(`${name}.weight`)!;
    const bias = Float64Array.from(weights.get(`${name}.bias`)!);
    for (const { head } of own) {
      const at = inLayer.indexOf(head), all = layer * NH + head;
      if (at < 0) throw new RangeError(`Layer ${layer} head ${head} is not live`);
      for (let i = 0; i < HS; i++) {
        const mean = means[all * HS + i] * (gates ? gates[all] : 1);
        if (!Number.isFinite(mean)) {
          throw new RangeError(`The mean output of layer ${layer} head ${head} is ${mean}`);
        }
        const row = (at * HS + i) * C;
        for (let c = 0; c < C; c++) bias[c] += mean * projection[row + c];
      }
    }
    out.set(`${name}.bias`, Float32Array.from(bias));
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
