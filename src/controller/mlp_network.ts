/**
 * The network of the controller that learns: what moving a head's gate does to the loss, as a
 * correction of the untrained estimate. `mlp_controller.ts` says how it is used.
 *
 * @module
 */
import { Random } from "../random.ts";
import { checkNumber } from "../ranges.ts";

/** A move of one head's gate, as the network takes it. */
export interface Move {
  /** The head's features. */
  readonly x: readonly number[];
  /** Gate after, less gate before. */
  readonly delta: number;
  /** The untrained estimate of the change of the loss, in nats per token. */
  readonly base: number;
  /** What the network's outputs are multiplied by, in nats per unit of gate. */
  readonly scale: number;
}

/** A measured change of the loss by moves made together. */
export interface Outcome {
  /** The heads that moved. */
  readonly moves: readonly Move[];
  /** By how much the loss changed, in nats per token. */
  readonly realised: number;
  /** The unit in which an error counts, in nats per token. */
  readonly norm: number;
  /** How much it counts beside other outcomes. */
  readonly weight: number;
}

/** How an {@linkcode MlpNetwork} is trained. */
export interface TrainingConfig {
  /** Steps of Adam, each over all outcomes. */
  readonly epochs: number;
  /** Adam's rate. */
  readonly learningRate: number;
  /** How strongly every head that moved is held to its untrained estimate. */
  readonly shrinkage: number;
  /** How strongly the output layer is drawn to 0. */
  readonly weightDecay: number;
}

/** The state of an {@linkcode MlpNetwork}, as JSON. */
export interface NetworkState {
  /** Weights, in the order of {@linkcode MlpNetwork.weights}. */
  weights: number[];
  /** Adam's first moments of the weights. */
  m: number[];
  /** Adam's second moments. */
  v: number[];
  /** Adam's steps so far. */
  t: number;
}

/** The change of a gate for which both outputs weigh the same: about that of one step. */
const BEND = 0.25;

const BETA1 = 0.9, BETA2 = 0.99, EPSILON = 1e-8;

/** Predicts the change of the loss by a move: its untrained estimate and a learned correction. */
export class MlpNetwork {
  /** Features a head. */
  readonly inputs: number;
  /**
   * For every hidden unit its weights of the inputs, its bias and its weights in the outputs a and
   * b; then the biases of a and b: `hidden * (inputs + 3) + 2` numbers.
   */
  readonly weights: Float64Array;
  readonly #m: Float64Array;
  readonly #v: Float64Array;
  #t = 0;

  /** A network whose first weights are drawn from `random`; biases and output layer are 0. */
  constructor(inputs: number, hidden: number, random: Random) {
    this.inputs = inputs;
    this.weights = new Float64Array(hidden * (inputs + 3) + 2);
    this.#m = new Float64Array(this.weights.length);
    this.#v = new Float64Array(this.weights.length);
    for (let u = 0; u < this.weights.length - 2; u += inputs + 3) {
      for (let i = 0; i < inputs; i++) this.weights[u + i] = random.normal() / Math.sqrt(inputs);
    }
  }

  /** The predicted change of the loss, in nats per token. */
  predict(move: Move): number {
    return move.base + this.#correction(move);
  }

  #correction({ x, delta, scale }: Move): number {
    const { weights, inputs } = this, end = weights.length - 2;
    let a = weights[end], b = weights[end + 1];
    for (let u = 0; u < end; u += inputs + 3) {
      const y = this.#unit(u, x);
      a += weights[u + inputs + 1] * y;
      b += weights[u + inputs + 2] * y;
    }
    return scale * delta * (a + b * delta / BEND);
  }

  #unit(u: number, x: readonly number[]): number {
    let z = this.weights[u + this.inputs];
    for (let i = 0; i < this.inputs; i++) z += this.weights[u + i] * x[i];
    return Math.tanh(z);
  }

  /** Adds `dcorrection * d correction / d weights` to `dweights`. */
  #backward(dweights: Float64Array, dcorrection: number, { x, delta, scale }: Move): void {
    const { weights, inputs } = this, end = weights.length - 2;
    // return scale * delta * (a + b * delta / BEND)
    const da = dcorrection * scale * delta, db = da * delta / BEND;
    dweights[end] += da;
    dweights[end + 1] += db;
    for (let u = 0; u < end; u += inputs + 3) {
      const y = this.#unit(u, x);
      // a += weights[u + inputs + 1] * y; b += weights[u + inputs + 2] * y
      dweights[u + inputs + 1] += da * y;
      dweights[u + inputs + 2] += db * y;
      const dy = da * weights[u + inputs + 1] + db * weights[u + inputs + 2];
      // return Math.tanh(z)
      const dz = dy * (1 - y * y);
      // z = weights[u + inputs]; z += weights[u + i] * x[i]
      dweights[u + inputs] += dz;
      for (let i = 0; i < inputs; i++) dweights[u + i] += dz * x[i];
    }
  }

  /**
   * What training lowers:
   * `sum over outcomes of weight (sqrt(1 + e^2) - 1 + shrinkage / 2 sum over heads of c^2)
   * + weightDecay / 2 sum over the output layer of w^2`, where e is the error of the summed
   * prediction and c a head's correction, both over `norm`.
   *
   * @param dweights Its gradient is added to this (`+=`), where given.
   */
  loss(
    outcomes: readonly Outcome[],
    { shrinkage, weightDecay }: Pick<TrainingConfig, "shrinkage" | "weightDecay">,
    dweights?: Float64Array,
  ): number {
    const { weights, inputs } = this, end = weights.length - 2;
    let loss = 0;
    for (const { moves, realised, norm, weight } of outcomes) {
      const own = moves.map((move) => this.#correction(move) / norm);
      const e = moves.reduce((sum, { base }, i) => sum + base / norm + own[i], -realised / norm);
      const root = Math.sqrt(1 + e * e);
      loss += weight * (root - 1 + shrinkage / 2 * own.reduce((sum, c) => sum + c * c, 0));
      if (dweights) {
        moves.forEach((move, i) =>
          this.#backward(dweights, weight * (e / root + shrinkage * own[i]) / norm, move)
        );
      }
    }
    weights.forEach((w, i) => {
      if (i < end && i % (inputs + 3) <= inputs) return; // of the hidden layer
      loss += weightDecay / 2 * w * w;
      if (dweights) dweights[i] += weightDecay * w;
    });
    return loss;
  }

  /** Trains on outcomes; Adam goes on from where it was. */
  train(outcomes: readonly Outcome[], config: TrainingConfig): void {
    const { weights } = this;
    for (let epoch = 0; epoch < config.epochs; epoch++) {
      const dweights = new Float64Array(weights.length);
      this.loss(outcomes, config, dweights);
      this.#t++;
      const correct1 = 1 - BETA1 ** this.#t, correct2 = 1 - BETA2 ** this.#t;
      dweights.forEach((grad, i) => {
        const m = this.#m[i] = BETA1 * this.#m[i] + (1 - BETA1) * grad;
        const v = this.#v[i] = BETA2 * this.#v[i] + (1 - BETA2) * grad * grad;
        weights[i] -= config.learningRate * (m / correct1) / (Math.sqrt(v / correct2) + EPSILON);
      });
    }
  }

  /** The whole state; {@linkcode MlpNetwork.restore} goes on from it with the same bits. */
  toJSON(): NetworkState {
    return { weights: [...this.weights], m: [...this.#m], v: [...this.#v], t: this.#t };
  }

  /**
   * Takes the state of a network of the same size.
   *
   * @throws {RangeError} If a length is wrong or a number not finite; then nothing changes.
   */
  restore(state: NetworkState): void {
    const { length } = this.weights;
    for (const key of ["weights", "m", "v"] as const) checkNumbers(key, state[key], length);
    checkNumber("t", state.t, { min: 0, whole: true });
    this.weights.set(state.weights);
    this.#m.set(state.m);
    this.#v.set(state.v);
    this.#t = state.t;
  }
}

/** Checks a list of numbers: its length, and that all are finite. */
export function checkNumbers(name: string, values: readonly number[], length: number): void {
  if (values.length !== length) {
    throw new RangeError(`${name} must hold ${length} numbers: ${values.length}`);
  }
  for (const value of values) checkNumber(`every number of ${name}`, value, {});
}
