/**
 * How far an experiment is, in a Jupyter notebook: one line and a bar for each stage, which change where
 * they stand.
 *
 * @module
 */
import type { EventRow, Phase } from "../record.ts";
import { checkNumber } from "../ranges.ts";
import type { RunListeners, RunProgress } from "./experiment_state.ts";

/** Options of {@linkcode notebookProgress}. */
export interface NotebookProgressOptions {
  /** Milliseconds from one drawing to the next; 250 unless given. */
  interval?: number;
  /** Where messages of Jupyter's protocol go: `Deno.jupyter.broadcast` unless given. */
  broadcast?: (type: string, content: Record<string, unknown>) => Promise<void>;
}

/** What goes on, as a reader would say it. */
const WORDS: Record<Phase, string> = {
  warmup: "warm-up",
  analysis: "measuring heads",
  pruning: "pruning",
  finetuning: "fine-tuning",
  evaluation: "reading the test text",
};

/** A stage: the warm-up, a cycle, or the evaluation. It has one line, from its first step to its last. */
interface Stage {
  readonly id: string;
  readonly name: string;
  /** Optimizer steps before it. */
  from: number;
  phase: Phase;
  progress?: RunProgress;
}

/**
 * Listeners for a {@linkcode NeuralPlasticityExperiment} that show its progress under the cell that
 * runs. Nothing is drawn but when something is told, and no timer is left behind.
 *
 * ```ts ignore
 * const experiment = new NeuralPlasticityExperiment({ ...notebookProgress() });
 * ```
 *
 * @throws {TypeError} Outside of a notebook of Deno's Jupyter kernel.
 */
export function notebookProgress(
  { interval = 250, broadcast = kernelBroadcast() }: NotebookProgressOptions = {},
): Required<Pick<RunListeners, "onProgress" | "onEvent">> {
  checkNumber("interval", interval, { min: 0 });
  let stage: Stage | undefined, drawnAt = -Infinity, stale = false;
  let sent = Promise.resolve(); // one after the other: an update must not overtake what it updates

  function draw(type: "display_data" | "update_display_data") {
    if (!stage) return;
    const content = { data: shown(stage), metadata: {}, transient: { display_id: stage.id } };
    sent = sent.then(() => broadcast(type, content));
    drawnAt = performance.now();
    stale = false;
  }

  function enter(phase: Phase, cycle: number, step: number) {
    const name = phase === "evaluation" ? "evaluation" : cycle === 0 ? "warm-up" : `cycle ${cycle}`;
    if (stage?.name === name) {
      if (stage.phase === phase) return;
      Object.assign(stage, { phase, from: step });
      return draw("update_display_data");
    }
    if (stale) draw("update_display_data"); // the last line of the stage before
    stage = { id: crypto.randomUUID(), name, phase, from: step };
    draw("display_data");
  }

  return {
    onEvent(row: EventRow) {
      if (row.arm !== "pruned") return;
      if (row.event === "phase") enter(row.phase, row.cycle, row.step);
      else if (stale) draw("update_display_data"); // stages end with a checkpoint
    },
    onProgress(progress: RunProgress) {
      const { phase, cycle, step } = progress;
      enter(phase, cycle, step); // a run that goes on announces no phase
      stage!.progress = progress;
      stale = true;
      if (performance.now() - drawnAt >= interval) draw("update_display_data");
    },
  };
}

/** A line and a bar; the line alone for what shows no HTML. */
function shown({ name, phase, from, progress }: Stage): Record<string, string> {
  const what = WORDS[phase];
  const line = name === what || phase === "evaluation" ? what : `${name}: ${what}`;
  if (progress?.phase !== phase) return { "text/html": `<div>${line} …</div>`, "text/plain": line };
  const { step, total, loss } = progress;
  const text = `${line}, step ${step - from} of ${total - from}, training loss ${loss.toFixed(4)}` +
    " nats per token";
  const bar = `<progress value="${step - from}" max="${total - from}"></progress>`;
  return { "text/html": `<div>${bar} ${text}</div>`, "text/plain": text };
}

type Broadcast = NonNullable<NotebookProgressOptions["broadcast"]>;

/** Typed here, for `Deno.jupyter` is in no library of types that a program has unless it asks. */
function kernelBroadcast(): Broadcast {
  try {
    const { jupyter } = Deno as unknown as { jupyter: { broadcast: Broadcast } }; // throws elsewhere
    return jupyter.broadcast.bind(jupyter);
  } catch (cause) {
    throw new TypeError(
      "notebookProgress() needs a notebook of Deno's Jupyter kernel, and this is none: " +
        "give onProgress instead",
      { cause },
    );
  }
}
