/** Launchers of `shaders/decode.wgsl`: one more token of each of B sequences. @module */
import text from "../../shaders/decode.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { vectorWidth, withCommon } from "./common.ts";
import { pieceOf, type TablePiece } from "./embedding.ts";

const op = "decode";
const page = withCommon(text);

/** Threads share nothing here. */
const ALONE = { LANES: 1, GROUPS: 1 };

/** out[b] = wte[tokens[b, last]] + wpe[last] of each sequence's last token: tokens (B, S), out (B, C). */
export function decodeEmbed(
  plan: Plan,
  { wte, ...tensors }: Record<"tokens" | "cursors" | "wte" | "wpe" | "out", Tensor>,
  { B, S, C, pieces }: { B: number; S: number; C: number; pieces: TablePiece[] },
): Dispatch[] {
  return pieces.map((piece) =>
    plan.call({ op, page, entry: "embed", constants: { VEC: 1, ...ALONE } }, {
      tensors: { ...tensors, wte: pieceOf(wte, piece, C) },
      params: { B, S, C, ...piece },
      grid: flatGrid(B * C, 64),
    })
  );
}

/** Sizes of one layer's cache: NH counts the heads that are computed, S the places of a sequence. */
export interface CacheShape {
  B: number;
  S: number;
  NH: number;
  HS: number;
}

/**
 * Keys and values of a layer into its cache (B, S, 2A): of the first T places of every sequence, from
 * qkv (B, T, 3A); where cursors are given, of each sequence's last token, from qkv (B, 3A).
 */
export function cacheStore(
  plan: Plan,
  { cursors, ...tensors }: { qkv: Tensor; cache: Tensor; cursors?: Tensor },
  { B, S, NH, HS, T }: CacheShape & { T: number },
): Dispatch {
  const VEC = vectorWidth(HS), A = NH * HS / VEC;
  const constants = { VEC, ...ALONE, LAST: cursors ? 1 : 0 };
  return plan.call({ op, page, entry: "store", constants }, {
    tensors: { ...tensors, ...(cursors && { cursors }) },
    params: { B, T, S, A },
    grid: flatGrid(B * T * 2 * A, 64),
  });
}

/**
 * zg = gate z of each sequence's last token: qkv (B, 3A), zg (B, A), and the cache as it now is;
 * `scores` (B, NH, S) is scratch.
 */
export function cacheAttend(
  plan: Plan,
  { qkv, gates, zg, ...both }: Record<
    "qkv" | "cache" | "cursors" | "gates" | "scores" | "zg",
    Tensor
  >,
  { B, S, NH, HS, head0 }: CacheShape & { head0: number },
): Dispatch[] {
  const VEC = vectorWidth(HS), HV = HS / VEC;
  const constants = { VEC, ...ALONE };
  return [
    plan.call({ op, page, entry: "score", constants }, {
      tensors: { ...both, qkv },
      params: { B, S, NH, HV, scale: 1 / Math.sqrt(HS) },
      grid: flatGrid(B * NH * S, 64),
    }),
    plan.call({ op, page, entry: "blend", constants }, {
      tensors: { ...both, gates, zg },
      params: { B, S, NH, HV, head0 },
      grid: flatGrid(B * NH * HV, 64),
    }),
  ];
}
