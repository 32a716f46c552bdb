/** A made-up integrated run, for tests and looking only: no model was trained. */
import type {
  DecisionRound,
  EventRow,
  HeadRow,
  IntegrationCycle,
  IntegrationRecord,
  MemoryRecord,
  MetricRow,
  PlasticityMeasure,
} from "../src/record.ts";

/** What one cycle of the made-up run does. */
export interface MadeCycle {
  /** How heads to prune were chosen. */
  by: string;
  /** How heads to grow were chosen. */
  grow: string;
  /** Heads to prune. */
  count: number;
  /** Heads to grow. */
  back: number;
  /** Why it is rolled back; kept if absent. */
  failure?: string;
  /** Whether its plan came from memory. */
  replayed?: boolean;
}

/** The shape of a made-up run. */
export interface Made {
  L?: number;
  NH?: number;
  cycles?: MadeCycle[];
  controls?: boolean;
  /** Rounds of decisions before each cycle. */
  rounds?: number;
  finished?: boolean;
}

/** Five cycles: one is rolled back, one replayed. */
export const FIVE: MadeCycle[] = [
  { by: "entropy", grow: "gradient_sensitivity", count: 4, back: 2 },
  { by: "taylor", grow: "entropy_gap", count: 5, back: 2 },
  {
    by: "magnitude",
    grow: "random",
    count: 9,
    back: 3,
    failure: "perplexity rose by 23.4 %, more than 15.0 %",
  },
  { by: "entropy", grow: "gradient_sensitivity", count: 3, back: 3, replayed: true },
  { by: "fisher", grow: "balanced", count: 4, back: 1 },
];

/** What every made-up rating begins with. */
const RATINGS = {
  pruning: {
    ...{ entropy: 1, gradient: 1, combined: 1, magnitude: 1, random: 0.5, taylor: 1 },
    ...{ fisher: 1, output_norm: 1 },
  } as Record<string, number>,
  growth: {
    ...{ gradient_sensitivity: 1, entropy_gap: 1, balanced: 1, hebbian: 1, random: 0.5 },
  } as Record<string, number>,
};

/** Makes a run whose every number is drawn from a seeded generator. */
export function syntheticIntegration(made: Made = {}): IntegrationRecord {
  const { L = 4, NH = 8, cycles: plans = FIVE, controls = true, rounds = 3, finished = true } =
    made;
  let state = 4321;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const around = () => random() + random() + random() - 1.5;
  const total = L * NH;
  const all: [number, number][] = Array.from(
    { length: total },
    (_, i) => [Math.floor(i / NH), i % NH],
  );
  let live = new Set(all.map((place) => place.join()));
  let loss = 3.42, step = 0, time = 6;
  const ratings = structuredClone(RATINGS);
  const cycles: IntegrationCycle[] = [], events: EventRow[] = [], metrics: MetricRow[] = [];
  const heads: HeadRow[] = [];
  const memory: MemoryRecord = { capacity: 5, replay_probability: 0.7, transformations: [] };
  const preferences: Record<string, number> = {};

  plans.forEach((plan, i) => {
    const cycle = i + 1, failure = plan.failure;
    const heads_before = Array.from(
      { length: L },
      (_, layer) =>
        all.filter((place) => place[0] === layer && live.has(place.join()))
          .map(([, head]) => head),
    );
    const common = { step, time, cycle, arm: "pruned" as const };
    const advised = Array.from({ length: rounds }, (_, r) => madeRound(r + 1));
    // every layer keeps a head
    const left = heads_before.map((heads) => heads.length);
    const order = all.filter((place) => live.has(place.join()))
      .map((place) => ({ place, score: random() })).sort((a, b) => a.score - b.score);
    const gone = order.filter(({ place: [layer] }) => left[layer] > 1 && left[layer]-- > 0)
      .slice(0, plan.count);
    gone.forEach(({ place: [layer, head], score }, rank) => {
      const choice = { strategy: plan.by, score, rank: rank + 1, of: order.length };
      events.push({ ...common, event: "prune", layer, head, ...choice });
    });
    all.forEach(([layer, head], k) => {
      const wave = 0.5 + 0.4 * Math.sin(7 * k + i);
      const known = {
        ...{ gate: 0.9 - 0.2 * wave, entropy: wave, grad_norm: 0.1 + wave, score: wave },
        gate_grad_abs: 0.01 * wave,
      };
      const alive = live.has(`${layer},${head}`);
      heads.push({ step, cycle, layer, head, alive: alive ? 1 : 0, ...(alive && known) });
    });
    const after = new Set(live);
    for (const { place } of gone) after.delete(place.join());
    const dead = all.filter((place) => !after.has(place.join()))
      .map((place) => ({ place, score: random() })).sort((a, b) => b.score - a.score);
    const grown = dead.slice(0, plan.back);
    grown.forEach(({ place: [layer, head], score }, rank) => {
      const choice = { strategy: plan.grow, score, rank: rank + 1, of: dead.length };
      events.push({ ...common, event: "grow", regrowth: "warm", layer, head, ...choice });
    });
    const end = new Set(after);
    for (const { place } of grown) end.add(place.join());

    const measure = (value: number, heads: number, more = {}): PlasticityMeasure => (
      { loss: value, perplexity: Math.exp(value), heads, ...more }
    );
    const texts = { degeneration: 0.2 + 0.1 * random(), baseline_degeneration: 0.21 };
    const before = loss + 0.002 * around();
    const initial = measure(before, live.size, { ...texts, quality: 0.97 });
    const hurt = before + 0.008 * plan.count + 0.01 * random();
    const trained = failure ? before + 0.21 : before - 0.035 + 0.01 * around();
    const final = measure(trained, end.size, {
      ...texts,
      degeneration: 0.25 + 0.2 * random(),
      quality: 0.9 + 0.05 * random(),
    });
    const perplexity_improvement = 1 - final.perplexity / initial.perplexity;
    const head_reduction = 1 - final.heads / initial.heads;
    const efficiency_improvement = 1 -
      final.perplexity * final.heads / (initial.perplexity * initial.heads);
    const improvement = perplexity_improvement + 0.5 * efficiency_improvement;
    const factor = failure ? 0.8 : 1 + Math.max(0, improvement);
    ratings.pruning[plan.by] *= factor;
    ratings.growth[plan.grow] *= factor;
    const training_steps = [60, 60, 60, 72, 60][i % 5];
    const plan_ = { pruning_level: 0.1 + 0.01 * i, growth_ratio: [0.5, 0.3, 0.7][i % 3] };
    if (!failure && !plan.replayed) {
      memory.transformations.push({
        description: `prune ${gone.length} by ${plan.by}, grow ${grown.length} by ${plan.grow}`,
        ...{ pruning_strategy: plan.by, growth_strategy: plan.grow, ...plan_ },
        ...{ perplexity_improvement, head_reduction, improvement },
        degeneration_change: final.degeneration! - initial.degeneration!,
        timestamp: `2026-03-04T05:0${i % 10}:07.000Z`,
      });
    }
    const gates = Array.from(
      { length: L },
      (_, layer) =>
        Array.from(
          { length: NH },
          (_, head) =>
            (failure ? live : end).has(`${layer},${head}`)
              ? Number((0.8 + 0.15 * random()).toFixed(4))
              : 0,
        ),
    );
    cycles.push({
      ...{
        cycle,
        success: !failure,
        ...(failure && { failure }),
        replayed: plan.replayed ?? false,
      },
      ...{ pruning_strategy: plan.by, growth_strategy: plan.grow, ...plan_, training_steps },
      pruned_heads: gone.map(({ place }) => place),
      grown_heads: grown.map(({ place }) => place),
      initial,
      pruned: measure(hurt, after.size),
      grown: measure(hurt - 0.0008, end.size),
      final,
      ...(controls && {
        unpruned_twin_loss: trained - 0.004 - 0.002 * random() - (failure ? 0.2 : 0),
        random_pruning_loss: trained + 0.012 + 0.01 * random(),
      }),
      ...{ perplexity_improvement, head_reduction, efficiency_improvement, final_loss: trained },
      ratings: structuredClone(ratings),
      cycle_time_s: 34 + 5 * random(),
      heads_before,
      advice: {
        pruned_percent: 100 * (1 - live.size / total),
        preferences: { ...preferences },
        controller_lr: 0.01 * 0.9 ** i,
        ...(rounds > 0 && { rounds: advised }),
      },
      gates,
    });
    preferences[plan.by] = (preferences[plan.by] ?? 1) * (failure ? 0.5 : 1 + head_reduction);
    if (failure) events.push({ ...common, event: "rollback", reason: failure });
    else {
      live = end;
      loss = trained;
      step += training_steps;
    }
    time += 40;

    function madeRound(round: number): DecisionRound {
      const moved = all.filter((place) => live.has(place.join()) && random() < 0.4);
      const decisions = moved.map(([layer, head]) => {
        const realised_loss_change = 0.0009 * around();
        const gate_before = 0.85 + 0.1 * random();
        return {
          ...{ layer, head, gate_before, gate: gate_before - 0.1 * random() },
          predicted_loss_change: realised_loss_change * 0.8 + 0.0003 * around(),
          ...{ realised_loss_change, explored: random() < 0.2 },
        };
      });
      const sum = (of: "predicted_loss_change" | "realised_loss_change") =>
        decisions.reduce((all, decision) => all + decision[of], 0);
      const realised_loss_change = sum("realised_loss_change");
      return {
        ...{ round, realised_loss_change, decisions, kept: realised_loss_change < 0.001 },
        predicted_loss_change: sum("predicted_loss_change"),
        estimated_loss_change: realised_loss_change * 0.4 + 0.001 * around(),
      };
    }
  });

  const run: IntegrationRecord = {
    about: {
      ...{ name: "made-up cycles", created: "2026-01-02T03:04:05.678Z" },
      ...{ command: "deno task integrate --seed 7", changed: ["seed", "controller_type"] },
    },
    config: {
      ...{ model_name: "embedded", dataset: "moby_dick", controller_type: rounds ? "mlp" : "ann" },
      ...{ max_cycles: 10, learning_rate: 3e-4, controller_lr: 0.01, pruning_level: 0.1, seed: 7 },
      controls,
    },
    environment: {
      ...{ adapter: "llvmpipe (LLVM 19.1, 256 bits)", driver: "Mesa 25.0", backend: "vulkan" },
      ...{ software: true, os: "linux x86_64", deno: "2.9.6", pollard: "0.1.0" },
      autotune: { "forward 256x128x384": "tile4x8" },
      limits: { maxBufferSize: 2147483648 },
    },
    data: {
      ...{ text: "moby_dick", sha256: "ab".repeat(32), tokenizer_sha256: "cd".repeat(32) },
      model_sha256: "ef".repeat(32),
      parts: {
        train: { start: 0, end: 320000 },
        calibration: { start: 320000, end: 340000 },
        validation: { start: 340000, end: 380000 },
        test: { start: 380000, end: 420000 },
      },
    },
    ...{ cycles, metrics, events, heads, memory },
  };
  for (const { cycle, final } of cycles) {
    metrics.push({
      ...{ step: 60 * cycle, phase: "finetuning", arm: "pruned", cycle, eval_loss: final.loss },
      ...{ sparsity: 1 - final.heads / total, active_heads: final.heads },
      tokens_seen: 60 * cycle * 256,
    });
  }
  if (!finished) return run;
  const kept = cycles.filter(({ success }) => success);
  const best = kept.reduce<IntegrationCycle | undefined>(
    (a, b) => a === undefined || b.final.loss < a.final.loss ? b : a,
    undefined,
  );
  const baseline = Math.exp(3.42), reached = best?.final.perplexity ?? baseline;
  run.results = {
    ...{ baseline_perplexity: baseline, best_perplexity: reached },
    ...{ best_cycle: best?.cycle ?? 0, improvement: 1 - reached / baseline },
    ...{ test_loss: 3.2141, reloaded_loss: 3.2141 },
    ...(controls && { unpruned_twin_loss: 3.2025, random_pruning_loss: 3.2398 }),
    ...{ active_heads: best?.final.heads ?? total, total_heads: total },
    cycles_completed: cycles.length,
    stopped: "all cycles are done",
    ...{ cycle_metrics: cycles, total_duration: 211.4, seed: 7 },
  };
  return run;
}
