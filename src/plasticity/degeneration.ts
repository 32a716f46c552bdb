/**
 * Whether generated text has fallen apart: a score of one text alone, and a score against what the
 * baseline wrote from the same prompt and seed.
 *
 * Both are deterministic, and neither touches perplexity: the three are reported side by side and
 * never multiplied into one another. Both follow Sentinel-AI's, which added random jitter to the
 * first and multiplied perplexity by penalties from each; other departures are said where they are.
 *
 * A word is a run of letters, marks and digits of any script, with apostrophes inside it, compared
 * without case. Give what the model wrote, without the prompt: a prompt is good prose and would
 * flatter it. The limits are for English; a language without blanks between words is not served.
 *
 * @module
 */

/** The score of a text that says nothing but one word, or nothing at all. */
export const WORST_DEGENERATION = 5;

/** A text with a higher score than this has degenerated: about a passage said twice over. */
const DETECTED_ABOVE = 1;

/** Points of each part where its fault is all there is. */
const POINTS = { repetition: 2, diversity: 1, phrases: 4, runs: 3, sentences: 1, symbols: 5 };

/**
 * Words that each of these may count without a point: `words + share * all words`; the first is for
 * short texts, where one word is a large share. Chosen by slices of 20, 35, 50, 100 and 200 words
 * of Moby Dick, one begun every 7 words (154,000): 99 in 100 of each length score below 0.13, and
 * the highest is 0.87, for a litany.
 */
const ALLOWED = {
  repetition: { words: 3, share: 0.1 },
  phrases: { words: 3, share: 0.2 },
  runs: { words: 2, share: 0.05 },
};

const PHRASE_WORDS = 3;
const LEAST_UNIQUE = 0.4; // the original's diversity_threshold
const UNIQUE_WINDOW = 50;
const LONGEST_SENTENCE = 120;
const MOST_SYMBOLS = 0.25;
/** The longest word in letters: more are a stuck key or words run together. */
const LONGEST_WORD = 30;

const WORD = /[\p{L}\p{M}\p{N}]+(?:'[\p{L}\p{M}\p{N}]+)*/gu;
const SENTENCE_END = /[.!?…。！？]+/u;

/** What the score is made of: each part's points with the numbers behind them. */
export interface DegenerationParts {
  /** The word that is there most: 0 to 2 points. The original's first term. */
  repetition: {
    points: number;
    /** The most frequent word in lower case, the first of equals; empty if there is no word. */
    word: string;
    /** How often it is there. */
    count: number;
    /** `count` over all words. */
    share: number;
  };
  /** How many words are different: 0 to 1 point. The original's second term. */
  diversity: {
    points: number;
    /**
     * Different words over words: mean of all windows of 50 words, or of the whole shorter text; 1
     * without a word, as none comes twice.
     */
    unique_ratio: number;
  };
  /** Phrases of three words or more that come again: 0 to 4 points. */
  phrases: {
    points: number;
    /** Words that are part of three in a row which were there before, over all words. */
    copied_share: number;
    /** The three words most often in a row, the first of equals; empty if there are not three. */
    phrase: string;
    /** How often they are there. */
    count: number;
  };
  /** The same word again and again in a row: 0 to 3 points. */
  runs: {
    points: number;
    /** Words that are the same as the word before them, over all words. */
    share: number;
    /** Words in the longest run of one word; 1 if none comes twice in a row. */
    longest: number;
  };
  /** Whether the text comes in sentences: 0 to 1 point. */
  sentences: {
    points: number;
    /** Ends of sentences: runs of `. ! ? …`, and those of abbreviations with them. */
    ends: number;
    /** Words of the longest stretch without an end. */
    longest: number;
    /** Words past the 120th of their sentence, over all words. */
    overlong_share: number;
  };
  /** How much of the text is not words: 0 to 5 points. */
  symbols: {
    points: number;
    /** Characters in no word over all characters, blanks left out of both; 1 for an empty text. */
    share: number;
  };
}

/** How far a text has degenerated, and why. */
export interface Degeneration {
  /** 0 (prose) to {@linkcode WORST_DEGENERATION}. */
  score: number;
  /** Whether the score is more than 1. */
  detected: boolean;
  /** Words of the text. */
  words: number;
  /** What the score is made of. */
  parts: DegenerationParts;
}

/**
 * Scores how far a text has degenerated: the sum of its parts' points, at most 5. The parts
 * overlap, as one word over and over is a fault by most of them.
 *
 * With `past(count, k, s) = max(0, count - f) / (n - f)`, `f = k + s * n`, n = all words:
 * - repetition: `2 * past(count of the most frequent word, 3, 0.1)`. The original's
 *   `0.5 * (count - 3) / 5` has no length in it: 200 words of good prose hold 13 "the" and got 1.
 * - diversity: `(0.4 - unique_ratio) / 0.4` where that is positive: the original's at twice its
 *   weight. The ratio falls with length in any text, so it is the mean of windows of 50 words
 *   (Covington and McFall 2010, "Cutting the Gordian Knot"), not that of the whole.
 * - phrases: `4 * past(copied words, 3, 0.2)`. Saying the same again is the usual way in which
 *   models fail (Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration"), but the
 *   original looks at single words: 12 different ones said 4 times over got 0.29. Here they score
 *   3.0; said 3 times 2.3, twice 1.0. The original's second version counted recurring runs of 3 to
 *   7 characters, which English is full of.
 * - runs: `3 * past(words that repeat the word before, 2, 0.05)`. Not in the original.
 * - sentences: the share of words past the 120th of their sentence. A text that begins or ends
 *   within a sentence loses nothing by it: prompt and token limit cut it there.
 * - symbols: `5 * (share - 0.25) / 0.75` where that is positive. The second version gave 0.3 flat
 *   above 0.2, which dialogue reaches. A word of more than 30 letters counts among these.
 *
 * A text without a word scores 5 by its symbols, an empty one too: it is all silence. A 0 would let
 * a model that has learnt to say nothing pass for the best one.
 *
 * @param text What the model wrote, without the prompt; with fewer than 20 words little is found.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { degeneration } from "./degeneration.ts";
 *
 * const { score, detected, parts } = degeneration("the whale ".repeat(20));
 * assert.deepEqual([score, detected], [5, true]);
 * assert.deepEqual([parts.repetition.word, parts.repetition.share], ["the", 0.5]);
 * ```
 */
export function degeneration(text: string): Degeneration {
  const words = wordsOf(text);
  const parts: DegenerationParts = {
    repetition: repetition(words),
    diversity: diversity(words),
    phrases: phrases(words),
    runs: runs(words),
    sentences: sentences(text),
    symbols: symbols(text, words),
  };
  const points = Object.values(parts).reduce((sum, part) => sum + part.points, 0);
  const score = Math.min(WORST_DEGENERATION, points);
  return { score, detected: score > DETECTED_ABOVE, words: words.length, parts };
}

/** What a text keeps of its baseline, each part in [0, 1], 1 = as good. */
export interface QualityParts {
  /** With r = words over the baseline's: `0.3 + 0.7 r` below 0.7, else 1. */
  length: number;
  /** 0.7 if two more phrases of three words are there three times than the baseline has, else 1. */
  repetition: number;
  /** With r = ratio of the shares of different words: `0.5 + 0.5 r` below 0.8, else 1. */
  diversity: number;
  /** With r = ends of sentences over the baseline's: `0.7 + 0.3 r` below 0.7, else 1. */
  sentences: number;
  /** 0.7 if the share of tokens that are no words is more than 0.1 above the baseline's, else 1. */
  nonwords: number;
}

/** How much of its baseline's quality a text has kept. */
export interface TextQuality {
  /** 0 to 1: the weighted sum of the parts. A text with a word in it gets 0.52 or more. */
  score: number;
  /** What the score is made of. */
  parts: QualityParts;
}

/** The original's weights; they add up to 1. */
const QUALITY_WEIGHTS: Readonly<QualityParts> = {
  length: 0.35,
  repetition: 0.25,
  diversity: 0.20,
  sentences: 0.15,
  nonwords: 0.05,
};

/**
 * Scores a text against the baseline's, from the same prompt and seed, by the original's formulas
 * and weights. A text that is better than its baseline gains nothing by it. Where the baseline has
 * none of something (words, ends of sentences), there is nothing to fall short of: that part is 1.
 * Its repetition counts different phrases, and one word over and over is one: such a text still gets
 * about 0.85, so never judge by this score without {@linkcode degeneration}'s.
 *
 * It departs in three things:
 * - A text without a word beside a baseline with some has kept nothing: every part is 0. The
 *   formulas would give it 0.61.
 * - An ellipsis ends one sentence, not three.
 * - A token (what blanks part) is no word if, rid of punctuation around it, it is empty or holds
 *   anything but letters, marks, digits, apostrophes and dashes. The original knew A to Z alone.
 *
 * @param text What the model wrote, without the prompt.
 * @param baseline What the baseline wrote, without the prompt.
 */
export function textQuality(text: string, baseline: string): TextQuality {
  const own = measure(text), base = measure(baseline);
  if (own.words === 0 && base.words > 0) {
    return {
      score: 0,
      parts: { length: 0, repetition: 0, diversity: 0, sentences: 0, nonwords: 0 },
    };
  }
  const length = ratio(own.words, base.words);
  const diversity = ratio(own.unique, base.unique);
  const sentences = ratio(own.ends, base.ends);
  const parts: QualityParts = {
    length: length < 0.7 ? 0.3 + 0.7 * length : 1,
    repetition: own.triples > base.triples + 1 ? 0.7 : 1,
    diversity: diversity < 0.8 ? 0.5 + 0.5 * diversity : 1,
    sentences: sentences < 0.7 ? 0.7 + 0.3 * sentences : 1,
    nonwords: own.nonwords > base.nonwords + 0.1 ? 0.7 : 1,
  };
  // What is missing from 1, so that all parts at 1 make exactly 1.
  let missing = 0;
  for (const key of Object.keys(QUALITY_WEIGHTS) as (keyof QualityParts)[]) {
    missing += QUALITY_WEIGHTS[key] * (1 - parts[key]);
  }
  return { score: 1 - missing, parts };
}

/** What two models wrote from the same prompt and seed, without the prompt. */
export interface TextPair {
  /** What the baseline wrote. */
  readonly baseline: string;
  /** What the model under test wrote. */
  readonly text: string;
}

/** One pair, compared. */
export interface ComparedPair {
  /** The model's text alone. */
  degeneration: Degeneration;
  /** The baseline's text alone. */
  baseline: Degeneration;
  /** The model's text against the baseline's. */
  quality: TextQuality;
}

/** All pairs, compared. Means are over pairs. */
export interface SampleComparison {
  /** Mean degeneration score of the model's texts, 0 to 5. */
  degeneration: number;
  /** Mean degeneration score of the baseline's texts, 0 to 5. */
  baseline_degeneration: number;
  /**
   * `degeneration - baseline_degeneration`: what changed, for a small model that repeats itself
   * before anything is pruned. Negative where its texts became better.
   */
  excess: number;
  /** Share of the model's texts that have degenerated: a score of more than 1. */
  degeneration_rate: number;
  /** The same share of the baseline's texts. */
  baseline_degeneration_rate: number;
  /** Mean quality score, 0 to 1. */
  quality: number;
  /** Each pair, in the order given. */
  pairs: ComparedPair[];
}

/**
 * Compares what a model wrote with what the baseline wrote from the same prompts and seed.
 *
 * @throws {RangeError} If there is no pair.
 */
export function compareSamples(samples: readonly TextPair[]): SampleComparison {
  if (samples.length === 0) {
    throw new RangeError("samples must hold one pair of texts or more: 0");
  }
  const pairs = samples.map(({ baseline, text }) => ({
    degeneration: degeneration(text),
    baseline: degeneration(baseline),
    quality: textQuality(text, baseline),
  }));
  const mean = (value: (pair: ComparedPair) => number) =>
    pairs.reduce((sum, pair) => sum + value(pair), 0) / pairs.length;
  const ours = mean((pair) => pair.degeneration.score);
  const theirs = mean((pair) => pair.baseline.score);
  return {
    degeneration: ours,
    baseline_degeneration: theirs,
    excess: ours - theirs,
    degeneration_rate: mean((pair) => Number(pair.degeneration.detected)),
    baseline_degeneration_rate: mean((pair) => Number(pair.baseline.detected)),
    quality: mean((pair) => pair.quality.score),
    pairs,
  };
}

function repetition(words: readonly string[]): DegenerationParts["repetition"] {
  const [word, count] = mostFrequent(countEach(words));
  const points = pastAllowed("repetition", count, words.length);
  return { points, word, count, share: shareOf(count, words.length) };
}

function diversity(words: readonly string[]): DegenerationParts["diversity"] {
  const span = Math.min(UNIQUE_WINDOW, words.length);
  let different = 0, all = 0;
  for (let start = 0; start + span <= words.length; start++) {
    different += new Set(words.slice(start, start + span)).size;
    all += span;
  }
  const unique = all === 0 ? 1 : different / all;
  const points = POINTS.diversity * Math.max(0, (LEAST_UNIQUE - unique) / LEAST_UNIQUE);
  return { points, unique_ratio: unique };
}

function phrases(words: readonly string[]): DegenerationParts["phrases"] {
  const seen = new Set<string>(), copied = new Set<number>(), triples = triplesOf(words);
  triples.forEach((triple, start) => {
    if (seen.has(triple)) {
      for (let i = start; i < start + PHRASE_WORDS; i++) copied.add(i);
    }
    seen.add(triple);
  });
  const [phrase, count] = mostFrequent(countEach(triples));
  const points = pastAllowed("phrases", copied.size, words.length);
  return { points, copied_share: shareOf(copied.size, words.length), phrase, count };
}

function runs(words: readonly string[]): DegenerationParts["runs"] {
  let again = 0, run = 0, longest = 0;
  words.forEach((word, i) => {
    const same = i > 0 && word === words[i - 1];
    run = same ? run + 1 : 1;
    if (same) again++;
    longest = Math.max(longest, run);
  });
  const points = pastAllowed("runs", again, words.length);
  return { points, share: shareOf(again, words.length), longest };
}

function sentences(text: string): DegenerationParts["sentences"] {
  const stretches = text.split(SENTENCE_END).map((stretch) => wordsOf(stretch).length);
  let all = 0, overlong = 0, longest = 0;
  for (const words of stretches) {
    all += words;
    longest = Math.max(longest, words);
    overlong += Math.max(0, words - LONGEST_SENTENCE);
  }
  const share = shareOf(overlong, all);
  return {
    points: POINTS.sentences * share,
    ends: stretches.length - 1,
    longest,
    overlong_share: share,
  };
}

function symbols(text: string, words: readonly string[]): DegenerationParts["symbols"] {
  const all = lengthOf(folded(text).replace(/\s/gu, ""));
  const inWords = words.reduce((sum, word) => sum + lengthOf(word), 0);
  const share = all === 0 ? 1 : (all - inWords) / all;
  const points = POINTS.symbols * Math.max(0, (share - MOST_SYMBOLS) / (1 - MOST_SYMBOLS));
  return { points, share };
}

/** What {@linkcode textQuality} compares of two texts. */
function measure(text: string) {
  const words = wordsOf(text), tokens = folded(text).split(/\s+/u).filter(Boolean);
  const nonwords = tokens.filter((token) =>
    !/^[\p{L}\p{M}\p{N}'\p{Pd}]+$/u.test(token.replace(/^\p{P}+|\p{P}+$/gu, ""))
  );
  return {
    words: words.length,
    unique: shareOf(new Set(words).size, words.length),
    ends: text.split(SENTENCE_END).length - 1,
    nonwords: shareOf(nonwords.length, tokens.length),
    triples: [...countEach(triplesOf(words)).values()].filter((count) => count >= 3).length,
  };
}

/** Points for `count` of `n` words: none while that is allowed, all where it is all of them. */
function pastAllowed(part: keyof typeof ALLOWED, count: number, n: number): number {
  const allowed = ALLOWED[part].words + ALLOWED[part].share * n;
  return count > allowed ? POINTS[part] * (count - allowed) / (n - allowed) : 0;
}

function wordsOf(text: string): string[] {
  const words = folded(text).match(WORD) ?? [];
  return words.filter((word) => lengthOf(word) <= LONGEST_WORD);
}

/** A text without differences of case, of how letters are composed, and of apostrophes. */
function folded(text: string): string {
  return text.toLowerCase().normalize("NFC").replaceAll("’", "'");
}

/** Every three words in a row, as one string each. */
function triplesOf(words: readonly string[]): string[] {
  return words.slice(PHRASE_WORDS - 1).map((_, i) => words.slice(i, i + PHRASE_WORDS).join(" "));
}

function countEach(values: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return counts;
}

/** The value with the highest count, the first of equals; an empty one if there is none. */
function mostFrequent(counts: ReadonlyMap<string, number>): [string, number] {
  let most: [string, number] = ["", 0];
  for (const entry of counts) if (entry[1] > most[1]) most = entry;
  return most;
}

function shareOf(count: number, all: number): number {
  return all === 0 ? 0 : count / all;
}

function ratio(own: number, base: number): number {
  return base === 0 ? 1 : own / base;
}

/** Characters, where one outside the basic plane is one. */
function lengthOf(text: string): number {
  return [...text].length;
}
