/**
 * The runs of a sweep as a Slurm array.
 *
 * @module
 */
import { basename } from "node:path";
import { shellQuote } from "../src/shell.ts";

/** Seconds before a job's time limit at which its run is told to save. */
const NOTICE_S = 120;

/**
 * A script for `sbatch`: one index of the array for each run, in the order of the plan.
 *
 * Slurm tells the script, and only that (`B:`), that the time limit is near: the run saves, and the job is
 * queued again. What Slurm takes away (a preempted, cancelled or requeued job) gets SIGTERM and saves, too;
 * whether it is queued again, Slurm decides then.
 *
 * @param lines Commands as `planLines` writes them.
 * @param dir The sweep's folder. @param logs An existing folder in it, for what the runs say.
 * @throws {TypeError} If Slurm cannot take the path of the logs.
 */
export function slurmScript(lines: readonly string[], dir: string, logs: string): string {
  if (/["\\]/.test(logs)) {
    throw new TypeError(
      `Slurm's --output takes no quote and no backslash, and this has one: ${logs}; name another ` +
        "folder by --output_dir",
    );
  }
  const name = basename(dir).replaceAll(/[^\w.-]+/g, "_");
  return `#!/bin/bash
# The runs of a sweep, one for each index. Give sbatch what your cluster wants beside it, for example
#   sbatch --time=8:00:00 --gres=gpu:1 THIS_FILE
# At most four at once: --array=1-${lines.length}%4. Submit it again to continue what has not finished.
#SBATCH --job-name=pollard-${name}
#SBATCH --array=1-${lines.length}
#SBATCH --output="${logs.replaceAll("%", "%%")}/%A_%a.log"
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@${NOTICE_S}

run= near_limit= told=
tell() { told=yes; [ -z "$run" ] || kill -TERM "$run" 2>/dev/null; }
trap 'near_limit=yes; tell' USR1
trap tell TERM
start() { "$@" & run=$!; }

case $SLURM_ARRAY_TASK_ID in
${lines.map((line, i) => `${i + 1}) start ${line} ;;`).join("\n")}
*) echo "This sweep has no run $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;
esac

while told=; wait "$run"; code=$?; [ -n "$told" ]; do :; done
# 143: the run was stopped by SIGTERM, and saved
if [ -n "$near_limit" ] && [ "$code" -eq 143 ]; then
  echo "The time limit is near: saved, and queued again"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
`;
}

/** The command that submits a script. */
export function submitCommand(path: string): string {
  return `sbatch ${shellQuote(path)}`;
}
