/**
 * The end of a run: the test part is read, once, for every model; the pruned model is shown to be
 * the same masked, compacted and reloaded from disk; results are written, then samples.
 *
 * @module
 */
import { readJson } from "../data/files.ts";
import { loadModel } from "../data/load_model.ts";
import { saveModel } from "../data/save_model.ts";
import { padWeights, type Weights } from "../gpt2/checkpoint.ts";
import { Activations } from "../gpt2/activations.ts";
import { Evaluator } from "../gpt2/evaluate.ts";
import { drawable } from "../data/vocabulary.ts";
import { Generator } from "../gpt2/generate.ts";
import { maskedWeights, scaleHeads } from "../gpt2/heads.ts";
import { allHeads, type LiveHeads } from "../gpt2/layout.ts";
import { Gpt2 } from "../gpt2/model.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Arm as ArmName, CycleResult, EnvironmentRecord, Results, Sample } from "../record.ts";
import { type ExperimentNumbers, modelCard } from "../report/model_card.ts";
import type { Arm } from "./arm.ts";
import type { ExperimentOptions } from "./options.ts";
import { type RunFolder, shortName } from "./run_folder.ts";
import { type Materials, samplePrompts } from "./setup.ts";

/** What a finished run hands over. */
export interface Finished {
  gpu: Gpu;
  options: ExperimentOptions;
  materials: Materials;
  folder: RunFolder;
  arms: readonly Arm[];
  /** The controller's gates, L * NH; 0 for pruned heads. */
  gates: Float32Array;
  cycles: CycleResult[];
  planned: boolean;
  prunedHeads: [number, number][];
  tokensSeen: number;
  elapsed(): number;
  onMessage(line: string): void;
  signal?: AbortSignal;
}

/** How samples are drawn; the same for both models. */
const SAMPLING = { temperature: 0.8, topK: 40, topP: 0.95 };
const PROMPTS = { count: 3, length: 12 };
const SAMPLE_TOKENS = 48;

/** Relative difference that rounding may make between forms of one model. */
const SAME = 1e-5;

/**
 * Evaluates, saves the model, writes `results.json`, and then draws samples.
 *
 * @throws {Error} If masked, compacted and reloaded models disagree: the numbers would be worthless.
 */
export async function finish(run: Finished): Promise<Results> {
  const { gpu, options, materials, folder, arms, gates, signal } = run;
  const { config } = materials.model;
  const losses = new Map<ArmName, number>();
  run.onMessage(`reading the test text: ${materials.test.length} windows for each model`);
  for (const arm of arms) {
    const { loss } = await arm.trainer.evaluator.evaluate(materials.test, signal);
    losses.set(arm.name, loss);
  }
  const measure = async (weights: Weights, live: LiveHeads, withGates?: Float32Array) => {
    using model = new Gpt2(gpu, config, weights, live);
    if (withGates) model.setGates(withGates);
    const shape = { B: options.batch_size, T: options.max_length, training: false };
    using acts = new Activations(model, shape);
    using evaluator = new Evaluator(model, acts);
    return (await evaluator.evaluate(materials.test, signal)).loss;
  };
  const baseline = await loadModel(folder.path("baseline"));
  const baselineLoss = await measure(baseline.weights, baseline.live);

  // the same model in three forms
  const { model: pruned } = arms[0];
  const weights = await pruned.weights(), { live } = pruned;
  const other = padWeights(config, baseline.live, baseline.weights);
  const maskedLoss = await measure(
    maskedWeights(config, weights, live, other),
    allHeads(config),
    gates,
  );
  const compactedLoss = losses.get("pruned")!;
  const numbers = numbersOf(run, { losses, baselineLoss });
  const folded = {
    ...materials.model,
    live,
    weights: scaleHeads(config, weights, live, gates),
    card: await cardOf(run, numbers),
  };
  await saveModel(folder.path("model"), folded);
  const reloaded = await loadModel(folder.path("model"));
  const reloadedLoss = await measure(reloaded.weights, reloaded.live);
  for (const [form, loss] of [["masked", maskedLoss], ["reloaded", reloadedLoss]] as const) {
    if (!(Math.abs(loss - compactedLoss) <= SAME * Math.abs(compactedLoss))) {
      throw new Error(
        `The ${form} model's loss ${loss} is not the compacted model's ${compactedLoss}: ` +
          "this run's numbers cannot be trusted; please report it with the run folder",
      );
    }
  }
  const { tokens_seen, seed, ...before } = numbers;
  const results: Results = {
    ...before,
    masked_loss: maskedLoss,
    compacted_loss: compactedLoss,
    reloaded_loss: reloadedLoss,
    tokens_seen,
    planned: run.planned,
    execution_time_s: Math.round(run.elapsed() * 10) / 10,
    seed,
  };
  await folder.writeJson("results.json", results);
  await addSamples(run, baseline, reloaded);
  return results;
}

/** Draws samples once everything that was measured is written: they must not cost a run its results. */
async function addSamples(run: Finished, baseline: Sampled, pruned: Sampled): Promise<void> {
  try {
    await run.folder.writeJson("samples.json", await samples(run, baseline, pruned));
  } catch (error) {
    run.onMessage(`no samples were written, and the results stand: ${(error as Error).message}`);
  }
}

/** A model to draw samples from. */
interface Sampled {
  weights: Weights;
  live: LiveHeads;
}

/** What `results.json` will say that is known before the model is saved. */
function numbersOf(
  { arms: [{ model }], options, prunedHeads, cycles, tokensSeen }: Finished,
  { losses, baselineLoss }: { losses: ReadonlyMap<ArmName, number>; baselineLoss: number },
): ExperimentNumbers {
  const final = losses.get("pruned")!;
  const twin = losses.get("unpruned_twin"), random = losses.get("random_pruning");
  return {
    baseline_loss: baselineLoss,
    baseline_perplexity: Math.exp(baselineLoss),
    final_loss: final,
    final_perplexity: Math.exp(final),
    ...(twin !== undefined && { unpruned_twin_loss: twin }),
    ...(random !== undefined && { random_pruning_loss: random }),
    active_heads: model.heads,
    total_heads: model.totalHeads,
    final_sparsity: 1 - model.heads / model.totalHeads,
    pruned_heads: prunedHeads,
    cycles,
    tokens_seen: tokensSeen,
    seed: options.seed,
  };
}

async function cardOf({ folder, options }: Finished, numbers: ExperimentNumbers): Promise<string> {
  const { adapter } = await readJson(folder.path("environment.json")) as EnvironmentRecord;
  return modelCard(numbers, {
    base: shortName(options.model_name),
    text: shortName(options.text),
    chosenBy: options.strategy,
    adapter,
    foldedMeans: options.fold_means,
  });
}

/** Continues the same prompts with the same seeds, before and after. */
async function samples(
  { gpu, options, materials, onMessage, signal }: Finished,
  baseline: Sampled,
  pruned: Sampled,
): Promise<Sample[]> {
  const { tokenizer, model: { config, endsOfText = [] } } = materials;
  const prompts = await samplePrompts(materials, PROMPTS);
  const encoded = await Promise.all(prompts.map((prompt) => tokenizer.encode(prompt)));
  const longest = Math.max(...encoded.map((prompt) => prompt.length));
  const maxNewTokens = Math.min(SAMPLE_TOKENS, config.T - longest);
  if (maxNewTokens < 1) return [];
  onMessage("sampling from the baseline and the pruned model");
  const write = async ({ weights, live }: Sampled): Promise<string[]> => {
    using model = new Gpt2(gpu, config, weights, live);
    using generator = new Generator(model);
    const written = await generator.generate({
      prompts: encoded,
      maxNewTokens,
      seed: options.seed,
      ...drawable(tokenizer, config),
      stop: endsOfText,
      ...SAMPLING,
    }, signal && { signal });
    return await Promise.all(written.map((tokens, i) => {
      const own = tokens.subarray(encoded[i].length);
      return tokenizer.decode(endsOfText.includes(own[own.length - 1]) ? own.subarray(0, -1) : own);
    }));
  };
  const before = await write(baseline), after = await write(pruned);
  return prompts.map((prompt, i) => (
    { prompt, seed: options.seed, baseline: before[i], pruned: after[i] }
  ));
}
