/**
 * The names of a command's options: as messages write them, and as users mistype them.
 *
 * @module
 */
import { nearest } from "../src/nearest.ts";

/** Options that mean the same in different commands: what one calls so is another's by another name. */
const SAME: readonly (readonly string[])[] = [
  ["text", "text_file", "dataset", "data_path", "data", "dataset_name"],
  ["model_name", "model", "model_name_or_path", "model_path"],
  ["output_dir", "output", "out_dir"],
  ["max_length", "sequence_length", "block_size", "seq_len"],
  ["learning_rate", "lr"],
  ["resume", "resume_from"],
  ["max_new_tokens", "max_tokens", "num_tokens"],
  ["prompt", "start"],
];

/**
 * The option of a command that an unknown one was meant for.
 *
 * @param given Without its dashes, with underscores.
 * @param known The command's own, likewise.
 */
export function meantOption(given: string, known: readonly string[]): string | undefined {
  const same = SAME.filter((names) => names.includes(given)).flat();
  return known.find((name) => same.includes(name)) ?? nearest(given, known);
}

/** What follows an option's name where a message begins with it. */
const VERBS = "must|is|are|has|cannot|needs|names|says|and|does";

/**
 * A message with the dashes that its options have on a command line: the library, which has no command
 * line, calls them by their names alone.
 *
 * @param names The options of the command, without dashes. Those that are ordinary words too get
 * their dashes only where the message begins with them.
 */
export function withDashes(message: string, names: readonly string[]): string {
  const long = names.filter((name) => name.includes("_"));
  const short = names.filter((name) => !name.includes("_"));
  let out = message;
  if (long.length > 0) {
    const option = new RegExp(
      `(?<![\\w/\\\\."'\`-])(${long.join("|")})(?![\\w/\\\\"'\`-]|\\.\\w)`,
      "g",
    );
    out = out.replace(option, "--$1");
  }
  if (short.length > 0) {
    out = out.replace(new RegExp(`^(${short.join("|")})(?= (?:${VERBS})\\b|:)`), "--$1");
  }
  return out;
}
