// What a browser shows of a server that asks for a token, once its page has exchanged it for a cookie.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server, launch, skipped, until } from "../harness.js";

const skip = skipped();
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;

before(async () => {
  if (skip) return;
  server = await Server.start({ streams: { yard: "test:?realtime=1" }, token: "--scope read" });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** The width of a picture once it is there, 0 where it cannot be had. @param {string} path */
async function picture(path) {
  const image = new Image();
  return new Promise((resolve) => {
    image.onload = () => resolve(image.naturalWidth);
    image.onerror = () => resolve(0);
    image.src = path;
    document.body.append(image);
  });
}

/** The type of the first message, or what went wrong. @param {string} path */
async function events(path) {
  const source = new EventSource(path);
  return new Promise((resolve) => {
    source.onmessage = (event) => resolve(JSON.parse(event.data).type);
    source.onerror = () => resolve("refused");
  }).finally(() => source.close());
}

/** The same of a websocket. @param {string} path */
async function socket(path) {
  const feed = new WebSocket(new URL(path, location.href.replace("http", "ws")));
  return new Promise((resolve) => {
    feed.onmessage = (event) => resolve(JSON.parse(event.data).type);
    feed.onerror = () => resolve("refused");
  }).finally(() => feed.close());
}

/** A playlist and the newest of its segments, as a player fetches them. @param {string} path */
async function subtitles(path) {
  const playlist = await fetch(path, { credentials: "same-origin" });
  const lines = (await playlist.text()).split("\n").filter((line) => line && !line.startsWith("#"));
  const newest = lines.at(-1);
  if (playlist.status !== 200 || newest === undefined) return [playlist.status];
  const segment = await fetch(new URL(newest, playlist.url), { credentials: "same-origin" });
  return [playlist.status, segment.status, (await segment.text()).slice(0, 6)];
}

test("pictures, events and websockets need no header after the token was exchanged", { skip }, async () => {
  const context = await browser.newContext({ bypassCSP: true });
  const page = await context.newPage();
  await page.goto(`${server.url}/healthz`);
  const yard = "/v1/streams/yard";
  assert.equal(await page.evaluate(picture, `${yard}/preview.jpg`), 0);
  assert.equal(await page.evaluate(events, `${yard}/captions/sse`), "refused");
  assert.deepEqual(await page.evaluate(subtitles, `${yard}/live.m3u8`), [401]);
  const begun = await page.evaluate(async (token) => {
    const answer = await fetch("/v1/session", { method: "POST", headers: { authorization: `Bearer ${token}` } });
    return answer.status;
  }, server.token);
  assert.equal(begun, 200);
  assert.equal(await page.evaluate(() => document.cookie), "", "no script reads it");
  await until(async () => (await page.evaluate(picture, `${yard}/preview.jpg?width=320`)) === 320, "a picture");
  assert.equal(await page.evaluate(picture, `${yard}/preview.mjpg?width=160`), 160);
  assert.equal(await page.evaluate(events, `${yard}/captions/sse`), "hello");
  assert.equal(await page.evaluate(socket, `${yard}/captions`), "hello");
  await until(async () => (await page.evaluate(subtitles, `${yard}/live.m3u8`)).join() === "200,200,WEBVTT", "subtitles");
  const ended = await page.evaluate(async () => (await fetch("/v1/session", { method: "DELETE" })).status);
  assert.equal(ended, 204);
  assert.equal(await page.evaluate(events, `${yard}/captions/sse`), "refused");
  await context.close();
});
