/**
 * A saved model in its compact form, and what that gains in speed.
 *
 * @module
 */
import { basename, join, resolve } from "node:path";
import { writeWhole } from "../data/files.ts";
import { asUrl } from "../data/paths.ts";
import { hubModelName } from "../data/hub_models.ts";
import type { LoadOptions } from "../data/load_model.ts";
import type { Gpu } from "../gpu/device.ts";
import { SPEED_FILE, type SpeedRecord } from "../record.ts";
import { cardWithSpeed } from "../report/model_card.ts";
import {
  checkRoom,
  checkTarget,
  type Exported,
  readModel,
  type SavedModel,
  writeModel,
} from "./export_model.ts";
import { checkSpeedOptions, measureSpeed, type SpeedControls, type SpeedOptions } from "./speed.ts";
import { toJson } from "../json.ts";
import { taskCommand } from "../shell.ts";

/** What is to be compacted, read and checked. */
export interface PreparedCompact {
  /** The model as it was read. */
  readonly saved: SavedModel;
  /** Where its compact form goes. */
  readonly output: string;
  /** What is timed, complete. */
  readonly options: SpeedOptions;
}

/** What {@linkcode compactModel} did. */
export interface Compacted extends Exported {
  /** What was measured, where something was. */
  speed?: SpeedRecord;
}

/**
 * Reads a model and checks that it can be compacted; nothing is written yet.
 *
 * @param dir As {@linkcode exportModel} takes it.
 * @param given.output Where the compact form goes; beside the model, with `-compact` after its name,
 * unless given.
 * @param given.overwrite Whether a model that is there may be replaced; false unless given.
 * @param given.options What to time; see {@linkcode measureSpeed}.
 * @param given.onMessage Told in a line what of the model is left out.
 * @throws {RangeError} If the model has all of its heads, or an option is out of range.
 * @throws As `loadModel` does, and `exportModel` where it cannot be written.
 */
export async function prepareCompact(
  dir: string,
  given: {
    output?: string | undefined;
    overwrite?: boolean | undefined;
    options?: Partial<SpeedOptions>;
  } & LoadOptions = {},
): Promise<PreparedCompact> {
  const saved = await readModel(dir, given);
  const { config, live } = saved.model;
  const total = config.L * config.NH;
  if (live.flat().length === total) {
    throw new RangeError(
      `${saved.path} has all of its ${total} heads: there is nothing to compact; remove some first, ` +
        `for instance with ${taskCommand("experiment --model_name", [saved.path])}`,
    );
  }
  const options = checkSpeedOptions(config, given.options);
  const { output = besideModel(saved.path), overwrite } = given;
  await checkTarget({ output, overwrite });
  await checkRoom(saved.model, { form: "compact", output });
  return { saved, output, options };
}

/**
 * Writes a model's compact form, as `exportModel` does. Where a device is given, its speed is measured
 * first, beside the full shape's, and goes with it: `speed.json`, and a section of the model's card.
 *
 * @throws As {@linkcode measureSpeed} and `saveModel` do. Nothing is written then.
 */
export async function compactModel(
  { saved, output, options }: PreparedCompact,
  gpu?: Gpu,
  controls: SpeedControls = {},
): Promise<Compacted> {
  const speed = gpu && await measureSpeed(gpu, saved.model, options, controls);
  const card = saved.card && speed ? cardWithSpeed(saved.card, speed) : saved.card;
  const written = { ...saved, ...(card !== undefined && { card }) };
  const exported = await writeModel(written, { form: "compact", output });
  if (speed === undefined) return exported;
  await writeWhole(join(output, SPEED_FILE), toJson(speed, 2) + "\n");
  return { ...exported, speed };
}

/** A place beside a folder; for what lies elsewhere, one in the working directory. */
function besideModel(path: string): string {
  const hub = hubModelName(path)?.repo;
  const remote = hub ?? asUrl(path)?.pathname;
  return remote === undefined
    ? join(path, "..", `${basename(resolve(path))}-compact`)
    : `${basename(remote)}-compact`;
}
