/**
 * What an integrated run says of itself.
 *
 * @module
 */
import type { IntegrationResults } from "../record.ts";
import { loss, percent, perplexity, plural, signed } from "./theme.ts";

/** How the best model did, its difference from the unpruned twin first. */
export function integrationVerdict(results: IntegrationResults): string {
  const { test_loss, unpruned_twin_loss: twin, random_pruning_loss: random } = results;
  const { active_heads, total_heads, best_cycle, cycles_completed, improvement } = results;
  const nats = (other: number, name: string) =>
    `${signed(test_loss - other)} nats per token from ${name}`;
  const against = [
    ...(twin === undefined ? [] : [nats(twin, `its unpruned twin (${loss(twin)})`)]),
    ...(random === undefined ? [] : [nats(random, `random pruning and growth (${loss(random)})`)]),
  ];
  const kept = results.cycle_metrics.filter(({ success }) => success).length;
  const alone =
    "\nNo unpruned twin was trained, so this does not tell pruning from further training.";
  return `With ${active_heads} of ${plural(total_heads, "head")} the best model’s test loss is ` +
    `${loss(test_loss)}${against.length > 0 ? `: ${against.join(", ")}` : ""}.` +
    `${twin === undefined ? alone : ""}\n` +
    `It is of ${
      best_cycle === 0 ? "the start: no cycle made a better one" : `cycle ${best_cycle}`
    }; ` +
    `${kept} of ${plural(cycles_completed, "cycle")} kept; validation perplexity ` +
    `${perplexity(results.baseline_perplexity)} -> ${perplexity(results.best_perplexity)} ` +
    `(${percent(Number(Math.abs(improvement).toFixed(4)))} ${
      improvement < 0 ? "higher" : "lower"
    }). ` +
    `Ended because ${results.stopped}.`;
}
