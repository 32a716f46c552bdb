/**
 * `deno task export`: see --help.
 *
 * @module
 */
import {
  choiceOption,
  newCommand,
  Option,
  parseCommand,
  preparing,
  printJson,
  refuse,
  runMain,
  textOption,
} from "./cli.ts";
import { exportedLines } from "./exported.ts";
import { MODEL_FORMS } from "../src/data/model_form.ts";
import { exportModel } from "../src/experiment/export_model.ts";

const AFTER = `Forms:
  padded    tensors of full shape, zero where a head is gone: every program loads it as a GPT-2
  compact   tensors hold the heads that are left and no others: smaller, and loads in Pollard alone;
            other programs refuse it, and say why

Both compute the same, to the last bit. Runs save the padded form. deno task compact writes the compact
form as this does, and measures what it gains in speed.

Examples:
  deno task export runs/RUN --form compact --output small
  deno task export small --form padded --output for_everyone`;

await runMain(async (signal) => {
  const command = newCommand({
    name: "deno task export",
    description: "Writes a saved model again, in the form that is asked for.",
    after: AFTER,
  })
    .argument("<model_dir>", "a model's folder or its URL, or the folder of a run, for its model")
    .addOption(
      new Option("--form <form>", MODEL_FORMS.join(" or ")).default("padded" as const)
        .argParser(choiceOption("form", MODEL_FORMS)),
    )
    .addOption(
      new Option("--output <dir>", "where it goes; the folder that holds it must exist")
        .argParser(textOption("output")),
    )
    .option("--overwrite", "replace a model that is there")
    .option("--json", "print what was done as one JSON line");
  const { form, output, overwrite, json } = parseCommand(command);
  const [dir] = command.processedArgs;
  if (output === undefined) return refuse("output is needed: the folder that the model goes to");
  const exported = await preparing(() =>
    exportModel(dir, {
      ...{ form, output, overwrite, signal },
      onMessage: (line) => console.error(line),
    })
  );
  if (json) printJson(exported);
  else console.log(exportedLines(exported).join("\n"));
});
