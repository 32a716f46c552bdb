/**
 * Mean loss of a model on text.
 *
 * @module
 */
import { type Dispatch, Plan, submit } from "../gpu/kernel.ts";
import { Arena, upload } from "../gpu/tensor.ts";
import { IGNORE } from "../kernels/crossentropy.ts";
import type { Activations } from "./activations.ts";
import { forward, lossForward } from "./forward.ts";
import type { Gpt2 } from "./model.ts";

/** A window of tokens: `targets[i]` follows `inputs[i]`, and targets from `from` on are scored. */
export interface Window {
  /** Token ids `(1, t)`, t at most T. */
  readonly inputs: Uint32Array;
  /** The token after each of them, `(1, t)`. */
  readonly targets: Uint32Array;
  /** The first position that is scored; all from here to the end are. */
  readonly from: number;
}

/** What an evaluation found. */
export interface Evaluation {
  /** Mean nats per scored token. */
  loss: number;
  /** exp(loss). */
  perplexity: number;
  /** Tokens that were predicted and scored. */
  predicted: number;
}

/** Batches that wait on the device before their losses are read: one wait serves them all. */
const IN_FLIGHT = 16;

/** Runs forward passes for their loss alone. */
export class Evaluator implements Disposable {
  readonly #model: Gpt2;
  readonly #acts: Activations;
  readonly #plan: Plan;
  readonly #list: Dispatch[];
  /** Sums of the batches in flight; a ring of its own, because a trainer's may hold unread losses. */
  readonly #sums: Arena;

  /**
   * Binds the forward pass and the loss; nothing is computed yet.
   *
   * @param acts Activations to work in; a trainer's may be shared.
   * @throws {GpuError} If the adapter cannot bind what the model needs.
   */
  constructor(model: Gpt2, acts: Activations) {
    this.#model = model;
    this.#acts = acts;
    using owned = new DisposableStack();
    this.#plan = owned.use(new Plan(model.gpu));
    this.#sums = owned.use(new Arena(model.gpu, "evaluation", [2 * IN_FLIGHT]));
    const [ring] = this.#sums.tensors;
    this.#list = [
      ...forward(this.#plan, model, acts),
      ...lossForward(this.#plan, model, acts, ring),
    ];
    owned.move(); // from here on dispose() gives them back
  }

  /** Tokens in a whole window. */
  get T(): number {
    return this.#acts.T;
  }

  /**
   * Scores windows, B at a time. Losses are summed in fp64 on the host; a window shorter than T is
   * filled up with tokens that are not scored.
   *
   * @param signal Stops between batches.
   * @throws {RangeError} If a window is longer than T, or nothing is scored.
   */
  async evaluate(windows: Iterable<Window>, signal?: AbortSignal): Promise<Evaluation> {
    const { B, T, rows, hyper } = this.#acts;
    const [ring] = this.#sums.tensors;
    const { gpu } = this.#model;
    let sum = 0, predicted = 0, waiting = 0;
    const read = async () => {
      if (waiting === 0) return;
      const { buffer, offset } = ring;
      const [bytes] = await gpu.read([{ buffer, offset, size: waiting * 8 }]);
      const sums = new Float32Array(bytes);
      for (let i = 0; i < waiting; i++) sum += sums[2 * i];
      waiting = 0;
      signal?.throwIfAborted();
    };
    const inputs = new Uint32Array(rows), targets = new Uint32Array(rows);
    let filled = 0;
    const flush = async () => {
      if (filled === 0) return;
      predicted += this.#acts.upload(inputs, targets);
      upload(gpu, hyper, new Float32Array([0, 0, 0, waiting++, 1, 0]));
      submit(gpu, this.#list);
      filled = 0;
      if (waiting === IN_FLIGHT) await read();
    };
    for (const window of windows) {
      if (window.inputs.length > T) {
        throw new RangeError(`A window of ${window.inputs.length} tokens exceeds max_length ${T}`);
      }
      if (filled === 0) {
        inputs.fill(0);
        targets.fill(IGNORE);
      }
      inputs.set(window.inputs, filled * T);
      targets.set(window.targets.subarray(window.from), filled * T + window.from);
      if (++filled === B) await flush();
    }
    await flush();
    await read();
    if (predicted === 0) {
      throw new RangeError("The text is too short: no token of it can be scored");
    }
    const loss = sum / predicted;
    return { loss, perplexity: Math.exp(loss), predicted };
  }

  /** Frees its own uniforms; the model and the activations stay. */
  dispose(): void {
    this.#sums.dispose();
    this.#plan.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
