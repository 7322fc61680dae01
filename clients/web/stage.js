// The large picture of one stream: WebRTC video of what is published, moving pictures of everything else; boxes above.

import { CaptionClient } from "../js/src/index.js";
import { one } from "./api.js";
import { Boxes } from "./boxes.js";
import { h, say } from "./dom.js";
import { readPictures } from "./mjpeg.js";
import { draw } from "./pictures.js";
import { watch } from "./webrtc.js";

/** @typedef {import("./api.js").Api} Api */

const WIDTH = 960;
const FPS = 10;
const AGAIN_MS = 2_000;
const STALE_MS = 3_000; // boxes that nothing renews are taken away

/** The stage of one stream, from `new` to `close()`. */
export class Stage {
  #canvas = h("canvas", { class: "picture", role: "img" });
  #video = h("video", { class: "picture", hidden: true, playsinline: true });
  #note = h("p", { class: "stage-note" }, "Waiting for a picture…");
  #boxes = new Boxes();
  #api;
  #stream;
  #stop = new AbortController();
  #newest = 0;
  /** Media time of the picture that is shown. */ #shown = 0;
  /** @type {import("./webrtc.js").Session | null} */ #session = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #again;
  #stale = setInterval(() => performance.now() - this.#newest > STALE_MS && this.#boxes.clear(), STALE_MS);

  /**
   * @param {Api} api
   * @param {string} stream
   * @param {{video: boolean}} options video: by WebRTC, where it works
   */
  constructor(api, stream, { video }) {
    this.#api = api;
    this.#stream = stream;
    this.#video.muted = true;
    this.#canvas.setAttribute("aria-label", `Picture of ${stream}`);
    this.element = h("div", { class: "stage" }, this.#canvas, this.#video, this.#boxes.element, this.#note);
    this.#client = new CaptionClient(`${location.origin}${one(stream)}/captions`, { kinds: ["instances"] });
    this.#client.addEventListener("instances", ({ message }) => {
      this.#newest = performance.now();
      this.#boxes.learn(message.t, message.instances);
      this.#boxes.show(this.#video.hidden ? this.#shown : Infinity); // they may come after their picture
    });
    this.#client.connect();
    document.addEventListener("visibilitychange", this.#seen);
    void (video ? this.#watch() : this.#read());
  }

  #client;

  /** @param {boolean} on */
  boxes(on) {
    this.element.dataset.boxes = on ? "on" : "off";
  }

  close() {
    this.#stop.abort();
    clearTimeout(this.#again);
    clearInterval(this.#stale);
    document.removeEventListener("visibilitychange", this.#seen);
    this.#client.close();
    this.#boxes.close();
    void this.#session?.close();
  }

  #seen = () => {
    if (document.visibilityState === "visible" && this.#reading === null && this.#session === null) void this.#read();
    if (document.visibilityState === "hidden") this.#reading?.abort(); // nobody looks: nothing is sent
  };

  async #watch() {
    try {
      const session = await watch(this.#api, this.#stream, this.#video);
      if (this.#stop.signal.aborted) return void session.close();
      this.#session = session;
      this.#video.hidden = false;
      this.#canvas.hidden = true;
      say(this.#note, "");
      this.#boxes.fit(this.#video.videoWidth, this.#video.videoHeight);
      this.#video.addEventListener("resize", () => this.#boxes.fit(this.#video.videoWidth, this.#video.videoHeight));
      session.peer.addEventListener("connectionstatechange", () => {
        if (["failed", "disconnected", "closed"].includes(session.peer.connectionState)) this.#fallBack();
      });
    } catch {
      if (!this.#stop.signal.aborted) void this.#read();
    }
  }

  #fallBack() {
    void this.#session?.close();
    this.#session = null;
    this.#video.hidden = true;
    this.#canvas.hidden = false;
    if (!this.#stop.signal.aborted) void this.#read();
  }

  /** @type {AbortController | null} */ #reading = null;

  async #read() {
    clearTimeout(this.#again);
    const reading = new AbortController();
    this.#reading = reading;
    const signal = AbortSignal.any([this.#stop.signal, reading.signal]);
    try {
      await readPictures(this.#api, this.#stream, (blob, t) => this.#show(blob, t), { width: WIDTH, fps: FPS, signal });
    } catch {
      if (!this.#canvas.dataset.drawn) say(this.#note, "No picture yet.");
    }
    this.#reading = null;
    if (!signal.aborted) this.#again = setTimeout(() => this.#read(), AGAIN_MS);
  }

  /** @param {Blob} blob @param {number} t */
  async #show(blob, t) {
    await draw(this.#canvas, blob);
    say(this.#note, "");
    this.#boxes.fit(this.#canvas.width, this.#canvas.height);
    this.#shown = t;
    this.#boxes.show(t);
  }
}
