// @ts-check
/*
 * Follows the run that the page shows: fills the bar at its top, and puts in the sections that have
 * changed. Scripts of the page hear `pollard:update` on the document after that; its `detail.changed`
 * names the sections that are new, by their ids.
 */
(() => {
  "use strict";
  /** How the server tells how a run ended, in words. */
  const ENDS = {
    done: "The run has ended.",
    stopped: "The run was stopped.",
    failed: "The run has failed.",
  };
  /** Milliseconds to the next attempt where the browser has given up by itself. */
  const AGAIN_MS = 2000;

  const bar = /** @type {HTMLElement} */ (document.getElementById("live"));
  const find = (
    /** @type {string} */ selector,
  ) => /** @type {HTMLElement} */ (bar.querySelector(selector));
  const state = find(".live-state"), numbers = find(".live-numbers");
  const track = find(".live-track"), done = find(".live-track div");

  let shown = bar.dataset.version, wanted = shown;
  /** @type {Promise<void> | undefined} */
  let refreshing;
  let phase = "", title = document.title, share = "";
  /** @type {Map<string, string>} The page's parts as they were served, whatever became of them. */
  let served = partsOf(document);
  const frame = frameOf(document);

  // ---- the page ---------------------------------------------------------------------------------

  /** What replaces what: sections and the header, by their names. @param {Document} page */
  function elementsOf(page) {
    /** @type {[string, Element][]} */
    const elements = [];
    for (const element of page.querySelector("main")?.children ?? []) {
      elements.push([element.id || element.localName, element]);
    }
    return elements;
  }

  /** @param {Document} page */
  function partsOf(page) {
    return new Map(elementsOf(page).map(([name, element]) => [name, element.outerHTML]));
  }

  /** What cannot be put in piece by piece: scripts and style. @param {Document} page */
  function frameOf(page) {
    const parts = page.querySelectorAll("head style, body > script");
    return Array.from(parts, ({ textContent }) => textContent).join("\n");
  }

  /** Fetches the page until it is the one that was announced. */
  function refresh() {
    refreshing ??= catchUp().finally(() => refreshing = undefined);
    return refreshing;
  }

  async function catchUp() {
    while (shown !== wanted) {
      const asked = wanted;
      let response, text;
      try {
        response = await fetch("/", { cache: "no-store" });
        text = await response.text();
      } catch {
        shown = undefined; // the server is gone: whatever it has when it is back is new
        return;
      }
      if (!response.ok) return say(text.trim());
      const next = new DOMParser().parseFromString(text, "text/html");
      if (frameOf(next) !== frame) return location.reload();
      shown = next.getElementById("live")?.dataset.version;
      putIn(next);
      // Where the server holds back, it will tell when there is more.
      if (wanted === asked) wanted = shown;
    }
  }

  /** Puts in the parts that have changed, and leaves the reader where they are. @param {Document} next */
  function putIn(next) {
    const main = document.querySelector("main");
    if (!main) return;
    title = next.title;
    const parts = partsOf(next);
    const old = new Map(elementsOf(document));
    const place = placeOfReader(old);
    /** @type {string[]} */
    const changed = [];
    const elements = elementsOf(next).map(([name, element]) => {
      const present = old.get(name);
      if (present && served.get(name) === parts.get(name)) return present;
      changed.push(name);
      const fresh = document.importNode(element, true);
      if (present) takeOver(present, fresh);
      return fresh;
    });
    const keep = new Set(elements);
    const attention = placeOfFocus(old, changed);
    for (const element of [...main.children]) if (!keep.has(element)) element.remove();
    elements.forEach((element, i) => {
      if (main.children[i] !== element) main.insertBefore(element, main.children[i] ?? null);
    });
    served = parts;
    showTitle();
    if (changed.length === 0) return;
    document.dispatchEvent(new CustomEvent("pollard:update", { detail: { changed } }));
    scrollInside(main);
    attention();
    place();
  }

  /** What was opened stays open, what was scrolled aside stays there. @param {Element} old @param {Element} fresh */
  function takeOver(old, fresh) {
    const opened = [...old.querySelectorAll("details")];
    fresh.querySelectorAll("details").forEach((details, i) => {
      const same = opened.find(({ id }) => id && id === details.id) ?? opened[i];
      if (same) details.open = same.open;
    });
    const aside = [...old.querySelectorAll(".drawing, .wide")];
    fresh.querySelectorAll(".drawing, .wide").forEach((box, i) => {
      if (aside[i]?.scrollLeft) box.setAttribute("data-scrolled", String(aside[i].scrollLeft));
    });
  }

  /** @param {Element} main */
  function scrollInside(main) {
    for (const box of main.querySelectorAll("[data-scrolled]")) {
      box.scrollLeft = Number(box.getAttribute("data-scrolled"));
      box.removeAttribute("data-scrolled");
    }
  }

  /** Remembers what is at the top of the window. @param {Map<string, Element>} parts @returns {() => void} */
  function placeOfReader(parts) {
    if (scrollY === 0) return () => {};
    for (const [name, element] of parts) {
      const { top, bottom } = element.getBoundingClientRect();
      if (bottom <= bar.offsetHeight) continue;
      return () => {
        const now = new Map(elementsOf(document)).get(name);
        if (now) scrollBy({ top: now.getBoundingClientRect().top - top, behavior: "instant" });
      };
    }
    return () => {};
  }

  /**
   * Remembers what has the focus, where that is about to be replaced.
   *
   * @param {Map<string, Element>} parts
   * @param {string[]} changed
   * @returns {() => void}
   */
  function placeOfFocus(parts, changed) {
    const active = document.activeElement;
    const name = changed.find((name) => active && parts.get(name)?.contains(active));
    if (!active || !name) return () => {};
    const all = (/** @type {ParentNode | undefined} */ part) => [
      ...part?.querySelectorAll(active.localName) ?? [],
    ];
    const { id } = active, at = all(parts.get(name)).indexOf(active);
    return () => {
      if (document.activeElement !== document.body) return; // its own script has taken care of it
      const now = new Map(elementsOf(document)).get(name);
      const same = id ? document.getElementById(id) : all(now)[at];
      if (same instanceof HTMLElement || same instanceof SVGElement) {
        same.focus({ preventScroll: true });
      }
    };
  }

  // ---- the bar ----------------------------------------------------------------------------------

  /** @param {string} words */
  function say(words) {
    if (state.textContent !== words) state.textContent = words; // spoken where it is new
  }

  function showTitle() {
    document.title = share + title;
  }

  /** @param {number} seconds */
  function duration(seconds) {
    if (seconds < 90) return `${Math.ceil(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  /**
   * @param {{ phase: string, step?: number, total?: number, loss?: number,
   *   tokens_per_second?: number, seconds_left?: number }} progress
   */
  function showProgress({ step, total, loss, tokens_per_second, seconds_left, ...rest }) {
    phase = rest.phase;
    const count = (/** @type {number} */ n) => n.toLocaleString("en-US");
    const known = step !== undefined && total !== undefined && total > 0;
    const parts = [
      step === undefined ? "" : known ? `step ${count(step)} of ${count(total)}` : `step ${step}`,
      loss === undefined ? "" : `loss ${loss.toFixed(3)}`,
      tokens_per_second === undefined ? "" : `${count(Math.round(tokens_per_second))} tokens/s`,
      seconds_left === undefined ? "" : `${duration(seconds_left)} left`,
    ];
    numbers.textContent = parts.filter((part) => part !== "")
      .map((part) => part.replaceAll(" ", "\u00a0")).join(" · ");
    track.hidden = !known;
    share = "";
    if (known) {
      const part = Math.min(1, step / total);
      track.setAttribute("aria-valuemin", "0");
      track.setAttribute("aria-valuemax", String(total));
      track.setAttribute("aria-valuenow", String(step));
      done.style.transform = `scaleX(${part})`;
      share = `${Math.floor(100 * part)} % · `;
    }
    showTitle();
    if (bar.dataset.state === "live") say(phase);
  }

  // ---- the server -------------------------------------------------------------------------------

  /** @param {EventSource} events @param {{ outcome: keyof ENDS, words: string }} end */
  async function showEnd(events, { outcome, words }) {
    await refresh();
    events.close(); // which tells the server that this page needs nothing more
    bar.dataset.state = "ended";
    share = "";
    showTitle();
    if (outcome === "done") numbers.textContent = "";
    say([ENDS[outcome], words].filter((part) => part !== "").join(" "));
  }

  function connect() {
    const events = new EventSource("/events");
    /** @param {string} name @param {(data: any) => void} action */
    const on = (name, action) =>
      events.addEventListener(name, (event) => action(JSON.parse(event.data)));
    events.addEventListener("open", () => {
      bar.dataset.state = "live";
      say(phase || "The run is being prepared.");
    });
    events.addEventListener("error", () => {
      if (bar.dataset.state === "ended") return;
      bar.dataset.state = "lost";
      say("Reconnecting …");
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
    });
    on("page", ({ version }) => {
      wanted = version;
      refresh();
    });
    on("progress", showProgress);
    on("end", (end) => showEnd(events, end));
    // A page that was left and is come back to must not hold a connection in between.
    addEventListener("pagehide", () => events.close(), { once: true });
    return events;
  }

  addEventListener("pageshow", (event) => {
    if (event.persisted && bar.dataset.state !== "ended") connect();
  });
  connect();
})();
