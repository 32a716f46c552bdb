/** Pipes and devices where a file is expected: refused, or interruptible. Nothing is read without end. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { openFile, readJson, readWhole } from "../src/data/files.ts";
import { openFolder } from "../src/data/folder.ts";
import { openText } from "../src/data/text_source.ts";
import { readUtf8 } from "../src/data/utf8.ts";

const ignore = Deno.build.os === "windows"; // which has neither

const dir = await Deno.makeTempDir({ prefix: "pollard-endless-" });
addEventListener("unload", () => Deno.removeSync(dir, { recursive: true }));
const fifo = join(dir, "tokenizer.json");
if (!ignore) await new Deno.Command("mkfifo", { args: [fifo] }).output();

Deno.test({
  name: "files: a pipe, a device and a folder are refused wherever a file is expected",
  ignore,
  async fn() {
    const folder = await openFolder(dir);
    for (
      const [path, what] of [[fifo, "a pipe or a device"], ["/dev/zero", "a pipe or a device"], [
        dir,
        "a folder",
      ]]
    ) {
      for (const read of [readWhole, readJson, openFile]) {
        await assert.rejects(async () => await read(path), {
          name: "TypeError",
          message: `${path} is ${what}, not a file: give a file that can be read again`,
        });
      }
    }
    await assert.rejects(folder.read("tokenizer.json"), /is a pipe or a device, not a file/);
    await assert.rejects(folder.open("tokenizer.json"), /is a pipe or a device, not a file/);
    for (const ending of ["txt", "csv", "json", "jsonl", "parquet"]) {
      const path = join(dir, `text.${ending}`);
      await Deno.symlink("/dev/zero", path);
      await assert.rejects(openText(path), /is a pipe or a device, not a file/, ending);
    }
  },
});

Deno.test({
  name: "prompts: the wait for a pipe can be interrupted, and endless data is refused",
  ignore,
  async fn() {
    const stop = new AbortController();
    const waiting = readUtf8(fifo, { signal: stop.signal });
    setTimeout(() => stop.abort(new DOMException("Stopped.", "AbortError")), 50);
    await assert.rejects(waiting, { name: "AbortError" });
    // ends the open that was given up, which still waits for a writer
    await new Deno.Command("sh", { args: ["-c", `: > "$0"`, fifo] }).output();
    await assert.rejects(readUtf8("/dev/zero"), /is not UTF-8 text .*zeros/);
    await assert.rejects(readUtf8(dir), /directory/i);
  },
  sanitizeResources: false, // the file of the open that was given up
  sanitizeOps: false,
});
