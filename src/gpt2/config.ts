/**
 * The shape of a GPT-2 model, read from and written to Hugging Face's `config.json`.
 *
 * @module
 */

/** The sizes of a GPT-2 model, in the letters that shaders, launchers and tests share. */
export interface Gpt2Config {
  /** Layers (`n_layer`). */
  readonly L: number;
  /** Attention heads in each layer of the full model (`n_head`). */
  readonly NH: number;
  /** Head size, `C / NH`. */
  readonly HS: number;
  /** Channels of the residual stream (`n_embd`). */
  readonly C: number;
  /** Channels inside the MLP (`n_inner`, 4C where the file says null). */
  readonly F: number;
  /** Vocabulary size (`vocab_size`). */
  readonly V: number;
  /** Longest sequence the position table covers (`n_positions`). */
  readonly T: number;
  /** Added to the variance in every layer norm (`layer_norm_epsilon`). */
  readonly eps: number;
  /** Whether the language-model head is `wte` itself (`tie_word_embeddings`). */
  readonly tied: boolean;
  /** Standard deviation of fresh weights (`initializer_range`). */
  readonly initializerRange: number;
  /** Every key of the file this came from, so that saving loses none of them. */
  readonly raw: Readonly<Record<string, unknown>>;
}

/** Names in transformers of the one GELU that is computed here; they differ by digits of a constant. */
const GELU_TANH = ["gelu_new", "gelu_pytorch_tanh", "gelu_fast"];

/**
 * Reads the keys that matter out of a parsed `config.json`.
 *
 * @param json The parsed file.
 * @param where What to call the file in an error.
 * @throws {TypeError} If it is not a GPT-2, or a key is missing or of the wrong kind.
 * @throws {RangeError} If a size makes no sense, or the model asks for something we do not compute.
 */
export function parseConfig(json: unknown, where = "config.json"): Gpt2Config {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new TypeError(`${where} must hold a JSON object`);
  }
  const raw = json as Record<string, unknown>;
  if (raw.model_type !== "gpt2") {
    throw new TypeError(
      `${where} describes model_type ${
        JSON.stringify(raw.model_type ?? null)
      }: only "gpt2" models can be loaded`,
    );
  }
  const size = (key: string, fallback?: number): number => {
    const value = raw[key] ?? fallback;
    if (value === undefined) throw new TypeError(`${where} lacks ${key}`);
    if (typeof value !== "number" || !Number.isInteger(value) || value < 1) {
      throw new RangeError(
        `${where}: ${key} must be a positive whole number: ${JSON.stringify(value)}`,
      );
    }
    return value;
  };
  const positive = (key: string, fallback: number): number => {
    const value = raw[key] ?? fallback;
    if (typeof value !== "number" || !(value > 0) || !Number.isFinite(value)) {
      throw new RangeError(`${where}: ${key} must be a positive number: ${JSON.stringify(value)}`);
    }
    return value;
  };
  const L = size("n_layer"), NH = size("n_head"), C = size("n_embd"), V = size("vocab_size");
  const T = size("n_positions", typeof raw.n_ctx === "number" ? raw.n_ctx : undefined);
  if (C % NH !== 0) {
    throw new RangeError(`${where}: n_embd ${C} is not a multiple of n_head ${NH}`);
  }
  const activation = raw.activation_function ?? "gelu_new";
  if (typeof activation !== "string" || !GELU_TANH.includes(activation)) {
    throw new RangeError(
      `${where}: activation_function ${JSON.stringify(activation)} is not computed here: only ${
        GELU_TANH.join(", ")
      }`,
    );
  }
  const unsupported: [string, unknown][] = [
    ["scale_attn_weights", true],
    ["scale_attn_by_inverse_layer_idx", false],
    ["add_cross_attention", false],
  ];
  for (const [key, only] of unsupported) {
    if ((raw[key] ?? only) !== only) {
      throw new RangeError(
        `${where}: ${key} ${JSON.stringify(raw[key])} is not computed here: only ${only}`,
      );
    }
  }
  return {
    L,
    NH,
    HS: C / NH,
    C,
    F: size("n_inner", 4 * C),
    V,
    T,
    eps: positive("layer_norm_epsilon", 1e-5),
    tied: (raw.tie_word_embeddings ?? true) !== false,
    initializerRange: positive("initializer_range", 0.02),
    raw,
  };
}

/** The sizes a new model is made of; see {@linkcode Gpt2Config} for the letters. */
export interface Gpt2Sizes {
  /** Layers. */
  L: number;
  /** Attention heads in each layer. */
  NH: number;
  /** Channels of the residual stream; a multiple of NH. */
  C: number;
  /** Vocabulary size, tokens. */
  V: number;
  /** Longest sequence, tokens. */
  T: number;
  /** MLP channels; 4C unless given. */
  F?: number;
  /** Layer norm epsilon; 1e-5 unless given. */
  eps?: number;
  /** Whether the head shares `wte`; true unless given. */
  tied?: boolean;
  /** Standard deviation of fresh weights; 0.02 unless given. */
  initializerRange?: number;
}

/**
 * Describes a new GPT-2 model by its sizes.
 *
 * @throws {RangeError} As {@linkcode parseConfig} does.
 */
export function makeConfig(sizes: Gpt2Sizes): Gpt2Config {
  return parseConfig({
    model_type: "gpt2",
    architectures: ["GPT2LMHeadModel"],
    activation_function: "gelu_new",
    n_layer: sizes.L,
    n_head: sizes.NH,
    n_embd: sizes.C,
    n_inner: sizes.F ?? null,
    n_positions: sizes.T,
    n_ctx: sizes.T,
    vocab_size: sizes.V,
    layer_norm_epsilon: sizes.eps ?? 1e-5,
    initializer_range: sizes.initializerRange ?? 0.02,
    tie_word_embeddings: sizes.tied ?? true,
    attn_pdrop: 0,
    embd_pdrop: 0,
    resid_pdrop: 0,
  }, "sizes");
}
