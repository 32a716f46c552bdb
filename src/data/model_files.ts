/**
 * Models as folders in Hugging Face's layout: `config.json`, `model.safetensors` (one file or
 * sharded), `tokenizer.json`, and `pollard.json`, which marks a folder as ours and names the heads
 * that are left. Saved in the padded form, the weights have full shapes, zero where a head is missing,
 * so that other programs load them too; in the compact form they are smaller, and load here alone.
 *
 * @module
 */
import type { Weights } from "../gpt2/checkpoint.ts";
import type { Gpt2Config } from "../gpt2/config.ts";
import type { LiveHeads } from "../gpt2/layout.ts";
import type { HubModelSource } from "./hub_models.ts";
import type { ModelForm } from "./model_form.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** A model in memory: all that a folder holds. */
export interface Model {
  /** The full model's sizes, whatever heads are left. */
  readonly config: Gpt2Config;
  /** The heads that are left; all of them in an unpruned model. */
  readonly live: LiveHeads;
  /** Values in the shapes of `parameterLayout(config, live)`. */
  readonly weights: Weights;
  /** The parsed `tokenizer.json`, where there is one. */
  readonly tokenizerJson?: unknown;
  /** The parsed `tokenizer_config.json`, where there is one. */
  readonly tokenizerConfig?: unknown;
  /** Texts of the other files that a folder may hold beside its weights, by their names. */
  readonly beside?: ReadonlyMap<string, string>;
  /** A model card to save as `README.md`; loading does not read it. */
  readonly card?: string;
}

/** A model as {@linkcode loadModel} returns it. */
export interface LoadedModel extends Model {
  /** The form in which it lay on the disk. In memory both are the same. */
  readonly form: ModelForm;
  /** Made from `tokenizerJson`. */
  readonly tokenizer?: Tokenizer;
  /** The tokens that end a text; none unless given. */
  readonly endsOfText?: readonly number[];
  /** Where on the hub it came from, if it did. */
  readonly hub?: HubModelSource;
}

/** The weights, where they lie in one file. */
export const ONE_FILE = "model.safetensors";
/** Which file holds which tensor, where there are several. */
export const INDEX = "model.safetensors.index.json";
/** Marks a folder as ours and names the heads that are left. */
export const MARK = "pollard.json";
/**
 * What a folder may say beside its weights and its `tokenizer.json`, and says still after it was loaded
 * and saved: what ends a text and how texts are drawn, which tokens are special or were added, and how
 * a chat becomes a text.
 */
export const SIDE_FILES: readonly string[] = [
  "generation_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.jinja",
];
/** Where further chat templates lie, each in a file `NAME.jinja`. */
export const CHAT_TEMPLATES = "additional_chat_templates";
/** Where runs keep models, the one that a run was for first. */
export const RUN_MODELS: readonly string[] = ["hf_model", "model", "models/best"];
/** Name of a model card. */
export const CARD = "README.md";
/** A line of every model card that we write, by which it is told from one that is not ours. */
export const CARD_MARK = "<!-- written by Pollard -->";

/**
 * The tokenizer of a model.
 *
 * @param name What to call the model in an error.
 * @throws {TypeError} If it came without one.
 */
export function tokenizerOf({ tokenizer }: LoadedModel, name = "the model"): Tokenizer {
  if (tokenizer !== undefined) return tokenizer;
  throw new TypeError(
    `${name} has no tokenizer.json: put the model's own beside its weights (a checkpoint of a Trainer ` +
      "has none: copy that of the model it began with)",
  );
}
