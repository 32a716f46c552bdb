/**
 * Heads that go and come in a cycle: chosen by measuring, recorded with the reason, and followed by as
 * many random ones in the control.
 *
 * @module
 */
import { ANN_DEFAULTS } from "../controller/ann_config.ts";
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

/** Removes and adds heads of the model under study, and as many of the control's. */
export class HeadChanges {
  readonly #setting: PlasticitySetting;
  readonly #regrowth: Regrowth;
  readonly #source: () => Random;
  #importance: Float32Array = new Float32Array();

  /**
   * @param regrowth What grown heads begin with.
   * @param random The generator as it is now; a cycle that fails puts another in its place.
   */
  constructor(setting: PlasticitySetting, regrowth: Regrowth, random: () => Random) {
    this.#setting = setting;
    this.#regrowth = regrowth;
    this.#source = random;
  }

  get #random(): Random {
    return this.#source();
  }

  /**
   * Prunes a share of the live heads, one at least; every layer keeps one. Heads that a controller
   * has closed go first, then those that score lowest.
   *
   * @param gates What a controller wants of all heads, `[L, NH]`.
   */
  async prune(strategy: Strategy, level: number, gates: Float32Array): Promise<ChosenHead[]> {
    const { lockstep, materials: { calibration }, recorder } = this.#setting;
    const arm = lockstep.pruned, { live } = arm.model, applied = arm.effectiveGates;
    const { metrics, scores } = await scoreArm(arm, calibration, {
      strategy,
      gates: applied,
      random: () => this.#random.next(),
    });
    await recorder.heads(metrics, applied, scores);
    this.#importance = importanceScores(metrics, applied);
    const spare = live.reduce((sum, heads) => sum + Math.max(0, heads.length - 1), 0);
    const count = Math.min(spare, Math.max(1, Math.floor(arm.model.heads * level)));
    const closed = gates.map((gate) => gate <= ANN_DEFAULTS.activeThreshold ? 1 : 0);
    const chosen = choosePruned(scores, { live, gates, closed, count });
    await this.#removeFrom(arm, chosen, strategy);
    const control = lockstep.control("random_pruning");
    if (control) {
      const drawn = Float32Array.from(scores, () => this.#random.next());
      await this.#removeFrom(control, chooseHeads(drawn, control.model.live, { count }), "random");
    }
    return chosen;
  }

  async #removeFrom(arm: Arm, heads: readonly ChosenHead[], strategy: string): Promise<void> {
    await arm.prune(heads);
    for (const { layer, head, score, rank, of } of heads) {
      const event = { event: "prune", layer, head, strategy, score, rank, of } as const;
      await this.#setting.recorder.event(event, arm.name);
    }
  }

  /** Brings back a share of the heads that are gone, one at least, of those that were kept. */
  async grow(strategy: GrowthStrategy, ratio: number): Promise<ChosenGrowth[]> {
    const { lockstep } = this.#setting;
    const arm = lockstep.pruned, { live, totalHeads, heads } = arm.model;
    const count = Math.min(
      arm.stored.length,
      Math.max(1, Math.floor(ratio * (totalHeads - heads))),
    );
    if (count === 0) return [];
    // a head that was pruned before this run began has left nothing that could come back
    const candidates = storedByLayer(arm);
    const inputs = { ...await this.#growthInputs(arm, strategy), candidates };
    const chosen = chooseGrowth(scoreGrowth(strategy, inputs), live, { count, candidates });
    await this.#addTo(arm, chosen, strategy);
    const control = lockstep.control("random_pruning");
    if (control) {
      const drawn = Float32Array.from({ length: totalHeads }, () => this.#random.next());
      const own = { count, candidates: storedByLayer(control) };
      await this.#addTo(control, chooseGrowth(drawn, control.model.live, own), "random");
    }
    return chosen;
  }

  /** Measures what a growth strategy needs. */
  async #growthInputs(arm: Arm, strategy: GrowthStrategy): Promise<GrowthInputs> {
    const { gpu, materials: { calibration } } = this.#setting;
    const { model: { live }, config: { NH }, trainer } = arm;
    const random = () => this.#random.next();
    const base = { live, NH, random };
    const { needs, dormant } = GROWTHS[strategy];
    if (dormant) {
      const { B, T } = trainer.acts;
      return { ...base, ...await measureDormant(gpu, arm, calibration, { B, T }) };
    }
    if (!needs.includes("entropy")) return base;
    trainer.discardMetrics();
    for (const { inputs, targets } of calibration) trainer.measure(inputs, targets);
    return { ...base, ...await trainer.readMetrics() };
  }

  async #addTo(arm: Arm, heads: readonly ChosenGrowth[], strategy: string): Promise<void> {
    const { recorder } = this.#setting, regrowth = this.#regrowth;
    const grown: GrownHead[] = [];
    const { live, weights, optimizer: { m, v } } = await arm.state();
    const model = { live, weights, m, v };
    for (const { layer, head } of heads) {
      const stored = arm.stored.find((one) => one.layer === layer && one.head === head)!;
      const parts = regrowth === "warm"
        ? stored
        : regrowth === "donor"
        ? donorParts(arm.config, model, { layer, head: this.#donor(arm, layer) }, this.#random)
        : freshParts(arm.config, model, layer, this.#random);
      grown.push({ layer, head, parts });
    }
    await arm.grow(grown);
    for (const { layer, head, score, rank, of } of heads) {
      const event = { event: "grow", layer, head, strategy, regrowth, score, rank, of } as const;
      await recorder.event(event, arm.name);
    }
  }

  /** The layer's most useful live head, by the importance measured before the last pruning. */
  #donor({ model: { live }, config: { NH } }: Arm, layer: number): number {
    return live[layer].reduce((best, head) =>
      this.#importance[layer * NH + head] > this.#importance[layer * NH + best] ? head : best
    );
  }
}

/** For each layer the pruned heads that an arm has kept. */
function storedByLayer({ stored, config: { L } }: Arm): number[][] {
  return Array.from(
    { length: L },
    (_, layer) =>
      stored.filter((head) => head.layer === layer).map(({ head }) => head).sort((a, b) => a - b),
  );
}
