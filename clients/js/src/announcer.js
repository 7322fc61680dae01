// What a screen reader is told: not more often than it can say it, and then the newest.

const PAUSE_MS = 5_000; // a sentence or two at usual speed
const AT_ONCE = 2; // captions of one announcement; older ones stand on the page

/** Fills a live region, politely. */
export class Announcer {
  /** @type {HTMLElement} */ #region;
  /** @type {string[]} */ #waiting = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #pause;

  /** @param {HTMLElement} region hidden from sight, and from nobody else */
  constructor(region) {
    region.setAttribute("role", "status");
    region.setAttribute("aria-live", "polite");
    region.setAttribute("aria-atomic", "true");
    this.#region = region;
  }

  /** @param {string} text */
  say(text) {
    this.#waiting = [...this.#waiting, text].slice(-AT_ONCE);
    if (this.#pause === undefined) this.#speak();
  }

  stop() {
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#waiting = [];
    this.#region.textContent = "";
  }

  #speak() {
    this.#pause = undefined;
    if (this.#waiting.length === 0) return;
    this.#region.textContent = this.#waiting.join(" ");
    this.#waiting = [];
    this.#pause = setTimeout(() => this.#speak(), PAUSE_MS);
  }
}
