/**
 * How fast and how large Pollard is on this machine, alone or beside other libraries:
 * `deno task bench`.
 *
 * @module
 */
import { join } from "node:path";
import denoJson from "../deno.json" with { type: "json" };
import {
  newCommand,
  parseCommand,
  preparing,
  printJson,
  refuse,
  runMain,
  textOption,
  wholeOption,
} from "../scripts/cli.ts";
import { readEnv } from "../scripts/env.ts";
import { checkChoice } from "../src/ranges.ts";
import { MODEL_PARTS, type ModelPart, type ModelResult } from "./model.ts";
import { compare, type Comparison, type PeerPart, runPeers } from "./peers.ts";
import { describe, type Facts, type Report } from "./print.ts";
import { SIZE_NAMES, type SizeName } from "./task.ts";
import { type JobResult, runJob } from "./worker.ts";

const PARTS = [...MODEL_PARTS, "matmul"] as const;
type Part = (typeof PARTS)[number];

/** What the command line asks for. */
interface BenchOptions {
  sizes: readonly SizeName[];
  parts: readonly Part[];
  repeats: number;
  peers?: string;
  signal: AbortSignal;
}

const AFTER = `Each size is measured in a process of its own. Its first loss is checked against the
one that other libraries give, and nothing is timed if it is wrong.

  train    a step of forward, backward and AdamW; the first one, which compiles; the host's share
  forward  a forward pass to the loss
  memory   bytes on the GPU against 16 a parameter and the activations, line by line
  profile  share of the step by op
  matmul   GFLOP/s of two matrix products

With --peers DIR, DIR/run.sh [SIZE ...] -- [train forward matmul] runs between two measurements of
ours and prints a line of JSON for each library. PYTHON names the Python that has PyTorch.

Examples:
  deno task bench
  deno task bench --size S --only train,memory --json
  MESA_SHADER_CACHE_DISABLE=true deno task bench --only train,matmul --peers path/to/peers`;

/** Reads names with commas or spaces between; options given again add to what was given before. */
function listOption<const C extends string>(name: string, choices: readonly C[]) {
  return (text: string, before: readonly C[] | undefined): readonly C[] => {
    const given = text.split(",").map((word) => checkChoice(name, word.trim(), choices));
    return [...new Set([...before ?? [], ...given])];
  };
}

/** Names of one list that are in another, too. */
function among<C extends string>(names: readonly string[], choices: readonly C[]): C[] {
  return choices.filter((choice) => names.includes(choice));
}

const say = (line: string) => console.error(line);

/** Measures everything asked for. */
async function bench(options: BenchOptions): Promise<Report> {
  const { sizes, parts, repeats, peers, signal } = options;
  const load_before = loadAverage();
  const matmul = parts.includes("matmul");
  say("measuring the device ...");
  const { adapter, software, ...device } = await runJob(
    { job: "device", matmul, repeats },
    signal,
  );
  const comparisons: Comparison[] = [];
  if (peers && matmul) {
    say("matmul of the peers ...");
    const rows = await runPeers(peers, { sizes: [], parts: ["matmul"], signal });
    const again = await runJob({ job: "device", matmul, repeats }, signal);
    device.matmul!.forEach(({ M, K, N, awaited_ms }, i) => {
      const ours_ms = [awaited_ms.median, again.matmul![i].awaited_ms.median];
      const size = `${M}x${K}x${N}`;
      comparisons.push(compare({ what: "matmul", size, ours_ms }, rows, adapter));
    });
  }

  const measured: ModelResult[] = [];
  const modelParts = among(parts, MODEL_PARTS);
  for (const size of modelParts.length > 0 ? sizes : []) {
    const run = async (some: readonly ModelPart[]) => {
      say(`measuring size ${size}: ${some.join(", ")} ...`);
      return await runJob({ job: "model", size, parts: some, repeats }, signal);
    };
    const { adapter: _, software: __, ...result } = await run(modelParts);
    measured.push(result);
    const shared = among(parts, ["train", "forward"] as const);
    if (!peers || shared.length === 0) continue;
    say(`size ${size} of the peers ...`);
    const rows = await runPeers(peers, { sizes: [size], parts: shared, signal });
    const results = [result, await run(shared)];
    for (const what of shared) comparisons.push(compare(oursOf(what, results), rows, adapter));
  }

  const facts = factsOf({ adapter, software }, repeats);
  const load = { load_before, load_after: loadAverage() };
  return { ...facts, ...load, device, sizes: measured, ...(peers && { comparisons }) };
}

/** Our numbers that compare with the peers'. */
function oursOf(what: Exclude<PeerPart, "matmul">, results: readonly ModelResult[]) {
  const [{ size }] = results;
  if (what === "forward") {
    return { what, size, ours_ms: results.map(({ forward_ms }) => forward_ms!.median) };
  }
  return {
    what,
    size,
    ours_ms: results.map(({ train }) => train!.step_ms.median),
    ours_first_ms: results.map(({ train }) => train!.first_step_ms),
  };
}

function factsOf(
  { adapter, software }: Pick<JobResult<"device">, "adapter" | "software">,
  repeats: number,
): Facts {
  const asked = readEnv("VK_DRIVER_FILES") ?? readEnv("VK_ICD_FILENAMES");
  const disabled = /^(1|true|yes|y)$/i.test(readEnv("MESA_SHADER_CACHE_DISABLE") ?? "");
  return {
    pollard: denoJson.version,
    deno: Deno.version.deno,
    os: `${Deno.build.os} ${Deno.build.arch}`,
    cpu_threads: navigator.hardwareConcurrency,
    adapter,
    software,
    shader_cache: disabled ? "off" : "on",
    ...(asked && { vulkan_drivers_asked: asked }),
    repeats,
  };
}

function loadAverage(): number | undefined {
  return Deno.build.os === "windows" ? undefined : Deno.loadavg()[0];
}

/** Sees that the peers are there before anything is measured. */
function checkPeers(folder: string): void {
  const script = join(folder, "run.sh");
  try {
    if (Deno.statSync(script).isFile) return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  refuse(`The folder of the peers has no run.sh: ${folder}`);
}

if (import.meta.main) {
  await runMain(async (signal) => {
    const { size = SIZE_NAMES, only = PARTS, repeats, peers, json } = parseCommand(
      newCommand({
        name: "deno task bench",
        description: "Measures training, forward pass, matrix products and memory.",
        after: AFTER,
      })
        .option("--size <names...>", `sizes: ${SIZE_NAMES}`, listOption("size", SIZE_NAMES))
        .option("--only <parts...>", `parts: ${PARTS}`, listOption("only", PARTS))
        .option(
          "--repeats <number>",
          "timings of each thing",
          wholeOption("repeats", { min: 1, max: 1000 }),
          8,
        )
        .option("--peers <folder>", "run these libraries between ours", textOption("peers"))
        .option("--json", "print one JSON line"),
    );
    if (peers !== undefined) {
      preparing(() => checkPeers(peers));
      if (!readEnv("PYTHON")) say("PyTorch is left out: PYTHON does not name a Python that has it");
    }
    const report = await bench({ sizes: size, parts: only, repeats, peers, signal });
    if (json) printJson(report);
    else console.log(describe(report));
  });
}
