/** Records of the wrong kind: a page without holes, or a refusal that names file and line. */
import assert from "node:assert/strict";
import { isInputError, preparing } from "../src/errors.ts";
import { Random } from "../src/random.ts";
import { type Page, pageHtml } from "../src/report/document.ts";
import { drawComparison, drawSweep } from "../src/report/comparison.ts";
import { drawReport } from "../src/report/write.ts";
import { syntheticIntegration } from "./integration_fixture.ts";
import { bare, HOLES } from "./page_checks.ts";
import { recordFiles, withFiles } from "./record_files.ts";
import { syntheticRun } from "./report_fixture.ts";

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** What a field may be changed to; `undefined` removes it. */
const WRONG: (Json | undefined)[] = [
  ...[undefined, null, true, "", "x", [], {}, [null], { x: null }, [[]], [{}]],
  ...[-1, 0, 0.5, 1, 7, 1e9, 1e18, 1e-300, 1e99, 1e308, -1e308],
];

/** Every field's path, lists by their first, second and last entry. */
function* paths(value: Json): Generator<(string | number)[]> {
  yield [];
  if (typeof value !== "object" || value === null) return;
  const keys = Array.isArray(value)
    ? [...new Set([0, 1, value.length - 1])].filter((i) => i in value)
    : Object.keys(value);
  for (const key of keys) {
    for (const rest of paths((value as Record<string | number, Json>)[key])) yield [key, ...rest];
  }
}

/** A copy with one field changed. */
function changed(value: Json, [key, ...rest]: (string | number)[], to?: Json): Json | undefined {
  if (key === undefined) return to;
  const copy = structuredClone(value) as Record<string | number, Json>;
  const inner = changed(copy[key], rest, to);
  if (inner === undefined) delete copy[key];
  else copy[key] = inner;
  return Array.isArray(copy) ? copy.filter(() => true) : copy;
}

/** Every file with one field changed, and what was changed. */
function* damages(files: Record<string, string>): Generator<[name: string, text: string]> {
  for (const [name, whole] of Object.entries(files)) {
    if (name.endsWith(".csv")) {
      const rows = whole.trimEnd().split("\n").map((line) => line.split(","));
      const cells = [...WRONG.map((wrong) => JSON.stringify(wrong) ?? ""), "NaN", " ", "Infinity"];
      for (const row of [0, 1, 2, rows.length - 1]) {
        for (const column of rows[row].keys()) {
          for (const wrong of cells) {
            const copy = rows.with(row, rows[row].with(column, wrong));
            yield [name, copy.map((line) => line.join(",") + "\n").join("")];
          }
        }
      }
      continue;
    }
    const lines = name.endsWith(".jsonl") ? whole.trimEnd().split("\n") : [whole];
    const kinds = new Set<string>();
    for (const [i, line] of lines.entries()) {
      const value: Json = JSON.parse(line);
      // One line of each kind, and the last.
      const kind = JSON.stringify([...paths(value)]) + (value as { event?: string }).event;
      if (kinds.has(kind) && i < lines.length - 1) continue;
      kinds.add(kind);
      for (const path of paths(value)) {
        for (const wrong of WRONG) {
          const text = JSON.stringify(changed(value, path, wrong)) ?? "";
          yield [name, [...lines.slice(0, i), text, ...lines.slice(i + 1)].join("\n") + "\n"];
        }
      }
    }
  }
}

/** Draws a page: it has no holes, or the refusal names a file and a line. @returns Which it was. */
async function assertSound(dir: string, draw: () => Promise<Page>): Promise<"page" | "refusal"> {
  let html: string;
  try {
    html = pageHtml(await preparing(draw));
  } catch (error) {
    assert.ok(isInputError(error), `not called the input's fault: ${(error as Error).stack}`);
    const { message } = error as Error;
    const named = /^(Cannot parse )?(.*\.(?:jsonl|json|csv))\b(.*)$/s.exec(message);
    assert.ok(named && named[2].startsWith(dir), message);
    assert.match(named[3], / line \d+\b|Unexpected end of JSON input/, message);
    assert.doesNotMatch(message, /undefined|\[object/);
    return "refusal";
  }
  const hole = HOLES.exec(bare(html));
  assert.equal(hole && bare(html).slice(hole.index - 200, hole.index + 60), null);
  return "page";
}

const SMALL = {
  experiment: syntheticRun({ L: 2, NH: 3, cycles: 2, warmup: 12, finetuning: 8, every: 4 }),
  integration: syntheticIntegration({ L: 2, NH: 6, rounds: 1 }),
};

/** So many of all damages; all of them with POLLARD_DAMAGES=all, which takes ten minutes. */
const MOST = Deno.env.get("POLLARD_DAMAGES") === "all" ? Infinity : 300;

for (const [kind, run] of Object.entries(SMALL)) {
  Deno.test(`damaged records of an ${kind}: a page without holes, or a refusal`, async () => {
    const files = recordFiles(run);
    const all = new Random(7).shuffle([...damages(files)]).slice(0, MOST);
    const found = { page: 0, refusal: 0 };
    const faults: string[] = [];
    await withFiles(files, async (dir, put) => {
      for (const [name, text] of all) {
        await put(name, text);
        try {
          const what = await assertSound(dir, () => drawReport(dir));
          found[what]++;
          if (what === "page") await assertSound(dir, () => drawComparison([dir], dir));
        } catch (error) {
          const at = [...text].findIndex((letter, i) => letter !== files[name][i]);
          faults.push(`${name}: ${text.slice(Math.max(0, at - 60), at + 60)}\n${error}`);
        }
        await put(name, files[name]);
      }
    });
    assert.deepEqual(faults, []);
    assert.ok(found.page > 20 && found.refusal > 20, JSON.stringify(found));
  });
}

Deno.test("a sweep's damaged plan: a page without holes, or a refusal", async () => {
  const plan = (runs: object[]) => JSON.stringify({ format: 2, created: "", options: {}, runs });
  const run = { strategy: "random", pruning_level: 0.3, seed: 1, state: "failed", message: "why" };
  const files = { "sweep.json": plan([run, { ...run, state: "finished", folder: "run" }]) };
  const inside = Object.entries(recordFiles(SMALL.experiment))
    .map(([name, text]) => [`run/${name}`, text]);
  const found = { page: 0, refusal: 0 };
  await withFiles({ ...files, ...Object.fromEntries(inside) }, async (dir, put) => {
    for (const [name, text] of new Random(7).shuffle([...damages(files)]).slice(0, MOST)) {
      await put(name, text);
      found[await assertSound(dir, () => drawSweep(dir))]++;
    }
  });
  assert.ok(found.page > 20 && found.refusal > 20, JSON.stringify(found));
});
