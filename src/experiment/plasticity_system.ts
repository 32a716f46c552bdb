/**
 * The plasticity system: cycles that prune, measure, grow and learn, of which those that fail are
 * undone, and from which the choice of the next strategies learns.
 *
 * @module
 */
import { drawable } from "../data/vocabulary.ts";
import { Generator } from "../gpt2/generate.ts";
import { compareSamples } from "../plasticity/degeneration.ts";
import { GROWTHS, type GrowthStrategy } from "../plasticity/growth.ts";
import { HeadLearningRates } from "../plasticity/head_learning_rates.ts";
import {
  type Gains,
  gainsBetween,
  type Transformation,
  TransformationMemory,
} from "../plasticity/memory.ts";
import { type Ratings, startRatings, StrategyRatings } from "../plasticity/ratings.ts";
import type { Regrowth } from "../plasticity/regrow.ts";
import { DISTINCT_STRATEGIES, type Strategy } from "../plasticity/scores.ts";
import type { CyclePlan } from "../plasticity/adaptation.ts";
import { Random, type RandomState } from "../random.ts";
import type { PlasticityCycle, PlasticityMeasure } from "../record.ts";
import type { Arm } from "./arm.ts";
import { HeadChanges, pruneCount } from "./head_changes.ts";
import { DivergedError, type Lockstep } from "./lockstep.ts";
import { Pace } from "./pace.ts";
import type { Place, PlasticitySetting } from "./plasticity_setting.ts";
import { type Materials, samplePrompts } from "./setup.ts";

/** What a cycle may do, and when it counts as a success. */
export interface PlasticityOptions {
  /** Most that the perplexity may rise, as a share of what it was. */
  max_perplexity_increase: number;
  /** Highest mean degeneration score of generated text, 0 to 5. */
  max_degeneration_score: number;
  /** What grown heads begin with. */
  regrowth: Regrowth;
  /** Gate of heads that grow where the controller has closed theirs for good. */
  grown_gate: number;
  /** Learning-rate factor of grown heads at its highest. */
  growth_boost: number;
  /** Training steps after which `onMetrics` is called within a cycle; 0 for never. */
  update_frequency: number;
  /** Tokens in each generated text. */
  sample_tokens: number;
  /** Decides donors' noise, fresh weights, random choices and samples. */
  seed: number;
}

/** The options used where nothing else is said. */
export const PLASTICITY_DEFAULTS: PlasticityOptions = {
  max_perplexity_increase: 0.15,
  max_degeneration_score: 3,
  regrowth: "warm",
  grown_gate: 1,
  growth_boost: 5,
  update_frequency: 0,
  sample_tokens: 48,
  seed: 42,
};

/** Strategies that a cycle may draw; the exact but slow oracle is not among them. */
export const PRUNING_CHOICES: readonly Strategy[] = DISTINCT_STRATEGIES.filter((name) =>
  name !== "oracle"
);

/** Growth strategies that a cycle may draw. */
export const GROWTH_CHOICES = Object.keys(GROWTHS) as readonly GrowthStrategy[];

/** What a cycle is asked to do. */
export interface CycleRequest extends CyclePlan {
  /** The model before it, where it was measured: before a controller moved gates, say. */
  readonly initial?: PlasticityMeasure;
  /** What a remembered transformation replaces: the whole plan, or its strategies alone. */
  readonly replays?: "plan" | "strategies";
  /** Counts cycles, from 1. */
  readonly cycle: number;
  /** Multipliers of the strategies' ratings for this draw: a controller's preferences. */
  readonly preferences?: { readonly pruning?: Ratings; readonly growth?: Ratings };
}

/** The system's own state, besides the models'. */
export interface PlasticitySystemState {
  random: RandomState;
  choices: RandomState;
  ratings: ReturnType<StrategyRatings["toJSON"]>;
  memory: ReturnType<TransformationMemory["toJSON"]>;
  factors: FactorStates;
  baselineTexts: string[];
}

const SAMPLING = { temperature: 0.8, topK: 40, topP: 0.95 };
// texts decide whether a cycle is kept, so they must not begin with what is judged at the end
const PROMPTS = { count: 4, length: 12, part: "validation" as const };

/** Growth warms up over most of a usual cycle and cools down over a few. */
const RATES = { warmupSteps: 50, cooldownSteps: 300 };

/** Prunes, measures, grows and learns, one cycle at a call. */
export class AdaptivePlasticitySystem {
  /** What a cycle may do. */
  readonly options: PlasticityOptions;
  /** How well each strategy has done. */
  ratings: StrategyRatings;
  /** Transformations that worked. */
  memory: TransformationMemory;
  readonly #setting: PlasticitySetting;
  /** The prompts of its samples, from the first sample on. */
  #prompts: Uint32Array[] | undefined;
  readonly #changes: HeadChanges;
  /** Learning-rate factors of the model under study, and of the random control. */
  #factors: Record<FactorArm, HeadLearningRates>;
  #gates: Float32Array;
  /** What training depends on: rolled back with the models. */
  #random: Random;
  /** What the choice of strategies depends on: it goes on, or a failed cycle would repeat itself. */
  #choices: Random;
  #baselineTexts: string[] = [];

  /** @param memory Transformations of an earlier run; none unless given. */
  constructor(
    setting: PlasticitySetting,
    options: Partial<PlasticityOptions> = {},
    memory = new TransformationMemory(),
  ) {
    this.#setting = setting;
    this.options = { ...PLASTICITY_DEFAULTS, ...options };
    this.memory = memory;
    this.ratings = new StrategyRatings({
      pruning: startRatings(PRUNING_CHOICES),
      growth: startRatings(GROWTH_CHOICES),
    });
    const { materials } = setting, { L, NH } = materials.model.config;
    const { growth_boost: boost, seed } = this.options;
    const factors = () => new HeadLearningRates({ L, NH }, { ...RATES, boost });
    this.#factors = { pruned: factors(), random_pruning: factors() };
    this.#gates = new Float32Array(L * NH).fill(1);
    this.#random = new Random(seed, 5);
    this.#choices = new Random(seed, 6);
    const random = () => this.#random;
    this.#changes = new HeadChanges(setting, this.options.regrowth, { random, control: random });
  }

  /** The model under study. */
  get #studied(): Arm {
    return this.#setting.lockstep.pruned;
  }

  /** Gates of all heads, `[L, NH]`: what a controller wants of them. */
  setGates(gates: Float32Array): void {
    this.#gates = gates.slice();
    this.#studied.setGates(gates);
  }

  /** Writes the texts that later ones are compared with; call it once, before the first cycle. */
  async begin(signal?: AbortSignal): Promise<PlasticityMeasure> {
    this.#baselineTexts = await this.#write(signal);
    return await this.measure(signal);
  }

  /** Measures the model under study as it is: loss, and the texts that it writes. */
  async measure(signal?: AbortSignal): Promise<PlasticityMeasure> {
    return await this.#measure({ text: true }, signal);
  }

  /**
   * Evaluates, prunes, measures, grows, learns and evaluates. A cycle whose perplexity rose too far,
   * whose texts degenerated or whose loss is no longer a number is undone to the last bit in every
   * arm: weights, moments, gates, batches and the generator.
   *
   * @throws {RangeError} If the plan is out of range.
   */
  async runCycle(request: CycleRequest, signal?: AbortSignal): Promise<PlasticityCycle> {
    const started = performance.now();
    const before = await this.#snapshot();
    const initial = request.initial ?? await this.measure(signal);
    const how = this.#choose(request);
    const { done, diverged } = await this.#carryOut(how, request, signal);
    const measured = done.final !== undefined && diverged === undefined;
    const final = measured ? done.final! : { ...NOT_A_NUMBER, heads: this.#studied.model.heads };
    const { improvement, ...gains } = measured ? gainsBetween(initial, final) : NO_GAINS;
    const failure = diverged ?? this.#failure(initial, final);
    const { pruning_strategy: pruning, growth_strategy: growth } = how;
    this.ratings.update(
      { pruning, growth },
      failure === undefined ? { success: true, improvement } : { success: false },
    );
    if (failure !== undefined) {
      await this.#setting.recorder.event({ event: "rollback", reason: failure });
      this.#restore(before);
    } else if (!how.replayed) this.#remember(how, { ...done, initial, final, gains, improvement });
    const { losses } = done;
    const twin = losses?.get("unpruned_twin"), random = losses?.get("random_pruning");
    return {
      cycle: request.cycle,
      success: failure === undefined,
      ...(failure !== undefined && { failure }),
      ...how,
      training_steps: request.training_steps,
      pruned_heads: done.pruned_heads,
      grown_heads: done.grown_heads,
      initial,
      pruned: done.pruned,
      grown: done.grown,
      final,
      ...(twin !== undefined && { unpruned_twin_loss: twin }),
      ...(random !== undefined && { random_pruning_loss: random }),
      ...gains,
      ...(done.final_loss !== undefined && { final_loss: done.final_loss }),
      ratings: this.ratings.toJSON(),
      cycle_time_s: (performance.now() - started) / 1e3,
    };
  }

  /** Prunes, grows and trains; tells why where the loss is no longer a number. */
  async #carryOut(
    how: Chosen,
    { cycle, training_steps }: CycleRequest,
    signal?: AbortSignal,
  ): Promise<{ done: Done; diverged?: string }> {
    const pruned_heads = await this.#prune(how.pruning_strategy, how.pruning_level);
    const pruned = await this.#measure({}, signal);
    const grown_heads = await this.#grow(how.growth_strategy, how.growth_ratio);
    const grown = await this.#measure({}, signal);
    const done: Done = { pruned_heads, pruned, grown_heads, grown };
    const { gone, come } = netChanges(done);
    this.#setting.onHeads?.(gone, come);
    try {
      done.final_loss = await this.#learn(training_steps, signal);
      done.losses = await this.#setting.lockstep.evaluate("finetuning", cycle);
      done.final = await this.#measure({ text: true, loss: done.losses.get("pruned") }, signal);
    } catch (error) {
      if (!(error instanceof DivergedError)) throw error;
      return { done, diverged: error.message };
    }
    return { done };
  }

  #remember(
    { replayed: _, ...how }: Chosen,
    { pruned_heads, grown_heads, initial, final, gains, improvement }: Done & {
      initial: PlasticityMeasure;
      final: PlasticityMeasure;
      gains: Omit<Gains, "improvement">;
      improvement: number;
    },
  ): void {
    this.memory.remember({
      description: `prune ${pruned_heads.length} by ${how.pruning_strategy}, ` +
        `grow ${grown_heads.length} by ${how.growth_strategy}`,
      ...how,
      perplexity_improvement: gains.perplexity_improvement,
      head_reduction: gains.head_reduction,
      degeneration_change: final.degeneration! - initial.degeneration!,
      improvement,
      timestamp: new Date().toISOString(),
    });
  }

  /** The system's own state; the models' is the lockstep's. */
  get state(): PlasticitySystemState {
    return {
      random: this.#random.state,
      choices: this.#choices.state,
      ratings: this.ratings.toJSON(),
      memory: this.memory.toJSON(),
      factors: this.#factorStates(),
      baselineTexts: [...this.#baselineTexts],
    };
  }

  /** Goes on from a saved state; restore the lockstep first, and set the gates after. */
  restore(state: PlasticitySystemState): void {
    this.#random = Random.restore(state.random);
    this.#choices = Random.restore(state.choices);
    this.ratings = StrategyRatings.fromJSON(state.ratings);
    this.memory = TransformationMemory.fromJSON(state.memory);
    this.#baselineTexts = [...state.baselineTexts];
    this.#restoreFactors(state.factors);
  }

  #factorStates(): FactorStates {
    const { pruned, random_pruning } = this.#factors;
    return { pruned: pruned.toJSON(), random_pruning: random_pruning.toJSON() };
  }

  #restoreFactors({ pruned, random_pruning }: FactorStates): void {
    this.#factors = {
      pruned: HeadLearningRates.fromJSON(pruned),
      random_pruning: HeadLearningRates.fromJSON(random_pruning),
    };
    this.#applyFactors();
  }

  /** Gives the models that lose and grow heads their learning-rate factors. */
  #applyFactors(): void {
    for (const name of ["pruned", "random_pruning"] as const) {
      this.#setting.lockstep.control(name)?.setHeadFactors(this.#factors[name].factors());
    }
  }

  async #snapshot(): Promise<Snapshot> {
    const saved = await this.#setting.lockstep.save();
    const factors = this.#factorStates(), random = this.#random.state;
    return { ...saved, factors, random, gates: this.#gates.slice() };
  }

  #restore({ state, tensors, factors, random, gates }: Snapshot): void {
    const values = new Map(tensors.map(({ name, data }) => [name, data]));
    this.#setting.lockstep.restore(state, values);
    this.#random = Random.restore(random);
    this.setGates(gates);
    this.#restoreFactors(factors);
  }

  // ---- the parts of a cycle -----------------------------------------------------------------

  /** What to do: a remembered transformation, or strategies drawn by rating. */
  #choose({ pruning_level, growth_ratio, preferences, replays = "plan" }: CycleRequest): Chosen {
    const draw = () => this.#choices.next();
    const known = this.memory.drawReplay(draw);
    if (known) {
      return {
        replayed: true,
        pruning_strategy: known.pruning_strategy as Strategy,
        pruning_level: replays === "plan" ? known.pruning_level : pruning_level,
        growth_strategy: known.growth_strategy as GrowthStrategy,
        growth_ratio: replays === "plan" ? known.growth_ratio : growth_ratio,
      };
    }
    return {
      replayed: false,
      pruning_strategy: this.ratings.draw("pruning", draw, preferences?.pruning) as Strategy,
      pruning_level,
      growth_strategy: this.ratings.draw("growth", draw, preferences?.growth) as GrowthStrategy,
      growth_ratio,
    };
  }

  async #prune(strategy: Strategy, level: number): Promise<Place[]> {
    const count = pruneCount(this.#studied.model, level);
    const { chosen, control } = await this.#changes.prune(strategy, { count, gates: this.#gates });
    this.#factors.pruned.prune(chosen);
    this.#factors.random_pruning.prune(control);
    return chosen.map(({ layer, head }) => [layer, head]);
  }

  async #grow(strategy: GrowthStrategy, ratio: number): Promise<Place[]> {
    const { chosen, control } = await this.#changes.grow(strategy, ratio);
    this.#factors.pruned.grow(chosen);
    this.#factors.random_pruning.grow(control);
    const arm = this.#studied;
    for (const { layer, head } of chosen) {
      const i = layer * arm.config.NH + head;
      if (this.#gates[i] === 0) this.#gates[i] = this.options.grown_gate;
    }
    arm.setGates(this.#gates);
    return chosen.map(({ layer, head }) => [layer, head]);
  }

  /** Trains every arm on the same batches; returns the mean loss over the last tenth of the steps. */
  async #learn(steps: number, signal?: AbortSignal): Promise<number | undefined> {
    const { lockstep, onStep, onMetrics } = this.#setting;
    const arm = this.#studied, pace = new Pace(), losses: number[] = [];
    const every = onMetrics ? this.options.update_frequency : 0;
    if (every > 0) arm.trainer.discardMetrics();
    for (let step = 1; step <= steps; step++) {
      const factors = Object.values(this.#factors);
      if (factors.some(({ boosted }) => boosted)) this.#applyFactors();
      lockstep.train(every > 0);
      for (const own of factors) own.step();
      if (every > 0 && step % every === 0) {
        const gates = onMetrics!(await arm.headMetrics());
        if (gates) this.setGates(gates);
      }
      if (step < steps && !pace.due(lockstep.unread)) continue;
      const read = await lockstep.read("finetuning");
      pace.read(read.length);
      for (const loss of read) losses.push(loss);
      onStep?.(step, read[read.length - 1]);
      signal?.throwIfAborted();
    }
    this.#applyFactors();
    const last = losses.slice(-Math.max(1, Math.ceil(steps / 10)));
    return last.length > 0 ? last.reduce((a, b) => a + b, 0) / last.length : undefined;
  }

  /** @param loss The validation loss, where it was measured just now. */
  async #measure(
    { text = false, loss }: { text?: boolean; loss?: number },
    signal?: AbortSignal,
  ): Promise<PlasticityMeasure> {
    const { trainer, model: { heads } } = this.#studied;
    loss ??= (await trainer.evaluator.evaluate(this.#setting.materials.validation, signal)).loss;
    const perplexity = Math.exp(loss);
    if (!text) return { loss, perplexity, heads };
    const texts = await this.#write(signal);
    const { degeneration, baseline_degeneration, quality } = compareSamples(
      texts.map((own, i) => ({ text: own, baseline: this.#baselineTexts[i] })),
    );
    return { loss, perplexity, heads, degeneration, baseline_degeneration, quality };
  }

  /** Continues the prompts, always with the same seed. */
  async #write(signal?: AbortSignal): Promise<string[]> {
    const { materials: { tokenizer, model: { config } } } = this.#setting;
    const prompts = this.#prompts ??= await encodedPrompts(this.#setting.materials);
    const longest = Math.max(...prompts.map(({ length }) => length));
    using generator = new Generator(this.#studied.model);
    const written = await generator.generate({
      prompts,
      maxNewTokens: Math.min(this.options.sample_tokens, config.T - longest),
      seed: this.options.seed,
      ...drawable(tokenizer, config),
      ...SAMPLING,
    }, signal && { signal });
    return await Promise.all(
      written.map((tokens, i) => tokenizer.decode(tokens.subarray(prompts[i].length))),
    );
  }

  /** Why a cycle is not kept; nothing where it is. */
  #failure(initial: PlasticityMeasure, final: PlasticityMeasure): string | undefined {
    const { max_perplexity_increase, max_degeneration_score } = this.options;
    const rise = final.perplexity / initial.perplexity - 1;
    if (!(rise <= max_perplexity_increase)) {
      const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
      return `perplexity rose by ${percent(rise)}, more than ${percent(max_perplexity_increase)}`;
    }
    if (!(final.degeneration! <= max_degeneration_score)) {
      return `texts degenerated: score ${
        final.degeneration!.toFixed(2)
      }, above ${max_degeneration_score}`;
    }
  }
}

/** Heads that a cycle removed or brought back for good: one that it did both to has never left. */
export function netChanges(
  { pruned_heads, grown_heads }: Pick<PlasticityCycle, "pruned_heads" | "grown_heads">,
): { gone: Place[]; come: Place[] } {
  const key = ([layer, head]: Place) => `${layer}.${head}`;
  const pruned = new Set(pruned_heads.map(key)), grown = new Set(grown_heads.map(key));
  return {
    gone: pruned_heads.filter((head) => !grown.has(key(head))),
    come: grown_heads.filter((head) => !pruned.has(key(head))),
  };
}

/** What a cycle has measured, as far as it came. */
interface Done extends Pick<PlasticityCycle, "pruned_heads" | "grown_heads" | "pruned" | "grown"> {
  final_loss?: number;
  losses?: Map<string, number>;
  final?: PlasticityMeasure;
}

/** The tokens of the prompts that a cycle continues. */
async function encodedPrompts(materials: Materials): Promise<Uint32Array[]> {
  const prompts = await samplePrompts(materials, PROMPTS);
  return await Promise.all(prompts.map((text) => materials.tokenizer.encode(text)));
}

/** The arms that lose and grow heads. */
type FactorArm = "pruned" | "random_pruning";

/** Learning-rate factors by arm. */
type FactorStates = Record<FactorArm, ReturnType<HeadLearningRates["toJSON"]>>;

/** Of a model whose loss is no longer a number; null in JSON. */
const NOT_A_NUMBER = { loss: NaN, perplexity: NaN };
const NO_GAINS: Gains = {
  perplexity_improvement: NaN,
  head_reduction: NaN,
  efficiency_improvement: NaN,
  improvement: NaN,
};

/** Everything that a failed cycle puts back. */
interface Snapshot extends Awaited<ReturnType<Lockstep["save"]>> {
  factors: FactorStates;
  random: RandomState;
  gates: Float32Array;
}

/** How a cycle prunes and grows. */
interface Chosen extends Pick<Transformation, "pruning_level" | "growth_ratio"> {
  replayed: boolean;
  pruning_strategy: Strategy;
  growth_strategy: GrowthStrategy;
}
