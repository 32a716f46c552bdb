/** What the runs of a sweep leave, and a small grid for tests that run them as commands. */
import { join } from "node:path";
import { readSweep, standings } from "../src/report/sweep_folder.ts";

/** How the runs of a sweep stand, in the plan's order. */
export async function states(sweep: string): Promise<string[]> {
  const runs = await standings(sweep, (await readSweep(sweep)).runs);
  return runs.map(({ state }) => state);
}

/** What runs leave that must not depend on who ran them, and how often they were stopped. */
export async function outcome(sweep: string): Promise<unknown[]> {
  const { runs } = await readSweep(sweep);
  return await Promise.all(runs.map(({ folder }) => outcomeOf(join(sweep, folder))));
}

/** The same of one run. */
export async function outcomeOf(run: string) {
  const { execution_time_s: _, ...results } = JSON.parse(
    await Deno.readTextFile(join(run, "results.json")),
  );
  const metrics = await Deno.readTextFile(join(run, "metrics.jsonl"));
  return { results, metrics, weights: await Deno.readFile(join(run, "model/model.safetensors")) };
}

/** The options of a sweep of a tiny model. */
export function tinyGrid(
  { modelDir, textFile, output, seeds, steps }: {
    modelDir: string;
    textFile: string;
    output: string;
    seeds: string;
    steps: number;
  },
): string[] {
  return [
    ...["--strategies", "importance,random", "--levels", "0.25", "--seeds", seeds],
    ...["--model_name", modelDir, "--text", textFile, "--max_length", "16", "--batch_size", "2"],
    ...["--warmup_steps", "3", "--finetuning_steps", String(steps), "--cycles", "2"],
    ...["--eval_freq", "4", "--eval_tokens", "64", "--test_tokens", "64"],
    ...["--controller_update_freq", "4", "--output_dir", output],
  ];
}
