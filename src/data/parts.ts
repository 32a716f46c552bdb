/**
 * A text's tokens into four disjoint parts.
 *
 * @module
 */
import { checkSize } from "./batches.ts";
import { partOfTokens, type Tokens } from "./tokens.ts";

/** The parts of a text, none of which sees another's tokens. */
export interface Parts<T extends Tokens = Tokens> {
  /** What gradients are computed on. */
  readonly train: T;
  /** What heads are scored on. */
  readonly calibration: T;
  /** What is looked at during a run. */
  readonly validation: T;
  /** What is read once, at the end. */
  readonly test: T;
}

/** A part's name. */
export type PartName = keyof Parts;

/** The splits that a data set may have of its own. */
export type SplitName = "train" | "validation" | "test";

/** Every split, in the order in which they are told. */
export const SPLITS: readonly SplitName[] = ["train", "validation", "test"];

/** The tokens of each split that there is; a text without splits is all `train`. */
export type SplitTokens<T extends Tokens = Tokens> =
  & { readonly train: T }
  & { readonly [split in SplitName]?: T };

/** Shares of the tokens of a text without splits in percent, in their order; the rounding goes to test. */
export const SHARES: Readonly<Record<PartName, number>> = {
  train: 80,
  calibration: 5,
  validation: 5,
  test: 10,
};

/** Where a part lies. */
export interface PartBounds {
  /** In which split. */
  readonly split: SplitName;
  /** Its first token there. */
  readonly start: number;
  /** The first token after it. */
  readonly end: number;
}

/**
 * Where each part lies. A split that there is becomes the part of its name; calibration, and what
 * has no split of its own, is cut from the end of train, in the proportions of {@linkcode SHARES}:
 * of a text without splits the parts are 80, 5, 5 and 10 percent, in a data set with all three
 * splits calibration takes 5 of 85 parts of train.
 *
 * @param lengths Tokens of each split that there is.
 * @param sizes `T`, the window length in tokens, and `B`, the windows in a batch (1 unless given).
 * @throws {RangeError} If a part would be too short: every part must hold a window of T + 1 tokens,
 *   and train a batch of B windows; the error says how many tokens that takes.
 */
export function boundParts(
  lengths: { readonly train: number; readonly validation?: number; readonly test?: number },
  { T, B = 1 }: { T: number; B?: number },
): Record<PartName, PartBounds> {
  checkSize("max_length", T);
  checkSize("batch_size", B);
  const cut = (["train", "calibration", "validation", "test"] as const)
    .filter((part) => part === "train" || part === "calibration" || lengths[part] === undefined);
  const total = cut.reduce((sum, part) => sum + SHARES[part], 0);
  // Of the small parts none is smaller than calibration, so that decides.
  const needed = Math.ceil(
    Math.max((B * T + 1) * total / SHARES.train, (T + 1) * total / SHARES.calibration),
  );
  const own = SPLITS.filter((split) => lengths[split] !== undefined && !cut.includes(split));
  const refuse = (what: string, length: number, least: number, why: string) => {
    throw new RangeError(
      `${what} has ${length} tokens: ${why} at least ${least}; ` +
        "give a longer text, shorter sequences or smaller batches",
    );
  };
  if (lengths.train < needed) {
    const number = ["", "one part", "two parts", "three parts", "four parts"][cut.length];
    const what = own.length === 0 ? "the text" : "the split train";
    refuse(what, lengths.train, needed, `${number} for batches of ${B} x ${T} tokens take`);
  }
  const bounds = {} as Record<PartName, PartBounds>;
  let start = 0;
  for (const part of cut) {
    // each share rounded down, and the rest to the last
    const end = part === cut.at(-1)
      ? lengths.train
      : start + Math.floor(lengths.train * SHARES[part] / total);
    bounds[part] = { split: "train", start, end };
    start = end;
  }
  for (const split of own) {
    const length = lengths[split]!;
    if (length < T + 1) refuse(`the split ${split}`, length, T + 1, `windows of ${T} take`);
    bounds[split] = { split, start: 0, end: length };
  }
  return bounds;
}

/** Cuts the parts out, without copying or reading. */
export function cutParts(
  splits: SplitTokens,
  bounds: Readonly<Record<PartName, PartBounds>>,
): Parts {
  const part = ({ split, start, end }: PartBounds) => partOfTokens(splits[split]!, start, end);
  const { train, calibration, validation, test } = bounds;
  return {
    ...{ train: part(train), calibration: part(calibration) },
    ...{ validation: part(validation), test: part(test) },
  };
}

/**
 * Cuts tokens into four contiguous parts: train, calibration, validation and test, in this order,
 * of the shares in {@linkcode SHARES}.
 *
 * @param tokens The whole text.
 * @param sizes `T`, the window length in tokens, and `B`, the windows in a batch (1 unless given).
 * @returns Views into `tokens`, or ranges of their file.
 * @throws {RangeError} If the text is too short: every part must hold a window of T + 1 tokens,
 *   and train a batch of B windows; the error says how many tokens that takes.
 */
export function splitTokens<Of extends Tokens>(
  tokens: Of,
  sizes: { T: number; B?: number },
): Parts<Of> {
  // a part of tokens is of their kind
  return cutParts({ train: tokens }, boundParts({ train: tokens.length }, sizes)) as Parts<Of>;
}
