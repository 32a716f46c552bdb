/** Launchers of `shaders/embedding.wgsl`. @module */
import page from "../../shaders/embedding.wgsl" with { type: "text" };
import { type Dispatch, flatGrid, type Plan } from "../gpu/kernel.ts";
import { slice, type Tensor } from "../gpu/tensor.ts";

const op = "embedding";

/** Rows `[V0, V1)` of the token table: a piece small enough to bind. */
export interface TablePiece {
  V0: number;
  V1: number;
}

/**
 * Cuts a table of V rows into pieces that one binding can cover.
 *
 * @param maxBinding Bytes of the largest binding.
 */
export function tablePieces(V: number, C: number, maxBinding: number): TablePiece[] {
  // 64 rows are a multiple of any binding alignment, whatever C is
  const rows = Math.floor(maxBinding / (4 * C) / 64) * 64;
  if (rows === 0) {
    throw new RangeError(
      `64 rows of the token table have ${
        4 * 64 * C
      } bytes, and at most ${maxBinding} are bound at once`,
    );
  }
  const pieces: TablePiece[] = [];
  for (let V0 = 0; V0 < V; V0 += rows) pieces.push({ V0, V1: Math.min(V, V0 + rows) });
  return pieces;
}

/** The rows of `table` that a piece covers. */
export function pieceOf(table: Tensor, { V0, V1 }: TablePiece, C: number): Tensor {
  return slice(table, V0 * C, (V1 - V0) * C);
}

/** out[b, t] = wte[tokens[b, t]] + wpe[t]. */
export function embeddingForward(
  plan: Plan,
  { tokens, wte, wpe, out }: Record<"tokens" | "wte" | "wpe" | "out", Tensor>,
  { B, T, C, pieces }: { B: number; T: number; C: number; pieces: TablePiece[] },
): Dispatch[] {
  return pieces.map((piece) =>
    plan.call({ op, page, entry: "forward" }, {
      tensors: { tokens, wte: pieceOf(wte, piece, C), wpe, out },
      params: { rows: B * T, T, C, ...piece },
      grid: flatGrid(B * T * C, 64),
    })
  );
}

/**
 * dwte[token] += sum of the token's rows of dout; dwpe[t] += sum over b.
 *
 * `order` lists the B*T rows sorted by token, ties ascending.
 */
export function embeddingBackward(
  plan: Plan,
  { tokens, order, dout, dwte, dwpe }: Record<
    "tokens" | "order" | "dout" | "dwte" | "dwpe",
    Tensor
  >,
  { B, T, C, pieces }: { B: number; T: number; C: number; pieces: TablePiece[] },
): Dispatch[] {
  return [
    ...pieces.map((piece) =>
      plan.call({ op, page, entry: "backward_dwte" }, {
        tensors: { tokens, order, dout, dwte: pieceOf(dwte, piece, C) },
        params: { rows: B * T, C, ...piece },
        grid: flatGrid(B * T * C, 64),
      })
    ),
    plan.call({ op, page, entry: "backward_dwpe" }, {
      tensors: { dout, dwpe },
      params: { B, T, C },
      grid: flatGrid(T * C, 64),
    }),
  ];
}
