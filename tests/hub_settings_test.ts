/** The variables of Python's `huggingface_hub`, read as its `constants.py` and `get_token` read them. */
import assert from "node:assert/strict";
import { homedir } from "node:os";
import { join } from "node:path";
import { type HubSettings, hubSettings } from "../src/data/hub_settings.ts";
import { withEnv } from "./hub_ground.ts";

const HOME = { XDG_CACHE_HOME: "/xdg" };
const TOKEN = "hf_of_the_file";

/** Variables, and those settings that they decide; DIR is a folder that holds a token. */
const CASES: [Record<string, string>, Partial<HubSettings>][] = [
  [{}, {
    endpoint: "https://huggingface.co",
    cache: "/xdg/huggingface/hub",
    offline: undefined,
    copies: false,
    token: undefined,
    answerMs: 10_000,
    stallMs: 30_000,
  }],
  [{ HF_HOME: "/home" }, { cache: "/home/hub" }],
  [{ HF_HOME: "~/h" }, { cache: join(homedir(), "h/hub") }],
  [{ HF_HOME: "/home", HUGGINGFACE_HUB_CACHE: "/old" }, { cache: "/old" }],
  [{ HF_HUB_CACHE: "/new", HUGGINGFACE_HUB_CACHE: "/old", HF_HOME: "/home" }, { cache: "/new" }],
  [{ HF_HUB_CACHE: "$HF_HOME/c", HF_HOME: "/home" }, { cache: "/home/c" }],
  [{ HF_ENDPOINT: "https://mirror.example/hub//" }, { endpoint: "https://mirror.example/hub" }],
  [{ HF_HUB_OFFLINE: "yes" }, { offline: "HF_HUB_OFFLINE" }],
  [{ HF_HUB_OFFLINE: "2" }, { offline: undefined }],
  [{ TRANSFORMERS_OFFLINE: "True" }, { offline: "TRANSFORMERS_OFFLINE" }],
  [{ HF_HUB_OFFLINE: "0", TRANSFORMERS_OFFLINE: "1" }, { offline: undefined }],
  [{ HF_HUB_OFFLINE: "", TRANSFORMERS_OFFLINE: "1" }, { offline: "TRANSFORMERS_OFFLINE" }],
  [{ HF_HUB_DISABLE_SYMLINKS: "1" }, { copies: true }],
  [{ HF_TOKEN: "a", HUGGING_FACE_HUB_TOKEN: "b" }, { token: "a" }],
  [{ HUGGING_FACE_HUB_TOKEN: "b\n", HF_TOKEN_PATH: "DIR/token" }, { token: "b" }],
  [{ HF_HOME: "DIR" }, { token: TOKEN }],
  [{ HF_TOKEN_PATH: "DIR/token" }, { token: TOKEN }],
  [{ HF_HOME: "DIR", HF_TOKEN_PATH: "DIR/none" }, { token: undefined }],
  [{ HF_HOME: "DIR", HF_TOKEN: " \n" }, { token: TOKEN }],
  [{ HF_HOME: "DIR", HF_TOKEN: "a", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" }, { token: undefined }],
  [{ HF_HUB_ETAG_TIMEOUT: "3", HF_HUB_DOWNLOAD_TIMEOUT: "4" }, { answerMs: 3000, stallMs: 4000 }],
  [{ HF_HUB_ETAG_TIMEOUT: "0" }, { answerMs: 10_000 }],
];

Deno.test("settings of the hub are read as Python's library reads them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(join(dir, "token"), `${TOKEN}\n`);
    for (const [given, expected] of CASES) {
      const env = Object.entries({ ...HOME, ...given })
        .map(([name, value]) => [name, value.replace("DIR", dir)]);
      await withEnv(Object.fromEntries(env), async () => {
        const settings = await hubSettings();
        for (const [name, value] of Object.entries(expected)) {
          const what = `${name} by ${JSON.stringify(given)}`;
          assert.equal(settings[name as keyof HubSettings], value, what);
        }
      });
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("settings of the hub that cannot be are refused by name", async () => {
  const refused: [Record<string, string>, RegExp][] = [
    [{ HF_ENDPOINT: "huggingface.co" }, /HF_ENDPOINT must be an address .*: huggingface\.co/],
    [{ HF_ENDPOINT: "ftp://host" }, /HF_ENDPOINT must be an address .*: ftp/],
    [{ HF_HUB_ETAG_TIMEOUT: "soon" }, /HF_HUB_ETAG_TIMEOUT must be a whole number .*: soon/],
    [{ HUGGING_FACE_HUB_TOKEN: "a b" }, /HUGGING_FACE_HUB_TOKEN is not a token/],
  ];
  for (const [env, message] of refused) {
    await withEnv({ ...HOME, ...env }, async () => {
      await assert.rejects(hubSettings(), { name: "TypeError", message });
    });
  }
});
