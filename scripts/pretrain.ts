/**
 * `deno task pretrain`: see --help. With no option it makes the embedded model again.
 *
 * @module
 */
import { resolve } from "node:path";
import { preparing, Progress, runMain } from "./cli.ts";
import { openLive } from "./live.ts";
import { parsePretrain, pretrainOptions, type PretrainValues } from "./pretrain_command.ts";
import { carryThrough } from "./run_task.ts";
import { sha256, writeWhole } from "../src/data/files.ts";
import { checkSavable, saveModel } from "../src/data/save_model.ts";
import { WORK_MARK } from "../src/experiment/folder_mark.ts";
import {
  checkPretraining,
  preparePretraining,
  pretrain,
  type PretrainMaterials,
  type PretrainProgress,
} from "../src/experiment/pretrain.ts";
import type { PretrainState } from "../src/experiment/pretrain_state.ts";
import { absoluteText, exists, tellOtherAdapter } from "../src/experiment/resume.ts";
import { environmentRecord } from "../src/experiment/run.ts";
import { RunFolder } from "../src/experiment/run_folder.ts";
import {
  beginWork,
  continueWork,
  endWork,
  readWork,
  type Work,
  workBeginning,
} from "../src/experiment/work_folder.ts";
import { Gpu } from "../src/gpu/device.ts";
import { type Pretraining, renderPretraining } from "../src/report/pretraining.ts";
import { LockedError, lockHolder } from "../src/run/lock.ts";
import { taskCommand } from "../src/shell.ts";

/** Beside the folder that the model goes to, what an unfinished pretraining is continued from. */
const UNFINISHED = ".unfinished";

/** What must be the same where it continues. */
interface PretrainData {
  text_sha256: string;
  tokenizer_sha256: string;
}

await runMain(async (signal) => {
  const { live: port, verbose, resume, overwrite, ...given } = parsePretrain();
  using live = openLive(port);
  const output_dir = resume?.replace(/\.unfinished[\\/]*$/, "") ?? given.output_dir;
  const output = resolve(output_dir), recordFile = `${output}.training.json`;
  const work = `${output_dir.replace(/(.)[\\/]+$/, "$1")}${UNFINISHED}`;
  const say = (line: string) => console.error(line);
  const { gpu, o, options, materials, folder, continuing } = await preparing(async () => {
    const began = resume === undefined
      ? undefined
      : await readWork<PretrainValues, PretrainData>(work, "pretraining");
    await checkSavable(output);
    if (!began && !overwrite) await checkFree(output_dir, work);
    await checkRecord(recordFile);
    const { output_dir: _, ...own } = given;
    const o: PretrainValues = began?.options ?? { ...own, text: absoluteText(own.text) };
    const options = pretrainOptions(o);
    const materials = await preparePretraining(options, { signal, onMessage: say });
    const data = await dataOf(materials);
    if (began) checkSame(began.data, data);
    const gpu = await Gpu.open();
    const listeners = { onMessage: say, ...(verbose && { onDetail: say }) };
    await checkPretraining(gpu, options, materials, listeners);
    const opened = began
      ? await continueWork<PretrainState>(work, "pretraining", say)
      : await beginAt(work, { options: o, data, environment: environmentRecord(gpu) });
    if (began) await tellOtherAdapter(opened.folder, gpu, say);
    return { gpu, o, options, materials, ...opened };
  });
  using _gpu = gpu;
  using _folder = folder;
  using progress = new Progress({ follower: live });
  progress.log(`adapter: ${gpu.info.name}`);
  const environment = environmentRecord(gpu);
  const shown: Pretraining = {
    ...{ options: { ...o, output_dir }, environment, steps: o.steps, training: [] },
    validation: continuing.from ? [...continuing.from.state.validation] : [],
  };
  const onProgress = ({ step, loss, validation }: PretrainProgress) => {
    shown.training.push([step, loss]);
    if (validation !== undefined) shown.validation.push([step, validation]);
    const tokens = step * o.batch_size * o.gradient_accumulation_steps * o.max_length;
    progress.update({ phase: "pretrain", step, total: o.steps, loss, tokens });
    if (validation !== undefined) {
      progress.log(`step ${step}: validation loss ${validation.toFixed(4)}`);
    }
  };
  const where = {
    dir: work,
    resume: taskCommand("pretrain --resume", [output_dir]),
    shown: () => renderPretraining(shown),
    kept: `The model is in ${output_dir}.`,
  };
  const record = await carryThrough(where, { progress, live }, signal, async () => {
    const { model, record } = await pretrain(
      ...[gpu, options, materials, onProgress, signal, continuing] as const,
    );
    await saveModel(output, model);
    await writeWhole(recordFile, JSON.stringify(record, null, 2) + "\n");
    await endWork(folder); // until here it can be continued
    await Deno.remove(folder.dir).catch(() => {}); // where the user has put nothing into it
    shown.result = record;
    return record;
  });
  const { bigram, trigram } = record.ngram_test_losses;
  console.log(
    `test loss ${record.test_loss.toFixed(4)} nats per token ` +
      `(bigram ${bigram.toFixed(4)}, trigram ${trigram.toFixed(4)}); model in ${output_dir}`,
  );
});

/** Makes the folder of a pretraining; what an earlier one left there goes. */
async function beginAt(
  dir: string,
  begun: { options: PretrainValues; data: PretrainData; environment: unknown },
): Promise<Work<PretrainState>> {
  if (await exists(`${dir}/${WORK_MARK}`)) {
    await endWork(await RunFolder.open(dir, { kind: "pretraining" }));
  }
  const beginning = workBeginning(begun);
  return beginWork(await RunFolder.createAt(dir, { kind: "pretraining", beginning }));
}

async function dataOf({ record, tokenizerJson }: PretrainMaterials): Promise<PretrainData> {
  const tokenizer_sha256 = await sha256(JSON.stringify(tokenizerJson));
  return { text_sha256: record.sha256, tokenizer_sha256 };
}

function checkSame(before: PretrainData, now: PretrainData): void {
  for (
    const [key, what] of [["text_sha256", "text"], ["tokenizer_sha256", "vocabulary"]] as const
  ) {
    if (before[key] === now[key]) continue;
    throw new TypeError(
      `the ${what} is not what it was when the pretraining began: its hash has changed`,
    );
  }
}

/** Refuses a place that holds a model, or what a pretraining is continued from. */
async function checkFree(output_dir: string, work: string): Promise<void> {
  if (await exists(`${work}/${WORK_MARK}`)) {
    const holder = await lockHolder(work);
    if (holder) throw new LockedError(work, holder);
    throw new Deno.errors.AlreadyExists(
      `${work} holds a pretraining that was not finished: continue with ` +
        `${taskCommand("pretrain --resume", [output_dir])}, or begin anew with --overwrite`,
    );
  }
  if (await holdsModel(resolve(output_dir))) {
    throw new Deno.errors.AlreadyExists(
      `${output_dir} holds a model: give another folder, or --overwrite`,
    );
  }
}

async function holdsModel(dir: string): Promise<boolean> {
  try {
    return (await Array.fromAsync(Deno.readDir(dir))).length > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Refuses to write over a file that is not the record of an earlier pretraining. */
async function checkRecord(file: string): Promise<void> {
  let text: string;
  try {
    text = await Deno.readTextFile(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw error;
  }
  if (text.includes("ngram_test_losses")) return;
  throw new Deno.errors.AlreadyExists(`${file} is not ours: it is left alone; give another folder`);
}
