// The monitor: one feed, one view at a time, and what stands around it.

import { Announcer } from "./announce.js";
import { Api } from "./api.js";
import { Dialogs } from "./dialogs.js";
import { button, h, say } from "./dom.js";
import { Evidence } from "./evidence.js";
import { Feed } from "./feed.js";
import { SearchView } from "./search.js";
import { nextTheme, setting } from "./settings.js";
import { StreamView } from "./stream.js";
import { Wall } from "./wall.js";

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {string} title
 * @property {() => void} close
 * @property {(name: string) => boolean} shortcut true where it was one
 */

const TOAST_MS = 8_000;
const OPEN_SCOPES = ["admin", "publish", "read"];

/** The page. */
export class App {
  api = new Api();
  feed = new Feed(this.api);
  announcer = new Announcer();
  evidence = new Evidence(this.api);
  dialogs = new Dialogs(this);
  /** @type {import("./api.js").Session} */ #session = { token: null, scopes: OPEN_SCOPES, streams: ["*"] };
  /** @type {View | null} */ #view = null;
  #main = h("main", { id: "main" });
  #connection = h("p", { class: "connection", role: "status" });
  #seconds = h("span", { class: "counts", "aria-hidden": "true" });
  #retry = button("Try now", () => this.feed.again(), { hidden: true });
  #publishing = h("p", { class: "publishing", hidden: true });
  #toasts = h("div", { class: "toasts", role: "alert" });
  #theme = button("", () => this.#showTheme(nextTheme()), { class: "quiet" });
  #signOut = button("Sign out", () => void this.#leave(), { class: "quiet", hidden: true });
  #begun = false;

  begin() {
    const skip = button("Skip to content", () => this.#focusTitle(), { class: "skip" });
    document.body.replaceChildren(
      skip,
      h("header", { class: "top" },
        h("a", { href: "#/", class: "brand" }, "streamcap"),
        this.#connection,
        this.#seconds,
        this.#retry,
        h("span", { class: "grow" }),
        this.#publishing,
        h("nav", { "aria-label": "Pages" }, h("a", { href: "#/" }, "Wall"), h("a", { href: "#/search" }, "Search"), h("a", { href: "/docs" }, "API")),
        this.#theme,
        button("?", () => this.dialogs.help(), { class: "quiet", title: "Keys and settings (?)", "aria-label": "Help: keys and settings" }),
        this.#signOut),
      this.#main,
      this.announcer.element,
      this.#toasts,
      this.evidence.element,
    );
    this.#showTheme(setting("theme"));
    this.feed.addEventListener("connection", () => this.#showConnection());
    this.feed.addEventListener("signin", () => this.dialogs.signIn());
    this.api.addEventListener("signin", () => this.dialogs.signIn());
    this.feed.addEventListener("news", (event) => {
      const { message } = /** @type {import("./feed.js").NewsEvent} */ (event);
      if (message.type === "caption" && message.status === "final" && message.kind !== "summary") {
        this.announcer.caption(message.stream, message.text, message.saliency ?? 0);
      }
    });
    setInterval(() => this.feed.connection.state === "waiting" && this.#showConnection(), 1000);
    addEventListener("hashchange", () => this.#route());
    addEventListener("keydown", (event) => this.#key(event));
    addEventListener("pagehide", () => void this.dialogs.stopPublishing());
    void this.#enter();
  }

  async #enter() {
    try {
      await this.signedIn(await this.api.session());
    } catch (error) {
      // 401: the dialog is open. Else the server is not there: the feed tries on, and the page says so.
      if (!(error instanceof Error && "status" in error)) this.#start();
    }
  }

  /** @param {import("./api.js").Session} session */
  async signedIn(session) {
    this.#session = session;
    this.#signOut.hidden = session.token === null;
    this.feed.client.close();
    this.#start();
  }

  #start() {
    if (!this.#begun) {
      this.#begun = true;
      this.feed.begin();
    } else {
      this.feed.client.connect();
      void this.feed.refresh();
    }
    this.#route();
  }

  async #leave() {
    this.feed.client.close();
    await this.api.signOut().catch(() => {});
    location.reload();
  }

  /** Whether whoever looks may do something. @param {string} scope */
  may(scope) {
    return this.#session.scopes.includes(scope) || this.#session.scopes.includes("admin");
  }

  /** True for one whose token is for all streams. */
  get everywhere() {
    return this.#session.streams.includes("*");
  }

  #route() {
    const [path = "", query = ""] = location.hash.slice(1).split("?");
    const [, name, id] = path.split("/");
    this.#view?.close();
    this.dialogs.close();
    if (name === "streams" && id) this.#view = new StreamView(this, decoded(id));
    else if (name === "search") this.#view = new SearchView(this, new URLSearchParams(query));
    else this.#view = new Wall(this);
    this.#main.replaceChildren(this.#view.element);
    document.title = `${this.#view.title} · streamcap`;
    this.#focusTitle();
  }

  #focusTitle() {
    const title = this.#main.querySelector("h1");
    title?.focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || setting("shortcuts") !== "on") return;
    const target = event.target;
    if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement || document.querySelector("dialog[open]")) return;
    if (this.#shortcut(event.key)) event.preventDefault();
  }

  /** @param {string} key */
  #shortcut(key) {
    if (key === "?") this.dialogs.help();
    else if (key === "t") this.#showTheme(nextTheme());
    else if (key === "g") location.hash = "#/search";
    else return this.#view?.shortcut(key) ?? false;
    return true;
  }

  /** @param {string} theme */
  #showTheme(theme) {
    say(this.#theme, { auto: "◐ Auto", dark: "● Dark", light: "○ Light" }[theme] ?? theme);
    this.#theme.setAttribute("aria-label", `Theme: ${theme}`);
  }

  #showConnection() {
    const { state, reason, retryAt } = this.feed.connection;
    /** @type {Record<string, [string, string]>} */
    const words = {
      open: ["good", "● Connected"],
      connecting: ["busy", "◌ Connecting…"],
      waiting: ["warn", "↻ Connection lost"],
      closed: ["bad", "✕ Not connected"],
    };
    const [tone, text] = words[state] ?? ["bad", state];
    this.#connection.dataset.tone = tone;
    this.#connection.title = reason;
    say(this.#connection, text); // said aloud; the seconds are not
    const seconds = Math.max(0, Math.ceil((retryAt - Date.now()) / 1000));
    this.#retry.hidden = state !== "waiting";
    say(this.#seconds, state === "waiting" ? `what is shown is old; again in ${seconds} s` : "");
    if (state !== "connecting") this.#main.dataset.old = String(state !== "open");
  }

  /** @param {string} stream empty for none */
  showPublishing(stream) {
    this.#publishing.hidden = !stream;
    if (stream) {
      this.#publishing.replaceChildren(`● Publishing this camera as ${stream} `, button("Stop", () => void this.dialogs.stopPublishing()));
    }
  }

  /** A line that goes by itself. @param {string} text */
  toast(text) {
    const line = h("p", { class: "toast" }, text);
    this.#toasts.append(line);
    setTimeout(() => line.remove(), TOAST_MS);
  }
}

/** A name out of the address, which a person may have mistyped. @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

new App().begin();
