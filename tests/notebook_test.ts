/** The notebook as it is committed: its cells type-check, its outputs are whole and name no machine. */
import assert from "node:assert/strict";
import { join } from "node:path";

interface Cell {
  id: string;
  cell_type: "code" | "markdown";
  source: string | string[];
  metadata: Record<string, unknown>;
  outputs?: { output_type: string; data?: Record<string, unknown> }[];
}

const root = new URL("../", import.meta.url);
const file = new URL("notebooks/neural_plasticity_demo.ipynb", root);
const text = await Deno.readTextFile(file);
const notebook = JSON.parse(text) as {
  cells: Cell[];
  metadata: { kernelspec: { name: string } };
  nbformat: number;
  nbformat_minor: number;
};
const code = notebook.cells.filter(({ cell_type }) => cell_type === "code");
const sourceOf = ({ source }: Cell) => [source].flat().join("");

Deno.test("the notebook is one of Deno's kernel, in a format that has cell ids", () => {
  assert.equal(notebook.metadata.kernelspec.name, "deno");
  assert.deepEqual([notebook.nbformat, notebook.nbformat_minor], [4, 5]);
  const ids = notebook.cells.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length);
  for (const id of ids) assert.match(id, /^[a-z-]{1,64}$/);
  for (const { metadata, id } of notebook.cells) assert.deepEqual(metadata, {}, id);
});

Deno.test("its outputs are those of a run that went through, and small", () => {
  assert.ok(text.length < 1.5e6);
  const kinds = code.flatMap(({ outputs }) => outputs!).map(({ output_type }) => output_type);
  assert.ok(kinds.includes("stream") && kinds.includes("execute_result"));
  assert.ok(!kinds.includes("error"));
  const figures = code.flatMap(({ outputs, id }) =>
    outputs!.some(({ data }) => data?.["image/svg+xml"]) ? [id] : []
  );
  assert.deepEqual(figures, ["warmup", "analysis"]);
  assert.doesNotMatch(text, /\bNaN\b|file:\/\/|\/(home|root|tmp|Users)\//);
});

Deno.test("its cells, one after the other, are a program without errors of type", async () => {
  const dir = await Deno.makeTempDir({ prefix: "pollard-test-" });
  try {
    const program = code.map(sourceOf).join("\n;\n");
    assert.ok(program.includes('from "../mod.ts"'));
    const path = join(dir, "cells.ts");
    const options = join(dir, "deno.json");
    await Deno.writeTextFile(path, program.replace("../mod.ts", new URL("mod.ts", root).href));
    await Deno.writeTextFile(
      options,
      JSON.stringify({
        compilerOptions: { strict: true, lib: ["deno.window", "deno.unstable", "dom"] },
      }),
    );
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--config", options, "--no-lock", path],
      env: { NO_COLOR: "1" },
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});
