/**
 * Draws the report of a run folder again: `deno task report RUN_DIR`.
 *
 * @module
 */

import { writeReport } from "../src/report/write.ts";

const USAGE = `Usage: deno task report RUN_DIR

Draws RUN_DIR/report.html and RUN_DIR/figures/*.svg from the records in RUN_DIR.`;

if (import.meta.main) {
  const [dir, ...rest] = Deno.args;
  if (dir === "--help" || dir === "-h") {
    console.log(USAGE);
  } else if (dir === undefined || dir.startsWith("-") || rest.length > 0) {
    console.error(USAGE);
    Deno.exit(2);
  } else {
    try {
      console.log(await writeReport(dir));
    } catch (error) {
      console.error(`${(error as Error).name}: ${(error as Error).message}`);
      Deno.exit(2);
    }
  }
}
