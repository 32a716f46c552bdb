/** Prompts, and the models that commands take, as a newcomer gives them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { loadModel } from "../src/data/load_model.ts";
import { exportModel } from "../src/experiment/export_model.ts";
import { continueTexts } from "../src/experiment/continue_text.ts";
import { RUN_MARK } from "../src/record.ts";
import { gpu } from "./gpu.ts";
import { runScript } from "./script.ts";
import { makeTiny } from "./tiny.ts";

const { dir, modelDir } = await makeTiny();
const drawing = { temperature: 0, top_k: 0, top_p: 1, seed: 1 };

Deno.test("prompts: white space is a prompt", async () => {
  const model = await loadModel(modelDir);
  for (const prompt of ["\n", " ", "\t\n"]) {
    const [{ tokens }] = await continueTexts(gpu, model, { prompts: [prompt], ...drawing });
    assert.ok(tokens > 0, JSON.stringify(prompt));
  }
  await assert.rejects(
    continueTexts(gpu, model, { prompts: [""], ...drawing }),
    /must not be empty/,
  );
});

Deno.test("prompts: as many tokens as fit are written, unless a number was asked for", async () => {
  const model = await loadModel(modelDir); // a context of 32
  const prompts = ["Call me", "Call me Ishmael"];
  const encoded = await Promise.all(prompts.map((prompt) => model.tokenizer!.encode(prompt)));
  const longest = Math.max(...encoded.map(({ length }) => length));
  const written = await continueTexts(gpu, model, { prompts, ...drawing });
  assert.deepEqual(written.map(({ tokens }) => tokens), [32 - longest, 32 - longest]);
  await assert.rejects(
    continueTexts(gpu, model, { prompts, ...drawing, max_new_tokens: 80 }),
    /max_new_tokens must be at most \d+ after a prompt .*: 80/,
  );
});

Deno.test("models: the folder of a run stands for its model, in every command", async () => {
  const run = join(dir, "run");
  await Deno.mkdir(join(run, "models"), { recursive: true });
  await Deno.writeTextFile(join(run, RUN_MARK), "{}");
  await assert.rejects(loadModel(run), {
    name: "NotFound",
    message: /run is the folder of a run whose model is not there yet: finish the run/,
  });
  for (const name of ["models/best", "model"]) {
    await exportModel(modelDir, { form: "padded", output: join(run, name) });
    const { config } = await loadModel(run);
    assert.equal(config.T, 32);
  }
  const output = join(dir, "written");
  const { from } = await exportModel(run, { form: "compact", output });
  assert.equal(from.path, join(run, "model"));
  const { code, stdout, stderr } = await runScript(
    ...["generate", "--model_name", run, "--prompt", "\n", "--json"] as const,
  );
  assert.equal(code, 0, stderr);
  assert.equal(JSON.parse(stdout).prompt, "\n");
});

Deno.test("models: without a tokenizer, every command says what to do", async () => {
  const checkpoint = join(dir, "checkpoint-10");
  await Deno.mkdir(checkpoint);
  for (const name of ["config.json", "model.safetensors", "pollard.json"]) {
    await Deno.copyFile(join(modelDir, name), join(checkpoint, name));
  }
  const commands: [string, ...string[]][] = [
    ["evaluate", "--model_name", checkpoint, "--text_file", "moby_dick"],
    ["generate", "--model_name", checkpoint],
    ["bakeoff", "--model_name", checkpoint],
    ["neural_plasticity_controller_experiment", "--model_name", checkpoint],
  ];
  for (const [script, ...args] of commands) {
    const { code, stderr } = await runScript(script, ...args);
    assert.equal(code, 2, script);
    assert.match(
      stderr,
      /checkpoint-10 has no tokenizer\.json: put the model's own beside .*Trainer/,
    );
  }
});
