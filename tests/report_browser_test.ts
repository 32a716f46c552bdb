/** The report's page in a real browser: it loads without a word, and its heads panel works. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "./deps.ts";
import { pageHtml } from "../src/report/document.ts";
import { renderIntegration } from "../src/report/integration_page.ts";
import { renderPage } from "../src/report/page.ts";
import { browserTest, withPage } from "./browser.ts";
import { syntheticIntegration } from "./integration_fixture.ts";
import { syntheticRun } from "./report_fixture.ts";

/** Where screenshots are kept, for whoever wants to look: CI does. */
const KEPT = Deno.env.get("POLLARD_SCREENSHOTS");

async function withReport(
  html: string,
  action: (page: Page, dir: string) => Promise<void>,
  options: Parameters<typeof withPage>[1] = {},
): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    const path = join(dir, "report.html");
    await Deno.writeTextFile(path, html);
    await withPage(async (page, { errors }) => {
      const asked: string[] = [];
      page.on("request", (request) => asked.push(request.url()));
      await page.goto(pathToFileURL(path).href);
      await action(page, dir);
      assert.deepEqual(errors, []);
      assert.deepEqual(asked, [pathToFileURL(path).href], "the page asked for more than itself");
    }, options);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

async function keep(page: Page, name: string): Promise<void> {
  if (!KEPT) return;
  await Deno.mkdir(KEPT, { recursive: true });
  await page.screenshot({ path: join(KEPT, `${name}.png`), fullPage: true });
}

browserTest(
  "an experiment's page: the scrubber and a head's history, by mouse and by keys",
  async () => {
    const run = syntheticRun();
    await withReport(pageHtml(renderPage(run)), async (page) => {
      const panel = page.locator(".heads-panel"), range = panel.locator("input");
      const moment = panel.locator(".moment");
      const live = () => panel.locator("button.live").count();
      assert.equal(await live(), 23);
      assert.equal(await moment.innerText(), "cycle 3, step 1100: 23 heads live, 9 pruned");

      // Back to the first moment, by keys: nothing has been pruned yet.
      await range.focus();
      await page.keyboard.press("Home");
      assert.equal(await live(), 32);
      assert.equal(await range.getAttribute("aria-valuetext"), "cycle 1, step 200, before pruning");
      await page.keyboard.press("ArrowRight");
      assert.equal(await live(), 29);

      // A head that the first cycle pruned, by mouse.
      const [layer, head] = run.results!.pruned_heads[0];
      const name = `layer ${layer}, head ${head}: pruned in cycle 1`;
      const button = panel.getByRole("button", { name });
      await button.click();
      assert.equal(await button.getAttribute("aria-pressed"), "true");
      const history = panel.locator(".history");
      assert.equal(await history.locator("h3").innerText(), `Layer ${layer}, head ${head}`);
      assert.match(
        await history.locator("li").innerText(),
        /^Cycle 1, step 200: pruned by combined: score \S+, rank 1 of 32\.$/,
      );
      const rows = history.locator("tbody tr");
      assert.deepEqual(
        await rows.locator("td:nth-of-type(1)").allInnerTexts(),
        ["live", "pruned", "pruned", "pruned"],
      );
      assert.equal(
        await history.locator("[aria-current] th").innerText(),
        "cycle 2, step 500, before pruning",
      );

      // Another head, by keys alone: arrows move, Enter picks.
      const at = layer * 8 + head, next = at % 8 < 7 ? "ArrowRight" : "ArrowLeft";
      await page.keyboard.press(next);
      await page.keyboard.press("Enter");
      const other = at % 8 < 7 ? head + 1 : head - 1;
      assert.equal(await history.locator("h3").innerText(), `Layer ${layer}, head ${other}`);
      const focused = await page.evaluate(() => document.activeElement?.getAttribute("aria-label"));
      assert.ok(focused?.startsWith(`layer ${layer}, head ${other}:`), focused ?? "nothing");

      // Colours by what was measured: one scale at every moment.
      await panel.locator("select").selectOption("entropy");
      const row = run.heads.find((one) => one.step === 500 && one.alive === 1 && one.cycle === 2)!;
      const cell = panel.getByRole("button", { name: `layer ${row.layer}, head ${row.head}:` });
      const words = await cell.getAttribute("aria-label");
      assert.ok(words!.includes(`entropy ${Number(row.entropy!.toPrecision(3))}`), words!);
      assert.match(
        await panel.locator(".ramp").innerText(),
        /^entropy: 0 .* 1; .*same at every moment/,
      );

      await keep(page, "experiment");
      // What was drawn anew keeps what was chosen.
      await page.evaluate(() => {
        const section = document.querySelector(".heads-panel")!;
        const fresh = new DOMParser().parseFromString(section.outerHTML, "text/html");
        const copy = fresh.querySelector<HTMLElement>(".heads-panel")!;
        delete copy.dataset.wired;
        section.replaceWith(copy);
        document.dispatchEvent(new Event("pollard:update"));
      });
      assert.equal(await panel.locator("select").inputValue(), "entropy");
      assert.equal(await panel.locator(".history h3").innerText(), `Layer ${layer}, head ${other}`);
    });
  },
);

browserTest("play goes through the moments, and ends at the last", async () => {
  await withReport(pageHtml(renderPage(syntheticRun())), async (page) => {
    const panel = page.locator(".heads-panel");
    await panel.locator(".play").click();
    assert.equal(await panel.locator("button.live").count(), 32);
    await page.waitForFunction(() => document.querySelectorAll("button.pruned").length === 9);
    await page.waitForFunction(() => document.querySelector(".play")?.textContent === "Play");
  });
});

browserTest(
  "a head's mark is of what it is then: not of what came later, nor of what was undone",
  async () => {
    const run = syntheticRun();
    const [layer, head] = run.results!.pruned_heads[0];
    const row = run.events.find((one) =>
      one.event === "prune" && one.layer === layer && one.head === head
    )!;
    // It is pruned once more in cycle 3, and so it was in a cycle 2 that was rolled back.
    const again = (cycle: number) => ({ ...row, cycle, step: 300 * cycle - 100 });
    const at = (cycle: number) =>
      run.events.findIndex((one) => one.event === "prune" && one.cycle === cycle);
    run.events.splice(at(3), 0, again(3));
    run.events.splice(at(2), 0, again(2), {
      ...{ event: "rollback", reason: "worse", cycle: 2, step: 500, time: 1, arm: "pruned" },
    });
    await withReport(pageHtml(renderPage(run)), async (page) => {
      const panel = page.locator(".heads-panel");
      const button = panel.getByRole("button", { name: `layer ${layer}, head ${head}:` });
      assert.equal(await button.innerText(), "−3");
      await panel.locator("input").press("ArrowLeft"); // before cycle 3
      assert.equal(await button.innerText(), "−1");
      await button.click();
      const told = await panel.locator(".history li").allInnerTexts();
      assert.deepEqual(told.map((line) => /undone/.test(line)), [false, true, false]);
      // Moving through the moments is no news of the head: nothing is read out again.
      await page.evaluate(() => {
        const counter = new MutationObserver(() => document.body.dataset.news = "some");
        counter.observe(document.querySelector(".picked")!, { childList: true, subtree: true });
      });
      await panel.locator("input").press("ArrowLeft");
      assert.equal(await page.evaluate(() => document.body.dataset.news), undefined);
      // A logarithmic ramp: the middle of its colours is the geometric mean of its ends.
      await panel.locator("select").selectOption("gradient");
      const { low, high, data, ramp } = await page.evaluate(() => {
        const story = JSON.parse(document.querySelector(".heads-panel script")!.textContent!);
        const { low, high } = story.metrics.find(({ name }: { name: string }) =>
          name === "gradient"
        );
        return { low, high, data: story.moments[1].values.gradient as number[], ramp: story.ramp };
      });
      const i = data.findIndex((value) => value !== null);
      const place = Math.log(data[i] / low) / Math.log(high / low);
      const expected = ramp[Math.round(place * (ramp.length - 1))];
      const seen = await panel.locator("table.heads button").nth(i).evaluate((cell) =>
        cell.style.background
      );
      const written = await page.evaluate((colour) => {
        const probe = document.createElement("i");
        probe.style.background = colour;
        return probe.style.background;
      }, expected);
      assert.equal(seen, written);
    });
  },
);

browserTest("an integrated run's page: heads that grew back say so", async () => {
  const run = syntheticIntegration();
  await withReport(pageHtml(renderIntegration(run)), async (page) => {
    const panel = page.locator(".heads-panel");
    const grown = panel.locator("button.regrown").first();
    assert.match(await grown.innerText(), /^\+\d+$/);
    await grown.click();
    assert.match(await panel.locator(".history ul").innerText(), /grown, warm, by/);
    await keep(page, "integration");
  });
});

browserTest(
  "a page says all it has to say without its script, on a phone and in the dark",
  async () => {
    const html = pageHtml(renderPage(syntheticRun()));
    const phone = { viewport: { width: 390, height: 800 }, colorScheme: "dark" as const };
    await withReport(html, async (page) => {
      const panel = page.locator(".heads-panel");
      assert.equal(await panel.locator("button.live").count(), 23);
      assert.equal(await panel.locator(".controls").isVisible(), false);
      // Charts scroll in their own frames: the page itself does not.
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= 390, `${wide} pixels wide`);
      await keep(page, "phone");
    }, { ...phone, javaScriptEnabled: false });
  },
);
