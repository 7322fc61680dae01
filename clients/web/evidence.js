// What a caption or an event speaks of: the kept frame, with boxes where its instances were.

import { Boxes } from "./boxes.js";
import { button, clock, h, media, say, why } from "./dom.js";
import { draw } from "./pictures.js";
import { kindWord, weight } from "./rows.js";

/**
 * @typedef {import("./api.js").Api} Api
 * @typedef {import("./log.js").Row} Row
 * @typedef {import("../js/src/index.js").CaptionMessage} CaptionMessage
 * @typedef {import("../js/src/index.js").EventMessage} EventMessage
 */

const BOXES_S = 0.5;

/** A dialog; one for the page. */
export class Evidence {
  #canvas = h("canvas", { class: "picture", role: "img", "aria-label": "Evidence frame" });
  #boxes = new Boxes();
  #note = h("p", { class: "stage-note" });
  #text = h("p", { class: "evidence-text" });
  #facts = h("p", { class: "evidence-facts" });
  #steps = h("span", { class: "steps" }, button("◂ Earlier", () => this.#go(1)), " ", button("Later ▸", () => this.#go(-1)));
  #api;
  #asked = 0;
  /** @type {(by: number) => Row | undefined} */ #step = () => undefined;
  #stream = "";

  /** @param {Api} api */
  constructor(api) {
    this.#api = api;
    const stage = h("div", { class: "stage" }, this.#canvas, this.#boxes.element, this.#note);
    this.element = h(
      "dialog",
      { class: "evidence", "aria-label": "Evidence" },
      stage,
      this.#text,
      this.#facts,
      h("form", { method: "dialog", class: "actions" },
        this.#steps,
        h("span", { class: "grow" }),
        h("button", { class: "primary", autofocus: true }, "Close")),
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft" || event.key === "j") this.#go(1);
      else if (event.key === "ArrowRight" || event.key === "k") this.#go(-1);
    });
  }

  /**
   * @param {string} stream
   * @param {Row} row
   * @param {(by: number) => Row | undefined} [step] the row that many further into the past
   */
  async open(stream, row, step = () => undefined) {
    this.#stream = stream;
    this.#step = step;
    this.#steps.hidden = false;
    if (!this.element.open) this.element.showModal();
    await this.#show(row);
  }

  /** One moment. @param {string} stream @param {number} t media seconds @param {string} text */
  async moment(stream, t, text) {
    this.#stream = stream;
    this.#step = () => undefined;
    this.#steps.hidden = true;
    if (!this.element.open) this.element.showModal();
    const asked = (this.#asked += 1);
    say(this.#text, text);
    say(this.#facts, `${stream} · media time ${media(t)}`);
    this.#boxes.clear();
    await this.#picture(t, asked).catch((error) => asked === this.#asked && say(this.#note, `No frame: ${why(error)}`));
  }

  /** Show the kept frame of a moment. @param {number} t @param {number} asked @returns {Promise<number | undefined>} when it is of */
  async #picture(t, asked) {
    say(this.#note, "Loading…");
    delete this.#canvas.dataset.drawn;
    const frame = await this.#api.frame(this.#stream, t);
    if (asked !== this.#asked) return undefined;
    await draw(this.#canvas, frame.blob);
    say(this.#note, "");
    return frame.t;
  }

  /** @param {number} by */
  #go(by) {
    const row = this.#step(by);
    if (row !== undefined) void this.#show(row);
  }

  /** @param {Row} row */
  async #show(row) {
    const asked = (this.#asked += 1);
    say(this.#text, row.text);
    say(this.#facts, `${this.#stream} · ${clock(row.at)} · media time ${media(row.start)} to ${media(row.end)} · ${kindWord(row)} · saliency ${weight(row.saliency)} (${row.saliency.toFixed(2)})`);
    this.#boxes.clear();
    try {
      const message = await this.#message(row);
      const t = (message?.type === "caption" ? message.evidence?.at(-1)?.t : undefined) ?? row.end;
      const shown = await this.#picture(t, asked);
      if (shown === undefined) return;
      this.#boxes.fit(this.#canvas.width, this.#canvas.height);
      // The boxes are of the last moment that it speaks of; over a frame of another they would be wrong.
      this.#boxes.set(message !== undefined && Math.abs(shown - message.end) < BOXES_S ? (message.instances ?? []) : []);
      this.element.dataset.shown = String(row.seq);
    } catch (error) {
      if (asked === this.#asked) say(this.#note, `No frame: ${why(error)}`);
    }
  }

  /** @param {Row} row @returns {Promise<CaptionMessage | EventMessage | undefined>} */
  async #message(row) {
    const page = await this.#api.history(this.#stream, { after: row.seq - 1, limit: 1, kinds: row.type });
    const [message] = page.messages;
    return message?.type === "caption" || message?.type === "event" ? message : undefined;
  }
}
