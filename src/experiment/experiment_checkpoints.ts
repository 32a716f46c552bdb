/**
 * Which checkpoints an experiment keeps: those at the ends of its stages, and while there are too few of
 * them, the newest of those in between.
 *
 * @module
 */
import { basename } from "node:path";
import type { TensorToWrite } from "../gpt2/safetensors.ts";
import type { SavedCheckpoint } from "../run/checkpoint_files.ts";
import type { SavedState } from "./experiment_state.ts";
import type { RunFolder } from "./run_folder.ts";

/** Checkpoints that there are at least, so that one may be damaged. */
const KEPT = 2;

/** The checkpoints of one experiment. */
export class ExperimentCheckpoints {
  readonly #folder: RunFolder;
  #last: string | undefined;
  /** Labels of those that lie inside a stage, oldest first. */
  #inside: string[] = [];

  constructor(folder: RunFolder) {
    this.#folder = folder;
  }

  /** Path of the last one, if there is one. */
  get last(): string | undefined {
    return this.#last;
  }

  /** What a checkpoint is called by the steps that were taken. */
  label(step: number): string {
    return `step-${String(step).padStart(7, "0")}`;
  }

  /** Takes up where a saved one left off. */
  restore({ path, state }: SavedCheckpoint<SavedState>): void {
    this.#last = path;
    this.#inside = state.inside ?? (state.between ? [basename(path)] : []);
  }

  /**
   * Saves one.
   *
   * @param state Where the run stands; `between` says whether that is inside a stage: then it goes once
   * there are enough newer ones.
   */
  async save(
    state: Omit<SavedState, "inside">,
    tensors: readonly TensorToWrite[],
  ): Promise<void> {
    const label = this.label(state.lockstep.step);
    const older = this.#inside.filter((other) => other !== label);
    const inside = state.between ? [...older, label] : older;
    this.#last = await this.#folder.saveCheckpoint(label, { ...state, inside }, tensors);
    const spare = Math.max(0, (await this.#folder.checkpoints()).length - KEPT);
    const gone = older.slice(0, spare);
    for (const other of gone) await this.#folder.removeCheckpoint(other);
    this.#inside = inside.slice(gone.length);
  }
}
