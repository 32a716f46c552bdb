// @ts-check
// The heads panel at work, in a browser: see panel.ts, which writes what this wires.
(() => {
  /**
   * @typedef {{ name: string, label: string, unit: string, log: boolean, low: number, high: number }} Metric
   * @typedef {{ name: string, step: number, cycle: number, when: string, states: string, values: Record<string, (number | null)[]> }} Moment
   * @typedef {{ step: number, cycle: number, event: "prune" | "grow", reason: string, undone: boolean }} Change
   * @typedef {{ L: number, NH: number, ramp: string[], metrics: Metric[], moments: Moment[], events: Record<string, Change[]> }} Story
   */

  /** What the reader chose, which outlives a page that is drawn anew; `moment` -1 follows the last. */
  const chosen = { moment: -1, head: -1, show: "state" };
  /** @type {Record<string, string>} */
  const WORDS = { l: "live", p: "pruned", r: "grown back" };
  /** @type {Record<string, string>} */
  const CLASSES = { l: "live", p: "pruned", r: "regrown" };
  const WAIT_MS = 900;

  /**
   * @template {Element} One
   * @param {ParentNode} root @param {string} selector @param {new () => One} type
   * @returns {One}
   */
  function find(root, selector, type) {
    const found = root.querySelector(selector);
    if (!(found instanceof type)) throw new TypeError(`the page has no ${selector}`);
    return found;
  }

  /** @param {string} name @param {string} text @param {Record<string, string>} attributes */
  function element(name, text = "", attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  /** @param {number} count */
  function heads(count) {
    return `${count} head${count === 1 ? "" : "s"} live`;
  }

  /** @param {number} value */
  function write(value) {
    const text = String(Number(value.toPrecision(3)));
    return text.replace("-", "−");
  }

  /** Where a value lies on the ramp, 0 to 1. @param {Metric} metric @param {number} value */
  function position({ log, low, high }, value) {
    if (high === low) return 0.5;
    const at = log
      ? Math.log(Math.max(value, low) / low) / Math.log(high / low)
      : (value - low) / (high - low);
    return Math.min(1, Math.max(0, at));
  }

  /** @param {HTMLElement} panel */
  function wire(panel) {
    panel.dataset.wired = "";
    /** @type {Story} */
    const story = JSON.parse(find(panel, "script", HTMLScriptElement).textContent ?? "");
    const { NH, L, moments, metrics, events, ramp } = story;
    const controls = find(panel, ".controls", HTMLElement);
    const range = find(panel, "input", HTMLInputElement);
    const select = find(panel, "select", HTMLSelectElement);
    const play = find(panel, ".play", HTMLButtonElement);
    const picked = find(panel, ".picked", HTMLElement);
    const measured = find(panel, ".measured", HTMLElement);
    const legend = find(panel, ".ramp", HTMLElement);
    const table = find(panel, "table.heads", HTMLTableElement);
    const cells = [...table.querySelectorAll("button")];
    const now = () =>
      chosen.moment < 0 ? moments.length - 1 : Math.min(chosen.moment, moments.length - 1);
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let playing;

    /** The change that made a head what it is at a moment. @param {number} i @param {Moment} at */
    function lastChange(i, at) {
      const state = at.states[i];
      if (state === "l") return undefined;
      return (events[i] ?? []).filter((one) =>
        !one.undone && one.event === (state === "p" ? "prune" : "grow") &&
        (one.cycle < at.cycle ||
          (one.cycle === at.cycle && at.when !== "before" && one.step <= at.step))
      ).at(-1);
    }

    /** @param {number} i @param {Moment} at @param {Metric | undefined} metric */
    function drawCell(i, at, metric) {
      const cell = cells[i], state = at.states[i];
      const value = metric && at.values[metric.name]?.[i];
      const cycle = lastChange(i, at)?.cycle;
      const before = moments[now() - 1]?.states[i] ?? state;
      let words = `layer ${Math.floor(i / NH)}, head ${i % NH}: ${WORDS[state]}`;
      if (state !== "l" && cycle !== undefined) words += ` in cycle ${cycle}`;
      cell.className = CLASSES[state] + (before === state ? "" : " changed");
      cell.style.removeProperty("background");
      cell.style.removeProperty("color");
      cell.textContent = state === "l" ? "" : (state === "p" ? "−" : "+") + (cycle ?? "");
      if (metric && typeof value === "number") {
        const place = position(metric, value);
        cell.style.background = ramp[Math.round(place * (ramp.length - 1))];
        cell.style.color = place > 0.5 ? "#14171b" : "#fff";
        const short = write(Number(value.toPrecision(2))).replace(/^(−?)0\./, "$1.");
        cell.textContent = short.length * 7.5 < cell.offsetWidth ? short : "";
        words += `; ${metric.label} ${write(value)}`;
      } else if (metric && state !== "p") words += `; ${metric.label} not measured`;
      cell.setAttribute("aria-label", words);
      cell.title = words;
      cell.setAttribute("aria-pressed", String(i === chosen.head));
      cell.tabIndex = i === Math.max(0, chosen.head) ? 0 : -1;
    }

    /** @param {Metric | undefined} metric */
    function drawLegend(metric) {
      legend.hidden = metric === undefined;
      if (!metric) return;
      const strip = element("span", "", { class: "strip", "aria-hidden": "true" });
      strip.style.background = `linear-gradient(to right, ${ramp.join(",")})`;
      const scale = element("span", `${metric.label}: ${write(metric.low)} `, { class: "scale" });
      scale.append(strip, ` ${write(metric.high)}`);
      legend.replaceChildren(scale, `; ${metric.unit}; the same at every moment.`);
    }

    /** What happened to the chosen head. It is read out, so it changes only with the head. */
    function drawPicked() {
      const i = chosen.head, invitation = picked.querySelector(".quiet");
      if (i < 0) {
        if (invitation instanceof HTMLElement) invitation.hidden = false;
        return;
      }
      const title = element("h3", `Layer ${Math.floor(i / NH)}, head ${i % NH}`);
      const changes = (events[i] ?? []).map((one) =>
        element(
          "li",
          `Cycle ${one.cycle}, step ${one.step}: ${one.reason}${
            one.undone ? "; undone, the cycle was rolled back" : ""
          }.`,
        )
      );
      const list = element("ul");
      list.append(...(changes.length > 0 ? changes : [element("li", "Neither pruned nor grown.")]));
      picked.replaceChildren(title, list);
    }

    /** What the chosen head measured at every moment. */
    function drawMeasured() {
      const i = chosen.head;
      measured.hidden = i < 0;
      if (i < 0) return;
      const body = element("tbody");
      moments.forEach((at, place) => {
        const row = element("tr");
        if (place === now()) row.setAttribute("aria-current", "true");
        row.append(element("th", at.name, { scope: "row" }), element("td", WORDS[at.states[i]]));
        for (const { name } of metrics) {
          const value = at.values[name]?.[i];
          row.append(element("td", typeof value === "number" ? write(value) : ""));
        }
        body.append(row);
      });
      const head = element("tr");
      head.append(
        ...["moment", "state", ...metrics.map(({ label }) => label)].map((label) =>
          element("th", label, { scope: "col" })
        ),
      );
      const top = element("thead");
      top.append(head);
      const whole = element("table", "", { class: "numbers" });
      whole.append(top, body);
      measured.replaceChildren(whole);
      // The row of the moment is seen without moving the page.
      const current = body.querySelector("[aria-current]");
      if (current instanceof HTMLElement) {
        measured.scrollTop = current.offsetTop - measured.clientHeight / 2;
      }
    }

    function draw() {
      const at = moments[now()];
      const metric = metrics.find(({ name }) => name === chosen.show);
      range.value = String(now());
      range.setAttribute("aria-valuetext", at.name);
      find(panel, "output", HTMLOutputElement).textContent = at.name;
      const of = (/** @type {string} */ letter) => at.states.split(letter).length - 1;
      find(panel, ".sum", HTMLElement).textContent = heads(of("l") + of("r")) +
        (of("r") > 0 ? `, ${of("r")} of them grown back` : "") + `, ${of("p")} pruned`;
      cells.forEach((_, i) => drawCell(i, at, metric));
      drawLegend(metric);
      drawMeasured();
    }

    function stop() {
      clearInterval(playing);
      playing = undefined;
      play.textContent = "Play";
    }

    /** @param {number} i */
    function choose(i) {
      chosen.head = i;
      drawPicked();
      draw();
    }

    range.addEventListener("input", () => {
      stop();
      const moment = Number(range.value);
      chosen.moment = moment === moments.length - 1 ? -1 : moment;
      draw();
    });
    select.addEventListener("change", () => {
      chosen.show = select.value;
      draw();
    });
    play.addEventListener("click", () => {
      if (playing !== undefined) return stop();
      chosen.moment = now() === moments.length - 1 ? 0 : now();
      play.textContent = "Pause";
      playing = setInterval(() => {
        if (!panel.isConnected) return stop(); // a newer page stands in its place
        chosen.moment++;
        if (chosen.moment >= moments.length - 1) {
          chosen.moment = -1;
          stop();
        }
        draw();
      }, WAIT_MS);
      draw();
    });
    cells.forEach((cell, i) => cell.addEventListener("click", () => choose(i)));
    table.addEventListener("keydown", (event) => {
      const i = cells.findIndex((cell) => cell === event.target);
      if (i < 0) return;
      const layer = Math.floor(i / NH), head = i % NH;
      /** @type {Record<string, number>} */
      const to = {
        ArrowLeft: head > 0 ? i - 1 : i,
        ArrowRight: head < NH - 1 ? i + 1 : i,
        ArrowUp: layer > 0 ? i - NH : i,
        ArrowDown: layer < L - 1 ? i + NH : i,
        Home: layer * NH,
        End: layer * NH + NH - 1,
      };
      if (!(event.key in to) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      for (const cell of cells) cell.tabIndex = -1;
      cells[to[event.key]].tabIndex = 0;
      cells[to[event.key]].focus();
    });

    if (![...select.options].some(({ value }) => value === chosen.show)) chosen.show = "state";
    select.value = chosen.show;
    controls.hidden = false;
    drawPicked();
    draw();
  }

  function wireAll() {
    for (const panel of document.querySelectorAll(".heads-panel:not([data-wired])")) {
      if (panel instanceof HTMLElement) wire(panel);
    }
  }
  wireAll();
  document.addEventListener("pollard:update", wireAll);
})();
