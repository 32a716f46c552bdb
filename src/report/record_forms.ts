/**
 * What each record of a run folder must hold. Every form is typed by its record: a key that is
 * missing here, or is of another type there, does not compile.
 *
 * @module
 */
import type {
  AboutRun,
  Arm,
  ControllerAdvice,
  CycleResult,
  DataRecord,
  DecisionRound,
  EnvironmentRecord,
  EventRow,
  HeadDecision,
  HeadRow,
  IntegrationCycle,
  IntegrationResults,
  MemoryRecord,
  MetricRow,
  Phase,
  PlasticityMeasure,
  Results,
  RunKind,
  Sample,
  SweepPlanRun,
  SweepRecord,
  TransformationRecord,
} from "../record.ts";
import { v } from "./deps.ts";

/** A check of a parsed value; its message says what the value must be. */
export type Form<T> = v.GenericSchema<unknown, T>;

/** Heads of the full model that a page has room for. */
export const MOST_HEADS = 16_384;

const text = v.string("must be a text");
const flag = v.boolean("must be true or false");

/** A whole number from `least` to `most`. */
function whole(least: number, most = Number.MAX_SAFE_INTEGER): Form<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;
  const message = `must be a whole number, ${range}`;
  return v.pipe(
    v.number(message),
    v.safeInteger(message),
    v.minValue(least, message),
    v.maxValue(most, message),
  );
}

const count = whole(0);
const cycleNumber = whole(1);
const headCount = whole(0, MOST_HEADS);
const headIndex = whole(0, MOST_HEADS - 1);

/** Numbers of more digits are no measurements: sums of them would be infinite. */
const MOST = 1e100;

/** A number from `least` to `most`. */
function number(least = -MOST, most = MOST): Form<number> {
  const message = most !== MOST
    ? `must be a number from ${least} to ${most}`
    : least !== -MOST
    ? `must be a number, ${least} or more`
    : `must be a number from ${least} to ${most}`;
  return v.pipe(v.number(message), v.minValue(least, message), v.maxValue(most, message));
}

/** What was measured may have been no number: JSON writes null then. It is read as NaN. */
function measured(least = -MOST, most = MOST): Form<number> {
  const form = number(least, most);
  return v.union(
    [v.pipe(v.null(), v.transform(() => NaN)), form],
    (issue) => v.safeParse(form, issue.input).issues?.[0].message ?? "must be a number",
  );
}

const amount = measured(), loss = amount, difference = amount, score = amount;
const norm = measured(0);
const share = number(0, 1);
const seconds = number(0);
/** exp(loss) goes as far as f64 does. */
const perplexity = measured(0, Number.MAX_VALUE);
const seed = number();

const notAList = v.custom<object>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  "must be an object",
);

/** A record of these keys; further ones, as later versions may write them, are kept. */
function record<T extends object>(entries: { [K in keyof T]-?: Form<T[K]> }): Form<T> {
  return v.pipe(notAList, v.looseObject(entries)) as unknown as Form<T>;
}

/** A record whose further keys are shown on the page, so that they are checked, too. */
function shown<T extends object>(entries: { [K in keyof T]-?: Form<T[K]> }): Form<T> {
  return v.pipe(notAList, v.objectWithRest(entries, option)) as unknown as Form<T>;
}

function listOf<T>(form: Form<T>, what = "must be a list"): Form<T[]> {
  return v.array(form, what);
}

/** A record by names that are not known before. */
function byName<T>(form: Form<T>): Form<Record<string, T>> {
  return v.pipe(notAList, v.record(v.string(), form));
}

function oneOf<const T extends string>(...names: T[]): Form<T> {
  return v.picklist(names, `must be one of ${names.join(", ")}`);
}

/** A key that need not be there. */
function optional<T>(form: Form<T>): Form<T | undefined> {
  return v.optional(form);
}

/** A key that runs of earlier versions lack: pages say nothing of it then. */
function later<T>(form: Form<T>): Form<T> {
  return v.optional(form) as Form<T>;
}

const place: Form<[number, number]> = v.strictTuple(
  [headIndex, headIndex],
  "must be [layer, head]",
);
const places = listOf(place, "must be a list of [layer, head]");

const phase = oneOf<Phase>("warmup", "analysis", "pruning", "finetuning", "evaluation");
const arm = oneOf<Arm>("pruned", "unpruned_twin", "random_pruning");

/** What an option can be, and what else is only shown. */
const scalar = v.union(
  [v.string(), number(), v.boolean(), v.null()],
  "must be a text, a number, true or false",
);
const named = "must be a text, a number, true or false, or a list or an object of these";
const plain = v.union([scalar, v.array(v.nonNullish(scalar))], named);
const option = v.union([plain, byName(plain)], named);

/** `config.json`, and the options of a sweep. */
export const configForm: Form<Record<string, unknown>> = byName<unknown>(option);

/** `environment.json`. */
export const environmentForm = shown<EnvironmentRecord>({
  adapter: text,
  vendor: optional(text),
  driver: text,
  backend: text,
  software: flag,
  os: text,
  deno: text,
  pollard: text,
  autotune: byName(text),
  limits: byName(number()),
});

const hubSource = record<NonNullable<DataRecord["hub_model"]>>({
  repo: text,
  revision: text,
  commit: text,
});
const part = v.pipe(
  record<DataRecord["parts"]["train"]>({ split: optional(text), start: count, end: count }),
  v.check(({ start, end }) => start <= end, "must not end before it starts"),
);

/** `data.json`. */
export const dataForm = shown<DataRecord>({
  text,
  dataset_config: optional(text),
  text_column: optional(text),
  sha256: text,
  files: optional(
    listOf(record<NonNullable<DataRecord["files"]>[number]>({
      split: text,
      file: text,
      sha256: text,
    })),
  ),
  tokenizer_sha256: text,
  model_sha256: text,
  hub_model: optional(hubSource),
  hub_dataset: optional(hubSource),
  parts: record<DataRecord["parts"]>({
    train: part,
    calibration: part,
    validation: part,
    test: part,
  }),
});

/** A line of `metrics.jsonl`. */
export const metricForm = record<MetricRow>({
  step: count,
  phase,
  arm,
  cycle: count,
  loss: optional(loss),
  eval_loss: optional(loss),
  perplexity: optional(perplexity),
  learning_rate: optional(norm),
  grad_norm: optional(norm),
  sparsity: share,
  active_heads: headCount,
  tokens_seen: count,
});

type EventOf<E extends EventRow["event"]> = Extract<EventRow, { event: E }>;

/** What every event has, and what one kind has on top. */
function event<E extends EventRow["event"]>(
  own: { [K in Exclude<keyof EventOf<E>, EventShared>]-?: Form<EventOf<E>[K]> },
): typeof own {
  return own;
}
type EventShared = "step" | "time" | "cycle" | "arm" | "event";

const chosen = {
  layer: headIndex,
  head: headIndex,
  strategy: text,
  score,
  rank: whole(1, MOST_HEADS),
  of: whole(1, MOST_HEADS),
};
const events: { [E in EventRow["event"]]: ReturnType<typeof event<E>> } = {
  phase: event<"phase">({ phase }),
  stable: event<"stable">({ reason: text }),
  prune: event<"prune">({ ...chosen, gate: optional(norm) }),
  grow: event<"grow">({ ...chosen, regrowth: oneOf("warm", "donor", "fresh") }),
  failed: event<"failed">({ reason: text }),
  rollback: event<"rollback">({ reason: text }),
  checkpoint: event<"checkpoint">({ path: text }),
  resume: event<"resume">({ path: text, adapter: later(text), matmul: later(text) }),
  controller: event<"controller">({
    active_heads: headCount,
    pruned_percent: number(0, 100),
    controller_lr: norm,
    mean_gate: norm,
    plateau: flag,
  }),
};

/** A line of `events.jsonl`. */
export const eventForm = v.variant(
  "event",
  Object.entries(events).map(([name, own]) =>
    v.looseObject({ step: count, time: seconds, cycle: count, arm, event: v.literal(name), ...own })
  ),
  (issue) =>
    issue.expected === "Object"
      ? "must be an object"
      : `must be one of ${Object.keys(events).join(", ")}`,
) as unknown as Form<EventRow>;

/** A line of `heads.csv`. */
export const headForm = record<HeadRow>({
  step: count,
  cycle: count,
  layer: headIndex,
  head: headIndex,
  alive: v.picklist([0, 1], "must be 0 or 1"),
  gate: optional(norm),
  entropy_nats: optional(amount),
  entropy: optional(amount),
  first_key: optional(amount),
  output_norm: optional(norm),
  grad_norm: optional(norm),
  gate_grad_abs: optional(norm),
  gate_grad_sq: optional(norm),
  score: optional(score),
});

/** Results whose heads add up. */
function withHeads<T extends { active_heads: number; total_heads: number }>(
  form: Form<T>,
): Form<T> {
  return v.pipe(
    form,
    v.check(
      ({ active_heads, total_heads }) => active_heads <= total_heads,
      "must not have more active_heads than total_heads",
    ),
  );
}

const cycleResultForm = record<CycleResult>({
  cycle: cycleNumber,
  pruned_heads: places,
  revived_heads: optional(places),
  active_heads: headCount,
  sparsity: share,
  loss_before: loss,
  loss_after_pruning: loss,
  loss_after_finetuning: loss,
  training_steps: later(count),
  unpruned_twin_loss: optional(loss),
  random_pruning_loss: optional(loss),
});

/** `results.json` of an experiment. */
export const resultsForm = withHeads(record<Results>({
  baseline_loss: loss,
  baseline_perplexity: later(perplexity),
  final_loss: loss,
  final_perplexity: later(perplexity),
  unpruned_twin_loss: optional(loss),
  random_pruning_loss: optional(loss),
  active_heads: headCount,
  total_heads: whole(1, MOST_HEADS),
  final_sparsity: share,
  pruned_heads: places,
  cycles: listOf(cycleResultForm),
  planned: later(flag),
  masked_loss: loss,
  compacted_loss: loss,
  reloaded_loss: loss,
  tokens_seen: count,
  execution_time_s: seconds,
  seed,
}));

/** `samples.json`. */
export const samplesForm = listOf(
  record<Sample>({ prompt: text, seed, baseline: text, pruned: text }),
  "must be a list of samples",
);

const measureForm = record<PlasticityMeasure>({
  loss,
  perplexity: later(perplexity),
  heads: headCount,
  degeneration: optional(norm),
  baseline_degeneration: optional(norm),
  quality: optional(amount),
});

const decisionForm = record<HeadDecision>({
  layer: headIndex,
  head: headIndex,
  gate_before: norm,
  gate: norm,
  predicted_loss_change: difference,
  realised_loss_change: difference,
  explored: flag,
});

const roundForm = record<DecisionRound>({
  round: whole(1),
  predicted_loss_change: difference,
  estimated_loss_change: difference,
  realised_loss_change: difference,
  kept: flag,
  decisions: listOf(decisionForm),
});

const adviceForm = record<ControllerAdvice>({
  pruned_percent: number(0, 100),
  preferences: byName(amount),
  controller_lr: norm,
  rounds: optional(listOf(roundForm)),
});

/** A line of `cycles.jsonl`. */
export const cycleForm = record<IntegrationCycle>({
  cycle: cycleNumber,
  success: flag,
  failure: optional(text),
  replayed: flag,
  pruning_strategy: text,
  pruning_level: share,
  growth_strategy: text,
  growth_ratio: share,
  training_steps: count,
  pruned_heads: places,
  grown_heads: places,
  initial: measureForm,
  pruned: measureForm,
  grown: measureForm,
  final: measureForm,
  unpruned_twin_loss: optional(loss),
  random_pruning_loss: optional(loss),
  perplexity_improvement: difference,
  head_reduction: difference,
  efficiency_improvement: difference,
  final_loss: optional(loss),
  ratings: record<IntegrationCycle["ratings"]>({
    pruning: byName(amount),
    growth: byName(amount),
  }),
  cycle_time_s: seconds,
  heads_before: listOf(listOf(headIndex)),
  advice: adviceForm,
  gates: listOf(listOf(norm)),
});

/** `results.json` of an integrated run. */
export const integrationResultsForm = withHeads(record<IntegrationResults>({
  baseline_perplexity: later(perplexity),
  best_perplexity: later(perplexity),
  best_cycle: count,
  improvement: difference,
  test_loss: loss,
  reloaded_loss: later(loss),
  unpruned_twin_loss: optional(loss),
  random_pruning_loss: optional(loss),
  active_heads: headCount,
  total_heads: whole(1, MOST_HEADS),
  cycles_completed: count,
  stopped: text,
  cycle_metrics: listOf(cycleForm),
  total_duration: seconds,
  seed,
}));

/** `memory/transformations.json`. */
export const memoryForm = record<MemoryRecord>({
  capacity: count,
  replay_probability: share,
  transformations: listOf(record<TransformationRecord>({
    description: text,
    pruning_strategy: text,
    pruning_level: share,
    growth_strategy: text,
    growth_ratio: share,
    perplexity_improvement: difference,
    head_reduction: difference,
    degeneration_change: difference,
    improvement: difference,
    timestamp: text,
  })),
});

/** `pollard-run.json`. */
export const markForm = record<AboutRun & { kind: RunKind }>({
  name: optional(text),
  created: optional(text),
  command: optional(text),
  changed: optional(listOf(text)),
  kind: v.optional(oneOf<RunKind>("experiment", "integration"), "experiment") as Form<RunKind>,
});

/** Something inside a folder, and nothing outside of it. */
const folderName = v.pipe(
  text,
  v.regex(/^(?!\.{1,2}$)[^/\\\0]+$/, "must be the name of a folder inside the sweep's"),
);

/** `sweep.json`; the first format has no names of folders. */
export const sweepForm = record<SweepRecord>({
  format: v.picklist([1, 2], "must be 1 or 2: another version of Pollard wrote this"),
  created: v.optional(text, "") as Form<string>,
  options: configForm,
  runs: listOf(record<SweepPlanRun>({
    ...{ strategy: text, pruning_level: share, seed, folder: later(folderName) },
  })),
});
