// What was said on one stream, as a page shows it: history from the server and what comes live, without hole or double.

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("../js/src/index.js").Message} Message
 *
 * @typedef {object} Row one durable message, as much of it as a list needs
 * @property {number} seq
 * @property {"caption" | "event" | "status" | "gap"} type
 * @property {string} kind of a caption: full, diff, summary, commentary; of an event its label; of a status its state
 * @property {string} id
 * @property {number} start media seconds; -1 for a status
 * @property {number} end
 * @property {string} text
 * @property {number} saliency 0..1
 * @property {number} at Unix milliseconds
 * @property {string} [source] of a caption: which captioner
 * @property {string} [conflicts] of a caption: what in it contradicts what was perceived
 * @property {boolean} retracted
 * @property {boolean} live it came while the page looked on
 */

export const ROWS_MAX = 10_000; // of one stream in memory; the oldest go, and can be loaded again
const AGAIN_MS = 3_000;
const FIRST_PAGE = 300; // messages of all kinds
const KINDS = "caption,event,status,gap";

/** Dispatches `change` for rows that came, `reset` where all is different. */
export class StreamLog extends EventTarget {
  /** @type {Row[]} by number, ascending */ rows = [];
  /** @type {string | null} */ #epoch = null;
  #earliest = 1;
  /** One request after the other, so that each knows what the one before has brought. @type {Promise<void>} */
  #turn = Promise.resolve();
  #loaded = false;
  /** Nobody looks at it any more. */
  dropped = false;
  #paging = false;
  #api;

  /**
   * @param {Api} api
   * @param {string} stream
   */
  constructor(api, stream) {
    super();
    this.#api = api;
    this.stream = stream;
  }

  /** True where the server holds older rows than these. */
  get hasOlder() {
    const first = this.rows[0];
    return first !== undefined && first.seq > this.#earliest;
  }

  /** Load the newest rows. @param {number} newest number of the newest durable message, as far as it is known */
  load(newest) {
    return this.#next(async () => {
      await this.#fetch(Math.max(0, newest - FIRST_PAGE), FIRST_PAGE * 2);
      this.#loaded = true;
    });
  }

  /** Load a page of older rows. */
  async older() {
    if (this.#paging || !this.hasOlder || this.rows.length >= ROWS_MAX) return;
    this.#paging = true;
    try {
      await this.#next(async () => {
        const before = (this.rows[0]?.seq ?? 1) - 1;
        const after = Math.max(0, before - FIRST_PAGE);
        if (before > 0) await this.#fetch(after, before - after);
      });
    } finally {
      this.#paging = false;
    }
  }

  /** The feed goes on after this number: what lies before it and is not here is asked for, until it is had. @param {number} seq */
  reach(seq) {
    const load = async () => {
      let after = /** @type {number | undefined} */ (this.rows.at(-1)?.seq ?? 0);
      while (this.#loaded && after !== undefined && after < seq) after = await this.#fetch(after, ROWS_MAX);
    };
    this.#next(load).catch(() => !this.dropped && setTimeout(() => this.reach(seq), AGAIN_MS));
  }

  /** The numbers began anew: nothing that is here can be found any more. */
  forget() {
    this.rows = [];
    this.#epoch = null;
    this.dispatchEvent(new Event("reset"));
  }

  /** Take a live message. @param {Message} message */
  take(message) {
    const row = rowOf(message, true);
    if (row === null) return;
    if (this.#insert(row)) this.dispatchEvent(new Event("change"));
  }

  /** @param {() => Promise<void>} load */
  #next(load) {
    const done = this.#turn.then(load);
    this.#turn = done.catch(() => {}); // whoever asked hears of it
    return done;
  }

  /** @param {number} after @param {number} limit @returns {Promise<number | undefined>} where the next page begins */
  async #fetch(after, limit) {
    const page = await this.#api.history(this.stream, { after, limit: Math.min(ROWS_MAX, Math.max(1, limit)), kinds: KINDS });
    if (this.#epoch !== null && page.epoch !== this.#epoch) this.rows = [];
    this.#epoch = page.epoch;
    this.#earliest = page.earliest;
    for (const message of page.messages) {
      const row = rowOf(message, false);
      if (row !== null) this.#insert(row);
    }
    this.dispatchEvent(new Event("reset"));
    return page.next;
  }

  /** @param {Row} row @returns {boolean} false for a double */
  #insert(row) {
    if (row.retracted) {
      const meant = this.rows.find((each) => each.type === "caption" && each.id === row.id);
      if (meant !== undefined) {
        meant.retracted = true;
        this.dispatchEvent(new Event("reset"));
      }
      return false;
    }
    let low = 0;
    let high = this.rows.length;
    if ((this.rows.at(-1)?.seq ?? 0) < row.seq) low = high; // as it nearly always is
    while (low < high) {
      const middle = (low + high) >> 1;
      if (/** @type {Row} */ (this.rows[middle]).seq < row.seq) low = middle + 1;
      else high = middle;
    }
    if (this.rows[low]?.seq === row.seq) return false;
    this.rows.splice(low, 0, row);
    // A tenth at a time: taking the first of a long list away moves all the others.
    if (row.live && this.rows.length > ROWS_MAX) this.rows.splice(0, ROWS_MAX / 10);
    return true;
  }
}

/**
 * @param {Message} message
 * @param {boolean} live
 * @returns {Row | null} null for one that has no number
 */
export function rowOf(message, live) {
  if (!("seq" in message) || message.seq === undefined) return null;
  const common = { seq: message.seq, at: Date.parse(message.at), live, retracted: false };
  switch (message.type) {
    case "caption":
      return {
        ...common, type: "caption", kind: message.kind, id: message.id, start: message.start, end: message.end,
        text: message.text, saliency: message.saliency ?? 0.5, at: Date.parse(message.captured_at),
        retracted: message.status === "retracted", source: message.source ?? "",
        conflicts: (message.conflicts ?? []).map((each) => `“${each.said}”: ${each.perceived}`).join("; "),
      };
    case "event":
      return {
        ...common, type: "event", kind: message.label, id: message.id, start: message.start, end: message.end,
        text: message.text || message.label, saliency: message.saliency ?? 0.5,
      };
    case "status":
      return {
        ...common, type: "status", kind: message.state, id: "", start: -1, end: -1, saliency: 0,
        text: message.detail || message.reason || "",
      };
    case "gap":
      return {
        ...common, type: "gap", kind: "gap", id: "", start: message.start, end: message.end, saliency: 0,
        text: message.reason || "not watched",
      };
    default:
      return null;
  }
}
