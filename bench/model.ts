/**
 * What is measured of a model at one size: first the loss, then the clock.
 *
 * @module
 */
import type { Gpu } from "../src/gpu/device.ts";
import { measureFence } from "../src/gpu/fence.ts";
import { Activations } from "../src/gpt2/activations.ts";
import { Evaluator } from "../src/gpt2/evaluate.ts";
import { Gpt2 } from "../src/gpt2/model.ts";
import { Trainer } from "../src/optim/trainer.ts";
import type { Spread } from "../src/record.ts";
import { spread } from "../src/spread.ts";
import { compareMemory, type Memory } from "./memory.ts";
import { type Profile, profile } from "./profile.ts";
import {
  ADAMW,
  checkLoss,
  type SizeName,
  taskBatch,
  taskConfig,
  TASKS,
  taskWeights,
} from "./task.ts";
import { SubmitClock, timed } from "./timing.ts";

/** What can be measured of a model. */
export const MODEL_PARTS = ["train", "forward", "memory", "profile"] as const;
export type ModelPart = (typeof MODEL_PARTS)[number];

/** Training, in milliseconds. */
export interface TrainResult {
  /**
   * From building the trainer, which compiles, to the loss of step 1; the first of the process. On
   * real GPUs one kernel has been compiled before, while schedules were timed.
   */
  first_step_ms: number;
  /** From the call of a step to its loss, read back and awaited as the peers do. */
  step_ms: Spread;
  /** Time a step where `n` are submitted and awaited together, as training does. */
  stream_ms: number;
  /** At `step_ms.median`. */
  tokens_per_s: number;
  /** Dispatches in a step. */
  dispatches: number;
  /** Different kernels among them: what the first step compiles. */
  pipelines: number;
  /** Of `Trainer.step()` on an idle device, without what `queue.submit` takes. */
  host_ms: number;
  /** Inside `queue.submit`. */
  submit_ms: number;
  /** `host_ms` as a share of `step_ms.median`. */
  host_share: number;
}

/** What was measured at one size; what was not asked for is absent. */
export interface ModelResult {
  size: SizeName;
  /** Of step 1, or of forward alone. */
  loss: number;
  parameters: number;
  train?: TrainResult;
  /** A forward pass to its loss, awaited. */
  forward_ms?: Spread;
  memory?: Memory;
  profile?: Profile;
}

/** What to measure. */
export interface ModelRequest {
  size: SizeName;
  parts: readonly ModelPart[];
  /** Timings of each thing. */
  repeats: number;
}

/** Calls that are not timed, after the first one, which compiles. */
const WARM_UP = 2;

/** Measures a size in a process that has compiled nothing yet but what timing schedules compiles. */
export async function measureModel(gpu: Gpu, request: ModelRequest): Promise<ModelResult> {
  const { size, parts } = request;
  const task = TASKS[size];
  const before = gpu.bytes;
  using model = new Gpt2(gpu, taskConfig(task), taskWeights(task));
  await gpu.idle(); // the weights are there
  const parameters = model.layout.reduce((sum, { size }) => sum + size, 0);
  const trained = parts.some((part) => part !== "forward")
    ? await measureTraining(gpu, model, before, request)
    : undefined;
  if (!parts.includes("forward")) return { size, parameters, ...trained! };
  using fresh = new Gpt2(gpu, taskConfig(task), taskWeights(task)); // a step has moved the other
  const forward = await measureForward(fresh, request);
  return { size, parameters, ...forward, ...trained };
}

async function measureTraining(
  gpu: Gpu,
  model: Gpt2,
  bytesBefore: number,
  { size, parts, repeats }: ModelRequest,
): Promise<Pick<ModelResult, "loss" | "train" | "memory" | "profile">> {
  const task = TASKS[size], { B, T } = task;
  const { inputs, targets } = taskBatch(task);
  const start = performance.now();
  using trainer = new Trainer(model, { B, T, ...ADAMW });
  const step = () => trainer.step(inputs, targets, ADAMW);
  step();
  const [{ loss }] = await trainer.read();
  const first_step_ms = performance.now() - start;
  checkLoss(size, loss, "loss of step 1");

  const { C, F, V, L, NH, HS } = model.config;
  const memory = parts.includes("memory")
    ? compareMemory({ B, T, L, NH, C, A: NH * HS, F, V }, gpu.bytes - bytesBefore)
    : undefined;
  const train = parts.includes("train")
    ? { first_step_ms, ...await timeSteps(gpu, trainer, step, repeats) }
    : undefined;
  const profiled = parts.includes("profile")
    ? await profile(gpu, trainer, {
      restore: () => trainer.measure(inputs, targets), // a pass with learning rate 0
      fenceMs: await measureFence(gpu),
    })
    : undefined;
  return {
    loss,
    ...(train && { train }),
    ...(memory && { memory }),
    ...(profiled && { profile: profiled }),
  };
}

async function timeSteps(
  gpu: Gpu,
  trainer: Trainer,
  step: () => void,
  repeats: number,
): Promise<Omit<TrainResult, "first_step_ms">> {
  for (let i = 0; i < WARM_UP; i++) step();
  await trainer.read();
  const steps: number[] = [], hosts: number[] = [], submits: number[] = [];
  {
    using clock = new SubmitClock(gpu);
    for (let i = 0; i < repeats; i++) {
      clock.ms = 0;
      const start = performance.now();
      step();
      const called = performance.now() - start;
      submits.push(clock.ms);
      hosts.push(called - clock.ms);
      await trainer.read();
      steps.push(performance.now() - start);
    }
  }
  const stream_ms = await timed(() => {
    for (let i = 0; i < repeats; i++) step();
    return trainer.read();
  }) / repeats;

  const step_ms = spread(steps), host_ms = spread(hosts).median;
  const { B, T } = trainer.acts, { pass, update } = trainer.lists;
  return {
    step_ms,
    stream_ms,
    tokens_per_s: 1000 * B * T / step_ms.median,
    dispatches: pass.length + update.length,
    pipelines: new Set([...pass, ...update].map(({ pipeline }) => pipeline)).size,
    host_ms,
    submit_ms: spread(submits).median,
    host_share: host_ms / step_ms.median,
  };
}

async function measureForward(
  model: Gpt2,
  { size, repeats }: ModelRequest,
): Promise<Pick<ModelResult, "loss" | "forward_ms">> {
  const task = TASKS[size], { B, T } = task;
  const { inputs, targets } = taskBatch(task);
  const windows = Array.from({ length: B }, (_, b) => ({
    inputs: inputs.subarray(b * T, (b + 1) * T),
    targets: targets.subarray(b * T, (b + 1) * T),
    from: 0,
  }));
  using acts = new Activations(model, { B, T, training: false });
  using evaluator = new Evaluator(model, acts);
  const { loss } = await evaluator.evaluate(windows);
  checkLoss(size, loss, "loss of forward");
  const times: number[] = [];
  for (let i = 0; i < WARM_UP; i++) await evaluator.evaluate(windows);
  for (let i = 0; i < repeats; i++) times.push(await timed(() => evaluator.evaluate(windows)));
  return { loss, forward_ms: spread(times) };
}
