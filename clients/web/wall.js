// The wall: a tile for each stream.

import { ago, beforePaint, button, h, say } from "./dom.js";
import { Pictures } from "./pictures.js";
import { Chip, standing } from "./status.js";

/**
 * @typedef {import("./main.js").App} App
 * @typedef {import("./api.js").StreamView} StreamView
 * @typedef {import("../js/src/index.js").FeedState} FeedState
 */

const AGE_MS = 1_000;
const TROUBLE = new Set(["warn", "bad"]);

/** One stream on the wall. */
class Tile {
  #picture = h("canvas", { class: "picture", width: 16, height: 9, "aria-hidden": "true" });
  #chip = new Chip();
  #age = h("span", { class: "age" });
  #caption = h("p", { class: "tile-caption" });
  #meta = h("p", { class: "tile-meta" });
  #said = "";

  /** @param {string} id @param {Pictures} pictures */
  constructor(id, pictures) {
    this.id = id;
    this.element = h(
      "li",
      { class: "tile", "data-stream": id },
      h(
        "a",
        { class: "tile-link", href: `#/streams/${encodeURIComponent(id)}` },
        h("span", { class: "tile-picture" }, h("span", { class: "tile-none", "aria-hidden": "true" }, "No picture"), this.#picture, this.#chip.element),
        h("span", { class: "tile-head" }, h("span", { class: "tile-name" }, id), this.#age),
      ),
      this.#caption,
      this.#meta,
    );
    this.#pictures = pictures;
    pictures.add(id, this.#picture);
  }

  #pictures;

  /** @param {StreamView} view @param {FeedState | undefined} state */
  show(view, state) {
    this.#chip.show(view.state, view.reason, view.detail);
    this.element.dataset.tone = standing(view.state, view.reason).tone;
    const draft = state === undefined ? undefined : [...state.open.values()].at(-1);
    const newest = draft ?? state?.recent.at(-1);
    const text = newest?.text ?? (view.state === "live" ? "Nothing was said yet." : view.detail || "");
    const key = `${newest?.id}/${newest?.rev}/${text}`;
    if (key !== this.#said) {
      this.#said = key;
      say(this.#caption, text);
      this.#caption.title = text;
      this.#caption.dataset.state = draft !== undefined ? "draft" : newest !== undefined ? "final" : "none";
    }
    const rate = view.analysed_fps === null ? "" : `${view.analysed_fps.toFixed(1)} of ${view.fps ?? 0} fps`;
    say(this.#meta, [rate, `${view.drops} dropped`, view.reason && view.reason !== "connected" ? view.reason : ""].filter(Boolean).join(" · "));
  }

  /** @param {number | undefined} heard Unix milliseconds */
  age(heard) {
    say(this.#age, heard === undefined ? "" : `${ago((Date.now() - heard) / 1000)} ago`);
  }

  close() {
    this.#pictures.remove(this.#picture);
    this.element.remove();
  }
}

/** The view at `#/`. */
export class Wall {
  #app;
  #pictures;
  /** @type {Map<string, Tile>} */ #tiles = new Map();
  #list = h("ul", { class: "wall", "aria-label": "Streams" });
  #empty = h("div", { class: "empty", hidden: true });
  #filter = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter streams by name", class: "wall-filter" });
  #trouble = h("input", { type: "checkbox" });
  #counts = h("p", { class: "counts" });
  #stop = new AbortController();
  #paint = beforePaint(() => this.#draw());
  #ages = setInterval(() => this.#showAges(), AGE_MS);
  title = "Wall";

  /** @param {App} app */
  constructor(app) {
    this.#app = app;
    this.#pictures = new Pictures(app.api);
    const { signal } = this.#stop;
    const admin = app.may("admin");
    this.element = h(
      "div",
      { class: "view" },
      h(
        "div",
        { class: "bar" },
        h("h1", { tabindex: -1 }, "Streams"),
        this.#counts,
        h("span", { class: "grow" }),
        h("label", { class: "check" }, this.#trouble, "Needs attention"),
        this.#filter,
        admin && button("Add stream", () => app.dialogs.add()),
        admin && button("Publish camera", () => app.dialogs.publish()),
      ),
      this.#list,
      this.#empty,
    );
    this.#filter.addEventListener("input", this.#paint);
    this.#trouble.addEventListener("change", this.#paint);
    app.feed.addEventListener("news", this.#paint, { signal });
    app.feed.addEventListener("streams", this.#paint, { signal });
    this.#list.addEventListener("keydown", (event) => this.#move(event));
    this.#draw();
  }

  close() {
    this.#stop.abort();
    clearInterval(this.#ages);
    this.#pictures.close();
  }

  /** @param {string} name of a shortcut @returns {boolean} */
  shortcut(name) {
    if (name === "/" || name === "f") this.#filter.focus();
    else if (name === "n") this.#app.may("admin") && this.#app.dialogs.add();
    else if (name === "j" || name === "k") this.#step(name === "j" ? 1 : -1);
    else return false;
    return true;
  }

  #draw() {
    const { feed } = this.#app;
    const wanted = this.#filter.value.trim().toLowerCase();
    let trouble = 0;
    let live = 0;
    let before = null;
    for (const view of feed.streams.values()) {
      const tile = this.#tiles.get(view.id) ?? new Tile(view.id, this.#pictures);
      this.#tiles.set(view.id, tile);
      tile.show(view, feed.state(view.id));
      const { tone } = standing(view.state, view.reason);
      if (TROUBLE.has(tone)) trouble += 1;
      if (tone === "good") live += 1;
      const shown = view.id.toLowerCase().includes(wanted) && (!this.#trouble.checked || TROUBLE.has(tone));
      if (tile.element.hidden === shown) tile.element.hidden = !shown;
      /** @type {Element | null} */
      const next = before === null ? this.#list.firstElementChild : before.nextElementSibling;
      if (next !== tile.element) this.#list.insertBefore(tile.element, next);
      before = tile.element;
    }
    for (const [id, tile] of this.#tiles) {
      if (!feed.streams.has(id)) {
        tile.close();
        this.#tiles.delete(id);
      }
    }
    say(this.#counts, `${feed.streams.size} · ${live} live${trouble ? ` · ${trouble} need${trouble === 1 ? "s" : ""} attention` : ""}`);
    this.#showEmpty();
    this.#showAges();
  }

  #showEmpty() {
    const { feed } = this.#app;
    this.#empty.hidden = !feed.listed || feed.streams.size > 0;
    if (!this.#empty.hidden && !this.#empty.hasChildNodes()) {
      this.#empty.append(
        h("h2", {}, "No stream is watched yet"),
        h("p", {}, "Add a camera by its address (rtsp://, http://, srt://, a file), or publish this computer’s camera."),
      );
    }
  }

  #showAges() {
    for (const tile of this.#tiles.values()) tile.age(this.#app.feed.heard.get(tile.id));
  }

  /** Arrow keys go from tile to tile as they stand. @param {KeyboardEvent} event */
  #move(event) {
    const columns = getComputedStyle(this.#list).gridTemplateColumns.split(" ").length;
    const steps = /** @type {Record<string, number>} */ ({ ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns });
    const step = steps[event.key];
    if (step !== undefined && this.#step(step)) event.preventDefault();
  }

  /** @param {number} by */
  #step(by) {
    const links = [...this.#list.querySelectorAll("li:not([hidden]) > a")];
    const at = links.indexOf(/** @type {Element} */ (document.activeElement));
    const next = links[at < 0 ? 0 : at + by];
    if (next instanceof HTMLElement) next.focus();
    return next !== undefined;
  }
}
