/**
 * The models of an experiment, trained in lockstep: every step takes one batch, and every arm takes
 * that batch at the same learning rate.
 *
 * @module
 */
import { TrainBatches, type TrainBatchesState } from "../data/batches.ts";
import type { TensorToWrite } from "../gpt2/safetensors.ts";
import type { Gpu } from "../gpu/device.ts";
import { learningRate, type Schedule } from "../optim/schedule.ts";
import type { Arm as ArmName, MetricRow, Phase } from "../record.ts";
import { Arm, type ArmState } from "./arm.ts";
import { armStates, type ArmSummary, armSummary, armTensors } from "./checkpoint_tensors.ts";
import { stepBatch } from "./options.ts";
import type { Recorder } from "./recorder.ts";
import type { Materials } from "./setup.ts";

/** Thrown when the loss is no longer a number. */
export class DivergedError extends Error {
  /** `DivergedError`. */
  override name = "DivergedError";
}

/** Where training stands, besides the arms' tensors. */
export interface LockstepState {
  /** Optimizer steps taken. */
  step: number;
  /** Tokens that each arm was trained on. */
  tokensSeen: number;
  batches: TrainBatchesState;
  arms: ArmSummary[];
}

/** What decides the training of a {@linkcode Lockstep}. */
export interface LockstepOptions {
  /** Sequences that are computed at once. */
  batch_size: number;
  /** Parts of a step's batch. */
  gradient_accumulation_steps: number;
  /** Whether backward computes activations again. */
  recompute: boolean;
  /** Tokens in a sequence. */
  max_length: number;
  /** Decides the batches. */
  seed: number;
  /** AdamW's highest learning rate. */
  learning_rate: number;
  /** Steps over which it falls to a tenth. */
  horizon: number;
  /** Whether arms keep what they prune, so that it can come back. */
  keep?: boolean;
}

/** Several arms and the batches they share. The first arm is the model under study. */
export class Lockstep implements Disposable {
  /** Optimizer steps taken. */
  step = 0;
  /** Tokens that each arm was trained on. */
  tokensSeen = 0;
  readonly #gpu: Gpu;
  readonly #options: LockstepOptions;
  readonly #materials: Materials;
  readonly #recorder: Recorder;
  readonly #batches: TrainBatches;
  #schedule: Schedule;
  /** Learning rates of the steps that were not read yet. */
  readonly #rates: number[] = [];
  #arms: Arm[] = [];
  #processed = 0;

  constructor(gpu: Gpu, options: LockstepOptions, materials: Materials, recorder: Recorder) {
    this.#gpu = gpu;
    this.#options = options;
    this.#materials = materials;
    this.#recorder = recorder;
    const { max_length: T, seed, learning_rate } = options, B = stepBatch(options);
    const horizon = Math.max(1, options.horizon);
    this.#batches = new TrainBatches(materials.parts.train, { B, T, seed });
    this.#schedule = {
      peak: learning_rate,
      warmup: Math.min(10, horizon),
      horizon,
      decay: "linear",
      floor: learning_rate / 10,
    };
  }

  /** Keeps the learning rate where it is highest, from its warm-up on. */
  holdRate(): void {
    this.#schedule = { ...this.#schedule, decay: "constant" };
  }

  /** The arms, the one under study first. */
  get arms(): readonly Arm[] {
    return this.#arms;
  }

  /** The model under study. */
  get pruned(): Arm {
    return this.#arms[0];
  }

  /** A control, where it runs. */
  control(name: ArmName): Arm | undefined {
    return this.#arms.find((arm) => arm.name === name);
  }

  /** Tokens processed by all arms since this object was made. */
  get processed(): number {
    return this.#processed;
  }

  /** Steps whose results have not been read. */
  get unread(): number {
    return this.#rates.length;
  }

  /** Puts other arms in place of those there are. */
  replace(states: readonly (Omit<ArmState, "optimizer"> & Partial<ArmState>)[]): void {
    this.dispose();
    const { batch_size: B, max_length: T, keep = false, recompute } = this.#options;
    const accumulate = this.#options.gradient_accumulation_steps;
    const options = { B, T, keep, accumulate, recompute };
    for (const state of states) {
      this.#arms.push(new Arm(this.#gpu, this.#materials.model.config, state, options));
    }
  }

  /**
   * One optimizer step of every arm on the same batch; submits, and waits for nothing.
   *
   * @param metrics Whether to gather the head metrics of the model under study.
   */
  train(metrics: boolean): void {
    const { inputs, targets } = this.#batches.next();
    const rate = learningRate(this.step, this.#schedule);
    for (const arm of this.#arms) {
      arm.step(inputs, targets, {
        learningRate: rate,
        metrics: metrics && arm === this.pruned,
      });
    }
    this.#rates.push(rate);
    this.step++;
    this.tokensSeen += inputs.length;
  }

  /**
   * Reads and records what the steps since the last read measured.
   *
   * @returns Training losses of the model under study, oldest first.
   * @throws {DivergedError} If a loss or gradient is not a number.
   */
  async read(phase: Phase): Promise<number[]> {
    const rates = this.#rates.splice(0);
    const first = this.step - rates.length;
    const tokens = stepBatch(this.#options) * this.#options.max_length;
    let studied: number[] = [];
    const rows: MetricRow[][] = rates.map(() => []);
    for (const arm of this.#arms) {
      const results = await arm.trainer.read();
      results.forEach(({ loss, gradNorm }, i) => {
        const step = first + i + 1;
        if (!Number.isFinite(loss) || !Number.isFinite(gradNorm)) {
          throw new DivergedError(
            `The ${arm.name} model's loss became ${loss} (gradient norm ${gradNorm}) at step ${step}: try a lower learning_rate`,
          );
        }
        const tokensSeen = this.tokensSeen - (rates.length - 1 - i) * tokens;
        const measured = { loss, learning_rate: rates[i], grad_norm: gradNorm };
        rows[i].push(this.#recorder.metric(arm, phase, measured, { step, tokensSeen }));
      });
      if (arm === this.pruned) studied = results.map(({ loss }) => loss);
    }
    // step by step, so that the file does not tell how often the device was read
    await this.#recorder.metrics(rows.flat());
    this.#processed += rates.length * tokens * this.#arms.length;
    return studied;
  }

  /** Measures and records every arm's validation loss. */
  async evaluate(phase: Phase, cycle: number): Promise<Map<ArmName, number>> {
    const losses = new Map<ArmName, number>();
    for (const arm of this.#arms) {
      const { loss, perplexity } = await arm.trainer.evaluator.evaluate(this.#materials.validation);
      if (!Number.isFinite(loss)) {
        throw new DivergedError(
          `The ${arm.name} model's validation loss became ${loss} by step ${this.step}: try a lower learning_rate`,
        );
      }
      losses.set(arm.name, loss);
      const row = this.#recorder.metric(arm, phase, { eval_loss: loss, perplexity }, { cycle });
      await this.#recorder.metrics([row]);
    }
    return losses;
  }

  /** Copies everything to the host. Read the steps' results first. */
  async save(): Promise<{ state: LockstepState; tensors: TensorToWrite[] }> {
    const states: ArmState[] = [];
    for (const arm of this.#arms) states.push(await arm.state());
    const { step, tokensSeen } = this;
    const arms = states.map(armSummary);
    return {
      state: { step, tokensSeen, batches: this.#batches.state, arms },
      tensors: armTensors(states),
    };
  }

  /** Goes on from what {@linkcode Lockstep.save} copied. */
  restore(state: LockstepState, tensors: ReadonlyMap<string, Float32Array>): void {
    this.step = state.step;
    this.tokensSeen = state.tokensSeen;
    this.#batches.restore(state.batches);
    this.#rates.length = 0;
    this.replace(armStates(state.arms, tensors));
  }

  dispose(): void {
    for (const arm of this.#arms.splice(0)) arm.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
