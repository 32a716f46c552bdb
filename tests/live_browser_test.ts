/** The live page in a browser, as someone sees it who looks at a run. */
import assert from "node:assert/strict";
import type { Page as Report } from "../src/report/document.ts";
import { type Html, markup } from "../src/report/html.ts";
import { section } from "../src/report/parts.ts";
import { LiveServer } from "../src/live/server.ts";
import { browserTest, withPage } from "./browser.ts";
import type { Page } from "./deps.ts";

const LIMITS = { leastMs: 20, times: 0 };

/** Hears what every script of a page may hear. */
const EARS = `globalThis.heard = [];
document.addEventListener("pollard:update", (event) => heard.push(event.detail.changed));`;

/** A run that changes: one section that stays, one with all a reader may have done something to. */
class Run {
  step = 0;
  sections: string[] = [];

  report(): Report {
    const { step } = this;
    const tall = markup`<div class="wide"><p>${"tall ".repeat(4000)}</p></div>`;
    return {
      ...{ title: `Run`, verdict: `Step ${step}`, standing: "made up", figures: [], names: [] },
      scripts: [EARS],
      body: [
        ...this.sections.map((name) => section(name, markup`<p>${name}</p>`)),
        section("Constant", tall),
        section("Changing", this.#changing()),
        section("Below", tall),
      ],
    };
  }

  #changing(): Html {
    return markup`<p id="value">${this.step}</p>
<details><summary>More</summary><p>${this.step}</p></details>
<details><summary>Even more</summary><p>${this.step}</p></details>
<button type="button">first</button><button type="button">second</button>
<div class="wide"><div id="broad">${this.step}</div></div>`;
  }
}

const read = (page: Page, selector: string) => page.locator(selector).first().innerText();

/** Waits until a function of the page says yes. */
async function until(page: Page, what: string, check: () => Promise<boolean>): Promise<void> {
  const late = performance.now() + 15_000;
  while (!await check()) {
    assert.ok(performance.now() < late, `${what}: ${await read(page, "#live")}`);
    await page.waitForTimeout(20);
  }
}

const shows = (page: Page, selector: string, text: string) =>
  until(
    page,
    `${selector} never was ${text}`,
    async () => (await read(page, selector)).replaceAll("\u00a0", " ").includes(text),
  );

browserTest(
  "progress moves, changed sections are put in, and the reader is left in peace",
  async () => {
    const run = new Run();
    await using live = LiveServer.open(() => run.report(), { limits: LIMITS });
    await withPage(async (page, { errors }) => {
      await page.goto(live.url);
      await shows(page, ".live-state", "being prepared");
      live.progress({ phase: "finetuning", cycle: 1, step: 25, total: 100, loss: 3.5 });
      await shows(page, ".live-numbers", "step 25 of 100 · loss 3.500");
      const bar = page.getByRole("progressbar");
      assert.equal(await bar.getAttribute("aria-valuenow"), "25");
      assert.equal(await bar.getAttribute("aria-valuemax"), "100");
      assert.equal(await page.title(), "25 % · Run");
      assert.equal(await page.getByRole("status").innerText(), "fine-tuning, cycle 1");

      // what the reader does: opens, scrolls, moves the focus
      await page.evaluate(() => {
        const of = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)];
        document.getElementById("constant")!.dataset.same = "yes";
        of("#changing details")[1].setAttribute("open", "");
        of("#broad")[0].style.width = "9000px";
        of("#changing button")[1].focus();
        of("#changing")[0].scrollIntoView({ behavior: "instant" });
        scrollBy({ top: 11, behavior: "instant" });
      });
      const top = () =>
        page.evaluate(() => document.getElementById("changing")!.getBoundingClientRect().top);
      const before = await top();
      run.step = 7;
      run.sections = ["New", "Newer"]; // above what is read
      live.changed();
      await shows(page, "#value", "7");
      const after = await page.evaluate(() => ({
        ids: [...document.querySelectorAll("main > *")].map(({ id, localName }) => id || localName),
        same: document.getElementById("constant")!.dataset.same,
        open: [...document.querySelectorAll("#changing details")].map((d) =>
          d.hasAttribute("open")
        ),
        focus: document.activeElement?.textContent,
        heard: (globalThis as unknown as { heard: string[][] }).heard,
      }));
      assert.deepEqual(after, {
        ids: ["header", "new", "newer", "constant", "changing", "below"],
        same: "yes",
        open: [false, true],
        focus: "second",
        heard: [["header", "new", "newer", "changing"]],
      });
      assert.ok(Math.abs(await top() - before) < 1.5, `moved from ${before} to ${await top()}`);
      assert.equal(await read(page, "h1"), "Step 7");

      run.sections = [];
      live.changed();
      await until(page, "the section stays", async () => await page.locator("#new").count() === 0);

      run.step = 8;
      await Promise.all([
        live.end("stopped", "Continue with: x"),
        shows(page, ".live-state", "stopped"),
      ]);
      assert.equal(await read(page, ".live-state"), "The run was stopped. Continue with: x");
      assert.equal(await read(page, "#value"), "8");
      assert.equal(await page.title(), "Run");
      assert.deepEqual(errors, []);
      await page.emulateMedia({ media: "print" });
      assert.equal(await page.locator("#live").isVisible(), false);
    });
  },
);

browserTest("the page notices when the server goes, and goes on when it is back", async () => {
  const run = new Run();
  let live = LiveServer.open(() => run.report(), { limits: LIMITS });
  const { url } = live, port = Number(new URL(url).port);
  await withPage(async (page, { errors }) => {
    await page.goto(url);
    await shows(page, ".live-state", "being prepared");
    await live.close();
    await shows(page, ".live-state", "Reconnecting");
    assert.deepEqual(errors.filter((error) => !error.includes("ERR_CONNECTION_REFUSED")), []);
    run.step = 30;
    live = LiveServer.open(() => run.report(), { port, limits: LIMITS });
    live.progress({ phase: "cycle 3", step: 3, total: 4 });
    await shows(page, "#value", "30");
    await shows(page, ".live-state", "cycle 3");
    await Promise.all([live.end(), shows(page, ".live-state", "The run has ended.")]);
    await live.close();
    await page.waitForTimeout(1500); // longer than it takes to try again
    assert.equal(await read(page, ".live-state"), "The run has ended.");
    assert.equal(await read(page, "#value"), "30", "it stays as it is");
  });
});

browserTest("a page whose scripts have changed is loaded anew", async () => {
  const run = new Run();
  await using live = LiveServer.open(undefined, { limits: LIMITS });
  await withPage(async (page, { errors }) => {
    await page.goto(live.url);
    await shows(page, "h1", "nothing to show yet");
    live.show(() => run.report());
    await shows(page, "h1", "Step 0");
    const heard = () =>
      page.evaluate(() => Array.isArray((globalThis as { heard?: unknown }).heard));
    await until(page, "its script does not run", heard);
    await Promise.all([live.end("failed", "x"), shows(page, ".live-state", "failed")]);
    assert.deepEqual(errors, []);
  });
});
