// Chromium plays what a camera encoded, as it is: a looped H.264 file, at the file's own rate.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { PYTHON, ROOT, Server, launch, skipped, until } from "../harness.js";

const skip = skipped();
const LONG_KEYS = "120"; // frames: a viewer who had to wait for one would wait for two seconds on average
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;
/** @type {string} */ let folder;

before(async () => {
  if (skip) return;
  folder = mkdtempSync(join(tmpdir(), "streamcap-relay-"));
  const clip = join(folder, "clip.mp4");
  const code = `
from pathlib import Path
from tests.clips_made import clip
clip(Path(${JSON.stringify(clip)}), frames=360, fps=30, g="${LONG_KEYS}", profile="high")`;
  const made = spawnSync(PYTHON, ["-c", code], { cwd: ROOT, encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  server = await Server.start({ streams: { cam: `${clip}?loop=1` } });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
  if (folder) rmSync(folder, { recursive: true, force: true });
});

/** Watch in a video element; gives what the browser counts of it after some seconds. */
async function watched() {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("video", { direction: "recvonly" });
  const video = Object.assign(document.createElement("video"), { autoplay: true, muted: true });
  document.body.append(video);
  peer.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  await peer.setLocalDescription();
  const answer = await fetch("/v1/streams/cam/whep", {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: peer.localDescription?.sdp ?? "",
  });
  if (answer.status !== 201) throw new Error(await answer.text());
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  const begun = performance.now();
  while (video.currentTime === 0 || video.videoWidth === 0) {
    if (performance.now() - begun > 60_000) throw new Error("no picture");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const first = performance.now() - begun;
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  const frames = () => video.getVideoPlaybackQuality().totalVideoFrames;
  let [rate, speed] = [0, 0];
  // A machine that is busy with something else drops pictures; four seconds in which it is not are enough.
  for (let tries = 0; tries < 12 && (rate < 20 || Math.abs(speed - 1) >= 0.2); tries += 1) {
    const [from, time, count] = [performance.now(), video.currentTime, frames()];
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    const elapsed = (performance.now() - from) / 1000;
    rate = (frames() - count) / elapsed;
    speed = (video.currentTime - time) / elapsed;
  }
  let codec = "";
  let waits = 0;
  for (const each of (await peer.getStats()).values()) {
    if (each.type === "codec") codec = each.mimeType;
    if (each.type === "inbound-rtp") waits = each.jitterBufferDelay / Math.max(1, each.jitterBufferEmittedCount);
  }
  peer.close();
  return { first, rate, speed, codec, waits, width: video.videoWidth };
}

test("every frame of an H.264 source is played", { skip }, async (context) => {
  const view = async () => (await fetch(`${server.url}/v1/streams/cam`)).json();
  await until(async () => (await view()).whep?.relayed, "the stream is relayed");
  const page = await (await browser.newContext({ bypassCSP: true })).newPage();
  await page.goto(server.url);
  const seen = await page.evaluate(watched);
  context.diagnostic(JSON.stringify(seen));
  assert.equal(seen.codec, "video/H264");
  assert.equal(seen.width, 320);
  assert.ok(seen.rate >= 20, `${seen.rate} frames a second of 30`);
  assert.ok(Math.abs(seen.speed - 1) < 0.2, `played at ${seen.speed} of the speed`);
  assert.ok(seen.waits < 1, `${seen.waits} s in the jitter buffer`);
  await page.context().close();
});
