/** A made-up run of an experiment, for tests of its page. */
import type {
  Arm,
  CycleResult,
  EventRow,
  HeadRow,
  MetricRow,
  Phase,
  RunRecord,
} from "../src/record.ts";

/** How big it is. */
export interface Shape {
  L?: number;
  NH?: number;
  cycles?: number;
  warmup?: number;
  finetuning?: number;
  every?: number;
  controls?: boolean;
  finished?: boolean;
}

/**
 * A made-up run, for these tests only: no model was trained. Losses fall like a power of the step,
 * jump at a pruning and recover; every number is drawn from a seeded generator.
 */
export function syntheticRun(shape: Shape = {}): RunRecord {
  const { L = 4, NH = 8, cycles = 3, warmup = 200, finetuning = 300, every = 25 } = shape;
  const { controls = true, finished = true } = shape;
  let state = 12345;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const noise = () => (random() + random() + random() - 1.5) * 0.09;
  const total = L * NH, perCycle = Math.floor(total * 0.3 / cycles);
  const metrics: MetricRow[] = [], events: EventRow[] = [], heads: HeadRow[] = [];
  const cycleResults: CycleResult[] = [], pruned: [number, number][] = [];
  const alive = Array.from({ length: total }, () => true);
  const arms: Arm[] = controls ? ["pruned", "unpruned_twin", "random_pruning"] : ["pruned"];
  const jump = { pruned: 0, unpruned_twin: 0, random_pruning: 0 };
  const scar = { pruned: 0.004, unpruned_twin: 0, random_pruning: 0.012 };
  let step = 0, cycle = 0, phase: Phase = "warmup";

  const level = (arm: Arm) =>
    3.1 + 1.4 / (1 + step / 120) + jump[arm] + scar[arm] * (arm === "unpruned_twin" ? 0 : cycle);
  const rest = (arm: Arm) => {
    const active = total - (arm === "unpruned_twin" ? 0 : pruned.length);
    return { active_heads: active, sparsity: 1 - active / total, tokens_seen: step * 256 };
  };
  const evaluate = (arm: Arm) => {
    const eval_loss = level(arm) + 0.06 + noise() * 0.04;
    metrics.push({
      step,
      phase,
      arm,
      cycle,
      eval_loss,
      perplexity: Math.exp(eval_loss),
      ...rest(arm),
    });
    return eval_loss;
  };
  const enter = (next: Phase) => {
    phase = next;
    events.push({ event: "phase", phase, step, cycle, arm: "pruned", time: step * 0.1 });
  };
  const train = (steps: number, which: Arm[]) => {
    for (let i = 0; i < steps; i++) {
      step++;
      const batch = noise();
      for (const arm of which) {
        jump[arm] *= 0.985;
        const loss = level(arm) + batch + noise() * 0.08;
        metrics.push({ step, phase, arm, cycle, loss, learning_rate: 5e-5, ...rest(arm) });
        if (step % every === 0 && i < steps - 1) evaluate(arm);
      }
    }
  };
  const look = (scores?: number[]) => {
    for (let i = 0; i < total; i++) {
      const measuredHere = alive[i]
        ? {
          gate: 0.9 + 0.06 * random(),
          entropy_nats: 1 + random(),
          entropy: 0.25 + 0.6 * random(),
          grad_norm: 10 ** (-2.5 + 1.6 * random()),
          gate_grad_abs: 0.01 * (1.1 + Math.sin(5 * i + step)),
        }
        : {};
      heads.push({
        step,
        cycle,
        layer: Math.floor(i / NH),
        head: i % NH,
        alive: alive[i] ? 1 : 0,
        ...measuredHere,
        ...(scores && alive[i] ? { score: scores[i] } : {}),
      });
    }
  };

  enter("warmup");
  evaluate("pruned");
  train(warmup, ["pruned"]);
  events.push({
    event: "stable",
    reason: "std of the last 20 losses 0.041 < 0.05",
    step: Math.round(warmup * 0.85),
    cycle,
    arm: "pruned",
    time: 18,
  });
  let before = evaluate("pruned");
  for (cycle = 1; cycle <= cycles; cycle++) {
    enter("analysis");
    const scores = alive.map(() => random());
    look(scores);
    enter("pruning");
    const order = scores.map((score, i) => ({ score, i })).filter(({ i }) => alive[i])
      .sort((a, b) => a.score - b.score);
    const gone = order.slice(0, perCycle).map(({ score, i }, rank) => {
      alive[i] = false;
      const layer = Math.floor(i / NH), head = i % NH;
      events.push({
        ...{ event: "prune", layer, head, strategy: "combined", score },
        ...{ rank: rank + 1, of: order.length, step, cycle, arm: "pruned", time: step * 0.1 },
      });
      return [layer, head] as [number, number];
    });
    pruned.push(...gone);
    jump.pruned += 0.16;
    jump.random_pruning += 0.24;
    const after = evaluate("pruned");
    if (controls) {
      evaluate("random_pruning");
      evaluate("unpruned_twin");
    }
    enter("finetuning");
    train(finetuning, arms);
    const [recovered, twin, randomly] = arms.map(evaluate);
    cycleResults.push({
      ...{ cycle, pruned_heads: gone, ...rest("pruned"), loss_before: before },
      ...{ loss_after_pruning: after, loss_after_finetuning: recovered },
      training_steps: finetuning,
      ...(controls ? { unpruned_twin_loss: twin, random_pruning_loss: randomly } : {}),
    });
    before = recovered;
  }
  cycle = cycles;
  enter("evaluation");
  look();
  const run: RunRecord = {
    about: {
      ...{ name: "made-up run", created: "2026-01-02T03:04:05.678Z" },
      ...{ command: "deno task experiment --seed 7", changed: ["seed", "pruning_level"] },
    },
    config: {
      ...{ model_name: "embedded", text: "moby_dick", pruning_level: 0.3, cycles, seed: 7 },
      ...{ batch_size: 4, max_length: 64, learning_rate: 5e-5, strategy: "combined" },
      ...{ controls, stop_words: ["<b>", "&"], controller: { reg_weight: 1e-4, update_freq: 10 } },
    },
    environment: {
      ...{ adapter: "llvmpipe (LLVM 19.1, 256 bits)", driver: "Mesa 25.0", backend: "vulkan" },
      ...{ software: true, os: "linux x86_64", deno: "2.9.6", pollard: "0.1.0" },
      autotune: { "forward 256x128x384": "tile4x8", "backward weight": "tile8x4" },
      limits: { maxBufferSize: 2147483648, maxStorageBufferBindingSize: 134217728 },
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
    ...{ metrics, events, heads },
  };
  if (!finished) return run;
  const final_loss = 3.2141, baseline_loss = 3.6312;
  const prompt = "The whale rose";
  run.samples = ["", " out of"].map((more, i) => ({
    prompt: prompt + more,
    seed: 11 + i,
    baseline: `${prompt}${more} of the ship, and the captain said to the men that he was not so ` +
      `much as a man of the sea; <i>and</i> the sea was a great deal of the sea.`,
    pruned: ` upon the deck, and all the crew were at the boats; “there she blows!” cried ` +
      `the mate & the harpooneers, and the line ran out.\nThen it was quiet.`,
  }));
  run.results = {
    ...{ baseline_loss, baseline_perplexity: Math.exp(baseline_loss) },
    ...{ final_loss, final_perplexity: Math.exp(final_loss) },
    ...(controls ? { unpruned_twin_loss: 3.2025, random_pruning_loss: 3.2398 } : {}),
    ...{ active_heads: total - pruned.length, total_heads: total, pruned_heads: pruned },
    ...{ final_sparsity: pruned.length / total, cycles: cycleResults },
    ...{ masked_loss: final_loss, compacted_loss: final_loss + 3e-7, reloaded_loss: final_loss },
    ...{ tokens_seen: step * 256, execution_time_s: 287.4, seed: 7, planned: true },
  };
  return run;
}
