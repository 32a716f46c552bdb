/**
 * Which pruning score to trust on a model: every strategy scores every head on calibration text, and
 * is compared with what leaving each head out costs on validation text.
 *
 * @module
 */
import { batchWindows } from "../data/batches.ts";
import type { Window } from "../gpt2/evaluate.ts";
import type { Gpu } from "../gpu/device.ts";
import { leaveOneOutOf } from "../plasticity/leave_one_out.ts";
import { PlasticModel } from "../plasticity/plastic_model.ts";
import { chooseHeads } from "../plasticity/prune.ts";
import { spearman } from "../plasticity/rank.ts";
import {
  projectionNorms,
  scoreHeads,
  STRATEGIES,
  type Strategy,
  STRATEGY_NAMES,
} from "../plasticity/scores.ts";
import { Random } from "../random.ts";
import type { BakeoffRecord, BakeoffStrategy, DataRecord } from "../record.ts";
import { type Continuing, Saving } from "../run/continuing.ts";
import { tryAllocating } from "./allocate.ts";
import { copyOf } from "./option_rules.ts";
import { checkOptions, type ExperimentOptions } from "./options.ts";
import { absoluteModel, absoluteText } from "./resume.ts";
import { environmentRecord } from "./run.ts";
import { type LoadListeners, loadMaterials, type Materials } from "./setup.ts";

/** Shares of the heads that are removed. */
export const BAKEOFF_LEVELS: readonly number[] = [0.1, 0.3, 0.5];

/** The strategies that are compared: `taylor` is `importance` by another name. */
export const BAKEOFF_STRATEGIES: readonly Strategy[] = STRATEGY_NAMES.filter((name) =>
  name !== "taylor"
);

/** Draws of the random strategy, whose mean and extremes are told. */
export const RANDOM_DRAWS = 5;

/** The options of the experiment that a bake-off has too. */
export type BakeoffOptions = Pick<
  ExperimentOptions,
  | "model_name"
  | "text"
  | "dataset_config"
  | "text_column"
  | "max_length"
  | "batch_size"
  | "eval_tokens"
  | "seed"
>;

/** What a bake-off is continued from. */
export interface BakeoffState {
  /** Losses in the order in which they are measured, as many as there were. */
  measured: number[];
  /** Seconds spent. */
  elapsed: number;
}

/** What is going on, in evaluations. */
export interface BakeoffProgress {
  /** What is being measured. */
  what: string;
  /** Steps of it that are done. */
  done: number;
  /** Steps there are. */
  total: number;
  /** What is known already, once there is a strategy to tell of. */
  soFar?: BakeoffRecord;
}

/**
 * Loads and checks what a bake-off works on.
 *
 * @param began The `data.json` of the bake-off that is continued.
 * @throws {RangeError | TypeError} If an option is out of range, or model and text do not work out.
 */
export async function prepareBakeoff(
  given: Partial<BakeoffOptions>,
  listeners: LoadListeners = {},
  began?: DataRecord,
): Promise<{ options: BakeoffOptions; materials: Materials }> {
  const checked = checkOptions(given);
  const options = copyOf(checked, {
    ...checked,
    model_name: absoluteModel(checked.model_name),
    text: absoluteText(checked.text),
  });
  const { model_name, text, dataset_config, text_column } = options;
  const { batch_size, eval_tokens, seed } = options;
  const materials = await loadMaterials(options, listeners, began);
  const { max_length } = materials;
  return {
    options: {
      ...{ model_name, text, dataset_config, text_column },
      ...{ max_length, batch_size, eval_tokens, seed },
    },
    materials,
  };
}

/**
 * Plans what a bake-off will need and tells it, then allocates it and gives it back: a model that is
 * too large is refused here.
 *
 * @throws {RangeError} If the plan does not fit, naming what would.
 * @throws {GpuError} If the adapter has less memory than WebGPU could tell.
 */
export async function checkBakeoff(
  gpu: Gpu,
  { batch_size: B, max_length: T }: BakeoffOptions,
  materials: Materials,
  listeners: LoadListeners = {},
): Promise<void> {
  const { onMessage } = listeners;
  await tryAllocating(gpu, materials, { B, T, models: 1 }, onMessage && { onMessage });
}

/**
 * Scores every live head by every strategy on calibration text, and judges the scores on validation text,
 * which none has seen: by the loss without each head, and by the loss after 10, 30 and 50 % of the heads are
 * removed by them, without retraining.
 *
 * @param signal Stops between evaluations.
 * @param continuing Where it is saved now and then and when the signal stops it, and what it continues from.
 * @throws The signal's reason.
 */
export async function bakeoff(
  gpu: Gpu,
  options: BakeoffOptions,
  { model, calibration, validation, record }: Materials,
  onProgress: (progress: BakeoffProgress) => void = () => {},
  signal?: AbortSignal,
  continuing?: Continuing<BakeoffState>,
): Promise<BakeoffRecord> {
  const { measured: known = [], elapsed = 0 } = continuing?.from?.state ?? {};
  const started = performance.now() - 1e3 * elapsed;
  const measured: number[] = [];
  const { config } = model;
  const { L, NH, HS, C } = config;
  const shape = { B: options.batch_size, T: options.max_length };
  using plastic = new PlasticModel(gpu, config, model, shape);
  const { live, heads } = plastic.model;
  const { evaluator } = plastic.trainer;

  const saving = new Saving(continuing, () => {
    const all = [...measured, ...known.slice(measured.length)];
    const state = { measured: all, elapsed: (performance.now() - started) / 1e3 };
    return Promise.resolve({ step: all.length, state, tensors: [] });
  }, signal);
  /** The loss of the model as it is; where it was measured before, what was found then. */
  const measure = async (windows: Iterable<Window>): Promise<number> => {
    const loss = known[measured.length] ??
      (await saving.during(() => evaluator.evaluate(windows, signal))).loss;
    measured.push(loss);
    await saving.point();
    return loss;
  };

  for (const [done, { inputs, targets }] of calibration.entries()) {
    signal?.throwIfAborted();
    onProgress({ what: "head metrics", done, total: calibration.length });
    plastic.trainer.measure(inputs, targets);
    await gpu.idle(); // so that a slow device can be stopped in between
  }
  const metrics = await plastic.headMetrics();
  const { loss, lossWithout } = await leaveOneOutOf(
    plastic,
    batchWindows(calibration, evaluator.T),
    signal,
    (done, total) => onProgress({ what: `leaving out ${heads} heads, one by one`, done, total }),
    measure,
  );
  const judged = await leaveOneOutOf(
    plastic,
    validation,
    signal,
    (done, total) => onProgress({ what: "the same on validation text", done, total }),
    measure,
  );
  const projections = Array.from(
    { length: L },
    (_, l) => model.weights.get(`h.${l}.attn.c_proj.weight`)!,
  );
  const weightNorms = projectionNorms(projections, live, { NH, HS, C });

  const counts = BAKEOFF_LEVELS.map((level) => Math.min(Math.round(heads * level), heads - L));
  const lossesOf = async (scores: Float32Array) => {
    const losses: number[] = [];
    for (const count of counts) {
      const gates = new Float32Array(L * NH).fill(1);
      for (const { layer, head } of chooseHeads(scores, live, { count })) {
        gates[layer * NH + head] = 0;
      }
      plastic.setGates(gates);
      losses.push(await measure(validation));
    }
    return losses;
  };
  const places = live.flatMap((inLayer, l) => inLayer.map((h) => l * NH + h));
  const pick = (values: Float32Array) => places.map((i) => values[i]);
  const random = new Random(options.seed, 4);
  const strategies: BakeoffStrategy[] = [];
  const soFar = (): BakeoffRecord => ({
    options: { ...options },
    environment: environmentRecord(gpu),
    data: record,
    total_heads: L * NH,
    heads: places.map((i) => [Math.floor(i / NH), i % NH]),
    calibration_loss: loss,
    loss: judged.loss,
    loss_without: pick(lossWithout),
    validation_loss_without: pick(judged.lossWithout),
    levels: [...BAKEOFF_LEVELS],
    removed: counts,
    strategies: [...strategies],
    execution_time_s: (performance.now() - started) / 1e3,
  });
  for (const [done, name] of BAKEOFF_STRATEGIES.entries()) {
    onProgress({
      ...{ what: `removing heads by ${name}`, done, total: BAKEOFF_STRATEGIES.length },
      ...(done > 0 && { soFar: soFar() }),
    });
    const draws = name === "random" ? RANDOM_DRAWS : 1;
    const rows: { losses: number[]; correlation: number; scores: Float32Array }[] = [];
    for (let i = 0; i < draws; i++) {
      const inputs = { metrics, weightNorms, lossWithout, random: () => random.next() };
      const scores = scoreHeads(name, inputs);
      rows.push({
        scores,
        correlation: spearman(pick(scores), pick(judged.lossWithout)),
        losses: await lossesOf(scores),
      });
    }
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    const column = (i: number) => rows.map(({ losses }) => losses[i]);
    strategies.push({
      name,
      description: STRATEGIES[name].description,
      correlation: mean(rows.map(({ correlation }) => correlation)),
      losses: counts.map((_, i) => mean(column(i))),
      ...(draws > 1 && {
        draws,
        least: counts.map((_, i) => Math.min(...column(i))),
        most: counts.map((_, i) => Math.max(...column(i))),
      }),
      scores: pick(rows[0].scores),
    });
  }
  return soFar();
}
