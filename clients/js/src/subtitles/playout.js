// What is on air, when, and what is left out: pages of captions in turn, each for as long as it takes to read. No DOM, no
// clock and no timer: whoever uses it says what time it is, in seconds of any steady clock, and asks when to ask again.

import { paginate } from "./pages.js";

/**
 * @typedef {import("./pages.js").Page} Page
 *
 * @typedef {object} Item
 * @property {string} id
 * @property {string} text
 * @property {boolean} final false for a draft
 * @property {number} [saliency] 0..1
 * @property {number} [age] seconds since it was said
 *
 * @typedef {object} OnAir
 * @property {string} id
 * @property {Page} page
 * @property {number} index of the page, from 0
 * @property {number} count of the caption's pages
 * @property {boolean} final
 *
 * @typedef {object} PlayoutOptions
 * @property {number} [cps] cells read in a second; 17
 * @property {number} [holdS] how long a last page stays where nothing follows; never shorter than it takes to read
 * @property {import("./pages.js").PageOptions} [pages]
 *
 * @typedef {object} Waiting
 * @property {Item} item
 * @property {Page[]} pages
 * @property {number} said when, by the clock of the calls
 *
 * @typedef {{item: Item, pages: Page[], index: number, since: number}} Showing
 */

export const CPS = 17; // characters a second, adults: Netflix; BBC's 160 to 180 words a minute are 14 to 17
export const SHORTEST_S = 1.5; // of a page; below it eyes do not find it
export const HOLD_S = 7; // longest that guides let one subtitle stand
// The queue's policy. At most so many captions wait, and so much reading; beyond it the least salient goes, of equal ones the
// oldest. One that waited too long is passed over when its turn comes, unless nothing that waits is more salient.
export const WAITING_MAX = 4;
export const BACKLOG_S = 12;
export const STALE_S = 15;
export const OLD_S = 30; // said so long ago, while nobody listened, it is no news: it does not go on air at all
export const URGENT = 0.25; // by so much more salient than what is on air: it need not wait for the next page of that
const REMEMBERED = 200; // ids of finals that were taken, so that none comes twice

/** The screen of one stream. */
export class Playout {
  #cps;
  #holdS;
  #layout;
  /** @type {Showing | null} */ #air = null;
  /** @type {Waiting[]} */ #waiting = [];
  /** @type {Set<string>} */ #taken = new Set();
  #ended = false;
  /** Captions that were left out, for whoever tunes. */
  dropped = 0;

  /** @param {PlayoutOptions} [options] */
  constructor({ cps = CPS, holdS = HOLD_S, pages = {} } = {}) {
    this.#cps = cps;
    this.#holdS = holdS;
    this.#layout = pages;
  }

  /** Captions that wait. */
  get waiting() {
    return this.#waiting.length;
  }

  /**
   * How long a page has to stay, in seconds.
   *
   * @param {Page} page
   */
  readingS(page) {
    return Math.max(SHORTEST_S, page.cells / this.#cps);
  }

  /**
   * A caption, or a revision of one. A final waits for its turn; a draft is shown where nothing else has to be, or not
   * at all, and its revisions and its final take its place.
   *
   * @param {Item} item
   * @param {number} now
   */
  add(item, now) {
    this.#ended = false;
    if (this.#taken.has(item.id)) return;
    if (item.final) this.#take(item.id);
    const pages = paginate(item.text, this.#layout);
    if (pages.length === 0) return;
    if (this.#air?.item.id === item.id) this.#revise(this.#air, item, pages, now);
    else if (!item.final) this.#tryDraft(item, pages, now);
    else if ((item.age ?? 0) > OLD_S) this.dropped += 1;
    else {
      this.#waiting.push({ item, pages, said: now - (item.age ?? 0) });
      this.#shed();
    }
    this.#advance(now);
  }

  /**
   * Take a caption back, from the air at once: it was not true.
   *
   * @param {string} id
   * @param {number} now
   */
  retract(id, now) {
    this.#take(id);
    this.#waiting = this.#waiting.filter((each) => each.item.id !== id);
    if (this.#air?.item.id === id) this.#air = null;
    this.#advance(now);
  }

  /**
   * Take a draft back, from the air at once. Its id may be that of the next caption.
   *
   * @param {string} id
   * @param {number} now
   */
  withdraw(id, now) {
    if (this.#air?.item.id !== id || this.#air.item.final) return;
    this.#air = null;
    this.#advance(now);
  }

  /**
   * Nothing more will come: what waits is shown, then the screen is cleared without a hold. A caption begins it anew.
   *
   * @param {number} now
   */
  end(now) {
    this.#ended = true;
    this.#advance(now);
  }

  /** Ids mean other captions from now on; what is on air or waits goes on. */
  forget() {
    this.#taken.clear();
  }

  /**
   * What is on air.
   *
   * @param {number} now never earlier than before
   * @returns {OnAir | null}
   */
  at(now) {
    this.#advance(now);
    const air = this.#air;
    const page = air?.pages[air.index];
    if (!air || !page) return null;
    return { id: air.item.id, page, index: air.index, count: air.pages.length, final: air.item.final };
  }

  /**
   * When to ask again: the screen changes then, unless something is added before.
   *
   * @returns {number} Infinity where nothing will change
   */
  next() {
    const air = this.#air;
    if (air === null) return Infinity;
    const idle = air.index === air.pages.length - 1 && this.#waiting.length === 0;
    return idle ? this.#clearsAt(air) : this.#readAt(air);
  }

  /** @param {number} now */
  #advance(now) {
    const air = this.#air;
    if (air === null) this.#begin(now);
    else if (now >= this.#readAt(air)) {
      const page = air.pages[air.index];
      if (air.index < air.pages.length - 1 && !(page?.sentence && this.#isUrgent(air))) {
        this.#air = { ...air, index: air.index + 1, since: now };
      } else if (this.#waiting.length > 0) this.#begin(now);
      else if (now >= this.#clearsAt(air)) this.#air = null;
    }
  }

  /** @param {number} now */
  #begin(now) {
    const air = this.#air;
    if (air !== null && air.index < air.pages.length - 1) this.#passOver(air.item.saliency ?? 0);
    const top = Math.max(...this.#waiting.map((each) => each.item.saliency ?? 0));
    while (this.#waiting.length > 1) {
      const [first] = this.#waiting;
      if (!first || now - first.said <= STALE_S || (first.item.saliency ?? 0) >= top) break;
      this.#waiting.shift();
      this.dropped += 1;
    }
    const next = this.#waiting.shift();
    if (next) this.#air = { item: next.item, pages: next.pages, index: 0, since: now };
  }

  /**
   * A caption is left before its end for an urgent one: what waits before that one is less urgent, and older.
   *
   * @param {number} saliency of what is left
   */
  #passOver(saliency) {
    const urgent = this.#waiting.findIndex((each) => (each.item.saliency ?? 0) >= saliency + URGENT);
    this.dropped += urgent;
    this.#waiting.splice(0, urgent);
  }

  /** @param {Showing} air */
  #isUrgent(air) {
    return this.#waiting.some((each) => (each.item.saliency ?? 0) >= (air.item.saliency ?? 0) + URGENT);
  }

  /**
   * @param {Showing} air
   * @param {Item} item
   * @param {Page[]} pages
   * @param {number} now
   */
  #revise(air, item, pages, now) {
    const index = Math.min(air.index, pages.length - 1);
    const same = isSame(air.pages[air.index], pages[index]);
    this.#air = { item, pages, index, since: same ? air.since : now };
  }

  /**
   * @param {Item} item
   * @param {Page[]} pages
   * @param {number} now
   */
  #tryDraft(item, pages, now) {
    const air = this.#air;
    const free = air === null || (air.index === air.pages.length - 1 && now >= this.#readAt(air));
    if (free && this.#waiting.length === 0) this.#air = { item, pages, index: 0, since: now };
  }

  #shed() {
    const load = () => this.#waiting.reduce((sum, each) => sum + this.#allS(each.pages), 0);
    while (this.#waiting.length > WAITING_MAX || (this.#waiting.length > 1 && load() > BACKLOG_S)) {
      const least = this.#waiting.reduce((a, b) => ((b.item.saliency ?? 0) < (a.item.saliency ?? 0) ? b : a));
      this.#waiting.splice(this.#waiting.indexOf(least), 1);
      this.dropped += 1;
    }
  }

  /** @param {Page[]} pages */
  #allS(pages) {
    return pages.reduce((sum, page) => sum + this.readingS(page), 0);
  }

  /** @param {Showing} air */
  #readAt(air) {
    const page = air.pages[air.index];
    return air.since + (page ? this.readingS(page) : 0);
  }

  /** @param {Showing} air */
  #clearsAt(air) {
    return this.#ended ? this.#readAt(air) : Math.max(this.#readAt(air), air.since + this.#holdS);
  }

  /** @param {string} id */
  #take(id) {
    this.#taken.add(id);
    if (this.#taken.size > REMEMBERED) for (const oldest of this.#taken) return void this.#taken.delete(oldest);
  }
}

/**
 * @param {Page | undefined} a
 * @param {Page | undefined} b
 */
function isSame(a, b) {
  return a !== undefined && b !== undefined && a.lines.join("\n") === b.lines.join("\n");
}
