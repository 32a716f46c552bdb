/** A Slurm of one node, for tests: its own daemons, in a folder of its own, for the user who runs them. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { until } from "./processes.ts";

/** Whether Slurm is installed; `POLLARD_SLURM=1` says that it must be. */
export function hasSlurm(): boolean {
  const needed = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol"];
  const missing = needed.filter((name) => !find(name));
  if (missing.length === 0) return true;
  if (Deno.env.get("POLLARD_SLURM") === "1") {
    throw new Error(`POLLARD_SLURM=1, and Slurm is not installed: no ${missing.join(", ")}`);
  }
  console.error(
    "\n*** NO SLURM: its test is skipped; apt install slurmctld slurmd slurm-client munge ***\n",
  );
  return false;
}

function find(name: string): string | undefined {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  return folders.map((dir) => join(dir, name)).find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

/** A cluster that runs until it is disposed. */
export class Cluster implements AsyncDisposable {
  readonly #dir: string;
  readonly #daemons: Deno.ChildProcess[] = [];

  private constructor(dir: string) {
    this.#dir = dir;
  }

  /** Starts it, and waits until its node is idle. */
  static async start(): Promise<Cluster> {
    const dir = await Deno.makeTempDir({ prefix: "pollard-slurm-" });
    const cluster = new Cluster(dir);
    try {
      await cluster.#begin();
      return cluster;
    } catch (error) {
      const logs = ["munge/log", "slurmctld.log", "slurmd.log"].map((name) =>
        Deno.readTextFile(join(dir, name)).catch(() => "")
      );
      console.error((await Promise.all(logs)).join("\n"));
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #begin(): Promise<void> {
    const path = (name: string) => join(this.#dir, name);
    for (const name of ["munge", "state", "spool"]) await Deno.mkdir(path(name), { mode: 0o700 });
    const key = crypto.getRandomValues(new Uint8Array(1024));
    await Deno.writeFile(path("munge/key"), key, { mode: 0o400 });
    await Deno.writeTextFile(path("slurm.conf"), await this.#configuration());
    const files = { "key-file": "key", socket: "socket", "pid-file": "pid", "log-file": "log" };
    const munge = Object.entries({ ...files, "seed-file": "seed" })
      .map(([option, name]) => `--${option}=${path(`munge/${name}`)}`);
    this.#daemon("munged", "--foreground", "--force", ...munge);
    await until("munge", () => Deno.stat(path("munge/socket")).then(() => true, () => false));
    this.#daemon("slurmctld", "-D", "-f", path("slurm.conf"));
    this.#daemon("slurmd", "-D", "-f", path("slurm.conf"));
    const idle = () => this.call("sinfo", "-h", "-o", "%T").then((text) => text === "idle");
    await until("an idle node", () => idle().catch(() => false));
  }

  async #configuration(): Promise<string> {
    const host = Deno.hostname().split(".")[0];
    const id = await new Deno.Command("id", { args: ["-un"] }).output();
    const user = new TextDecoder().decode(id.stdout).trim();
    const run = this.#dir;
    return Object.entries({
      ...{ ClusterName: "test", SlurmctldHost: `${host}(127.0.0.1)` },
      ...{ SlurmUser: user, SlurmdUser: user },
      ...{ SlurmctldPort: freePort(), SlurmdPort: freePort() },
      ...{ AuthType: "auth/munge", AuthInfo: `socket=${run}/munge/socket` },
      ...{ CredType: "cred/munge", StateSaveLocation: `${run}/state` },
      ...{ SlurmdSpoolDir: `${run}/spool`, SlurmctldPidFile: `${run}/slurmctld.pid` },
      ...{ SlurmdPidFile: `${run}/slurmd.pid`, SlurmctldLogFile: `${run}/slurmctld.log` },
      ...{ SlurmdLogFile: `${run}/slurmd.log`, ProctrackType: "proctrack/linuxproc" },
      ...{ TaskPlugin: "task/none", JobAcctGatherType: "jobacct_gather/none" },
      ...{ AccountingStorageType: "accounting_storage/none", SelectType: "select/cons_tres" },
      ...{ SelectTypeParameters: "CR_CPU", SchedulerType: "sched/backfill" },
      ...{ SchedulerParameters: "batch_sched_delay=0,sched_interval=2,bf_interval=2" },
      ...{ ReturnToService: 2, MpiDefault: "none", SwitchType: "switch/none" },
      NodeName: `${host} NodeAddr=127.0.0.1 CPUs=${Math.min(2, navigator.hardwareConcurrency)}`,
      PartitionName: "test Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
    }).map(([name, value]) => `${name}=${value}\n`).join("");
  }

  #daemon(name: string, ...args: string[]): void {
    const command = new Deno.Command(find(name)!, { args, stdout: "null", stderr: "null" });
    this.#daemons.push(command.spawn());
  }

  /** Calls one of Slurm's commands. @returns What it prints. */
  async call(name: string, ...args: string[]): Promise<string> {
    const env = { SLURM_CONF: join(this.#dir, "slurm.conf") };
    const { code, stdout, stderr } = await new Deno.Command(find(name)!, { args, env }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    assert.equal(code, 0, `${name} ${args.join(" ")}: ${text(stderr)}`);
    return text(stdout);
  }

  /** Ends the daemons, and removes their folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const daemon of this.#daemons.toReversed()) {
      try {
        daemon.kill("SIGTERM");
      } catch { /* it has ended */ }
      const late = setTimeout(() => daemon.kill("SIGKILL"), 5000);
      await daemon.status;
      clearTimeout(late);
    }
    await Deno.remove(this.#dir, { recursive: true });
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}
