// One feed of all streams for the whole page, the list of the streams, and the logs of those that are looked at.

import { CaptionClient } from "../js/src/index.js";
import { StreamLog } from "./log.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./api.js").StreamView} StreamView
 * @typedef {import("../js/src/index.js").Message} Message
 * @typedef {import("../js/src/index.js").FeedState} FeedState
 */

const LIST_MS = 5_000; // rates and drops are not part of the feed
const SOON_MS = 100;
const UNAUTHORIZED = 4401;

/** Something was said on a stream. */
export class NewsEvent extends Event {
  /** @param {Message} message */
  constructor(message) {
    super("news");
    this.message = message;
  }
}

/** Dispatches `news`, `streams` (the list), `connection`, and `signin` where the server wants a token. */
export class Feed extends EventTarget {
  /** @type {Map<string, StreamView>} */ streams = new Map();
  /** True once the list was answered. */
  listed = false;
  /** @type {Map<string, StreamLog>} */ #logs = new Map();
  /** @type {Map<string, number>} when each stream was last heard of, Unix milliseconds */ heard = new Map();
  #api;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  connection = { state: "connecting", reason: "", retryAt: 0 };

  /** @param {Api} api */
  constructor(api) {
    super();
    this.#api = api;
    this.client = new CaptionClient(`${location.origin}/v1/captions?streams=*`);
    this.client.addEventListener("message", ({ message }) => this.#take(message));
    this.client.addEventListener("state", (event) => this.#connected(event));
    this.client.addEventListener("gap", ({ stream, missed }) => {
      if (missed !== null && missed.upto === null) this.#logs.get(stream)?.forget();
    });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.refresh());
  }

  begin() {
    this.client.connect();
    void this.refresh();
  }

  /** Connect at once, not when the pause after a loss is over. */
  again() {
    this.client.close();
    this.client.connect();
  }

  /** @param {string} stream @returns {FeedState | undefined} */
  state(stream) {
    return this.client.states.get(stream);
  }

  /** The log of a stream; it is kept while the page lives, but only one at a time. @param {string} stream */
  log(stream) {
    const known = this.#logs.get(stream);
    if (known !== undefined) return known;
    for (const log of this.#logs.values()) log.dropped = true;
    this.#logs.clear(); // ten thousand rows of each stream that was ever looked at would be too much
    const log = new StreamLog(this.#api, stream);
    this.#logs.set(stream, log);
    return log;
  }

  /** Ask for the list of the streams anew, now and then every few seconds. */
  async refresh() {
    clearTimeout(this.#timer);
    try {
      const listed = await this.#api.streams();
      this.streams = new Map(listed.map((each) => [each.id, each]));
      this.listed = true;
      this.dispatchEvent(new Event("streams"));
    } catch {
      // The connection's own state says it; the next try follows.
    }
    clearTimeout(this.#timer);
    if (document.visibilityState === "visible") this.#timer = setTimeout(() => this.refresh(), LIST_MS);
  }

  /** Fifty streams that say hello are one reason to ask. */
  #refreshSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.refresh(), SOON_MS);
  }

  /** @param {Message} message */
  #take(message) {
    const { stream } = message;
    if (stream === undefined) return;
    if (message.type === "caption" || message.type === "event" || message.type === "unchanged") {
      this.heard.set(stream, Date.now());
    } else if (message.type === "snapshot") {
      const last = message.recent?.at(-1);
      if (last !== undefined) this.heard.set(stream, Date.parse(last.at));
      // A snapshot stands for what came before it, also between the log's last row and now.
      this.#logs.get(stream)?.reach(message.seq);
    }
    this.#logs.get(stream)?.take(message);
    const known = this.streams.get(stream);
    if (known === undefined && message.type === "hello") this.#refreshSoon();
    if (known !== undefined && message.type === "status") {
      known.state = message.state;
      known.reason = message.reason ?? "";
      known.detail = message.detail ?? "";
      if (message.state === "ended") void this.refresh();
    }
    this.dispatchEvent(new NewsEvent(message));
  }

  /** @param {import("../js/src/index.js").StateEvent} event */
  #connected({ state, reason, code, retryMs }) {
    this.connection = { state, reason, retryAt: retryMs === null ? 0 : Date.now() + retryMs };
    this.dispatchEvent(new Event("connection"));
    if (state === "open") void this.refresh();
    if (state === "closed" && code === UNAUTHORIZED) void this.#signedOut();
  }

  async #signedOut() {
    if ((await this.#api.renew()) !== null) this.client.connect();
    else this.dispatchEvent(new Event("signin"));
  }
}
