/**
 * Whether a tokenizer and a model's rows belong together.
 *
 * @module
 */
import type { Gpt2Config } from "../gpt2/config.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Rows of `wte` that no token uses are allowed where they round the vocabulary up, as many
 * trainers do, to a multiple of this.
 */
const VOCAB_MULTIPLE = 128;

/**
 * Checks that a model has a row for every token.
 *
 * @throws {RangeError} If it has not, or has many more.
 */
export function checkVocabulary(tokenizer: Tokenizer, config: Gpt2Config, where: string): void {
  const size = tokenizer.vocabSize;
  const most = Math.ceil(size / VOCAB_MULTIPLE) * VOCAB_MULTIPLE;
  if (size > config.V || config.V > most) {
    throw new RangeError(
      `${where}: tokenizer.json has ${size} tokens, but config.json says vocab_size ${config.V}: ` +
        `they belong to different models`,
    );
  }
}
