/** A default that does not fit the model is made to fit; what was asked for is refused. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { prepareBakeoff } from "../src/experiment/bakeoff.ts";
import { prepareIntegration } from "../src/experiment/integration.ts";
import { copyOf, isOpen } from "../src/experiment/option_rules.ts";
import { checkOptions } from "../src/experiment/options.ts";
import { startExperiment } from "../src/experiment/run.ts";
import { prepareSweep } from "../src/experiment/sweep.ts";
import { checkUpgradeOptions, integrationOf } from "../src/experiment/upgrade_options.ts";
import { parseExperiment } from "../scripts/experiment_options.ts";
import { gpu } from "./gpu.ts";
import { makeTiny } from "./tiny.ts";

const { dir, modelDir, textFile } = await makeTiny(); // a context of 32; lengths are 64 by default
const given = { model_name: modelDir, text: textFile, output_dir: join(dir, "runs") };
const TOO_LONG = /at most the model's 32 positions long: 64 tokens/;

Deno.test("options: what nobody gave is known, also after a second check and of a named copy", () => {
  const options = checkOptions({ cycles: 3 });
  for (const one of [options, checkOptions(options), copyOf(options, { ...options, seed: 1 })]) {
    assert.ok(isOpen(one, "max_length"));
    assert.ok(!isOpen(one, "cycles"));
  }
  assert.ok(!isOpen({ ...options }, "max_length"), "a plain copy counts as given");
  const { options: parsed } = parseExperiment(["--cycles", "3"]);
  assert.ok(isOpen(parsed!, "max_length") && !isOpen(parsed!, "cycles"));
  assert.ok(!isOpen(parseExperiment(["--max_length", "64"]).options!, "max_length"));
});

Deno.test("experiment: the length is the model's context unless one was given", async () => {
  const said: string[] = [];
  const run = await startExperiment(gpu, checkOptions(given), {
    onMessage: (line) => said.push(line),
  });
  const config = JSON.parse(await Deno.readTextFile(run.folder.path("config.json")));
  run.dispose();
  assert.equal(config.max_length, 32);
  assert.ok(
    said.includes("sequences have 32 tokens, for that is the model's context"),
    said.join(),
  );
  await assert.rejects(startExperiment(gpu, { ...given, max_length: 64 }), TOO_LONG);
});

Deno.test("sweep, bakeoff, integrate and upgrayedd: likewise", async () => {
  const { options: sweep, runs } = await prepareSweep(given);
  assert.deepEqual([sweep.max_length, runs.length > 0], [32, true]);
  await assert.rejects(prepareSweep({ ...given, max_length: 64 }), TOO_LONG);
  assert.equal((await prepareBakeoff(given)).options.max_length, 32);
  await assert.rejects(prepareBakeoff({ ...given, max_length: 64 }), TOO_LONG);
  const integrated = { model_name: modelDir, dataset: textFile };
  assert.equal((await prepareIntegration(integrated)).options.sequence_length, 32);
  await assert.rejects(prepareIntegration({ ...integrated, sequence_length: 64 }), TOO_LONG);
  const upgrade = { model: modelDir, dataset: textFile };
  const prepared = await prepareIntegration(integrationOf(checkUpgradeOptions(upgrade)));
  assert.equal(prepared.options.sequence_length, 32);
  const asked = checkUpgradeOptions({ ...upgrade, sequence_length: 64 });
  await assert.rejects(prepareIntegration(integrationOf(asked)), TOO_LONG);
});
