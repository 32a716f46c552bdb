/** What users read: help of 80 columns, messages that begin with what is wrong, and what was meant. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { newCommand, parseCommand, reportError } from "../scripts/cli.ts";
import { CommanderError } from "../scripts/deps.ts";
import { wrapHelp } from "../scripts/help.ts";
import { meantOption, withDashes } from "../scripts/option_names.ts";
import { loadText } from "../src/data/corpora.ts";
import { beside } from "../src/data/files.ts";
import { preparing } from "../src/errors.ts";
import { didYouMean, nearest } from "../src/nearest.ts";
import { checkChoice, checkNumber } from "../src/ranges.ts";
import { runScript } from "./script.ts";
import denoJson from "../deno.json" with { type: "json" };

const TASKS = Object.entries(denoJson.tasks).flatMap(([task, given]) => {
  const command = typeof given === "string" ? given : (given as { command?: string }).command;
  const script = /scripts\/(\w+)\.ts/.exec(command ?? "")?.[1];
  return script === undefined ? [] : [[task, script]];
});

for (const [task, script] of TASKS) {
  Deno.test(`help: deno task ${task} --help fits 80 columns`, async () => {
    const { code, stdout } = await runScript(script, "--help");
    assert.equal(code, 0);
    assert.ok(stdout.includes(`deno task ${task}`), "it is called by its task's name");
    const lines = stdout.split("\n");
    assert.ok(lines.length > 10);
    assert.deepEqual(lines.filter((line) => line.length > 80), []);
  });
}

Deno.test("help: paragraphs, tables and commands are broken, each in its way", () => {
  const text = "One two three four five six\nseven.\n\nForms:\n  padded    a b c d e f g h i j\n" +
    "            k l\n\n  deno task x --alpha 1 --beta 2 --gamma 3";
  assert.deepEqual(wrapHelp(text, 24).split("\n"), [
    "One two three four five",
    "six seven.",
    "",
    "Forms:",
    "  padded    a b c d e f",
    "            g h i j k l",
    "",
    "  deno task x \\",
    "      --alpha 1 \\",
    "      --beta 2 \\",
    "      --gamma 3",
  ]);
});

Deno.test("messages: options get their dashes, and nothing else does", () => {
  const names = ["text", "max_length", "text_column", "seed", "stop"];
  const cases = [
    ["max_length must be 1 or more: 0", "--max_length must be 1 or more: 0"],
    ["name one as text_column", "name one as --text_column"],
    ["a: what fits: max_length 8", "a: what fits: --max_length 8"],
    ["use --max_length", "use --max_length"],
    ["seed must be a number: x", "--seed must be a number: x"],
    [
      "no text at /a/max_length/x and max_length.txt",
      "no text at /a/max_length/x and max_length.txt",
    ],
    ["the text has 3 tokens", "the text has 3 tokens"],
    [`"max_length" is a key`, `"max_length" is a key`],
    ["my_max_length", "my_max_length"],
  ];
  for (const [message, shown] of cases) assert.equal(withDashes(message, names), shown);
});

Deno.test("messages: what users did wrong is told without a class name", () => {
  for (const type of [RangeError, TypeError, SyntaxError, Deno.errors.NotFound]) {
    const action = () => {
      throw new type("no such file: x");
    };
    assert.throws(() => preparing(action), (error: Error) => {
      assert.deepEqual(reportError(error), { code: 2, message: "no such file: x" });
      return true;
    });
  }
});

Deno.test("nearest: slips of the hand are seen through, other words are not", () => {
  const words = ["magnitude", "random", "entropy", "output_norm"];
  const cases: [string, string | undefined][] = [
    ["magnitud", "magnitude"],
    ["Magnitude", "magnitude"],
    ["magn", "magnitude"],
    ["ranodm", "random"],
    ["output-norm", "output_norm"],
    ["entorpy", "entropy"],
    ["best", undefined],
    ["x", undefined],
    ["", undefined],
  ];
  for (const [word, meant] of cases) assert.equal(nearest(word, words), meant, word);
  assert.equal(nearest("gtp2", ["embedded", "gpt2", "gpt2-xl"]), "gpt2");
  assert.equal(didYouMean("random", words), "");
  assert.equal(didYouMean("ranodm", words), "; did you mean random?");
});

Deno.test("options: another program's or another command's name leads to ours", () => {
  assert.equal(meantOption("text", ["text_file", "text_column"]), "text_file");
  assert.equal(meantOption("dataset", ["text", "seed"]), "text");
  assert.equal(meantOption("model", ["model_name"]), "model_name");
  assert.equal(meantOption("promt", ["prompt", "prompts_file"]), "prompt");
  assert.equal(meantOption("frobnicate", ["prompt", "prompts_file"]), undefined);
});

Deno.test("options: unknown ones, and values for flags, are told with what was meant", () => {
  const said = (...args: string[]) => {
    let printed = "";
    const command = newCommand({ name: "x", description: "y" })
      .option("--top_k <number>", "number").option("--json", "flag").option("--live [port]", "port")
      .configureOutput({ writeErr: (text) => printed += text });
    try {
      parseCommand(command, args);
    } catch (error) {
      assert.ok(error instanceof CommanderError);
    }
    return printed;
  };
  assert.match(said("--topk", "3"), /unknown option '--topk'; did you mean --top_k\?/);
  assert.match(said("--top-kk=3"), /unknown option '--top-kk'; did you mean --top_k\?/);
  assert.match(said("--frobnicate"), /unknown option '--frobnicate'\n\(--help lists/);
  assert.match(said("--json=3"), /option '--json' takes no value: --json=3/);
  for (const args of [["--top-k=3"], ["--top_k", "--frobnicate"], ["--live=3"], ["--", "--x"]]) {
    assert.doesNotMatch(said(...args), /unknown option/, args.join(" "));
  }
});

Deno.test("values: percentages, large numbers and near words are told", () => {
  const share = { min: 0, max: 1 };
  assert.throws(() => checkNumber("pruning_level", 30, share), {
    message: "pruning_level must be between 0 and 1: 30; for 30 % give 0.3",
  });
  for (const value of [-1, 1.3, 101, NaN]) {
    assert.throws(() => checkNumber("pruning_level", value, share), {
      message: `pruning_level must be between 0 and 1: ${value}`,
    });
  }
  assert.throws(() => checkNumber("seed", 2 ** 53, { whole: true, min: 0 }), {
    message: "seed must be a whole number from 0 to 9007199254740991: 9007199254740992",
  });
  assert.throws(() => checkChoice("strategy", "magnitud", ["magnitude", "random"]), {
    message: "strategy must be one of magnitude, random: magnitud; did you mean magnitude?",
  });
});

Deno.test("deno task: every task is described in a line", async () => {
  const { stderr, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--config", new URL("../deno.json", import.meta.url).pathname],
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder();
  const listed = text.decode(stdout) + text.decode(stderr);
  for (const [task, { description }] of Object.entries(denoJson.tasks)) {
    assert.ok(description.length > 0 && description.length <= 76, `${task}: ${description}`);
    assert.ok(listed.includes(`// ${description}`), `${task} is not described in:\n${listed}`);
  }
});

Deno.test("paths: a file or folder of nearly that name is told, others are not", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-paths-" });
  try {
    await Deno.writeTextFile(join(dir, "shakespeare.txt"), "x");
    await Deno.mkdir(join(dir, "docs"));
    assert.deepEqual(await beside(join(dir, "shakespear.txt")), [join(dir, "shakespeare.txt")]);
    for (const name of ["none", "x", "other.txt"]) {
      assert.deepEqual(await beside(join(dir, name)), [], name);
    }
    assert.deepEqual(await beside(join(dir, "nowhere", "shakespear.txt")), []);
    await assert.rejects(loadText(join(dir, "shakespear.txt")), (error: Error) => {
      assert.ok(error.message.includes(`no file at ${join(dir, "shakespear.txt")}: give`));
      assert.ok(error.message.endsWith(`did you mean ${join(dir, "shakespeare.txt")}?`));
      return true;
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
