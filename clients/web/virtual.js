// A long list of which only what is seen is in the document. Rows have whatever height their text takes.

import { beforePaint } from "./dom.js";

/**
 * @template T
 * @typedef {object} Shape
 * @property {(item: T) => number} key
 * @property {(item: T) => HTMLElement} row
 * @property {number} estimate height of a row that was not measured yet, px
 * @property {() => void} [atEnd] the last items are in sight
 */

const MARGIN = 400; // px above and below what is seen
const HEIGHTS_SPARE = 2_000; // of rows that are gone, before they are forgotten
const FOLLOW = 8; // px from the top: who is nearer sees what comes

/**
 * The newest item is the first. Who stands at the top follows what comes; who has scrolled away stays where they are.
 *
 * @template T
 */
export class VirtualList {
  /** @type {T[]} oldest first */ #items = [];
  /** @type {Map<number, number>} */ #heights = new Map();
  /** @type {Map<number, HTMLElement>} */ #rows = new Map();
  /** @type {Float64Array} */ #tops = new Float64Array(1);
  #width = 0;
  #shape;
  #resized = new ResizeObserver(() => {
    if (this.viewport.clientWidth !== this.#width) this.#heights.clear();
    this.#width = this.viewport.clientWidth;
    this.update();
  });
  /** Draw before the next paint. */
  update = beforePaint(() => this.#draw());

  /**
   * @param {HTMLElement} viewport scrolls
   * @param {HTMLElement} list in it
   * @param {Shape<T>} shape
   */
  constructor(viewport, list, shape) {
    this.viewport = viewport;
    this.list = list;
    this.#shape = shape;
    viewport.addEventListener("scroll", this.update, { passive: true });
    this.#resized.observe(viewport);
  }

  /** @param {T[]} items oldest first; held, not copied */
  set(items) {
    this.#items = items;
    this.update();
  }

  /** Make all rows anew. */
  renew() {
    this.#rows.forEach((row) => row.remove());
    this.#rows.clear();
    this.#heights.clear();
    this.update();
  }

  get count() {
    return this.#items.length;
  }

  get following() {
    return this.viewport.scrollTop <= FOLLOW;
  }

  toTop() {
    this.viewport.scrollTop = 0;
    this.update();
  }

  close() {
    this.#resized.disconnect();
  }

  /** Bring an item into sight. @param {number} key @returns {boolean} false where it is not in the list */
  reveal(key) {
    const index = this.#items.findIndex((item) => this.#shape.key(item) === key);
    if (index < 0) return false;
    this.#measure();
    const top = this.#tops[this.#items.length - 1 - index] ?? 0;
    this.viewport.scrollTop = Math.max(0, top - this.viewport.clientHeight / 3);
    this.#draw();
    return true;
  }

  /** The row of an item, where it is in the document. @param {number} key */
  row(key) {
    return this.#rows.get(key);
  }

  /** @param {number} index 0: the newest @returns {T} */
  #at(index) {
    return /** @type {T} */ (this.#items[this.#items.length - 1 - index]);
  }

  /** Where each row begins. A few thousand additions: cheaper than keeping a tree of them. */
  #measure() {
    const count = this.#items.length;
    const tops = new Float64Array(count + 1);
    for (let index = 0; index < count; index += 1) {
      const height = this.#heights.get(this.#shape.key(this.#at(index))) ?? this.#shape.estimate;
      tops[index + 1] = /** @type {number} */ (tops[index]) + height;
    }
    this.#tops = tops;
    if (this.#heights.size > count + HEIGHTS_SPARE) {
      const keys = new Set(this.#items.map((item) => this.#shape.key(item)));
      for (const key of this.#heights.keys()) if (!keys.has(key)) this.#heights.delete(key);
    }
  }

  /** The first row that reaches below a height. @param {number} y */
  #find(y) {
    let low = 0;
    let high = this.#items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (/** @type {number} */ (this.#tops[middle + 1]) <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** @returns {{key: number, offset: number} | null} what is at the top now, to be there afterwards too */
  #anchor() {
    if (this.following) return null;
    const { scrollTop } = this.viewport;
    for (const [key, row] of this.#rows) {
      const top = Number(row.dataset.top);
      if (top <= scrollTop && top + (this.#heights.get(key) ?? 0) > scrollTop) return { key, offset: scrollTop - top };
    }
    return null;
  }

  #draw() {
    const anchor = this.#anchor();
    this.#measure();
    if (anchor !== null) this.#restore(anchor);
    // Twice at most: rows that were not measured yet may turn out to be of another height.
    if (this.#place()) {
      this.#measure();
      if (anchor !== null) this.#restore(anchor);
      this.#place();
    }
    this.list.style.height = `${this.#tops[this.#items.length]}px`;
    const end = this.#find(this.viewport.scrollTop + this.viewport.clientHeight);
    if (end >= this.#items.length - 3) this.#shape.atEnd?.();
  }

  /** @param {{key: number, offset: number}} anchor */
  #restore({ key, offset }) {
    const index = this.#items.findLastIndex((item) => this.#shape.key(item) === key);
    if (index < 0) return;
    const top = (this.#tops[this.#items.length - 1 - index] ?? 0) + offset;
    this.list.style.height = `${this.#tops[this.#items.length]}px`;
    if (Math.abs(this.viewport.scrollTop - top) > 1) this.viewport.scrollTop = top;
  }

  /** Put the rows that are seen where they belong. @returns {boolean} true where a height was not as expected */
  #place() {
    const { scrollTop, clientHeight } = this.viewport;
    const first = this.#find(scrollTop - MARGIN);
    const last = Math.min(this.#items.length - 1, this.#find(scrollTop + clientHeight + MARGIN));
    /** @type {Set<number>} */
    const wanted = new Set();
    /** @type {HTMLElement | null} */
    let after = null;
    for (let index = first; index <= last; index += 1) {
      const item = this.#at(index);
      const key = this.#shape.key(item);
      wanted.add(key);
      const row = this.#rows.get(key) ?? this.#shape.row(item);
      this.#rows.set(key, row);
      /** @type {Element | null} */
      const next = after === null ? this.list.firstElementChild : after.nextElementSibling;
      if (row !== next) this.list.insertBefore(row, next); // in the order in which they are read
      row.dataset.top = String(this.#tops[index]);
      row.style.transform = `translateY(${this.#tops[index]}px)`;
      row.setAttribute("aria-posinset", String(index + 1));
      row.setAttribute("aria-setsize", String(this.#items.length));
      after = row;
    }
    for (const [key, row] of this.#rows) {
      if (!wanted.has(key) && !row.contains(document.activeElement)) {
        row.remove();
        this.#rows.delete(key);
      }
    }
    let other = false;
    for (const key of wanted) {
      const height = this.#rows.get(key)?.offsetHeight ?? 0;
      if (height > 0 && this.#heights.get(key) !== height) {
        this.#heights.set(key, height);
        other = true;
      }
    }
    return other;
  }
}
