import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { memorySource } from "../src/data/files.ts";
import { hubFile } from "../src/data/hub.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { loadMaterials, openModel } from "../src/experiment/setup.ts";
import { checkOptions } from "../src/experiment/options.ts";
import { absoluteModel } from "../src/experiment/resume.ts";
import { shortName } from "../src/experiment/run_folder.ts";
import { compactWeights } from "../src/gpt2/checkpoint.ts";
import { SafetensorsFile } from "../src/gpt2/safetensors.ts";
import { showingDownloads } from "../scripts/downloads.ts";
import { fixtureUrl } from "./fixtures.ts";
import { refuses, withHubServer } from "./hub_ground.ts";
import { error, type HubServer } from "./hub_server.ts";
import { makeTiny } from "./tiny.ts";

const tiny = await makeTiny();

/** The files of a folder, as the server takes them. */
async function filesOf(dir: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for await (const { name } of Deno.readDir(dir)) {
    files[name] = await Deno.readFile(join(dir, name));
  }
  return files;
}

const files = await filesOf(tiny.modelDir);

/** The model as other programs write it, without our mark. */
const { "pollard.json": _, ...foreign } = files;

/** The paths of files that were asked for since the log was looked at last. */
function downloaded(server: HubServer): string[] {
  return server.log.splice(0).filter(({ path, large }) => !large && path.includes("/resolve/"))
    .map(({ path }) => path.split("/").at(-1)!);
}

Deno.test(
  "a model is loaded by its name, and the second time from the cache",
  withHubServer(async ({ server }) => {
    const commit = server.commit("someone/tiny", {
      ...files,
      "README.md": "",
      "pytorch_model.bin": "x",
    });
    const model = await loadModel("someone/tiny");
    assert.deepEqual(model.hub, { repo: "someone/tiny", revision: "main", commit });
    assert.deepEqual(model.weights, tiny.model.weights);
    assert.ok(model.tokenizer);
    assert.deepEqual(
      downloaded(server),
      [
        ...["config.json", "tokenizer.json", "pollard.json"],
        ...["generation_config.json", "chat_template.jinja", "model.safetensors"],
      ],
    );
    assert.deepEqual((await loadModel("someone/tiny")).hub, model.hub);
    assert.deepEqual(downloaded(server), []);
    await server[Symbol.asyncDispose]();
    assert.deepEqual((await loadModel(`someone/tiny@${commit}`)).weights, tiny.model.weights);
  }),
);

Deno.test(
  "a model in the compact form is loaded from the hub too",
  withHubServer(async ({ server }) => {
    const { config, weights } = tiny.model, live = [[1, 2], [0]];
    const dir = join(tiny.dir, "compact");
    const small = { ...tiny.model, live, weights: compactWeights(config, live, weights) };
    await saveModel(dir, small, { form: "compact" });
    server.commit("someone/small", await filesOf(dir));
    const loaded = await loadModel("someone/small");
    assert.deepEqual([loaded.form, loaded.live], ["compact", live]);
    assert.deepEqual(loaded.weights, small.weights);
  }),
);

Deno.test(
  "bare names are those that the hub gave owners later",
  withHubServer(async ({ server }) => {
    const owners = {
      "gpt2": "openai-community",
      "gpt2-medium": "openai-community",
      "gpt2-large": "openai-community",
      "gpt2-xl": "openai-community",
      "distilgpt2": "distilbert",
    };
    for (const [name, owner] of Object.entries(owners)) {
      const repo = `${owner}/${name}`;
      server.commit(repo, foreign);
      const commit = server.commit(repo, foreign, "v1.0");
      assert.equal((await openModel(name)).hub?.repo, repo);
      assert.deepEqual((await openModel(`${name}@v1.0`)).hub, { repo, revision: "v1.0", commit });
      assert.equal((await openModel(repo)).hub?.repo, repo);
    }
    server.log.length = 0;
    for (const name of ["gpt3", "./gpt2", "a/b/c", "/gpt2", "gpt2/", "@main"]) {
      await assert.rejects(loadModel(name), {
        name: "NotFound",
        message: /no folder at .*or a model of the hub: gpt2/,
      });
    }
    assert.deepEqual(server.log, [], "what is no name on the hub is not asked for");
  }),
);

Deno.test(
  "the cache has a model by the name that it was asked for by, as Python's has, or by its other name",
  withHubServer(async ({ server, home }) => {
    const repo = "openai-community/gpt2", cache = join(home, "hub");
    const commit = server.commit(repo, files);
    const folders = async () =>
      (await Array.fromAsync(Deno.readDir(cache), ({ name }) => name))
        .filter((name) => !name.startsWith("."));
    for (const [first, second, folder] of [["gpt2", repo, "gpt2"], [repo, "gpt2", repo]]) {
      await loadModel(first);
      server.log.length = 0;
      const { hub } = await loadModel(second);
      assert.deepEqual(hub, { repo, revision: "main", commit });
      assert.deepEqual(downloaded(server), []);
      assert.deepEqual(await folders(), [`models--${folder.replace("/", "--")}`]);
      await Deno.remove(cache, { recursive: true });
    }
    await loadModel("gpt2");
    await Deno.rename(join(cache, "models--gpt2"), join(cache, "aside"));
    await loadModel(repo);
    await Deno.rename(join(cache, "aside"), join(cache, "models--gpt2"));
    Deno.env.set("HF_HUB_OFFLINE", "1"); // both are there
    for (const name of ["gpt2", repo]) assert.equal((await loadModel(name)).hub?.commit, commit);
  }),
);

Deno.test(
  "a local folder comes before the hub",
  withHubServer(async ({ server, home }) => {
    const before = Deno.cwd();
    Deno.chdir(home);
    try {
      for (const name of ["gpt2", "someone/tiny", "someone/tiny@v1"]) {
        assert.equal(absoluteModel(name), name);
        await Deno.mkdir("someone", { recursive: true });
        await saveModel(name, tiny.model);
        assert.equal((await openModel(name)).hub, undefined);
        assert.equal(absoluteModel(name), join(Deno.cwd(), name));
      }
      await Deno.writeTextFile("distilgpt2", "");
      await assert.rejects(openModel("distilgpt2"), /distilgpt2 is a file/);
      assert.equal((await openModel("embedded")).hub, undefined);
      assert.deepEqual(server.log, []);
    } finally {
      Deno.chdir(before);
    }
    assert.equal(shortName("openai-community/gpt2@refs/pr/1"), "gpt2");
    assert.equal(shortName("distilgpt2"), "distilgpt2");
  }),
);

Deno.test(
  "a name that the hub does not know says which folder was looked for",
  withHubServer(async ({ server }) => {
    server.commit("someone/tiny", files);
    await refuses(
      loadModel("runs/none"),
      /knows no model runs\/none, .*; nor is there a local folder .*runs\/none/,
    );
    await refuses(loadModel("someone/tiny@v9"), /someone\/tiny has no revision v9/);
    server.fault = () => error(503, "Down");
    await refuses(
      loadModel("runs/none"),
      /answers 503; nor is there a local folder .*none; try again later$/,
    );
  }),
);

Deno.test(
  "what cannot be loaded is refused before anything large is downloaded",
  withHubServer(async ({ server }) => {
    const { "model.safetensors": weights, ...small } = files;
    const cases: [string, Record<string, Uint8Array | string>, RegExp][] = [
      [
        "llama",
        { ...files, "config.json": '{"model_type":"llama"}' },
        /some\/llama\/config\.json .*llama/,
      ],
      ["empty", { "model.safetensors": weights }, /some\/empty has no file config\.json/],
      [
        "old",
        { ...small, "pytorch_model.bin": weights },
        /some\/old holds its weights as pytorch_model\.bin only.*\n.*\n {2}AutoModelForCausalLM\.from_pretrained\("some\/old"\)\.save_pretrained\("converted"/,
      ],
      ["none", small, /some\/none holds neither model\.safetensors nor/],
      [
        "index",
        { ...small, "model.safetensors.index.json": '{"weight_map":{"wte.weight":"../x"}}' },
        /some\/index\/model\.safetensors\.index\.json: "wte\.weight" must lie in/,
      ],
    ];
    for (const [name, held, message] of cases) {
      server.commit(`some/${name}`, held);
      await assert.rejects(loadModel(`some/${name}`), message);
    }
    assert.ok(!server.asked().includes("large"), "no weights were downloaded");
    server.commit("some/old", { ...small, "pytorch_model.bin": weights }, "v1");
    await refuses(loadModel("some/old@v1"), /from_pretrained\("some\/old", revision="v1"\)/);
  }),
);

Deno.test(
  "a sharded model, and one with GPT-2's first tokenizer files",
  withHubServer(async ({ server }) => {
    const { "tokenizer.json": tokenizerFile, "model.safetensors": weights, ...rest } = foreign;
    const { vocab, merges } = JSON.parse(new TextDecoder().decode(tokenizerFile)).model;
    const older = {
      "vocab.json": JSON.stringify(vocab),
      "merges.txt": `#version: 0.2\n${merges.join("\n")}\n`,
    };
    const names = [...(await SafetensorsFile.open(memorySource(weights), "it")).tensors.keys()];
    const index = {
      weight_map: Object.fromEntries(
        names.map((name) => [name, "model-00001-of-00001.safetensors"]),
      ),
    };
    server.commit("some/sharded", {
      ...rest,
      ...older,
      "added_tokens.json": '{"<speaker>": 300}',
      "additional_chat_templates/tools.jinja": "{{ tools }}",
      "special_tokens_map.json": '{"pad_token": "[PAD]"}',
      "model-00001-of-00001.safetensors": weights,
      "model.safetensors.index.json": JSON.stringify(index),
    });
    const model = await loadModel("some/sharded");
    assert.deepEqual(model.weights, tiny.model.weights);
    const whole = await loadModel(tiny.modelDir);
    const text = "Call me Ishmael. <|endoftext|> Some  years ago - never mind how long précisely";
    assert.deepEqual(await model.tokenizer!.encode(text), await whole.tokenizer!.encode(text));
    assert.equal(model.tokenizer!.eos, whole.tokenizer!.eos);
    assert.equal(whole.tokenizer!.vocabSize, 300);
    assert.equal(model.beside!.get("additional_chat_templates/tools.jinja"), "{{ tools }}");
    const added = await Promise.all([300, 301].map((id) => model.tokenizer!.decode([id])));
    assert.deepEqual(added, ["<speaker>", "[PAD]"]);

    server.commit("some/broken", {
      ...foreign,
      ...older,
      "tokenizer.json": "",
      "merges.txt": "no such",
    });
    await assert.rejects(loadModel("some/broken"), /tokenizer\.json is not JSON/);
    const { "tokenizer.json": __, ...none } = foreign;
    for (
      const [file, content, message] of [
        [
          "merges.txt",
          "a no-such-token\n",
          /merges\.txt .*merges what is no token there: a no-such-token/,
        ],
        ["vocab.json", "[]", /must hold a JSON object with a number for every token/],
      ] as const
    ) {
      server.commit("some/broken", { ...none, ...older, [file]: content });
      await assert.rejects(loadModel("some/broken"), message);
    }
  }),
);

Deno.test(
  "a run records where its model came from, and goes on with that commit",
  withHubServer(async ({ server }) => {
    const commit = server.commit("someone/tiny", files);
    const options = checkOptions({
      model_name: "someone/tiny",
      text: tiny.textFile,
      max_length: 32,
      batch_size: 2,
    });
    const { record } = await loadMaterials(options);
    assert.deepEqual(record.hub_model, { repo: "someone/tiny", revision: "main", commit });
    server.commit("someone/tiny", { ...files, "config.json": '{"model_type":"llama"}' });
    server.log.length = 0;
    const again = await loadMaterials(options, {}, record);
    assert.equal(again.record.model_sha256, record.model_sha256);
    assert.deepEqual(server.log, [], "it is in the cache");
    await assert.rejects(loadMaterials(options), /llama/);
    const local = await loadMaterials({ ...options, model_name: tiny.modelDir });
    assert.ok(!("hub_model" in local.record));
  }),
);

Deno.test(
  "a run records which commit of a data set it reads, and goes on with that",
  withHubServer(async ({ server }) => {
    const name = "wikitext-2-raw-v1", repo = "Salesforce/wikitext";
    const table = await Deno.readFile(fileURLToPath(fixtureUrl("texts/rows-snappy.parquet")));
    const parts = ["train", "validation", "test"]
      .map((split) => `${name}/${split}-00000-of-00001.parquet`);
    const set = (file: Uint8Array) => Object.fromEntries(parts.map((path) => [path, file]));
    const commit = server.commit(`datasets/${repo}`, set(table));
    const sizes = { max_length: 4, batch_size: 1 };
    const options = checkOptions({ model_name: tiny.modelDir, text: name, ...sizes });
    const { record } = await loadMaterials(options);
    assert.deepEqual(record.hub_dataset, { repo, revision: "main", commit });
    server.commit(`datasets/${repo}`, set(table.subarray(0, 100)));
    server.log.length = 0;
    assert.equal((await loadMaterials(options, {}, record)).record.sha256, record.sha256);
    assert.deepEqual(server.log, [], "it is in the cache");
    await assert.rejects(loadMaterials(options), /only a part of a Parquet file/);
  }),
);

Deno.test(
  "a script shows downloads, and what is said of the hub",
  withHubServer(async ({ server }) => {
    const commit = server.commit("some/data", { "small": "x", "large": new Uint8Array(2_500_000) });
    let shown = "";
    const stream = { isTTY: false, write: (text: string) => void (shown += text) };
    const signal = new AbortController().signal;
    const load = (path: string) =>
      showingDownloads(signal, () => hubFile({ repo: "some/data", path }), { stream });
    await load("small");
    assert.equal(shown, "");
    await load("large");
    assert.match(shown, /^downloading large, MB +0 % +0\/3\n/);
    assert.match(shown, /\ndownloading large, MB +100 % +3\/3\n$/);
    shown = "";
    server.fault = () => error(502, "Down");
    await load("large");
    assert.ok(
      shown ===
        `${server.url} cannot be reached: it answers 502; going on with some/data as it is ` +
          `in the cache (commit ${commit})\n`,
      shown,
    );
  }),
);

Deno.test(
  "a model that memory cannot hold is refused before it is downloaded or read",
  withHubServer(async ({ server }) => {
    server.commit("someone/tiny", files);
    const { systemMemoryInfo } = Deno;
    Deno.systemMemoryInfo = () => ({ ...systemMemoryInfo(), available: 100_000, swapFree: 44_000 });
    try {
      const message =
        /tiny.* has 36,096 parameters, which take 0\.1 MB of memory when .*, and 0\.1 MB are free: take a/;
      await assert.rejects(loadModel("someone/tiny"), { name: "RangeError", message });
      assert.deepEqual(downloaded(server), ["config.json"]);
      await assert.rejects(loadModel(tiny.modelDir), { name: "RangeError", message });
      Deno.systemMemoryInfo = () => {
        throw new Deno.errors.NotCapable("sys");
      };
      await loadModel(tiny.modelDir);
    } finally {
      Deno.systemMemoryInfo = systemMemoryInfo;
    }
    await loadModel("someone/tiny");
  }),
);
