/**
 * Bigram and trigram models: what a neural model must beat to have learned anything beyond counting.
 *
 * @module
 */

/** Loss of n-gram models on held-out tokens, in nats per token. */
export interface NgramLosses {
  unigram: number;
  bigram: number;
  trigram: number;
}

/** Counts of what follows a context, and how often the context was seen. */
type Counts = { follows: Map<number, number>; seen: Map<number, number> };

function count(tokens: Uint32Array, order: number, V: number): Counts {
  const follows = new Map<number, number>(), seen = new Map<number, number>();
  for (let i = order - 1; i < tokens.length; i++) {
    let context = 0;
    for (let j = order - 1; j > 0; j--) context = context * V + tokens[i - j];
    const key = context * V + tokens[i];
    follows.set(key, (follows.get(key) ?? 0) + 1);
    seen.set(context, (seen.get(context) ?? 0) + 1);
  }
  return { follows, seen };
}

/**
 * Fits interpolated n-gram models (Jelinek and Mercer 1980): each order's relative frequency is
 * mixed with the order below, down to the uniform distribution, by weights that minimise the loss on
 * `tuning` text (expectation maximisation), and scores `held`.
 *
 * @param train Tokens that are counted. @param tuning Tokens that set the mixture. @param held Tokens scored.
 * @param V Vocabulary size; V^3 must be a safe integer.
 * @throws {RangeError} If a part has fewer than three tokens, or V is too large.
 */
export function ngramLosses(
  { train, tuning, held }: Record<"train" | "tuning" | "held", Uint32Array>,
  V: number,
): NgramLosses {
  if (!Number.isSafeInteger(V ** 3)) throw new RangeError(`vocabulary is too large to count: ${V}`);
  for (const part of [train, tuning, held]) {
    if (part.length < 3) throw new RangeError("an n-gram model needs at least three tokens a part");
  }
  const tables = [1, 2, 3].map((order) => count(train, order, V));
  /** Probabilities of token i by order: uniform, unigram, bigram, trigram. */
  const components = (tokens: Uint32Array, i: number): number[] => {
    const out = [1 / V];
    for (let order = 1; order <= 3; order++) {
      let context = 0;
      for (let j = order - 1; j > 0; j--) context = context * V + tokens[i - j];
      const { follows, seen } = tables[order - 1];
      const total = seen.get(context);
      out.push(total === undefined ? 0 : (follows.get(context * V + tokens[i]) ?? 0) / total);
    }
    return out;
  };
  const all = (tokens: Uint32Array) =>
    Array.from({ length: tokens.length - 2 }, (_, i) => components(tokens, i + 2));
  const tuned = all(tuning), scored = all(held);
  const loss = (order: number): number => {
    let weights = new Array(order + 1).fill(1 / (order + 1));
    for (let round = 0; round < 20; round++) {
      const sums = new Array(order + 1).fill(0);
      for (const p of tuned) {
        let total = 0;
        for (let k = 0; k <= order; k++) total += weights[k] * p[k];
        for (let k = 0; k <= order; k++) sums[k] += weights[k] * p[k] / total;
      }
      weights = sums.map((sum) => sum / tuned.length);
    }
    let nats = 0;
    for (const p of scored) {
      let total = 0;
      for (let k = 0; k <= order; k++) total += weights[k] * p[k];
      nats -= Math.log(total);
    }
    return nats / scored.length;
  };
  return { unigram: loss(1), bigram: loss(2), trigram: loss(3) };
}
