/**
 * What a plasticity cycle gained, and the memory of transformations that worked, to be tried again.
 *
 * @module
 */
import type { MemoryRecord, TransformationRecord } from "../record.ts";
import { checkNumber, describeRange, type NumberRange } from "../ranges.ts";
import { drawIndex } from "./ratings.ts";

/** A model by its quality and its size. */
export interface ModelMeasure {
  /** exp of the mean loss in nats a token, without any penalty; above 0. */
  readonly perplexity: number;
  /** Live heads of all layers. */
  readonly heads: number;
}

/** What was gained between two measures. Shares of the first: 0.1 is 10 % better, negative worse. */
export interface Gains {
  /** Relative drop of the perplexity. */
  perplexity_improvement: number;
  /** Relative drop of the number of live heads. */
  head_reduction: number;
  /** Relative drop of perplexity x heads. */
  efficiency_improvement: number;
  /** `perplexity_improvement + 0.5 * efficiency_improvement`. */
  improvement: number;
}

/**
 * Compares a model after a cycle with the one before, on the same tokens.
 *
 * Efficiency is perplexity x heads, the less the better: a cycle gains by lower perplexity and by
 * fewer heads, and 10 % fewer heads pay for 10 % of perplexity, to first order. The system this
 * follows took perplexity / heads, by which fewer heads at equal perplexity are a LOSS, and growing
 * heads that do nothing is a gain.
 *
 * @throws {RangeError} If a perplexity is not positive and finite, or a number of heads not whole
 * and positive.
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { gainsBetween } from "./memory.ts";
 *
 * const gains = gainsBetween({ perplexity: 20, heads: 100 }, { perplexity: 20, heads: 75 });
 * assert.deepEqual(gains, {
 *   perplexity_improvement: 0,
 *   head_reduction: 0.25,
 *   efficiency_improvement: 0.25,
 *   improvement: 0.125,
 * });
 * ```
 */
export function gainsBetween(before: ModelMeasure, after: ModelMeasure): Gains {
  for (const { perplexity, heads } of [before, after]) {
    checkNumber("perplexity", perplexity, { above: 0 });
    checkNumber("heads", heads, { min: 1, whole: true });
  }
  const drop = (from: number, to: number) => (from - to) / from;
  const perplexity_improvement = drop(before.perplexity, after.perplexity);
  const efficiency_improvement = drop(
    before.perplexity * before.heads,
    after.perplexity * after.heads,
  );
  return {
    perplexity_improvement,
    head_reduction: drop(before.heads, after.heads),
    efficiency_improvement,
    improvement: perplexity_improvement + 0.5 * efficiency_improvement,
  };
}

/** A transformation that succeeded: what was done, and what came of it. */
export type Transformation = Readonly<TransformationRecord>;

/** How much is remembered and how often it is used. */
export interface MemoryOptions {
  /** Transformations kept, 1 or more; the oldest are forgotten first. */
  readonly capacity: number;
  /** Probability, 0 to 1, that a cycle replays one, where one is remembered. */
  readonly replayProbability: number;
}

/** The options used where nothing else is said. */
export const MEMORY_DEFAULTS: MemoryOptions = { capacity: 10, replayProbability: 0.7 };

/** The whole state of a {@linkcode TransformationMemory}, as JSON. */
export type MemoryState = MemoryRecord;

const SHARE = { min: 0, max: 1 };
const DROP = { max: 1 };

/** What each field of a transformation must be. */
const FIELDS: Readonly<Record<keyof Transformation, "text" | "time" | NumberRange>> = {
  description: "text",
  pruning_strategy: "text",
  pruning_level: SHARE,
  growth_strategy: "text",
  growth_ratio: SHARE,
  perplexity_improvement: DROP,
  head_reduction: DROP,
  degeneration_change: {},
  improvement: { max: 1.5 }, // 1 + 0.5 * 1
  timestamp: "time",
};

/** Remembers the newest transformations that succeeded, and draws one to replay. */
export class TransformationMemory {
  /** How much is remembered and how often it is used. */
  readonly options: MemoryOptions;
  #entries: Transformation[] = [];

  /**
   * An empty memory.
   *
   * @param options Whatever differs from {@linkcode MEMORY_DEFAULTS}.
   * @throws {RangeError} If one is out of range.
   */
  constructor(options: Partial<MemoryOptions> = {}) {
    const { capacity, replayProbability } = this.options = { ...MEMORY_DEFAULTS, ...options };
    checkNumber("capacity", capacity, { min: 1, whole: true });
    checkNumber("replay_probability", replayProbability, SHARE);
  }

  /** What is remembered, oldest first. */
  get entries(): readonly Transformation[] {
    return this.#entries;
  }

  /**
   * Remembers a transformation; above the capacity the oldest is forgotten. Give it those alone that
   * succeeded and were not replays: a replay would crowd out others with itself.
   *
   * @throws {TypeError} If a field is missing, unknown, of the wrong kind or out of range; then
   * nothing changes.
   */
  remember(transformation: Transformation): void {
    this.#entries.push(checked(transformation, "transformation"));
    this.#trim();
  }

  /**
   * Decides whether the next cycle replays a transformation, and which. The replay probability is
   * applied here and nowhere else: the caller must not toss a coin of its own. Then each entry has
   * the weight `improvement - least improvement + 0.1`, and so 0.1 or more.
   *
   * Takes no number from the source while nothing is remembered, one where nothing is replayed, and
   * two for a replay.
   *
   * @param random A seeded source of numbers in [0, 1).
   * @returns The transformation to replay, or nothing: then choose strategies by rating.
   * @throws {RangeError} If the source leaves its range.
   */
  drawReplay(random: () => number): Transformation | undefined {
    if (this.#entries.length === 0) return undefined;
    const toss = checkNumber("random()", random(), { min: 0, below: 1 });
    if (toss >= this.options.replayProbability) return undefined;
    const improvements = this.#entries.map((entry) => entry.improvement);
    const least = improvements.reduce((a, b) => Math.min(a, b));
    return this.#entries[drawIndex(improvements.map((value) => value - least + 0.1), random)];
  }

  /** The whole state; {@linkcode TransformationMemory.fromJSON} goes on from it. */
  toJSON(): MemoryState {
    return {
      capacity: this.options.capacity,
      replay_probability: this.options.replayProbability,
      transformations: this.#entries.map((entry) => ({ ...entry })),
    };
  }

  /**
   * Rebuilds a memory from its state: of this run, or of an earlier one whose file was parsed. The
   * strategies' names are not compared with any list; whoever replays them knows which there are.
   *
   * @param options Those of the new run, where they differ from the state's. With a smaller capacity
   * the newest are kept.
   * @throws {TypeError} If the state is damaged: names the entry, counting from 0, and the field.
   * @throws {RangeError} If a given option is out of range.
   */
  static fromJSON(
    state: MemoryState,
    options: Partial<MemoryOptions> = {},
  ): TransformationMemory {
    if (!isObject(state) || !Array.isArray(state.transformations)) {
      throw new TypeError(
        `a transformation memory must be an object with a list "transformations": ${show(state)}`,
      );
    }
    checkField("capacity", state.capacity, { min: 1, whole: true });
    checkField("replay_probability", state.replay_probability, SHARE);
    const memory = new TransformationMemory({
      capacity: state.capacity,
      replayProbability: state.replay_probability,
      ...options,
    });
    memory.#entries = state.transformations.map((entry, i) =>
      checked(entry, `transformations[${i}]`)
    );
    memory.#trim();
    return memory;
  }

  #trim(): void {
    this.#entries = this.#entries.slice(-this.options.capacity);
  }
}

/** A frozen copy of a transformation. */
function checked(entry: Transformation, where: string): Transformation {
  if (!isObject(entry)) throw new TypeError(`${where} must be an object: ${show(entry)}`);
  for (const name of Object.keys(entry)) {
    if (!Object.hasOwn(FIELDS, name)) {
      throw new TypeError(
        `${where} has an unknown field: ${name}; there are ${Object.keys(FIELDS).join(", ")}`,
      );
    }
  }
  for (const [name, rule] of Object.entries(FIELDS)) {
    checkField(`${where}.${name}`, entry[name as keyof Transformation], rule);
  }
  return Object.freeze({ ...entry });
}

/** Refuses by a TypeError, range or not: what is wrong is the file, not an argument. */
function checkField(name: string, value: unknown, rule: "text" | "time" | NumberRange): void {
  const refuse = (what: string) => {
    throw new TypeError(`${name} must be ${what}: ${show(value)}`);
  };
  if (rule === "text") {
    if (typeof value !== "string" || value.trim() === "") refuse("a text that is not empty");
  } else if (rule === "time") {
    if (!isTime(value)) refuse("a time such as 2026-01-31T12:00:00.000Z");
  } else {
    try {
      checkNumber(name, value, rule);
    } catch {
      refuse(describeRange(rule));
    }
  }
}

/** Whether this is a time in the one form of `Date.toISOString()`. */
function isTime(value: unknown): boolean {
  if (typeof value !== "string") return false;
  const time = new Date(value);
  return Number.isFinite(time.getTime()) && time.toISOString() === value;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value for an error: as JSON, cut where it is long; what JSON lacks (NaN, undefined) as text. */
function show(value: unknown): string {
  const text = typeof value === "number" ? `${value}` : JSON.stringify(value) ?? `${value}`;
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}
