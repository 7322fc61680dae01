// The strip under the picture: when something was said, how much it mattered, and when nobody watched.

import { beforePaint, h } from "./dom.js";

/** @typedef {import("./log.js").Row} Row */

const HEIGHT = 56;
const TICK = 2;

/** A drawing for a pointer; the list beside it holds the same for everybody. */
export class Timeline {
  element = h("canvas", { class: "timeline", role: "img", "aria-label": "When something was said" });
  /** @type {Row[]} */ #rows = [];
  #span = 300;
  #pick;
  #observer;
  #themes = matchMedia("(prefers-color-scheme: dark)");
  update = beforePaint(() => this.#draw());

  /** @param {(row: Row) => void} pick */
  constructor(pick) {
    this.#pick = pick;
    this.#observer = new ResizeObserver(this.update);
    this.#observer.observe(this.element);
    this.#themes.addEventListener("change", this.update);
    this.element.addEventListener("click", (event) => this.#clicked(event));
  }

  /** @param {Row[]} rows oldest first @param {number} span seconds; Infinity for all of them */
  set(rows, span) {
    this.#rows = rows;
    this.#span = span;
    this.update();
  }

  close() {
    this.#observer.disconnect();
    this.#themes.removeEventListener("change", this.update);
  }

  #range() {
    let end = 0;
    for (let i = this.#rows.length - 1; i >= 0 && end === 0; i -= 1) end = Math.max(0, this.#rows[i]?.end ?? 0);
    const first = this.#rows.find((row) => row.start >= 0)?.start ?? 0;
    const start = this.#span === Infinity ? first : Math.max(0, end - this.#span);
    return { start, seconds: Math.max(1, end - start) };
  }

  #draw() {
    const { clientWidth: width } = this.element;
    const ratio = devicePixelRatio;
    if (width === 0) return;
    this.element.width = width * ratio;
    this.element.height = HEIGHT * ratio;
    const ink = this.element.getContext("2d");
    if (ink === null) return;
    ink.scale(ratio, ratio);
    const style = getComputedStyle(this.element);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name);
    const { start, seconds } = this.#range();
    const x = (/** @type {number} */ t) => ((t - start) / seconds) * (width - TICK);
    const base = HEIGHT - 14;
    ink.fillStyle = colour("--line");
    ink.fillRect(0, base, width, 1);
    for (const row of this.#rows) {
      if (row.end < start || row.start < 0) continue;
      const left = Math.max(0, x(row.start));
      if (row.type === "gap") {
        ink.fillStyle = colour("--gap");
        ink.fillRect(left, 4, Math.max(1, x(row.end) - left), base - 4);
      } else if (row.kind !== "summary") {
        const tall = 4 + row.saliency * (base - 8);
        ink.fillStyle = colour(row.type === "event" ? "--tick-event" : "--tick-caption");
        ink.fillRect(x(row.end), base - tall, TICK, tall);
      }
    }
    this.#scale(ink, colour("--muted"), start, seconds, width);
  }

  /**
   * @param {CanvasRenderingContext2D} ink
   * @param {string} colour
   * @param {number} start
   * @param {number} seconds
   * @param {number} width
   */
  #scale(ink, colour, start, seconds, width) {
    const steps = [10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 86_400];
    const step = steps.find((each) => seconds / each <= width / 90) ?? 86_400;
    ink.fillStyle = colour;
    ink.font = "11px system-ui, sans-serif";
    for (let t = Math.ceil(start / step) * step; t < start + seconds; t += step) {
      const left = ((t - start) / seconds) * width;
      const minutes = Math.floor(t / 60);
      const words = step < 60 ? `${minutes}:${String(t % 60).padStart(2, "0")}` : minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`;
      if (left < width - 40) ink.fillText(words, left + 3, HEIGHT - 2);
    }
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const { start, seconds } = this.#range();
    const t = start + (event.offsetX / this.element.clientWidth) * seconds;
    let best = null;
    for (const row of this.#rows) {
      if (row.start >= 0 && (best === null || Math.abs(row.end - t) < Math.abs(best.end - t))) best = row;
    }
    if (best !== null) this.#pick(best);
  }
}
