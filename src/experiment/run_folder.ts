/**
 * A run's folder: records that only grow, and checkpoints that are there whole or not at all.
 *
 * @module
 */
import { join } from "node:path";
import { openFile, readJson, writeWhole } from "../data/files.ts";
import { hubModelName } from "../data/hub_models.ts";
import { safetensorsChunks, SafetensorsFile, type TensorToWrite } from "../gpt2/safetensors.ts";
import { headCsvHeader, RUN_MARK, type RunKind } from "../record.ts";
import { type FolderLock, LOCK_FILE, LockedError, lockFolder } from "../run/lock.ts";
import { toJson } from "../json.ts";

/** Records that grow line by line. */
export const LOGS = ["metrics.jsonl", "events.jsonl", "heads.csv"] as const;

/** One of {@linkcode LOGS}. */
export type Log = typeof LOGS[number];

const FORMAT = 1;
const STATE = "state.json";
const TENSORS = "tensors.safetensors";

/** A checkpoint as it was read back. */
export interface SavedCheckpoint<State> {
  /** Its folder. */
  path: string;
  /** What was saved as JSON. */
  state: State;
  /** What was saved as tensors, by name. */
  tensors: Map<string, Float32Array>;
}

/** A state with the lengths that the logs had when it was saved. */
interface Stamped<State> {
  logs: Record<Log, number>;
  state: State;
}

/**
 * Makes a new folder named by the time, inside `parent`.
 *
 * @returns Its path.
 * @throws {TypeError} If `parent` is a file, or cannot be written.
 */
export async function newFolder(parent: string, name: string, now = new Date()): Promise<string> {
  const stamp = now.toISOString().slice(0, 19).replaceAll(":", "").replace("T", "-");
  const safe = name.replaceAll(/[^\w.-]+/g, "_");
  try {
    await Deno.mkdir(parent, { recursive: true });
    for (let i = 1;; i++) {
      const dir = join(parent, `${stamp}-${safe}${i > 1 ? `-${i}` : ""}`);
      try {
        await Deno.mkdir(dir);
      } catch (error) {
        if (error instanceof Deno.errors.AlreadyExists) continue;
        throw error;
      }
      return dir;
    }
  } catch (error) {
    throw new TypeError(
      `output_dir ${parent} cannot be written: ${(error as Error).message}; name another folder`,
    );
  }
}

/** What a run's folder is called after its model: the last part of its path, or its name on the hub. */
export function shortName(model: string): string {
  const path = hubModelName(model)?.repo ?? model;
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? "model";
}

/** What a run's folder gets before `data.json`, with which the run begins. */
const BEGINNINGS: readonly string[] = [
  ...[LOCK_FILE, RUN_MARK, "config.json", "environment.json"],
  ...LOGS,
];

/** Whether something in a folder is there before a run begins; it may be half written. */
function isBeginning(name: string): boolean {
  return BEGINNINGS.some((own) => name === own || name.startsWith(`${own}.tmp-`)) ||
    name.startsWith("data.json.tmp-");
}

/** Run folders that this process holds, by their real paths. */
const held = new Map<string, RunFolder>();

/**
 * The folder of one run. It is locked until it is disposed: no other process can write to it. In the same
 * process, opening the folder again takes it from an object that does nothing at the time.
 */
export class RunFolder implements Disposable {
  /** Its path. */
  readonly dir: string;
  readonly #key: string;
  readonly #lock: FolderLock;
  #working = 0;

  private constructor(dir: string, key: string, lock: FolderLock) {
    this.dir = dir;
    this.#key = key;
    this.#lock = lock;
    held.set(key, this);
  }

  /** @throws {LockedError} If another process, or an object of this one that is at work, has it. */
  static async #locked(dir: string, say?: (line: string) => void): Promise<RunFolder> {
    const key = await Deno.realPath(dir);
    const here = held.get(key);
    if (here && here.#working === 0) here.dispose();
    return new RunFolder(dir, key, await lockFolder(dir, say));
  }

  /**
   * Works in the folder: until this is over, no other object takes it.
   *
   * @throws {TypeError} If another object has taken the folder, or this one was disposed.
   * @internal
   */
  async work<Result>(action: () => Promise<Result>): Promise<Result> {
    this.#checkHeld();
    this.#working++;
    try {
      return await action();
    } finally {
      this.#working--;
    }
  }

  #checkHeld(): void {
    if (held.get(this.#key) === this) return;
    throw new TypeError(
      `this object no longer writes to ${this.dir}: it was disposed, or the folder was opened again`,
    );
  }

  /** Lets others write to the folder. */
  dispose(): void {
    if (held.get(this.#key) === this) held.delete(this.#key);
    this.#lock.dispose();
  }

  /** The same, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * Makes a new folder named by the time, inside `parent`.
   *
   * @throws {TypeError} If `parent` is a file, or cannot be written.
   */
  static async create(
    parent: string,
    name: string,
    kind: RunKind = "experiment",
    say?: (line: string) => void,
  ): Promise<RunFolder> {
    const dir = await newFolder(parent, name);
    return await RunFolder.#begin(await RunFolder.#locked(dir, say), kind);
  }

  /**
   * Makes a folder of this very name, or takes one that is empty, or in which a run was killed before it
   * had begun.
   *
   * @throws {TypeError} If it is a file, holds something, or cannot be made.
   * @throws {LockedError} If another process has it.
   */
  static async createAt(
    dir: string,
    kind: RunKind = "experiment",
    say?: (line: string) => void,
  ): Promise<RunFolder> {
    let folder: RunFolder | undefined;
    try {
      await Deno.mkdir(dir, { recursive: true });
      folder = await RunFolder.#locked(dir, say);
      for await (const { name } of Deno.readDir(dir)) {
        if (!isBeginning(name)) throw new Error(`it holds ${name} already`);
      }
    } catch (error) {
      folder?.dispose();
      if (error instanceof LockedError) throw error;
      throw new TypeError(
        `${dir} cannot become a run's folder: ${(error as Error).message}; name another`,
      );
    }
    return await RunFolder.#begin(folder, kind);
  }

  static async #begin(folder: RunFolder, kind: RunKind): Promise<RunFolder> {
    try {
      const created = new Date().toISOString();
      await folder.writeJson(RUN_MARK, { format: FORMAT, kind, created });
      await folder.restart();
      return folder;
    } catch (error) {
      folder.dispose();
      throw error;
    }
  }

  /**
   * Opens a folder that an earlier run made, to write to it.
   *
   * @throws {TypeError} If it is not one, or was made by another kind of run.
   * @throws {LockedError} If another process has it.
   */
  static async open(
    dir: string,
    kind: RunKind = "experiment",
    say?: (line: string) => void,
  ): Promise<RunFolder> {
    await RunFolder.check(dir, kind);
    return await RunFolder.#locked(dir, say);
  }

  /**
   * Looks whether a folder is one that an earlier run made.
   *
   * @throws {TypeError} If it is not, or was made by another kind of run.
   */
  static async check(dir: string, kind: RunKind = "experiment"): Promise<void> {
    let mark: unknown;
    try {
      mark = await readJson(join(dir, RUN_MARK));
    } catch {
      throw new TypeError(
        `${dir} is not a folder that a run of Pollard made: it has no ${RUN_MARK}`,
      );
    }
    const { format, kind: made = "experiment" } = mark as { format?: number; kind?: RunKind };
    if (format !== FORMAT) {
      throw new TypeError(`${dir} was made by another version of Pollard: ${JSON.stringify(mark)}`);
    }
    if (made !== kind) {
      const task = made === "integration" ? "integrate" : made;
      throw new TypeError(`${dir} is the folder of an ${made}: go on with it by deno task ${task}`);
    }
  }

  /** Path of something in the folder. */
  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  /**
   * Appends to a log.
   *
   * @internal
   */
  async append(log: Log, text: string): Promise<void> {
    this.#checkHeld();
    if (text !== "") await Deno.writeTextFile(this.path(log), text, { append: true });
  }

  /**
   * Writes a JSON file, whole or not at all.
   *
   * @internal
   */
  async writeJson(name: string, value: unknown): Promise<void> {
    this.#checkHeld();
    await writeWhole(this.path(name), toJson(value, 2) + "\n");
  }

  /**
   * Saves a checkpoint: a folder `checkpoints/<label>` that appears complete.
   *
   * @returns Its path.
   * @internal
   */
  async saveCheckpoint<State>(
    label: string,
    state: State,
    tensors: readonly TensorToWrite[],
  ): Promise<string> {
    this.#checkHeld();
    const path = this.path("checkpoints", label);
    const partial = `${path}.partial`;
    await Deno.remove(partial, { recursive: true }).catch(() => {});
    await Deno.mkdir(partial, { recursive: true });
    const logs = {} as Record<Log, number>;
    for (const log of LOGS) logs[log] = (await Deno.stat(this.path(log))).size;
    await writeWhole(join(partial, TENSORS), safetensorsChunks(tensors));
    const stamped: Stamped<State> = { logs, state };
    await writeWhole(join(partial, STATE), JSON.stringify(stamped) + "\n");
    // where one of this label exists, it goes only once the new one is complete
    const old = `${path}.old`;
    await Deno.remove(old, { recursive: true }).catch(() => {});
    await Deno.rename(path, old).catch(() => {});
    await Deno.rename(partial, path);
    await Deno.remove(old, { recursive: true }).catch(() => {});
    return path;
  }

  /**
   * Removes a checkpoint.
   *
   * @internal
   */
  async removeCheckpoint(label: string): Promise<void> {
    await Deno.remove(this.path("checkpoints", label), { recursive: true });
  }

  /** Labels of the checkpoints, oldest first. */
  async checkpoints(): Promise<string[]> {
    const labels: string[] = [];
    try {
      for await (const entry of Deno.readDir(this.path("checkpoints"))) {
        if (entry.isDirectory && /^(step|cycle)-\d+$/.test(entry.name)) labels.push(entry.name);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    return labels.sort();
  }

  /**
   * Reads a checkpoint, and changes nothing.
   *
   * @throws {SyntaxError | TypeError} If it is damaged.
   * @internal
   */
  async readCheckpoint<State>(label: string): Promise<SavedCheckpoint<State>> {
    const path = this.path("checkpoints", label);
    const { state } = await this.#stamped<State>(label);
    const file = join(path, TENSORS);
    using source = await openFile(file);
    const tensors = await SafetensorsFile.open(source, file);
    const values = new Map<string, Float32Array>();
    for (const name of tensors.tensors.keys()) values.set(name, await tensors.read(name));
    return { path, state, tensors: values };
  }

  async #stamped<State>(label: string): Promise<Stamped<State>> {
    return await readJson(this.path("checkpoints", label, STATE)) as Stamped<State>;
  }

  /**
   * Reads a checkpoint and cuts the logs back to where they were when it was saved, so that what a
   * killed run wrote after it is not told twice.
   *
   * @throws {SyntaxError | TypeError} If it is damaged.
   * @internal
   */
  async resume<State>(label: string): Promise<SavedCheckpoint<State>> {
    this.#checkHeld();
    const saved = await this.readCheckpoint<State>(label);
    const { logs } = await this.#stamped<State>(label);
    for (const log of LOGS) {
      const { size } = await Deno.stat(this.path(log));
      if (size < logs[log]) {
        throw new TypeError(`${this.path(log)} is shorter than its checkpoint says`);
      }
    }
    for (const log of LOGS) await Deno.truncate(this.path(log), logs[log]);
    return saved;
  }

  /**
   * Starts the logs anew: for a run that was killed before its first checkpoint.
   *
   * @internal
   */
  async restart(): Promise<void> {
    this.#checkHeld();
    for (const log of LOGS) {
      await Deno.writeTextFile(this.path(log), log === "heads.csv" ? headCsvHeader() : "");
    }
  }
}
