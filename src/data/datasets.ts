/**
 * Data sets that are known by a name: where their files lie on the hub, by configuration and split.
 *
 * @module
 */
import { join } from "node:path";
import { didYouMean } from "../nearest.ts";
import { hubSnapshot } from "./hub.ts";
import type { SplitName } from "./parts.ts";

/** A data set on the hub. */
export interface Dataset {
  /** Its repository. */
  readonly repo: string;
  /** Files of each split by configuration; the first configuration is the default. */
  readonly configs: Readonly<Record<string, Readonly<Record<SplitName, readonly string[]>>>>;
}

/** The names of a split's Parquet files, as the hub writes them. */
const shards = (folder: string, split: string, count: number) =>
  Array.from({ length: count }, (_, i) => {
    const [at, of] = [i, count].map((number) => String(number).padStart(5, "0"));
    return `${folder}/${split}-${at}-of-${of}.parquet`;
  });

const wikitext = (config: string, trainFiles: number) => ({
  train: shards(config, "train", trainFiles),
  validation: shards(config, "validation", 1),
  test: shards(config, "test", 1),
});

const WIKITEXT: Dataset = {
  repo: "Salesforce/wikitext",
  configs: {
    "wikitext-2-raw-v1": wikitext("wikitext-2-raw-v1", 1),
    "wikitext-103-raw-v1": wikitext("wikitext-103-raw-v1", 2),
  },
};

/** Data sets by name; a configuration's name stands for its data set too. */
export const DATASETS: ReadonlyMap<string, Dataset> = new Map([
  ["wikitext", WIKITEXT],
  ...Object.keys(WIKITEXT.configs).map((config): [string, Dataset] => [config, WIKITEXT]),
]);

/**
 * The configuration that a name and an option mean.
 *
 * @throws {TypeError} If there is none of that name, or the two disagree.
 */
export function pickConfig(
  { configs }: Dataset,
  name: string,
  config: string | undefined,
): string {
  const named = Object.hasOwn(configs, name) ? name : undefined;
  const known = Object.keys(configs);
  const picked = config ?? named ?? known[0];
  if (!known.includes(picked)) {
    throw new TypeError(
      `dataset_config must be one of ${known.join(", ")}: ${picked}${didYouMean(picked, known)}`,
    );
  }
  if (named !== undefined && picked !== named) {
    throw new TypeError(`dataset_config ${picked} does not fit the text ${named}: leave one out`);
  }
  return picked;
}

/** A commit of a repository of the hub. */
export interface HubCommit {
  /** `owner/name`. */
  readonly repo: string;
  /** The branch, tag or commit that was asked for. */
  readonly revision: string;
  /** The commit that it stood for: 40 hexadecimal digits. */
  readonly commit: string;
}

/**
 * The paths of a data set's files, fetched where they are not there yet, and of which commit.
 *
 * @throws {TypeError} If one cannot be fetched; the error says what to do.
 */
export async function fetchDataset(
  dataset: Dataset,
  config: string,
  { revision, signal, onMessage }: {
    revision?: string | undefined;
    signal?: AbortSignal | undefined;
    onMessage?: ((line: string) => void) | undefined;
  } = {},
): Promise<{ hub: HubCommit; paths: Record<SplitName, string[]> }> {
  const splits = dataset.configs[config], files = Object.values(splits).flat();
  const { dir, ...hub } = await hubSnapshot({
    ...{ repo: dataset.repo, type: "dataset", choose: () => files },
    // what is not given here may have been given to withHub
    ...(revision && { revision }),
    ...(signal && { signal }),
    ...(onMessage && { onMessage }),
  });
  const local = (split: SplitName) => splits[split].map((path) => join(dir, ...path.split("/")));
  const paths = { train: local("train"), validation: local("validation"), test: local("test") };
  const { repo, commit } = hub;
  return { hub: { repo, revision: hub.revision, commit }, paths };
}
