/** The files of a run folder that a report is drawn from, as a run would have written them. */
import { dirname, join } from "node:path";
import {
  headCsvHeader,
  headCsvLine,
  type IntegrationRecord,
  RUN_MARK,
  type RunRecord,
} from "../src/record.ts";
import { RUN_FILES } from "../src/report/read.ts";

/** The text of each file, by its name. */
export function recordFiles(run: RunRecord | IntegrationRecord): Record<string, string> {
  const lines = (rows: readonly unknown[]) =>
    rows.map((row) => JSON.stringify(row) + "\n").join("");
  const kind = "cycles" in run ? "integration" : "experiment";
  const files: Record<string, string> = {
    [RUN_MARK]: JSON.stringify({ format: 1, kind, ...run.about }, null, 2),
    [RUN_FILES.metrics]: lines(run.metrics),
    [RUN_FILES.events]: lines(run.events),
    [RUN_FILES.heads]: headCsvHeader() + run.heads.map(headCsvLine).join(""),
  };
  for (const name of ["config", "environment", "data", "results", "samples", "memory"] as const) {
    const value = (run as Partial<Record<typeof name, unknown>>)[name];
    if (value !== undefined) files[RUN_FILES[name]] = JSON.stringify(value, null, 2);
  }
  if ("cycles" in run) files[RUN_FILES.cycles] = lines(run.cycles);
  return files;
}

/** Writes texts into a new folder, and removes it at the end. */
export async function withFiles(
  files: Record<string, string>,
  work: (dir: string, put: (name: string, text: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "pollard-records-" });
  const put = async (name: string, text: string) => {
    await Deno.mkdir(dirname(join(dir, name)), { recursive: true });
    await Deno.writeTextFile(join(dir, name), text);
  };
  try {
    for (const [name, text] of Object.entries(files)) await put(name, text);
    await work(dir, put);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}
