/**
 * Commands as processes that are stopped and killed.
 *
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";

/** Starts a script of `scripts/` in a folder. */
export function startScript(name: string, args: readonly string[], cwd: string): Deno.ChildProcess {
  const script = new URL(`../scripts/${name}.ts`, import.meta.url);
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script.href, ...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Reads stderr until it shows a text; the process goes on. @returns What was read. */
export async function untilSaid(child: Deno.ChildProcess, text: string): Promise<string> {
  let stderr = "";
  const decoder = new TextDecoder();
  const reader = child.stderr.getReader();
  while (!stderr.includes(text)) {
    const { value, done } = await reader.read();
    assert.ok(!done, `it ended before it said ${text}: ${stderr}`);
    stderr += decoder.decode(value, { stream: true });
  }
  reader.releaseLock();
  return stderr;
}

/** Ends a process at once, whatever it does, and closes its streams. */
export async function killNow(child: Deno.ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await Promise.all([child.status, child.stdout.cancel(), child.stderr.cancel()]);
}

/** Every file below a folder, with what it holds. */
export async function filesBelow(dir: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for await (const { name, isDirectory } of Deno.readDir(dir)) {
    const path = join(dir, name);
    if (!isDirectory) files.set(path, await Deno.readFile(path));
    else for (const [file, bytes] of await filesBelow(path)) files.set(file, bytes);
  }
  return files;
}

/** Waits until something is so. @throws {Error} If it is not in three minutes. */
export async function until(what: string, is: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 3600; i++) {
    if (await is()) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`three minutes were not enough: ${what}`);
}
