/**
 * Pruned heads and the ways back: what is kept of a head that goes, and what one that comes (back)
 * begins with.
 *
 * @module
 */
import type { Weights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import { type HeadPlace, takeHead } from "../gpt2/heads.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import type { Random } from "../random.ts";

/** A head's own slices: weights and Adam's moments, by parameter, as `takeHead` gives them. */
export interface HeadParts {
  /** Its slices of the layer's weights. */
  weights: Weights;
  /** Adam's first moments of the same. */
  m: Weights;
  /** Adam's second moments of the same. */
  v: Weights;
}

/** A pruned head and all that it was. */
export interface StoredHead extends HeadPlace, HeadParts {
  /** Optimizer steps taken when it was pruned. */
  step: number;
}

/** Weights and moments of a whole model. */
export interface ModelParts extends HeadParts {
  /** The heads that they hold. */
  live: LiveHeads;
}

/** The ways in which a head can come (back). */
export const REGROWTHS = ["warm", "donor", "fresh"] as const;

/**
 * A way in which a head can come (back): `warm` with its own weights and moments, `donor` as a copy
 * of another head of its layer, made different by noise, `fresh` as newly initialised.
 */
export type Regrowth = typeof REGROWTHS[number];

/** Standard deviation of the noise on a donor's copy, as a share of the slice's root mean square. */
export const DONOR_NOISE = 0.1;

/** Copies one head out of a model. */
export function partsOf(
  config: Gpt2Config,
  { weights, m, v, live }: ModelParts,
  place: HeadPlace,
): HeadParts {
  const take = (values: Weights) => takeHead(config, values, live, place);
  return { weights: take(weights), m: take(m), v: take(v) };
}

/**
 * A copy of another head of the same layer, each weight moved by noise, so that the two can grow
 * apart. (Net2Net does the same to widened layers: Chen, Goodfellow and Shlens 2016.)
 *
 * @param donor A live head of the layer.
 */
export function donorParts(
  config: Gpt2Config,
  model: ModelParts,
  donor: HeadPlace,
  random: Random,
): HeadParts {
  const { weights } = partsOf(config, model, donor);
  for (const values of weights.values()) {
    const rms = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    values.forEach((x, i) => values[i] = x + DONOR_NOISE * rms * random.normal());
  }
  return { weights, ...coldMoments(config, model, donor.layer) };
}

/** Weights as a new model's: normal, projections into the residual stream scaled by 1/sqrt(2L). */
export function freshParts(
  config: Gpt2Config,
  model: ModelParts,
  layer: number,
  random: Random,
): HeadParts {
  const head = model.live[layer][0];
  const { weights } = partsOf(config, model, { layer, head });
  for (const [name, values] of weights) {
    const std = name.endsWith("bias")
      ? 0
      : config.initializerRange / (name.includes("c_proj") ? Math.sqrt(2 * config.L) : 1);
    values.forEach((_, i) => values[i] = std * random.normal());
  }
  return { weights, ...coldMoments(config, model, layer) };
}

/**
 * Moments for weights that have none: first moments 0, second moments the average of the layer's
 * live heads. Adam corrects for a cold start at step 1 alone; with both at 0 the first updates of
 * weights that join later would be three times as large as the learning rate allows.
 */
function coldMoments(
  config: Gpt2Config,
  model: ModelParts,
  layer: number,
): Pick<HeadParts, "m" | "v"> {
  const heads = model.live[layer];
  const all = heads.map((head) => takeHead(config, model.v, model.live, { layer, head }));
  const m: Weights = new Map(), v: Weights = new Map();
  for (const [name, values] of all[0]) {
    m.set(name, new Float32Array(values.length));
    v.set(
      name,
      values.map((_, i) => all.reduce((s, own) => s + own.get(name)![i], 0) / all.length),
    );
  }
  return { m, v };
}
