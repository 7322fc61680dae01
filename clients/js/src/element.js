// <stream-caption>: the captions of a stream on any page. Text goes in as text; nothing is loaded but the feed.

import { CaptionClient } from "./client.js";
import { Announcer } from "./announcer.js";
import { sheet } from "./element-style.js";
import { clean } from "./subtitles/text.js";

/**
 * @typedef {import("./messages.js").CaptionMessage} CaptionMessage
 * @typedef {import("./messages.js").StatusMessage} StatusMessage
 * @typedef {string | (() => string | Promise<string>)} Token
 *
 * @typedef {object} Status detail of the event `status`
 * @property {import("./client.js").ClientState} connection
 * @property {string} reason a line for people, often empty
 * @property {number | null} code the server's close code
 * @property {StatusMessage["state"] | null} stream as the stream says of itself
 */

const HISTORY_MAX = 20; // so many the feed's snapshot brings along
const LINES_MAX = 50;
const KINDS = ["full", "diff", "summary", "commentary"];
const KINDS_DEFAULT = ["full", "diff", "commentary"];
// A page that is scrolled up and down, or left for a moment, does not connect anew each time.
const OUT_OF_SIGHT_MS = 10_000;
const OBSERVED = ["src", "server", "stream", "token", "kinds", "drafts", "history", "min-saliency", "lines"];
const CONNECTION = new Set(["src", "server", "stream", "token", "drafts"]);

/**
 * The captions of one stream. Connects while it is attached and can be seen.
 *
 * Attributes, each also a property: `src` (address of a feed), or `server` and `stream`; `token`; `kinds`; `drafts`;
 * `history`; `min-saliency`; `lines`. Events: `caption` (detail: the message), `status` (detail: {@link Status}).
 */
export class StreamCaption extends HTMLElement {
  static observedAttributes = OBSERVED;

  /** @type {CaptionClient | null} */ #client = null;
  /** @type {Token | null} */ #token = null;
  /** @type {CaptionMessage[]} finals that are shown, oldest first */ #finals = [];
  /** @type {CaptionMessage | null} */ #draft = null;
  /** @type {Status} */ #status = { connection: "closed", reason: "", code: null, stream: null };
  #inView = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #leaving;
  #renewing = false;
  /** @type {HTMLElement} */ #list;
  /** @type {HTMLElement} */ #note;
  /** @type {Announcer} */ #announcer;
  /** @type {IntersectionObserver | null} */ #observer = null;
  #seen = () => this.#watch();

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet()];
    this.#list = this.#make("div", "captions");
    this.#note = this.#make("p", "status");
    const announced = this.#make("div", "announcer");
    this.#announcer = new Announcer(announced);
    const box = this.#make("div", "box");
    box.append(this.#list, this.#note);
    root.append(box, announced);
  }

  /** Captions that are shown, oldest first. @returns {readonly CaptionMessage[]} */
  get captions() {
    return this.#draft === null ? [...this.#finals] : [...this.#finals, this.#draft];
  }

  /** State of the connection and of the stream. @returns {Readonly<Status>} */
  get status() {
    return { ...this.#status };
  }

  get src() {
    return this.getAttribute("src") ?? "";
  }
  set src(value) {
    this.setAttribute("src", value);
  }

  /** Where the server is; the server that this script came from, where it is not said. */
  get server() {
    return this.getAttribute("server") ?? "";
  }
  set server(value) {
    this.setAttribute("server", value);
  }

  get stream() {
    return this.getAttribute("stream") ?? "";
  }
  set stream(value) {
    this.setAttribute("stream", value);
  }

  /** A token, or a function that is asked for one at each connection; as a property it does not stand in the page. @returns {Token | null} */
  get token() {
    return this.#token ?? this.getAttribute("token");
  }
  set token(value) {
    this.#token = value;
    this.#renew();
  }

  /** Kinds of captions: full, diff, summary, commentary. @returns {string[]} */
  get kinds() {
    const named = (this.getAttribute("kinds") ?? "").split(",").map((kind) => kind.trim());
    const known = named.filter((kind) => KINDS.includes(kind));
    return known.length > 0 ? known : KINDS_DEFAULT;
  }
  set kinds(value) {
    this.setAttribute("kinds", value.join(","));
  }

  /** Whether drafts are shown while they are written. */
  get drafts() {
    return this.hasAttribute("drafts");
  }
  set drafts(value) {
    this.toggleAttribute("drafts", value);
  }

  /** How many captions before the newest one are shown, up to 20. */
  get history() {
    return Math.floor(this.#number("history", 0, HISTORY_MAX, 0));
  }
  set history(value) {
    this.setAttribute("history", String(value));
  }

  /** Captions below are not shown, 0..1. */
  get minSaliency() {
    return this.#number("min-saliency", 0, 1, 0);
  }
  set minSaliency(value) {
    this.setAttribute("min-saliency", String(value));
  }

  /** Height of the box in lines of text, 0 for as high as its text; what is older scrolls out at the top. */
  get lines() {
    return Math.floor(this.#number("lines", 0, LINES_MAX, 0));
  }
  set lines(value) {
    this.setAttribute("lines", String(value));
  }

  connectedCallback() {
    for (const name of /** @type {const} */ (["token", "src", "stream", "server"])) this.#upgrade(name);
    this.#observer = new IntersectionObserver((entries) => {
      this.#inView = entries.some((entry) => entry.isIntersecting);
      this.#watch();
    });
    this.#observer.observe(this);
    document.addEventListener("visibilitychange", this.#seen);
    this.#draw();
  }

  disconnectedCallback() {
    this.#observer?.disconnect();
    this.#observer = null;
    document.removeEventListener("visibilitychange", this.#seen);
    clearTimeout(this.#leaving);
    this.#inView = false;
    this.#announcer.stop();
    this.#client?.close();
  }

  /**
   * @param {string} name
   * @param {string | null} before
   * @param {string | null} value
   */
  attributeChangedCallback(name, before, value) {
    if (before === value) return;
    if (CONNECTION.has(name)) this.#renew();
    else {
      if (this.#client) this.#finals = this.#recent(this.#client);
      this.#draw();
    }
  }

  /** Connect when it can be seen; leave when it could not for a while. */
  #watch() {
    clearTimeout(this.#leaving);
    if (!this.isConnected) return;
    if (this.#inView && document.visibilityState === "visible") this.#connect();
    else if (this.#client) this.#leaving = setTimeout(() => this.#client?.close(), OUT_OF_SIGHT_MS);
  }

  #connect() {
    if (this.#client === null) this.#client = this.#newClient();
    this.#client?.connect(); // goes on where it stood
  }

  #newClient() {
    /** @type {URL} */
    let url;
    try {
      url = this.#feed();
    } catch (error) {
      this.#tell({ connection: "closed", reason: error instanceof Error ? error.message : String(error), code: null });
      return null;
    }
    const token = this.token;
    const client = new CaptionClient(url, { interim: this.drafts, ...(token ? { token } : {}) });
    client.addEventListener("snapshot", ({ message }) => {
      this.#finals = this.#recent(client);
      this.#draft = null;
      this.#tell({ stream: message.status?.state ?? null });
      this.#draw();
    });
    client.addEventListener("caption", ({ message }) => this.#take(client, message));
    client.addEventListener("status", ({ message }) => this.#tell({ stream: message.state }));
    client.addEventListener("hello", () => {
      this.#draft = null;
    });
    client.addEventListener("state", ({ state, reason, code }) => this.#tell({ connection: state, reason, code }));
    return client;
  }

  /** @throws {TypeError} no address, or none of one stream */
  #feed() {
    if (this.src) return new URL(this.src, document.baseURI.replace(/^http/, "ws"));
    if (!this.stream) throw new TypeError("stream-caption: neither src nor stream is given");
    const server = this.server || new URL(import.meta.url).origin;
    return new URL(`/v1/streams/${encodeURIComponent(this.stream)}/captions`, server);
  }

  /** Another address or right: another connection, once all attributes that change now have changed. */
  #renew() {
    if (this.#renewing) return;
    this.#renewing = true;
    queueMicrotask(() => {
      this.#renewing = false;
      this.#client?.close();
      this.#client = null;
      this.#finals = [];
      this.#draft = null;
      this.#status = { connection: "closed", reason: "", code: null, stream: null };
      this.#draw();
      this.#watch();
    });
  }

  /**
   * @param {CaptionClient} client
   * @param {CaptionMessage} caption
   */
  #take(client, caption) {
    if (caption.status === "retracted" || caption.text === "") {
      this.#finals = this.#finals.filter((each) => each.id !== caption.id);
      if (this.#draft?.id === caption.id) this.#draft = null;
    } else if (!this.#isWanted(caption)) return;
    else if (caption.status === "final") {
      if (this.#draft?.id === caption.id) this.#draft = null;
      this.#finals = this.#recent(client);
      this.#announcer.say(clean(caption.text));
    } else this.#draft = caption;
    this.#draw();
    this.dispatchEvent(new CustomEvent("caption", { detail: caption, bubbles: true, composed: true }));
  }

  /** @param {CaptionClient} client */
  #recent(client) {
    const finals = [...client.states.values()].flatMap((state) => state.recent);
    return finals.filter((caption) => this.#isWanted(caption)).slice(-1 - this.history);
  }

  /** @param {CaptionMessage} caption */
  #isWanted(caption) {
    return this.kinds.includes(caption.kind) && (caption.saliency ?? 0) >= this.minSaliency;
  }

  /** @param {Partial<Status>} change */
  #tell(change) {
    this.#status = { ...this.#status, ...change };
    this.#draw();
    this.dispatchEvent(new CustomEvent("status", { detail: this.status, bubbles: true, composed: true }));
  }

  #draw() {
    const shown = this.captions;
    const items = shown.map((caption, n) => {
      const draft = caption.status !== "final";
      const item = this.#make("p", `caption ${draft ? "draft" : n < this.#finals.length - 1 ? "past" : "newest"}`);
      item.dir = "auto";
      item.textContent = clean(caption.text);
      return item;
    });
    this.#list.replaceChildren(...items);
    this.#list.style.setProperty("--lines", String(this.lines));
    this.#list.classList.toggle("fixed", this.lines > 0);
    // Who uses the keyboard must be able to scroll what is cut off.
    if (this.lines > 0) {
      this.#list.tabIndex = 0;
      this.#list.setAttribute("role", "group");
      this.#list.setAttribute("aria-label", "Captions");
      this.#list.scrollTop = this.#list.scrollHeight;
    } else for (const name of ["tabindex", "role", "aria-label"]) this.#list.removeAttribute(name);
    this.#note.textContent = this.#words();
  }

  /** A line for people where there is something to say beside the captions. */
  #words() {
    const { connection, code, reason, stream } = this.#status;
    if (connection === "closed" && code !== 1000) return reason;
    if (connection === "waiting") return "Connecting again…";
    if (stream === "ended") return "The stream has ended.";
    return stream === "reconnecting" || stream === "failed" || stream === "stalled" ? "The camera is not there." : "";
  }

  /**
   * @param {string} name of an element
   * @param {string} part
   */
  #make(name, part) {
    const made = document.createElement(name);
    made.setAttribute("part", part);
    made.className = part;
    return made;
  }

  /**
   * @param {string} name
   * @param {number} min
   * @param {number} max
   * @param {number} otherwise
   */
  #number(name, min, max, otherwise) {
    const value = Number.parseFloat(this.getAttribute(name) ?? "");
    return Number.isNaN(value) ? otherwise : Math.min(max, Math.max(min, value));
  }

  /**
   * A property that a page set before this class was loaded would hide the accessor for ever.
   *
   * @param {"token" | "src" | "stream" | "server"} name
   */
  #upgrade(name) {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete (/** @type {any} */ (this)[name]);
    /** @type {any} */ (this)[name] = value;
  }
}
