// One stream: its picture, what is being said, and everything that was.

import { Problem, one } from "./api.js";
import { AskBox } from "./ask.js";
import { beforePaint, button, clock, h, say, why } from "./dom.js";
import { Filter, rowElement } from "./rows.js";
import { setting, choose } from "./settings.js";
import { Stage } from "./stage.js";
import { Chip } from "./status.js";
import { Timeline } from "./timeline.js";
import { VirtualList } from "./virtual.js";

/**
 * @typedef {import("./main.js").App} App
 * @typedef {import("./log.js").Row} Row
 * @typedef {import("../js/src/index.js").CaptionMessage} CaptionMessage
 */

const ROW_PX = 62;
const DRAFTS_MAX = 4;
const LIVE_SPANS = [["300", "5 min"], ["1800", "30 min"], ["7200", "2 h"], ["Infinity", "All loaded"]];

/** The view at `#/streams/ID`. */
export class StreamView {
  #app;
  #id;
  #stop = new AbortController();
  #log;
  /** @type {Stage} */ #stage;
  #chip = new Chip();
  #rates = h("p", { class: "counts" });
  #drafts = h("div", { class: "drafts" });
  /** @type {Map<string, {element: HTMLElement, text: HTMLElement, word: HTMLElement}>} */ #open = new Map();
  #filter = new Filter();
  /** @type {Row[]} */ #shown = [];
  /** @type {VirtualList<Row>} */ #list;
  #timeline = new Timeline((row) => this.#select(row));
  #span = h("select", { "aria-label": "Span of the time line" }, ...LIVE_SPANS.map(([value, word]) => h("option", { value }, word)));
  #fresh = button("", () => this.#list.toTop(), { class: "fresh", hidden: true });
  #unseen = 0;
  #pause = button("Pause", () => this.#togglePause());
  #stageBox = h("div", { class: "stage-box" });
  /** @type {AskBox} */ #ask;
  #settings = button("Settings", () => this.#app.dialogs.settings(this.#id));
  #none = h("p", { class: "empty", hidden: true }, "Nothing that fits was said yet.");
  #draftsPaint = beforePaint(() => this.#drawDrafts());
  #loaded = false;

  /** @param {App} app @param {string} id */
  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    this.title = id;
    this.#log = app.feed.log(id);
    const feedBox = h("div", { class: "rows", role: "feed", "aria-label": `What was said on ${id}`, "aria-busy": "false" });
    const viewport = h("div", { class: "scroll", tabindex: -1 }, feedBox);
    this.#list = new VirtualList(viewport, feedBox, {
      key: (row) => row.seq,
      row: (row) => rowElement(row, (each) => this.#evidence(each)),
      estimate: ROW_PX,
      atEnd: () => this.#older(),
    });
    viewport.addEventListener("scroll", () => this.#list.following && this.#sawAll(), { passive: true });
    viewport.addEventListener("keydown", (event) => this.#arrows(event));
    this.#stage = this.#makeStage();
    this.#ask = new AskBox(app, id);
    this.element = h("div", { class: "view stream" },
      this.#bar(),
      h("div", { class: "columns" },
        h("div", { class: "watch" }, this.#stageBox, this.#drafts, this.#ask.element,
          h("div", { class: "timeline-box" }, h("div", { class: "timeline-head" }, h("h2", {}, "Time line"), this.#span), this.#timeline.element)),
        h("section", { class: "said", "aria-label": "Captions and events" },
          h("div", { class: "said-head" }, h("h2", {}, "What was said"), this.#filter.element), this.#fresh, this.#none, viewport)));
    this.#listen();
    void this.#load();
  }

  #listen() {
    const { feed } = this.#app;
    const { signal } = this.#stop;
    this.#log.addEventListener("change", () => this.#came(), { signal });
    this.#log.addEventListener("reset", () => this.#reset(), { signal });
    this.#filter.addEventListener("change", () => this.#reset());
    this.#span.addEventListener("change", () => this.#drawTimeline());
    feed.addEventListener("streams", () => this.#showState(), { signal });
    feed.addEventListener("news", (event) => {
      const { message } = /** @type {import("./feed.js").NewsEvent} */ (event);
      if (message.stream !== this.#id) return;
      if (message.type === "snapshot" && !this.#loaded) void this.#load();
      this.#draftsPaint();
      this.#showState();
    }, { signal });
    this.#showState();
    this.#draftsPaint();
  }

  close() {
    this.#stop.abort();
    this.#stage.close();
    this.#ask.close();
    this.#list.close();
    this.#timeline.close();
  }

  /** @param {string} name @returns {boolean} */
  shortcut(name) {
    if (name === "/" || name === "f") this.#filter.focus();
    else if (name === "j" || name === "k") this.#step(name === "j" ? 1 : -1);
    else if (name === "b") this.#boxes(setting("boxes") !== "on");
    else if (name === "s") this.#app.dialogs.summary(this.#id);
    else if (name === "p") this.#app.may("admin") && this.#togglePause();
    else if (name === "u") location.hash = "#/";
    else return false;
    return true;
  }

  #bar() {
    const admin = this.#app.may("admin");
    const boxes = h("input", { type: "checkbox", id: "boxes" });
    boxes.checked = setting("boxes") === "on";
    boxes.addEventListener("change", () => this.#boxes(boxes.checked));
    const kind = button("Video", () => this.#toggleVideo(), { title: "Moving pictures as analysed, or video by WebRTC" });
    return h("div", { class: "bar" },
      h("a", { href: "#/", class: "back", "aria-label": "All streams" }, "‹ All"),
      h("h1", { tabindex: -1 }, this.#id),
      this.#chip.element,
      this.#rates,
      h("span", { class: "grow" }),
      h("div", { class: "tools" },
        h("label", { class: "check" }, boxes, "Boxes"),
        kind,
        button("Summary", () => this.#app.dialogs.summary(this.#id)),
        this.#exports(),
        admin && this.#settings,
        admin && this.#pause,
        admin && button("Remove", () => this.#app.dialogs.remove(this.#id))));
  }

  #exports() {
    const link = (/** @type {string} */ format, /** @type {string} */ word, more = "") =>
      h("a", { href: `${one(this.#id)}/captions?format=${format}&limit=10000${more}`, download: `${this.#id}.${format}` }, word);
    const menu = h("details", { class: "menu" },
      h("summary", {}, "Export"),
      h("div", { class: "menu-items" },
        link("vtt", "WebVTT subtitles"),
        link("srt", "SubRip subtitles"),
        link("json", "JSON", "&kinds=caption,event,status,gap"),
        link("jsonl", "JSON lines", "&kinds=caption,event,status,gap")));
    menu.addEventListener("click", (event) => event.target instanceof HTMLAnchorElement && (menu.open = false));
    menu.addEventListener("keydown", (event) => event.key === "Escape" && (menu.open = false));
    return menu;
  }

  #makeStage() {
    const chosen = setting("video");
    const published = this.#app.feed.streams.get(this.#id)?.source.startsWith("whip:") ?? false;
    const stage = new Stage(this.#app.api, this.#id, { video: chosen === "on" || (chosen === "auto" && published) });
    stage.boxes(setting("boxes") === "on");
    this.#stageBox.replaceChildren(stage.element);
    return stage;
  }

  #toggleVideo() {
    choose("video", setting("video") === "on" ? "off" : "on");
    this.#stage.close();
    this.#stage = this.#makeStage();
    this.#app.announcer.now(setting("video") === "on" ? "Video by WebRTC where it works" : "Pictures as analysed");
  }

  /** @param {boolean} on */
  #boxes(on) {
    choose("boxes", on ? "on" : "off");
    this.#stage.boxes(on);
    const box = this.element.querySelector("#boxes");
    if (box instanceof HTMLInputElement) box.checked = on;
  }

  async #load() {
    const { feed, api } = this.#app;
    const newest = feed.state(this.#id)?.seq ?? feed.streams.get(this.#id)?.seq;
    if (newest === undefined && !feed.listed) return; // the list or the snapshot will say
    this.#loaded = true;
    try {
      // Of a stream that is not watched any more the journal knows.
      await this.#log.load(newest ?? (await api.history(this.#id, { after: 0, limit: 1 })).newest);
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return; // the bar says it
      this.#loaded = false;
      this.#app.toast(`History cannot be read: ${why(error)}`);
    }
  }

  async #older() {
    if (!this.#log.hasOlder) return;
    await this.#log.older().catch((/** @type {unknown} */ error) => this.#app.toast(why(error)));
  }

  // What came

  #came() {
    const row = this.#log.rows.at(-1);
    if (row === undefined) return;
    this.#filter.learn([row]);
    if (this.#filter.takes(row)) {
      this.#shown.push(row);
      const spare = this.#shown.length - this.#log.rows.length;
      if (spare > 0) this.#shown = this.#log.rows.filter((each) => this.#filter.takes(each));
      if (!this.#list.following) this.#unseen += 1;
    }
    this.#show();
  }

  #reset() {
    this.#filter.learn(this.#log.rows);
    this.#shown = this.#log.rows.filter((row) => this.#filter.takes(row));
    this.#list.renew();
    this.#show();
  }

  #show() {
    this.#list.set(this.#shown);
    this.#none.hidden = this.#shown.length > 0;
    this.#fresh.hidden = this.#unseen === 0;
    if (this.#unseen > 0) say(this.#fresh, `${this.#unseen} new ▴`);
    this.#drawTimeline();
  }

  #sawAll() {
    if (this.#unseen === 0) return;
    this.#unseen = 0;
    this.#fresh.hidden = true;
  }

  #drawTimeline() {
    this.#timeline.set(this.#log.rows, Number(this.#span.value));
  }

  // Drafts

  /** The drafts, and where there are none the newest final: so a draft settles where it stands. */
  #drawDrafts() {
    const state = this.#app.feed.state(this.#id);
    const drafts = [...(state?.open.values() ?? [])].slice(-DRAFTS_MAX);
    const newest = state?.recent.at(-1);
    const shown = drafts.length > 0 || newest === undefined ? drafts : [newest];
    const ids = new Set(shown.map((each) => each.id));
    for (const id of this.#open.keys()) if (!ids.has(id)) this.#drop(id);
    for (const each of shown) {
      const final = each.status === "final";
      const refined = each.source?.startsWith("vision:") ? ` · ${final ? "refined" : "being refined"} by ${each.source.slice(7)}` : "";
      const against = each.conflicts ? " · ≠ contradicts what was perceived" : "";
      this.#card(each, final ? "final" : "draft", `${final ? `Final · ${clock(Date.parse(each.captured_at))}` : "Draft"}${refined}${refined && against}`);
    }
  }

  /** @param {CaptionMessage} message @param {string} state @param {string} word */
  #card(message, state, word) {
    const made = this.#open.get(message.id) ?? { element: h("div", { class: "draft" }), text: h("p", { class: "draft-text" }), word: h("p", { class: "kind" }) };
    if (!this.#open.has(message.id)) {
      made.element.append(made.word, made.text);
      this.#drafts.append(made.element);
      this.#open.set(message.id, made);
    }
    made.element.dataset.state = state;
    say(made.word, word);
    say(made.text, message.text);
  }

  /** @param {string} id */
  #drop(id) {
    this.#open.get(id)?.element.remove();
    this.#open.delete(id);
  }

  // State and what can be done

  #showState() {
    const view = this.#app.feed.streams.get(this.#id);
    if (view === undefined) {
      if (this.#app.feed.listed) {
        this.#chip.show("ended", "", "");
        if (!this.#loaded) void this.#load();
        say(this.#rates, "No stream of this name is watched.");
      }
      return;
    }
    this.#chip.show(view.state, view.reason, view.detail);
    this.#ask.show(view.ask !== null);
    say(this.#pause, view.paused ? "Resume" : "Pause");
    const rate = view.analysed_fps === null ? "" : `${view.analysed_fps.toFixed(1)} of ${view.fps ?? 0} fps`;
    const bad = ["degraded", "stalled", "reconnecting", "failed"].includes(view.state ?? "") ? view.detail : "";
    say(this.#rates, [rate, `${view.drops} dropped`, bad].filter(Boolean).join(" · "));
  }

  async #togglePause() {
    const paused = this.#app.feed.streams.get(this.#id)?.paused ?? false;
    this.#pause.disabled = true;
    try {
      await this.#app.api.change(this.#id, { paused: !paused });
      await this.#app.feed.refresh();
    } catch (error) {
      this.#app.toast(why(error));
    }
    this.#pause.disabled = false;
  }

  // Rows

  /** @param {Row} row */
  #evidence(row) {
    let at = this.#shown.findIndex((each) => each.seq === row.seq);
    void this.#app.evidence.open(this.#id, row, (by) => {
      for (let next = at - by; next >= 0 && next < this.#shown.length; next -= by) {
        const found = this.#shown[next];
        if (found !== undefined && (found.type === "caption" || found.type === "event")) {
          at = next;
          return found;
        }
      }
      return undefined;
    });
  }

  /** @param {Row} row */
  #select(row) {
    if (this.#list.reveal(row.seq)) this.#list.row(row.seq)?.focus({ preventScroll: true });
    else if (row.type === "caption" || row.type === "event") this.#evidence(row);
  }

  /** @param {KeyboardEvent} event */
  #arrows(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.#step(by);
  }

  /** @param {number} by 1: into the past */
  #step(by) {
    const focused = document.activeElement instanceof HTMLElement ? Number(document.activeElement.dataset.seq) : NaN;
    const at = this.#shown.findIndex((row) => row.seq === focused);
    const next = this.#shown[at < 0 ? this.#shown.length - 1 : at - by];
    if (next === undefined) return;
    const row = this.#list.row(next.seq);
    if (row === undefined) this.#list.reveal(next.seq);
    (row ?? this.#list.row(next.seq))?.focus();
  }
}
