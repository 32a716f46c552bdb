/**
 * Tables on a terminal.
 *
 * @module
 */

/** Rows with their columns aligned: the first to the left, the others to the right. */
export function columns(rows: readonly (readonly string[])[], indent = "  "): string[] {
  const count = Math.max(0, ...rows.map((cells) => cells.length));
  const widths = Array.from(
    { length: count },
    (_, i) => Math.max(...rows.map((cells) => cells[i]?.length ?? 0)),
  );
  return rows.map((cells) =>
    (indent + cells.map((cell, i) => i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i]))
      .join("  ")).trimEnd()
  );
}
