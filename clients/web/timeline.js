// The strip under the picture: when something was said, how much it mattered, and when nobody watched.

import { beforePaint, h } from "./dom.js";

/** @typedef {import("./log.js").Row} Row */

const HEIGHT = 56;
const TICK = 2;
const MARK_PX = 90; // at least from one mark of the scale to the next
const STEPS = [10, 30, 60, 300, 600, 1800, 3600, 7200, 21_600, 86_400]; // seconds
const MINUTES = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hour12: false });
const SECONDS = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

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
    if (this.#rows.length === 0) return;
    ink.fillStyle = colour("--muted");
    ink.font = "11px system-ui, sans-serif";
    for (const mark of scale(this.#began() + start, seconds, width)) {
      if (mark.x < width - 50) ink.fillText(mark.words, mark.x + 3, HEIGHT - 2);
    }
  }

  /** When the media's time began, Unix seconds: the list shows the time of day, and so does the scale. */
  #began() {
    const newest = this.#rows.findLast((row) => row.type === "caption") ?? this.#rows.findLast((row) => row.end >= 0);
    return newest === undefined ? 0 : newest.at / 1000 - newest.end;
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

/**
 * The marks of a scale, at round times of day.
 *
 * @param {number} start Unix seconds
 * @param {number} seconds
 * @param {number} width px
 * @returns {{x: number, words: string}[]}
 */
export function scale(start, seconds, width) {
  const step = STEPS.find((each) => seconds / each <= width / MARK_PX) ?? 86_400;
  const zone = new Date(start * 1000).getTimezoneOffset() * 60;
  const format = step < 60 ? SECONDS : MINUTES;
  const marks = [];
  for (let t = Math.ceil((start - zone) / step) * step + zone; t < start + seconds; t += step) {
    marks.push({ x: ((t - start) / seconds) * width, words: format.format(t * 1000) });
  }
  return marks;
}
