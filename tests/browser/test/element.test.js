// <stream-caption> on pages of the server and of another origin.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { Server as Feed } from "../../../clients/js/test/server.js";
import { launch, skipped, until } from "../harness.js";
import { Elsewhere } from "../page.js";
import { accessible } from "../watched.js";

const skip = skipped({ weights: false });

describe("<stream-caption>", { skip }, () => {
  /** @type {Feed} */ let feed;
  /** @type {Elsewhere} */ let elsewhere;
  /** @type {import("playwright-core").Browser} */ let browser;
  /** @type {string} */ let server;

  before(async () => {
    elsewhere = await Elsewhere.start();
    feed = await Feed.start("--origin", elsewhere.origin);
    server = feed.url.replace("ws", "http");
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await feed?.kill();
    elsewhere?.close();
  });

  /** @param {import("node:test").TestContext} t @param {string} address */
  async function open(t, address) {
    const page = await browser.newPage({ bypassCSP: true });
    t.after(async () => {
      await page.close();
      await subscribers(0);
    });
    await page.goto(address);
    return page;
  }

  /** @param {number} count */
  const subscribers = (count) => until(async () => (await feed.say("count")) === count, `${count} subscribers`);

  test("two lines on a page of another origin; what it says is text", async (t) => {
    elsewhere.pages.set(
      "/two.html",
      `<!doctype html><html lang="en"><title>x</title><script type="module" src="${server}/app/js/src/stream-caption.js"></script>
       <stream-caption stream="cam" history="3"></stream-caption>`,
    );
    const page = await open(t, `${elsewhere.origin}/two.html`);
    await subscribers(1);
    await page.evaluate(() => {
      addEventListener("caption", (event) => Object.assign(window, { heard: /** @type {CustomEvent} */ (event).detail.text }));
    });
    await feed.say("say e1 0.5 A person enters.");
    await page.locator("[part~=newest]", { hasText: "A person enters." }).waitFor();
    assert.equal(await page.evaluate(() => /** @type {any} */ (window).heard), "A person enters.");
    await feed.say("say e2 0.5 <b onclick=alert(1)>The person</b> stops.");
    await page.getByText("<b onclick=alert(1)>The person</b> stops.").and(page.locator("[part~=newest]")).waitFor();
    assert.equal(await page.locator("stream-caption b").count(), 0);
    assert.deepEqual(await page.locator("[part~=past]").allTextContents(), ["A person enters."]);
    await feed.say("take_back e2");
    await page.locator("[part~=newest]", { hasText: "A person enters." }).waitFor();
  });

  test("an origin that the server was not told of gets nothing, and the page says why", async (t) => {
    const stranger = await Elsewhere.start();
    t.after(() => stranger.close());
    const page = await open(t, `${stranger.origin}/examples/stream-caption.html?server=${server}&stream=cam`);
    await page.locator("[part=status]", { hasText: "origin" }).waitFor();
    assert.equal(await page.locator("[part~=caption]").count(), 0);
  });

  test("the example, from the server itself: drafts settle, axe finds nothing", async (t) => {
    const page = await open(t, `${server}/app/js/examples/stream-caption.html?stream=cam`);
    await subscribers(1);
    await feed.say("draft d1 1 A dog");
    await page.locator("[part~=draft]", { hasText: "A dog" }).waitFor();
    await feed.say("final d1 A dog runs.");
    await page.locator("[part~=newest]", { hasText: "A dog runs." }).waitFor();
    assert.equal(await page.locator("[part~=draft]").count(), 0);
    await feed.say("draft d2 0 It leaves");
    await page.locator("[part~=draft]", { hasText: "It leaves" }).waitFor();
    await feed.say("withdraw d2 1");
    await page.locator("[part~=draft]").waitFor({ state: "detached" });
    await page.locator("[part~=newest]", { hasText: "A dog runs." }).waitFor();
    assert.match((await page.locator("#state").textContent()) ?? "", /open/);
    await accessible(page, "element");
  });

  test("a screen reader is not flooded", async (t) => {
    const page = await open(t, `${server}/app/js/examples/stream-caption.html?stream=cam`);
    await subscribers(1);
    await page.evaluate(() => {
      const region = document.querySelector("stream-caption")?.shadowRoot?.querySelector("[aria-live]");
      const said = /** @type {string[]} */ ([]);
      Object.assign(window, { said });
      if (region) new MutationObserver(() => said.push(region.textContent ?? "")).observe(region, { childList: true });
    });
    for (let n = 0; n < 30; n += 1) await feed.say(`say f${n} 0.5 Thing ${n} happens.`);
    await page.getByText("Thing 29 happens.").first().waitFor();
    const said = /** @type {string[]} */ (await page.evaluate(() => /** @type {any} */ (window).said));
    assert.deepEqual(said, ["Thing 0 happens."]);
  });

  test("it connects when it can be seen, and leaves no trace of 200 times on and off a page", async (t) => {
    elsewhere.pages.set("/far.html", '<!doctype html><div style="height:5000px"></div><div id="place"></div>');
    const page = await open(t, `${elsewhere.origin}/far.html`);
    await page.evaluate(async (server) => {
      await import(`${server}/app/js/src/stream-caption.js`);
      const element = document.createElement("stream-caption");
      element.setAttribute("stream", "cam");
      element.setAttribute("server", server);
      document.getElementById("place")?.append(element);
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    }, server);
    assert.equal(await feed.say("count"), 0, "out of sight");
    await page.locator("#place").scrollIntoViewIfNeeded();
    await page.evaluate(() => scrollTo(0, document.body.scrollHeight));
    await subscribers(1);
    await page.evaluate(() => document.querySelector("stream-caption")?.remove());
    await subscribers(0);

    const session = await page.context().newCDPSession(page);
    /** @param {number} rounds */
    const cycle = (rounds) =>
      page.evaluate(
        async ([server, count]) => {
          for (let n = 0; n < Number(count); n += 1) {
            const element = document.createElement("stream-caption");
            element.setAttribute("src", `${server}/v1/streams/cam/captions`);
            document.getElementById("place")?.append(element);
            // Every fourth is there for long enough to connect.
            if (n % 4 === 0) await new Promise((resolve) => element.addEventListener("status", resolve, { once: true }));
            element.remove();
          }
        },
        /** @type {const} */ ([server, rounds]),
      );
    const counters = async () => {
      await session.send("HeapProfiler.collectGarbage");
      return session.send("Memory.getDOMCounters");
    };
    await cycle(20);
    await subscribers(0);
    const before = await counters();
    await cycle(200);
    await subscribers(0);
    const now = await counters();
    assert.ok(now.nodes <= before.nodes + 20, `nodes: ${before.nodes}, then ${now.nodes}`);
    assert.ok(now.jsEventListeners <= before.jsEventListeners + 10, `listeners: ${before.jsEventListeners}, then ${now.jsEventListeners}`);
  });
});
