/** What lies beside weights: tokens in older files, what ends a text, and all that is kept in an export. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";
import { readJson } from "../src/data/files.ts";
import { loadModel } from "../src/data/load_model.ts";
import { saveModel } from "../src/data/save_model.ts";
import { isInputError, preparing } from "../src/errors.ts";
import { initWeights } from "../src/gpt2/checkpoint.ts";
import { makeConfig } from "../src/gpt2/config.ts";
import { allHeads } from "../src/gpt2/layout.ts";

/** A folder's tokenizer, and what AutoTokenizer of transformers makes of a text with it. */
interface Case {
  name: string;
  /** Contents by file names; `whole`, `later` and `spaced` stand for those of the fixture. */
  files: Record<string, unknown>;
  ids: number[];
  /** What the ids are decoded to. */
  text: string;
  eos: number | null;
}

interface Fixture {
  text: string;
  whole: { model: { vocab: Record<string, number> }; pre_tokenizer: object };
  later: Record<string, number>;
  merges: string;
  cases: Case[];
}

const fixture = await readJson(
  fileURLToPath(new URL("older/tokenizers.json", import.meta.url)),
) as Fixture;

const config = makeConfig({ L: 1, NH: 1, C: 4, V: 300, T: 8 });
const model = { config, live: allHeads(config), weights: initWeights(config, 1) };

async function withFolder(
  files: Record<string, unknown>,
  body: (dir: string) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await saveModel(join(dir, "model"), model);
    await Deno.remove(join(dir, "model/pollard.json"));
    for (const [name, content] of Object.entries(files)) {
      const text = typeof content === "string" ? content : JSON.stringify(content);
      await Deno.mkdir(dirname(join(dir, "model", name)), { recursive: true });
      await Deno.writeTextFile(join(dir, "model", name), text);
    }
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A case's files, complete. */
function filesOf({ files }: Case): Record<string, unknown> {
  const { whole, later, merges } = fixture;
  const entries = Object.entries(files).map(([name, content]) => [
    name,
    content === "spaced"
      ? { ...whole, pre_tokenizer: { ...whole.pre_tokenizer, add_prefix_space: true } }
      : name === "tokenizer.json"
      ? whole
      : content === "whole"
      ? whole.model.vocab
      : content === "later"
      ? later
      : content,
  ]);
  return { ...Object.fromEntries(entries), ..."vocab.json" in files && { "merges.txt": merges } };
}

for (const one of fixture.cases) {
  Deno.test(`tokens as AutoTokenizer reads them, and in an export: ${one.name}`, () =>
    withFolder(filesOf(one), async (dir) => {
      const loaded = await loadModel(join(dir, "model"));
      await saveModel(join(dir, "exported"), loaded);
      for (const { tokenizer } of [loaded, await loadModel(join(dir, "exported"))]) {
        const ids = await tokenizer!.encode(fixture.text);
        assert.deepEqual([...ids], one.ids);
        assert.equal(await tokenizer!.decode(ids), one.text);
        if (one.eos !== null) assert.equal(tokenizer!.eos, one.eos);
      }
    }));
}

Deno.test("a file that names tokens wrongly is named", async () => {
  const older = { "vocab.json": fixture.whole.model.vocab, "merges.txt": fixture.merges };
  const refused: [Record<string, unknown>, RegExp][] = [
    [{ "added_tokens.json": [] }, /added_tokens\.json must hold a JSON object/],
    [{ "special_tokens_map.json": "{" }, /special_tokens_map\.json is not JSON/],
    [
      { "added_tokens.json": { "<a>": 299 } },
      /added_tokens\.json gives the token "<a>" the number 299, but it gets 27\d in Python/,
    ],
    [{ "tokenizer_config.json": { pad_token: 5 } }, /must name a token by its text: 5/],
    [
      { "tokenizer_config.json": { added_tokens_decoder: { "275": "<a>", "276": {} } } },
      /tokenizer_config\.json's added_tokens_decoder must name a token by its text: {}/,
    ],
  ];
  for (const [files, message] of refused) {
    await withFolder({ ...older, ...files }, async (dir) => {
      await assert.rejects(loadModel(join(dir, "model")), { name: "TypeError", message });
    });
  }
});

Deno.test("a damaged tokenizer.json is no mistake in Pollard", async () => {
  const { whole } = fixture;
  const broken = [
    null,
    [],
    { ...whole, model: null },
    { ...whole, added_tokens: [null] },
  ];
  for (const json of broken) {
    const config = { pad_token: "[PAD]" };
    await withFolder({ "tokenizer.json": json, "tokenizer_config.json": config }, async (dir) => {
      await assert.rejects(
        preparing(() => loadModel(join(dir, "model"))),
        (error) => isInputError(error),
        JSON.stringify(json).slice(-80),
      );
    });
  }
});

Deno.test("what ends a text is found where transformers looks", async () => {
  const absent = Symbol("absent");
  const cases: [generation: unknown, own: unknown, ends: number[]][] = [
    [{ eos_token_id: 84 }, 0, [84]],
    [{ eos_token_id: [76, 84, 76] }, 0, [76, 84]],
    [{ eos_token_id: [84, 99999] }, 0, [84]], // the model has no row for the other
    [{ bos_token_id: 3 }, 84, []], // a generation_config.json that names none
    [{ eos_token_id: null }, 84, []],
    [{ eos_token_id: [] }, 84, []],
    [absent, 84, [84]],
    [absent, [76, 84], [76, 84]],
    [absent, 50256, []],
    [absent, null, []],
    [absent, absent, [0]], // the tokenizer's
  ];
  for (const [generation, own, ends] of cases) {
    const { bos_token_id: _, eos_token_id: __, ...raw } = config.raw;
    const files = {
      "tokenizer.json": fixture.whole,
      "config.json": { ...raw, ...own !== absent && { eos_token_id: own } },
      ...generation !== absent && { "generation_config.json": generation },
    };
    await withFolder(files, async (dir) => {
      const loaded = await loadModel(join(dir, "model"));
      assert.deepEqual(loaded.endsOfText, ends, JSON.stringify(files["config.json"]));
      await saveModel(join(dir, "exported"), loaded);
      assert.deepEqual((await loadModel(join(dir, "exported"))).endsOfText, ends);
    });
  }
  for (const wrong of ["84", 1.5, [0, null], { id: 3 }]) {
    const files = { "generation_config.json": { eos_token_id: wrong } };
    await withFolder(files, async (dir) => {
      await assert.rejects(loadModel(join(dir, "model")), {
        name: "TypeError",
        message: /generation_config\.json must give eos_token_id as a whole number or a list/,
      });
    });
  }
});

/** What a folder may say beside its weights, byte for byte as it should stay. */
const BESIDE = {
  "generation_config.json": '{"eos_token_id": [0, 5],\n "temperature":0.7}',
  "special_tokens_map.json": '{ "pad_token": "[PAD]" }\n',
  "added_tokens.json": '{"[PAD]": 275}',
  "chat_template.jinja": "{{ messages }} – é\n",
  "additional_chat_templates/tools.jinja": "{{ tools }}",
};

Deno.test("what a folder says beside its weights is said again in both forms", () =>
  withFolder({ ...BESIDE, "tokenizer.json": fixture.whole }, async (dir) => {
    const loaded = await loadModel(join(dir, "model"));
    for (const form of ["padded", "compact"] as const) {
      await saveModel(join(dir, form), loaded, { form });
      const again = join(dir, `${form}-again`);
      await saveModel(again, await loadModel(join(dir, form)));
      for (const [name, text] of Object.entries(BESIDE)) {
        assert.equal(await Deno.readTextFile(join(dir, form, name)), text);
        assert.equal(await Deno.readTextFile(join(again, name)), text);
      }
      await saveModel(again, model); // they are files of a model, and replaced with it
      await assert.rejects(Deno.stat(join(again, "chat_template.jinja")), Deno.errors.NotFound);
    }
  }));
