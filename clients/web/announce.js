// For screen readers: what matters is said, and nothing else. One sentence in ten seconds, the newest of what waited.

import { h, say } from "./dom.js";
import { setting } from "./settings.js";

const SALIENT = 0.7;
const EVERY_MS = 10_000;

/** A polite live region. */
export class Announcer {
  element = h("p", { class: "unseen", "aria-live": "polite", "aria-atomic": "true", id: "announcer" });
  #last = -EVERY_MS;
  #waiting = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * A final caption. It is said where it is salient enough.
   *
   * @param {string} stream
   * @param {string} text
   * @param {number} saliency
   */
  caption(stream, text, saliency) {
    if (saliency >= SALIENT && setting("announce") === "on") this.#soon(`${stream}: ${text}`);
  }

  /** Something that the user did has had an effect: said at once. @param {string} text */
  now(text) {
    say(this.element, text);
  }

  /** @param {string} text */
  #soon(text) {
    this.#waiting = text;
    if (this.#timer !== undefined) return;
    const pause = Math.max(0, this.#last + EVERY_MS - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#last = performance.now();
      say(this.element, this.#waiting);
    }, pause);
  }
}
