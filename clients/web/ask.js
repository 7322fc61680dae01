// Ask about a stream: a line to write in, the answer as it grows, and the moments that it cites.

import { ask } from "../js/src/ask.js";
import { button, h, media, say, why } from "./dom.js";

/** @typedef {import("./main.js").App} App */

const TIMEOUT_MS = 60_000;

/** A question and its answer. */
export class AskBox {
  #app;
  #id;
  #question = h("input", { type: "text", maxlength: 1000, required: true, autocomplete: "off", placeholder: "What happened? What colour was the van?", "aria-label": "Question about this stream" });
  #submit = h("button", {}, "Ask");
  #answer = h("p", { class: "answer-text" });
  #cited = h("div", { class: "cited" });
  #stop = new AbortController();

  /** @param {App} app @param {string} id */
  constructor(app, id) {
    this.#app = app;
    this.#id = id;
    const form = h("form", { class: "ask-form", onsubmit: (/** @type {Event} */ event) => this.#ask(event) }, this.#question, this.#submit);
    this.element = h("section", { class: "ask", "aria-label": "Ask about this stream", hidden: true }, form, h("div", { role: "status" }, this.#answer, this.#cited));
  }

  /** @param {boolean} can the server has a model */
  show(can) {
    this.element.hidden = !can;
  }

  close() {
    this.#stop.abort();
  }

  /** @param {Event} event */
  async #ask(event) {
    event.preventDefault();
    const question = this.#question.value.trim();
    if (!question) return;
    this.#submit.disabled = true;
    this.#cited.replaceChildren();
    this.element.dataset.state = "asking";
    say(this.#answer, "Looking…");
    try {
      const found = await ask("", this.#id, question, {
        ondraft: (text) => say(this.#answer, text),
        fetch: (path, init) => this.#app.api.request(path, init),
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      say(this.#answer, found.answer);
      this.#answer.title = found.read < found.held ? `${found.read} of ${found.held} messages were read for it, all over that time` : "";
      this.element.dataset.state = found.answered ? "answered" : "unknown";
      this.#cited.replaceChildren(...found.evidence.map((each) =>
        button(media(each.t), () => void this.#app.evidence.moment(this.#id, each.t, each.text ?? found.answer), { title: each.text ?? "" })));
    } catch (error) {
      this.element.dataset.state = "failed";
      if (!this.#stop.signal.aborted) say(this.#answer, why(error));
    }
    this.#submit.disabled = false;
  }
}
