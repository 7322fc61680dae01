// Rows of the list of what was said, and which of them a person wants to see.

import { clock, duration, h, media } from "./dom.js";

/** @typedef {import("./log.js").Row} Row */

/** @type {Record<string, string>} */
const KIND_WORDS = { full: "Scene", diff: "Change", summary: "Summary", commentary: "Comment" };

/** @param {Row} row */
export function kindWord(row) {
  if (row.type === "caption") return KIND_WORDS[row.kind] ?? row.kind;
  if (row.type === "event") return row.kind.replaceAll("_", " ");
  return row.type === "gap" ? "Not watched" : row.kind;
}

/** How much something matters, as a word beside the bar. @param {number} saliency */
export function weight(saliency) {
  return saliency >= 0.7 ? "high" : saliency >= 0.4 ? "medium" : "low";
}

/**
 * @param {Row} row
 * @param {(row: Row) => void} open
 */
export function rowElement(row, open) {
  const told = row.type === "caption" || row.type === "event";
  const text = row.type === "gap" ? `${row.text}, for ${duration(row.end - row.start)}` : row.text;
  const element = h(
    "article",
    {
      class: "row",
      tabindex: 0,
      "data-type": row.type,
      "data-kind": row.kind,
      "data-seq": row.seq,
      "data-weight": told ? weight(row.saliency) : "none",
      "data-retracted": row.retracted,
      "data-new": row.live && Date.now() - row.at < 20_000,
    },
    h("div", { class: "row-head" },
      h("time", { datetime: new Date(row.at).toISOString(), title: row.start >= 0 ? `Media time ${media(row.end)}` : "" }, clock(row.at)),
      h("span", { class: "kind" }, kindWord(row)),
      told && h("span", { class: "weight", title: `Saliency ${row.saliency.toFixed(2)}` }, weight(row.saliency)),
      ...marks(row.source, row.conflicts),
      row.retracted && h("span", { class: "kind" }, "withdrawn"),
    ),
    h("p", { class: "row-text" }, text),
  );
  if (told) {
    element.addEventListener("click", () => open(row));
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target === element) open(row);
    });
  }
  return element;
}

/**
 * Who wrote a caption where a model did, and what in it contradicts what was perceived.
 *
 * @param {string} [source]
 * @param {string} [conflicts]
 */
export function marks(source = "", conflicts = "") {
  const model = source.startsWith("vision:") ? source.slice(7) : "";
  return [
    model && h("span", { class: "source", title: `Worded by ${model}` }, "✎ model"),
    conflicts && h("span", { class: "conflict", title: conflicts }, model ? "≠ contradicts what was perceived" : "≠ model overruled"),
  ];
}

/** What of a log is shown. Dispatches `change`. */
export class Filter extends EventTarget {
  #kind = h("select", { "aria-label": "Show" },
    h("option", { value: "caption" }, "Captions"),
    h("option", { value: "event" }, "Events"),
    h("option", { value: "all" }, "Everything"),
    h("option", { value: "summary" }, "Summaries"),
    h("option", { value: "state" }, "States and gaps"));
  #label = h("select", { "aria-label": "Event", hidden: true }, h("option", { value: "" }, "Every event"));
  #weight = h("select", { "aria-label": "Saliency" },
    h("option", { value: "0" }, "Any saliency"),
    h("option", { value: "0.4" }, "Medium or high"),
    h("option", { value: "0.7" }, "High only"));
  #text = h("input", { type: "search", placeholder: "Filter text", "aria-label": "Filter by text" });
  #labels = new Set();

  constructor() {
    super();
    this.element = h("div", { class: "filter", role: "group", "aria-label": "Filter" }, this.#kind, this.#label, this.#weight, this.#text);
    for (const each of [this.#kind, this.#label, this.#weight]) each.addEventListener("change", () => this.#changed());
    this.#text.addEventListener("input", () => this.#changed());
  }

  focus() {
    this.#text.focus();
  }

  /** Events can be chosen by their label once one was seen. @param {Row[]} rows */
  learn(rows) {
    for (const row of rows) {
      if (row.type === "event" && !this.#labels.has(row.kind)) {
        this.#labels.add(row.kind);
        this.#label.append(h("option", { value: row.kind }, row.kind.replaceAll("_", " ")));
      }
    }
  }

  /** @param {Row} row */
  takes(row) {
    const kind = this.#kind.value;
    const wanted =
      kind === "all" ||
      (kind === "state" ? row.type === "status" || row.type === "gap"
        : kind === "summary" ? row.kind === "summary"
          : kind === "event" ? row.type === "event" && (!this.#label.value || row.kind === this.#label.value)
            : row.type === "caption" || row.type === "gap");
    if (!wanted || (row.type !== "status" && row.type !== "gap" && row.saliency < Number(this.#weight.value))) return false;
    const text = this.#text.value.trim().toLowerCase();
    return !text || row.text.toLowerCase().includes(text);
  }

  #changed() {
    this.#label.hidden = this.#kind.value !== "event";
    this.dispatchEvent(new Event("change"));
  }
}
