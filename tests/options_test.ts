import assert from "node:assert/strict";
import {
  checkOptions,
  DEFAULTS,
  type ExperimentOptions,
  OPTION_RULES,
} from "../src/experiment/options.ts";
import { checkSweepOptions } from "../src/experiment/sweep_options.ts";
import { isInputError } from "../src/errors.ts";
import { checkChoice, checkNumber, describeRange } from "../src/ranges.ts";
import { STRATEGY_NAMES } from "../src/plasticity/scores.ts";
import { CommanderError } from "../scripts/deps.ts";
import { experimentCommand, parseExperiment } from "../scripts/experiment_options.ts";
import type { RunCommand } from "../scripts/option_groups.ts";

Deno.test("options: defaults are good, complete and frozen", () => {
  const options = checkOptions();
  assert.deepEqual(options, DEFAULTS);
  assert.deepEqual(Object.keys(options), Object.keys(OPTION_RULES));
  assert.ok(Object.isFrozen(options));
  assert.equal(checkOptions({ cycles: undefined }).cycles, DEFAULTS.cycles);
  assert.equal(checkOptions({ cycles: 7 }).cycles, 7);
});

Deno.test("options: every bound is checked, and its edge allowed", () => {
  for (const [name, rule] of Object.entries(OPTION_RULES)) {
    if (rule.kind !== "number") continue;
    const { min, max, above, whole } = rule.range;
    const edge = (value: number) =>
      assert.doesNotThrow(() => checkOptions({ [name]: value }), `${name} ${value}`);
    const beyond = (value: unknown) =>
      assert.throws(() => checkOptions({ [name]: value }), {
        name: "RangeError",
        message: `${name} must be ${describeRange(rule.range)}: ${
          typeof value === "string" ? JSON.stringify(value) : value
        }`,
      });
    assert.ok(min !== undefined || above !== undefined, `${name} has no lower bound`);
    if (min !== undefined) {
      edge(min);
      beyond(min - (whole ? 1 : 1e-9));
    }
    if (above !== undefined) beyond(above);
    if (max !== undefined) {
      edge(max);
      beyond(max + (whole ? 1 : 1e-9));
    }
    if (whole) beyond(min! + 0.5);
    for (const value of [NaN, Infinity, "3", null]) beyond(value);
  }
});

Deno.test("options: other kinds and unknown names are refused", () => {
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ strategy: "luck" }, /^strategy must be one of entropy, .*oracle.*: luck$/],
    [{ device: "tpu" }, /^device must be one of auto, gpu, cpu: tpu$/],
    [{ text: " " }, /^text must be a text that is not empty: " "$/],
    [{ model_name: 3 }, /^model_name must be a text/],
    [{ controls: 0 }, /^controls must be true or false: 0$/],
    [{ cycels: 3 }, /^Unknown option: cycels; there are model_name, /],
    [{ toString: 3 }, /^Unknown option: toString/],
  ];
  for (const [options, message] of bad) {
    assert.throws(() => checkOptions(options), { name: "TypeError", message });
  }
  // a head that came back would count twice
  const folding = { fold_means: true, pruning_mode: "adaptive" } as const;
  for (const check of [checkOptions, checkSweepOptions]) {
    assert.throws(() => check(folding), { name: "TypeError", message: /^fold_means needs pruned/ });
    assert.equal(check({ fold_means: true }).fold_means, true);
  }
});

Deno.test("ranges: in words", () => {
  assert.throws(() => checkNumber("pruning_level", 1.3, { min: 0, max: 1 }), {
    name: "RangeError",
    message: "pruning_level must be between 0 and 1: 1.3",
  });
  assert.equal(describeRange({ whole: true, min: 1 }), "a whole number, 1 or more");
  assert.equal(describeRange({ whole: true, min: 1, max: 8 }), "a whole number from 1 to 8");
  assert.equal(describeRange({ above: 0, max: 1 }), "above 0 and at most 1");
  assert.equal(describeRange({ above: 0, below: 1 }), "above 0 and below 1");
  assert.equal(describeRange({ min: 0 }), "0 or more");
  assert.equal(describeRange({}), "a number");
  assert.equal(describeRange({ whole: true }), "a whole number");
  assert.throws(() => checkNumber("n", 2 ** 53, { whole: true }), RangeError);
  assert.throws(() => checkNumber("n", 1, { below: 1 }), RangeError);
  assert.throws(() => checkChoice("c", undefined, ["a"]), TypeError);
});

/** Parses without printing; returns what would have been printed to stderr with the error. */
function parse(
  ...args: string[]
): Partial<RunCommand<ExperimentOptions>> & { error?: Error; printed: string } {
  const command = experimentCommand();
  const printed: string[] = [];
  command.configureOutput({
    writeErr: (text) => printed.push(text),
    writeOut: (text) => printed.push(text),
  });
  try {
    return { ...parseExperiment(args, command), printed: printed.join("") };
  } catch (error) {
    return { error: error as Error, printed: printed.join("") };
  }
}

Deno.test("experiment: no options are the defaults", () => {
  const { options, json, error } = parse();
  assert.equal(error, undefined);
  assert.deepEqual(options, DEFAULTS);
  assert.equal(json, false);
});

Deno.test("experiment: underscores, dashes, = and the usage of other programs", () => {
  const { options, json } = parse(
    ...["--pruning_level", "0.5", "--batch-size=8", "--learning-rate", "1e-4", "--no-controls"],
    ...["--device", "cuda", "--no-wandb", "--json", "--text=--json", "--output_dir", "1_json"],
    ...["--strategy", "magnitude", "--seed", "9007199254740991", "--model_name=x=y-z"],
  );
  assert.deepEqual(options, {
    ...DEFAULTS,
    pruning_level: 0.5,
    batch_size: 8,
    learning_rate: 1e-4,
    controls: false,
    device: "gpu",
    text: "--json",
    output_dir: "1_json",
    strategy: "magnitude",
    seed: Number.MAX_SAFE_INTEGER,
    model_name: "x=y-z",
  });
  assert.equal(json, true);
});

Deno.test("experiment: a bad value is an input error that names it", () => {
  const bad: [string[], string][] = [
    [["--pruning_level", "1.3"], "RangeError: pruning_level must be between 0 and 1: 1.3"],
    [["--pruning-level=x"], "RangeError: pruning_level must be between 0 and 1: x"],
    [["--cycles="], "RangeError: cycles must be a whole number from 1 to 1000: "],
    [["--cycles", "0x10"], "RangeError: cycles must be a whole number from 1 to 1000: 0x10"],
    [["--cycles", "-1"], "RangeError: cycles must be a whole number from 1 to 1000: -1"],
    [["--seed", "1.5"], "RangeError: seed must be a whole number from 0 to 9007199254740991: 1.5"],
    [["--text", ""], "TypeError: text must not be empty"],
    [["--strategy", "x"], `TypeError: strategy must be one of ${STRATEGY_NAMES.join(", ")}: x`],
    [["--controls", "--no_controls"], "TypeError: controls and no_controls cannot both be given"],
  ];
  for (const [args, message] of bad) {
    const { error, printed } = parse(...args);
    assert.equal(`${error?.name}: ${error?.message}`, message);
    assert.ok(isInputError(error), message);
    assert.equal(printed, "");
  }
});

Deno.test("experiment: a bad command line is named, with a suggestion", () => {
  const bad: [string[], RegExp][] = [
    [
      ["--prunning-level", "1"],
      /unknown option '--prunning-level'; did you mean --pruning_level\?/,
    ],
    [["--cycles"], /option '--cycles <number>' argument missing/],
    [["--text", "--no-controls"], /option '--text <text>' argument missing/],
    [["gpt2"], /too many arguments.*gpt2/],
    [["--json=3"], /option '--json' takes no value: --json=3/],
    [["-x"], /unknown option '-x'/],
  ];
  for (const [args, message] of bad) {
    const { error, printed } = parse(...args);
    assert.ok(error instanceof CommanderError, args.join(" "));
    assert.match(printed, message);
    assert.match(printed, /--help lists the options/);
  }
});

Deno.test("experiment: --resume stands alone", () => {
  assert.deepEqual(parse("--resume", "runs/a", "--json", "--no_wandb"), {
    resume: "runs/a",
    json: true,
    verbose: false,
    printed: "",
  });
  for (const [args, live] of [[["--live"], true], [["--live", "9000"], 9000]] as const) {
    const { resume, live: given } = parse("--resume", "runs/a", ...args);
    assert.deepEqual([resume, given], ["runs/a", live]);
  }
  assert.match(parse("--live", "70000").error!.message, /live must be .*65,?535: 70000/);
  for (
    const [args, name] of [
      [["--cycles", "3"], "cycles"],
      [["--no_controls"], "no_controls"],
      [["--output_dir", "x"], "output_dir"],
    ] as const
  ) {
    const { error } = parse("--resume", "runs/a", ...args);
    assert.match(error!.message, new RegExp(`^${name} cannot be changed by --resume`));
    assert.ok(isInputError(error));
  }
});

Deno.test("experiment: --help names every option of the issue, its default, and every strategy", () => {
  const { error, printed } = parse("--help");
  assert.equal((error as CommanderError).exitCode, 0);
  for (const name of Object.keys(OPTION_RULES)) {
    assert.match(printed, new RegExp(`^  --${name}[ \n]`, "m"));
  }
  for (const name of ["no_controls", "no_wandb", "resume", "json", "help", "version"]) {
    assert.ok(printed.includes(`--${name}`), name);
  }
  for (const name of STRATEGY_NAMES) assert.match(printed, new RegExp(`^  ${name} +\\w`, "m"));
  assert.match(printed, /\(default: 0\.3\)/);
  assert.match(printed, /^Pruning:$/m);
});
