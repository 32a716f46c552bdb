/** URLs, paths and links, on this system and as Windows writes them. */
import assert from "node:assert/strict";
import { posix, win32 } from "node:path";
import { asUrl, commonFolder, pathHref, pathInside } from "../src/data/paths.ts";

Deno.test("what is a URL, and what is a path", () => {
  for (
    const url of ["http://host/model", "https://host/a b", "file:///models/mine", "HTTP://H/x"]
  ) {
    assert.equal(asUrl(url)?.href, new URL(url).href);
  }
  const paths = ["C:\\models", "c:/models", "models", "./a", "a:b", "owner/name@v1", "http:", ""];
  for (const path of [...paths, "http://", "mailto:a@b"]) {
    assert.equal(asUrl(path), undefined, path);
  }
});

Deno.test("inside a folder, and the folder that holds several", () => {
  assert.equal(pathInside("/runs", "/runs/a/b"), "a/b");
  assert.equal(pathInside("/runs", "/runs/..a"), "..a");
  for (const path of ["/runs", "/run", "/", "/other/runs"]) {
    assert.equal(pathInside("/runs", path), undefined, path);
  }
  assert.equal(pathInside("C:\\runs", "c:\\runs\\a\\b", win32), "a\\b");
  assert.equal(pathInside("C:\\runs", "D:\\runs\\a", win32), undefined);
  assert.equal(commonFolder(["/x/runs/a", "/x/runs/b/c"]), "/x/runs");
  assert.equal(commonFolder(["/x/a", "/y/a"]), "/");
  assert.equal(commonFolder(["/x/runs/..a", "/x/runs/b"]), "/x/runs");
  assert.equal(commonFolder(["C:\\x\\a", "C:\\y\\a"], win32), "C:\\");
  assert.equal(commonFolder(["C:\\x\\a", "D:\\x\\a"], win32), undefined);
});

Deno.test("links between folders, and across drives", () => {
  assert.equal(pathHref("../a b/50%#x"), "../a%20b/50%25%23x");
  assert.equal(pathHref("a\\b", posix), "a%5Cb", "a letter like others, outside Windows");
  assert.equal(pathHref("..\\a b\\c", win32), "../a%20b/c");
  assert.equal(pathHref("D:\\my runs\\a", win32), "file:///D:/my%20runs/a");
  assert.equal(new URL(pathHref("D:\\my runs\\a", win32)).pathname, "/D:/my%20runs/a");
  assert.equal(pathHref("/a b/c", posix), "file:///a%20b/c");
});
