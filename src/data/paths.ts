/**
 * What a user's words name: a URL, or a path on this system. Functions take the system's path
 * functions as their last argument.
 *
 * @module
 */
import nodePath from "node:path";

type PlatformPath = typeof nodePath;

/**
 * A text as a URL of a kind that we read (`http:`, `https:`, `file:`), or undefined: it is a path.
 * (`C:\models` parses as a URL, too.)
 */
export function asUrl(text: string): URL | undefined {
  return /^(https?|file):\/\//i.test(text) && URL.canParse(text) ? new URL(text) : undefined;
}

/** A path as it is seen from a folder above it; undefined for everything that is not inside it. */
export function pathInside(
  dir: string,
  path: string,
  { relative, isAbsolute, sep }: PlatformPath = nodePath,
): string | undefined {
  const way = relative(dir, path);
  // Between drives there is no relative path.
  return way === "" || isAbsolute(way) || way.split(sep)[0] === ".." ? undefined : way;
}

/** The deepest folder that all of some absolute paths are in; undefined where drives part them. */
export function commonFolder(
  paths: readonly string[],
  system: PlatformPath = nodePath,
): string | undefined {
  let common = system.dirname(paths[0]);
  while (paths.some((path) => pathInside(common, path, system) === undefined)) {
    const above = system.dirname(common);
    if (above === common) return undefined;
    common = above;
  }
  return common;
}

/** A path as a page's links write it: relative, or absolute where it is on another drive. */
export function pathHref(path: string, { isAbsolute, sep }: PlatformPath = nodePath): string {
  const parts = path.split(sep).map(encodeURIComponent);
  if (!isAbsolute(path)) return parts.join("/");
  if (sep === "/") return `file://${parts.join("/")}`;
  return `file:///${[path.split(sep)[0], ...parts.slice(1)].join("/")}`;
}
