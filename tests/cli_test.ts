import assert from "node:assert/strict";
import {
  newCommand,
  numberOption,
  parseCommand,
  Progress,
  refuse,
  reportError,
  wholeOption,
} from "../scripts/cli.ts";
import { CommanderError } from "../scripts/deps.ts";
import { formatSeconds, PLAIN_INTERVAL_S } from "../scripts/progress.ts";
import { blameInput, isInputError, preparing } from "../src/errors.ts";
import { DeviceLostError, GpuError } from "../src/gpu/device.ts";

/** What an action throws. */
async function thrown(action: () => unknown): Promise<Error> {
  try {
    await action();
  } catch (error) {
    return error as Error;
  }
  throw new assert.AssertionError({ message: "nothing was thrown" });
}

/** An error thrown while input was prepared. */
const prepared = (error: unknown) =>
  thrown(() =>
    preparing(() => {
      throw error;
    })
  );

Deno.test("preparing: refusals of input are remembered, and stay the errors they were", async () => {
  const refusals = [
    new RangeError("pruning_level must be between 0 and 1: 1.3"),
    new TypeError("config.json is not JSON, or only a part of it: Unexpected end"),
    new SyntaxError("Unexpected token"),
    new Deno.errors.NotFound("no file at x"),
    new Deno.errors.PermissionDenied("Permission denied (os error 13)"),
    new GpuError("No WebGPU adapter found"),
    Object.assign(new Error("No space left on device"), { code: "ENOSPC" }),
    new Error("cannot read the text", { cause: new Deno.errors.IsADirectory("x") }),
  ];
  for (const error of refusals) {
    assert.equal(await prepared(error), error);
    assert.ok(isInputError(error), error.message);
  }
  const later = new RangeError("later");
  assert.equal(await thrown(() => preparing(() => Promise.reject(later))), later);
  assert.ok(isInputError(later));
  assert.equal(preparing(() => 3), 3);
  assert.equal(await preparing(() => Promise.resolve(4)), 4);
});

Deno.test("preparing: what is nobody's input is not", async () => {
  const others = [
    new DeviceLostError("The GPU device was lost: x"),
    new GpuError("WebGPU error: Buffer binding is too large"),
    new ReferenceError("x is not defined"),
    new Error("something else"),
    new DOMException("Stopped.", "AbortError"),
    new Error("outer", { cause: new Error("inner") }),
    "a string",
  ];
  for (const error of others) {
    await thrown(() =>
      preparing(() => {
        throw error;
      })
    );
    assert.ok(!isInputError(error), String(error));
  }
  assert.ok(!isInputError(new RangeError("thrown elsewhere")));
});

Deno.test("preparing: the engine's own errors are mistakes, whatever their type", async () => {
  // deno-lint-ignore no-explicit-any -- mistakes that types would catch
  const nothing: any = undefined, object: any = {}, frozen: any = Object.freeze({ a: 1 });
  const mistakes: (() => unknown)[] = [
    () => nothing.length,
    () => nothing(),
    () => object.method(),
    () => new object(),
    () => [...object],
    () => (nothing.x = 1),
    () => {
      const { x } = nothing;
      return x;
    },
    () => (frozen.a = 2),
    () => (frozen.b = 2),
    () => Object.keys(nothing),
    () => 1n + object.x,
    () => 1n * (1 as unknown as bigint),
    () => new Array(-1),
    () => new Float32Array(-1),
    () => new Float32Array(2).set([1, 2, 3]),
    () => new Float32Array(new ArrayBuffer(8), 2),
    () => new DataView(new ArrayBuffer(2)).getUint32(0),
    () => [].reduce((a) => a),
    () => (1).toFixed(200),
    () => new Date(NaN).toISOString(),
    () => {
      object.self = object;
      JSON.stringify(object);
    },
    () => {
      const deeper = (): number => 1 + deeper();
      return deeper();
    },
    () => (structuredClone as () => void)(),
  ];
  for (const mistake of mistakes) {
    const error = await thrown(() => preparing(mistake));
    assert.ok(!isInputError(error), `taken for bad input: ${error}`);
    assert.equal(reportError(error).code, 1);
  }
});

Deno.test("reportError: exit codes and words", async () => {
  const input = await prepared(new RangeError("cycles must be 1 or more: 0"));
  assert.deepEqual(reportError(input), {
    code: 2,
    message: "cycles must be 1 or more: 0",
  });
  assert.match(reportError(input, { debug: true }).message, /cli_test\.ts/);

  const refused = await thrown(() => refuse("not ours"));
  assert.deepEqual(reportError(refused), { code: 2, message: "not ours" });
  assert.equal(reportError(blameInput(new Error("x"))).code, 2);

  assert.deepEqual(reportError(new DeviceLostError("gone")), {
    code: 1,
    message: "gone",
  });
  assert.deepEqual(reportError(new Error("disk full")), { code: 1, message: "disk full" });
  const bug = reportError(new TypeError("x is not a function"));
  assert.equal(bug.code, 1);
  assert.match(
    bug.message,
    /^TypeError: x is not a function\nThis is a mistake in Pollard.*DEBUG=1/,
  );
  assert.deepEqual(reportError("words"), { code: 1, message: "words" });

  const abort = new DOMException("Saved; resume with --resume x", "AbortError");
  assert.deepEqual(reportError(abort, { stopped: 130 }), {
    code: 130,
    message: "Saved; resume with --resume x",
  });
  assert.equal(reportError(abort).code, 1);
  assert.deepEqual(reportError(new CommanderError(1, "commander.x", "x")), {
    code: 2,
    message: "",
  });
  assert.equal(reportError(new CommanderError(0, "commander.help", "x")).code, 0);
});

Deno.test("parseCommand: types, arguments and --", () => {
  const command = newCommand({ name: "x", description: "y" })
    .argument("[file...]", "files")
    .option("--top_p <share>", "share", numberOption("top_p", { above: 0, max: 1 }), 1)
    .option("--top_k <number>", "number", wholeOption("top_k", { min: 0 }));
  const { top_p, top_k } = parseCommand(command, ["--top-p=.5", "a-b", "--", "--top-k"]);
  const share: number = top_p, number: number | undefined = top_k; // their types are known
  assert.equal(share, 0.5);
  assert.equal(number, undefined);
  assert.deepEqual(command.args, ["a-b", "--top-k"]);
  for (const text of ["", " ", "1e", "0x1", "1_0", "Infinity", "NaN", "1 2"]) {
    assert.throws(() => numberOption("n")(text), { message: `n must be a number: ${text}` });
  }
  for (const [text, value] of [["1e-4", 1e-4], ["-3", -3], ["+2.", 2], [".5", .5]] as const) {
    assert.equal(numberOption("n")(text), value);
  }
});

/** A stream and a clock to show progress with. */
function stage(isTTY: boolean, columns = 80) {
  const stage = { text: "", time: 0 };
  const stream = { isTTY, columns, write: (text: string) => stage.text += text };
  const progress = new Progress({ stream, now: () => stage.time });
  return { stage, progress };
}

Deno.test("progress: without a terminal, one plain line every few seconds", () => {
  const { stage: s, progress } = stage(false);
  for (let step = 1; step <= 1000; step++) {
    s.time += 20;
    progress.update({ phase: "warmup", step, total: 2000, loss: 3, tokens: step * 256 });
  }
  const lines = s.text.split("\n").slice(0, -1);
  assert.equal(lines.length, 20 / PLAIN_INTERVAL_S); // 20 s, the first line at once
  assert.equal(lines[0], "warmup    0 %  1/2000  loss 3.000");
  assert.equal(lines[3], "warmup   37 %  751/2000  loss 3.000  12.8k tokens/s  25s left");
  progress.log("pruned");
  progress.stop();
  progress.stop();
  assert.deepEqual(s.text.split("\n").slice(4), [
    "warmup   50 %  1000/2000  loss 3.000  12.8k tokens/s  20s left", // before what came after it
    "pruned",
    "",
  ]);
  assert.ok(!s.text.includes("\x1b") && !s.text.includes("\r"));
});

Deno.test("progress: what takes time before a line does not count as steps", () => {
  const { stage: s, progress } = stage(false);
  const steps = (from: number, to: number) => {
    for (let step = from; step <= to; step++) {
      s.time += 20;
      progress.update({ phase: "finetuning", step, total: 2000, tokens: step * 256 });
    }
  };
  steps(1, 500);
  s.time += 600_000; // an analysis of ten minutes
  progress.log("pruned");
  steps(501, 1000);
  progress.stop();
  const last = s.text.trimEnd().split("\n").at(-1)!;
  assert.match(last, /12\.8k tokens\/s {2}20s left$/, last);
});

Deno.test("progress: on a terminal, a bar on one line, at most ten times a second", () => {
  const { stage: s, progress } = stage(true);
  for (let step = 0; step <= 500; step++) {
    progress.update({ phase: "warmup", step, total: 1000, loss: 3.25, tokens: step * 64 });
    s.time += 10;
  }
  assert.ok(!s.text.includes("\n"));
  const drawings = s.text.split("warmup").slice(1);
  assert.equal(drawings.length, 51);
  assert.match(
    drawings[50],
    /^ {2}\[=+-+\] {2}50 % {2}500\/1000 {2}loss 3\.250 {2}6400 tokens\/s {2}5s left/,
  );
  s.text = "";
  progress.log("pruned head 3");
  // the bar is cleared, and drawn again below
  assert.match(s.text.replaceAll("\x1b", "ESC"), /ESC\[2Kpruned head 3\n.*warmup/s);
  progress.stop();
  assert.match(s.text, /\n$/);
});

Deno.test("progress: fits any width, starts again with a phase, leaves out what is unknown", () => {
  for (const columns of [20, 60, 200]) {
    const { stage: s, progress } = stage(true, columns);
    progress.update({ phase: "finetuning 2/3", step: 5, total: 10, loss: 1 });
    // deno-lint-ignore no-control-regex -- what moves the cursor
    const line = s.text.replaceAll(/\x1b\[\d*[A-Z]/g, "");
    assert.ok(line.length < columns, `${line.length} in ${columns}`);
    progress.stop();
  }
  const { stage: s, progress } = stage(false);
  progress.update({ phase: "a", step: 90, total: 100, tokens: 900 });
  s.time += 10_000;
  progress.update({ phase: "b", step: 1, total: 100 });
  progress.stop();
  assert.equal(s.text, "a   90 %  90/100\nb    1 %  1/100\n");
});

Deno.test("formatSeconds", () => {
  assert.deepEqual([0, 59.2, 60, 65, 3599.5, 7384].map(formatSeconds), [
    "0s",
    "1m00s",
    "1m00s",
    "1m05s",
    "1h00m",
    "2h04m",
  ]);
});

/** Runs a script that is given as text, imports relative to the repository. */
function start(script: string, env: Record<string, string> = {}): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["eval", script],
    cwd: new URL("..", import.meta.url),
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("runMain: results on stdout, errors on stderr, stacks only when asked for", async () => {
  const script = `import { preparing, printJson, runMain } from "./scripts/cli.ts";
    await runMain(async () => {
      setInterval(() => {}, 1000); // does not keep it alive
      printJson({ a: 1 });
      await preparing(() => { throw new RangeError("n must be 1: 2") });
    });`;
  const { code, stdout, stderr } = await start(script).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assert.equal(text(stdout), '{"a":1}\n');
  assert.equal(text(stderr), "n must be 1: 2\n");
  assert.equal(code, 2);
});

Deno.test({
  name: "runMain: Ctrl-C aborts, twice ends at once",
  ignore: Deno.build.os === "windows", // no SIGINT from outside there
  async fn() {
    const script = (onAbort: string) =>
      `import { runMain } from "./scripts/cli.ts";
      await runMain(async (signal) => {
        console.log("ready");
        while (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, 10));
        ${onAbort}
      });`;
    const until = async (child: Deno.ChildProcess, after: (kill: () => void) => Promise<void>) => {
      const reader = child.stdout.getReader();
      await reader.read();
      await after(() => child.kill("SIGINT"));
      while (!(await reader.read()).done);
      const stderr = await new Response(child.stderr).text();
      return { ...await child.status, stderr };
    };
    const once = until(
      start(script(`throw new DOMException("Saved.", "AbortError");`)),
      // deno task and the terminal both pass it on: that is one Ctrl-C
      (kill) => Promise.resolve([kill(), kill()]).then(() => {}),
    );
    const twice = until(
      start(script("await new Promise((r) => setTimeout(r, 60_000));")),
      async (kill) => {
        kill();
        await new Promise((resolve) => setTimeout(resolve, 700));
        kill();
      },
    );
    const [first, second] = await Promise.all([once, twice]);
    assert.equal(first.code, 130);
    assert.match(first.stderr, /Stopping; press Ctrl-C again to stop at once\.\nSaved\.\n$/);
    assert.equal(second.code, 130);
    assert.match(second.stderr, /Stopped at once\.\n$/);
  },
});
