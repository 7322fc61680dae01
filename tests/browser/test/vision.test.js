// A stream that a vision–language model captions, and questions to it, on the page: real servers, a real browser.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { ModelServer, Server, launch, skipped } from "../harness.js";
import { accessible, screenshot, watched } from "../watched.js";

const skip = skipped();
/** @type {ModelServer} */ let model;
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;
/** @type {import("playwright-core").Page} */ let page;
/** @type {string[]} */ let faults;

before(async () => {
  if (skip) return;
  model = await ModelServer.start();
  server = await Server.start({
    streams: { yard: "test:?seconds=3600" },
    settings: `[load]\nadmission = "lower"\n[vision]\nmodel = "test-vlm"\nurl = "${model.url}"\n`,
  });
  browser = await launch();
  ({ page, faults } = await watched(browser, server.url));
  await page.goto(`${server.url}/#/streams/yard`);
  await page.locator("h1", { hasText: "yard" }).waitFor();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  await model?.stop();
});

test("the captioner and its prompt are set while the stream is watched", { skip }, async () => {
  await page.getByRole("button", { name: "Settings", exact: true }).click();
  const dialog = page.locator("dialog[open]");
  assert.equal(await dialog.getByLabel("What the model is to heed").isVisible(), false);
  await dialog.getByLabel("Who words captions").selectOption("vision");
  await dialog.getByLabel("What the model is to heed").fill("Tell of hats.");
  await dialog.getByLabel("Number of the picture").uncheck();
  await dialog.getByLabel("All else darkened").check();
  await accessible(page, "the settings of a stream with its model");
  await screenshot(page, "settings");
  await dialog.getByRole("button", { name: "Save" }).click();
  await dialog.waitFor({ state: "detached" });
  const view = await (await fetch(`${server.url}/v1/streams/yard`)).json();
  assert.deepEqual([view.captioner, view.prompt, view.mode, view.marks], ["vision", "Tell of hats.", "sliding", ["som", "heat"]]);
});

test("a draft is refined by the model, and the list says who worded it", { skip }, async () => {
  await page.locator(".draft .kind", { hasText: "refined by test-vlm" }).waitFor();
  const row = page.locator(".rows .row", { has: page.locator(".source") }).first();
  assert.match((await row.locator(".row-text").textContent()) ?? "", /^In this picture one can see that /);
  assert.equal(await row.locator(".source").getAttribute("title"), "Worded by test-vlm");
});

test("a question is answered, and what it cites can be looked at", { skip }, async () => {
  await page.locator(".rows .row-text", { hasText: "enters" }).first().waitFor();
  await page.getByLabel("Question about this stream").fill("Who came?");
  await page.keyboard.press("Enter");
  await page.locator('.ask[data-state="answered"] .answer-text', { hasText: "tell of a person." }).waitFor();
  await page.locator(".cited button").first().click();
  const evidence = page.locator("dialog.evidence");
  await evidence.locator("canvas[data-drawn]").waitFor();
  assert.match((await evidence.locator(".evidence-text").textContent()) ?? "", /enters/);
  await screenshot(page, "ask");
  await page.keyboard.press("Escape");
});

test("it can be used without a mouse or eyes, and nothing went wrong", { skip }, async () => {
  await accessible(page, "a stream with its model");
  assert.deepEqual(faults, []);
});
