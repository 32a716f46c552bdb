/**
 * What pruning does to host copies of weights: dropping heads, masking them, folding gates in.
 *
 * @module
 */
import { compactWeights, padWeights, type Weights } from "./checkpoint.ts";
import type { Gpt2Config } from "./config.ts";
import { copyHead, type LiveHeads, parameterLayout } from "./layout.ts";

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
  const out = padWeights(config, live, weights);
  for (const { name, shape, heads, layer } of parameterLayout(config)) {
    if (heads === undefined || layer === undefined) continue;
    const values = Float32Array.from(out.get(name)!);
    const rows = shape.length === 2 ? shape[0] : 1;
    for (let h = 0; h < config.NH; h++) {
      if (live[layer].includes(h)) continue;
      copyHead(
        heads,
        { rows, HS: config.HS, C: config.C },
        { values: other.get(name)!, heads: config.NH, at: h },
        { values, heads: config.NH, at: h },
      );
    }
    out.set(name, values);
  }
  return out;
}
