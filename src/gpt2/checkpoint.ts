/**
 * Weights by the table of parameters: drawing fresh ones, fitting pruned models into full shapes and
 * back, and naming them as checkpoints do.
 *
 * @module
 */
import { Random } from "../random.ts";
import type { Gpt2Config } from "./config.ts";
import { allHeads, copyHead, type LiveHeads, type Parameter, parameterLayout } from "./layout.ts";
import type { TensorToWrite } from "./safetensors.ts";

/** Values by the names of `parameterLayout`, row-major, in its shapes. */
export type Weights = Map<string, Float32Array>;

/** What transformers puts before every name but `lm_head.weight`. */
export const PREFIX = "transformer.";

/**
 * Draws a fresh model as GPT-2 does (Radford et al. 2019): normal with standard deviation
 * `initializer_range`, the projections into the residual stream scaled by 1/sqrt(2L), biases 0,
 * norms 1. Every parameter has a random stream of its own.
 *
 * @param seed A whole number from 0 to 2^53 - 1.
 * @throws {RangeError} If the seed is not such a number.
 */
export function initWeights(config: Gpt2Config, seed: number): Weights {
  const std = config.initializerRange;
  return new Map(
    parameterLayout(config).map(({ name, size, init }, stream) => {
      const values = new Float32Array(size);
      if (init === "ones") values.fill(1);
      if (init === "normal" || init === "residual") {
        const random = new Random(seed, stream);
        const scale = init === "residual" ? std / Math.sqrt(2 * config.L) : std;
        for (let i = 0; i < size; i++) values[i] = scale * random.normal();
      }
      return [name, values];
    }),
  );
}

/**
 * Checks a list of live heads against a model.
 *
 * @param where What to call the list in an error.
 * @throws {RangeError} If it has not one list a layer, or a list is not ascending head numbers.
 */
export function checkLiveHeads(config: Gpt2Config, live: LiveHeads, where = "live_heads"): void {
  if (!Array.isArray(live) || live.length !== config.L) {
    throw new RangeError(
      `${where} must have one list for each of ${config.L} layers: ${JSON.stringify(live)}`,
    );
  }
  live.forEach((heads, layer) => {
    const good = Array.isArray(heads) && heads.length > 0 &&
      heads.every((h, i) =>
        Number.isInteger(h) && h >= 0 && h < config.NH && (i === 0 || heads[i - 1] < h)
      );
    if (!good) {
      throw new RangeError(
        `${where} of layer ${layer} must be ascending head numbers below ${config.NH}, ` +
          `one at least: ${JSON.stringify(heads)}`,
      );
    }
  });
}

/**
 * Gives a pruned model the full model's shapes; the slices of missing heads are zero, so that
 * they contribute nothing. Parameters that no head owns are shared, not copied.
 *
 * @param live The heads that `weights` holds.
 * @param weights Values in the shapes of `parameterLayout(config, live)`.
 * @throws {RangeError} If `live` or a length does not fit.
 * @throws {TypeError} If a parameter is missing or unknown.
 */
export function padWeights(config: Gpt2Config, live: LiveHeads, weights: Weights): Weights {
  return refit(config, { from: live, to: allHeads(config) }, weights);
}

/**
 * Cuts a full-shape model down to its live heads, whatever the slices of the others hold.
 * Parameters that no head owns are shared, not copied.
 *
 * @param live The heads to keep.
 * @param weights Values in the shapes of `parameterLayout(config)`.
 * @returns Values in the shapes of `parameterLayout(config, live)`.
 * @throws As {@linkcode padWeights} does.
 */
export function compactWeights(config: Gpt2Config, live: LiveHeads, weights: Weights): Weights {
  return refit(config, { from: allHeads(config), to: live }, weights);
}

function refit(
  config: Gpt2Config,
  { from, to }: { from: LiveHeads; to: LiveHeads },
  weights: Weights,
): Weights {
  checkLiveHeads(config, from);
  checkLiveHeads(config, to);
  const { HS, C } = config;
  const target = parameterLayout(config, to);
  checkWeights(parameterLayout(config, from), weights);
  return new Map(target.map(({ name, size, shape, layer, heads: axis }) => {
    const source = weights.get(name)!;
    if (axis === undefined || layer === undefined) return [name, source];
    const rows = shape.length === 1 ? 1 : shape[0];
    const out = new Float32Array(size);
    to[layer].forEach((head, at) => {
      const place = from[layer].indexOf(head);
      if (place < 0) return; // stays zero
      copyHead(
        axis,
        { rows, HS, C },
        { values: source, heads: from[layer].length, at: place },
        { values: out, heads: to[layer].length, at },
      );
    });
    return [name, out];
  }));
}

/** The first few of a list, in words. */
export function some(list: string[]): string {
  return list.slice(0, 4).join(", ") + (list.length > 4 ? `, and ${list.length - 4} more` : "");
}

function checkWeights(layout: readonly Parameter[], weights: Weights): void {
  for (const { name, size, shape } of layout) {
    const values = weights.get(name);
    if (values === undefined) throw new TypeError(`weights lack "${name}"`);
    if (values.length !== size) {
      throw new RangeError(
        `weights "${name}" have ${values.length} elements: shape [${shape}] asks for ${size}`,
      );
    }
  }
  if (weights.size !== layout.length) {
    const names = new Set(layout.map(({ name }) => name));
    const extra = [...weights.keys()].filter((name) => !names.has(name));
    throw new TypeError(`weights hold parameters that the model does not have: ${some(extra)}`);
  }
}

/**
 * Lists a model's tensors as `GPT2LMHeadModel` of transformers names them: `transformer.` before
 * every name but `lm_head.weight`, which only an untied model has.
 *
 * @param live The heads that `weights` holds.
 * @param weights Values in the shapes of `parameterLayout(config, live)`.
 * @param form `padded` (full shapes, as transformers has them) or `compact` (as `weights` has them).
 * @throws As {@linkcode padWeights} does.
 */
export function toCheckpoint(
  config: Gpt2Config,
  live: LiveHeads,
  weights: Weights,
  form: "padded" | "compact" = "padded",
): TensorToWrite[] {
  const to = form === "compact" ? live : allHeads(config);
  const written = refit(config, { from: live, to }, weights);
  return parameterLayout(config, to).map(({ name, shape }) => ({
    name: name === "lm_head.weight" ? name : PREFIX + name,
    shape,
    data: written.get(name)!,
  }));
}
