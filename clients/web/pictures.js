// Pictures of the wall: one small picture of each tile that is seen, about once a second, few requests at a time.

import { one } from "./api.js";

/**
 * @typedef {import("./api.js").Api} Api
 *
 * @typedef {object} Shown
 * @property {string} stream
 * @property {HTMLCanvasElement} canvas
 * @property {boolean} seen
 * @property {boolean} busy
 * @property {number} due when to ask again, on the page's clock
 * @property {string} etag
 */

const AT_ONCE = 3; // of the six connections that a browser opens to a server; a slow picture must not block the rest
const EVERY_MS = 1_000;
const LATER_MS = 5_000; // where there was none
const WIDTH = 480;

/** Draws the newest pictures of streams into their canvases. */
export class Pictures {
  /** @type {Map<Element, Shown>} */ #shown = new Map();
  #busy = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #api;
  #observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const shown = this.#shown.get(target);
      if (shown !== undefined) shown.seen = isIntersecting;
    }
    this.#next();
  }, { rootMargin: "80px" });
  #visible = () => this.#next();

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
    document.addEventListener("visibilitychange", this.#visible);
  }

  /** @param {string} stream @param {HTMLCanvasElement} canvas */
  add(stream, canvas) {
    this.#shown.set(canvas, { stream, canvas, seen: false, busy: false, due: 0, etag: "" });
    this.#observer.observe(canvas);
  }

  /** @param {HTMLCanvasElement} canvas */
  remove(canvas) {
    this.#observer.unobserve(canvas);
    this.#shown.delete(canvas);
  }

  close() {
    document.removeEventListener("visibilitychange", this.#visible);
    this.#observer.disconnect();
    this.#shown.clear();
    clearTimeout(this.#timer);
  }

  #next() {
    clearTimeout(this.#timer);
    if (document.visibilityState !== "visible") return;
    const now = performance.now();
    const waiting = [...this.#shown.values()].filter((each) => each.seen && !each.busy).sort((a, b) => a.due - b.due);
    for (const each of waiting) {
      if (each.due > now || this.#busy >= AT_ONCE) break;
      void this.#ask(each);
    }
    const next = waiting.find((each) => !each.busy);
    if (next !== undefined && this.#busy < AT_ONCE) {
      this.#timer = setTimeout(() => this.#next(), Math.max(20, next.due - now));
    }
  }

  /** @param {Shown} shown */
  async #ask(shown) {
    this.#busy += 1;
    shown.busy = true;
    shown.due = performance.now() + EVERY_MS;
    try {
      const headers = shown.etag ? { "if-none-match": shown.etag } : undefined;
      const answer = await this.#api.request(`${one(shown.stream)}/preview.jpg?width=${WIDTH}`, headers ? { headers } : {});
      if (answer.status === 200) {
        shown.etag = answer.headers.get("etag") ?? "";
        await draw(shown.canvas, await answer.blob());
      }
    } catch {
      shown.due += LATER_MS; // none yet, or the server is gone: the tile says so itself
    }
    shown.busy = false;
    this.#busy -= 1;
    this.#next();
  }
}

/** @param {HTMLCanvasElement} canvas @param {Blob} blob */
export async function draw(canvas, blob) {
  const bitmap = await createImageBitmap(blob);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  bitmap.close();
  canvas.dataset.drawn = "true";
}
