/**
 * What `deno task compact` measures: the types of `speed.json`. `record.ts` gives them out with all
 * others.
 *
 * @module
 */
import type { EnvironmentRecord } from "./record.ts";

/** Several measurements of one thing. */
export interface Spread {
  /** The one in the middle. */
  median: number;
  /** The least. */
  min: number;
  /** The greatest. */
  max: number;
  /** How many there were. */
  n: number;
}

/** How fast one form of a model went through a pass. */
export interface PassSpeed {
  /** At the median time. */
  tokens_per_s: number;
  /** Of a whole pass: every prompt, or all new tokens of every sequence. */
  milliseconds: Spread;
}

/** What a pass cannot do without, and so how much less of it the compact form can need. */
export interface WorkBound {
  /** Of the full shape. */
  full: number;
  /** Of the compact form. */
  compact: number;
  /** Attention's part of `full`, 0 to 1. */
  attention_share: number;
  /** `full / compact`: no faster than this by leaving heads out, where this is what takes the time. */
  most_speedup: number;
}

/** A model's full shape, every head computed, beside its compact form, in one kind of pass. */
export interface ComparedSpeed {
  /** Every head is computed, as other programs do. */
  full: PassSpeed;
  /** The heads that are left. */
  compact: PassSpeed;
  /** Time of the full shape over that of the compact form, round by round. */
  speedup: Spread;
  /** Multiply-adds of the products. */
  operations: WorkBound;
}

/** Sequences that are extended token by token. */
export interface DecodingSpeed extends ComparedSpeed {
  /** Bytes that must be read: weights at every token, keys and values of what each token sees. */
  bytes: WorkBound;
}

/** `speed.json`: what a compact model gains in speed, next to the most that it could. */
export interface SpeedRecord {
  /** What the numbers were measured on. */
  environment: EnvironmentRecord;
  /** When it was measured, as `Date.toISOString()` writes it. */
  created: string;
  /** Heads that are left. */
  active_heads: number;
  /** Heads of the full model. */
  total_heads: number;
  /** Sequences that are computed at once. */
  batch_size: number;
  /** Tokens of each prompt. */
  prompt_length: number;
  /** Tokens that each sequence is extended by. */
  new_tokens: number;
  /** How often each was timed, one form after the other in turns. */
  rounds: number;
  /** Sequences to which both forms wrote the same tokens, the likeliest each time. */
  same_continuations: number;
  /** Prompts to their first new token. */
  prefill: ComparedSpeed;
  /** Each further token of every sequence, from the cache of keys and values. */
  decoding: DecodingSpeed;
}
