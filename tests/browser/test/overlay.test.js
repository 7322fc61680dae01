// /overlay/STREAM in a real browser: what goes on air, for how long, and what does not.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";

import { Server as Feed, makeToken } from "../../../clients/js/test/server.js";
import { Server, demoClip, launch, skipped, until } from "../harness.js";
import { record, shown } from "../page.js";
import { accessible, screenshot } from "../watched.js";

const skip = skipped({ weights: false });
const LONG =
  "A person in a red jacket walks past the shop window. A car parks at the kerb and two people get out. " +
  "Leaves move in the wind, and it is quiet again.";
/** @type {import("playwright-core").Browser} */ let browser;
/** @type {import("playwright-core").Page[]} */ let pages = [];

before(async () => {
  if (!skip) browser = await launch();
});
after(async () => browser?.close());

/**
 * @param {{url: string}} feed
 * @param {string} query
 * @param {import("playwright-core").BrowserContextOptions} [options]
 */
async function overlay(feed, query = "", options = {}) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 }, bypassCSP: true, ...options });
  pages.push(page);
  await record(page);
  /** @type {string[]} */
  const warnings = [];
  page.on("console", (line) => line.type() === "warning" && warnings.push(line.text()));
  await page.goto(`${feed.url.replace(/^ws/, "http")}/overlay/cam${query}`);
  return { page, warnings };
}

async function closeAll() {
  await Promise.all(pages.map((page) => page.close()));
  pages = [];
}

/** Its feed is there. @param {Feed} feed @param {number} count of subscribers */
async function connected(feed, count = 1) {
  await until(async () => (await feed.say("count")) === count, "the page subscribes");
}

describe("on air", { skip }, () => {
  /** @type {Feed} */ let feed;
  before(async () => {
    feed = await Feed.start();
  });
  after(() => feed?.kill());
  afterEach(async () => {
    await closeAll();
    await connected(feed, 0);
  });

  test("a long caption in pages of two lines of 42, each for as long as it takes to read", async () => {
    const { page } = await overlay(feed, "?hold=1");
    await connected(feed);
    await feed.say(`say long 0.5 ${LONG}`);
    const seen = await until(async () => {
      const all = await shown(page);
      return all.length > 1 && all[all.length - 1]?.lines.length === 0 && all;
    }, "all pages were shown");
    assert.equal(seen.flatMap((each) => each.lines).join(" "), LONG);
    seen.slice(0, -1).forEach(({ at, lines }, n) => {
      assert.ok(lines.length <= 2 && lines.every((line) => line.length <= 42), lines.join("|"));
      const seconds = (seen[n + 1]?.at ?? 0) - at;
      assert.ok(seconds >= lines.join(" ").length / 17 - 0.02, `${lines.join(" ")}: ${seconds}`);
    });
  });

  test("all but the text is transparent, and the text is inside the safe area", async () => {
    for (const style of ["lower-third", "plain"]) {
      const { page } = await overlay(feed, `?style=${style}&font=DejaVu Sans Mono&size=7&fade=0`);
      await connected(feed);
      await feed.say(`say ${style}1 0.5 Wide letters in a large size: they have to fit into the frame all the same.`);
      await page.locator("#captions.on", { hasText: "Wide" }).waitFor();
      const image = (await page.screenshot({ omitBackground: true })).toString("base64");
      const box = await page.evaluate(painted, image);
      const [left, top, right, bottom] = box;
      assert.ok(left >= 0.05 - 0.005 && right <= 0.95 + 0.005 && bottom <= 0.95 + 0.005, box.join());
      assert.ok(top > 0.5, "nothing but the lower third is touched");
      await closeAll();
      await connected(feed, 0);
    }
  });

  test("text of any kind is text", async () => {
    const { page } = await overlay(feed);
    let opened = 0;
    page.on("dialog", (dialog) => {
      opened += 1;
      void dialog.dismiss();
    });
    await connected(feed);
    await feed.say('say evil 0.5 <img src=x onerror=alert(1)><script>alert(2)</script> \u202egnp.exe');
    await page.getByText("<img").waitFor();
    const { lines } = (await shown(page)).slice(-1)[0] ?? { lines: [] };
    assert.match(lines.join(" "), /^<img src=x onerror=alert\(1\)><script>/);
    assert.equal(await page.locator("#overlay img, #overlay script").count(), 0);
    assert.ok(!lines.join("").includes("\u202e"));
    assert.equal(opened, 0);
  });

  test("a retracted caption goes at once; the end of the stream clears the screen", async () => {
    const { page } = await overlay(feed, "?hold=60");
    await connected(feed);
    await feed.say("say wrong 0.5 A person falls.");
    await page.getByText("A person falls.").waitFor();
    await feed.say("take_back wrong");
    await page.locator("#captions:not(.on)").waitFor({ state: "attached", timeout: 30_000 });
    await feed.say("say last 0.5 The person leaves.");
    await page.getByText("The person leaves.").waitFor();
    await feed.say("status ended");
    await page.locator("#captions:not(.on)").waitFor({ state: "attached", timeout: 30_000 });
    await feed.say("status live");
  });

  test("a draft that is withdrawn goes at once, and its caption may come after all", async (t) => {
    const quiet = await Feed.start(); // nothing was said there that is on air still
    t.after(() => quiet.kill());
    const { page } = await overlay(quiet, "?hold=60&drafts=1");
    await connected(quiet);
    await quiet.say("draft likely 0 It leaves.");
    await page.getByText("It leaves.").waitFor();
    await quiet.say("withdraw likely 1");
    await page.locator("#captions:not(.on)").waitFor({ state: "attached", timeout: 30_000 });
    await quiet.say("say likely 0.5 A car comes.");
    await page.getByText("A car comes.").waitFor();
  });

  test("wrong options are said on the console, and defaults hold; who wants no motion gets none", async () => {
    const query = "?size=99&token=sc_secret&colour=blurple&preview=1";
    const { page, warnings } = await overlay(feed, query, { reducedMotion: "reduce" });
    await page.locator("#note", { hasText: "open" }).waitFor();
    assert.equal(warnings.length, 3);
    assert.ok(!warnings.join().includes("sc_secret"));
    const look = await page.evaluate(() => {
      const [root, captions] = [document.documentElement, document.getElementById("captions")];
      return [root.style.getPropertyValue("--size"), captions && getComputedStyle(captions).transitionDuration];
    });
    assert.deepEqual(look, ["5", "0s"]);
    await accessible(page, "overlay");
  });
});

test("killed and started again: every caption once, in order", { skip }, async () => {
  const data = mkdtempSync(join(tmpdir(), "streamcap-overlay-"));
  let feed = await Feed.start("--data", data);
  const { port } = feed;
  const { page } = await overlay(feed);
  try {
    await connected(feed);
    await feed.say("say c1 0.5 A person enters.");
    await page.getByText("A person enters.").waitFor();
    await feed.kill();
    feed = await Feed.start("--data", data, "--port", port);
    await feed.say("say c2 0.5 The person stops."); // before the page is back
    await connected(feed);
    await feed.say("say c3 0.5 The person leaves.");
    await page.getByText("The person leaves.").waitFor();
    const texts = (await shown(page)).map((each) => each.lines.join(" ")).filter(Boolean);
    assert.deepEqual(texts, ["A person enters.", "The person stops.", "The person leaves."]);
  } finally {
    await closeAll();
    await feed.kill();
    rmSync(data, { recursive: true });
  }
});

test("a token behind # opens the feed; without one nothing is shown", { skip }, async () => {
  const { file, token, remove } = await makeToken("--scope", "read");
  const feed = await Feed.start("--tokens", file);
  try {
    const closed = await overlay(feed, "?preview=1");
    await closed.page.locator("#note", { hasText: "4401" }).waitFor();
    assert.equal(await feed.say("count"), 0);
    const open = await overlay(feed, `?preview=1#token=${token}`);
    await connected(feed);
    await feed.say("say c1 0.5 A person enters.");
    await open.page.getByText("A person enters.").waitFor();
    assert.equal(await closed.page.locator(".line").count(), 0);
  } finally {
    await closeAll();
    await feed.kill();
    remove();
  }
});

test("a real stream on air", { skip: skipped() }, async () => {
  const clip = demoClip();
  const server = await Server.start({ streams: { cam: clip ? `${clip}?loop=1` : "test:?seconds=3600" } });
  try {
    const { page } = await overlay({ url: server.url });
    const thing = clip ? "bicycle" : "person";
    await page.locator("#captions.on", { hasText: thing }).waitFor();
    const lines = await page.locator("#captions .line").allTextContents();
    const text = await page.screenshot({ omitBackground: true });
    // As a vision mixer puts it over the picture: the one that it speaks about.
    const history = await (await fetch(`${server.url}/v1/streams/cam/captions`)).json();
    const said = history.messages.findLast((/** @type {any} */ each) => each.text?.includes(lines.join(" ")));
    const frame = await fetch(`${server.url}/v1/streams/cam/frames/${said.evidence[0].t}.jpg`);
    assert.equal(frame.status, 200);
    const mixer = await browser.newPage({ viewport: { width: 1280, height: 720 } });
    pages.push(mixer);
    const layer = "position:absolute;inset:0;width:100%;height:100%;object-fit:cover";
    await mixer.setContent(`<body style="margin:0;background:#000">
      <img style="${layer}" src="data:image/jpeg;base64,${Buffer.from(await frame.arrayBuffer()).toString("base64")}">
      <img style="${layer}" src="data:image/png;base64,${text.toString("base64")}">`);
    await mixer.evaluate(() => Promise.all(Array.from(document.images, (image) => image.decode())));
    await screenshot(mixer, "overlay");
    const seen = await until(async () => {
      const all = await shown(page);
      return all.length > 2 && all;
    }, "captions follow each other");
    seen.forEach(({ at, lines }, n, all) => {
      assert.ok(lines.length <= 2 && lines.every((line) => line.length <= 42), lines.join("|"));
      const next = all[n + 1];
      if (next && lines.length > 0) assert.ok(next.at - at >= lines.join(" ").length / 17 - 0.5, lines.join("|"));
    });
  } finally {
    await closeAll();
    await server.stop();
  }
});

/**
 * What is not transparent in a picture: left, top, right, bottom in 0..1.
 *
 * @param {string} base64 PNG
 * @returns {Promise<[number, number, number, number]>}
 */
async function painted(base64) {
  const image = new Image();
  image.src = `data:image/png;base64,${base64}`;
  await image.decode();
  const { width, height } = image;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context?.drawImage(image, 0, 0);
  const { data } = context?.getImageData(0, 0, width, height) ?? { data: new Uint8ClampedArray() };
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let n = 3; n < data.length; n += 4) {
    if ((data[n] ?? 0) < 64) continue; // below it: the soft edge of a shadow
    const [x, y] = [((n - 3) / 4) % width, Math.floor((n - 3) / 4 / width)];
    left = Math.min(left, x);
    right = Math.max(right, x + 1);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y + 1);
  }
  return [left / width, top / height, right / width, bottom / height];
}
