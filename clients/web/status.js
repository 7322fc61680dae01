// How a stream does: a word and a sign for each state, so that nothing depends on colour alone.

import { h, say } from "./dom.js";

/** @type {Record<string, [word: string, sign: string, tone: string]>} */
const STATES = {
  live: ["Live", "●", "good"],
  connecting: ["Connecting", "◌", "busy"],
  reconnecting: ["Reconnecting", "↻", "warn"],
  degraded: ["Degraded", "▲", "warn"],
  stalled: ["Stalled", "▲", "warn"],
  paused: ["Paused", "❚❚", "idle"],
  ended: ["Ended", "■", "idle"],
  failed: ["Failed", "✕", "bad"],
  unknown: ["Starting", "◌", "busy"],
};

/** @typedef {{state: string, word: string, tone: string}} Standing */

/**
 * @param {string | null | undefined} state
 * @param {string} [reason]
 * @returns {Standing}
 */
export function standing(state, reason = "") {
  const name = state === "stalled" && reason === "paused" ? "paused" : (state ?? "unknown");
  const [word, , tone] = STATES[name] ?? [name, "", "idle"];
  return { state: name, word, tone };
}

/** A chip that shows a state. */
export class Chip {
  #sign = h("span", { "aria-hidden": "true", class: "chip-sign" });
  #word = h("span");

  constructor() {
    this.element = h("span", { class: "chip" }, this.#sign, this.#word);
  }

  /** @param {string | null | undefined} state @param {string} [reason] @param {string} [detail] */
  show(state, reason, detail = "") {
    const { state: name, word, tone } = standing(state, reason);
    say(this.#sign, STATES[name]?.[1] ?? "");
    say(this.#word, word);
    if (this.element.dataset.tone !== tone) this.element.dataset.tone = tone;
    if (this.element.title !== detail) this.element.title = detail;
  }
}
