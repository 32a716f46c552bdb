import assert from "node:assert/strict";
import { loadText } from "../src/data/corpora.ts";
import {
  compareSamples,
  degeneration,
  type DegenerationParts,
  textQuality,
  WORST_DEGENERATION,
} from "../src/plasticity/degeneration.ts";
import { assertClose } from "./close.ts";

/** `n` words, all different, from number `first` on. */
const distinct = (n: number, first = 0) =>
  Array.from({ length: n }, (_, i) => `w${first + i}`).join(" ");
const times = (n: number, text: string) => Array(n).fill(text).join(" ");
const points = (text: string) =>
  Object.entries(degeneration(text).parts).map(([name, part]) => [name, part.points] as const);

function near(actual: number, expected: number, what?: string) {
  assertClose([actual], [expected], { atol: 1e-12, ...(what && { what }) });
}

/** Checks that one part alone has points. */
function only(text: string, part: keyof DegenerationParts, expected: number) {
  for (const [name, value] of points(text)) near(value, name === part ? expected : 0, name);
  near(degeneration(text).score, expected);
}

const PROSE = [
  "The harbour was quiet when we came down to it, and the tide had left the small boats leaning " +
  "on the mud. My brother counted them twice. He said that one was missing, though neither of us " +
  "could tell which; the fog kept the far side of the quay to itself.",
  "“Don't you think it odd,” she asked, “that nobody answered?” I did not. The house had been " +
  "empty for years, and the bell, as far as I knew, rang only in the kitchen. We waited a while.",
  "Bread is flour, water, salt and time. Of the four, time is the one that cooks forget: they " +
  "measure the flour to the gram, and then they look at the clock and lose heart.",
];

Deno.test("prose scores 0, part by part", () => {
  for (const text of PROSE) {
    assert.equal(degeneration(text).score, 0);
    assert.equal(degeneration(text).detected, false);
  }
  const { words, parts } = degeneration(PROSE[0]);
  assert.equal(words, 51);
  assert.deepEqual(parts.repetition, { points: 0, word: "the", count: 7, share: 7 / 51 });
  assert.deepEqual(parts.sentences, { points: 0, ends: 3, longest: 24, overlong_share: 0 });
});

Deno.test("repetition counts the most frequent word beyond 3 + a tenth of all", () => {
  // 20 words may hold a word 5 times; a sixth is 1 of the 15 that are left.
  const mixed = (count: number) =>
    Array.from({ length: 20 }, (_, i) => i % 2 === 0 && i < 2 * count ? "Sea" : `w${i}`).join(" ");
  assert.equal(degeneration(mixed(5)).score, 0);
  only(mixed(6), "repetition", 2 * 1 / 15);
  only(mixed(9), "repetition", 2 * 4 / 15);
  assert.deepEqual(degeneration(mixed(5)).parts.repetition, {
    points: 0,
    word: "sea",
    count: 5,
    share: 0.25,
  });
  // A quarter of five times the text is too much, as 3 words are less of it.
  const long = Array.from({ length: 100 }, (_, i) => i % 4 === 0 ? "sea" : `w${i}`).join(" ");
  only(long, "repetition", 2 * (25 - 13) / (100 - 13));
});

Deno.test("diversity is the share of different words in windows of 50", () => {
  const ratio = (text: string) => degeneration(text).parts.diversity.unique_ratio;
  assert.equal(ratio(distinct(20)), 1);
  assert.equal(ratio("a b a c"), 0.75);
  assert.equal(ratio(times(5, distinct(10))), 0.2);
  near(degeneration(times(5, distinct(10))).parts.diversity.points, 0.5);
  near(degeneration(times(2, distinct(10))).parts.diversity.points, 0);
  // Of 51 words the last repeats the one before: the first window has 50 words, the second 49.
  assert.equal(ratio(`${distinct(50)} w49`), 99 / 100);
  // Length alone is no fault: each window of 50 is all different, though a tenth of the whole is.
  assert.equal(ratio(times(10, distinct(50))), 1);
});

Deno.test("phrases count words of three in a row that were there before", () => {
  const phrases = (text: string) => degeneration(text).parts.phrases;
  assert.deepEqual(phrases("a b c d A, b - C e"), {
    points: 0,
    copied_share: 3 / 8,
    phrase: "a b c",
    count: 2,
  });
  assert.equal(phrases("a b x a b y a b z").copied_share, 0); // two in a row are no phrase
  // A sentence of 12 words said n times: 12 (n - 1) copied, 3 + 0.2 * 12 n allowed.
  only(times(2, distinct(12)), "phrases", 4 * (12 - 7.8) / (24 - 7.8));
  near(phrases(times(4, distinct(12))).points, 4 * (36 - 12.6) / (48 - 12.6));
  const scores = [1, 2, 3, 4].map((n) => degeneration(times(n, distinct(12))).score.toFixed(1));
  assert.deepEqual(scores, ["0.0", "1.0", "2.3", "3.0"]);
  assert.equal(degeneration(times(2, distinct(12))).detected, true);
  only(times(2, distinct(9)), "phrases", 4 * (9 - 6.6) / (18 - 6.6)); // 0.84
  assert.equal(degeneration(times(2, distinct(9))).detected, false);
  assert.ok(degeneration(times(6, "the ship went down with all her")).score > 3);
});

Deno.test("runs count words that repeat the word before", () => {
  const text = `${distinct(14)} caw caw Caw! caw caw caw`;
  const { points, share, longest } = degeneration(text).parts.runs;
  near(points, 3 * (5 - 3) / (20 - 3));
  assert.deepEqual([share, longest], [0.25, 6]);
  // Every word said twice: no phrase comes again, and half of the words are different.
  const twice = distinct(20).split(" ").map((word) => `${word} ${word}`).join(" ");
  only(twice, "runs", 3 * (20 - 4) / (40 - 4));
  assert.equal(degeneration(twice).detected, true);
  assert.equal(degeneration("no yes no yes").parts.runs.longest, 1);
});

Deno.test("sentences may be 120 words long, cut or not", () => {
  only(distinct(150), "sentences", 30 / 150);
  const parts = degeneration(`${distinct(30)}. ${distinct(110, 30)}?! ${distinct(60, 200)}`).parts;
  assert.deepEqual(parts.sentences, { points: 0, ends: 2, longest: 110, overlong_share: 0 });
  const two = degeneration(`${distinct(140)}. ${distinct(130, 140)}`).parts.sentences;
  assert.deepEqual([two.overlong_share, two.longest, two.ends], [30 / 270, 140, 1]);
});

Deno.test("symbols count what is in no word, from a quarter on", () => {
  const share = (text: string) => degeneration(text).parts.symbols.share;
  only("sea ,,,", "symbols", 5 * 0.25 / 0.75);
  assert.equal(share("Don’t go, 'sir'"), 3 / 13); // the apostrophe in a word is of the word
  assert.equal(degeneration("Don’t go, 'sir'").score, 0);
  only("\uFFFD".repeat(9), "symbols", WORST_DEGENERATION);
  only("🐋🐋 ... --- !!!", "symbols", WORST_DEGENERATION);
  assert.equal(share("🐋a"), 0.5); // one character each, though the whale is two code units
  assert.equal(share("İİ"), 0); // longer in lower case
  assert.equal(share("a".repeat(30)), 0);
  only("a".repeat(31), "symbols", WORST_DEGENERATION);
});

Deno.test("the score is the sum of its parts, and 5 at most", () => {
  const whale = times(20, "whale");
  assert.ok(points(whale).reduce((all, [, value]) => all + value, 0) > WORST_DEGENERATION);
  assert.equal(degeneration(whale).score, WORST_DEGENERATION);
  const mild = `${distinct(5)} ${times(2, distinct(10, 5))} sea sea sea sea sea`;
  const parts = points(mild);
  assert.ok(parts.filter(([, value]) => value > 0).length > 1, `${parts}`);
  near(degeneration(mild).score, parts.reduce((all, [, value]) => all + value, 0));
});

Deno.test("one word or two over and over score above 3, whatever the length", () => {
  for (const n of [4, 5, 10, 20, 48, 200, 1000]) {
    const { score } = degeneration(times(n, "whale"));
    assert.ok(score > 3, `${n} words: ${score}`);
    if (n >= 10) assert.equal(score, WORST_DEGENERATION);
  }
  for (const n of [10, 20, 100]) {
    const { score } = degeneration(times(n, "of the"));
    assert.ok(score > 3, `${n} pairs: ${score}`);
  }
});

Deno.test("an empty text is the worst, not the best", () => {
  for (const text of ["", " \n\t ", "\u00a0"]) {
    const { score, detected, words, parts } = degeneration(text);
    assert.deepEqual([score, detected, words], [WORST_DEGENERATION, true, 0]);
    assert.deepEqual(parts, {
      repetition: { points: 0, word: "", count: 0, share: 0 },
      diversity: { points: 0, unique_ratio: 1 },
      phrases: { points: 0, copied_share: 0, phrase: "", count: 0 },
      runs: { points: 0, share: 0, longest: 0 },
      sentences: { points: 0, ends: 0, longest: 0, overlong_share: 0 },
      symbols: { points: WORST_DEGENERATION, share: 1 },
    });
  }
  assert.equal(degeneration("Aye.").score, 0);
});

Deno.test("more repetition never scores less", () => {
  // The end of 60 different words gives way to a word, a phrase and a sentence, word by word.
  for (const loop of [1, 5, 15]) {
    const scores = Array.from({ length: 61 }, (_, n) => {
      const tail = Array.from({ length: n }, (_, i) => `loop${i % loop}`).join(" ");
      return degeneration(`${distinct(60 - n)} ${tail}`).score;
    });
    assert.equal(scores[0], 0);
    assert.ok(scores[60] > 2, `${scores[60]}`);
    let risen = 0;
    for (let n = 1; n <= 60; n++) {
      assert.ok(scores[n] >= scores[n - 1], `loop of ${loop}, ${n} words: ${scores}`);
      if (scores[n] > scores[n - 1]) risen++;
    }
    assert.ok(risen > 25, `loop of ${loop}: ${risen} steps up`);
  }
});

Deno.test("case, apostrophes and composition make no other word, in any script", () => {
  const plain = "don't cafe\u0301 sea don't CAFÉ Sea DON’T café sea don’t Cafe\u0301 SEA";
  assert.deepEqual(degeneration(plain), degeneration(times(4, "don't café sea")));
  assert.deepEqual(degeneration(plain).parts.diversity.unique_ratio, 0.25);
  const greek = degeneration(times(20, "φάλαινα"));
  assert.deepEqual([greek.score, greek.words], [WORST_DEGENERATION, 20]);
  assert.equal(greek.parts.repetition.word, "φάλαινα");
  assert.equal(degeneration("кит плыл в тихом море, а мы смотрели с берега и молчали").score, 0);
  assert.equal(degeneration("well-known").words, 2);
});

Deno.test("slices of Moby Dick score below 0.5, and are detected when said twice", async () => {
  const { text } = await loadText("moby_dick");
  const starts = [...text.matchAll(/\p{L}[\p{L}\p{M}\p{N}'’]*/gu)].map((match) => match.index);
  const slice = (first: number, n: number) =>
    text.slice(starts[first], starts[first + n] ?? text.length);
  let slices = 0;
  for (const n of [20, 50, 100, 200]) {
    for (let first = 0; first + n <= starts.length; first += 997) {
      const part = slice(first, n), { score } = degeneration(part);
      assert.ok(score < 0.5, `${n} words from ${first}: ${score}: ${part}`);
      assert.ok(degeneration(`${part} ${part}`).detected, `${n} words from ${first}, twice`);
      slices++;
    }
  }
  assert.ok(slices > 800, `${slices}`);
  // The book's most repetitive passages: suspicious, but a litany has not fallen apart.
  for (const opening of ["And shall I nail down the lid", "doubloons of old Spain"]) {
    const litany = text.slice(text.indexOf(opening)).split(/\s+/).slice(0, 40).join(" ");
    const { score, parts } = degeneration(litany);
    assert.ok(parts.phrases.copied_share > 0.2 && score < 1, `${opening}: ${score}`);
  }
});

Deno.test("quality of the same text is 1, and better than the baseline is no more", () => {
  for (const text of [...PROSE, "", "...", times(50, "whale"), "@@ ## §§ sea"]) {
    assert.deepEqual(textQuality(text, text), {
      score: 1,
      parts: { length: 1, repetition: 1, diversity: 1, sentences: 1, nonwords: 1 },
    });
  }
  assert.equal(textQuality(PROSE[0], times(20, "whale")).score, 1);
});

Deno.test("quality follows the original's formulas and weights, part by part", () => {
  const base = `${distinct(5)}. ${distinct(5, 5)}. ${distinct(5, 10)}. ${distinct(5, 15)}.`;
  const check = (text: string, baseline: string, expected: Partial<Record<string, number>>) => {
    const { score, parts } = textQuality(text, baseline);
    const all = { length: 1, repetition: 1, diversity: 1, sentences: 1, nonwords: 1, ...expected };
    for (const [name, value] of Object.entries(parts)) {
      near(value, all[name as keyof typeof parts], name);
    }
    near(
      score,
      0.35 * all.length + 0.25 * all.repetition + 0.2 * all.diversity + 0.15 * all.sentences +
        0.05 * all.nonwords,
      "score",
    );
  };
  check("a. b. c. d. e f g h i j", base, { length: 0.3 + 0.7 * 10 / 20 });
  check("a. b. c. d. e f g h i j k l m n", base, {}); // 14 of 20 words are enough
  check(`${distinct(18)}. w19 w20.`, base, { sentences: 0.7 + 0.3 * 2 / 4 });
  check(`${distinct(18)}. w19. w20...`, base, {}); // 3 of 4 are; an ellipsis is one
  check(`${distinct(18)}... w19 w20...`, base, { sentences: 0.7 + 0.3 * 2 / 4 });
  const four = ". . . .";
  check(`${times(2, distinct(7))} ${four}`, base, { diversity: 0.5 + 0.5 * 0.5, nonwords: 0.7 });
  check("a. b. c. d. e f g h a b", "a. b. c. d. e f g h i j", {}); // 8 of 10 different are enough
  check("a. b. c. d. e f g a b c", "a. b. c. d. e f g h i j", { diversity: 0.5 + 0.5 * 0.7 });

  // Two phrases three times are a fault, one is not, nor are three where the baseline has two.
  const loop = "a b c x a b c y a b c";
  check(loop, loop.replaceAll("b", "d"), {});
  check(loop, distinct(11), { diversity: 0.5 + 0.5 * 5 / 11 });
  const twoPhrases = "a b c d x a b c d y a b c d", threePhrases = times(3, "a b c d e");
  check(twoPhrases, distinct(14), { repetition: 0.7, diversity: 0.5 + 0.5 * 6 / 14 });
  check(threePhrases, twoPhrases, { diversity: 0.5 + 0.5 * (5 / 15) / (6 / 14) });

  check(`${distinct(9)} @@`, distinct(10), {}); // a tenth is not more than a tenth
  check(`${distinct(8)} @@ w$9`, distinct(10), { nonwords: 0.7 });
  check(`${distinct(8)} @@ w$9`, `${distinct(9)} §`, {});
  check("(sea,) “don’t—no,” well-nigh 3rd ça", "a b c d e f g", {});
});

Deno.test("quality of nothing is 0, and beside nothing there is nothing to fall short of", () => {
  const none = { length: 0, repetition: 0, diversity: 0, sentences: 0, nonwords: 0 };
  assert.deepEqual(textQuality("", PROSE[0]), { score: 0, parts: none });
  assert.deepEqual(textQuality(" ... ", "sea"), { score: 0, parts: none });
  assert.equal(textQuality(PROSE[0], "").score, 1);
  near(textQuality(times(3, "a b c d"), "").score, 1 - 0.25 * 0.3);
  // One word over and over is one phrase to the original: diversity and sentences alone fall.
  near(textQuality(times(50, "whale"), `${distinct(50)}.`).score, 1 - 0.2 * 0.49 - 0.15 * 0.3);
  // The worst of words: all five parts fall, to no less than 0.52.
  const { score, parts } = textQuality(`${times(3, "a b")} a @@`, times(40, PROSE.join(" ")));
  assert.ok(Object.values(parts).every((part) => part <= 1) && parts.nonwords === 0.7);
  assert.ok(score > 0.52 && score < 0.9, `${score}`);
});

Deno.test("compareSamples() means both sides, and what changed", () => {
  const loop = times(2, distinct(12)), whale = times(20, "whale");
  const looped = degeneration(loop).score;
  const compared = compareSamples([
    { baseline: PROSE[0], text: whale },
    { baseline: loop, text: loop },
    { baseline: loop, text: PROSE[0] },
    { baseline: PROSE[1], text: "" },
  ]);
  near(compared.degeneration, (5 + looped + 0 + 5) / 4);
  near(compared.baseline_degeneration, (0 + looped + looped + 0) / 4);
  near(compared.excess, (10 - looped) / 4);
  assert.equal(compared.degeneration_rate, 0.75);
  assert.equal(compared.baseline_degeneration_rate, 0.5);
  near(compared.quality, (textQuality(whale, PROSE[0]).score + 1 + 1 + 0) / 4);
  assert.deepEqual(compared.pairs[0], {
    degeneration: degeneration(whale),
    baseline: degeneration(PROSE[0]),
    quality: textQuality(whale, PROSE[0]),
  });
  assert.deepEqual(compared.pairs.map((pair) => pair.quality.score > 0.99), [
    false,
    true,
    true,
    false,
  ]);
  near(compareSamples([{ baseline: whale, text: PROSE[0] }]).excess, -5);
});

Deno.test("a model that repeats itself as its baseline did has no excess", () => {
  const texts = [...PROSE, times(9, "the ship sank"), "", "? ?"];
  const compared = compareSamples(texts.map((text) => ({ baseline: text, text })));
  assert.ok(compared.degeneration > 1, `${compared.degeneration}`);
  assert.deepEqual([compared.excess, compared.quality], [0, 1]);
  assert.throws(
    () => compareSamples([]),
    /^RangeError: samples must hold one pair of texts or more: 0$/,
  );
});

Deno.test("the same texts score the same, and no chance is asked", () => {
  const texts = [...PROSE, times(30, "the ship sank"), `${PROSE[0]} ${PROSE[0]}`];
  const score = () => texts.map((text) => [degeneration(text), textQuality(text, PROSE[2])]);
  const first = score(), chance = Math.random;
  Math.random = () => assert.fail("a score drew a random number");
  try {
    assert.deepEqual(score(), first);
  } finally {
    Math.random = chance;
  }
  const { score: whole, parts } = degeneration("the whale ".repeat(20));
  assert.deepEqual([whole, parts.repetition.word, parts.repetition.share], [5, "the", 0.5]);
});
