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

// The device.
export {
  type AdapterInfo,
  type BufferRange,
  DeviceLostError,
  Gpu,
  GpuError,
  type GpuOptions,
} from "./src/gpu/device.ts";
export { type MatmulPick } from "./src/gpu/device.ts";
export { type Tensor } from "./src/gpu/tensor.ts";
export { type Timed, tuneMatmul, type TuneOptions } from "./src/kernels/tune.ts";

// The model: its sizes, parameters and heads, on the host and on the device.
export { type Gpt2Config, type Gpt2Sizes, makeConfig, parseConfig } from "./src/gpt2/config.ts";
export { allHeads, type HeadAxis, type LiveHeads, type Parameter } from "./src/gpt2/layout.ts";
export { compactWeights, initWeights, padWeights, type Weights } from "./src/gpt2/checkpoint.ts";
export { Gpt2, type ParameterTensors } from "./src/gpt2/model.ts";
export { foldMeans, scaleHeads } from "./src/gpt2/heads.ts";
export {
  decodingSize,
  passBytes,
  passOperations,
  type PassSize,
  prefillSize,
  type Work,
} from "./src/gpt2/work.ts";
export { type Evaluation, type Evaluator, type Window } from "./src/gpt2/evaluate.ts";
export { type GenerateControls, type GenerateOptions, Generator } from "./src/gpt2/generate.ts";
export { type SamplingOptions } from "./src/kernels/sampling.ts";

// Models on disk, text, tokens and batches.
export { type LoadedModel, type Model } from "./src/data/model_files.ts";
export { loadModel, type LoadOptions } from "./src/data/load_model.ts";
export { saveModel, type SaveOptions } from "./src/data/save_model.ts";
export { MODEL_FORMS, type ModelForm } from "./src/data/model_form.ts";
export { type HubModel, type HubModelSource } from "./src/data/hub_models.ts";
export {
  type HubEntry,
  hubFile,
  type HubOptions,
  type HubPatience,
  type HubPlace,
  type HubProgress,
  type HubSnapshot,
  hubSnapshot,
  type HubType,
  withHub,
} from "./src/data/hub.ts";
export { Tokenizer } from "./src/data/tokenizer.ts";
export { drawable } from "./src/data/vocabulary.ts";
export { type Corpus, loadText, type LoadTextOptions } from "./src/data/corpora.ts";
export { openText, type TextOptions, type TextSource } from "./src/data/text_source.ts";
export { type FreeSpace } from "./src/data/disk_space.ts";
export { type HubCommit } from "./src/data/datasets.ts";
export { ROW_SEPARATOR, type TextFile } from "./src/data/text_files.ts";
export { type Reading } from "./src/data/utf8.ts";
export {
  tokenise,
  type TokenisedFile,
  type TokenisedText,
  type TokeniseOptions,
} from "./src/data/tokenise.ts";
export { FileTokens, type Tokens, type TokenWidth } from "./src/data/tokens.ts";
export {
  boundParts,
  cutParts,
  type PartBounds,
  type PartName,
  type Parts,
  type SplitName,
  type SplitTokens,
  splitTokens,
} from "./src/data/parts.ts";
export {
  type Batch,
  evalWindows,
  TrainBatches,
  type TrainBatchesState,
  WindowList,
} from "./src/data/batches.ts";
export { Random, type RandomState } from "./src/random.ts";
export { embeddedModel, type LoadListeners, type Materials } from "./src/experiment/setup.ts";
export {
  evaluateText,
  type EvaluateTextOptions,
  type TextEvaluation,
} from "./src/experiment/evaluate_text.ts";

// Training.
export type { MeasuredHeads } from "./src/optim/measured_heads.ts";
export {
  type OptimizerState,
  type StepResult,
  Trainer,
  type TrainerOptions,
} from "./src/optim/trainer.ts";
export { type Decay, DECAYS, learningRate, type Schedule } from "./src/optim/schedule.ts";

// The controller: gates that move while the model trains.
export { type HeadMetrics, METRIC_KEYS, type MetricKey } from "./src/controller/metrics.ts";
export {
  AGENCY,
  type AgencyInfo,
  AnnController,
  type AnnState,
  type GateUpdate,
} from "./src/controller/ann_controller.ts";
export { ANN_DEFAULTS, type AnnConfig } from "./src/controller/ann_config.ts";
export {
  ControllerManager,
  type ControllerStep,
  type ControllerUpdate,
  MANAGER_DEFAULTS,
  type ManagerConfig,
  type ManagerState,
} from "./src/controller/manager.ts";
export {
  CONTROLLERS,
  type ControllerType,
  type Guide,
  type GuideState,
  inheritGuide,
  makeGuide,
  restoreGuide,
} from "./src/controller/guides.ts";
export {
  type Advice,
  type CycleFeedback,
  CycleGuide,
  type HeadTuple,
  type LearnedState,
  type Sight,
} from "./src/controller/guide.ts";
export { AnnGuide, type AnnGuideState } from "./src/controller/ann_guide.ts";
export { MlpGuide, type MlpGuideState } from "./src/controller/mlp_guide.ts";
export { type Feature, MLP_DEFAULTS, type MlpConfig } from "./src/controller/mlp_config.ts";
export {
  type DecideOptions,
  type Decision,
  type LearnedRound,
  type Lesson,
  MlpController,
  type MlpState,
  type RoundOutcome,
  type SeenHead,
  type SingleOutcome,
} from "./src/controller/mlp_controller.ts";
export {
  type Move,
  type NetworkState,
  type Outcome,
  type TrainingConfig,
} from "./src/controller/mlp_network.ts";

// Pruning: scores, and which heads go.
export {
  projectionNorms,
  scoreHeads,
  type ScoreInputs,
  STRATEGIES,
  type Strategy,
  STRATEGY_NAMES,
  type StrategyInfo,
} from "./src/plasticity/scores.ts";
export { chooseHeads, type ChooseOptions, type ChosenHead } from "./src/plasticity/prune.ts";

// Growth: heads that come back, and text that shows whether they should have.
export {
  chooseGrowth,
  type ChosenGrowth,
  GROWTH_NAMES,
  type GrowthInfo,
  type GrowthInputs,
  GROWTHS,
  type GrowthStrategy,
  liveCorrelations,
  scoreGrowth,
} from "./src/plasticity/growth.ts";
export {
  type Gains,
  gainsBetween,
  MEMORY_DEFAULTS,
  type MemoryOptions,
  type MemoryState,
  type ModelMeasure,
  type Transformation,
  TransformationMemory,
} from "./src/plasticity/memory.ts";
export {
  donorParts,
  freshParts,
  type HeadParts,
  type ModelParts,
  type Regrowth,
  REGROWTHS,
  type StoredHead,
} from "./src/plasticity/regrow.ts";
export {
  type GrownHead,
  influence,
  PlasticModel,
  type PlasticOptions,
  type PlasticState,
  RAMP_STEPS,
} from "./src/plasticity/plastic_model.ts";
export { type HeadPlace } from "./src/gpt2/heads.ts";
export { meanAblate } from "./src/plasticity/mean_ablation.ts";
export { leaveOneOut, type LeftOut } from "./src/plasticity/leave_one_out.ts";
export { type DormantMetrics, measureDormant } from "./src/plasticity/dormant.ts";
export {
  type ComparedPair,
  compareSamples,
  type Degeneration,
  degeneration,
  type DegenerationParts,
  type QualityParts,
  type SampleComparison,
  type TextPair,
  type TextQuality,
  textQuality,
} from "./src/plasticity/degeneration.ts";

// Cycles: strategies that are rated, plans that adapt, learning rates of grown heads.
export {
  type CycleOutcome,
  type Ratings,
  type RatingsState,
  startRatings,
  type StrategyKind,
  type StrategyPair,
  StrategyRatings,
} from "./src/plasticity/ratings.ts";
export {
  adaptPlan,
  type BestModel,
  type CycleMeasure,
  type CyclePlan,
  diminishingReturns,
  Patience,
  PATIENCE_DEFAULTS,
  type PatienceOptions,
  type PatienceState,
} from "./src/plasticity/adaptation.ts";
export {
  HeadLearningRates,
  type HeadRateConfig,
  type HeadRatesState,
} from "./src/plasticity/head_learning_rates.ts";

// The experiment, what it records, and the report.
export {
  checkOptions,
  DEFAULTS,
  type DeviceChoice,
  DEVICES,
  type ExperimentOptions,
  PRUNING_MODES,
  type PruningModeName,
} from "./src/experiment/options.ts";
export {
  bakeoff,
  BAKEOFF_LEVELS,
  type BakeoffOptions,
  type BakeoffProgress,
  type BakeoffState,
  prepareBakeoff,
  RANDOM_DRAWS,
} from "./src/experiment/bakeoff.ts";
export { type Continuing } from "./src/run/continuing.ts";
export { type TensorToWrite } from "./src/gpt2/safetensors.ts";
export {
  type ControllerOptions,
  ControllerPlasticityIntegration,
  type IntegrationConfig,
  type IntegrationFolder,
  type PlasticityRunOptions,
  type PreparedIntegration,
  prepareIntegration,
  resumeIntegration,
  startIntegration,
} from "./src/experiment/integration.ts";
export { IntegrationRun } from "./src/experiment/integration_run.ts";
export { type IntegrationListeners } from "./src/experiment/integration_lines.ts";
export {
  CONTROLLER_TYPES,
  INTEGRATION_DEFAULTS,
  type IntegrationOptions,
} from "./src/experiment/integration_options.ts";
export { estimateIntegration, type RunEstimate } from "./src/experiment/estimate.ts";
export {
  type PreparedUpgrade,
  prepareUpgrade,
  resumeUpgrade,
  startUpgrade,
  type Upgraded,
  upgradeHistory,
  type UpgradeNote,
  UpgradeRun,
} from "./src/experiment/upgrade.ts";
export { UPGRADE_DEFAULTS, type UpgradeOptions } from "./src/experiment/upgrade_options.ts";
export {
  type Exported,
  exportModel,
  type ModelSize,
  type SavedModel,
} from "./src/experiment/export_model.ts";
export {
  type Compacted,
  compactModel,
  prepareCompact,
  type PreparedCompact,
} from "./src/experiment/compact.ts";
export {
  measureSpeed,
  SPEED_DEFAULTS,
  type SpeedControls,
  type SpeedOptions,
} from "./src/experiment/speed.ts";
export {
  type Continuation,
  type ContinueListeners,
  type ContinueOptions,
  continueTexts,
} from "./src/experiment/continue_text.ts";
export { type Decodes, TextStream } from "./src/data/text_stream.ts";
export { openExperiment, resumeExperiment, startExperiment } from "./src/experiment/run.ts";
export {
  type CycleAnalysis,
  type EndedCycle,
  type PruningPlan,
  type RunListeners,
  type RunProgress,
  type WarmedUp,
  type WarmupPlan,
} from "./src/experiment/experiment_state.ts";
export {
  type ExperimentConfig,
  PruningMode,
  PruningStrategy,
} from "./src/experiment/experiment_config.ts";
export {
  type ExperimentEvent,
  NeuralPlasticityExperiment,
} from "./src/experiment/neural_plasticity.ts";
export {
  type AttentionAnalysis,
  type EvaluationResults,
  type FullExperimentResults,
  type LossMetrics,
  type PruningCycleResults,
  type SavedPaths,
  type WarmupResults,
} from "./src/experiment/experiment_results.ts";
export { type WarmupEnd, type WarmupParts, type WarmupSegment } from "./src/plasticity/warmup.ts";
export { type RecordListeners } from "./src/experiment/recorder.ts";
export { ExperimentRun } from "./src/experiment/experiment_run.ts";
export { type RunFolder } from "./src/experiment/run_folder.ts";
export {
  notebookProgress,
  type NotebookProgressOptions,
} from "./src/experiment/notebook_progress.ts";
export { DivergedError } from "./src/experiment/lockstep.ts";
export { readIntegration, readKind, readRun } from "./src/report/read.ts";
export {
  type Dashboard,
  type DashboardPanel,
  JUPYTER_DISPLAY,
  writeDashboard,
} from "./src/report/dashboard.ts";
export { writeComparison } from "./src/report/comparison.ts";
export {
  prepareSweep,
  Sweep,
  type SweepConfig,
  type SweepListeners,
} from "./src/experiment/sweep.ts";
export {
  checkSweepOptions,
  planSweep,
  SWEEP_DEFAULTS,
  type SweepOptions,
} from "./src/experiment/sweep_options.ts";
export { HEAD_COLUMNS, parseHeadCsv, parseJsonLines } from "./src/record.ts";
export { drawReport, writeReport } from "./src/report/write.ts";
export { type Page } from "./src/report/document.ts";
export { type PageFigure } from "./src/report/parts.ts";
export { Html, type MarkupValue } from "./src/report/html.ts";
export {
  type LiveEvent,
  type LiveOptions,
  type LiveOutcome,
  type LiveProgress,
  LiveServer,
  type LiveSource,
} from "./src/live/server.ts";
export type * from "./src/record.ts";
