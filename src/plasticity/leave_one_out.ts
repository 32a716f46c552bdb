/**
 * What each head is worth, measured: the loss with that one head left out.
 *
 * @module
 */
import { type Batch, batchWindows } from "../data/batches.ts";
import type { Window } from "../gpt2/evaluate.ts";
import type { PlasticModel } from "./plastic_model.ts";

/** Losses with and without each head, on the same tokens. */
export interface LeftOut {
  /** Mean loss of the model as it is, in nats per token. */
  loss: number;
  /** The same `[L, NH]` with that one head's gate at 0; NaN for heads that are not live. */
  lossWithout: Float32Array;
}

/** Evaluates the model as it is. @returns Nats per token. */
export type Measure = (windows: Iterable<Window>) => Promise<number>;

/**
 * Evaluates the model with every live head left out in turn, the others as they are: an evaluation
 * for each live head, and one more.
 *
 * @param batches What is scored; calibration text, so that validation and test stay unseen.
 * @param signal Stops between evaluations; the gates are put back.
 * @param onHead Called before each head, with how many are done and how many there are.
 * @throws The signal's reason.
 */
export async function leaveOneOut(
  plastic: PlasticModel,
  batches: readonly Batch[],
  signal?: AbortSignal,
  onHead: (done: number, total: number) => void = () => {},
): Promise<LeftOut> {
  const windows = batchWindows(batches, plastic.trainer.evaluator.T);
  return await leaveOneOutOf(plastic, windows, signal, onHead);
}

/**
 * The same, on windows of text, which are gone through once for each head.
 *
 * @param measure Evaluates the model as it is; by the evaluator unless given.
 */
export async function leaveOneOutOf(
  plastic: PlasticModel,
  windows: Iterable<Window>,
  signal?: AbortSignal,
  onHead: (done: number, total: number) => void = () => {},
  measure: Measure = async (windows) =>
    (await plastic.trainer.evaluator.evaluate(windows, signal)).loss,
): Promise<LeftOut> {
  const { model, config: { NH }, effectiveGates: gates } = plastic;
  const lossWithout = new Float32Array(gates.length).fill(NaN);
  let done = 0;
  try {
    const loss = await measure(windows);
    for (const [layer, heads] of model.live.entries()) {
      for (const head of heads) {
        onHead(done++, model.heads);
        const without = gates.slice();
        without[layer * NH + head] = 0;
        model.setGates(without);
        lossWithout[layer * NH + head] = await measure(windows);
      }
    }
    return { loss, lossWithout };
  } finally {
    model.setGates(gates);
  }
}
