/**
 * What was exported, in lines for the terminal.
 *
 * @module
 */
import { columns } from "./columns.ts";
import type { Exported, ModelSize } from "../src/experiment/export_model.ts";

/** The heads that are left, and the sizes of what was read and of what was written. */
export function exportedLines(
  { from, to, active_heads, total_heads, card }: Exported,
): string[] {
  const row = (what: string, { form, parameters, bytes }: ModelSize) => [
    what,
    form,
    `${parameters.toLocaleString("en-US")} parameters`,
    `${(bytes / 1e6).toLocaleString("en-US", { maximumFractionDigits: 3 })} MB`,
  ];
  const rows = columns([row("read", from), row("wrote", to)]);
  return [
    `${active_heads} of ${total_heads} heads are left`,
    `${rows[0]}  ${from.path}`,
    `${rows[1]}  ${to.path}`,
    ...(card ? [] : ["no model card of Pollard's was there to go with it"]),
  ];
}
