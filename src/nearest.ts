/**
 * What somebody meant who mistyped a word.
 *
 * @module
 */
import { distance } from "./deps.ts";

/** Edits that a mistyped word may need, as a share of its letters. */
const SHARE = 0.34;

/** Words of fewer letters are near to many others: nothing is guessed for them. */
const SHORT = 4;

/**
 * The candidate that is nearest to a word, `undefined` if none is near. Capitals, dashes and
 * underscores do not count; the beginning of a word is near to it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { nearest } from "./nearest.ts";
 *
 * assert.equal(nearest("magnitud", ["magnitude", "random"]), "magnitude");
 * assert.equal(nearest("x", ["magnitude", "random"]), undefined);
 * ```
 */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const asked = plain(word);
  let best: string | undefined, least = Infinity;
  for (const candidate of candidates) {
    const known = plain(candidate);
    const isBeginning = asked.length >= 3 && known.startsWith(asked);
    const edits = isBeginning
      ? 0.5
      : letters(asked) === letters(known)
      ? 1
      : distance(asked, known);
    const most = asked.length < SHORT
      ? 0
      : Math.floor(SHARE * Math.max(asked.length, known.length));
    if (edits > Math.max(most, 0.5) || edits >= least) continue;
    best = candidate;
    least = edits;
  }
  return best;
}

/** `; did you mean magnitude?`, or nothing if no candidate is near. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const meant = nearest(word, candidates);
  return meant === undefined || meant === word ? "" : `; did you mean ${meant}?`;
}

/** The letters of a word in a fixed order: two that changed places do not matter. */
function letters(word: string): string {
  return [...word].sort().join("");
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll(/[-_ ]/g, "");
}
