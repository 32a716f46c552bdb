/**
 * How work that takes long is saved while it goes on, and continued.
 *
 * @module
 */
import type { TensorToWrite } from "../gpt2/safetensors.ts";

/** Milliseconds of work that a crash may cost, unless the caller says otherwise. */
const EVERY_MS = 5 * 60_000;

/** What work is continued from, and where it is saved. */
export interface Continuing<State> {
  /** What was saved last; absent where the work begins. */
  readonly from?: { state: State; tensors: ReadonlyMap<string, Float32Array> } | undefined;
  /** Saves it. @param step How far it is: greater than at the last call, or the same. */
  save(step: number, state: State, tensors: readonly TensorToWrite[]): Promise<void>;
  /** Milliseconds from one time to the next; five minutes unless given. */
  readonly every?: number;
}

/** Saves work now and then, and when it is to stop. */
export class Saving<State> {
  readonly #continuing: Continuing<State> | undefined;
  readonly #take: () => Promise<{ step: number; state: State; tensors: TensorToWrite[] }>;
  readonly #signal: AbortSignal | undefined;
  #savedAt = performance.now();

  /**
   * @param continuing Absent where nothing is to be saved.
   * @param take Copies the state as it is.
   */
  constructor(
    continuing: Continuing<State> | undefined,
    take: () => Promise<{ step: number; state: State; tensors: TensorToWrite[] }>,
    signal?: AbortSignal,
  ) {
    this.#continuing = continuing;
    this.#take = take;
    this.#signal = signal;
  }

  /**
   * Call it where the state is whole: saves if it is time, or the work is to stop.
   *
   * @throws The signal's reason, once it is saved.
   */
  async point(): Promise<void> {
    const stop = this.#signal?.aborted;
    const { every = EVERY_MS } = this.#continuing ?? {};
    if (stop || performance.now() - this.#savedAt > every) await this.#save();
    this.#signal?.throwIfAborted();
  }

  /**
   * Does something that the signal may interrupt, and that leaves the state as it is until it is done.
   *
   * @throws What the action throws; where that is the signal's reason, the state is saved first.
   */
  async during<Result>(action: () => Promise<Result>): Promise<Result> {
    try {
      return await action();
    } catch (error) {
      if (this.#signal?.aborted && error === this.#signal.reason) await this.#save();
      throw error;
    }
  }

  async #save(): Promise<void> {
    if (!this.#continuing) return;
    const { step, state, tensors } = await this.#take();
    await this.#continuing.save(step, state, tensors);
    this.#savedAt = performance.now();
  }
}
