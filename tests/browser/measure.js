// Figures of the monitor: weight, message to paint, heap, long tasks. One line of JSON; benchmarks/page.py runs it.

import { Speaker, launch } from "./harness.js";

const quick = process.argv.includes("--quick");
const PAINTS = quick ? 100 : 600;
const HEAP_MESSAGES = quick ? 2_000 : 10_000;
const HEAP_STEPS = 10;
const STREAMS = 50;
const WALL_MESSAGES = quick ? 200 : 1_000;

/** Notes when each numbered caption came, and when its row was painted. */
function watchPaint() {
  /** @type {Map<string, number>} */ const came = new Map();
  /** @type {number[]} */ const late = [];
  const Plain = WebSocket;
  window.WebSocket = class extends Plain {
    /** @param {string | URL} url @param {string | string[]} [protocols] */
    constructor(url, protocols) {
      super(url, protocols);
      this.addEventListener("message", ({ data }) => {
        const now = performance.now();
        const message = JSON.parse(data);
        if (message.type === "caption" && message.seq) came.set(String(message.seq), now);
      });
    }
  };
  const painted = new MessageChannel(); // its messages come after the frame in which they were sent was drawn
  painted.port1.onmessage = ({ data }) => late.push(performance.now() - data);
  new MutationObserver((changes) => {
    for (const node of changes.flatMap((change) => [...change.addedNodes])) {
      const begin = node instanceof HTMLElement ? came.get(node.dataset.seq ?? "") : undefined;
      if (begin !== undefined) painted.port2.postMessage(begin);
    }
  }).observe(document, { childList: true, subtree: true });
  Object.assign(window, { late, came });
}

/** @param {import("playwright-core").Browser} browser */
async function weight(browser) {
  const speaker = await Speaker.start(1);
  const page = await browser.newPage();
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  /** @type {Map<string, string>} */ const types = new Map();
  const sent = { files: 0, transferred: 0, plain: 0 };
  session.on("Network.responseReceived", ({ requestId, type }) => types.set(requestId, type));
  session.on("Network.dataReceived", ({ requestId, dataLength }) => {
    if (["Document", "Script", "Stylesheet"].includes(types.get(requestId) ?? "")) sent.plain += dataLength;
  });
  session.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => {
    if (!["Document", "Script", "Stylesheet"].includes(types.get(requestId) ?? "")) return;
    sent.files += 1;
    sent.transferred += encodedDataLength;
  });
  const began = Date.now();
  await page.goto(speaker.url);
  await page.locator(".tile").waitFor();
  const ready = Date.now() - began;
  await page.waitForTimeout(500);
  await page.context().close();
  await speaker.stop();
  return { ...sent, first_tile_ms: ready };
}

/** @param {import("playwright-core").Browser} browser */
async function paints(browser) {
  const speaker = await Speaker.start(1);
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.addInitScript(watchPaint);
  await page.goto(`${speaker.url}/#/streams/cam00`);
  await page.locator(".connection", { hasText: "Connected" }).waitFor();
  await speaker.say("flood cam00 20 20"); // warm
  await page.evaluate("window.late.length = 0");
  await speaker.say(`flood cam00 ${PAINTS} 20`);
  await page.waitForTimeout(500);
  const late = await page.evaluate("window.late");
  await page.context().close();
  await speaker.stop();
  return /** @type {number[]} */ (late);
}

/** Bytes of JavaScript heap over messages, after a full log. @param {import("playwright-core").Browser} browser */
async function heap(browser) {
  const speaker = await Speaker.start(1);
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  const session = await page.context().newCDPSession(page);
  await page.goto(`${speaker.url}/#/streams/cam00`);
  await page.locator(".connection", { hasText: "Connected" }).waitFor();
  await speaker.say("flood cam00 11000 1500"); // the log is full: from here on the oldest go
  /** @type {[number, number][]} */ const samples = [];
  for (let step = 0; step <= HEAP_STEPS; step += 1) {
    if (step > 0) await speaker.say(`flood cam00 ${HEAP_MESSAGES / HEAP_STEPS} 1500`);
    await page.waitForTimeout(300);
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    samples.push([(step * HEAP_MESSAGES) / HEAP_STEPS, usedSize]);
  }
  await page.context().close();
  await speaker.stop();
  return samples;
}

/** @param {import("playwright-core").Browser} browser */
async function wall(browser) {
  const speaker = await Speaker.start(STREAMS);
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 } });
  await page.addInitScript(() => {
    /** @type {number[]} */ const long = [];
    new PerformanceObserver((list) => long.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
    Object.assign(window, { long });
  });
  await page.goto(speaker.url);
  await page.locator(".tile").nth(STREAMS - 1).waitFor({ state: "attached" });
  await page.evaluate("window.long.length = 0");
  const flood = speaker.say(`spread ${WALL_MESSAGES} 50`);
  for (let step = 0; step < 8; step += 1) {
    await page.mouse.wheel(0, step < 4 ? 900 : -900);
    await page.waitForTimeout(WALL_MESSAGES / 50 / 8 * 1000);
  }
  await flood;
  const long = await page.evaluate("window.long");
  await page.context().close();
  await speaker.stop();
  return /** @type {number[]} */ (long);
}

const browser = await launch();
try {
  const found = { weight: await weight(browser), paint_ms: await paints(browser), heap: await heap(browser), long_ms: await wall(browser), streams: STREAMS, wall_messages: WALL_MESSAGES, browser: browser.version() };
  process.stdout.write(`${JSON.stringify(found)}\n`);
} finally {
  await browser.close();
}
