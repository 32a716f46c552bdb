/** The logits that a model computes on the device. */
import type { Activations } from "../src/gpt2/activations.ts";
import { forward, logitsForward } from "../src/gpt2/forward.ts";
import type { Gpt2 } from "../src/gpt2/model.ts";
import { Plan, submit } from "../src/gpu/kernel.ts";
import { download } from "../src/gpu/tensor.ts";

/** Logits (rows, V) of whatever pieces the activations cut the vocabulary into. */
export async function logitsOf(model: Gpt2, acts: Activations): Promise<Float32Array> {
  const { gpu } = model;
  using plan = new Plan(gpu);
  submit(gpu, forward(plan, model, acts));
  const out = new Float32Array(acts.rows * model.config.V);
  for (const piece of acts.pieces) {
    submit(gpu, [logitsForward(plan, model, acts, piece)]);
    const [values] = await download(gpu, acts.logits);
    const N = piece.V1 - piece.V0, stride = Math.ceil(N / 4) * 4;
    for (let row = 0; row < acts.rows; row++) {
      out.set(values.subarray(row * stride, row * stride + N), row * model.config.V + piece.V0);
    }
  }
  return out;
}
