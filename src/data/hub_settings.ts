/**
 * Where the Hugging Face hub is, who asks, and where its files are kept: the environment variables
 * of Python's `huggingface_hub`, read as it reads them, so that both share one cache.
 *
 * @module
 */
import { homedir } from "node:os";
import { join } from "node:path";

/** The settings of one use of the hub. */
export interface HubSettings {
  /** The hub's address without a slash at its end: `HF_ENDPOINT`. */
  readonly endpoint: string;
  /** The cache: `HF_HUB_CACHE`, or `hub` in `HF_HOME`. */
  readonly cache: string;
  /** `HF_TOKEN`, or what the token file holds. */
  readonly token?: string;
  /** The variable by which nothing may be asked: `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`. */
  readonly offline?: string;
  /** Whether files are copied into snapshots, not linked: `HF_HUB_DISABLE_SYMLINKS`. */
  readonly copies: boolean;
  /** Milliseconds to wait for an answer: `HF_HUB_ETAG_TIMEOUT`, in seconds. */
  readonly answerMs: number;
  /** Milliseconds to wait for the next bytes of a file: `HF_HUB_DOWNLOAD_TIMEOUT`, in seconds. */
  readonly stallMs: number;
}

const ENDPOINT = "https://huggingface.co";
const ANSWER_S = 10;
const STALL_S = 30;

/** Reads the settings from the environment and the token file. */
export async function hubSettings(): Promise<HubSettings> {
  const home = hubHome();
  const token = await readToken(home);
  const offline = offlineBy();
  return {
    endpoint: endpointOf(variable("HF_ENDPOINT") ?? ENDPOINT),
    cache: path("HF_HUB_CACHE") ?? path("HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"),
    ...(token !== undefined && { token }),
    ...(offline !== undefined && { offline }),
    copies: flag("HF_HUB_DISABLE_SYMLINKS"),
    answerMs: 1000 * seconds("HF_HUB_ETAG_TIMEOUT", ANSWER_S),
    stallMs: 1000 * seconds("HF_HUB_DOWNLOAD_TIMEOUT", STALL_S),
  };
}

function hubHome(): string {
  return path("HF_HOME") ??
    join(path("XDG_CACHE_HOME") ?? join(homedir(), ".cache"), "huggingface");
}

/** A variable that is set to something. */
function variable(name: string): string | undefined {
  return Deno.env.get(name) || undefined;
}

/** A path, with `~` and variables written out. */
function path(name: string): string | undefined {
  return variable(name)
    ?.replace(/^~(?=$|[\\/])/, () => homedir())
    .replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, a, b) => Deno.env.get(a ?? b) ?? whole);
}

function flag(name: string): boolean {
  return ["1", "ON", "YES", "TRUE"].includes((Deno.env.get(name) ?? "").toUpperCase());
}

/** The variable by which nothing may be asked; the older one counts where the newer is not set. */
function offlineBy(): string | undefined {
  const said = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].find((name) => variable(name));
  return said !== undefined && flag(said) ? said : undefined;
}

/** A time; 0 stands for the usual one, as in Python's library. */
function seconds(name: string, standard: number): number {
  const text = variable(name);
  if (text === undefined) return standard;
  if (!/^\d+$/.test(text)) {
    throw new TypeError(`${name} must be a whole number of seconds: ${text}`);
  }
  return Number(text) || standard;
}

function endpointOf(text: string): string {
  if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol)) {
    throw new TypeError(`HF_ENDPOINT must be an address that begins with https:// : ${text}`);
  }
  return text.replace(/\/+$/, "");
}

async function readToken(home: string): Promise<string | undefined> {
  if (flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return undefined;
  const names = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"];
  const name = names.find((name) => variable(name) !== undefined);
  const given = name && clean(variable(name)!, name);
  if (given) return given; // one of white space alone counts as none
  const file = path("HF_TOKEN_PATH") ?? join(home, "token");
  try {
    return clean(await Deno.readTextFile(file), file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}

/** A token without the line ends around it. */
function clean(text: string, where: string): string | undefined {
  const token = text.trim();
  if (!/^[\x21-\x7e]*$/.test(token)) {
    throw new TypeError(`${where} is not a token: it holds blanks, or characters beyond ASCII`);
  }
  return token || undefined;
}
