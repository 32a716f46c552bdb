/**
 * What differs between the configurations of runs other than strategy, level and seed: runs that
 * differ in more must not be taken for repetitions of each other.
 *
 * @module
 */
import type { RunKind } from "../record.ts";
import type { ComparedRun } from "./compared.ts";

/** Runs of one configuration. */
export interface Variant {
  /** `A`, `B`, ...; empty where there is no other of its kind. */
  letter: string;
  kind: RunKind;
  /** What decides results, other than what a comparison varies. */
  setting: ReadonlyMap<string, string>;
}

/** A name, and the value that each of several has; none where it is unknown there. */
export interface Differing {
  name: string;
  values: (string | undefined)[];
}

/** What a comparison varies, by kind of run. */
const VARIED: Record<RunKind, readonly string[]> = {
  experiment: ["strategy", "pruning_level", "seed"],
  integration: ["controller_type", "seed"],
};

/** Options that do not change what is computed of the model under study and its twin. */
const BESIDE = ["output_dir", "device", "controls", "cycle_models"];

/** Options that name what hashes identify. */
const NAMED = ["model_name", "text", "dataset"];

/** Options that older runs do not have: off, they change nothing, and a run is like those. */
const LATER = ["fold_means"];

/** Gives every run its configuration. Those whose options are unknown have none. */
export function findVariants(runs: readonly ComparedRun[]): Map<ComparedRun, Variant> {
  const found = new Map<string, Variant>(), of = new Map<ComparedRun, Variant>();
  for (const run of runs) {
    const setting = settingOf(run);
    if (!setting) continue;
    const key = JSON.stringify([run.kind, ...setting]);
    const variant = found.get(key) ?? { letter: "", kind: run.kind, setting };
    found.set(key, variant);
    of.set(run, variant);
  }
  const all = [...found.values()];
  const several = all.filter(({ kind }) => all.filter((other) => other.kind === kind).length > 1);
  several.forEach((variant, i) => variant.letter = letter(i));
  return of;
}

/** The options in which variants of a kind differ. */
export function differingOptions(variants: readonly Variant[]): Differing[] {
  const names = new Set(variants.flatMap(({ setting }) => [...setting.keys()]));
  return [...names].map((name) => ({
    name,
    values: variants.map(({ setting }) => setting.get(name)),
  })).filter(({ values }) => new Set(values).size > 1);
}

/**
 * What differs from run to run without changing what is computed: adapters and versions, whose
 * roundings differ, and the names of the same model and text. Each value with its number of runs.
 */
export function differingPlaces(runs: readonly ComparedRun[]): Map<string, Map<string, number>> {
  const counted = new Map<string, Map<string, number>>();
  for (const { config, environment } of runs) {
    if (!config) continue;
    const named = Object.entries(config).filter(([name]) => NAMED.includes(name));
    const place = {
      ...Object.fromEntries(named),
      controls: config.controls,
      ...where(environment),
    };
    for (const [name, value] of Object.entries(place)) {
      if (value === undefined) continue;
      const values = counted.get(name) ?? new Map<string, number>();
      values.set(text(value), (values.get(text(value)) ?? 0) + 1);
      counted.set(name, values);
    }
  }
  return new Map([...counted].filter(([, values]) => values.size > 1));
}

/** Options, model and text that all runs share. */
export function commonConfig(runs: readonly ComparedRun[]): Record<string, unknown> {
  const configs = runs.flatMap(({ config }) => config ? [config] : []);
  if (configs.length === 0) return {};
  const same = (name: string) => configs.every((one) => text(one[name]) === text(configs[0][name]));
  return Object.fromEntries(
    Object.entries(configs[0]).filter(([name]) => name !== "output_dir" && same(name)),
  );
}

/** A record that all runs share, of those that have one; nothing where they differ. */
export function commonRecord<Key extends "data" | "environment">(
  runs: readonly ComparedRun[],
  key: Key,
): ComparedRun[Key] | undefined {
  const records = runs.flatMap((run) => run[key] ? [run[key]] : []);
  return new Set(records.map(text)).size === 1 ? records[0] : undefined;
}

function settingOf(
  { config, data, kind, cycles, planned }: ComparedRun,
): Map<string, string> | undefined {
  if (!config) return undefined;
  const left = [...VARIED[kind], ...BESIDE, ...NAMED];
  const own = Object.entries(config).filter(([name, value]) =>
    !left.includes(name) && !(LATER.includes(name) && value === false)
  );
  const short = (hash?: string) => hash?.slice(0, 12) ?? "unknown";
  return new Map([
    ...own.map(([name, value]): [string, string] => [name, text(value)]),
    ["model (sha256)", short(data?.model_sha256)],
    ["tokenizer (sha256)", short(data?.tokenizer_sha256)],
    ["text (sha256)", short(data?.sha256)],
    ["parts of the text", text(data?.parts)],
    ...(kind === "experiment" ? course({ cycles, planned }) : []),
  ]);
}

/** What step by step is decided by arguments, which no option tells. */
function course({ cycles, planned }: Pick<ComparedRun, "cycles" | "planned">): [string, string][] {
  return [
    ["training steps of each cycle", text(cycles.map(({ training_steps }) => training_steps))],
    ["run", planned === undefined ? "unknown" : planned ? "as planned" : "step by step"],
  ];
}

function where(environment: ComparedRun["environment"]): Record<string, unknown> {
  if (!environment) return {};
  const { adapter, driver, backend, os, deno, pollard } = environment;
  return { adapter, driver, backend, os, deno, pollard };
}

function text(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

/** A, B, ..., Z, AA, AB, ... */
function letter(i: number): string {
  const last = String.fromCharCode(65 + i % 26);
  return i < 26 ? last : letter(Math.floor(i / 26) - 1) + last;
}
