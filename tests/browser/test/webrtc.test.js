// A browser publishes its camera by WHIP, and another page of it watches by WHEP.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Server, launch, launchToKill, skipped, until } from "../harness.js";

const skip = skipped();
/** @type {Server} */ let server;
/** @type {import("playwright-core").Browser} */ let browser;

before(async () => {
  if (skip) return;
  server = await Server.start({ streams: { vp8: "whip:", h264: "whip:", yard: "test:?realtime=1" } });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A page of the server itself, so that its requests are of the same origin. */
async function page() {
  const context = await browser.newContext({ bypassCSP: true });
  const made = await context.newPage();
  await made.goto(server.url);
  return made;
}

/**
 * Publish the camera, candidates trickling in after the offer; returns the session's address.
 *
 * @param {string[]} words stream, codec
 */
async function publish([stream, codec]) {
  const camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  const peer = new RTCPeerConnection();
  const track = camera.getVideoTracks()[0];
  if (!track) throw new Error("no camera");
  const transceiver = peer.addTransceiver(track, { direction: "sendonly" });
  const known = RTCRtpSender.getCapabilities("video")?.codecs ?? [];
  transceiver.setCodecPreferences(known.filter((each) => each.mimeType === `video/${codec}`));
  /** @type {RTCIceCandidate[]} */
  const candidates = [];
  const all = new Promise((resolve) => {
    peer.onicecandidate = ({ candidate }) => (candidate ? candidates.push(candidate) : resolve(undefined));
  });
  const offer = await peer.createOffer();
  const answer = await fetch(`/v1/streams/${stream}/whip`, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: offer.sdp ?? "",
  });
  if (answer.status !== 201) throw new Error(await answer.text());
  await peer.setLocalDescription(offer);
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  await all;
  const lines = (offer.sdp ?? "").split("\r\n");
  const head = lines.filter((line) => /^a=ice-(ufrag|pwd):/.test(line)).slice(0, 2);
  const location = answer.headers.get("location") ?? "";
  const more = await fetch(location, {
    method: "PATCH",
    headers: {
      "content-type": "application/trickle-ice-sdpfrag",
      "if-match": answer.headers.get("etag") ?? "",
    },
    body: [...head, "m=video 9 UDP/TLS/RTP/SAVPF 0", "a=mid:0", ...candidates.map((each) => `a=${each.candidate}`), ""].join("\r\n"),
  });
  if (more.status !== 204) throw new Error(await more.text());
  Object.assign(window, { peer });
  return location;
}

/** Watch a stream in a video element. @param {string} stream */
async function watch(stream) {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("video", { direction: "recvonly" });
  const video = Object.assign(document.createElement("video"), { autoplay: true, muted: true });
  document.body.append(video);
  peer.ontrack = ({ track }) => (video.srcObject = new MediaStream([track]));
  await peer.setLocalDescription();
  const answer = await fetch(`/v1/streams/${stream}/whep`, {
    method: "POST",
    headers: { "content-type": "application/sdp" },
    body: peer.localDescription?.sdp ?? "",
  });
  if (answer.status !== 201) throw new Error(await answer.text());
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  Object.assign(window, { peer, video });
}

/** What the page's video shows. */
function shown() {
  const video = document.querySelector("video");
  return { time: video?.currentTime ?? 0, width: video?.videoWidth ?? 0, height: video?.videoHeight ?? 0 };
}

/** @param {import("playwright-core").Page} at */
async function plays(at) {
  const first = await until(async () => {
    const now = await at.evaluate(shown);
    return now.width > 0 && now.time > 0 && now;
  }, "the video begins");
  await until(async () => (await at.evaluate(shown)).time > first.time + 1, "the video goes on");
  return first;
}

/** @param {string} stream @param {string} path */
const api = async (stream, path = "") => (await fetch(`${server.url}/v1/streams/${stream}${path}`)).json();

for (const codec of ["VP8", "H264"]) {
  test(`a camera that is published as ${codec} is captioned and watched`, { skip }, async () => {
    const stream = codec.toLowerCase();
    const camera = await page();
    const location = await camera.evaluate(publish, [stream, codec]);
    await until(async () => (await api(stream)).state === "live", "the stream is live");
    const viewer = await page();
    await viewer.evaluate(watch, stream);
    const { width, height } = await plays(viewer);
    assert.ok(Math.abs(width / height - 4 / 3) < 0.02, `${width}×${height}`);
    const messages = await until(async () => {
      const { messages } = await api(stream, "/captions");
      return messages.length > 0 && messages;
    }, "a caption");
    assert.ok(messages[0].text.length > 0);
    const ended = await camera.evaluate(async (at) => (await fetch(at, { method: "DELETE" })).status, location);
    assert.equal(ended, 200);
    await until(async () => (await api(stream)).state === "reconnecting", "the stream waits for a publisher");
    await viewer.context().close();
    await camera.context().close();
  });
}

test("a browser that is killed is noticed within five seconds", { skip }, async () => {
  const { browser: other, kill } = await launchToKill();
  const context = await other.newContext({ bypassCSP: true });
  const camera = await context.newPage();
  await camera.goto(server.url);
  await camera.evaluate(publish, ["vp8", "VP8"]);
  await until(async () => (await api("vp8")).state === "live", "the stream is live");
  await kill();
  // Ten seconds more for a machine that is late; consent alone would take half a minute to expire (RFC 7675).
  await until(async () => (await api("vp8")).state === "reconnecting", "it is noticed", 15_000);
});

test("the analysed frames of any source are watched", { skip }, async () => {
  await until(async () => (await api("yard")).frames > 0, "a frame");
  const viewer = await page();
  await viewer.evaluate(watch, "yard");
  const { width, height } = await plays(viewer);
  assert.deepEqual([width, height], [640, 360]);
  await viewer.context().close();
});
