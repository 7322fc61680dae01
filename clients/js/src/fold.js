// The state of a stream as its messages tell it: the same rule as the server's (docs/protocol.md, Folding).

import { isDurable } from "./messages.js";

/**
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").CaptionMessage} CaptionMessage
 * @typedef {[first: number, last: number]} Hole numbers that never came
 */

export const RECENT_MAX = 20;
export const OPEN_MAX = 32;
export const HOLES_KEPT = 100;

const DRAFT_ENDS = new Set(["connecting", "ended", "failed"]);

/** What is known of one stream. */
export class FeedState {
  /**
   * @param {string} stream
   * @param {{epoch?: string | null, seq?: number, complete?: boolean}} [where] where the reader stands already;
   *   complete: false for a reader of some kinds only, for whom numbers that it does not see are no holes
   */
  constructor(stream, { epoch = null, seq = 0, complete = true } = {}) {
    this.stream = stream;
    this.epoch = epoch;
    /** Number of the newest durable message folded in. */
    this.seq = seq;
    this.complete = complete;
    /** @type {import("./messages.js").StatusMessage | null} */
    this.status = null;
    /** @type {CaptionMessage[]} the newest finals, oldest first */
    this.recent = [];
    /** @type {Map<string, CaptionMessage>} drafts by caption id */
    this.open = new Map();
    /** @type {import("./messages.js").Scene} as of the newest snapshot */
    this.scene = {};
    /** @type {Hole[]} */
    this.holes = [];
  }

  /**
   * The numbers that should have come before this message and did not; null where it follows.
   *
   * @param {Message} message
   * @returns {Hole | null}
   */
  missingBefore(message) {
    if (!this.complete) return null;
    let upto = 0;
    if (message.type === "heartbeat" || message.type === "caught_up") upto = message.seq;
    else if (isDurable(message)) upto = message.prev;
    return upto > this.seq ? [this.seq + 1, upto] : null;
  }

  /**
   * Fold one message in.
   *
   * @param {Message} message
   * @returns {boolean} false where it is a double or was superseded already, and nothing changed
   */
  apply(message) {
    if (message.stream !== undefined && message.stream !== this.stream) {
      throw new RangeError(`a message of ${message.stream} folded into ${this.stream}`);
    }
    switch (message.type) {
      case "hello":
        this.#hello(message.epoch);
        return true;
      case "snapshot":
        this.seq = message.seq;
        this.status = message.status ?? null;
        this.scene = message.scene ?? {};
        this.recent = [...(message.recent ?? [])];
        this.open = new Map((message.open ?? []).map((draft) => [draft.id, draft]));
        return true;
      case "heartbeat":
      case "caught_up":
        this.#noteHole(message);
        this.seq = Math.max(this.seq, message.seq);
        return true;
      default:
        if (isDurable(message)) return this.#durable(message);
        return message.type === "caption" ? this.#draft(message) : true;
    }
  }

  /** @param {string} id */
  isFinal(id) {
    return this.recent.some((final) => final.id === id);
  }

  /** The state in plain values, as the shared test vectors spell it. */
  summary() {
    return {
      epoch: this.epoch,
      seq: this.seq,
      status: this.status?.state ?? null,
      recent: this.recent.map((final) => [final.id, final.text]),
      open: Object.fromEntries([...this.open.values()].map((draft) => [draft.id, [draft.rev, draft.text]])),
      holes: this.holes.map((hole) => [...hole]),
    };
  }

  /** @param {string} epoch */
  #hello(epoch) {
    this.open.clear();
    if (this.epoch !== null && epoch !== this.epoch) {
      this.seq = 0;
      this.status = null;
      this.recent = [];
      this.scene = {};
      this.holes = [];
    }
    this.epoch = epoch;
  }

  /** @param {import("./messages.js").NumberedMessage & {seq: number}} message */
  #durable(message) {
    if (message.seq <= this.seq) return false;
    this.#noteHole(message);
    this.seq = message.seq;
    if (message.type === "caption") this.#finished(message);
    else if (message.type === "status") {
      this.status = message;
      if (DRAFT_ENDS.has(message.state)) this.open.clear();
    }
    return true;
  }

  /** @param {CaptionMessage} message */
  #finished(message) {
    this.open.delete(message.id);
    if (message.status === "retracted") this.recent = this.recent.filter((final) => final.id !== message.id);
    else if (!this.isFinal(message.id)) this.recent = [...this.recent, message].slice(-RECENT_MAX);
  }

  /** @param {CaptionMessage} message */
  #draft(message) {
    const known = this.open.get(message.id);
    if (this.isFinal(message.id) || (known !== undefined && message.rev <= known.rev)) return false;
    if (message.text === "") return this.open.delete(message.id); // withdrawn
    this.open.set(message.id, message);
    if (this.open.size > OPEN_MAX) {
      // By content, not by order of arrival, so that two readers drop the same one.
      this.open.delete([...this.open.values()].reduce((a, b) => (isBefore(b, a) ? b : a)).id);
    }
    return true;
  }

  /** @param {Message} message */
  #noteHole(message) {
    const hole = this.missingBefore(message);
    if (hole !== null) this.holes = [...this.holes, hole].slice(-HOLES_KEPT);
  }
}

/**
 * @param {CaptionMessage} a
 * @param {CaptionMessage} b
 */
function isBefore(a, b) {
  return a.start < b.start || (a.start === b.start && a.id < b.id);
}
