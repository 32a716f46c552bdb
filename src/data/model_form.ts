/**
 * The two forms of a saved model, and what `config.json` and `pollard.json` say in each.
 *
 * - `padded`: full shapes, zeros where a head is missing. `config.json` is a GPT-2's, so every program
 *   loads it; `pollard.json` lists the heads that are left.
 * - `compact`: `c_attn` and `c_proj` hold the heads that are left and nothing else, which no other
 *   program can compute. `config.json` is not a GPT-2's: where another program names what it does
 *   not know (`model_type`, `architectures`, `activation_function`), the name is a sentence that says
 *   what to do. The GPT-2's own keys wait under `padded_config`, without their `model_type`, because
 *   transformers 5 takes a nested configuration of the type that it looks for in place of the outer.
 *
 * What transformers 4 saved after `prune_heads` is read as the compact form: `config.json` is a GPT-2's,
 * and its `pruned_heads` lists the heads that the weights lack.
 *
 * @module
 */
import { checkLiveHeads } from "../gpt2/checkpoint.ts";
import { type Gpt2Config, parseConfig } from "../gpt2/config.ts";
import { allHeads, type LiveHeads } from "../gpt2/layout.ts";

/** What the forms of a saved model are called. */
export const MODEL_FORMS = ["padded", "compact"] as const;

/** `padded` loads everywhere; `compact` is as small as the heads that are left, and loads here alone. */
export type ModelForm = typeof MODEL_FORMS[number];

/** What a compact model's `config.json` says to whoever asks for its kind. */
export const COMPACT_WORDS =
  "GPT-2 with heads removed, in the compact form of Pollard: nothing else reads it. For a folder " +
  "that loads everywhere: deno task export THIS_FOLDER --form padded --output NEW_FOLDER";

const COMPACT_KEY = "padded_config";

/** The key of a compact file's metadata that repeats which heads it holds. */
export const LIVE_HEADS_KEY = "pollard_live_heads";

/** Where transformers 4 wrote which heads its `prune_heads` had removed. */
const PRUNED_KEY = "pruned_heads";

/** What the two small files of a folder say of its weights. */
export interface FormOnDisk {
  /** The full model's configuration. */
  readonly config: Gpt2Config;
  /** The heads that are left. */
  readonly live: LiveHeads;
  /** How the weights lie in the file. */
  readonly form: ModelForm;
  /** Whether `config.json` lists the heads, as transformers 4 did, and not `pollard.json`. */
  readonly prunedElsewhere: boolean;
}

/** A parsed file and what errors call it. */
interface Parsed {
  value: unknown;
  where: string;
}

/**
 * What `config.json` holds: the file that the model came from, with what saving changes (the weights are
 * F32 and those of a language model); for the compact form under a key of its own. Where it does not say which token ends a text, it
 * will: other programs take GPT-2's 50256 otherwise, which a smaller vocabulary does not have.
 *
 * @param eos The tokenizer's end of a text, where there is one.
 */
export function savedConfig(
  { raw }: Gpt2Config,
  form: ModelForm,
  eos?: number,
): Record<string, unknown> {
  const own = { ...raw };
  if (eos !== undefined) {
    for (const key of ["bos_token_id", "eos_token_id"]) if (!(key in own)) own[key] = eos;
  }
  for (const key of ["dtype", "torch_dtype"]) if (key in own) own[key] = "float32";
  // heads for other tasks were left out
  if (Array.isArray(own.architectures)) own.architectures = ["GPT2LMHeadModel"];
  // transformers 4 would remove heads of these weights again; pollard.json lists them
  if (prunedHeads(raw).length > 0) delete own[PRUNED_KEY];
  if (form === "padded") return own;
  return {
    model_type: COMPACT_WORDS,
    architectures: [COMPACT_WORDS],
    activation_function: COMPACT_WORDS,
    [COMPACT_KEY]: { ...own, model_type: null },
  };
}

/** What `pollard.json` holds. */
export function savedMark(live: LiveHeads, form: ModelForm): Record<string, unknown> {
  return { format: 1, ...(form === "compact" && { form }), live_heads: live };
}

/** The metadata of the file of weights. transformers insists on `format`. */
export function savedMetadata(live: LiveHeads, form: ModelForm): Record<string, string> {
  return { format: "pt", ...(form === "compact" && { [LIVE_HEADS_KEY]: JSON.stringify(live) }) };
}

/** The configuration in a `config.json` of either form. @throws As `parseConfig` does. */
export function readConfig({ value, where }: Parsed): Gpt2Config {
  return parseConfig(compactConfig(value) ?? value, where);
}

/**
 * Reads the two files together.
 *
 * @param mark `pollard.json`; its value is undefined where there is none.
 * @throws {TypeError} If one is malformed, or they speak of different forms.
 * @throws {RangeError} If sizes or heads do not fit.
 */
export function readForm(config: Parsed, mark: Parsed): FormOnDisk {
  const inner = compactConfig(config.value);
  const form = inner === undefined ? "padded" : "compact";
  const parsed = readConfig(config);
  const pruned = prunedHeads(parsed.raw);
  if (pruned.length > 0) {
    if (mark.value === undefined && form === "padded") {
      const live = leftByPruning(parsed, pruned, config.where);
      return { config: parsed, live, form: "compact", prunedElsewhere: true };
    }
    throw new TypeError(
      `${config.where} lists pruned_heads and ${mark.where} lists heads too: the files belong to ` +
        "different models",
    );
  }
  if (mark.value === undefined) {
    if (form === "padded") {
      return { config: parsed, live: allHeads(parsed), form, prunedElsewhere: false };
    }
    throw new TypeError(
      `${config.where} is of the compact form, and ${mark.where} is missing: it lists which heads ` +
        "the weights hold, and without it they cannot be read",
    );
  }
  const said = parseMark(mark, parsed);
  if (said.form !== form) {
    throw new TypeError(
      `${config.where} is of the ${form} form and ${mark.where} of the ${said.form}: the files ` +
        "belong to different models",
    );
  }
  return { config: parsed, live: said.live, form, prunedElsewhere: false };
}

/** What `pruned_heads` of a configuration lists: layers, and what of them is gone; no empty lists. */
function prunedHeads(raw: Gpt2Config["raw"]): [layer: string, heads: unknown][] {
  const lists = raw[PRUNED_KEY] ?? {};
  return Object.entries(lists).filter(([, heads]) => !Array.isArray(heads) || heads.length > 0);
}

/** The heads that are left where others were removed by transformers 4's `prune_heads`. */
function leftByPruning(
  config: Gpt2Config,
  pruned: readonly [layer: string, heads: unknown][],
  where: string,
): LiveHeads {
  const live = allHeads(config);
  for (const [layer, heads] of pruned) {
    const all = live[Number(layer)];
    const wrong = all === undefined || !Array.isArray(heads) ||
      heads.some((head) => !all.includes(head)) || new Set(heads).size === all.length;
    if (wrong) {
      throw new RangeError(
        `${where}: pruned_heads must list, for layers below ${config.L}, heads below ${config.NH}, ` +
          `and not all of a layer: ${JSON.stringify({ [layer]: heads })}`,
      );
    }
    live[Number(layer)] = all.filter((head) => !heads.includes(head));
  }
  return live;
}

/** The GPT-2's own keys, where the file is of the compact form. */
function compactConfig(value: unknown): unknown {
  const raw = (value ?? {}) as Record<string, unknown>;
  const own = raw[COMPACT_KEY];
  if (raw.model_type === "gpt2" || typeof own !== "object" || own === null) return undefined;
  return { ...own, model_type: "gpt2" }; // in its old place among the keys
}

function parseMark(
  { value, where }: Parsed,
  config: Gpt2Config,
): { live: LiveHeads; form: ModelForm } {
  const { format, form = "padded", live_heads } = (value ?? {}) as Record<string, unknown>;
  if (format !== 1) {
    throw new TypeError(
      `${where} has format ${JSON.stringify(format)}: only format 1 can be read; update Pollard`,
    );
  }
  if (form !== "padded" && form !== "compact") {
    throw new TypeError(
      `${where} has form ${JSON.stringify(form)}: only padded or compact is read`,
    );
  }
  if (live_heads === undefined && form === "padded") return { live: allHeads(config), form };
  checkLiveHeads(config, live_heads as LiveHeads, `${where}: live_heads`);
  return { live: live_heads as LiveHeads, form };
}

/**
 * Checks that a compact file of weights holds the heads that `pollard.json` lists: which they are
 * does not follow from shapes.
 *
 * @throws {TypeError} If it says nothing of heads, or names others.
 */
export function checkHeldHeads(
  { metadata, where }: { metadata: Readonly<Record<string, string>>; where: string },
  live: LiveHeads,
  mark: string,
): void {
  const held = metadata[LIVE_HEADS_KEY];
  if (held === JSON.stringify(live)) return;
  throw new TypeError(
    held === undefined
      ? `${where} does not say which heads it holds: it is not the file that Pollard wrote beside ` +
        mark
      : `${where} holds the heads ${held}, and ${mark} lists ${JSON.stringify(live)}: the files ` +
        "belong to different models",
  );
}
