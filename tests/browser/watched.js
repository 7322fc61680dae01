// A page that is watched while it is used: what it breaks of its own rules, what it asks of others, what is hard to use.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

import { PYTHON } from "./harness.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Where pictures go: STREAMCAP_SCREENSHOTS, else a folder that git does not know. */
const IMAGES = resolve(ROOT, process.env.STREAMCAP_SCREENSHOTS ?? "out/screenshots");

/**
 * A new page with its own storage. Its faults are kept.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} origin
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
export async function watched(browser, origin, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark", ...options });
  const page = await context.newPage();
  /** @type {string[]} */ const faults = [];
  page.on("pageerror", (error) => faults.push(String(error.stack)));
  page.on("console", (message) => /Content Security Policy|Trusted/i.test(message.text()) && faults.push(message.text()));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !/^(blob|data):/.test(url)) faults.push(`asks ${url}`);
  });
  page.on("websocket", (socket) => {
    if (!socket.url().startsWith(origin.replace("http", "ws"))) faults.push(`asks ${socket.url()}`);
  });
  return { page, context, faults };
}

/**
 * No serious or critical fault of accessibility.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} what
 */
export async function accessible(page, what) {
  await settled(page);
  await page.evaluate(AXE);
  const found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})");
  const { violations } = /** @type {{violations: {impact: string, id: string, nodes: {html: string, failureSummary: string}[]}[]}} */ (found);
  const bad = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  const lines = bad.map(({ id, nodes }) => `${id}: ${nodes.map((n) => `${n.html} ${n.failureSummary}`).join("\n")}`);
  assert.deepEqual(lines, [], what);
}

/** Nothing moves or fades any more. @param {import("playwright-core").Page} page */
async function settled(page) {
  await page.evaluate(() => Promise.allSettled(document.getAnimations().map((each) => each.finished)));
}

/**
 * A picture of the page, as it is seen.
 *
 * @param {import("playwright-core").Page} page
 * @param {string} name
 */
export async function screenshot(page, name) {
  mkdirSync(IMAGES, { recursive: true });
  await settled(page);
  const path = join(IMAGES, `${name}.png`);
  await page.screenshot({ path });
  // Packed better, where Pillow is there; no colour changes.
  const code = "import sys; from PIL import Image; Image.open(sys.argv[1]).convert('RGB').save(sys.argv[1], optimize=True)";
  spawnSync(PYTHON, ["-c", code, path]);
}
