/**
 * Other libraries doing the same work: a folder whose `run.sh [SIZE ...] -- [WHAT ...]` prints one
 * line of JSON for each of them.
 *
 * @module
 */
import { dirname, join } from "node:path";
import { type SizeName, TASKS } from "./task.ts";

/** What peers can be asked for. */
export const PEER_PARTS = ["train", "forward", "matmul"] as const;
export type PeerPart = (typeof PEER_PARTS)[number];

/** One line of a peer. A number that it did not give is absent. */
export interface PeerRow {
  /** `jax-js-webgpu`, or the command where it failed before it could tell. */
  peer: string;
  /** S, M, or the product's sizes. */
  size?: string;
  what?: string;
  /** Why nothing of it counts. */
  failed?: string;
  /** Median, with a wait each time. */
  ms?: number;
  first_ms?: number;
  loss?: number;
  gflops?: number;
  /** Where it computed, if on WebGPU. */
  adapter?: string;
}

/** How far a peer's first loss may lie from the known one. */
const LOSS_TOLERANCE = 1e-3;

/** Largest error of a peer's product; f32 sums of 1,024 terms of size 0.1 stay far below it. */
const MATMUL_TOLERANCE = 1e-2;

/** Reads what `run.sh` printed; lines that are not JSON objects are none of ours. */
export function parsePeers(text: string): PeerRow[] {
  return text.split("\n").flatMap((line) => {
    if (!line.startsWith("{")) return [];
    try {
      return [readRow(JSON.parse(line))];
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return [{ peer: line.slice(0, 40), failed: "its line is not JSON" }];
    }
  });
}

function readRow(line: Record<string, unknown>): PeerRow {
  if (line.failed !== undefined) {
    return { ...readCommand(String(line.failed)), failed: "it ended without a result" };
  }
  const text = (key: string) => typeof line[key] === "string" ? line[key] as string : undefined;
  const number = (key: string) =>
    typeof line[key] === "number" && Number.isFinite(line[key]) ? line[key] as number : undefined;
  const adapter = text("adapter");
  const row: PeerRow = {
    peer: text("peer") ?? "unnamed",
    size: text("size"),
    what: text("what"),
    first_ms: number("firstMs"),
    loss: number("loss0"),
    adapter: adapter === "-" ? undefined : adapter,
  };
  const failed = verdict(row, number("ms"), number("maxErr"));
  return failed ? { ...row, failed } : { ...row, ms: number("ms"), gflops: number("gflops") };
}

/** Why a row does not count; nothing where it does. */
function verdict({ size, what, loss }: PeerRow, ms?: number, error?: number): string | undefined {
  if (ms === undefined || !(ms > 0)) return "it gave no time";
  if (what === "matmul") {
    return error !== undefined && error <= MATMUL_TOLERANCE
      ? undefined
      : `its product is wrong by ${error}`;
  }
  const known = TASKS[size as SizeName]?.loss1;
  if (known !== undefined && !(Math.abs(loss! - known) <= LOSS_TOLERANCE)) {
    return `its first loss is ${loss}, not ${known}`;
  }
}

/** Makes what can be made of a command that failed: `deno run -A jaxjs_step.ts S train webgpu n=5`. */
function readCommand(command: string): PeerRow {
  const words = command.split(" ");
  const at = words.findIndex((word) => /\.(ts|py)$/.test(word));
  if (at < 0) return { peer: command };
  const matmul = words[at].startsWith("matmul");
  const [size, ...rest] = words.slice(at + 1).filter((word) => !word.includes("="));
  const what = matmul ? "matmul" : rest.shift();
  return { peer: [words[at], ...rest].join(" "), size, what };
}

/**
 * Runs the peers. Their own messages are not shown: they are many.
 *
 * @throws {Error} If `run.sh` cannot be started.
 */
export async function runPeers(
  folder: string,
  { sizes, parts, signal }: {
    sizes: readonly SizeName[];
    parts: readonly PeerPart[];
    signal?: AbortSignal;
  },
): Promise<PeerRow[]> {
  // it looks for deno on the path, where the one that runs this need not be
  const PATH = [dirname(Deno.execPath()), Deno.env.get("PATH") ?? ""].join(
    Deno.build.os === "windows" ? ";" : ":",
  );
  const { stdout } = await new Deno.Command(join(folder, "run.sh"), {
    args: [...sizes, "--", ...parts],
    env: { PATH },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
    ...(signal && { signal }),
  }).output();
  signal?.throwIfAborted();
  return parsePeers(new TextDecoder().decode(stdout));
}

/** A peer's line beside ours. */
export interface ComparedRow extends PeerRow {
  /** Its time over the mean of ours. */
  ratio?: number;
}

/** Ours before and after the peers, and what they took in between. */
export interface Comparison {
  what: PeerPart;
  /** S, M, or the product's sizes. */
  size: string;
  /** Our median before and after, in milliseconds, with a wait each time as theirs. */
  ours_ms: number[];
  /** Our first step, where steps are compared. */
  ours_first_ms?: number[];
  peers: ComparedRow[];
  /** Time of the fastest peer on WebGPU over ours; absent where none gave a time on our adapter. */
  fastest_webgpu?: { peer: string; ratio: number };
}

/** Sets rows of one size beside ours. */
export function compare(
  ours: Pick<Comparison, "what" | "size" | "ours_ms" | "ours_first_ms">,
  rows: readonly PeerRow[],
  adapter: string,
): Comparison {
  const mean = ours.ours_ms.reduce((sum, ms) => sum + ms, 0) / ours.ours_ms.length;
  const peers = rows
    .filter((row) => row.what === ours.what && row.size === ours.size)
    .map((row): ComparedRow => row.ms === undefined ? row : { ...row, ratio: row.ms / mean });
  const best = peers
    .filter((row) => row.ratio !== undefined && row.peer.includes("webgpu"))
    .filter((row) => row.adapter === undefined || row.adapter === adapter)
    .sort((a, b) => a.ratio! - b.ratio!)[0];
  const fastest_webgpu = best && { peer: best.peer, ratio: best.ratio! };
  return { ...ours, peers, ...(fastest_webgpu && { fastest_webgpu }) };
}
