/** Nothing that others named reaches the terminal as a command to it. */
import assert from "node:assert/strict";
import { Progress } from "../scripts/cli.ts";
import { guardTerminal, printable } from "../scripts/terminal.ts";
import { runScript } from "./script.ts";

const EVIL = "a\x1b[2Jb\rc\u202ed\x07\x9b1me\u2066\x00";
const SHOWN = "a\\u001b[2Jb\\u000dc\\u202ed\\u0007\\u009b1me\\u2066\\u0000";

Deno.test("printable: controls are written out, text stays", () => {
  assert.equal(printable(EVIL), SHOWN);
  const text = "Ünïcode 鯨 🐋\tand\nlines";
  assert.equal(printable(text), text);
  assert.equal(printable("windows\r\nlines\r\n"), "windows\nlines\n");
});

Deno.test("guardTerminal: errors always, results where a terminal reads them", () => {
  for (const exact of [true, false]) {
    const lines: string[] = [];
    const out = {
      error: (line: string) => lines.push(line),
      log: (line: string) => lines.push(line),
    } as unknown as Console;
    guardTerminal(out, exact);
    out.error(EVIL);
    out.log(EVIL);
    assert.deepEqual(lines, [SHOWN, exact ? EVIL : SHOWN]);
  }
});

Deno.test("progress: lines and phases are printable", () => {
  let text = "";
  const stream = { isTTY: false, write: (piece: string) => text += piece };
  const progress = new Progress({ stream, now: () => 0 });
  progress.log(EVIL);
  progress.update({ phase: EVIL, step: 1, total: 2 });
  progress.stop();
  assert.ok(text.startsWith(`${SHOWN}\n${SHOWN}  `), JSON.stringify(text));
});

Deno.test("a name with controls in it is refused in printable words, by every command", async () => {
  for (
    const [script, ...args] of [
      ["evaluate", "--text_file", "\x1b[31mred.txt"],
      ["generate", "--model_name", "./\x1b[31mred"],
      ["generate", "--\x1b[31mred"],
      ["report", "\x1b[31mred"],
      ["export", "\x1b[31mred", "--output", "x"],
    ]
  ) {
    const { code, stderr } = await runScript(script, ...args);
    assert.equal(code, 2, script);
    assert.ok(
      stderr.includes("\\u001b[31mred") && !stderr.includes("\x1b"),
      JSON.stringify(stderr),
    );
  }
});
