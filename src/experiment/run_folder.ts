/**
 * A run's folder: records that only grow, and checkpoints that are there whole or not at all.
 *
 * @module
 */
import { basename, join } from "node:path";
import { naming, sha256, writeWhole } from "../data/files.ts";
import { hubModelName } from "../data/hub_models.ts";
import type { TensorToWrite } from "../gpt2/safetensors.ts";
import { type AboutRun, headCsvHeader } from "../record.ts";
import { readCheckpoint, type SavedCheckpoint, writeCheckpoint } from "../run/checkpoint_files.ts";
import { type FolderLock, LOCK_FILE, LockedError, lockFolder } from "../run/lock.ts";
import { toJson } from "../json.ts";
import { clearLeftOvers } from "../run/left_overs.ts";
import { checkLogs, cutLogs, stampLogs } from "../run/logs.ts";
import { DamagedError } from "../run/sealed.ts";
import { type FolderKind, type Log, logsOf, markOf, newMark, readMark } from "./folder_mark.ts";

/** How files that were not written to their end are called, after their names. */
const LEFT_OVER = /\.tmp-[0-9a-f-]+$/;

/** What a run begins with: JSON files by their names, which do not change afterwards. */
export type Beginning = Readonly<Record<string, unknown>>;

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

/** How a run's folder is made, or opened. */
export interface FolderSetting {
  /** Which kind of run it is for; `experiment` unless given. */
  kind?: FolderKind;
  /** What the run begins with. */
  beginning?: Beginning;
  /** What its mark says about it. */
  about?: AboutRun;
  /** Receives one line if the file system has no locks. */
  say?: ((line: string) => void) | undefined;
}

/** Does something with a folder, and lets it go if that fails. */
export async function releasing<Result>(
  folder: RunFolder,
  action: () => Promise<Result>,
): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    folder.dispose();
    throw error;
  }
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
  readonly #kind: FolderKind;
  readonly #key: string;
  readonly #lock: FolderLock;
  #mark = "";
  #working = 0;

  private constructor(dir: string, kind: FolderKind, key: string, lock: FolderLock) {
    this.dir = dir;
    this.#kind = kind;
    this.#key = key;
    this.#lock = lock;
    held.set(key, this);
  }

  /** @throws {LockedError} If another process, or an object of this one that is at work, has it. */
  static async #locked(
    dir: string,
    { kind = "experiment", say }: Omit<FolderSetting, "beginning">,
  ): Promise<RunFolder> {
    const key = await Deno.realPath(dir);
    const here = held.get(key);
    if (here && here.#working === 0) here.dispose();
    return new RunFolder(dir, kind, key, await lockFolder(dir, say));
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
   * @param beginning What the run begins with.
   * @throws {TypeError} If `parent` is a file, or cannot be written.
   */
  static async create(
    parent: string,
    name: string,
    { beginning = {}, about, ...setting }: FolderSetting = {},
  ): Promise<RunFolder> {
    const folder = await RunFolder.#locked(await newFolder(parent, name), setting);
    return await folder.#begin(beginning, about);
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
    { beginning = {}, about, ...setting }: FolderSetting = {},
  ): Promise<RunFolder> {
    const { kind = "experiment" } = setting;
    let folder: RunFolder | undefined;
    const own = new Set([LOCK_FILE, markOf(kind), ...logsOf(kind), ...Object.keys(beginning)]);
    try {
      await Deno.mkdir(dir, { recursive: true });
      folder = await RunFolder.#locked(dir, setting);
      for await (const { name } of Deno.readDir(dir)) {
        if (!own.has(name.replace(LEFT_OVER, ""))) throw new Error(`it holds ${name} already`);
      }
    } catch (error) {
      folder?.dispose();
      if (error instanceof LockedError) throw error;
      throw new TypeError(
        `${dir} cannot become a run's folder: ${(error as Error).message}; name another`,
      );
    }
    return await folder.#begin(beginning, about);
  }

  /** Writes what a run begins with; the mark comes last, so that a marked folder has all of it. */
  async #begin(beginning: Beginning, about: AboutRun = {}): Promise<this> {
    return await releasing(this, async () => {
      await clearLeftOvers(this.dir);
      const hashes: Record<string, string> = {};
      for (const [name, value] of Object.entries(beginning)) {
        await this.writeJson(name, value);
        hashes[name] = await sha256(await Deno.readFile(this.path(name)));
      }
      await this.restart();
      await this.writeJson(markOf(this.#kind), newMark(this.#kind, hashes, about));
      this.#mark = await readMark(this.dir, this.#kind);
      return this;
    });
  }

  /**
   * Opens a folder that an earlier run made, to write to it.
   *
   * @throws {TypeError} If it is not one, or was made by another kind of run, or what the run began with
   * has changed.
   * @throws {LockedError} If another process has it.
   */
  static async open(
    dir: string,
    setting: Omit<FolderSetting, "beginning"> = {},
  ): Promise<RunFolder> {
    const { kind = "experiment" } = setting;
    await readMark(dir, kind); // before a file is made in it
    const folder = await RunFolder.#locked(dir, setting);
    return await releasing(folder, async () => {
      folder.#mark = await readMark(dir, kind);
      await clearLeftOvers(dir);
      return folder;
    });
  }

  /**
   * Looks whether a folder is one that an earlier run made, and has what it began with.
   *
   * @throws As {@linkcode RunFolder.open} does.
   */
  static async check(dir: string, kind: FolderKind = "experiment"): Promise<void> {
    await readMark(dir, kind);
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
    if (text === "") return;
    await Deno.writeTextFile(this.path(log), text, { append: true }).catch((error) => {
      throw naming(this.path(log), error);
    });
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
    await writeCheckpoint(
      path,
      { state, logs: await stampLogs(this.dir, logsOf(this.#kind)), run: this.#mark },
      tensors,
    );
    return path;
  }

  /**
   * Removes a checkpoint.
   *
   * @internal
   */
  async removeCheckpoint(label: string): Promise<void> {
    await Deno.remove(this.path("checkpoints", label), { recursive: true }).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
  }

  /**
   * Removes every checkpoint but some.
   *
   * @internal
   */
  async keepCheckpoints(labels: readonly string[]): Promise<void> {
    for (const { name } of await Array.fromAsync(Deno.readDir(this.path("checkpoints")))) {
      if (!labels.includes(name)) await this.removeCheckpoint(name);
    }
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
   * @throws {DamagedError} If it is not as it was written.
   * @throws {TypeError} If it is another run's, or of an unknown format.
   * @internal
   */
  async readCheckpoint<State>(label: string): Promise<SavedCheckpoint<State>> {
    const saved = await readCheckpoint<State>(this.path("checkpoints", label));
    if (saved.run !== undefined && saved.run !== this.#mark) {
      throw new TypeError(
        `${this.path(markOf(this.#kind))} is not what it was when ${saved.path} was saved: ` +
          "one of them has changed, or is another run's",
      );
    }
    return saved;
  }

  /**
   * Reads the newest checkpoint that is whole, and checks the logs up to it; changes nothing. Damaged
   * ones are told of.
   *
   * @param check Checks what else a state needs.
   * @returns `undefined` if there is no checkpoint.
   * @throws {DamagedError} If there are, and none of them is whole.
   * @internal
   */
  async newest<State>(
    say: (line: string) => void = () => {},
    check: (state: State) => Promise<void> = () => Promise.resolve(),
  ): Promise<SavedCheckpoint<State> | undefined> {
    const damage: DamagedError[] = [];
    for (const label of (await this.checkpoints()).reverse()) {
      try {
        const saved = await this.readCheckpoint<State>(label);
        await checkLogs(this.dir, saved.logs);
        await check(saved.state);
        if (damage.length > 0) say(`continuing from the older checkpoint ${saved.path}`);
        return saved;
      } catch (error) {
        if (!(error instanceof DamagedError)) throw error;
        say(`the checkpoint ${label} cannot be used: ${error.message}`);
        damage.push(error);
      }
    }
    if (damage.length === 0) return undefined;
    throw new DamagedError(
      `${
        damage[0].message
      }; no older checkpoint of ${this.dir} can be used either: begin another run`,
    );
  }

  /**
   * Cuts the logs back to where they were when a checkpoint was saved, so that what a killed run wrote
   * after it is not told twice. Newer checkpoints go, which are damaged.
   *
   * @internal
   */
  async cutTo({ path, logs }: SavedCheckpoint<unknown>): Promise<void> {
    this.#checkHeld();
    await cutLogs(this.dir, logs);
    const labels = await this.checkpoints();
    for (const label of labels.slice(labels.indexOf(basename(path)) + 1)) {
      await this.removeCheckpoint(label);
    }
  }

  /**
   * Saves a checkpoint of work that is counted in steps, and keeps the two newest.
   *
   * @internal
   */
  async saveStep<State>(
    step: number,
    state: State,
    tensors: readonly TensorToWrite[],
  ): Promise<void> {
    await this.saveCheckpoint(`step-${String(step).padStart(7, "0")}`, state, tensors);
    await this.keepCheckpoints((await this.checkpoints()).slice(-2));
  }

  /**
   * Removes what the folder was continued from, once its work is done, and lets others write to it.
   *
   * @param names What it began with. @internal
   */
  async clear(names: readonly string[]): Promise<void> {
    this.#checkHeld();
    for (const name of [markOf(this.#kind), ...names, "checkpoints"]) {
      await Deno.remove(this.path(name), { recursive: true }).catch((error) => {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      });
    }
    this.dispose();
  }

  /**
   * Starts the logs anew: for a run that was killed before its first checkpoint.
   *
   * @internal
   */
  async restart(): Promise<void> {
    this.#checkHeld();
    for (const log of logsOf(this.#kind)) {
      await Deno.writeTextFile(this.path(log), log === "heads.csv" ? headCsvHeader() : "");
    }
  }
}
