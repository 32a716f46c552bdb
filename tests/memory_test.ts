import assert from "node:assert/strict";
import {
  gainsBetween,
  type MemoryOptions,
  type MemoryState,
  type Transformation,
  TransformationMemory,
} from "../src/plasticity/memory.ts";
import { Random } from "../src/random.ts";
import { assertClose } from "./close.ts";

const entry = (description: string, improvement = 0.1): Transformation => ({
  description,
  pruning_strategy: "entropy",
  pruning_level: 0.2,
  growth_strategy: "balanced",
  growth_ratio: 0.5,
  perplexity_improvement: 0.05,
  head_reduction: -0.1,
  degeneration_change: -0.25,
  improvement,
  timestamp: "2026-01-31T12:00:00.000Z",
});

function remembering(entries: Transformation[], options?: Partial<MemoryOptions>) {
  const memory = new TransformationMemory(options);
  entries.forEach((each) => memory.remember(each));
  return memory;
}

const names = (memory: TransformationMemory) => memory.entries.map((each) => each.description);

/** A source of these numbers in turn, and how many were taken. */
function source(...numbers: number[]) {
  const state = { taken: 0, next: () => numbers[state.taken++] };
  return state;
}

Deno.test("gainsBetween() computes shares of the model before", () => {
  const gains = gainsBetween({ perplexity: 20, heads: 100 }, { perplexity: 18, heads: 80 });
  // 20 x 100 = 2000 to 18 x 80 = 1440: 28 % less; 0.1 + 0.5 * 0.28
  const { perplexity_improvement, head_reduction, efficiency_improvement, improvement } = gains;
  assertClose(
    [perplexity_improvement, head_reduction, efficiency_improvement, improvement],
    [0.1, 0.2, 0.28, 0.24],
    { atol: 1e-15 },
  );
});

Deno.test("fewer heads at equal perplexity are a gain, and more heads for nothing a loss", () => {
  const before = { perplexity: 20, heads: 100 };
  const fewer = gainsBetween(before, { perplexity: 20, heads: 75 });
  assert.deepEqual([fewer.efficiency_improvement, fewer.improvement], [0.25, 0.125]);
  const more = gainsBetween(before, { perplexity: 20, heads: 150 });
  assert.deepEqual([more.efficiency_improvement, more.improvement], [-0.5, -0.25]);
  const worse = gainsBetween(before, { perplexity: 25, heads: 100 });
  assert.deepEqual([worse.efficiency_improvement, worse.improvement], [-0.25, -0.375]);
});

Deno.test("gainsBetween() refuses what is no measure, on either side", () => {
  const good = { perplexity: 20, heads: 100 };
  const refuses = (change: object, message: RegExp) => {
    assert.throws(() => gainsBetween({ ...good, ...change }, good), message);
    assert.throws(() => gainsBetween(good, { ...good, ...change }), message);
  };
  refuses({ perplexity: 0 }, /^RangeError: perplexity must be above 0: 0$/);
  refuses({ perplexity: Infinity }, /^RangeError: perplexity .*: Infinity$/);
  refuses({ heads: 0 }, /^RangeError: heads must be a whole number, 1 or more: 0$/);
  refuses({ heads: 2.5 }, /^RangeError: heads .*: 2\.5$/);
});

Deno.test("the memory forgets the oldest beyond its capacity", () => {
  const memory = remembering([entry("a"), entry("b"), entry("c")], { capacity: 2 });
  assert.deepEqual(names(memory), ["b", "c"]);
  memory.remember(entry("d"));
  assert.deepEqual(names(memory), ["c", "d"]);
  assert.equal(
    remembering("abcdefghijklm".split("").map((name) => entry(name))).entries.length,
    10,
  );
});

Deno.test("what is remembered cannot be changed from outside", () => {
  const given = { ...entry("a"), pruning_level: 0.2 };
  const memory = remembering([given]);
  given.pruning_level = 0.9;
  memory.toJSON().transformations.pop();
  (memory.toJSON().transformations[0] as { pruning_level: number }).pruning_level = 0.9;
  assert.deepEqual(memory.entries, [entry("a")]);
  assert.ok(Object.isFrozen(memory.entries[0]));
});

Deno.test("a replay happens with its probability, applied once", () => {
  const memory = remembering([entry("a")]);
  const tosses = Array.from({ length: 100 }, (_, i) => (i + 0.5) / 100);
  const replays = tosses.filter((toss) => memory.drawReplay(source(toss, 0).next) !== undefined);
  assert.equal(replays.length, 70); // not the 49 of two tosses
  const none = source(0.7);
  assert.equal(memory.drawReplay(none.next), undefined);
  assert.equal(none.taken, 1);
  const replay = source(0.699, 0.5);
  assert.equal(memory.drawReplay(replay.next)?.description, "a");
  assert.equal(replay.taken, 2);
});

Deno.test("replay probabilities of 0 and 1 are never and always", () => {
  const never = remembering([entry("a")], { replayProbability: 0 });
  assert.equal(never.drawReplay(source(0, 0).next), undefined);
  const always = remembering([entry("a")], { replayProbability: 1 });
  assert.ok(always.drawReplay(source(1 - 2 ** -53, 0).next));
});

Deno.test("an empty memory replays nothing and takes no number", () => {
  const random = source();
  assert.equal(
    new TransformationMemory({ replayProbability: 1 }).drawReplay(random.next),
    undefined,
  );
  assert.equal(random.taken, 0);
});

Deno.test("the replayed entry is drawn by its improvement above the least, plus 0.1", () => {
  // 0.1, 0.4, 0.3 after shifting -0.2, 0.1, 0 up to 0.1: of 800 draws 100, 400, 300.
  const memory = remembering([entry("a", -0.2), entry("b", 0.1), entry("c", 0)]);
  const count: Record<string, number> = {};
  for (let i = 0; i < 800; i++) {
    const { description } = memory.drawReplay(source(0, (i + 0.5) / 800).next)!;
    count[description] = (count[description] ?? 0) + 1;
  }
  assert.deepEqual(count, { a: 100, b: 400, c: 300 });
  assert.equal(memory.drawReplay(source(0, 0.9999).next), memory.entries[2]);
});

Deno.test("a memory goes on from JSON with the same replays", () => {
  const memory = remembering(
    [entry("a", 0.05), entry("b", 0.3), entry("c", 0.1), entry("d", 0.2)],
    { capacity: 3, replayProbability: 0.5 },
  );
  const restored = TransformationMemory.fromJSON(JSON.parse(JSON.stringify(memory)));
  const go = (which: TransformationMemory) => {
    const random = new Random(5);
    return Array.from({ length: 40 }, (_, i) => {
      if (i === 20) which.remember(entry("e", 0.4));
      return which.drawReplay(() => random.next())?.description;
    });
  };
  const drawn = go(restored);
  assert.deepEqual(drawn, go(memory));
  assert.deepEqual(restored.toJSON(), memory.toJSON());
  assert.deepEqual(names(restored), ["c", "d", "e"]);
  assert.deepEqual(new Set(drawn), new Set(["b", "c", "d", "e", undefined]));
});

Deno.test("an earlier run's file loads under new options; a smaller capacity keeps the newest", () => {
  const file: MemoryState = remembering([entry("a"), entry("b"), entry("c")]).toJSON();
  assert.deepEqual(file.capacity, 10);
  const small = TransformationMemory.fromJSON(file, { capacity: 2 });
  assert.deepEqual(names(small), ["b", "c"]);
  assert.deepEqual(small.options, { capacity: 2, replayProbability: 0.7 });
  const large = TransformationMemory.fromJSON({ ...file, capacity: 3 }, {
    capacity: 4,
    replayProbability: 0.1,
  });
  large.remember(entry("d"));
  assert.deepEqual(names(large), ["a", "b", "c", "d"]);
  assert.equal(large.options.replayProbability, 0.1);
  // A file edited to hold more than its own capacity
  assert.deepEqual(names(TransformationMemory.fromJSON({ ...file, capacity: 1 })), ["c"]);
});

Deno.test("a damaged file is refused by entry and field", () => {
  const file = remembering([entry("a"), entry("b"), entry("c")]).toJSON();
  const refuses = (change: object, message: string) => {
    const transformations = file.transformations.with(1, { ...entry("b"), ...change });
    assert.throws(
      () => TransformationMemory.fromJSON({ ...file, transformations }),
      new TypeError(`transformations[1]${message}`),
    );
  };
  refuses({ pruning_level: 1.2 }, ".pruning_level must be between 0 and 1: 1.2");
  refuses({ pruning_level: "0.2" }, '.pruning_level must be between 0 and 1: "0.2"');
  refuses({ growth_ratio: -0.1 }, ".growth_ratio must be between 0 and 1: -0.1");
  refuses(
    { pruning_strategy: undefined },
    ".pruning_strategy must be a text that is not empty: undefined",
  );
  refuses({ growth_strategy: " " }, '.growth_strategy must be a text that is not empty: " "');
  refuses({ description: 7 }, ".description must be a text that is not empty: 7");
  refuses({ perplexity_improvement: 5 }, ".perplexity_improvement must be at most 1: 5"); // percent
  refuses({ head_reduction: null }, ".head_reduction must be at most 1: null");
  refuses({ degeneration_change: NaN }, ".degeneration_change must be a number: NaN");
  refuses({ improvement: 1.6 }, ".improvement must be at most 1.5: 1.6");
  for (const timestamp of ["yesterday", "2026-01-31", "2026-02-30T12:00:00.000Z", 1769860800000]) {
    refuses(
      { timestamp },
      `.timestamp must be a time such as 2026-01-31T12:00:00.000Z: ${JSON.stringify(timestamp)}`,
    );
  }
  refuses(
    { efficiency_improvement: 0.1 },
    " has an unknown field: efficiency_improvement; there are description, pruning_strategy, " +
      "pruning_level, growth_strategy, growth_ratio, perplexity_improvement, head_reduction, " +
      "degeneration_change, improvement, timestamp",
  );
});

Deno.test("a file that is no memory is refused", () => {
  const file = remembering([entry("a")]).toJSON();
  const refuses = (value: unknown, message: string) =>
    assert.throws(
      () => TransformationMemory.fromJSON(value as MemoryState),
      new TypeError(message),
    );
  const what = 'a transformation memory must be an object with a list "transformations"';
  refuses(null, `${what}: null`);
  refuses([], `${what}: []`);
  refuses(
    { ...file, transformations: {} },
    `${what}: ${JSON.stringify({ ...file, transformations: {} })}`,
  );
  refuses(
    { transformations: "x".repeat(100) },
    `${what}: {"transformations":"${"x".repeat(60)}...`,
  );
  refuses({ ...file, transformations: [null] }, "transformations[0] must be an object: null");
  refuses({ ...file, capacity: 0 }, "capacity must be a whole number, 1 or more: 0");
  refuses({ ...file, replay_probability: 1.1 }, "replay_probability must be between 0 and 1: 1.1");
});

Deno.test("options and entries out of range are refused, and nothing is remembered", () => {
  assert.throws(
    () => new TransformationMemory({ capacity: 0 }),
    /^RangeError: capacity must be a whole number, 1 or more: 0$/,
  );
  assert.throws(
    () => new TransformationMemory({ replayProbability: 70 }),
    /^RangeError: replay_probability must be between 0 and 1: 70; for 70 % give 0\.7$/,
  );
  const memory = remembering([entry("a")]);
  assert.throws(
    () => memory.remember({ ...entry("b"), growth_ratio: 2 }),
    /^TypeError: transformation\.growth_ratio must be between 0 and 1: 2$/,
  );
  assert.throws(() => memory.drawReplay(() => -0.1), /^RangeError: random\(\) must be .*: -0\.1$/);
  assert.deepEqual(names(memory), ["a"]);
  const file = memory.toJSON();
  assert.throws(
    () => TransformationMemory.fromJSON(file, { capacity: 0.5 }),
    /^RangeError: capacity/,
  );
});
