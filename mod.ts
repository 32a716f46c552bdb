/**
 * Pollard: train, prune and regrow the attention heads of GPT-2 models with WebGPU.
 *
 * ```ts
 * import { embeddedModel, evaluateText, Gpu, loadModel, loadText } from "./mod.ts";
 *
 * using gpu = await Gpu.open();
 * const model = await loadModel(embeddedModel());
 * const { text } = await loadText("moby_dick");
 * const { loss } = await evaluateText(gpu, model, text.slice(-20_000));
 * console.log(loss); // nats per token
 * ```
 *
 * @module
 */
export {
  type AdapterInfo,
  DeviceLostError,
  Gpu,
  GpuError,
  type GpuOptions,
} from "./src/gpu/device.ts";
export { type Gpt2Config, type Gpt2Sizes, makeConfig, parseConfig } from "./src/gpt2/config.ts";
export { allHeads, type LiveHeads } from "./src/gpt2/layout.ts";
export { compactWeights, initWeights, padWeights, type Weights } from "./src/gpt2/checkpoint.ts";
export { Gpt2 } from "./src/gpt2/model.ts";
export { type Evaluation, type Window } from "./src/gpt2/evaluate.ts";
export { type GenerateControls, type GenerateOptions, Generator } from "./src/gpt2/generate.ts";
export { type LoadedModel, loadModel, type Model, saveModel } from "./src/data/model_files.ts";
export { Tokenizer } from "./src/data/tokenizer.ts";
export { type Corpus, loadText } from "./src/data/corpora.ts";
export {
  type Batch,
  evalWindows,
  type Parts,
  splitTokens,
  TrainBatches,
} from "./src/data/batches.ts";
export {
  type MeasuredHeads,
  type OptimizerState,
  type StepResult,
  Trainer,
  type TrainerOptions,
} from "./src/optim/trainer.ts";
export { learningRate, type Schedule } from "./src/optim/schedule.ts";
export { AnnController } from "./src/controller/ann_controller.ts";
export { ANN_DEFAULTS, type AnnConfig } from "./src/controller/ann_config.ts";
export {
  ControllerManager,
  type ControllerStep,
  type ControllerUpdate,
  MANAGER_DEFAULTS,
  type ManagerConfig,
} from "./src/controller/manager.ts";
export { type HeadMetrics } from "./src/controller/metrics.ts";
export { scoreHeads, STRATEGIES, type Strategy } from "./src/plasticity/scores.ts";
export { chooseHeads, type ChosenHead } from "./src/plasticity/prune.ts";
export { DivergedError } from "./src/experiment/lockstep.ts";
export {
  NeuralPlasticityExperiment,
  type RunListeners,
  type RunProgress,
} from "./src/experiment/neural_plasticity.ts";
export { checkOptions, DEFAULTS, type ExperimentOptions } from "./src/experiment/options.ts";
export { resumeExperiment, startExperiment } from "./src/experiment/run.ts";
export { embeddedModel } from "./src/experiment/setup.ts";
export {
  evaluateText,
  type EvaluateTextOptions,
  type TextEvaluation,
} from "./src/experiment/evaluate_text.ts";
export { writeReport } from "./src/report/write.ts";
export type * from "./src/record.ts";
