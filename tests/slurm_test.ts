/** A sweep as a Slurm array, on a real Slurm of one node. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { slurmScript } from "../scripts/slurm.ts";
import { readSweep } from "../src/report/sweep_folder.ts";
import { runScript } from "./script.ts";
import { until } from "./processes.ts";
import { Cluster, hasSlurm } from "./slurm_cluster.ts";
import { outcome, states, tinyGrid } from "./sweep_outcome.ts";
import { makeTiny } from "./tiny.ts";

Deno.test("a path that Slurm cannot take is refused, and others are quoted", () => {
  assert.throws(() => slurmScript(["true"], "/a", '/a"b/logs'), /takes no quote and no backslash/);
  const script = slurmScript(["true"], "/my runs/it's 5%", "/my runs/it's 5%/logs");
  assert.match(script, /^#SBATCH --output="\/my runs\/it's 5%%\/logs\/%A_%a\.log"$/m);
  assert.match(script, /^#SBATCH --job-name=pollard-it_s_5_$/m);
});

Deno.test({
  name: "a Slurm array: requeued, and told of its time limit, each run continues to the same bits",
  ignore: !hasSlurm(),
  async fn() {
    const { dir, textFile, modelDir } = await makeTiny();
    const output = join(dir, "it's 5% of $HOME");
    const grid = tinyGrid({ modelDir, textFile, output, seeds: "1", steps: 80 });
    const script = join(dir, "sweep.sh");
    const made = await runScript("sweep", ...grid, "--slurm", script, "--json");
    assert.equal(made.code, 0, made.stderr);
    const { sweep } = JSON.parse(made.stdout);
    const { runs } = await readSweep(sweep);
    const begun = async (folder: string) => {
      const metrics = await Deno.readTextFile(join(sweep, folder, "metrics.jsonl")).catch(() => "");
      return metrics.includes('"step":20,');
    };

    await using cluster = await Cluster.start();
    const job = await cluster.call("sbatch", "--parsable", script);
    const log = (i: number) =>
      Deno.readTextFile(join(sweep, "logs", `${job}_${i}.log`)).catch(() => "");
    await until("both runs", async () => (await begun(runs[0].folder)) && begun(runs[1].folder));
    // As for a job that gives way to another, and as Slurm does before the time limit.
    await cluster.call("scontrol", "requeue", `${job}_1`);
    await cluster.call("scancel", "--batch", "--signal=USR1", `${job}_2`);
    await until("both saved", async () => (await states(sweep)).every((s) => s === "stopped"));
    for (const i of [1, 2]) {
      await until("the queue", async () => {
        return (await cluster.call("squeue", "-h", "-t", "PD", "-j", `${job}_${i}`)) !== "";
      });
    }
    // Slurm makes a requeued job wait two minutes, because its node must not take it for the one that has
    // just ended; it tells them apart by the second.
    await new Promise((resolve) => setTimeout(resolve, 4000));
    for (const i of [1, 2]) {
      await cluster.call("scontrol", "update", `jobid=${job}_${i}`, "StartTime=now");
    }
    await until("both ends", async () => (await states(sweep)).every((s) => s === "finished"));
    assert.match(await log(1), /Stopping; it was asked to end/);
    assert.match(await log(2), /The time limit is near: saved, and queued again/);
    for (const { folder } of runs) {
      const events = await Deno.readTextFile(join(sweep, folder, "events.jsonl"));
      assert.match(events, /"event":"resume"/, folder);
    }
    await until("an empty queue", async () => (await cluster.call("squeue", "-h")) === "");

    const plain = await runScript("sweep", ...grid, "--json");
    assert.equal(plain.code, 0, plain.stderr);
    assert.deepEqual(await outcome(sweep), await outcome(JSON.parse(plain.stdout).sweep));
  },
});
