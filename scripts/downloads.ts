/**
 * Downloads from the hub, as a terminal shows them.
 *
 * @module
 */
import { type HubProgress, withHub } from "../src/data/hub.ts";
import { Progress, type ProgressOptions } from "./progress.ts";

const MB = 1e6;

/**
 * Runs a script whose downloads show how far they are, and say what the user should know.
 *
 * @param signal Stops them; what has come stays for the next time.
 * @param options Where it is shown; for tests.
 */
export async function showingDownloads<T>(
  signal: AbortSignal,
  action: () => Promise<T>,
  options: ProgressOptions = {},
): Promise<T> {
  using progress = new Progress(options);
  const onProgress = ({ path, done, total }: HubProgress) => {
    if (total < MB) return; // over before it could be read
    progress.update({
      phase: `downloading ${path}, MB`,
      step: Math.ceil(done / MB),
      total: Math.ceil(total / MB),
    });
    if (done === total) progress.stop(); // what follows has a line of its own
  };
  return await withHub(
    { signal, onProgress, onMessage: (line) => progress.log(line) },
    action,
  );
}
