/** Progress in a notebook: one display for each stage, updated where it stands. */
import assert from "node:assert/strict";
import { notebookProgress } from "../src/experiment/notebook_progress.ts";
import type { EventRow, Phase } from "../src/record.ts";

interface Sent {
  type: string;
  id: string;
  text: string;
  html: string;
}

function recording(interval: number) {
  const sent: Sent[] = [];
  const listeners = notebookProgress({
    interval,
    broadcast(type, content) {
      const { data, transient } = content as {
        data: Record<string, string>;
        transient: { display_id: string };
      };
      const { "text/plain": text, "text/html": html } = data;
      sent.push({ type, id: transient.display_id, text, html });
      return Promise.resolve();
    },
  });
  const phase = (name: Phase, cycle: number, step: number) =>
    listeners.onEvent({ event: "phase", phase: name, cycle, step, time: 0, arm: "pruned" });
  const checkpoint = (cycle: number, step: number) =>
    listeners.onEvent(
      { event: "checkpoint", path: "", cycle, step, time: 0, arm: "pruned" } satisfies EventRow,
    );
  const progress = (name: Phase, cycle: number, step: number, total: number) =>
    listeners.onProgress({ phase: name, cycle, step, total, loss: 4, tokens: 0 });
  const settled = () => new Promise((resolve) => setTimeout(resolve));
  return { sent, phase, checkpoint, progress, settled };
}

Deno.test("each stage has one display, which is updated and keeps its last state", async () => {
  const { sent, phase, checkpoint, progress, settled } = recording(0);
  phase("warmup", 0, 0);
  progress("warmup", 0, 5, 150);
  progress("warmup", 0, 10, 150);
  checkpoint(1, 10);
  phase("analysis", 1, 10);
  phase("pruning", 1, 10);
  phase("finetuning", 1, 10);
  progress("finetuning", 1, 20, 110);
  phase("evaluation", 2, 110);
  await settled();
  assert.deepEqual(sent.map(({ type }) => type === "display_data"), [
    ...[true, false, false],
    ...[true, false, false, false],
    true,
  ]);
  assert.equal(new Set(sent.map(({ id }) => id)).size, 3);
  assert.deepEqual(sent.map(({ text }) => text), [
    "warm-up",
    "warm-up, step 5 of 150, training loss 4.0000 nats per token",
    "warm-up, step 10 of 150, training loss 4.0000 nats per token",
    "cycle 1: measuring heads",
    "cycle 1: pruning",
    "cycle 1: fine-tuning",
    "cycle 1: fine-tuning, step 10 of 100, training loss 4.0000 nats per token",
    "reading the test text",
  ]);
  assert.match(sent[6].html, /<progress value="10" max="100">/);
});

Deno.test("drawings are apart by the interval, and a stage's last step is drawn at its end", async () => {
  const { sent, phase, checkpoint, progress, settled } = recording(60_000);
  phase("finetuning", 2, 100);
  for (let step = 101; step <= 150; step++) progress("finetuning", 2, step, 150);
  await settled();
  assert.equal(sent.length, 1);
  checkpoint(3, 150);
  checkpoint(3, 150);
  await settled();
  assert.equal(sent.length, 2);
  assert.match(sent[1].text, /step 50 of 50/);
});

Deno.test("a run that goes on inside a stage begins a display there", async () => {
  const { sent, progress, settled } = recording(0);
  progress("finetuning", 2, 120, 150);
  await settled();
  assert.deepEqual(sent.map(({ type }) => type), ["display_data", "update_display_data"]);
});

Deno.test("messages keep their order however long one takes", async () => {
  const order: string[] = [];
  const { onProgress } = notebookProgress({
    interval: 0,
    async broadcast(type) {
      await new Promise((resolve) => setTimeout(resolve, type === "display_data" ? 20 : 0));
      order.push(type);
    },
  });
  onProgress({ phase: "warmup", cycle: 0, step: 1, total: 2, loss: 4, tokens: 0 });
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual(order, ["display_data", "update_display_data"]);
});

Deno.test("outside of a notebook it says so, and what to do", () => {
  assert.throws(() => notebookProgress(), {
    name: "TypeError",
    message: /needs a notebook of Deno's Jupyter kernel, and this is none: give onProgress instead/,
  });
  assert.throws(() => notebookProgress({ interval: -1, broadcast: async () => {} }), /interval/);
});
