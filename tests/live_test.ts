/** The report on localhost: what the server tells, to whom, and how often it draws. */
import { tellStage } from "../scripts/live.ts";
import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import type { Page } from "../src/report/document.ts";
import { markup } from "../src/report/html.ts";
import { section } from "../src/report/parts.ts";
import { Drawing } from "../src/live/drawing.ts";
import { LiveServer } from "../src/live/server.ts";
import { Speed } from "../src/live/speed.ts";
import { EventStreams } from "../src/live/streams.ts";
import { type Clock, Throttle } from "../src/live/throttle.ts";
import { Listener } from "./listener.ts";

/** Time that passes when it is told to. */
class TestClock implements Clock {
  time = 0;
  #waiting: { at: number; action: () => void }[] = [];

  now(): number {
    return this.time;
  }

  after(milliseconds: number, action: () => void): () => void {
    const one = { at: this.time + milliseconds, action };
    this.#waiting.push(one);
    return () => this.#waiting = this.#waiting.filter((other) => other !== one);
  }

  pass(milliseconds: number): void {
    const end = this.time + milliseconds;
    for (;;) {
      const next = this.#waiting.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#waiting = this.#waiting.filter((other) => other !== next);
      this.time = next.at;
      next.action();
    }
    this.time = end;
  }
}

/** A page with one section. */
function pageOf(words: string): Page {
  return {
    ...{ title: "A run", verdict: words, standing: "made up", figures: [], names: [] },
    body: [section("Words", markup`<p>${words}</p>`)],
  };
}

/** Asks as `fetch` never would: with any Host. */
async function askAs(url: string, host: string): Promise<string> {
  const { hostname, port } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const request = `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
  await connection.write(new TextEncoder().encode(request));
  const bytes = new Uint8Array(4096);
  return new TextDecoder().decode(bytes.subarray(0, await connection.read(bytes) ?? 0));
}

Deno.test("an integrated run's stages have the number of their cycle", () => {
  const phases: (string | undefined)[] = [];
  const live = {
    progress: ({ phase }: { phase?: string }) => void phases.push(phase),
    changed() {},
  } as unknown as LiveServer;
  const at = { step: 0, time: 0, arm: "pruned" as const };
  const checkpoint = { ...at, event: "checkpoint" as const, path: "" };
  const change = { ...at, layer: 0, head: 0, strategy: "", score: 0, rank: 1, of: 2 };
  tellStage(live, { ...checkpoint, cycle: 0 });
  tellStage(live, { ...change, event: "prune", cycle: 1 });
  tellStage(live, { ...change, event: "grow", regrowth: "warm", cycle: 1 });
  tellStage(live, { ...checkpoint, cycle: 1 });
  tellStage(live, { ...change, event: "prune", cycle: 2 });
  assert.deepEqual(phases, [
    "measuring",
    "cycle 1: pruned, measuring",
    "cycle 1: grown, training",
    "after cycle 1: measuring",
    "cycle 2: pruned, measuring",
  ]);
});

Deno.test("throttle: at once, then together, and as late as the wait has become", () => {
  const clock = new TestClock(), done: number[] = [];
  let wait = 100;
  const throttle = new Throttle(() => done.push(clock.time), () => wait, clock);
  throttle.ask();
  clock.pass(30);
  throttle.ask();
  throttle.ask();
  assert.ok(!throttle.free);
  clock.pass(1000);
  assert.deepEqual(done, [0, 100]);
  throttle.ask();
  throttle.ask();
  wait = 250;
  clock.pass(100);
  assert.deepEqual(done, [0, 100, 1030]);
  clock.pass(200);
  assert.deepEqual(done, [0, 100, 1030, 1280]);
  throttle.ask();
  throttle.stop();
  clock.pass(1000);
  assert.equal(done.length, 4);
});

Deno.test("speed: over a window, afresh when a job begins anew, 0 while unknown", () => {
  const speed = new Speed();
  assert.deepEqual([speed.steps, speed.tokens], [0, 0]);
  speed.add(0, { step: 0, tokens: 0 });
  speed.add(400, { step: 4, tokens: 40 });
  assert.equal(speed.steps, 0);
  speed.add(1000, { step: 10, tokens: 100 });
  assert.deepEqual([speed.steps, speed.tokens], [10, 100]);
  speed.add(31_000, { step: 40, tokens: 1000 });
  assert.deepEqual([speed.steps, speed.tokens], [1, 30]);
  speed.add(32_000, { step: 1 });
  assert.equal(speed.steps, 0);
});

Deno.test("drawing: only when asked, when something changed, and when it may", async () => {
  const clock = new TestClock();
  let drawn = 0, announced = 0;
  const drawing = new Drawing(
    () => {
      clock.time += 500; // what drawing takes
      return pageOf(`page ${++drawn}`);
    },
    () => announced++,
    { clock, limits: { leastMs: 3000, times: 20 } },
  );
  const ask = async () => (await drawing.page()).page.verdict;
  assert.equal(await ask(), "page 1");
  assert.equal(await ask(), "page 1");
  clock.pass(60_000);
  assert.equal(await ask(), "page 1", "nothing has changed");
  drawing.changed();
  assert.equal(announced, 1);
  assert.equal(drawn, 1, "nobody has asked yet");
  assert.deepEqual(await Promise.all([ask(), ask(), ask()]), ["page 2", "page 2", "page 2"]);
  for (let second = 0; second < 9; second++) {
    drawing.changed();
    clock.pass(1000);
    assert.equal(await ask(), "page 2", "it took 0.5 s, so the next is due after 10");
  }
  assert.equal(announced, 1);
  assert.equal(drawing.revision, 1);
  clock.pass(1000);
  assert.equal(announced, 2);
  assert.equal(drawing.revision, 10);
  assert.equal(await ask(), "page 3");
  drawing.finish();
  assert.equal(await ask(), "page 4", "the last change does not wait");
});

Deno.test("drawing: what is replaced while it is drawn is drawn again", async () => {
  const clock = new TestClock(), gate = Promise.withResolvers<Page>();
  const limits = { leastMs: 3000, times: 20 };
  const drawing = new Drawing(() => gate.promise, () => {}, { clock, limits });
  const first = drawing.page();
  drawing.replace(() => pageOf("other"));
  clock.pass(3000);
  const second = drawing.page();
  gate.resolve(pageOf("one"));
  assert.equal((await first).page.verdict, "one");
  assert.equal((await second).page.verdict, "other");
});

Deno.test("streams: a listener that does not read is let go", async () => {
  const streams = new EventStreams("x");
  const idle = streams.add([]).getReader(), other = streams.add([["a", 1]]).getReader();
  assert.equal(streams.size, 2);
  for (let i = 0; i < 400; i++) {
    streams.send(["tick", i]);
    await other.read();
  }
  assert.equal(streams.size, 1);
  const emptied = streams.empty();
  await other.cancel();
  await emptied;
  await idle.cancel();
  assert.equal(streams.size, 0);
});

Deno.test("the page and its events, as they change", async () => {
  let words = "first";
  await using live = LiveServer.open(() => pageOf(words), {
    limits: { leastMs: 20, times: 0 },
  });
  const get = async () => await (await fetch(live.url)).text();
  const page = await get();
  assert.match(page, /<h1>first<\/h1>/);
  assert.match(page, /connect-src 'self'/);
  const version = /data-version="([^"]+)"/.exec(page)![1];

  const listener = await Listener.to(live.url);
  const retry = await listener.block();
  assert.ok(Number(retry!.retry) > 0);
  const present = (await listener.block())!;
  assert.equal(present.event, "page");
  assert.ok(present.id.startsWith(version.split("-")[0]));
  assert.deepEqual(JSON.parse(present.data), { version });

  live.progress({ phase: "finetuning", cycle: 2, step: 30, total: 60, loss: 3.25 });
  const told = await listener.next("progress");
  assert.deepEqual(told, { phase: "fine-tuning, cycle 2", step: 30, total: 60, loss: 3.25 });

  words = "second";
  live.changed();
  const changed = await listener.next("page");
  assert.notEqual(changed.version, version);
  const next = await get();
  assert.match(next, /<h1>second<\/h1>/);
  assert.ok(next.includes(`data-version="${changed.version}"`));

  // who comes back is told how things stand now, whatever they saw last
  await listener.close();
  const again = await Listener.to(live.url, { "last-event-id": present.id });
  assert.deepEqual(await again.next("page"), changed);
  assert.deepEqual(await again.next("progress"), told);

  words = "last";
  const ended = live.end("stopped", "Continue with: x");
  const last = await again.next("page");
  assert.deepEqual(await again.next("end"), { outcome: "stopped", words: "Continue with: x" });
  assert.ok((await get()).includes(`data-version="${last.version}"`));
  await again.close();
  await ended;
  assert.match(await get(), /<h1>last<\/h1>/, "who comes late sees the last page");
  const late = await Listener.to(live.url);
  assert.equal((await late.next("end")).outcome, "stopped");
  await late.close();
});

Deno.test("progress comes a few times a second, the last of it always", async () => {
  const clock = new TestClock();
  await using live = LiveServer.open(() => pageOf(""), { clock });
  const listener = await Listener.to(live.url);
  await listener.next("page");
  for (let step = 1; step <= 10; step++) {
    live.progress({ phase: "pretrain", step, total: 10, tokens: step * 100 });
    clock.pass(100);
  }
  clock.pass(1000);
  const steps: number[] = [];
  let last;
  while (steps.at(-1) !== 10) steps.push((last = await listener.next("progress")).step);
  assert.deepEqual(steps, [1, 3, 6, 9, 10]);
  assert.equal(Math.round(last.tokens_per_second), 1000);
  await listener.close();
});

Deno.test("it answers to its own names only, on loopback only, and knows two paths", async () => {
  await using live = LiveServer.open(() => pageOf("secret"));
  const { port } = new URL(live.url);
  for (
    const own of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`, `LOCALHOST:${port}`]
  ) {
    assert.match(await askAs(live.url, own), /^HTTP\/1\.1 200 /, own);
  }
  const others = [
    "evil.example",
    `evil.example:${port}`,
    "localhost",
    "127.0.0.1:1",
    `0.0.0.0:${port}`,
  ];
  for (const other of others) {
    const answer = await askAs(live.url, other);
    assert.match(answer, /^HTTP\/1\.1 403 /, other);
    assert.doesNotMatch(answer, /secret/);
  }

  const ask = async (path: string, method = "GET") => {
    const response = await fetch(new URL(path, live.url), { method });
    const body = await response.text();
    assert.equal(response.headers.get("access-control-allow-origin"), null);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    assert.match(response.headers.get("content-security-policy")!, /frame-ancestors 'none'/);
    return { status: response.status, body, type: response.headers.get("content-type") };
  };
  assert.equal((await ask("/config.json")).status, 404);
  assert.equal((await ask("/../../etc/passwd")).status, 404);
  assert.equal((await ask("/events/")).status, 404);
  assert.equal((await ask("/", "POST")).status, 405);
  assert.deepEqual(await ask("/", "HEAD"), {
    ...{ status: 200, body: "", type: "text/html; charset=utf-8" },
  });
  assert.deepEqual(await ask("/events", "HEAD"), {
    ...{ status: 200, body: "", type: "text/event-stream" },
  });

  for (
    const { address, internal, family } of Object.values(networkInterfaces()).flatMap((i) => i!)
  ) {
    if (internal || family !== "IPv4") continue;
    const outside = Deno.connect({ hostname: address, port: Number(port) });
    await assert.rejects(() => outside, Deno.errors.ConnectionRefused);
  }
});

Deno.test("a port that is taken is named; a page that cannot be drawn does not end anything", async () => {
  const errors: string[] = [];
  let broken = true;
  await using live = LiveServer.open(() => {
    if (broken) throw new SyntaxError("Cannot parse metrics.jsonl");
    return pageOf("whole");
  }, { limits: { leastMs: 0, times: 0 }, onError: ({ message }) => errors.push(message) });
  const port = Number(new URL(live.url).port);
  assert.throws(() => LiveServer.open(undefined, { port }), {
    name: "AddrInUse",
    message: new RegExp(`port ${port} is in use`),
  });
  const get = async () => {
    const response = await fetch(live.url);
    return `${response.status} ${await response.text()}`;
  };
  assert.match(await get(), /^500 The page could not be drawn: Cannot parse metrics\.jsonl/);
  broken = false;
  assert.match(await get(), /^200 [^]*<h1>whole/);
  broken = true;
  live.changed();
  assert.match(await get(), /^200 [^]*<h1>whole/, "as it was");
  assert.deepEqual(errors, ["Cannot parse metrics.jsonl", "Cannot parse metrics.jsonl"]);
});

Deno.test("it follows an experiment's events, and ends with whoever does not read", async () => {
  const live = LiveServer.open(() => pageOf("followed"));
  const listener = await Listener.to(live.url);
  await live.follow((async function* () {
    const at = { step: 8, time: 1, cycle: 2, arm: "pruned" };
    yield { kind: "event", row: { ...at, event: "phase", phase: "analysis" } };
    assert.equal((await listener.next("progress")).phase, "analysis, cycle 2");
    yield { kind: "progress", progress: { phase: "finetuning", cycle: 2, step: 9, total: 16 } };
    const { phase, step } = await listener.next("progress");
    assert.deepEqual([phase, step], ["fine-tuning, cycle 2", 9]);
    yield { kind: "event", row: { ...at, event: "phase", phase: "evaluation" } };
    assert.equal((await listener.next("progress")).phase, "evaluation");
    yield { kind: "metric", row: at };
  })());
  const began = performance.now();
  await live.close();
  assert.equal(await listener.block(), undefined);
  assert.ok(performance.now() - began < 1500);
  await assert.rejects(() => fetch(live.url), TypeError);
});
