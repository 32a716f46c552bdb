/** What transformers writes greedily: made by make_greedy_fixture.py. */

/** A prompt and what follows, up to the first token that rounding might decide. */
export interface GreedyCase {
  model: string;
  repetition_penalty: number;
  prompt: number[];
  /** In place of the prompt where that is the beginning of hashed tokens: how many. */
  prompt_length: number;
  tokens: number[];
}

/** The cases of one model. */
export function greedyCases(model: string): GreedyCase[] {
  const text = Deno.readTextFileSync(new URL("greedy.json", import.meta.url));
  return JSON.parse(text).filter((one: GreedyCase) => one.model === model);
}
