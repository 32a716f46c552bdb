/**
 * The measured speed of a compact model in a few rows and sentences, for the terminal and its card.
 *
 * @module
 */
import type { ComparedSpeed, SpeedRecord, WorkBound } from "../record.ts";
import { count, percent, plural } from "./theme.ts";

/** What was found, in a sentence. */
export function speedVerdict(
  { active_heads, total_heads, rounds, ...record }: SpeedRecord,
): string {
  const times = ({ speedup: { median, min, max } }: ComparedSpeed) =>
    min <= 1 && max >= 1
      ? `as fast, as far as ${plural(rounds, "round")} can tell`
      : `${median.toFixed(2)} times as fast`;
  return `With ${
    plural(active_heads, "head")
  } of ${total_heads} left, beside all of them computed: ` +
    `prompts go through ${times(record.prefill)}, and new tokens come ${times(record.decoding)}.`;
}

/** The measured speeds beside their bounds. */
export function speedRows(record: SpeedRecord): { head: string[]; rows: string[][] } {
  const { batch_size: B, prompt_length: P, new_tokens: N, rounds } = record;
  const row = (
    what: string,
    { full, compact, speedup, operations }: ComparedSpeed,
    bytes?: WorkBound,
  ) => [
    what,
    rate(full.tokens_per_s),
    rate(compact.tokens_per_s),
    factor(speedup.median),
    `${speedup.min.toFixed(2)} to ${speedup.max.toFixed(2)}`,
    factor(operations.most_speedup),
    bytes ? factor(bytes.most_speedup) : "",
  ];
  return {
    head: [
      "tokens per second",
      "full shape",
      "compact",
      "speed-up",
      `range, ${plural(rounds, "round")}`,
      "most by operations",
      "most by bytes",
    ],
    rows: [
      row(`prefill of ${B} x ${P}`, record.prefill),
      row(`decoding ${B} x ${N} more`, record.decoding, record.decoding.bytes),
    ],
  };
}

/** What the bounds mean, and whether both forms did the same. */
export function speedWords(record: SpeedRecord): string[] {
  const { active_heads, total_heads, prefill, decoding, batch_size, same_continuations } = record;
  const share = (of: WorkBound) => percent(of.attention_share);
  const gone = percent(1 - active_heads / total_heads);
  const same = same_continuations === batch_size
    ? "Both forms wrote the same tokens."
    : `Both forms wrote the same tokens to ${same_continuations} of ${
      plural(batch_size, "sequence")
    }: ` +
      "where two tokens are nearly as likely, rounding decides.";
  return [
    `${gone} of the heads are gone. Attention is ${share(prefill.operations)} of prefill's ` +
    `multiply-adds, ${share(decoding.operations)} of decoding's, and ${share(decoding.bytes)} of ` +
    "the bytes that decoding reads.",
    "The most is 1 / (1 - attention's share x share of heads gone): by operations where arithmetic " +
    "takes the time, by bytes where reading weights and cache does.",
    same,
    ...beyondBound("Prefill", prefill, [prefill.operations]),
    ...beyondBound("Decoding", decoding, [decoding.operations, decoding.bytes]),
  ];
}

/** What is wrong where more was measured than can be. */
function beyondBound(pass: string, { speedup }: ComparedSpeed, bounds: WorkBound[]): string[] {
  const most = Math.max(...bounds.map(({ most_speedup }) => most_speedup));
  if (factor(speedup.median) === factor(most) || speedup.median < most) return [];
  return [
    `${pass}'s speed-up of ${factor(speedup.median)} is beyond its bound of ${factor(most)}: the ` +
    "machine was busy with something else while the full shape was timed, or the smaller model fits " +
    "its caches better. Measure again when it is idle, with more --rounds.",
  ];
}

function factor(value: number): string {
  return `${value.toFixed(2)} x`;
}

function rate(tokens: number): string {
  return tokens < 100 ? tokens.toPrecision(3) : count(Math.round(tokens));
}
