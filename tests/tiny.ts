/** A tiny model and a short text on disk, for tests of whole runs. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { trainBpe } from "../src/data/bpe.ts";
import { loadText } from "../src/data/corpora.ts";
import type { Model } from "../src/data/model_files.ts";
import { saveModel } from "../src/data/save_model.ts";
import { initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { allHeads } from "../src/gpt2/layout.ts";

/** Folders and files that are gone when the tests of a file have ended. */
export interface Tiny {
  /** A folder to work in. */
  dir: string;
  /** 60,000 characters. */
  textFile: string;
  /** 2 layers x 4 heads, random weights. */
  model: Model;
  /** Its folder. */
  modelDir: string;
}

/** What the tiny model's folder says beside its weights. */
export const BESIDE: ReadonlyMap<string, string> = new Map([
  ["generation_config.json", '{"eos_token_id": [299, 298]}\n'],
  ["chat_template.jinja", "{{ messages }}"],
]);

/** That a folder still says it. */
export async function assertBeside(dir: string): Promise<void> {
  for (const [name, text] of BESIDE) {
    assert.equal(await Deno.readTextFile(join(dir, name)), text, `${dir}/${name}`);
  }
}

/** @param sizes T is the context, 32 unless given; initializerRange makes heads differ more. */
export async function makeTiny(
  sizes: { T?: number; initializerRange?: number } = {},
): Promise<Tiny> {
  const dir = await Deno.makeTempDir({ prefix: "pollard-test-" });
  addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
  const { text } = await loadText("moby_dick");
  const textFile = join(dir, "text.txt");
  await Deno.writeTextFile(textFile, text.slice(0, 60_000));
  const config = makeConfig({ L: 2, NH: 4, C: 32, V: 300, T: 32, ...sizes });
  const model = {
    config,
    live: allHeads(config),
    weights: initWeights(config, 3),
    tokenizerJson: trainBpe(text.slice(0, 30_000), 300),
    beside: BESIDE,
  };
  const modelDir = join(dir, "tiny");
  await saveModel(modelDir, model);
  return { dir, textFile, model, modelDir };
}
