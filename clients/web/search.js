// Search over everything that was said, on all streams.

import { button, clock, h, say, why } from "./dom.js";
import { rowOf } from "./log.js";
import { kindWord, weight } from "./rows.js";

/** @typedef {import("./main.js").App} App */

const LIMIT = 200;

/** The view at `#/search`. */
export class SearchView {
  title = "Search";
  #app;
  #q = h("input", { type: "search", name: "q", required: true, maxlength: 400, placeholder: "person enters, \"from the left\", walk*", "aria-label": "Words to find" });
  #stream = h("select", { "aria-label": "Stream" }, h("option", { value: "" }, "All streams"));
  #from = h("input", { type: "datetime-local", step: 1 });
  #to = h("input", { type: "datetime-local", step: 1 });
  #kind = h("select", { "aria-label": "Kind" }, h("option", { value: "" }, "Captions and events"), h("option", { value: "caption" }, "Captions"), h("option", { value: "event" }, "Events"));
  #count = h("p", { class: "counts", role: "status" });
  #found = h("ol", { class: "found", "aria-label": "Found" });

  /** @param {App} app @param {URLSearchParams} query */
  constructor(app, query) {
    this.#app = app;
    for (const id of app.feed.streams.keys()) this.#stream.append(h("option", { value: id }, id));
    this.#q.value = query.get("q") ?? "";
    this.#stream.value = query.get("stream") ?? "";
    const form = h("form", { class: "filter", role: "search" }, this.#q, this.#stream, this.#kind,
      h("label", { class: "check" }, "From", this.#from), h("label", { class: "check" }, "To", this.#to), h("button", { class: "primary" }, "Search"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const asked = new URLSearchParams({ q: this.#q.value, ...(this.#stream.value && { stream: this.#stream.value }) });
      history.replaceState(null, "", `#/search?${asked}`); // so that it is there on the way back
      void this.#search();
    });
    this.element = h("div", { class: "view" },
      h("div", { class: "bar" }, h("a", { href: "#/", class: "back", "aria-label": "All streams" }, "‹ All"), h("h1", { tabindex: -1 }, "Search"), this.#count),
      form, this.#found);
    if (this.#q.value) void this.#search();
  }

  close() {}

  /** @param {string} name @returns {boolean} */
  shortcut(name) {
    if (name === "/" || name === "f") this.#q.focus();
    else if (name === "u") location.hash = "#/";
    else return false;
    return true;
  }

  async #search() {
    const query = /** @type {Record<string, string | number>} */ ({ q: this.#q.value, limit: LIMIT });
    // Somebody whose token is for some streams only has to name them.
    const all = [...this.#app.feed.streams.keys()];
    if (this.#stream.value) query.streams = this.#stream.value;
    else if (!this.#app.everywhere) query.streams = all.join(",");
    if (this.#from.value) query.from = new Date(this.#from.value).toISOString();
    if (this.#to.value) query.to = new Date(this.#to.value).toISOString();
    say(this.#count, "Searching…");
    try {
      const found = await this.#app.api.search(query);
      const shown = found.filter((message) => !this.#kind.value || message.type === this.#kind.value);
      this.#found.replaceChildren(...shown.map((message) => this.#item(message)));
      say(this.#count, shown.length === 0 ? "Nothing found" : `${shown.length}${found.length === LIMIT ? " or more" : ""} found`);
    } catch (error) {
      this.#found.replaceChildren();
      say(this.#count, why(error));
    }
  }

  /** @param {import("./api.js").CaptionMessage | import("./api.js").EventMessage} message */
  #item(message) {
    const row = rowOf(message, false);
    if (row === null) return h("li");
    return h("li", { class: "row", "data-type": row.type, "data-weight": weight(row.saliency) },
      h("div", { class: "row-head" },
        h("a", { href: `#/streams/${encodeURIComponent(message.stream)}` }, message.stream),
        h("time", { datetime: message.at }, clock(row.at)),
        h("span", { class: "kind" }, kindWord(row)),
        h("span", { class: "weight" }, weight(row.saliency))),
      button(row.text, () => void this.#app.evidence.open(message.stream, row), { class: "row-text plain" }));
  }
}
