// The monitor, used as an operator uses it: a real server, real streams, a real browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { Server, demoClip, launch, skipped, until } from "../harness.js";
import { accessible, screenshot, watched } from "../watched.js";

const skip = skipped();
const WATCHED = /Live|Degraded/; // a busy machine looks less often, and says so
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;
/** @type {import("playwright-core").Page} */ let page;
/** @type {string[]} */ let faults;

before(async () => {
  if (skip) return;
  const clip = demoClip();
  server = await Server.start({
    streams: { yard: "test:?seconds=3600", ...(clip && { street: `${clip}?loop=1` }), lobby: "rtsp://127.0.0.1:9/none" },
    settings: '[load]\nadmission = "lower"\n', // on a busy machine too
  });
  browser = await launch();
  ({ page, faults } = await watched(browser, server.url));
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const row = (type = "") => page.locator(`.rows .row${type && `[data-type="${type}"]`}`);

/** Go somewhere in the page. @param {string} hash @param {string} title */
async function go(hash, title) {
  await page.goto(`${server.url}/${hash}`);
  await page.locator("h1", { hasText: title }).waitFor();
}

/** Numbers and texts of the journal. @param {string} stream */
async function journal(stream) {
  const answer = await fetch(`${server.url}/v1/streams/${stream}/captions?limit=10000&kinds=caption,event,status,gap`);
  const { messages } = /** @type {{messages: {seq: number, status?: string}[]}} */ (await answer.json());
  return messages.filter((message) => message.status !== "retracted").map((message) => message.seq);
}

/** The numbers that the list shows, newest first, scrolling through all of it. @returns {Promise<number[]>} */
function shown() {
  return page.evaluate(async () => {
    const viewport = document.querySelector(".scroll");
    /** @type {Set<number>} */ const seen = new Set();
    if (viewport === null) return [];
    for (let top = 0; ; top += viewport.clientHeight / 2) {
      viewport.scrollTop = top;
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      const numbers = [...document.querySelectorAll(".rows .row")].map((each) => Number(each.getAttribute("data-seq")));
      if (new Set(numbers).size !== numbers.length) throw new Error("a row is shown twice");
      for (const number of numbers) seen.add(number);
      if (top > viewport.scrollHeight) break;
    }
    viewport.scrollTop = 0;
    return [...seen].sort((a, b) => b - a);
  });
}

test("the wall shows each stream: picture, newest caption, state, age", { skip }, async () => {
  await go("", "Streams");
  const tile = page.locator('.tile[data-stream="yard"]');
  await tile.locator("canvas[data-drawn]").waitFor();
  await tile.locator('.tile-caption[data-state="final"]').waitFor();
  assert.match((await tile.locator(".tile-caption").textContent()) ?? "", /\w+ .*\./);
  assert.match((await tile.locator(".age").textContent()) ?? "", /^\d+ (s|min) ago$/);
  await page.locator('.tile[data-stream="lobby"] .chip', { hasText: "Reconnecting" }).waitFor();
  assert.match((await page.locator(".connection").textContent()) ?? "", /Connected/);
  await page.getByLabel("Needs attention").check();
  await page.locator('.tile[data-stream="yard"]').waitFor({ state: "hidden" });
  await page.getByLabel("Needs attention").uncheck();
});

test("drafts settle into finals, and the list is the journal", { skip }, async () => {
  await go("#/streams/yard", "yard");
  await page.locator('.draft[data-state="draft"]').waitFor();
  await page.locator('.draft[data-state="final"]').waitFor();
  await page.locator(".stage canvas[data-drawn]").waitFor();
  await page.locator(".boxes .box").first().waitFor();
  await page.getByLabel("Show").selectOption("all");
  const before = await journal("yard");
  const seen = await shown();
  assert.deepEqual(before.filter((seq) => !seen.includes(seq)), [], "no hole");
});

test("the list can be narrowed by kind, event and words", { skip }, async () => {
  await page.getByLabel("Show").selectOption("event");
  await until(async () => (await row("event").count()) > 0 && (await row("caption").count()) === 0, "events alone");
  const label = await page.getByLabel("Event", { exact: true }).locator("option").nth(1).getAttribute("value");
  await page.getByLabel("Event", { exact: true }).selectOption(label ?? "");
  await until(async () => (await row().count()) > 0 && (await row().count()) === (await page.locator(`.rows .row[data-kind="${label}"]`).count()), "one sort");
  await page.getByLabel("Show").selectOption("caption");
  await page.getByLabel("Filter by text").fill("zebra");
  await page.locator(".empty", { hasText: "Nothing that fits" }).waitFor();
  await page.getByLabel("Filter by text").fill("");
  await row("caption").first().waitFor();
});

test("a caption opens the frame that it speaks of", { skip }, async () => {
  const caption = row("caption").first();
  const text = await caption.locator(".row-text").textContent();
  await caption.click();
  const dialog = page.locator("dialog.evidence");
  await dialog.locator("canvas[data-drawn]").waitFor();
  assert.equal(await dialog.locator(".evidence-text").textContent(), text);
  assert.ok(await dialog.locator("canvas").evaluate((canvas) => canvas instanceof HTMLCanvasElement && canvas.width >= 320));
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
});

test("history is exported, searched and summed up", { skip }, async () => {
  await page.locator("summary", { hasText: "Export" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("WebVTT subtitles").click()]);
  assert.match(readFileSync(await download.path(), "utf8"), /^WEBVTT\n[^]*-->/);
  await page.getByRole("button", { name: "Summary" }).click();
  await page.getByRole("button", { name: "Tell me" }).click();
  await page.locator(".summary-text").waitFor();
  assert.match((await page.locator(".summary-answer .counts").textContent()) ?? "", /^\d+ captions/);
  await page.keyboard.press("Escape");
  await go("#/search", "Search");
  await page.getByLabel("Words to find").fill("person");
  await page.keyboard.press("Enter");
  await page.locator(".found .row").first().waitFor();
  assert.match((await page.locator(".found .row-text").first().textContent()) ?? "", /[Pp]e(rson|ople)/);
  await page.locator(".found .row-text").first().click();
  await page.locator("dialog.evidence canvas[data-drawn]").waitFor();
  await page.keyboard.press("Escape");
});

test("a stream is added, paused, resumed and removed", { skip }, async () => {
  await go("", "Streams");
  await page.getByRole("button", { name: "Add stream" }).click();
  await page.getByLabel("Name", { exact: true }).fill("dock");
  await page.getByLabel("Address").fill("/etc/passwd");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.locator(".fault", { hasText: "files are not opened" }).waitFor();
  await page.getByLabel("Address").fill("test:?seconds=3600");
  await page.getByRole("button", { name: "Add", exact: true }).click();
  await page.locator('.tile[data-stream="dock"]').waitFor();
  await go("#/streams/dock", "dock");
  await page.locator(".bar .chip", { hasText: WATCHED }).waitFor();
  await page.getByRole("button", { name: "Pause" }).click();
  await page.locator(".bar .chip", { hasText: "Paused" }).waitFor();
  await page.getByRole("button", { name: "Resume" }).click();
  await page.locator(".bar .chip", { hasText: WATCHED }).waitFor();
  await page.getByRole("button", { name: "Remove" }).click();
  await page.locator("dialog").getByRole("button", { name: "Remove" }).click();
  await page.locator("h1", { hasText: "Streams" }).waitFor();
  await page.locator('.tile[data-stream="dock"]').waitFor({ state: "detached" });
});

test("this computer's camera is published and seen live", { skip }, async () => {
  await page.getByRole("button", { name: "Publish camera" }).click();
  await page.getByLabel("Name of the stream").fill("desk");
  await page.getByRole("button", { name: "Publish", exact: true }).click();
  await page.locator("h1", { hasText: "desk" }).waitFor();
  await page.locator(".bar .chip", { hasText: WATCHED }).waitFor();
  await page.locator(".stage video:not([hidden]), .stage canvas[data-drawn]").first().waitFor();
  await row("caption").first().waitFor();
  await page.locator(".publishing", { hasText: "desk" }).waitFor();
  await page.locator('nav a[href="#/"]').click();
  await page.locator('.tile[data-stream="desk"] canvas[data-drawn]').waitFor();
  await page.locator(".publishing button").click();
  await page.locator(".publishing").waitFor({ state: "hidden" });
});

test("a stream that is removed lets the camera go, and what it said stays to be read", { skip }, async () => {
  await page.getByRole("button", { name: "Publish camera" }).click();
  await page.getByLabel("Name of the stream").fill("desk");
  await page.getByRole("button", { name: "Publish", exact: true }).click();
  await page.locator(".publishing", { hasText: "desk" }).waitFor();
  await row("caption").first().waitFor(); // or there is nothing to stay
  await page.getByRole("button", { name: "Remove" }).click();
  await page.locator("dialog").getByRole("button", { name: "Remove" }).click();
  await page.locator(".publishing").waitFor({ state: "hidden" });
  await go("#/streams/desk", "desk");
  await page.locator(".counts", { hasText: "No stream of this name is watched." }).waitFor();
  await row("caption").first().waitFor();
});

test("an address that was mistyped and a way back do no harm", { skip }, async () => {
  await go("#/streams/%E0%A4%A", "%E0%A4%A");
  await go("", "Streams");
  await page.getByRole("button", { name: "Add stream" }).click();
  await page.goBack();
  await page.locator("h1", { hasText: "%E0%A4%A" }).waitFor();
  assert.equal(await page.locator("dialog[open]").count(), 0, "a dialog goes with its view");
});

test("everything can be reached by keys", { skip }, async () => {
  await go("", "Streams");
  await page.keyboard.press("?");
  await page.locator("dialog kbd").first().waitFor();
  await accessible(page, "help");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await until(() => page.evaluate(() => document.activeElement?.className === "tile-link"), "a tile has the focus");
  await page.keyboard.press("Enter");
  await page.locator(".view.stream h1").waitFor();
  await row("caption").first().waitFor();
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  await until(() => page.evaluate(() => document.activeElement?.getAttribute("aria-posinset") === "2"), "the second row");
  await page.keyboard.press("t");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
  await page.keyboard.press("f");
  await page.keyboard.type("tbs?");
  assert.equal(await page.getByLabel("Filter by text").inputValue(), "tbs?", "keys in a field are its own");
  await page.evaluate(() => localStorage.clear());
});

test("a server that is killed and started again leaves no hole and no double", { skip }, async () => {
  await go("#/streams/yard", "yard");
  await page.reload();
  await page.getByLabel("Show").selectOption("all");
  await row("caption").first().waitFor();
  await server.crash();
  await page.locator('main[data-old="true"]').waitFor();
  await server.again();
  await page.locator(".connection", { hasText: "Connected" }).waitFor();
  const last = (await journal("yard")).at(-1) ?? 0;
  await until(async () => ((await journal("yard")).at(-1) ?? 0) > last + 2, "the new run speaks");
  const held = await journal("yard");
  await until(async () => ((await shown())[0] ?? 0) >= (held.at(-1) ?? 0), "the newest is shown");
  const seen = await shown();
  assert.deepEqual(seen.filter((seq) => seq <= (held.at(-1) ?? 0)), [...held].reverse(), "just what the journal holds");
});

/** Somebody is in the picture, something is being said, and the lights are on. */
function seenWell() {
  const canvas = document.querySelector(".stage canvas");
  if (!(canvas instanceof HTMLCanvasElement) || !document.querySelector('.draft[data-state="draft"]')) return false;
  const [red = 0] = canvas.getContext("2d")?.getImageData(canvas.width / 2, canvas.height / 4, 1, 1).data ?? [];
  return red > 60 && [...document.querySelectorAll(".box-names text")].some((text) => text.textContent?.includes("person"));
}

test("what people see is fit to be shown", { skip }, async () => {
  for (const [id, fps] of /** @type {[string, number][]} */ ([["gate", 2], ["dock", 2]])) {
    const body = JSON.stringify({ id, fps, source: "test:?seconds=3600" });
    const headers = { "content-type": "application/json" };
    assert.equal((await fetch(`${server.url}/v1/streams`, { method: "POST", headers, body })).status, 201);
    await new Promise((resolve) => setTimeout(resolve, 2_500)); // so that they do not show the same
  }
  await page.setViewportSize({ width: 1040, height: 664 });
  await go("", "Streams");
  await page.locator('.tile[data-stream="dock"] canvas[data-drawn]').waitFor();
  await page.locator('.tile[data-stream="dock"] .tile-caption[data-state="final"]').waitFor();
  await accessible(page, "wall, dark");
  await screenshot(page, "wall");
  await page.emulateMedia({ colorScheme: "light" });
  await accessible(page, "wall, light");
  await page.setViewportSize({ width: 1060, height: 690 });
  await go("#/streams/yard", "yard");
  await page.locator(".boxes .box").first().waitFor();
  await row("caption").first().waitFor();
  await accessible(page, "stream, light");
  await screenshot(page, "stream-light");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction(seenWell, null, { timeout: 240_000, polling: 100 });
  await screenshot(page, "stream");
  await accessible(page, "stream, dark");
  await row("caption").first().click();
  await page.locator("dialog.evidence canvas[data-drawn]").waitFor();
  await accessible(page, "evidence");
  await page.keyboard.press("Escape");
  await page.setViewportSize({ width: 390, height: 844 });
  await page.locator(".boxes .box").first().waitFor();
  await accessible(page, "phone");
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, "nothing sticks out");
  await screenshot(page, "phone");
  await page.setViewportSize({ width: 1440, height: 900 });
});

test("the page broke none of its own rules and asked nothing of others", { skip }, () => {
  assert.deepEqual(faults, []);
});
