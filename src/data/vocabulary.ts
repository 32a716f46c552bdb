/**
 * Which of a model's rows are tokens, and which tokens end a text. A model may have more rows than its
 * tokenizer has tokens, and fewer; numbers may have no token.
 *
 * @module
 */
import type { Gpt2Config } from "../gpt2/config.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * The numbers that may be drawn: those below `vocabSize` that are not `holes`.
 *
 * @param V The model's rows.
 */
export function drawable(
  tokenizer: Tokenizer,
  { V }: Pick<Gpt2Config, "V">,
): { vocabSize: number; holes: Uint32Array } {
  const holes: number[] = [];
  let vocabSize = 0;
  for (let id = 0; id < Math.min(V, tokenizer.vocabSize); id++) {
    if (tokenizer.has(id)) vocabSize = id + 1;
    else holes.push(id);
  }
  return { vocabSize, holes: Uint32Array.from(holes.filter((id) => id < vocabSize)) };
}

/** What a folder says of the tokens that end a text. */
export interface EndsSaid {
  /** The parsed `generation_config.json`, where there is one. */
  readonly generation?: unknown;
  /** The model's configuration. */
  readonly config: Gpt2Config;
  /** The number of the tokenizer's own, where it has one. */
  readonly eos: number | undefined;
}

/**
 * The tokens that end a text, as transformers finds them: those of `generation_config.json` where there is
 * one, else those of `config.json`, else the tokenizer's.
 *
 * @param where What to call the folder in an error.
 * @returns Those that the model has a row for.
 * @throws {TypeError} If one is not a number.
 */
export function endsOfText({ generation, config, eos }: EndsSaid, where: string): number[] {
  const { raw, V } = config;
  const said: [string, unknown] = generation !== undefined
    ? ["generation_config.json", (generation as { eos_token_id?: unknown } | null)?.eos_token_id]
    : ["config.json", "eos_token_id" in raw ? raw.eos_token_id : eos];
  const [name, value] = said;
  const list: unknown[] = Array.isArray(value) ? value : [value ?? []].flat();
  for (const id of list) {
    if (typeof id === "number" && Number.isInteger(id)) continue;
    throw new TypeError(
      `${where}: ${name} must give eos_token_id as a whole number or a list of them: ${
        JSON.stringify(value)
      }`,
    );
  }
  return [...new Set(list as number[])].filter((id) => id >= 0 && id < V);
}
