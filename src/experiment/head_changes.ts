/**
 * Heads that go and come in a cycle: chosen by measuring, recorded with the reason, and followed by as
 * many random ones in the control.
 *
 * @module
 */
import { ANN_DEFAULTS } from "../controller/ann_config.ts";
import type { HeadMetrics } from "../controller/metrics.ts";
import type { Gpt2 } from "../gpt2/model.ts";
import { measureDormant } from "../plasticity/dormant.ts";
import {
  chooseGrowth,
  type ChosenGrowth,
  type GrowthInputs,
  GROWTHS,
  type GrowthStrategy,
  scoreGrowth,
} from "../plasticity/growth.ts";
import type { GrownHead } from "../plasticity/plastic_model.ts";
import { chooseHeads, type ChosenHead } from "../plasticity/prune.ts";
import { donorParts, freshParts, type Regrowth } from "../plasticity/regrow.ts";
import { importanceScores, type Strategy } from "../plasticity/scores.ts";
import type { Random } from "../random.ts";
import { choosePruned, scoreArm } from "./analysis.ts";
import type { Arm } from "./arm.ts";
import type { PlasticitySetting } from "./plasticity_setting.ts";

/** Normalised entropy below which a pruned head may come back: it attends to few keys. */
export const REVIVE_ENTROPY = 0.4;

/** What changes of heads need of their setting. */
type ChangesSetting = Pick<PlasticitySetting, "gpu" | "lockstep" | "materials" | "recorder">;

/** Generators as they are now: a cycle that fails puts others in their place. */
export interface RandomSources {
  /** What strategies, donors and fresh weights draw from. */
  random(): Random;
  /** What the random control draws from. */
  control(): Random;
}

/** Which heads to prune. */
export interface PruneRequest {
  /** How many. */
  count: number;
  /** What a controller wants of all heads, `[L, NH]`. */
  gates: Float32Array;
  /** Whether heads leave their mean outputs behind, measured on the calibration text. */
  foldMeans?: boolean;
  /** Called between measuring and pruning. */
  onChosen?(): Promise<void>;
}

/** How many heads can go while each layer keeps one. */
export function spareHeads({ live }: Pick<Gpt2, "live">): number {
  return live.reduce((sum, heads) => sum + Math.max(0, heads.length - 1), 0);
}

/** How many heads a share of the live ones is: one at least unless it is 0; each layer keeps one. */
export function pruneCount(model: Pick<Gpt2, "live" | "heads">, share: number): number {
  if (share === 0) return 0;
  return Math.min(spareHeads(model), Math.max(1, Math.floor(model.heads * share)));
}

/** Removes and adds heads of the model under study, and as many of the control's. */
export class HeadChanges {
  readonly #setting: ChangesSetting;
  readonly #regrowth: Regrowth;
  readonly #sources: RandomSources;
  /** What the last pruning took, by arm: it does not come back in the same cycle. */
  #taken = new Map<Arm["name"], Set<string>>();

  /** @param regrowth What grown heads begin with. */
  constructor(setting: ChangesSetting, regrowth: Regrowth, sources: RandomSources) {
    this.#setting = setting;
    this.#regrowth = regrowth;
    this.#sources = sources;
  }

  /**
   * Measures every live head and prunes so many of them. Heads that a controller has closed go
   * first, then those that score lowest, and last those whose influence still rises.
   *
   * @throws {RangeError} If so many cannot go while every layer keeps one.
   */
  async prune(
    strategy: Strategy,
    { count, gates, foldMeans = false, onChosen }: PruneRequest,
  ): Promise<{ chosen: ChosenHead[]; control: ChosenHead[]; metrics: HeadMetrics }> {
    const { lockstep, materials: { calibration }, recorder } = this.#setting;
    const arm = lockstep.pruned, { live } = arm.model, applied = arm.effectiveGates;
    const random = this.#sources.random();
    const { metrics, scores } = await scoreArm(arm, calibration, {
      strategy,
      gates: applied,
      random: () => random.next(),
    });
    await recorder.heads(metrics, applied, scores);
    await onChosen?.();
    const closed = gates.map((gate) => gate <= ANN_DEFAULTS.activeThreshold ? 1 : 0);
    const held = growingMask(arm);
    const chosen = choosePruned(scores, { live, gates, closed, held, count });
    await this.#removeFrom(arm, chosen, { strategy, gates, foldMeans });
    const random_arm = lockstep.control("random_pruning");
    if (!random_arm) return { chosen, control: [], metrics };
    const own = growingMask(random_arm); // a draw is below 1
    const drawn = Float32Array.from(scores, (_, i) => this.#sources.control().next() + own[i]);
    const control = chooseHeads(drawn, random_arm.model.live, { count });
    await this.#removeFrom(random_arm, control, { strategy: "random", foldMeans });
    return { chosen, control, metrics };
  }

  async #removeFrom(
    arm: Arm,
    heads: readonly ChosenHead[],
    { strategy, gates, foldMeans }: {
      strategy: string;
      gates?: Float32Array;
      foldMeans: boolean;
    },
  ): Promise<void> {
    const { calibration } = this.#setting.materials;
    const means = foldMeans ? await arm.measureMeans(calibration) : undefined;
    await arm.prune(heads, means && { means });
    this.#taken.set(arm.name, new Set(heads.map(({ layer, head }) => `${layer}.${head}`)));
    for (const { layer, head, score, rank, of } of heads) {
      const gate = gates && { gate: gates[layer * arm.config.NH + head] };
      const event = { event: "prune", layer, head, strategy, score, ...gate, rank, of } as const;
      await this.#setting.recorder.event(event, arm.name);
    }
  }

  /**
   * Brings back a share of the heads that are gone, one at least unless the share is 0, of those that
   * were kept. Heads that were pruned just now come only where there are no others.
   */
  async grow(
    strategy: GrowthStrategy,
    ratio: number,
  ): Promise<{ chosen: ChosenGrowth[]; control: ChosenGrowth[] }> {
    const { lockstep } = this.#setting;
    const arm = lockstep.pruned, { live, totalHeads, heads } = arm.model;
    // a head that was pruned before this run began has left nothing that could come back
    const candidates = this.#candidates(arm);
    const wanted = ratio === 0 ? 0 : Math.max(1, Math.floor(ratio * (totalHeads - heads)));
    const count = Math.min(candidates.flat().length, wanted);
    if (count === 0) return { chosen: [], control: [] };
    const inputs = { ...await this.#growthInputs(arm, strategy), candidates };
    const chosen = chooseGrowth(scoreGrowth(strategy, inputs), live, { count, candidates });
    await this.#addTo(arm, chosen, strategy);
    return { chosen, control: await this.#addRandom(count) };
  }

  /**
   * Pruned heads that look worth having back: focused (entropy below {@linkcode REVIVE_ENTROPY}),
   * and such that opening their gate would lower the loss faster than moving half the live heads'
   * gates would change it. Measured in place, at gate 0; the likeliest first.
   */
  async revivable(): Promise<ChosenGrowth[]> {
    const { gpu, lockstep, materials: { calibration } } = this.#setting;
    const arm = lockstep.pruned, { live } = arm.model, { NH } = arm.config;
    if (arm.stored.length === 0) return [];
    const { gateGrad, entropy } = await measureDormant(gpu, arm, calibration, arm.trainer.acts);
    const sizes = live.flatMap((heads, layer) =>
      heads.map((head) => Math.abs(gateGrad[layer * NH + head]))
    ).sort((a, b) => a - b);
    const usual = sizes[sizes.length >> 1];
    const candidates = storedByLayer(arm).map((heads, layer) =>
      heads.map((head) => ({ head, i: layer * NH + head }))
        .filter(({ i }) => entropy[i] < REVIVE_ENTROPY && -gateGrad[i] > usual)
        .map(({ head }) => head)
    );
    const scores = gateGrad.map((slope) => -slope);
    return chooseGrowth(scores, live, { count: candidates.flat().length, candidates });
  }

  /** Brings heads back, and as many random ones of the control's. */
  async revive(heads: readonly ChosenGrowth[]): Promise<void> {
    if (heads.length === 0) return;
    const { lockstep } = this.#setting;
    await this.#addTo(lockstep.pruned, heads, "gradient_sensitivity");
    await this.#addRandom(heads.length);
  }

  /** Stored heads by layer, those pruned just now only where there are no others. */
  #candidates(arm: Arm): number[][] {
    const all = storedByLayer(arm), taken = this.#taken.get(arm.name) ?? new Set();
    const earlier = all.map((heads, layer) => heads.filter((h) => !taken.has(`${layer}.${h}`)));
    return earlier.flat().length > 0 ? earlier : all;
  }

  async #addRandom(count: number): Promise<ChosenGrowth[]> {
    const control = this.#setting.lockstep.control("random_pruning");
    if (!control) return [];
    const random = this.#sources.control();
    const drawn = Float32Array.from({ length: control.model.totalHeads }, () => random.next());
    const chosen = chooseGrowth(drawn, control.model.live, {
      count,
      candidates: this.#candidates(control),
    });
    await this.#addTo(control, chosen, "random");
    return chosen;
  }

  /** Measures what a growth strategy needs. */
  async #growthInputs(arm: Arm, strategy: GrowthStrategy): Promise<GrowthInputs> {
    const { gpu, materials: { calibration } } = this.#setting;
    const { model: { live }, config: { NH }, trainer } = arm;
    const random = this.#sources.random();
    const base = { live, NH, random: () => random.next() };
    const { needs, dormant } = GROWTHS[strategy];
    if (dormant) {
      return { ...base, ...await measureDormant(gpu, arm, calibration, trainer.acts) };
    }
    if (!needs.includes("entropy")) return base;
    return { ...base, ...await arm.measureHeads(calibration) };
  }

  async #addTo(arm: Arm, heads: readonly ChosenGrowth[], strategy: string): Promise<void> {
    const { recorder } = this.#setting, regrowth = this.#regrowth;
    const grown: GrownHead[] = [];
    const { live, weights, optimizer: { m, v } } = await arm.state();
    const model = { live, weights, m, v };
    const importance = regrowth === "donor" ? await this.#importanceOf(arm) : undefined;
    for (const { layer, head } of heads) {
      const stored = arm.stored.find((one) => one.layer === layer && one.head === head)!;
      const parts = regrowth === "warm" ? stored : regrowth === "donor"
        ? donorParts(
          arm.config,
          model,
          { layer, head: mostUseful(arm, layer, importance!) },
          this.#sources.random(),
        )
        : freshParts(arm.config, model, layer, this.#sources.random());
      grown.push({ layer, head, parts });
    }
    await arm.grow(grown);
    for (const { layer, head, score, rank, of } of heads) {
      const event = { event: "grow", layer, head, strategy, regrowth, score, rank, of } as const;
      await recorder.event(event, arm.name);
    }
  }

  /** First-order importance of an arm's live heads, measured now. */
  async #importanceOf(arm: Arm): Promise<Float32Array> {
    const metrics = await arm.measureHeads(this.#setting.materials.calibration);
    return importanceScores(metrics, arm.effectiveGates);
  }
}

/** A layer's live head of the highest importance. */
function mostUseful(
  { model: { live }, config: { NH } }: Arm,
  layer: number,
  importance: Float32Array,
): number {
  return live[layer].reduce((best, head) =>
    importance[layer * NH + head] > importance[layer * NH + best] ? head : best
  );
}

/** 1 for heads whose influence still rises, `[L, NH]`: they go last. */
function growingMask({ growing, config: { L, NH } }: Arm): Float32Array {
  const mask = new Float32Array(L * NH);
  for (const { layer, head } of growing) mask[layer * NH + head] = 1;
  return mask;
}

/** For each layer the pruned heads that an arm has kept. */
function storedByLayer({ stored, config: { L } }: Arm): number[][] {
  return Array.from(
    { length: L },
    (_, layer) =>
      stored.filter((head) => head.layer === layer).map(({ head }) => head).sort((a, b) => a - b),
  );
}
