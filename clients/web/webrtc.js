// WHEP to watch, WHIP to publish: one offer, one answer, and a DELETE at the end.

import { Problem, one } from "./api.js";

const GATHER_MS = 1_500; // for candidates; those that take longer are not waited for
const FIRST_FRAME_MS = 6_000;

/** @typedef {import("./api.js").Api} Api */

/** A session with the server's other end. */
export class Session {
  #api;
  #path;

  /**
   * @param {Api} api
   * @param {RTCPeerConnection} peer
   * @param {string} path of the session, to end it
   */
  constructor(api, peer, path) {
    this.#api = api;
    this.peer = peer;
    this.#path = path;
  }

  /** End it. The server notices by itself where this does not reach it. */
  async close() {
    this.peer.close();
    await this.#api.request(this.#path, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}

/**
 * Watch a stream.
 *
 * @param {Api} api
 * @param {string} stream
 * @param {HTMLVideoElement} video
 * @returns {Promise<Session>} once a picture is there
 * @throws {Error} it cannot be watched this way
 */
export async function watch(api, stream, video) {
  const peer = new RTCPeerConnection();
  peer.addTransceiver("video", { direction: "recvonly" });
  peer.addEventListener("track", ({ track }) => (video.srcObject = new MediaStream([track])));
  const session = await begin(api, peer, `${one(stream)}/whep`);
  try {
    await new Promise((resolve, reject) => {
      video.requestVideoFrameCallback(resolve);
      setTimeout(() => reject(new Error("no picture came")), FIRST_FRAME_MS);
      void video.play().catch(() => {});
    });
  } catch (error) {
    await session.close();
    throw error;
  }
  return session;
}

/**
 * Publish a camera.
 *
 * @param {Api} api
 * @param {string} stream whose source is `whip:`
 * @param {MediaStream} camera
 * @returns {Promise<Session>}
 */
export async function publish(api, stream, camera) {
  const peer = new RTCPeerConnection();
  for (const track of camera.getVideoTracks()) {
    track.contentHint = "detail";
    peer.addTransceiver(track, { direction: "sendonly", streams: [camera] });
  }
  return begin(api, peer, `${one(stream)}/whip`);
}

/** @param {Api} api @param {RTCPeerConnection} peer @param {string} path */
async function begin(api, peer, path) {
  try {
    await peer.setLocalDescription();
    await gathered(peer);
    const answer = await api.request(path, {
      method: "POST",
      headers: { "content-type": "application/sdp" },
      body: peer.localDescription?.sdp ?? "",
    });
    await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
    const where = answer.headers.get("location");
    if (where === null) throw new Problem(answer.status, "the server named no session");
    return new Session(api, peer, new URL(where, location.origin).pathname);
  } catch (error) {
    peer.close();
    throw error;
  }
}

/** @param {RTCPeerConnection} peer */
async function gathered(peer) {
  if (peer.iceGatheringState === "complete") return;
  await new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve(null));
  });
}
