/**
 * A Hugging Face hub on this machine: repositories, a second server for large files, as the hub has
 * one, a log of what was asked, and faults on demand.
 *
 * @module
 */
import { createHash } from "node:crypto";

/** A request as it came. */
export interface Asked {
  readonly path: string;
  readonly range: string | null;
  readonly authorization: string | null;
  /** Encodings that it accepts. */
  readonly encoding: string | null;
  /** Whether it came to the server for large files. */
  readonly large: boolean;
}

/** What answers in the hub's place; nothing lets the hub answer. */
export type Fault = (asked: Asked) => Response | undefined;

/** Files from this size on are kept as the hub keeps large ones. */
const LARGE = 1000;

const commitOf = (name: string) => createHash("sha1").update(name).digest("hex");

/** The hash by which a file's blob is called. */
export function blobHash(bytes: Uint8Array): string {
  if (bytes.length >= LARGE) return createHash("sha256").update(bytes).digest("hex");
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

interface Repo {
  /** Commits by branch or tag. */
  readonly refs: Map<string, string>;
  /** Files by commit and path. */
  readonly commits: Map<string, Map<string, Uint8Array>>;
}

/** The server. */
export class HubServer implements AsyncDisposable {
  /** What was asked, in order. */
  readonly log: Asked[] = [];
  /** Answers in the hub's place. */
  fault: Fault | undefined;
  /** Entries on a page of a list. */
  pageSize = 1000;
  /** What the list says of a file in place of the truth. */
  readonly lies = new Map<string, { size?: number; hash?: string }>();
  /** Former names of repositories. */
  readonly renamed = new Map<string, string>();
  readonly #repos = new Map<string, Repo>();
  readonly #hub: Deno.HttpServer<Deno.NetAddr>;
  readonly #large: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const serve = (large: boolean) =>
      Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
        const asked = {
          path: new URL(request.url).pathname,
          range: request.headers.get("range"),
          authorization: request.headers.get("authorization"),
          encoding: request.headers.get("accept-encoding"),
          large,
        };
        this.log.push(asked);
        return this.fault?.(asked) ?? (large ? this.#file(asked) : this.#answer(request, asked));
      });
    this.#hub = serve(false);
    this.#large = serve(true);
  }

  /** The address of the server for large files: another host than the hub's. */
  get largeUrl(): string {
    return `http://localhost:${this.#large.addr.port}`;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#hub.addr.port}`;
  }

  /** Adds a commit to a repository (`owner/name`, or `datasets/owner/name`); returns its name. */
  commit(repo: string, files: Record<string, Uint8Array | string>, branch = "main"): string {
    const { refs, commits } = this.#repos.getOrInsertComputed(
      repo,
      () => ({ refs: new Map(), commits: new Map() }),
    );
    const commit = commitOf(`${repo} ${commits.size}`);
    refs.set(branch, commit);
    const bytes = ([path, file]: [string, Uint8Array | string]): [string, Uint8Array] => [
      path,
      typeof file === "string" ? new TextEncoder().encode(file) : file,
    ];
    commits.set(commit, new Map(Object.entries(files).map(bytes)));
    return commit;
  }

  /** The paths that were asked for since the log was looked at last. */
  asked(): string[] {
    return this.log.splice(0).map(({ path, large }) => large ? "large" : path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#hub.shutdown(), this.#large.shutdown()]);
  }

  #answer(request: Request, asked: Asked): Response {
    const [, api, datasets, name, what, rest] =
      /^\/(api\/)?(?:models\/|(datasets\/))?([^/]+\/[^/]+|[^/]+)\/(revision|tree|resolve)\/(.+)$/
        .exec(asked.path) ?? [];
    if (name === undefined) return error(404, "RepoNotFound");
    const moved = this.renamed.get(name);
    if (moved) {
      return new Response(null, {
        status: 307,
        headers: { location: request.url.replace(name, moved) },
      });
    }
    const repo = this.#repos.get(`${datasets ?? ""}${name}`);
    if (!repo) return error(401, "RepoNotFound");
    const [revision, ...path] = rest.split("/").map(decodeURIComponent);
    const commit = repo.refs.get(revision) ?? (repo.commits.has(revision) ? revision : undefined);
    if (commit === undefined) return error(404, "RevisionNotFound");
    const files = repo.commits.get(commit)!;
    if (api && what === "revision") {
      return Response.json({
        _id: "1",
        id: name,
        sha: commit,
        lastModified: "2024-01-01T00:00:00Z",
      });
    }
    if (api && what === "tree") return this.#list(request, files);
    const bytes = files.get(path.join("/"));
    if (!bytes) return error(404, "EntryNotFound");
    const marks = { "x-repo-commit": commit, "etag": `"${blobHash(bytes)}"` };
    if (bytes.length < LARGE) return marked(send(bytes, asked.range), marks);
    const location = `${this.largeUrl}/${datasets ?? ""}${name}/${commit}/${path.join("/")}`;
    const linked = { "x-linked-etag": marks.etag, "x-linked-size": String(bytes.length) };
    return new Response(null, { status: 302, headers: { location, ...marks, ...linked } });
  }

  #list(request: Request, files: Map<string, Uint8Array>): Response {
    const url = new URL(request.url);
    const start = Number(url.searchParams.get("cursor") ?? 0);
    const all = [...files].map(([path, bytes]) => {
      const { size = bytes.length, hash = blobHash(bytes) } = this.lies.get(path) ?? {};
      const large = bytes.length >= LARGE;
      const oid = large ? commitOf(path) : hash;
      return {
        type: "file",
        path,
        size,
        oid,
        ...(large && { lfs: { oid: hash, size, pointerSize: 134 } }),
      };
    });
    const folders = new Set(
      all.flatMap(({ path }) => path.includes("/") ? [path.split("/")[0]] : []),
    );
    const items = [
      ...Array.from(folders, (path) => ({ type: "directory", path, size: 0, oid: commitOf(path) })),
      ...all,
    ];
    url.searchParams.set("cursor", String(start + this.pageSize));
    const more = start + this.pageSize < items.length;
    return Response.json(items.slice(start, start + this.pageSize), {
      headers: more ? { link: `<${url.href}>; rel="next"` } : {},
    });
  }

  #file({ path, range }: Asked): Response {
    const [, name, commit, file] = /^\/((?:datasets\/)?[^/]+\/[^/]+)\/([0-9a-f]{40})\/(.+)$/.exec(
      path,
    )!;
    return send(this.#repos.get(name)!.commits.get(commit)!.get(file)!, range);
  }
}

/** With what the hub says of a file beside its bytes, which Python's library insists on. */
function marked(response: Response, headers: Record<string, string>): Response {
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
}

/** An error as the hub puts it. */
export function error(
  status: number,
  code: string,
  headers: Record<string, string> = {},
): Response {
  return Response.json({ error: code }, { status, headers: { "x-error-code": code, ...headers } });
}

/** Bytes, or the range of them that was asked for; with `cut`, the connection breaks after so many. */
export function send(bytes: Uint8Array, range: string | null, cut?: number): Response {
  const start = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
  const body = bytes.subarray(start);
  const headers = {
    "content-length": String(body.length),
    ...(range !== null &&
      { "content-range": `bytes ${start}-${bytes.length - 1}/${bytes.length}` }),
  };
  const status = range === null ? 200 : 206;
  if (cut === undefined) return new Response(body as Uint8Array<ArrayBuffer>, { status, headers });
  let sent = false;
  const broken = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (!sent) controller.enqueue(body.subarray(0, cut));
      else {
        await new Promise((done) => setTimeout(done, 50)); // so that what was sent arrives
        controller.close(); // too soon: the connection ends without the rest
      }
      sent = true;
    },
  });
  return new Response(broken, { status, headers });
}
