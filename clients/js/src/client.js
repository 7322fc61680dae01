// A subscriber: connects to a feed, tells its messages as events, comes back after a loss and goes on where it stood.

import { FeedState } from "./fold.js";
import { SUBPROTOCOL, WireError, decode } from "./messages.js";

/**
 * @typedef {import("./messages.js").Message} Message
 *
 * @typedef {object} Place where a later client can go on
 * @property {string} epoch
 * @property {Record<string, number>} after newest number taken, by stream
 *
 * @typedef {object} ClientOptions
 * @property {string | (() => string | Promise<string>)} [token] for a server that asks for one; sent as the first
 *   message, never in the address. A function is asked at each connection.
 * @property {Place} [place] go on from here, as `client.place()` gave it
 * @property {boolean} [interim] false for durable messages only
 * @property {string[]} [kinds] of caption, event, status, gap, unchanged, which come where it is absent, and instances
 * @property {boolean} [reconnect] come back after a loss; true unless it is said
 * @property {number} [backoffFirstMs] longest first pause; it doubles with each failure
 * @property {number} [backoffMaxMs]
 * @property {typeof globalThis.WebSocket} [WebSocket] for a Node that has none
 *
 * @typedef {"connecting" | "open" | "waiting" | "closed"} ClientState
 *
 * @typedef {object} Missed durable messages that the server can no longer replay
 * @property {number} after the newest that was taken
 * @property {number | null} upto the last that was missed; null where the numbering began anew
 *
 * @typedef {{[T in Message["type"]]: FeedEvent<Extract<Message, {type: T}>>}} MessageEvents
 * @typedef {Omit<MessageEvents, "gap"> & {message: FeedEvent<Message>, state: StateEvent, gap: GapEvent}} ClientEvents
 */

const OPEN_TIMEOUT_MS = 10_000;
const CLOSE_WAIT_MS = 50;
const SILENCE_BEATS = 3; // heartbeats missed before a connection is given up
const SILENCE_MIN_MS = 5_000;
// Request lines past 8 KB are refused by common servers; a feed of that many streams begins with snapshots instead.
const AFTER_MAX_CHARS = 6_000;
const FINAL_CODES = new Set([4400, 4401, 4403, 4404]);
const ENDED = 1000;

/**
 * A message came. Dispatched under its type, and as `message`.
 *
 * @template {Message} M
 */
export class FeedEvent extends Event {
  /**
   * @param {string} type
   * @param {M} message
   */
  constructor(type, message) {
    super(type);
    this.message = message;
  }
}

/** Something was not seen: media time that nobody watched (`message`), or messages that cannot be had any more (`missed`). */
export class GapEvent extends Event {
  /**
   * @param {string} stream
   * @param {import("./messages.js").GapMessage | null} message
   * @param {Missed | null} missed
   */
  constructor(stream, message, missed) {
    super("gap");
    this.stream = stream;
    this.message = message;
    this.missed = missed;
  }
}

/** The connection changed its state. */
export class StateEvent extends Event {
  /**
   * @param {ClientState} state
   * @param {string} reason a line for people
   * @param {number | null} code close code of the server, where it gave one
   * @param {number | null} retryMs while waiting: until the next try
   */
  constructor(state, reason, code, retryMs) {
    super("state");
    this.state = state;
    this.reason = reason;
    this.code = code;
    this.retryMs = retryMs;
  }
}

/**
 * The address of the feed that a person means: http becomes ws; a server alone means all its streams.
 *
 * @param {string | URL} url
 * @returns {URL}
 * @throws {TypeError} not such an address
 */
export function feedUrl(url) {
  const feed = new URL(url);
  if (feed.protocol === "http:") feed.protocol = "ws:";
  if (feed.protocol === "https:") feed.protocol = "wss:";
  if (feed.protocol !== "ws:" && feed.protocol !== "wss:") throw new TypeError(`${url} is not the address of a feed`);
  if (feed.searchParams.has("token")) throw new TypeError("a token does not belong into an address: it would be logged");
  feed.hash = "";
  if (feed.pathname === "/") {
    feed.pathname = "/v1/captions";
    if (!feed.search) feed.searchParams.set("streams", "*");
  }
  return feed;
}

/**
 * Events: each type of message (`caption`, `event`, `status`, `gap` …) and `message` for all of them; `state` of the
 * connection; `gap` also for messages that the server can no longer replay. Messages come in order, none doubled; of a
 * caption that is superseded already nothing comes.
 */
export class CaptionClient extends EventTarget {
  /** @type {URL} */ #url;
  /** @type {ClientOptions} */ #options;
  /** @type {typeof globalThis.WebSocket} */ #WebSocket;
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ClientState} */ #state = "closed";
  #failures = 0;
  #silenceMs = OPEN_TIMEOUT_MS;
  #complete;
  /** @type {Set<string>} streams whose place is known; one that has only said hello has none */
  #standing = new Set();

  /**
   * @param {string | URL} url a server (`ws://host:8750`) for all its streams, or the address of a feed
   * @param {ClientOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#url = feedUrl(url);
    this.#options = options;
    const found = options.WebSocket ?? globalThis.WebSocket;
    if (found === undefined) throw new TypeError("no WebSocket here: give one as an option (Node 22 has it)");
    this.#WebSocket = found;
    this.#complete = options.kinds === undefined && !this.#url.searchParams.has("kinds");
    /** @type {Map<string, FeedState>} the state of each stream as of the last event, to read */
    this.states = new Map();
  }

  get state() {
    return this.#state;
  }

  /** Connect, and stay connected until `close()` or an end that is final. Does nothing while it does so already. */
  connect() {
    if (this.#state === "closed") this.#open();
  }

  /** Leave for good; `connect()` goes on where it stood. */
  close() {
    if (this.#state !== "closed") this.#finish("closed by this side", null);
  }

  /**
   * Where a later client can go on: keep it, and give it as the option `place`.
   *
   * @returns {Place | null} null before anything is known, or where streams have different epochs
   */
  place() {
    const epochs = new Set([...this.#standing].map((stream) => this.states.get(stream)?.epoch));
    const [epoch] = epochs;
    if (epochs.size > 1) return null;
    const given = this.#options.place;
    if (epoch === undefined || epoch === null) return this.#standing.size === 0 ? (given ?? null) : null;
    const after = Object.fromEntries([...this.#standing].map((stream) => [stream, this.states.get(stream)?.seq ?? 0]));
    return { epoch, after: { ...(given?.epoch === epoch ? given.after : {}), ...after } };
  }

  /**
   * @template {keyof ClientEvents} T
   * @overload
   * @param {T} type
   * @param {((event: ClientEvents[T]) => void) | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @overload
   * @param {string} type
   * @param {EventListenerOrEventListenerObject | null} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  /**
   * @override
   * @param {string} type
   * @param {any} listener
   * @param {boolean | AddEventListenerOptions} [options]
   * @returns {void}
   */
  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
  }

  #open() {
    this.#silenceMs = OPEN_TIMEOUT_MS; // until a hello says what to expect
    const socket = new this.#WebSocket(this.#resumeUrl(), SUBPROTOCOL);
    this.#socket = socket;
    socket.onopen = () => void this.#say(socket);
    socket.onmessage = (event) => this.#socket === socket && this.#heard(event.data);
    socket.onclose = (event) => this.#socket === socket && this.#closed(event.code, event.reason);
    // Some WebSockets (Node 20) say only this where they cannot connect; others say a moment later why it was closed.
    const failed = () => this.#socket === socket && this.#lost("the connection failed", null);
    socket.onerror = () => setTimeout(failed, CLOSE_WAIT_MS);
    this.#listen();
    this.#enter("connecting", "");
  }

  /** @param {WebSocket} socket */
  async #say(socket) {
    const { token } = this.#options;
    if (token === undefined) return;
    try {
      const secret = typeof token === "function" ? await token() : token;
      if (this.#socket === socket && socket.readyState === socket.OPEN) {
        socket.send(JSON.stringify({ type: "auth", token: secret }));
      }
    } catch (error) {
      if (this.#socket === socket) this.#lost(`no token: ${error}`, null);
    }
  }

  /** @param {unknown} data */
  #heard(data) {
    /** @type {Message} */
    let message;
    try {
      message = decode(data);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#finish(`the server speaks something else: ${error.message}`, null);
      return;
    }
    this.#take(message);
    if (this.#socket !== null) this.#listen();
  }

  /** @param {Message} message */
  #take(message) {
    const { stream } = message;
    if (stream === undefined) {
      this.#tell(message);
      return;
    }
    const state = this.states.get(stream) ?? this.#newState(stream);
    const missing = state.missingBefore(message);
    if (missing !== null) {
      // The server promises that this cannot be; a proxy in between may have other ideas. Replay heals it.
      this.#lost(`messages of ${stream} are missing after ${state.seq}`, null);
      return;
    }
    const stood = this.#standing.has(stream) ? { epoch: state.epoch, seq: state.seq } : null;
    const news = state.apply(message);
    if (message.type === "hello") {
      this.#failures = 0;
      this.#silenceMs = Math.max(SILENCE_MIN_MS, SILENCE_BEATS * 1000 * message.heartbeat_s);
      if (stood !== null && stood.epoch !== message.epoch) {
        this.#standing.delete(stream);
        if (stood.epoch !== null) this.dispatchEvent(new GapEvent(stream, null, { after: stood.seq, upto: null }));
      }
      if (this.#state !== "open") this.#enter("open", "");
    } else if (message.type === "snapshot" || message.type === "caught_up") {
      this.#standing.add(stream);
      if (message.type === "snapshot" && stood !== null && message.seq > stood.seq) {
        this.dispatchEvent(new GapEvent(stream, null, { after: stood.seq, upto: message.seq }));
      }
    }
    if (news) this.#tell(message);
  }

  /** @param {Message} message */
  #tell(message) {
    this.dispatchEvent(new FeedEvent("message", message));
    this.dispatchEvent(
      message.type === "gap" ? new GapEvent(message.stream, message, null) : new FeedEvent(message.type, message),
    );
  }

  /** @param {string} stream */
  #newState(stream) {
    const { place } = this.#options;
    const seq = place?.after[stream];
    const known = place !== undefined && seq !== undefined;
    if (known) this.#standing.add(stream);
    const where = { epoch: known ? place.epoch : null, seq: known ? seq : 0, complete: this.#complete };
    const state = new FeedState(stream, where);
    this.states.set(stream, state);
    return state;
  }

  #resumeUrl() {
    const url = new URL(this.#url);
    const { interim, kinds } = this.#options;
    if (interim === false) url.searchParams.set("interim", "false");
    if (kinds !== undefined) url.searchParams.set("kinds", kinds.join(","));
    const place = this.place();
    const after = Object.entries(place?.after ?? {}).map(([stream, seq]) => `${stream}:${seq}`).join(",");
    if (place !== null && after && after.length <= AFTER_MAX_CHARS) {
      url.searchParams.set("after", after);
      url.searchParams.set("epoch", place.epoch);
    }
    return url.href;
  }

  #listen() {
    clearTimeout(this.#timer);
    const seconds = this.#silenceMs / 1000;
    this.#timer = setTimeout(() => this.#lost(`nothing was heard for ${seconds} s`, null), this.#silenceMs);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #closed(code, reason) {
    if (code === ENDED) this.#finish(reason || "the stream ended", code);
    else if (FINAL_CODES.has(code)) this.#finish(reason || "the server will not have this", code);
    else this.#lost(reason || "the connection broke off", code);
  }

  /**
   * @param {string} why
   * @param {number | null} code
   */
  #lost(why, code) {
    if (this.#options.reconnect === false) {
      this.#finish(why, code);
      return;
    }
    this.#drop();
    this.#failures += 1;
    const { backoffFirstMs = 250, backoffMaxMs = 15_000 } = this.#options;
    const longest = Math.min(backoffMaxMs, backoffFirstMs * 2 ** Math.min(this.#failures, 16));
    const pause = longest * (0.5 + Math.random() / 2); // so that a thousand pages do not come back in one instant
    this.#timer = setTimeout(() => this.#open(), pause);
    this.#enter("waiting", why, code, pause);
  }

  /**
   * @param {string} why
   * @param {number | null} code
   */
  #finish(why, code) {
    this.#drop();
    this.#enter("closed", why, code);
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = socket.onerror = null;
      socket.close();
    }
  }

  /**
   * @param {ClientState} state
   * @param {string} reason
   * @param {number | null} [code]
   * @param {number | null} [retryMs]
   */
  #enter(state, reason, code = null, retryMs = null) {
    this.#state = state;
    this.dispatchEvent(new StateEvent(state, reason, code, retryMs));
  }
}
