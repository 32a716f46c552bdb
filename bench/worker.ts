/**
 * One job of the bench in a process of its own, so that the first step finds nothing compiled.
 * Takes a request as its argument, and answers with one line of JSON on stdout.
 *
 * @module
 */
import { preparing, printJson, refuse, runMain } from "../scripts/cli.ts";
import { Gpu } from "../src/gpu/device.ts";
import { tuneMatmul } from "../src/kernels/tune.ts";
import { type DeviceResult, measureDevice } from "./device.ts";
import { measureModel, type ModelRequest, type ModelResult } from "./model.ts";

/** What a job is to measure. */
export type JobRequest =
  | { job: "model" } & ModelRequest
  | { job: "device"; matmul: boolean; repeats: number };

/** What every job says of where it ran. */
export interface JobPlace {
  adapter: string;
  software: boolean;
}

/** The answer to a request of the kind `job`. */
export type JobResult<J extends JobRequest["job"]> =
  & JobPlace
  & (J extends "model" ? ModelResult : DeviceResult);

const INPUT_AT_FAULT = 2;

/**
 * Runs a job in a new process.
 *
 * @throws {Error} If it failed; it has said why on stderr. An input error where it was one there.
 */
export async function runJob<R extends JobRequest>(
  request: R,
  signal?: AbortSignal,
): Promise<JobResult<R["job"]>> {
  const args = ["run", "-A", import.meta.url, JSON.stringify(request)];
  const command = new Deno.Command(Deno.execPath(), {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
    ...(signal && { signal }),
  });
  const { success, code, stdout } = await command.output();
  signal?.throwIfAborted();
  if (!success) {
    const what = request.job === "model" ? `size ${request.size}` : "the device";
    const message = `Measuring ${what} failed with exit code ${code}: see above`;
    if (code === INPUT_AT_FAULT) refuse(message); // no adapter, for one
    throw new Error(message);
  }
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  return JSON.parse(lines[lines.length - 1]);
}

if (import.meta.main) {
  await runMain(async () => {
    const request: JobRequest = JSON.parse(Deno.args[0]);
    using gpu = await preparing(() => Gpu.open());
    const { name: adapter, software } = gpu.info;
    const schedules = await tuneMatmul(gpu);
    const result = request.job === "model"
      ? await measureModel(gpu, request)
      : { ...await measureDevice(gpu, request), schedules };
    printJson({ adapter, software, ...result });
  });
}
