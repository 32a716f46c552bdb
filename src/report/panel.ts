/**
 * The heads panel: every head at a moment, a scrubber through the moments, and the history of the head
 * that is picked. What is in the page before its script runs is the last moment, and stays true
 * without it.
 *
 * @module
 */

import SCRIPT from "./client/heads.js" with { type: "text" };
import { colourRamp } from "./colours.ts";
import { Html, markup } from "./html.ts";
import {
  type HeadState,
  type HeadStory,
  headStory,
  metricRange,
  momentName,
  STORY_METRICS,
  type StoryMetric,
  type StoryRecords,
} from "./story.ts";
import { measured, plural } from "./theme.ts";

/** What the panel needs to be alive: for {@linkcode Page.scripts}. */
export const PANEL_SCRIPT: string = SCRIPT;

/** A letter for each state, as the script knows it. */
const LETTERS: Record<HeadState, string> = { live: "l", pruned: "p", regrown: "r" };

/** The panel of a run; nothing where no head was measured. */
export function headsPanel(records: StoryRecords): Html | undefined {
  const story = headStory(records);
  if (story === undefined) return undefined;
  const metrics = (Object.keys(STORY_METRICS) as StoryMetric[])
    .filter((name) => metricRange(story, name) !== undefined);
  const last = story.moments.length - 1;
  const choices = metrics.map((name) =>
    markup`<option value="${name}">${STORY_METRICS[name].label}</option>`
  );
  return markup`<div class="heads-panel">
<div class="controls" hidden>
<label class="scrub">Moment <input type="range" min="0" max="${last}" value="${last}" step="1"></label>
<button type="button" class="play">Play</button>
<label>Show <select><option value="state">state</option>${choices}</select></label>
</div>
<p class="moment"><output>${momentName(story.moments[last])}</output>: <span class="sum">${
    sum(story)
  }</span></p>
<div class="pair">
<div>
${grid(story)}
<p class="legend">A dash and a number: pruned in that cycle.${
    story.events.flat().some(({ event }) => event === "grow")
      ? " A plus and a number: grown back in it."
      : ""
  }
<span class="ramp" hidden></span></p>
</div>
<div class="history">
<div class="picked" aria-live="polite"><p class="quiet" hidden>Pick a head, by click or with the
arrow keys and Enter, and its history stands here.</p></div>
<div class="measured wide" tabindex="0" role="group" aria-label="Measurements of this head" hidden></div>
</div>
</div>
<script type="application/json">${new Html(json(panelData(story, metrics)))}</script>
</div>
`;
}

function sum({ moments }: HeadStory): string {
  const { states } = moments[moments.length - 1];
  const of = (state: HeadState) => states.filter((one) => one === state).length;
  return `${plural(of("live") + of("regrown"), "head")} live` +
    (of("regrown") > 0 ? `, ${of("regrown")} of them grown back` : "") + `, ${of("pruned")} pruned`;
}

/** Every head as it stands at the end. */
function grid(story: HeadStory): Html {
  const { L, NH, moments, events } = story;
  const { states } = moments[moments.length - 1];
  const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
  const cell = (layer: number, head: number) => {
    const i = layer * NH + head, state = states[i];
    const mark = markOf(state, events[i].findLast(({ undone }) => !undone)?.cycle);
    const words = `layer ${layer}, head ${head}: ${state === "regrown" ? "grown back" : state}`;
    return markup`<td><button type="button" class="${state}" tabindex="-1" aria-label="${words}">${mark}</button></td>`;
  };
  const heads = upTo(NH).map((head) => markup`<th scope="col">${head}</th>`);
  return markup`<div class="wide"><table class="heads">
<caption>Every head: layers down, heads across</caption>
<thead><tr><td></td>${heads}</tr></thead>
<tbody>${
    upTo(L).map((layer) =>
      markup`<tr><th scope="row">${layer}</th>${upTo(NH).map((head) => cell(layer, head))}</tr>\n`
    )
  }</tbody></table></div>`;
}

/** What stands on a head that something happened to. */
function markOf(state: HeadState, cycle: number | undefined): string {
  return state === "live" ? "" : `${state === "pruned" ? "−" : "+"}${cycle ?? ""}`;
}

/** What the script is told. */
function panelData(story: HeadStory, metrics: readonly StoryMetric[]) {
  const { L, NH, moments, events } = story;
  return {
    L,
    NH,
    ramp: colourRamp(33),
    metrics: metrics.map((name) => {
      const { label, unit, log } = STORY_METRICS[name];
      const [low, high] = name === "entropy" ? [0, 1] : metricRange(story, name)!;
      return { name, label, unit, log, low, high };
    }),
    moments: moments.map((moment) => ({
      name: momentName(moment),
      step: moment.step,
      cycle: moment.cycle,
      when: moment.when,
      states: moment.states.map((state) => LETTERS[state]).join(""),
      values: Object.fromEntries(metrics.flatMap((name) => {
        const list = moment.values[name];
        return list ? [[name, list.map((value) => measured(value) ? digits(value) : null)]] : [];
      })),
    })),
    events: Object.fromEntries(
      events.flatMap((list, i) => list.length > 0 ? [[i, list]] : []),
    ),
  };
}

function digits(value: number): number {
  return Number(value.toPrecision(4));
}

/** JSON that may stand inside an element: text of a run must not end it. */
function json(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}
