/** The lock of a folder: two processes, two objects of one process, and a holder that is killed. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { FolderLock, LOCK_FILE, LockedError, lockFolder, lockHolder } from "../src/run/lock.ts";
import { shellQuote } from "../src/shell.ts";

const LOCK = new URL("../src/run/lock.ts", import.meta.url).href;

/** A process that takes the lock of a folder, says so, and keeps it until it is killed. */
function holder(dir: string): Deno.ChildProcess {
  const code = `
    import { lockFolder } from ${JSON.stringify(LOCK)};
    const lock = await lockFolder(Deno.args[0]);
    console.log("held");
    await new Promise((resolve) => setTimeout(resolve, 60_000));
    lock.dispose();`;
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--ext=ts", `data:application/typescript,${encodeURIComponent(code)}`, dir],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
}

async function temporary(): Promise<string> {
  return await Deno.makeTempDir({ prefix: "pollard-lock-" });
}

Deno.test("a second process is refused with the first one's number; the lock dies with it by SIGKILL", async () => {
  const dir = await temporary();
  const child = holder(dir);
  try {
    const reader = child.stdout.getReader();
    await reader.read();
    const refused = await lockFolder(dir).then(() => assert.fail("taken twice"), (error) => error);
    assert.ok(refused instanceof LockedError);
    assert.equal(refused.holder?.pid, child.pid);
    assert.equal(refused.holder?.host, Deno.hostname());
    assert.match(
      refused.message,
      new RegExp(`in use by process ${child.pid} on .*, since \\d{4}-.*; wait until it has ended`),
    );
    assert.equal((await lockHolder(dir))?.pid, child.pid);
    await reader.cancel();
    child.kill("SIGKILL");
    await child.status;
    assert.equal(await lockHolder(dir), undefined);
    await Deno.stat(join(dir, LOCK_FILE)); // it could not remove it
    const lock = await lockFolder(dir);
    assert.equal((await lockHolder(dir))?.pid, Deno.pid);
    lock.dispose();
    assert.deepEqual([...Deno.readDirSync(dir)], []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("two objects of one process are kept apart, by whichever path they come", async () => {
  const dir = await temporary();
  const link = `${dir}-link`;
  await Deno.symlink(dir, link);
  try {
    {
      using lock = await lockFolder(dir);
      assert.ok(lock instanceof FolderLock);
      await assert.rejects(lockFolder(dir), /in use by this process already \(number \d+\)/);
      await assert.rejects(lockFolder(link), LockedError);
    }
    const racing = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(dir)));
    const won = racing.filter(({ status }) => status === "fulfilled");
    assert.equal(won.length, 1);
    const { value } = won[0] as PromiseFulfilledResult<FolderLock>;
    value.dispose();
    value.dispose(); // a second time changes nothing
    using again = await lockFolder(link);
    value.dispose(); // nor does it after somebody else has taken it
    await assert.rejects(lockFolder(dir), LockedError);
    again.dispose();
  } finally {
    await Deno.remove(link);
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test({
  name: "quoted arguments come back from a shell as they were",
  ignore: Deno.build.os === "windows",
  async fn() {
    const names = [
      ...["plain/path-1.0", "with space", "it's", '"double"', "$HOME", "`id`", "$(id)", "a\\b"],
      ...[
        "~",
        "~root",
        "-x",
        "a;b",
        "a&b",
        "*",
        "?",
        "",
        "!",
        "a\nb",
        "\x1b[31m'red\\'",
        "ünï",
        "#",
      ],
      ...["{a,b}", "a|b", "<a>", "\u2028", "\x9b31m"],
    ];
    for (const name of names) {
      const quoted = shellQuote(name, "linux");
      // deno-lint-ignore no-control-regex -- these must not be printed
      assert.ok(!/[\x00-\x1f\x7f-\x9f]/.test(quoted), JSON.stringify(quoted));
      const { stdout } = await new Deno.Command("bash", {
        args: ["-c", `printf '%s' ${quoted}`],
      }).output();
      assert.equal(new TextDecoder().decode(stdout), name, quoted);
    }
    assert.equal(shellQuote("runs/2026-01-01-tiny_1", "linux"), "runs/2026-01-01-tiny_1");
    assert.equal(shellQuote("C:\\my runs\\", "windows"), '"C:\\my runs\\\\"');
    assert.equal(shellQuote("C:\\runs\\a", "windows"), "C:\\runs\\a");
  },
});
