/**
 * How fast a model with heads removed is, beside its full shape with every head computed, on the same
 * device at the same time.
 *
 * @module
 */
import type { Model } from "../data/model_files.ts";
import { padWeights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import { Decoder, type Writing } from "../gpt2/decoder.ts";
import { allHeads } from "../gpt2/layout.ts";
import { Gpt2 } from "../gpt2/model.ts";
import {
  decodingSize,
  passBytes,
  passOperations,
  type PassSize,
  prefillSize,
  type Work,
} from "../gpt2/work.ts";
import type { Gpu } from "../gpu/device.ts";
import { measureFence } from "../gpu/fence.ts";
import { submit } from "../gpu/kernel.ts";
import { samplingRule } from "../kernels/sampling.ts";
import { tuneMatmul } from "../kernels/tune.ts";
import { Random } from "../random.ts";
import { checkNumber } from "../ranges.ts";
import type { PassSpeed, SpeedRecord, WorkBound } from "../record.ts";
import { spread } from "../spread.ts";
import { planMemory } from "./memory_plan.ts";
import { environmentRecord } from "./run.ts";

/** What is timed. */
export interface SpeedOptions {
  /** Sequences that are computed at once. */
  batch_size: number;
  /** Tokens of each prompt. */
  prompt_length: number;
  /** Tokens that each sequence is extended by. */
  new_tokens: number;
  /** How often each is timed. */
  rounds: number;
}

/** The options' defaults, where the model's context has room for them. */
export const SPEED_DEFAULTS: Readonly<SpeedOptions> = {
  ...{ batch_size: 1, prompt_length: 128, new_tokens: 16, rounds: 5 },
};

/** How to follow the timing. */
export interface SpeedControls {
  /** Ends it between two timings: the signal's reason is thrown. */
  signal?: AbortSignal | undefined;
  /** Called before each timing. */
  onProgress?: (progress: { phase: string; step: number; total: number }) => void;
}

/** A model's sizes, heads and weights. */
type InMemory = Pick<Model, "config" | "live" | "weights">;

/** Milliseconds that a timing takes at least: the wait at its end is uncertain by some 5. */
const LEAST_MS = 300;

const PASSES = ["prefill", "decoding"] as const;
type Pass = typeof PASSES[number];
const FORMS = ["full", "compact"] as const;

/**
 * Fills in and checks what is to be timed. Prompts have half of a short model's context unless a
 * length is given, and new tokens what is left of it.
 *
 * @throws {RangeError} If a number is out of range, or prompt and new tokens exceed the context.
 */
export function checkSpeedOptions(
  { T, V }: Gpt2Config,
  given: Partial<SpeedOptions> = {},
): SpeedOptions {
  const {
    batch_size = SPEED_DEFAULTS.batch_size,
    rounds = SPEED_DEFAULTS.rounds,
    prompt_length = Math.max(1, Math.min(SPEED_DEFAULTS.prompt_length, Math.floor(T / 2))),
  } = given;
  checkNumber("batch_size", batch_size, { min: 1, max: 4096, whole: true });
  checkNumber("rounds", rounds, { min: 1, max: 1000, whole: true });
  checkNumber("prompt_length", prompt_length, { min: 1, max: T - 1, whole: true });
  const { new_tokens = Math.min(SPEED_DEFAULTS.new_tokens, T - prompt_length) } = given;
  checkNumber("new_tokens", new_tokens, { min: 1, whole: true });
  if (prompt_length + new_tokens > T) {
    throw new RangeError(
      `prompt_length ${prompt_length} and new_tokens ${new_tokens} make ` +
        `${prompt_length + new_tokens}: more than the model's ${T} positions`,
    );
  }
  samplingRule({ temperature: 0 }, V); // refuses vocabularies that are too large
  return { batch_size, prompt_length, new_tokens, rounds };
}

/**
 * Times prompts and their continuations with the model's full shape, every head computed, as programs
 * do that load the padded form, and with the heads that are left; in turns, because machines drift.
 * Prompts are drawn at random, and the likeliest tokens continue them.
 *
 * @throws {RangeError} If an option is out of range, the adapter cannot hold so many sequences, or the
 * logits are not finite.
 * @throws {GpuError} If the two forms do not fit the adapter, or the device fails.
 */
export async function measureSpeed(
  gpu: Gpu,
  model: Pick<Model, "config" | "live" | "weights">,
  given: Partial<SpeedOptions> = {},
  { signal, onProgress }: SpeedControls = {},
): Promise<SpeedRecord> {
  const { config, live, weights } = model;
  const options = checkSpeedOptions(config, given);
  const { batch_size: B, prompt_length: T, new_tokens: writes } = options;
  const every = allHeads(config);
  planMemory(gpu, { config, live: every }, {
    ...{ B, T, writes, models: FORMS.length, training: false, lengthOption: "prompt_length" },
  });
  await tuneMatmul(gpu);
  const padded = padWeights(config, live, weights);
  using full = new TimedForm(gpu, { config, live: every, weights: padded }, options);
  using compact = new TimedForm(gpu, model, options);
  const forms = { full, compact };

  const steps = timings(options.rounds);
  let step = 0;
  const next = (phase: string) => {
    signal?.throwIfAborted();
    onProgress?.({ phase, step: step++, total: steps });
  };
  const written: string[][] = [];
  for (const name of FORMS) {
    next("compiling");
    written.push(await forms[name].write());
  }
  const clock = { fenceMs: await measureFence(gpu) };
  const timed = {} as Record<Pass, ComparedTimes>;
  for (const pass of PASSES) {
    next("compiling");
    const times = await enough(compact, pass, clock);
    timed[pass] = { full: [], compact: [] };
    for (let round = 0; round < options.rounds; round++) {
      for (const name of FORMS) {
        next(pass);
        timed[pass][name].push(await forms[name].time(pass, times, clock));
      }
    }
  }
  return {
    environment: environmentRecord(gpu),
    created: new Date().toISOString(),
    active_heads: live.flat().length,
    total_heads: every.flat().length,
    ...options,
    same_continuations: written[0].filter((tokens, b) => tokens === written[1][b]).length,
    ...compared(model, options, timed),
  };
}

/** How often `onProgress` is called. */
function timings(rounds: number): number {
  return FORMS.length + PASSES.length * (1 + FORMS.length * rounds);
}

/** Milliseconds of a pass in each round. */
type ComparedTimes = Record<typeof FORMS[number], number[]>;

function compared(
  { config, live }: InMemory,
  { batch_size: B, prompt_length: P, new_tokens: N }: SpeedOptions,
  timed: Record<Pass, ComparedTimes>,
): Pick<SpeedRecord, Pass> {
  const bound = (size: PassSize, work: typeof passBytes): WorkBound => {
    const total = ({ attention, other }: Work) => attention + other;
    const whole = work(config, allHeads(config), size);
    const full = total(whole), compact = total(work(config, live, size));
    const attention_share = whole.attention / full;
    return { full, compact, attention_share, most_speedup: full / compact };
  };
  const speeds = ({ full, compact }: ComparedTimes, size: PassSize) => {
    const speed = (times: number[]): PassSpeed => {
      const milliseconds = spread(times);
      return { tokens_per_s: 1000 * size.rows / milliseconds.median, milliseconds };
    };
    return {
      full: speed(full),
      compact: speed(compact),
      speedup: spread(full.map((time, round) => time / compact[round])),
      operations: bound(size, passOperations),
    };
  };
  const prefill = prefillSize({ B, P }), decoding = decodingSize({ B, P, N });
  return {
    prefill: speeds(timed.prefill, prefill),
    decoding: { ...speeds(timed.decoding, decoding), bytes: bound(decoding, passBytes) },
  };
}

/** How many passes make a timing long enough. */
async function enough(form: TimedForm, pass: Pass, clock: Clock): Promise<number> {
  let times = 1;
  while (true) {
    const ms = times * await form.time(pass, times, clock);
    if (ms >= LEAST_MS) return times;
    const missing = Math.ceil(1.2 * LEAST_MS / Math.max(ms, 1));
    times *= Math.max(2, Math.min(16, missing));
  }
}

interface Clock {
  /** What an empty wait costs. */
  fenceMs: number;
}

/** One form of a model on the device, with what its passes need. */
class TimedForm implements Disposable {
  readonly #gpu: Gpu;
  readonly #decoder: Decoder;
  readonly #begin: () => Writing;
  readonly #prompts: readonly Uint32Array[];
  readonly #newTokens: number;
  readonly #owned: DisposableStack;

  constructor(gpu: Gpu, { config, live, weights }: InMemory, options: SpeedOptions) {
    const { batch_size: B, prompt_length: T, new_tokens: maxNewTokens } = options;
    const shape = { B, T, S: T + maxNewTokens };
    const random = new Random(0);
    const draw = () => Uint32Array.from({ length: T }, () => random.int(config.V));
    const prompts = Array.from({ length: B }, draw);
    const rule = samplingRule({ temperature: 0 }, config.V);
    using owned = new DisposableStack(); // gives everything back if the rest fails
    const model = owned.use(new Gpt2(gpu, config, weights, live));
    const decoder = owned.use(new Decoder(model, shape, gpu.maxBinding));
    this.#gpu = gpu;
    this.#decoder = decoder;
    this.#begin = () => decoder.begin(shape, { prompts, maxNewTokens, rule });
    this.#prompts = prompts;
    this.#newTokens = maxNewTokens;
    this.#owned = owned.move();
  }

  /** Submits a pass. Decoding finds the cache as the last prefill left it, and begins behind it. */
  #submit(pass: Pass): Writing {
    const writing = this.#begin();
    if (pass === "prefill") submit(this.#gpu, writing.prefill);
    else for (let i = 0; i < this.#newTokens; i++) submit(this.#gpu, writing.decode);
    return writing;
  }

  /** Does both passes, and reads what each sequence was continued with. */
  async write(): Promise<string[]> {
    this.#submit("prefill");
    await this.#gpu.idle();
    const writing = this.#submit("decoding");
    const known = this.#prompts.map((prompt) => [...prompt]);
    return (await this.#decoder.look(writing, known)).map(({ fresh }) => fresh.join(" "));
  }

  /** Milliseconds of one pass, where so many are submitted together and waited for once. */
  async time(pass: Pass, times: number, { fenceMs }: Clock): Promise<number> {
    const start = performance.now();
    for (let i = 0; i < times; i++) this.#submit(pass);
    await this.#gpu.idle();
    return (performance.now() - start - fenceMs) / times;
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
