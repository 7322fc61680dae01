// Protocol v1: what a frame may hold. docs/protocol.md is the contract, tests/vectors/ its examples.

/**
 * @typedef {object} InstanceView
 * @property {number} id
 * @property {string} label
 * @property {[number, number, number, number]} box x0, y0, x1, y1 in 0..1 of the frame
 * @property {string[]} [attributes]
 * @property {string} [state] a posture, `hidden` while occluded, or empty
 * @property {string[]} [carries] what a person has along
 *
 * @typedef {object} Scene
 * @property {string} [summary]
 * @property {InstanceView[]} [instances]
 * @property {string} [camera]
 *
 * @typedef {object} Envelope
 * @property {string} stream
 * @property {string} at ISO 8601 UTC
 *
 * @typedef {object} Numbered
 * @property {number} [seq] number of a durable message; a draft has none
 * @property {number} [prev] the number before it
 *
 * @typedef {object} CaptionBody
 * @property {"caption"} type
 * @property {string} id
 * @property {number} rev
 * @property {"open" | "update" | "final" | "retracted"} status
 * @property {"full" | "diff" | "summary" | "commentary"} kind
 * @property {number} start media time, seconds
 * @property {number} end
 * @property {string} text whole text of this revision
 * @property {{action?: string, environment?: string, appearance?: string, camera?: string}} [skills]
 * @property {InstanceView[]} [instances]
 * @property {number} [saliency] 0..1
 * @property {string} [source] which captioner
 * @property {{t: number, image?: string}[]} [evidence]
 * @property {{what: string, said: string, perceived: string}[]} [conflicts] where the text contradicts what was perceived
 * @property {string} captured_at
 * @property {string} emitted_at
 * @property {number} age_ms
 * @property {number} [waited_ms] of it, until it was sure and complete
 * @typedef {Envelope & Numbered & CaptionBody} CaptionMessage
 *
 * @typedef {object} EventBody
 * @property {"event"} type
 * @property {string} id
 * @property {string} label
 * @property {number} start
 * @property {number} end
 * @property {number} [saliency]
 * @property {InstanceView[]} [instances]
 * @property {string} [text]
 * @property {string} [rule]
 * @typedef {Envelope & Numbered & EventBody} EventMessage
 *
 * @typedef {object} StatusBody
 * @property {"status"} type
 * @property {"connecting" | "live" | "stalled" | "reconnecting" | "degraded" | "ended" | "failed"} state
 * @property {string} [reason] a word
 * @property {string} [detail] a line
 * @typedef {Envelope & Numbered & StatusBody} StatusMessage
 *
 * @typedef {object} GapBody
 * @property {"gap"} type
 * @property {number} start
 * @property {number} end
 * @property {string} [reason]
 * @typedef {Envelope & Numbered & GapBody} GapMessage media time that was not watched
 *
 * @typedef {Envelope & {type: "unchanged", since: number, t: number}} UnchangedMessage
 * @typedef {Envelope & {type: "instances", t: number, instances: InstanceView[]}} InstancesMessage everything that is
 *   followed at one moment; comes only where it is named among the kinds
 * @typedef {Envelope & {type: "hello", protocol: number, epoch: string, seq: number, earliest: number,
 *   heartbeat_s: number, server?: string}} HelloMessage
 * @typedef {Envelope & {type: "snapshot", seq: number, status?: StatusMessage, scene?: Scene,
 *   recent?: CaptionMessage[], open?: CaptionMessage[]}} SnapshotMessage
 * @typedef {Envelope & {type: "heartbeat", seq: number}} HeartbeatMessage
 * @typedef {Envelope & {type: "caught_up", seq: number}} CaughtUpMessage
 * @typedef {{type: "error", stream?: string, at: string, code: string, message: string}} ErrorMessage
 *
 * @typedef {CaptionMessage | EventMessage | StatusMessage | GapMessage} NumberedMessage
 * @typedef {NumberedMessage | UnchangedMessage | InstancesMessage | HelloMessage | SnapshotMessage | HeartbeatMessage | CaughtUpMessage
 *   | ErrorMessage} Message
 */

export const PROTOCOL = 1;
export const SUBPROTOCOL = "streamcap.v1";
export const FRAME_MAX_CHARS = 4 * 1024 * 1024;

/** A frame that is no message of protocol v1. */
export class WireError extends Error {
  /** @override */
  name = "WireError";
}

/** @typedef {(value: unknown) => boolean} Check */

const STREAM = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.\d{1,6})?(?:Z|\+00:00)$/;

/** @type {Check} */
const text = (value) => typeof value === "string";
/** @type {Check} */
const stream = (value) => typeof value === "string" && STREAM.test(value);
/** @type {(min: number) => Check} */
const whole = (min) => (value) => Number.isSafeInteger(value) && /** @type {number} */ (value) >= min;
/** @type {(min: number, max: number) => Check} */
const number = (min, max) => (value) => typeof value === "number" && value >= min && value <= max;
/** @type {(...words: string[]) => Check} */
const word = (...words) => (value) => words.includes(/** @type {string} */ (value));
/** @type {(check: Check) => Check} */
const list = (check) => (value) => Array.isArray(value) && value.every(check);
/** @type {(check: Check) => Check} */
const maybe = (check) => (value) => value === undefined || check(value);
/** @type {(shape: Record<string, Check>) => Check} */
const object = (shape) => (value) => fault(shape, value) === "";

/** @type {Check} */
function time(value) {
  const match = typeof value === "string" ? TIME.exec(value) : null;
  if (match === null) return false;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // a day that is not rolls over into the next month
  return (
    year > 0 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day && hour < 24 && minute < 60 && second < 60
  );
}

const seconds = number(0, 1e9);
const share = number(0, 1);
const seq = whole(0);
const durable = whole(1);

const instance = object({
  id: seq,
  label: text,
  box: (value) => Array.isArray(value) && value.length === 4 && value.every(share),
  attributes: maybe(list(text)),
  state: maybe(text),
  carries: maybe(list(text)),
});
const skills = object({ action: maybe(text), environment: maybe(text), appearance: maybe(text), camera: maybe(text) });
const scene = object({ summary: maybe(text), instances: maybe(list(instance)), camera: maybe(text) });
const envelope = { stream, at: time };
const numbered = { ...envelope, seq: maybe(durable), prev: maybe(seq) };

const CAPTION = {
  ...numbered,
  type: word("caption"),
  id: text,
  rev: seq,
  status: word("open", "update", "final", "retracted"),
  kind: word("full", "diff", "summary", "commentary"),
  start: seconds,
  end: seconds,
  text,
  skills: maybe(skills),
  instances: maybe(list(instance)),
  saliency: maybe(share),
  source: maybe(text),
  evidence: maybe(list(object({ t: seconds, image: maybe(text) }))),
  conflicts: maybe(list(object({ what: text, said: text, perceived: text }))),
  captured_at: time,
  emitted_at: time,
  age_ms: seq,
  waited_ms: maybe(seq),
};
const STATUS = {
  ...numbered,
  type: word("status"),
  state: word("connecting", "live", "stalled", "reconnecting", "degraded", "ended", "failed"),
  reason: maybe(text),
  detail: maybe(text),
};

/** @type {Record<string, Record<string, Check>>} */
const SHAPES = {
  caption: CAPTION,
  event: {
    ...numbered,
    id: text,
    label: text,
    start: seconds,
    end: seconds,
    saliency: maybe(share),
    instances: maybe(list(instance)),
    text: maybe(text),
    rule: maybe(text),
  },
  status: STATUS,
  gap: { ...numbered, start: seconds, end: seconds, reason: maybe(text) },
  unchanged: { ...envelope, since: seconds, t: seconds },
  instances: { ...envelope, t: seconds, instances: list(instance) },
  hello: {
    ...envelope,
    protocol: whole(0),
    epoch: text,
    seq,
    earliest: durable,
    heartbeat_s: (value) => typeof value === "number" && value > 0,
    server: maybe(text),
  },
  snapshot: {
    ...envelope,
    seq,
    status: maybe(object(STATUS)),
    scene: maybe(scene),
    recent: maybe(list(object(CAPTION))),
    open: maybe(list(object(CAPTION))),
  },
  heartbeat: { ...envelope, seq },
  caught_up: { ...envelope, seq },
  error: { stream: maybe(stream), at: time, code: text, message: text },
};

/**
 * The message that a frame carries. Fields that are not known are left as they are.
 *
 * @param {unknown} data text of the frame
 * @returns {Message}
 * @throws {WireError} whatever else it is, and nothing but this
 */
export function decode(data) {
  if (typeof data !== "string") throw new WireError("a frame that is not text");
  if (data.length > FRAME_MAX_CHARS) throw new WireError(`a frame of ${data.length} is larger than ${FRAME_MAX_CHARS}`);
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(data);
  } catch {
    throw new WireError("not JSON");
  }
  const type = typeof value === "object" && value !== null && "type" in value ? value.type : undefined;
  const shape = typeof type === "string" && Object.hasOwn(SHAPES, type) ? SHAPES[type] : undefined;
  if (shape === undefined) throw new WireError("not a message of protocol v1: type");
  const wrong = fault(shape, value);
  if (wrong) throw new WireError(`not a message of protocol v1: ${String(type)}.${wrong}`);
  const message = /** @type {Message} */ (value);
  checkNumber(message);
  return message;
}

/**
 * True for messages that are numbered, journaled and replayed.
 *
 * @param {Message} message
 * @returns {message is NumberedMessage & {seq: number, prev: number}}
 */
export function isDurable(message) {
  switch (message.type) {
    case "caption":
      return message.status === "final" || message.status === "retracted";
    case "event":
    case "status":
    case "gap":
      return true;
    default:
      return false;
  }
}

/**
 * @param {Record<string, Check>} shape
 * @param {unknown} value
 * @returns {string} name of the first field that does not hold, empty where all do
 */
function fault(shape, value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return "object";
  const fields = /** @type {Record<string, unknown>} */ (value);
  for (const [name, check] of Object.entries(shape)) {
    if (!check(Object.hasOwn(fields, name) ? fields[name] : undefined)) return name;
  }
  return "";
}

/** @param {Message} message */
function checkNumber(message) {
  if (message.type === "snapshot") {
    for (const part of [...(message.recent ?? []), ...(message.open ?? [])]) checkNumber(part);
    if (message.status !== undefined) checkNumber(message.status);
  } else if (isDurable(message)) {
    if (message.seq === undefined || message.prev === undefined) throw new WireError("a durable message without number");
    if (message.prev >= message.seq) throw new WireError(`prev ${message.prev} is not before seq ${message.seq}`);
  } else if (message.type === "caption" && (message.seq !== undefined || message.prev !== undefined)) {
    throw new WireError("a draft caption carries a sequence number");
  }
}
