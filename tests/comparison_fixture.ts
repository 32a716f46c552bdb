/** Made-up run folders with just what a comparison reads, for tests and looking only. */
import { join } from "node:path";
import { type CycleResult, RUN_MARK, type RunKind } from "../src/record.ts";

/** A made-up run. */
export interface MadeRun {
  kind?: RunKind;
  strategy?: string;
  level?: number;
  seed?: number;
  /** Test losses: of the pruned model, its twin and random pruning. */
  loss?: number | null;
  twin?: number;
  random?: number;
  removed?: number;
  total?: number;
  cycles?: CycleResult[];
  planned?: boolean;
  /** Further options, or others. */
  config?: Record<string, unknown>;
  adapter?: string;
  /** Whether it left results. */
  finished?: boolean;
}

/** Writes a made-up run's folder. @returns Its path. */
export async function makeRun(parent: string, name: string, made: MadeRun = {}): Promise<string> {
  const { kind = "experiment", strategy = "importance", level = 0.25, seed = 1 } = made;
  const { loss = 4, twin, random, removed = 8, total = 32, finished = true } = made;
  const dir = join(parent, name);
  await Deno.mkdir(dir, { recursive: true });
  const put = (file: string, value: unknown) =>
    Deno.writeTextFile(join(dir, file), JSON.stringify(value));
  await put(RUN_MARK, { format: 1, kind });
  await put("config.json", {
    ...{ model_name: "embedded", cycles: 2, learning_rate: 3e-4, seed, pruning_level: level },
    ...(kind === "experiment"
      ? { text: "moby_dick", strategy, controls: twin !== undefined }
      : { dataset: "moby_dick", controller_type: strategy, pruning_level: 0.1 }),
    output_dir: parent,
    ...made.config,
  });
  const limits = { maxBufferSize: 2147483648 }, { adapter = "made-up adapter" } = made;
  await put("environment.json", {
    ...{ adapter, driver: "made-up", backend: "vulkan", software: true, os: "linux x86_64" },
    ...{ deno: "2.9.6", pollard: "0.1.0", autotune: {}, limits },
  });
  const part = (start: number, end: number) => ({ start, end });
  await put("data.json", {
    ...{ text: "moby_dick", sha256: "ab".repeat(32), tokenizer_sha256: "cd".repeat(32) },
    model_sha256: "ef".repeat(32),
    parts: {
      ...{ train: part(0, 3200), calibration: part(3200, 3400) },
      ...{ validation: part(3400, 3800), test: part(3800, 4200) },
    },
  });
  if (!finished) return dir;
  const controls = {
    ...(twin !== undefined && { unpruned_twin_loss: twin }),
    ...(random !== undefined && { random_pruning_loss: random }),
  };
  const heads = { active_heads: total - removed, total_heads: total, seed };
  await put(
    "results.json",
    kind === "experiment"
      ? {
        ...{ ...controls, ...heads, final_loss: loss, tokens_seen: 1000 },
        ...{ baseline_loss: 4.2, masked_loss: loss, compacted_loss: loss, reloaded_loss: loss },
        ...{ final_sparsity: removed / total, pruned_heads: [], execution_time_s: 10 },
        ...{ cycles: made.cycles ?? [], planned: made.planned ?? true },
      }
      : {
        ...{ ...controls, ...heads, test_loss: loss, reloaded_loss: loss, cycle_metrics: [] },
        ...{ baseline_perplexity: 60, best_perplexity: 55, best_cycle: 1, improvement: 0.08 },
        ...{ cycles_completed: 1, stopped: "all cycles are done", total_duration: 10 },
      },
  );
  return dir;
}

/** A cycle's end: validation losses minus 4. */
export function madeCycle(
  cycle: number,
  sparsity: number,
  { own, twin, random }: { own: number; twin: number; random: number },
): CycleResult {
  return {
    ...{ cycle, sparsity, pruned_heads: [], active_heads: Math.round(32 * (1 - sparsity)) },
    ...{ loss_before: 4, loss_after_pruning: 4.2, loss_after_finetuning: 4 + own },
    ...{ unpruned_twin_loss: 4 + twin, random_pruning_loss: 4 + random, training_steps: 20 },
  };
}
